from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from support.trees import DIRECTORY, FIFO, Link, plant, within, without_rights

from gcd.model.facts import Image, ImageConfig, Repositories
from gcd.model.ids import chains_of
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.root import images
from gcd.root.images import ImageDb, images_of, read_imagedb
from gcd.root.progress import Pace
from gcd.root.tree import Directory, open_root

if TYPE_CHECKING:
    from pathlib import Path

    from gcd.model.ids import ImageId

OK = SourceState(Coverage.OK)
DIFF = f"sha256:{'3' * 64}"
CONFIG = json.dumps(
    {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIFF]}, "created": None}
).encode()
HEX = hashlib.sha256(CONFIG).hexdigest()
ID = f"sha256:{HEX}"
CONTENT = f"image/overlay2/imagedb/content/sha256/{HEX}"
METADATA = f"image/overlay2/imagedb/metadata/sha256/{HEX}"
REPOSITORIES = "image/overlay2/repositories.json"
SPECIAL = "a FIFO, socket or device"
TAGS = json.dumps({"Repositories": {"app": {"app:1": ID}}}).encode()


def read(tmp_path: Path, tree: dict) -> tuple[dict[ImageId, Image], ImageDb]:
    plant(tmp_path, tree)
    with open_root(str(tmp_path)) as root, within(5):
        configs, found = read_imagedb(root, "overlay2")
    return images_of(configs), found


def image(tmp_path: Path, tree: dict) -> Image:
    return read(tmp_path, tree)[0][ID]


def test_a_sound_image(tmp_path):
    updated = b"2020-09-13T12:26:40Z"
    images, found = read(
        tmp_path,
        {
            CONTENT: CONFIG,
            f"{METADATA}/lastUpdated": updated,
            f"{METADATA}/parent": DIFF.encode(),
            REPOSITORIES: TAGS,
        },
    )
    image = images[ID]
    assert image.config == Present(ImageConfig(chains_of([DIFF], {}), "linux"))
    assert (image.id, image.digest, image.ctime_ns) == (ID, ID, (tmp_path / CONTENT).stat().st_ctime_ns)
    assert (found.metadata[ID].parent, found.metadata[ID].last_updated) == (Present(DIFF), Present(updated.decode()))
    assert found.repositories == Present(Repositories({"app:1": ID}))
    assert (found.state, found.repositories_state) == (OK, OK)


def test_a_config_changed_by_one_byte_has_another_digest(tmp_path):
    changed = CONFIG.replace(b"amd64", b"amd65")
    found = image(tmp_path, {CONTENT: changed})
    assert (found.id, found.digest) == (ID, f"sha256:{hashlib.sha256(changed).hexdigest()}")
    assert isinstance(found.config, Present)


@pytest.mark.parametrize(
    ("planted", "config", "is_digested"),
    [
        (b"", EMPTY, True),
        (FIFO, Malformed("a regular file", SPECIAL), False),
        (DIRECTORY, Malformed("a regular file", "a directory"), False),
        (Link("/etc/passwd"), Malformed("a regular file", "a symlink"), False),
    ],
)
def test_what_stands_in_a_configs_place(tmp_path, planted, config, is_digested):
    images, found = read(tmp_path, {CONTENT: planted})
    assert (images[ID].config, found.state) == (config, OK)
    assert images[ID].digest == (f"sha256:{hashlib.sha256(b'').hexdigest()}" if is_digested else None)
    assert images[ID].ctime_ns == (tmp_path / CONTENT).lstat().st_ctime_ns


def test_a_config_that_does_not_parse_is_malformed_and_digested(tmp_path):
    found = image(tmp_path, {CONTENT: b"{"})
    assert isinstance(found.config, Malformed)
    assert found.digest == f"sha256:{hashlib.sha256(b'{').hexdigest()}"


