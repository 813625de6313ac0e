from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.trees import DIRECTORY, FIFO, SOCKET, Link, plant, within, without_rights

from gcd.model.errors import FormatError, NotADockerRoot, RootNotFound, RootUnreadable
from gcd.model.facts import FileType
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.root.tree import Directory, Listing, combined, listing_state, open_root, source_state

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Directory]:
    with open_root(str(tmp_path)) as directory:
        yield directory


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def refuse(_raw: bytes) -> bytes:
    raise FormatError("x", offset=3, expected="sense", found="nonsense")


@pytest.mark.parametrize(
    ("planted", "reading"),
    [
        (b"text", Present(b"text")),
        (b"", EMPTY),
        (FIFO, Malformed("a regular file", "a FIFO, socket or device")),
        (SOCKET, Malformed("a regular file", "a FIFO, socket or device")),
        (DIRECTORY, Malformed("a regular file", "a directory")),
        (Link("/etc/passwd"), Malformed("a regular file", "a symlink")),
        (Link("nowhere"), Malformed("a regular file", "a symlink")),
        (b"12345678", Present(b"12345678")),
        (b"123456789", Malformed("at most 8 bytes", "more", 8)),
    ],
)
def test_read_tells_what_stands_in_a_files_place(tmp_path, root, planted, reading):
    plant(tmp_path, {"f": planted})
    with within(5):
        assert root.read("f", 8, bytes) == reading
    assert root.read("g", 8, bytes) == ABSENT


@pytest.mark.root
def test_a_device_is_not_read(tmp_path, root):
    os.mknod(tmp_path / "f", 0o666 | 0o020000, os.makedev(1, 5))  # zero: endless
    assert root.read("f", 8, bytes) == Malformed("a regular file", "a FIFO, socket or device")


def test_the_parsers_complaint_becomes_malformed(tmp_path, root):
    plant(tmp_path, {"f": b"x"})
    assert root.read("f", 8, refuse) == Malformed("sense", "nonsense", 3)
    assert root.read_ends("f", 4, 4, lambda *_: refuse(b""))[0] == Malformed("sense", "nonsense", 3)


def test_a_file_closed_to_us_is_unreadable_not_absent(tmp_path, root):
    plant(tmp_path, {"f": b"x", "d/f": b"x"})
    tmp_path.chmod(0o755)
    (tmp_path / "f").chmod(0)
    (tmp_path / "d").chmod(0)
    with without_rights():
        assert root.read("f", 8, bytes) == Unreadable("EACCES")
        assert root.open("d") == Unreadable("EACCES")
        assert root.open_path("d/f") == Unreadable("EACCES")
    (tmp_path / "d").chmod(0o755)


def test_a_file_longer_than_it_said_is_read_to_its_end():
    with open_root("/proc/self") as directory:  # files of /proc say that they have 0 bytes
        reading = directory.read("status", 1 << 16, bytes)
    assert isinstance(reading, Present)
    assert reading.value.startswith(b"Name:")
    assert b"voluntary_ctxt_switches" in reading.value


def test_short_reads_are_continued(tmp_path, root, monkeypatch):
    plant(tmp_path, {"f": b"0123456789"})
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: read(fd, min(size, 3)))
    assert root.read("f", 64, bytes) == Present(b"0123456789")
    assert root.read("f", 9, bytes) == Malformed("at most 9 bytes", "more", 9)


def test_an_error_while_reading_is_unreadable_and_leaks_no_descriptor(tmp_path, root, monkeypatch):
    plant(tmp_path, {"f": b"x"})

    def fail(_fd: int, _size: int) -> bytes:
        raise OSError(errno.EIO, "bad sector")

    monkeypatch.setattr(os, "read", fail)
    before = len(open_descriptors())
    assert root.read("f", 8, bytes) == Unreadable("EIO")
    assert len(open_descriptors()) == before


def test_the_ctime_is_that_of_the_file(tmp_path, root):
    plant(tmp_path, {"f": b"x"})
    assert root.read_stamped("f", 8, bytes) == (Present(b"x"), (tmp_path / "f").stat().st_ctime_ns)
    assert root.read_stamped("g", 8, bytes) == (ABSENT, 0)


@pytest.mark.parametrize(
    ("content", "ends"),
    [(b"0123456789", (b"0123", b"789", 10)), (b"01", (b"01", b"01", 2))],
)
def test_the_ends_of_a_file(tmp_path, root, content, ends):
    plant(tmp_path, {"f": content, "e": b"", "p": FIFO, "s": Link("f")})
    assert root.read_ends("f", 4, 3, lambda *found: found)[0] == Present(ends)
    assert root.read_ends("e", 4, 3, lambda *found: found)[0] == EMPTY
    assert root.read_ends("g", 4, 3, lambda *found: found)[0] == ABSENT
    with within(5):
        assert root.read_ends("p", 4, 3, lambda *found: found)[0] == Malformed(
            "a regular file", "a FIFO, socket or device"
        )
    assert root.read_ends("s", 4, 3, lambda *found: found)[0] == Malformed("a regular file", "a symlink")


@pytest.mark.parametrize(
    ("planted", "found"), [(b"", "a regular file"), (FIFO, "a FIFO, socket or device"), (Link("."), "a symlink")]
)
def test_what_is_no_directory_is_not_opened_as_one(tmp_path, root, planted, found):
    plant(tmp_path, {"d": planted})
    with within(5):
        assert root.open("d") == Malformed("a directory", found)
    assert root.open("e") == ABSENT


