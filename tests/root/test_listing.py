"""What is compiled to go through directories and what does it in Python are the same."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import compiled
from support.compiled import LISTING, needs_compiled
from support.trees import DIRECTORY, FIFO, Link, plant, without_rights

from gcd.root import descent, listing, tree
from gcd.root.forms import DIGIT, HEX
from gcd.root.listing import MOST_LEVELS

both = pytest.mark.parametrize("counter", [pytest.param(listing, id="python"), LISTING])


@needs_compiled
def test_the_compiled_one_is_what_reads_here():
    assert tree.list_entries is compiled.listing.list_entries
    assert tree.list_formed is compiled.listing.list_formed
    assert descent.count_below is compiled.listing.count_below


TYPES = ("file", "directory", "symlink", "other")

lister = pytest.mark.parametrize("lister", [pytest.param(listing, id="python"), LISTING])


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


def formed_by(lister, home, templates, most=1_000_000):
    with opened(home) as fd:
        names, entries, stopped = lister.list_formed(fd, most, TYPES, templates)
        again = lister.list_formed(fd, most, TYPES, templates)
        assert (names, entries, stopped) == again
        assert all(one is other for one, other in zip(names, again[0], strict=True))
    return sorted(names), entries, stopped


@lister
def test_names_of_a_form_are_listed_apart(tmp_path, lister):
    formed = {"0f": b"", "1e": Link("0f"), "x1": DIRECTORY, "x2": FIFO}
    others = {
        "0F": "file", "0f\n": "file", "0f\udcff": "file", "٣": "symlink", "x٣": "file", "0g": "directory",
        "0f0": "other", "0": "file", "x" * 255: "file",
    }  # fmt: skip
    kinds = {"file": b"", "symlink": Link("0f"), "directory": DIRECTORY, "other": FIFO}
    plant(tmp_path, {**formed, **{name: kinds[kind] for name, kind in others.items()}})
    templates = (HEX * 2, b"x" + DIGIT)

    assert formed_by(lister, tmp_path, templates) == (sorted(formed), others, 0)
    assert formed_by(lister, tmp_path, templates, most=13) == (sorted(formed), others, 0)
    cut_names, cut, stopped = formed_by(lister, tmp_path, templates, most=12)
    assert (len(cut_names) + len(cut), stopped) == (12, listing.MORE)
    assert formed_by(lister, tmp_path, (), most=13)[0] == []
    assert formed_by(lister, tmp_path, (), most=13)[1].keys() == formed.keys() | others.keys()
    assert formed_by(lister, tmp_path / "x1", templates) == ([], {}, 0)
    assert formed_by(lister, tmp_path / "0f", templates) == ([], {}, errno.ENOTDIR)


@needs_compiled
@given(st.sets(st.text("0fFx\udcff\n", min_size=1, max_size=3)))
def test_both_know_the_same_names(tmp_path_factory, names):
    home = tmp_path_factory.mktemp("names")
    plant(home, dict.fromkeys(names, b""))
    templates = (HEX * 2, b"x" + HEX, b"\n")

    assert formed_by(compiled.listing, home, templates) == formed_by(listing, home, templates)


RACES = 30_000
"""So often a change is hoped to fall between two system calls."""


class Counted:
    """All that was told, added up."""

    def __init__(self) -> None:
        self.sums = [0, 0, 0, 0]
        self.links: list[tuple[int, int, int]] = []
        self.times = 0

    def told(self, *news):
        *sums, links = news
        self.sums = [one + other for one, other in zip(self.sums, sums, strict=True)]
        self.links += links
        self.times += 1


@contextmanager
def opened(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def counted_by(counter, fd, levels, device=None):
    """Blocks, inodes, sizes, what was unreadable; links; ways to what lies deeper. Counted twice by one descriptor."""
    counter.count_below(fd, 0, levels, lambda *_: None)
    counted = Counted()
    deeper = counter.count_below(fd, os.fstat(fd).st_dev if device is None else device, levels, counted.told)
    return counted.sums, sorted(counted.links), sorted(deeper)


def blocks_of(*paths):
    return sum(path.lstat().st_blocks for path in paths)


@both
def test_what_the_entries_of_a_directory_take(tmp_path, counter):
    home = tmp_path / "home"
    plant(home, {"a": b"x" * 5000, "b": b"", "\udcff": Link("a" * 100), "fifo": FIFO, "d/e": b"x" * 9000})
    plant(home, {"twice": b"x" * 3})
    (home / "again").hardlink_to(home / "twice")
    (tmp_path / "elsewhere").hardlink_to(home / "twice")
    status = (home / "twice").lstat()
    blocks = blocks_of(*(home / name for name in ("a", "b", "\udcff", "fifo", "d")))

    link = (status.st_ino, status.st_blocks, 3)
    with opened(home) as fd:
        assert counted_by(counter, fd, 0) == ([blocks, 5, 5100, 0], [link, link], [("d",)])
        assert counted_by(counter, fd, 0, device=1) == ([0, 0, 0, 0], [], [])


@both
def test_so_many_levels_are_entered(tmp_path, counter):
    plant(tmp_path, {"file": b"1", "a/file": b"12", "a/b/file": b"123", "a/b/c/file": b"1234", "x/y/z": DIRECTORY})
    within = [path for path in tmp_path.rglob("*") if len(path.relative_to(tmp_path).parts) <= 3]

    with opened(tmp_path) as fd:
        assert counted_by(counter, fd, 2) == ([blocks_of(*within), 9, 6, 0], [], [("a", "b", "c"), ("x", "y", "z")])
        assert counted_by(counter, fd, 3) == ([blocks_of(*tmp_path.rglob("*")), 10, 10, 0], [], [])


@both
def test_more_levels_than_there_may_be_are_refused(memory, counter):
    way = [f"{number:-<255}" for number in range(MOST_LEVELS + 1)]
    here = os.open(memory, os.O_RDONLY)
    for name in [*way, "deeper"]:
        os.mkdir(name, dir_fd=here)
        there = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)

    with opened(memory) as fd:
        assert counted_by(counter, fd, MOST_LEVELS)[2] == [tuple(way)]
    for levels in (-1, MOST_LEVELS + 1):
        with pytest.raises(ValueError, match="so many levels"):
            counter.count_below(0, 0, levels, lambda *_: None)


@both
def test_a_directory_of_many_entries_is_counted_whole_and_told_of_on_the_way(tmp_path, counter):
    names = [f"{number}".rjust(250, "x") for number in range(2_000)]
    plant(tmp_path, {f"{name}/x" if number % 2 else name: b"1" for number, name in enumerate(names)})
    counted = Counted()
    with opened(tmp_path) as fd:
        deeper = counter.count_below(fd, os.fstat(fd).st_dev, 1, counted.told)

    assert (counted.sums, deeper) == ([blocks_of(*tmp_path.rglob("*")), 3_000, 2_000, 0], [])
    assert counted.times > 3_000 // 200


@both
def test_each_name_of_what_has_several_is_told(tmp_path, counter):
    plant(tmp_path, {"d/0": b"12345"})
    for number in range(1, 500):
        (tmp_path / "d" / f"{number}").hardlink_to(tmp_path / "d" / "0")
    status = (tmp_path / "d" / "0").lstat()

    with opened(tmp_path) as fd:
        sums, links, _ = counted_by(counter, fd, MOST_LEVELS)
    assert (sums[1:], links) == ([1, 0, 0], [(status.st_ino, status.st_blocks, 5)] * 500)


@both
def test_a_symlink_is_not_followed(tmp_path, counter):
    plant(tmp_path / "elsewhere", {"big": b"x" * 100_000})
    plant(tmp_path / "home", {"way": Link("../elsewhere"), "d/way": Link(str(tmp_path / "elsewhere"))})

    lengths = len("../elsewhere") + len(str(tmp_path / "elsewhere"))
    with opened(tmp_path / "home") as fd:
        sums, _, deeper = counted_by(counter, fd, MOST_LEVELS)
    assert (sums[1:], deeper) == ([3, lengths, 0], [])


@both
def test_a_directory_that_cannot_be_listed_counts_as_unreadable(tmp_path, counter):
    (tmp_path / "file").write_bytes(b"")

    with opened(tmp_path / "file") as fd:
        assert counted_by(counter, fd, 1) == ([0, 0, 0, 1], [], [])


@both
def test_what_cannot_be_looked_at_or_entered_counts_as_unreadable(tmp_path, counter):
    """The entries of a directory that may only be read, and those of one that may not even be."""
    plant(tmp_path / "listed", {"a": b"", "b": b""})
    plant(tmp_path / "closed", {"a": b""})
    (tmp_path / "listed").chmod(0o644)
    (tmp_path / "closed").chmod(0)
    tmp_path.chmod(0o755)
    try:
        with opened(tmp_path) as fd, without_rights():
            sums, _, _ = counted_by(counter, fd, 1)
    finally:
        (tmp_path / "listed").chmod(0o755)
        (tmp_path / "closed").chmod(0o755)
    assert sums == [blocks_of(tmp_path / "listed", tmp_path / "closed"), 2, 0, 3]


@pytest.mark.root
@both
def test_what_is_mounted_is_not_entered(tmp_path, counter):
    plant(tmp_path, {"a/b/file": b"12", "a/mnt": DIRECTORY})
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path / "a/mnt")], check=True)
    try:
        plant(tmp_path / "a/mnt", {"file": b"x" * 10_000})
        with opened(tmp_path) as fd:
            sums, _, deeper = counted_by(counter, fd, 1)
    finally:
        subprocess.run(["umount", str(tmp_path / "a/mnt")], check=True)
    assert (sums[1:], deeper) == ([2, 0, 0], [("a", "b")])


REPLACING = """
import ctypes
libc = ctypes.CDLL(None)
print(flush=True)
while True:
    libc.renameat2(-100, b"home/d", -100, b"way", 2)  # RENAME_EXCHANGE
