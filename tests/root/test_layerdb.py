from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
from support.trees import DIRECTORY, FIFO, SOCKET, Link, place, plant, within, without_rights

from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.root import layerdb, record
from gcd.root.layerdb import LayerDb, read_layerdb
from gcd.root.tree import Directory, open_root

if TYPE_CHECKING:
    from pathlib import Path

CHAIN = "1" * 64
PARENT = "2" * 64
DIR = "d" * 64
OTHER = "e" * 64
OK = SourceState(Coverage.OK)
TAR_SPLIT = gzip.compress(b'{"type":2,"payload":"AAAA","position":0}\n' * 40, mtime=0)
SPECIAL = "a FIFO, socket or device"

RECORD = {
    "diff": f"sha256:{'3' * 64}".encode(),
    "size": b"4711",
    "cache-id": DIR.encode(),
    "parent": f"sha256:{PARENT}".encode(),
    "tar-split.json.gz": TAR_SPLIT,
}
FIELDS = {
    "diff": "diff_id",
    "size": "size",
    "cache-id": "cache_id",
    "parent": "parent",
    "descriptor.json": "descriptor",
    "tar-split.json.gz": "tar_split",
}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return plant(tmp_path / "image/overlay2/layerdb", {f"sha256/{CHAIN}/{k}": v for k, v in RECORD.items()})


def read(tmp_path: Path) -> LayerDb:
    with open_root(str(tmp_path)) as root, within(10):
        return read_layerdb(root, "overlay2")


def test_a_sound_record(tmp_path, db):
    found = read(tmp_path)
    layer = found.layers[f"sha256:{CHAIN}"]
    assert (layer.chain_id, layer.diff_id, layer.size) == (
        f"sha256:{CHAIN}",
        Present(f"sha256:{'3' * 64}"),
        Present(4711),
    )
    assert (layer.cache_id, layer.parent) == (Present(DIR), Present(f"sha256:{PARENT}"))
    assert (layer.descriptor, layer.tar_split) == (ABSENT, Present(len(TAR_SPLIT)))
    newest = max(p.stat().st_ctime_ns for p in [db / "sha256" / CHAIN, *(db / "sha256" / CHAIN).iterdir()])
    assert layer.ctime_ns == newest
    assert (found.layers_state, found.rw_layers_state) == (OK, OK)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize(
    ("planted", "reading"),
    [
        (None, ABSENT),
        (b"", EMPTY),
        (FIFO, Malformed("a regular file", SPECIAL)),
        (SOCKET, Malformed("a regular file", SPECIAL)),
        (DIRECTORY, Malformed("a regular file", "a directory")),
        (Link("size"), Malformed("a regular file", "a symlink")),
    ],
)
def test_each_file_tells_what_stands_in_its_place(tmp_path, db, name, planted, reading):
    path = db / "sha256" / CHAIN / name
    path.unlink(missing_ok=True)
    if planted is not None:
        place(path, planted)
    found = read(tmp_path)
    layer = found.layers[f"sha256:{CHAIN}"]
    assert getattr(layer, FIELDS[name]) == reading
    assert found.layers_state == OK
    others = {field for file, field in FIELDS.items() if file not in {name, "descriptor.json"}}
    assert all(isinstance(getattr(layer, field), Present) for field in others)


@pytest.mark.parametrize(
    ("name", "content", "reading"),
    [
        ("diff", b"sha256:12", Malformed("sha256: and 64 hex digits", "sha256:12")),
        ("parent", b"../../etc", Malformed("sha256: and 64 hex digits", "../../etc")),
        ("cache-id", b"../../../etc", Malformed("the name of a layer dir", "../../../etc")),
        ("cache-id", DIR.encode() + b"\n", Present(DIR)),
        ("size", b"4711\n", Malformed("a decimal number", "4711\\n")),
        ("descriptor.json", b"{}", Present(None)),
        ("diff", b"x" * 5000, Malformed("at most 4096 bytes", "more", 4096)),
    ],
)
def test_each_file_is_parsed_as_the_engine_does(tmp_path, db, name, content, reading):
    place(db / "sha256" / CHAIN / name, content)
    assert getattr(read(tmp_path).layers[f"sha256:{CHAIN}"], FIELDS[name]) == reading