def test_a_config_too_large_is_malformed(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CONFIG_LIMIT", 10)
    found = image(tmp_path, {CONTENT: CONFIG})
    assert (found.config, found.digest) == (Malformed("at most 10 bytes", "more", 10), None)


def test_several_readers_find_what_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr("gcd.root.shares.BATCH", 2)
    configs = [CONFIG.replace(b"amd64", b"%d" % number) for number in range(9)]
    content = CONTENT.rpartition("/")[0]
    plant(tmp_path, {f"{content}/{hashlib.sha256(config).hexdigest()}": config for config in configs})
    plant(tmp_path, {CONTENT: b"{", f"{content}/{'0' * 64}": b"", f"{content}/{'1' * 64}": FIFO})
    with open_root(str(tmp_path)) as root:
        assert read_imagedb(root, "overlay2", Pace(readers=3)) == read_imagedb(root, "overlay2")


def test_configs_closed_to_us_are_unreadable(tmp_path):
    plant(tmp_path, {CONTENT: CONFIG, REPOSITORIES: TAGS})
    tmp_path.chmod(0o755)
    (tmp_path / CONTENT).chmod(0)
    (tmp_path / REPOSITORIES).chmod(0)
    with open_root(str(tmp_path)) as root, without_rights():
        configs, found = read_imagedb(root, "overlay2")
    assert (images_of(configs)[ID].config, images_of(configs)[ID].digest) == (Unreadable("EACCES"), None)
    assert found.repositories == Unreadable("EACCES")
    assert found.repositories_state == SourceState(Coverage.UNREADABLE, f"{REPOSITORIES} cannot be read (EACCES)")
    assert found.state == OK


def test_other_names_are_no_images(tmp_path):
    content = CONTENT.rpartition("/")[0]
    images, found = read(tmp_path, {f"{content}/.tmp-{HEX}123": CONFIG, f"{content}/{HEX.upper()}X": CONFIG})
    assert (images, found.state) == ({}, OK)


@pytest.mark.parametrize(
    ("planted", "parent"),
    [
        (b"", EMPTY),
        (b"x", Malformed("sha256: and 64 hex digits", "x")),
        (FIFO, Malformed("a regular file", SPECIAL)),
        (Link("lastUpdated"), Malformed("a regular file", "a symlink")),
    ],
)
def test_what_stands_in_the_place_of_an_images_parent(tmp_path, planted, parent):
    _, found = read(tmp_path, {CONTENT: CONFIG, f"{METADATA}/parent": planted})
    assert (found.metadata[ID].parent, found.metadata[ID].last_updated) == (parent, ABSENT)


def test_metadata_that_is_not_there_is_none_and_lacks_nothing(tmp_path):
    _, found = read(tmp_path, {CONTENT: CONFIG})
    assert (found.metadata, found.state) == ({}, OK)


def test_metadata_that_cannot_be_read_is_a_lack(tmp_path):
    images, found = read(tmp_path, {CONTENT: CONFIG, "image/overlay2/imagedb/metadata/sha256": Link("/etc")})
    why = "image/overlay2/imagedb/metadata/sha256 is not a directory but a symlink"
    assert (images.keys(), found.state) == ({ID}, SourceState(Coverage.UNREADABLE, why))


def test_no_image_tree_is_absent(tmp_path):
    _, found = read(tmp_path, {})
    assert found.state == SourceState(Coverage.ABSENT, "image/overlay2/imagedb/content/sha256 is not there")
    assert found.repositories == ABSENT
    assert found.repositories_state == SourceState(Coverage.ABSENT, f"{REPOSITORIES} is not there")


@pytest.mark.parametrize(
    ("planted", "reading", "why"),
    [
        (b"", EMPTY, "is empty"),
        (FIFO, Malformed("a regular file", SPECIAL), f"is not a regular file but {SPECIAL}"),
        (Link("/etc/passwd"), Malformed("a regular file", "a symlink"), "is not a regular file but a symlink"),
    ],
)
def test_what_stands_in_the_place_of_the_references(tmp_path, planted, reading, why):
    _, found = read(tmp_path, {REPOSITORIES: planted})
    assert found.repositories == reading
    assert found.repositories_state == SourceState(Coverage.UNREADABLE, f"{REPOSITORIES} {why}")


def test_references_that_do_not_parse_make_the_source_unreadable(tmp_path):
    _, found = read(tmp_path, {REPOSITORIES: b'{"Repositories": 7}'})
    assert isinstance(found.repositories, Malformed)
    assert found.repositories_state.coverage is Coverage.UNREADABLE


def test_an_image_that_vanishes_between_listing_and_reading_is_not_there(tmp_path, monkeypatch):
    whole = Directory.list

    def list_then_remove(self, limit=1_000_000):
        listing = whole(self, limit)
        (tmp_path / CONTENT).unlink(missing_ok=True)
        return listing

    monkeypatch.setattr(Directory, "list", list_then_remove)
    images, found = read(tmp_path, {CONTENT: CONFIG})
    assert (images, found.state) == ({}, OK)


def write_references_at_each_reading(tmp_path, monkeypatch, *contents):
    """An engine at work: before the first reading of the references it writes the first of `contents`, and so on."""
    read_references = images.read_references
    waiting = list(contents)

    def write_and_read(*arguments):
        if waiting:
            (tmp_path / REPOSITORIES).write_text(json.dumps({"Repositories": waiting.pop(0)}))
        return read_references(*arguments)

    monkeypatch.setattr(images, "read_references", write_and_read)
    return waiting


def test_a_reference_that_was_removed_with_its_image_meanwhile_is_not_there(tmp_path, monkeypatch):
    gone = {"made": {"made:0": f"sha256:{'a' * 64}"}}
    write_references_at_each_reading(tmp_path, monkeypatch, gone, {"app": {"app:1": ID}})

    assert read(tmp_path, {CONTENT: CONFIG})[1].repositories == Present(Repositories({"app:1": ID}))


def test_a_reference_that_moves_on_each_time_is_followed_for_a_while(tmp_path, monkeypatch):
    steps = [{"made": {"made:0": f"sha256:{digit * 64}"}} for digit in "abc"]
    write_references_at_each_reading(tmp_path, monkeypatch, *steps, {"made": {"made:0": ID}})

    assert read(tmp_path, {CONTENT: CONFIG})[1].repositories == Present(Repositories({"made:0": ID}))


def test_a_reference_to_nothing_is_kept_when_two_readings_agree(tmp_path, monkeypatch):
    dangling = {"made": {"made:0": f"sha256:{'a' * 64}"}}
    waiting = write_references_at_each_reading(tmp_path, monkeypatch, dangling, dangling, {"never": {}})

    assert read(tmp_path, {CONTENT: CONFIG})[1].repositories == Present(Repositories({"made:0": f"sha256:{'a' * 64}"}))
    assert waiting == [{"never": {}}]
