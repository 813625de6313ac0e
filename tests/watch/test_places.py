from __future__ import annotations

from gcd.model.changed import NOTHING, Changed
from gcd.watch.places import places

PLACES = {place.path: place for place in places("overlay2")}
NAMES = frozenset({"a", "b"})


def test_the_places_each_after_the_one_it_lies_in():
    assert tuple(PLACES) == (
        "",
        "buildkit",
        "containers",
        "image",
        "image/overlay2",
        "image/overlay2/imagedb",
        "image/overlay2/imagedb/content",
        "image/overlay2/imagedb/content/sha256",
        "image/overlay2/imagedb/metadata",
        "image/overlay2/imagedb/metadata/sha256",
        "image/overlay2/layerdb",
        "image/overlay2/layerdb/mounts",
        "image/overlay2/layerdb/sha256",
        "image/overlay2/layerdb/tmp",
        "overlay2",
        "overlay2/l",
    )


def test_which_of_their_entries_are_places():
    assert {path: set(place.parts) for path, place in PLACES.items() if place.parts} == {
        "": {"buildkit", "containers", "image", "overlay2"},
        "image": {"overlay2"},
        "image/overlay2": {"imagedb", "layerdb"},
        "image/overlay2/imagedb": {"content", "metadata"},
        "image/overlay2/imagedb/content": {"sha256"},
        "image/overlay2/imagedb/metadata": {"sha256"},
        "image/overlay2/layerdb": {"mounts", "sha256", "tmp"},
        "overlay2": {"l"},
    }


def test_what_a_name_says():
    assert {path: place.told(NAMES) for path, place in PLACES.items() if place.told(NAMES)} == {
        "containers": Changed(containers=NAMES),
        "image/overlay2/imagedb/content/sha256": Changed(images=NAMES),
        "image/overlay2/imagedb/metadata/sha256": Changed(images=NAMES),
        "image/overlay2/layerdb/mounts": Changed(rw_layers=NAMES),
        "image/overlay2/layerdb/sha256": Changed(layers=NAMES),
        "image/overlay2/layerdb/tmp": Changed(write_sets=NAMES),
        "overlay2": Changed(layer_dirs=NAMES),
        "overlay2/l": Changed(links=NAMES),
    }


def test_of_the_tags_and_the_build_cache_only_their_files_say_something():
    tags, builds = PLACES["image/overlay2"], PLACES["buildkit"]

    assert tags.told(frozenset({"repositories.json", "x"})) == Changed(has_repositories=True)
    assert tags.told(frozenset({".tmp-repositories.json1", "distribution"})) == NOTHING
    for name in ("snapshots.db", "metadata_v2.db", "containerdmeta.db", "metadata.db"):
        assert builds.told(frozenset({name, "x"})) == Changed(has_build_cache=True)
    assert builds.told(frozenset({"history.db", "cache.db", "executor"})) == NOTHING


def test_another_driver_has_its_own():
    assert [place.path for place in places("fuse-overlayfs") if "fuse" in place.path][:2] == [
        "fuse-overlayfs",
        "fuse-overlayfs/l",
    ]