def test_a_damaged_descriptor_is_malformed(tmp_path, db):
    place(db / "sha256" / CHAIN / "descriptor.json", b"{")
    assert isinstance(read(tmp_path).layers[f"sha256:{CHAIN}"].descriptor, Malformed)


@pytest.mark.parametrize("name", FIELDS)
def test_a_file_closed_to_us_is_unreadable(tmp_path, db, name):
    place(db / "sha256" / CHAIN / name, b"x")
    tmp_path.chmod(0o755)
    (db / "sha256" / CHAIN / name).chmod(0)
    with open_root(str(tmp_path)) as root, without_rights():
        layer = read_layerdb(root, "overlay2").layers[f"sha256:{CHAIN}"]
    assert getattr(layer, FIELDS[name]) == Unreadable("EACCES")


@pytest.mark.parametrize("cut", [1, 10, 18, len(TAR_SPLIT) // 2, len(TAR_SPLIT) - 4, len(TAR_SPLIT) - 1])
def test_a_cut_tar_split_is_malformed(tmp_path, db, cut):
    place(db / "sha256" / CHAIN / "tar-split.json.gz", TAR_SPLIT[:cut])
    assert isinstance(read(tmp_path).layers[f"sha256:{CHAIN}"].tar_split, Malformed)


@pytest.mark.parametrize(
    "content",
    [
        TAR_SPLIT[:40] + bytes(len(TAR_SPLIT) - 40),
        bytes(len(TAR_SPLIT)),
        b"{}" + TAR_SPLIT[2:],
    ],
)
def test_a_tar_split_with_a_lost_head_or_tail_is_malformed(tmp_path, db, content):
    place(db / "sha256" / CHAIN / "tar-split.json.gz", content)
    assert isinstance(read(tmp_path).layers[f"sha256:{CHAIN}"].tar_split, Malformed)


@pytest.mark.parametrize("size", [1, 100, 100_000, 10_000_000])
@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("content", [b"\0", b"noise"])
def test_any_whole_tar_split_is_sound_however_it_was_compressed(tmp_path, db, size, level, content):
    raw = bytes(size) if content == b"\0" else os.urandom(min(size, 1_000_000))
    packed = gzip.compress(raw, level)
    place(db / "sha256" / CHAIN / "tar-split.json.gz", packed)
    assert read(tmp_path).layers[f"sha256:{CHAIN}"].tar_split == Present(len(packed))


@pytest.mark.parametrize(
    ("planted", "reading"),
    [(b"", "a regular file"), (FIFO, SPECIAL), (Link("/etc"), "a symlink")],
)
def test_what_is_no_directory_in_a_records_place(tmp_path, db, planted, reading):
    place(db / "sha256" / PARENT, planted)
    layer = read(tmp_path).layers[f"sha256:{PARENT}"]
    wrong = Malformed("a directory", reading)
    assert [getattr(layer, field) for field in FIELDS.values()] == [wrong] * 6


def test_an_empty_record_is_a_record(tmp_path, db):
    place(db / "sha256" / PARENT, DIRECTORY)
    layer = read(tmp_path).layers[f"sha256:{PARENT}"]
    assert [getattr(layer, field) for field in FIELDS.values()] == [ABSENT] * 6
    assert layer.ctime_ns == (db / "sha256" / PARENT).stat().st_ctime_ns


def test_a_record_closed_to_us_is_unreadable_and_the_rest_is_read(tmp_path, db):
    plant(db, {f"sha256/{PARENT}/diff": RECORD["diff"]})
    tmp_path.chmod(0o755)
    (db / "sha256" / PARENT).chmod(0)
    with open_root(str(tmp_path)) as root, without_rights():
        found = read_layerdb(root, "overlay2")
    (db / "sha256" / PARENT).chmod(0o755)
    closed = found.layers[f"sha256:{PARENT}"]
    assert [getattr(closed, field) for field in FIELDS.values()] == [Unreadable("EACCES")] * 6
    assert found.layers[f"sha256:{CHAIN}"].cache_id == Present(DIR)


def test_names_that_are_no_records_are_nobodys(tmp_path, db):
    plant(db, {"sha256/stray": b"", f"sha256/{CHAIN.upper()[:-1]}X/diff": b"", f"sha256/{'a' * 63}/diff": b""})
    found = read(tmp_path)
    assert (found.layers.keys(), found.removing) == ({f"sha256:{CHAIN}"}, {})


def test_records_being_removed(tmp_path, db):
    name = f"{PARENT}-{'9' * 64}-removing"
    plant(db, {f"sha256/{name}/cache-id": OTHER.encode(), f"sha256/{name}/parent": b""})
    found = read(tmp_path)
    assert found.layers.keys() == {f"sha256:{CHAIN}"}
    removing = found.removing[name]
    assert (removing.name, removing.chain_id) == (name, f"sha256:{PARENT}")
    assert (removing.cache_id, removing.parent) == (Present(OTHER), EMPTY)


def test_write_sets(tmp_path, db):
    plant(
        db,
        {
            "tmp/write-set-1/tar-split.json.gz": b"x",
            "tmp/write-set-2/cache-id": OTHER.encode(),
            "tmp/write-set-3": FIFO,
            "tmp/else/cache-id": DIR.encode(),
        },
    )
    sets = read(tmp_path).write_sets
    assert {name: found.cache_id for name, found in sets.items()} == {
        "write-set-1": ABSENT,
        "write-set-2": Present(OTHER),
        "write-set-3": Malformed("a directory", SPECIAL),
    }
    growing = db / "tmp/write-set-1/tar-split.json.gz"
    growing.write_bytes(b"xx")
    assert read(tmp_path).write_sets["write-set-1"].ctime_ns == growing.stat().st_ctime_ns


def test_rw_layer_records_of_every_form_of_name(tmp_path, db):
    container, build, nested = "a" * 64, "y" * 25, f"{'a' * 64}-docker.io/library/x:tag"
    plant(
        db,
        {
            f"mounts/{container}/mount-id": DIR.encode(),
            f"mounts/{container}/init-id": f"{DIR}-init".encode(),
            f"mounts/{container}/parent": f"sha256:{CHAIN}".encode(),
            f"mounts/{build}/mount-id": OTHER.encode(),
            f"mounts/{nested}/mount-id": OTHER.encode(),
            "mounts/empty": DIRECTORY,
            "mounts/linked": Link(container),
        },
    )
    found = read(tmp_path)
    assert found.rw_layers_state == OK
    assert found.rw_layers.keys() == {container, build, nested, "empty", "linked"}
    first = found.rw_layers[container]
    assert (first.name, first.mount_id) == (container, Present(DIR))
    assert (first.init_id, first.parent) == (Present(f"{DIR}-init"), Present(f"sha256:{CHAIN}"))
    assert found.rw_layers[nested].mount_id == Present(OTHER)
    assert found.rw_layers["empty"].mount_id == ABSENT
    assert found.rw_layers["linked"].mount_id == Malformed("a directory", "a symlink")


@pytest.mark.parametrize(
    ("planted", "reading"),
    [
        (b"", EMPTY),
        (b"../x", Malformed("64 hex digits, or these and -init", "../x")),
        (FIFO, Malformed("a regular file", SPECIAL)),
        (Link("/etc/passwd"), Malformed("a regular file", "a symlink")),
        (DIRECTORY, Malformed("a regular file", "a directory")),
    ],
)
def test_what_stands_in_the_place_of_a_mount_id(tmp_path, db, planted, reading):
    plant(db, {"mounts/x/mount-id": planted, "mounts/x/parent": f"sha256:{CHAIN}".encode()})
    found = read(tmp_path).rw_layers
    assert found["x"].mount_id == reading
    assert found["x"].parent == Present(f"sha256:{CHAIN}")


def test_names_nested_without_end_are_cut_and_the_source_is_partial(tmp_path, db, monkeypatch):
    monkeypatch.setattr(layerdb, "MAX_NESTING", 3)
    plant(db, {"mounts/a/b/c/d/mount-id": DIR.encode(), "mounts/a/b/c/d/e/mount-id": DIR.encode()})
    found = read(tmp_path)
    assert found.rw_layers.keys() == {"a/b/c/d"}
    assert found.rw_layers_state == SourceState(
        Coverage.PARTIAL, "image/overlay2/layerdb/mounts cannot be listed whole (names nest deeper than 3)"
    )


def test_the_deepest_honest_name_is_read(tmp_path, db):
    name = "/".join("a" * 120)
    plant(db, {f"mounts/{name}/mount-id": DIR.encode()})
    assert read(tmp_path).rw_layers.keys() == {name}


def test_a_directory_of_names_listed_in_part_is_partial(tmp_path, db, monkeypatch):
    monkeypatch.setattr(record, "MAX_FILES", 2)
    plant(db, {f"mounts/a/{n}/mount-id": DIR.encode() for n in range(5)})
    assert read(tmp_path).rw_layers_state.coverage is Coverage.PARTIAL


def test_a_fresh_layerdb_is_whole_and_empty(tmp_path):
    plant(tmp_path, {"image/overlay2/layerdb": DIRECTORY})
    assert read(tmp_path) == LayerDb({}, {}, {}, OK, {}, OK)


def test_no_layerdb_is_absent(tmp_path):
    state = SourceState(Coverage.ABSENT, "image/overlay2/layerdb is not there")
    assert read(tmp_path) == LayerDb({}, {}, {}, state, {}, state)


@pytest.mark.parametrize("level", ["image", "image/overlay2", "image/overlay2/layerdb"])
def test_a_symlink_on_the_way_is_not_followed(tmp_path, db, level):
    assert db.is_dir()
    (tmp_path / level).rename(tmp_path / "aside")
    (tmp_path / level).symlink_to(tmp_path / "aside")
    found = read(tmp_path)
    why = "image/overlay2/layerdb is not a directory but a symlink"
    assert found.layers == {}
    assert found.layers_state == found.rw_layers_state == SourceState(Coverage.UNREADABLE, why)


@pytest.mark.parametrize(
    ("name", "layers", "rw_layers"),
    [
        ("sha256", Coverage.UNREADABLE, Coverage.OK),
        ("tmp", Coverage.UNREADABLE, Coverage.OK),
        ("mounts", Coverage.OK, Coverage.UNREADABLE),
    ],
)
def test_a_part_closed_to_us_is_unreadable(tmp_path, db, name, layers, rw_layers):
    place(db / name, DIRECTORY)
    tmp_path.chmod(0o755)
    (db / name).chmod(0)
    with open_root(str(tmp_path)) as root, without_rights():
        found = read_layerdb(root, "overlay2")
    (db / name).chmod(0o755)
    assert (found.layers_state.coverage, found.rw_layers_state.coverage) == (layers, rw_layers)
    assert f"image/overlay2/layerdb/{name} cannot be read (EACCES)" in {
        found.layers_state.why,
        found.rw_layers_state.why,
    }


def test_records_that_vanish_between_listing_and_reading_are_not_there(tmp_path, db, monkeypatch):
    plant(db, {"mounts/x/mount-id": DIR.encode(), "tmp/write-set-1/size": b"1"})

    def removing_after(whole):
        def list_then_remove(self, *arguments):
            listing = whole(self, *arguments)
            for part in ("sha256", "mounts", "tmp"):
                if (db / part).is_dir() and self.stat().st_ino == (db / part).stat().st_ino:
                    for entry in (db / part).iterdir():
                        entry.rename(tmp_path / entry.name)
            return listing

        return list_then_remove

    for name in ("list", "list_formed"):
        monkeypatch.setattr(Directory, name, removing_after(getattr(Directory, name)))
    assert read(tmp_path) == LayerDb({}, {}, {}, OK, {}, OK)
