"""Sound records read fast: a row where reading with care gives the same, none where anything is not as usual."""

from __future__ import annotations

import gzip
import os
import threading
from collections import Counter

import pytest
from support import compiled
from support.compiled import SOUND
from support.trees import DIRECTORY, FIFO, Link, plant

from gcd.model.ids import ChainId, LayerDirId, LinkId, RwLayerName
from gcd.model.shelf import dir_shelf, layer_of, link_of
from gcd.root import layerdb, listing, overlay2, rows, sound, tree
from gcd.root.layerdb import read_layerdb
from gcd.root.overlay2 import read_layer_dirs, read_link_farm
from gcd.root.progress import Pace
from gcd.root.tree import open_root


@pytest.fixture(autouse=True, params=[pytest.param(sound, id="python"), SOUND])
def reader(request, monkeypatch):
    """Each test is done twice: by what is compiled, and by what stands in for it where it is not."""
    lister = listing if request.param is sound else compiled.listing
    monkeypatch.setattr(tree, "list_formed", lister.list_formed)
    monkeypatch.setattr(rows, "read_records", request.param.read_records)
    monkeypatch.setattr(rows, "read_symlinks", request.param.read_symlinks)


CHAIN, DIR, MOUNT = "a" * 64, "b" * 64, "c" * 64
LINK, OTHER = "A" * 26, "B" * 26
DIGEST = f"sha256:{'d' * 64}"
TAR_SPLIT = gzip.compress(b"{}" * 40, mtime=0)

LAYER = {"diff": DIGEST.encode(), "size": b"7", "cache-id": DIR.encode(), "tar-split.json.gz": TAR_SPLIT}
LAYER_DIR = {"diff": DIRECTORY, "link": LINK.encode(), "lower": f"l/{OTHER}".encode(), "work": DIRECTORY}
RW_LAYER = {"mount-id": MOUNT.encode(), "init-id": f"{MOUNT}-init".encode(), "parent": DIGEST.encode()}

LAYERS, DIRS, FARM, MOUNTS = (
    f"image/overlay2/layerdb/sha256/{CHAIN}",
    f"overlay2/{DIR}",
    "overlay2/l",
    f"image/overlay2/layerdb/mounts/{MOUNT}",
)


def facts(root_path, monkeypatch, *, is_fast):
    """All that is read of a root's layer store, with and without rows."""
    with monkeypatch.context() as patch, open_root(str(root_path)) as root:
        if not is_fast:
            for module, name in (
                (layerdb, "layer_rows"),
                (layerdb, "rw_layer_rows"),
                (overlay2, "dir_rows"),
                (overlay2, "link_rows"),
            ):
                patch.setattr(module, name, lambda *_, **__: {})
        layers = read_layerdb(root, "overlay2")
        dirs, _ = read_layer_dirs(root, "overlay2")
        farm, _ = read_link_farm(root, "overlay2")
        return dict(layers.layers), dict(layers.rw_layers), dict(dirs), dict(farm.symlinks)


SOUNDS = {
    "a base layer": {LAYERS: LAYER},
    "a layer on another": {LAYERS: LAYER | {"parent": DIGEST.encode()}},
    "a layer of BuildKit's": {LAYERS: LAYER | {"cache-id": b"e" * 25}},
    "a size of zeros": {LAYERS: LAYER | {"size": b"000"}},
    "a long tar-split": {LAYERS: LAYER | {"tar-split.json.gz": gzip.compress(os.urandom(9000), mtime=0)}},
    "a dir on another": {DIRS: LAYER_DIR},
    "a base dir": {DIRS: {"diff": DIRECTORY, "link": LINK.encode(), "committed": b""}},
    "a mounted dir": {DIRS: LAYER_DIR | {"merged": DIRECTORY}},
    "a deep dir": {DIRS: LAYER_DIR | {"lower": ":".join([f"l/{OTHER}"] * 125).encode()}},
    "a symlink": {FARM: {LINK: Link(f"../{DIR}/diff")}},
    "a container's record": {MOUNTS: RW_LAYER},
}


def planted(tmp_path, tree):
    plant(tmp_path, {f"{home}/{name}": entry for home, entries in tree.items() for name, entry in entries.items()})
    return tmp_path


def row_at(root_path, place):
    home, _, name = place.rpartition("/")
    read = {
        LAYERS: rows.layer_rows,
        MOUNTS: rows.rw_layer_rows,
        DIRS: rows.dir_rows,
        f"{FARM}/{LINK}": rows.link_rows,
    }[place]
    fd = os.open(root_path / home, os.O_RDONLY)
    try:
        return next(iter(read(fd, [name]).values()), None)
    finally:
        os.close(fd)


@pytest.mark.parametrize("tree", SOUNDS.values(), ids=SOUNDS)
def test_a_sound_record_has_a_row_that_says_what_reading_with_care_says(tmp_path, monkeypatch, tree):
    planted(tmp_path, tree)
    place = f"{FARM}/{LINK}" if FARM in tree else next(iter(tree))

    assert row_at(tmp_path, place) is not None
    assert facts(tmp_path, monkeypatch, is_fast=True) == facts(tmp_path, monkeypatch, is_fast=False)


