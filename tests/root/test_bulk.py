"""What is compiled to go through directories and what does it in Python are the same."""

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

from gcd.root import bulk, descent, listing, tree

CONTENTS = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"x" * 3000, b"x" * 3001, b"ab" * 9, b"ab" * 2047, b"ab" * 2048, b"ab" * 2049, b"ab" * 5000]),
    st.sampled_from([DIRECTORY, FIFO, Link("text"), Link("/")]),
)
NAMES = st.sampled_from(["text", "mark", "texts", "tex", "Text", "mar\udcffk", "x" * 255])

both = pytest.mark.parametrize("reader", [pytest.param(bulk, id="python"), COMPILED])


@needs_compiled
def test_the_compiled_one_is_what_reads_here():
    assert tree.list_entries is compiled.bulk.list_entries
    assert descent.count_entries is compiled.bulk.count_entries


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


def test_the_compiled_one_opens_nothing():
    source = (Path(bulk.__file__).parent / "_bulk.c").read_text()

    assert set(re.findall(r"\bO_[A-Z]+\b", source)) == set()
    calls = set(re.findall(r"\b(\w*(?:at|read\w*|seek|stat|close|syscall))\(", source))
    assert {"unlinkat", "renameat", "mkdirat", "write"}.isdisjoint(calls)