"""


@needs_compiled
def test_a_directory_that_becomes_a_symlink_between_looking_and_opening_leads_nowhere(tmp_path):
    plant(tmp_path, {"home/d": DIRECTORY, "way": Link("../elsewhere"), "elsewhere/file": b"12345"})
    with (
        subprocess.Popen([sys.executable, "-c", REPLACING], cwd=tmp_path, stdout=subprocess.PIPE) as replacing,
        opened(tmp_path / "home") as fd,
    ):
        replacing.stdout.readline()
        counts = [counted_by(compiled.listing, fd, 1)[0] for _ in range(RACES)]
        replacing.kill()

    # Either of the two, and which of them is chance.
    assert {tuple(sums[1:]) for sums in counts} <= {(1, 0, 0), (1, len("../elsewhere"), 0)}


@both
def test_what_the_caller_raises_ends_the_counting(tmp_path, counter):
    plant(tmp_path, {f"d/{number}": b"" for number in range(1_000)})
    plant(tmp_path, {f"e/{number}": b"" for number in range(1_000)})
    before = len(list(Path("/proc/self/fd").iterdir()))
    seen = 0

    def told(_blocks, inodes, *_):
        nonlocal seen
        seen += inodes
        if seen > 100:
            raise KeyboardInterrupt

    with opened(tmp_path) as fd, pytest.raises(KeyboardInterrupt):
        counter.count_below(fd, os.fstat(fd).st_dev, MOST_LEVELS, told)
    assert seen < 2_000
    assert len(list(Path("/proc/self/fd").iterdir())) == before


FOLDERS = st.lists(st.sampled_from(["d", "e", "mar\udcffk", "x" * 255]), max_size=5)
LEAVES = st.sampled_from([b"", b"x" * 5000, DIRECTORY, FIFO, Link("d"), Link("/" * 70)])
PATHS = st.builds(lambda folders, name: "/".join([*folders, name]), FOLDERS, st.sampled_from("abc"))


@both
def test_sizes_of_which_each_is_the_greatest_are_told_whole(counter):
    """Sparse files of 8 EiB, which not every file system takes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as home:
        for name in "abc":
            with (Path(home) / name).open("wb") as file:
                file.truncate(2**63 - 1)
        with opened(home) as fd:
            told = []
            device = os.fstat(fd).st_dev
            counter.count_below(fd, device, 0, lambda _blocks, inodes, size, *_: told.append((inodes, size)))
    assert [sum(values) for values in zip(*told, strict=True)] == [3, 3 * (2**63 - 1)]