@pytest.mark.parametrize("level", ["a", "a/b", "a/b/c"])
def test_a_symlink_is_followed_at_no_level(tmp_path, root, level):
    plant(tmp_path, {"elsewhere/b/c/f": b"x", "a/b/c/f": b"x"})
    (tmp_path / level).rename(tmp_path / "aside")
    (tmp_path / level).symlink_to(tmp_path / "aside")
    assert root.open_path("a/b/c") == Malformed("a directory", "a symlink")


def test_a_path_is_opened_name_by_name_and_leaks_nothing(tmp_path, root):
    plant(tmp_path, {"a/b/c/f": b"x"})
    before = len(open_descriptors())
    opened = root.open_path("a/b/c")
    assert isinstance(opened, Present)
    with opened.value as directory:
        assert directory.read("f", 8, bytes) == Present(b"x")
    assert root.open_path("a/x/c") == ABSENT
    assert len(open_descriptors()) == before


@pytest.mark.parametrize("name", ["a/b", "../x", "..", ".", "", "/etc"])
def test_only_one_name_at_a_time_is_taken(root, name):
    for ask in (root.open, root.lstat, root.readlink, lambda n: root.read(n, 8, bytes)):
        with pytest.raises(ValueError, match="not one name"):
            ask(name)


def test_list_tells_the_types(tmp_path, root):
    plant(tmp_path, {"d": DIRECTORY, "f": b"", "s": Link("d"), "p": FIFO, os.fsdecode(b"\xff"): b""})
    assert root.list() == Listing(
        {
            "d": FileType.DIRECTORY,
            "f": FileType.FILE,
            "s": FileType.SYMLINK,
            "p": FileType.OTHER,
            "\udcff": FileType.FILE,
        }
    )


def test_a_listing_is_bounded_and_says_so(tmp_path, root):
    plant(tmp_path, {f"{n}": b"" for n in range(50)})
    listing = root.list(limit=20)
    assert len(listing.entries) == 20
    assert listing.failure == "more than 20 entries"
    assert root.list(limit=50).failure == ""
    assert listing_state("x", listing) == SourceState(
        Coverage.PARTIAL, "x cannot be listed whole (more than 20 entries)"
    )


def test_a_directory_removed_after_it_was_opened_lists_nothing(tmp_path, root):
    plant(tmp_path, {"d": DIRECTORY})
    opened = root.open("d")
    assert isinstance(opened, Present)
    (tmp_path / "d").rmdir()
    with opened.value as directory:
        assert directory.list() == Listing({}, "ENOENT")
        assert directory.read("f", 8, bytes) == ABSENT


def test_whether_it_is_empty_is_asked_from_its_beginning(tmp_path, root):
    (tmp_path / "a").write_bytes(b"")
    root.list()

    assert root.is_empty() is False


def test_is_empty(tmp_path, root):
    assert root.is_empty() is True
    plant(tmp_path, {"f": b""})
    assert root.is_empty() is False


def test_readlink_gives_the_text_of_symlinks_only(tmp_path, root):
    plant(tmp_path, {"s": Link("../a/b"), "f": b""})
    assert root.readlink("s") == Present("../a/b")
    assert root.readlink("f") == Malformed("a symlink", "a regular file")
    assert root.readlink("g") == ABSENT


def test_a_root_that_cannot_be_opened_is_named(tmp_path):
    plant(tmp_path, {"f": b"", "d": DIRECTORY})
    with pytest.raises(RootNotFound, match="no directory '/no/such'"):
        open_root("/no/such")
    with pytest.raises(NotADockerRoot, match="is not a directory"):
        open_root(str(tmp_path / "f"))
    (tmp_path / "d").chmod(0)
    with without_rights(), pytest.raises(RootUnreadable, match=r"EACCES.*as root"):
        open_root(str(tmp_path / "d"))


def test_the_root_itself_may_be_named_through_a_symlink(tmp_path):
    plant(tmp_path, {"real/f": b"x", "named": Link("real")})
    with open_root(str(tmp_path / "named")) as directory:
        assert directory.read("f", 8, bytes) == Present(b"x")


@pytest.mark.parametrize(
    ("reading", "state"),
    [
        (Present(1), SourceState(Coverage.OK)),
        (ABSENT, SourceState(Coverage.ABSENT, "x is not there")),
        (EMPTY, SourceState(Coverage.UNREADABLE, "x is empty")),
        (Unreadable("EIO"), SourceState(Coverage.UNREADABLE, "x cannot be read (EIO)")),
        (Malformed("a directory", "a symlink"), SourceState(Coverage.UNREADABLE, "x is not a directory but a symlink")),
    ],
)
def test_the_state_of_a_source_follows_from_how_it_opened(reading, state):
    assert source_state("x", reading) == state


def test_a_source_of_several_parts_is_as_complete_as_its_worst():
    ok, partial = SourceState(Coverage.OK), SourceState(Coverage.PARTIAL, "a")
    unreadable = SourceState(Coverage.UNREADABLE, "b")
    assert combined(ok, ok) == ok
    assert combined(ok, partial, unreadable) == SourceState(Coverage.UNREADABLE, "a; b")
    assert combined(partial, partial) == partial