ODD = {
    LAYERS: {
        "no diff": {"diff": None},
        "an empty diff": {"diff": b""},
        "a diff with a newline": {"diff": f"{DIGEST}\n".encode()},
        "another algorithm": {"diff": b"sha512:" + b"a" * 64},
        "a size with a sign": {"size": b"-7"},
        "a size that is too long": {"size": b"7" * 19},
        "a size in other digits": {"size": "٣".encode()},
        "a size with a superscript": {"size": "7²".encode("latin-1")},
        "a cache id that is a path": {"cache-id": b"../../etc"},
        "an empty parent": {"parent": b""},
        "a descriptor": {"descriptor.json": b"{}"},
        "a file of nobody": {"x": b""},
        "many files": {f"x{number}": b"" for number in range(20)},
        "a cut tar-split": {"tar-split.json.gz": TAR_SPLIT[:-9]},
        "an empty tar-split": {"tar-split.json.gz": b""},
        "a FIFO": {"size": FIFO},
        "a symlink": {"size": Link("diff")},
        "a directory": {"size": DIRECTORY},
    },
    DIRS: {
        "no link": {"link": None},
        "a link with a newline": {"link": f"{LINK}\n".encode()},
        "a link in small letters": {"link": LINK.lower().encode()},
        "an empty lower": {"lower": b""},
        "a lower that ends in a newline": {"lower": f"l/{OTHER}\n".encode()},
        "a lower that ends in a colon": {"lower": f"l/{OTHER}:".encode()},
        "a lower of shifted elements": {"lower": f"l/{OTHER[:25]}:l/{OTHER}A".encode()},
        "a lower that is too long": {"lower": ":".join([f"l/{OTHER}"] * 129).encode()},
        "no diff": {"diff": None},
        "a diff that is a file": {"diff": b""},
        "no work": {"work": None},
        "no lower but a work": {"lower": None},
        "a temporary file": {".tmp-link123": b""},
        "a merged that is a file": {"merged": b""},
        "a link that is a symlink": {"link": Link("lower")},
    },
    MOUNTS: {
        "no init id": {"init-id": None},
        "no parent": {"parent": None},
        "a mount id with a newline": {"mount-id": f"{MOUNT}\n".encode()},
        "an init id without its end": {"init-id": MOUNT.encode()},
        "a nested record": {"below": DIRECTORY},
    },
}
SOUND_AT = {LAYERS: LAYER, DIRS: LAYER_DIR, MOUNTS: RW_LAYER}
CASES = [pytest.param(place, change, id=name) for place, changes in ODD.items() for name, change in changes.items()]


@pytest.mark.parametrize(("place", "change"), CASES)
def test_anything_unusual_has_no_row(tmp_path, place, change):
    entries = {name: entry for name, entry in (SOUND_AT[place] | change).items() if entry is not None}
    planted(tmp_path, {place: entries})

    assert row_at(tmp_path, place) is None


@pytest.mark.parametrize("place", [LAYERS, DIRS, MOUNTS])
def test_a_symlink_in_a_records_place_is_not_followed(tmp_path, place):
    planted(tmp_path, {"elsewhere": SOUND_AT[place]})
    plant(tmp_path, {place: Link(str(tmp_path / "elsewhere"))})

    assert row_at(tmp_path, place) is None


@pytest.mark.parametrize(
    "target", ["../../etc", f"../{DIR}", f"../{DIR}/diff/", f"/{DIR}/diff", f"..//{DIR}/diff", f"xx/{DIR}/diff", ""]
)
def test_a_symlink_that_points_elsewhere_has_no_row(tmp_path, target):
    planted(tmp_path, {FARM: {LINK: Link(target) if target else b""}})

    assert row_at(tmp_path, f"{FARM}/{LINK}") is None


def test_what_is_put_in_a_files_place_after_the_listing_is_not_waited_for(tmp_path):
    """A FIFO that nobody writes to would be waited for without end, and so would the test."""
    planted(tmp_path, {LAYERS: LAYER})
    size, fifo = tmp_path / LAYERS / "size", tmp_path / "fifo"
    seen = Counter()
    over = threading.Event()

    def swap():
        while not over.is_set():
            os.mkfifo(fifo)
            fifo.rename(size)
            (tmp_path / "file").write_bytes(b"7")
            (tmp_path / "file").rename(size)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        while len(seen) < 2 or seen.total() < 500:
            row = row_at(tmp_path, LAYERS)
            seen[row is None] += 1
            assert row is None or row[1] == 7
    finally:
        over.set()
        swapping.join()


def test_rows_make_the_records_they_stand_for(tmp_path, monkeypatch):
    planted(tmp_path, {LAYERS: LAYER, DIRS: LAYER_DIR, MOUNTS: RW_LAYER, FARM: {LINK: Link(f"../{DIR}/diff")}})
    layers, rw_layers, dirs, links = facts(tmp_path, monkeypatch, is_fast=False)

    chain = ChainId(f"sha256:{CHAIN}")
    assert layer_of(chain, row_at(tmp_path, LAYERS)) == layers[chain]
    assert dir_shelf({LayerDirId(DIR): row_at(tmp_path, DIRS)}, {}) == dirs
    assert link_of(LinkId(LINK), row_at(tmp_path, f"{FARM}/{LINK}")) == links[LinkId(LINK)]
    assert rw_layers[RwLayerName(MOUNT)].mount_id.value == row_at(tmp_path, MOUNTS)[0]


def test_several_readers_read_what_one_reads(tmp_path, monkeypatch):
    for number in range(40):
        record = f"image/overlay2/layerdb/sha256/{number:064x}"
        planted(tmp_path, {record: LAYER if number % 7 else LAYER | {"size": b""}})
        planted(tmp_path, {f"overlay2/{number:064x}": LAYER_DIR})
    monkeypatch.setattr("gcd.root.shares.BATCH", 5)
    with open_root(str(tmp_path)) as root:
        alone = read_layerdb(root, "overlay2"), read_layer_dirs(root, "overlay2")
        together = (read_layerdb(root, "overlay2", Pace(readers=3)), read_layer_dirs(root, "overlay2", Pace(readers=3)))
    assert together == alone
    assert (len(alone[0].layers.rows), len(alone[0].layers.odd)) == (34, 6)