@both
def test_it_counts_from_the_beginning_wherever_somebody_else_stopped(tmp_path, counter):
    plant(tmp_path, {"a": b"1", "b": b"2"})
    told = []
    with opened(tmp_path) as fd:
        os.lseek(fd, 0, os.SEEK_END)
        counter.count_below(fd, os.fstat(fd).st_dev, 0, lambda _blocks, inodes, *_: told.append(inodes))
    assert sum(told) == 2


@lister
def test_it_lists_from_the_beginning_wherever_somebody_else_stopped(tmp_path, lister):
    plant(tmp_path, {"a": b"1", "b": b"2"})
    with opened(tmp_path) as fd:
        os.lseek(fd, 0, os.SEEK_END)
        assert lister.list_entries(fd, 9, TYPES) == ({"a": "file", "b": "file"}, 0)


@needs_compiled
@given(st.dictionaries(PATHS, LEAVES, max_size=9), st.lists(FOLDERS, max_size=4), st.integers(0, 6))
def test_both_count_the_same(tmp_path_factory, entries, linked, levels):
    home = tmp_path_factory.mktemp("entries")
    plant(home, entries | {"file": b"1"})
    for number, folders in enumerate(linked):
        home.joinpath(*folders).mkdir(parents=True, exist_ok=True)
        home.joinpath(*folders, f"{number}").hardlink_to(home / "file")

    with opened(home) as fd:
        assert counted_by(compiled.listing, fd, levels) == counted_by(listing, fd, levels)


def test_the_compiled_one_opens_nothing_for_writing():
    source = (Path(listing.__file__).parent / "_listing.c").read_text()

    assert set(re.findall(r"\bO_[A-Z]+\b", source)) == {"O_RDONLY", "O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC"}
    calls = set(re.findall(r"\b(\w*(?:at|read\w*|seek|stat|close|syscall))\(", source))
    assert {"unlinkat", "renameat", "mkdirat", "write"}.isdisjoint(calls)
