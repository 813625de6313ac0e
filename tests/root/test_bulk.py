"""The compiled reader of records and the one in Python are the same."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import compiled
from support.compiled import COMPILED, needs_compiled
from support.trees import DIRECTORY, FIFO, Link, plant, without_rights

from gcd.root import bulk, descent, listing, rows, tree
from gcd.root.bulk import Kind

FORM = (
    ("text", Kind.TEXT, 5),
    ("long", Kind.TEXT, 3000),
    ("ends", Kind.ENDS, 0),
    ("mark", Kind.MARK, 0),
    ("plain", Kind.DIRECTORY, 0),
    ("dated", Kind.DATED_DIRECTORY, 0),
)
SOUND = {
    "text": b"12345",
    "long": b"\xff\n" * 1500,
    "ends": bytes(range(250)) * 4,
    "mark": b"whatever",
    "plain": DIRECTORY,
    "dated": DIRECTORY,
}
CONTENTS = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"x" * 3000, b"x" * 3001, b"ab" * 9, b"ab" * 2047, b"ab" * 2048, b"ab" * 2049, b"ab" * 5000]),
    st.sampled_from([DIRECTORY, FIFO, Link("text"), Link("/")]),
)
NAMES = st.sampled_from([*SOUND, "texts", "tex", "Text", "mar\udcffk", "x" * 255])

both = pytest.mark.parametrize("reader", [pytest.param(bulk, id="python"), COMPILED])


def found_by(reader, home, names):
    fd = os.open(home, os.O_RDONLY)
    try:
        return reader.read_records(fd, names, FORM)
    finally:
        os.close(fd)


@needs_compiled
def test_the_compiled_one_is_what_reads_here():
    assert rows.read_records is compiled.bulk.read_records
    assert rows.read_symlinks is compiled.bulk.read_symlinks
    assert tree.list_entries is compiled.bulk.list_entries
    assert descent.count_entries is compiled.bulk.count_entries


@both
def test_a_record_is_given_as_it_is(tmp_path, reader):
    plant(tmp_path / "record", SOUND)
    os.utime(tmp_path / "record" / "plain")  # the newest, and not asked for
    newest = max((tmp_path / "record" / name).stat().st_ctime_ns for name in ("text", "long", "ends", "dated"))
    newest = max(newest, (tmp_path / "record").stat().st_ctime_ns)

    texts = "12345\n" + "\xff\n" * 1500
    ends = SOUND["ends"][:10] + SOUND["ends"][-8:]
    assert found_by(reader, tmp_path, ["record"]) == [(0b111111, texts, ends, 1000, newest)]


@both
def test_a_part_that_is_not_there_leaves_no_line(tmp_path, reader):
    plant(tmp_path, {"record/long": b"x", "empty/text": b"", "empty/long": b"x", "none/mark": b""})

    none, record, gone, empty = found_by(reader, tmp_path, ["none", "record", "gone", "empty"])
    assert gone is None
    assert (none[:2], record[:2], empty[:2]) == ((0b1000, ""), (0b10, "x"), (0b11, "\nx"))
    assert none[2:4] == record[2:4] == empty[2:4] == (b"", 0)


@both
@pytest.mark.parametrize("size", [18, 4095, 4096, 4097, 100_000])
def test_the_ends_of_a_file_of_any_size(tmp_path, reader, size):
    content = os.urandom(size)
    plant(tmp_path, {"record/ends": content})

    (found,) = found_by(reader, tmp_path, ["record"])
    assert found[:4] == (0b100, "", content[:10] + content[-8:], size)


@both
@pytest.mark.parametrize(
    "change",
    [
        {"text": b"123456"},
        {"text": DIRECTORY},
        {"text": Link("mark")},
        {"text": FIFO},
        {"mark": FIFO},
        {"plain": b""},
        {"dated": Link("plain")},
        {"ends": b"x" * 17},
        {"Text": b""},
        {"texts": b""},
        {"": b""},
    ],
)
def test_nothing_is_given_of_one_that_has_another_form(tmp_path, reader, change):
    changed = {name: entry for name, entry in (SOUND | change).items() if name}
    plant(tmp_path / "record", changed)
    if "" in change:
        (tmp_path / "record").rename(tmp_path / "elsewhere")
        (tmp_path / "record").symlink_to("elsewhere")

    assert found_by(reader, tmp_path, ["record"]) == [None]


@both
@pytest.mark.parametrize("name", ["", ".", "..", "record/plain", "/", "record\0"])
def test_what_is_not_one_name_is_refused(tmp_path, reader, name):
    plant(tmp_path / "record", SOUND)

    with pytest.raises(ValueError, match=r"not one name|null byte"):
        found_by(reader, tmp_path, ["record", name])
    with pytest.raises(ValueError, match=r"not one name|null byte"):
        reader.read_symlinks(0, [name])


@needs_compiled
@pytest.mark.parametrize("kind", [-1, 5])
def test_the_compiled_one_refuses_a_form_that_it_does_not_know(kind):
    for form in ((("text", kind, 1),), (("text", 0, 9000),), (("text", 0, -1),), (("a/b", 0, 1),), FORM * 2):
        with pytest.raises(ValueError, match="no form of a record"):
            compiled.bulk.read_records(0, ["record"], form)


@both
def test_a_symlink_is_given_as_it_is(tmp_path, reader):
    plant(tmp_path, {"one": Link("\udcff/../x"), "file": b"", "dir": DIRECTORY})
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        ctime_ns = (tmp_path / "one").lstat().st_ctime_ns
        names = ["file", "one", "gone", "dir"]
        assert reader.read_symlinks(fd, names) == [None, ("\xff/../x", ctime_ns), None, None]
    finally:
        os.close(fd)


@needs_compiled
@given(st.lists(st.dictionaries(NAMES, CONTENTS), max_size=4))
def test_both_give_the_same_of_any_record(tmp_path_factory, records):
    home = tmp_path_factory.mktemp("records")
    for number, entries in enumerate(records):
        plant(home, {f"{number}": DIRECTORY} | {f"{number}/{name}": entry for name, entry in entries.items()})
    names = [f"{number}" for number in range(len(records) + 1)]

    assert found_by(compiled.bulk, home, names) == found_by(bulk, home, names)


@both
def test_no_descriptor_stays_open(tmp_path, reader):
    plant(tmp_path / "sound", SOUND)
    plant(tmp_path / "odd", SOUND | {"text": b"123456"})
    plant(tmp_path / "odder", SOUND | {"other": b""})
    before = len(list(Path("/proc/self/fd").iterdir()))
    found_by(reader, tmp_path, ["sound", "odd", "odder", "gone"] * 50)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


TYPES = ("file", "directory", "symlink", "other")

lister = pytest.mark.parametrize("lister", [pytest.param(listing, id="python"), COMPILED])


def listed_by(lister, home, most=1_000_000):
    fd = os.open(home, os.O_RDONLY)
    try:
        listed = lister.list_entries(fd, most, TYPES)
        assert lister.list_entries(fd, most, TYPES) == listed
        return listed
    finally:
        os.close(fd)


@lister
def test_the_entries_of_a_directory_with_their_types(tmp_path, lister):
    plant(tmp_path, {"a": b"", "d/e": b"", "\udcff": Link("d"), "fifo": FIFO, ".x": b"", "...": DIRECTORY})
    entries = {
        "a": "file", "d": "directory", "\udcff": "symlink", "fifo": "other", ".x": "file", "...": "directory",
    }  # fmt: skip

    assert listed_by(lister, tmp_path) == (entries, 0)
    assert listed_by(lister, tmp_path, most=6) == (entries, 0)
    cut, stopped = listed_by(lister, tmp_path, most=5)
    assert (len(cut), cut.items() < entries.items(), stopped) == (5, True, listing.MORE)


@lister
def test_many_entries_are_listed_whole(tmp_path, lister):
    names = [f"{number}".rjust(250, "x") for number in range(2_000)]
    plant(tmp_path, dict.fromkeys(names, b""))

    assert listed_by(lister, tmp_path) == (dict.fromkeys(names, "file"), 0)


@lister
def test_what_is_no_directory_or_gone_has_no_entries(tmp_path, lister):
    plant(tmp_path, {"file": b"", "gone": DIRECTORY})
    assert listed_by(lister, tmp_path / "file") == ({}, errno.ENOTDIR)
    fd = os.open(tmp_path / "gone", os.O_RDONLY)
    try:
        (tmp_path / "gone").rmdir()
        assert lister.list_entries(fd, 1, TYPES) in [({}, 0), ({}, errno.ENOENT)]
    finally:
        os.close(fd)


def counted_by(reader, home, device=None):
    fd = os.open(home, os.O_RDONLY)
    try:
        reader.count_entries(fd, 0)
        *sums, directories, links, unreadable = reader.count_entries(fd, device or os.fstat(fd).st_dev)
        return *sums, sorted(directories), sorted(links), unreadable
    finally:
        os.close(fd)


@both
def test_what_the_entries_of_a_directory_take(tmp_path, reader):
    home = tmp_path / "home"
    plant(home, {"a": b"x" * 5000, "b": b"", "\udcff": Link("a" * 100), "fifo": FIFO, "d/e": b"x" * 9000})
    plant(home, {"twice": b"x" * 3})
    (home / "again").hardlink_to(home / "twice")
    (tmp_path / "elsewhere").hardlink_to(home / "twice")
    status = (home / "twice").lstat()
    blocks = sum((home / name).lstat().st_blocks for name in ("a", "b", "\udcff", "fifo", "d"))

    link = (status.st_ino, status.st_blocks, 3)
    assert counted_by(reader, home) == (blocks, 5, 5100, ["d"], [link, link], 0)
    assert counted_by(reader, home, device=1) == (0, 0, 0, [], [], 0)


@both
def test_a_directory_of_many_entries_is_counted_whole(tmp_path, reader):
    names = [f"{number}".rjust(250, "x") for number in range(2_000)]
    plant(tmp_path, {f"{name}/x" if number % 2 else name: b"1" for number, name in enumerate(names)})
    blocks = sum(path.lstat().st_blocks for path in tmp_path.iterdir())

    assert counted_by(reader, tmp_path) == (blocks, 2_000, 1_000, sorted(names[1::2]), [], 0)


@both
def test_a_directory_that_cannot_be_listed_counts_as_unreadable(tmp_path, reader):
    (tmp_path / "file").write_bytes(b"")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert reader.count_entries(fd, os.fstat(fd).st_dev) == (0, 0, 0, [], [], 1)
    finally:
        os.close(fd)


@both
def test_an_entry_that_cannot_be_looked_at_counts_as_unreadable(tmp_path, reader):
    """A directory may be read but not entered."""
    plant(tmp_path, {"a": b"", "b": b""})
    fd = os.open(tmp_path, os.O_RDONLY)
    tmp_path.chmod(0o644)
    try:
        with without_rights():
            assert reader.count_entries(fd, os.fstat(fd).st_dev) == (0, 0, 0, [], [], 2)
    finally:
        tmp_path.chmod(0o755)
        os.close(fd)


@needs_compiled
@given(st.dictionaries(NAMES, CONTENTS))
def test_both_count_the_same(tmp_path_factory, entries):
    home = tmp_path_factory.mktemp("entries")
    plant(home, entries)

    assert counted_by(compiled.bulk, home) == counted_by(bulk, home)


def test_the_compiled_one_opens_nothing_for_writing():
    source = (Path(bulk.__file__).parent / "_bulk.c").read_text()
    flags = set(re.findall(r"\bO_[A-Z]+\b", source))

    assert flags == {"O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_DIRECTORY"}
    calls = set(re.findall(r"\b(\w*(?:at|read\w*|seek|stat|close|syscall))\(", source))
    assert {"unlinkat", "renameat", "mkdirat", "write"}.isdisjoint(calls)
