"""
Copies of bolt files, quiet ones and such as change during the copy.

`disturb` changes the file between two reads of one attempt; `commit` writes as bbolt does: the pages of the new state
over those of the state before the current one, then its meta.
"""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcd.demo.boltfile import write_database
from gcd.formats.bolt import META_SPAN, parse_database
from gcd.model.reading import Absent, Empty, Malformed, Present, Unreadable
from gcd.root.databases import PAUSES, Busy, copy_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 4096
NAME = "snapshots.db"
KEYS = 60


def state(txid: int) -> bytes:
    """A database all of whose values tell its transaction; even and odd ones use different pages."""
    tree = {f"key{i:02}": f"{txid:0120}" for i in range(KEYS)}
    used = len(write_database(tree)) // PAGE - 2
    if txid % 2:
        return write_database(tree, txid=txid, first_page=2 + used)
    return write_database(tree, txid=txid, spare_pages=used)


def commit(path: Path, new: bytes, txid: int) -> None:
    """Write the state `new` as bbolt does: its own pages first, its meta last."""
    half = (len(new) - 2 * PAGE) // 2
    start = 2 * PAGE + (half if txid % 2 else 0)
    meta = txid % 2 * PAGE
    fd = os.open(path, os.O_WRONLY)
    try:
        for at in range(start, start + half, PAGE):
            os.pwrite(fd, new[at : at + PAGE], at)
        os.pwrite(fd, new[meta : meta + META_SPAN], meta)
    finally:
        os.close(fd)


def transaction(copy: bytes) -> int:
    """The transaction that all of `copy` is of."""
    database = parse_database(copy)
    values = {int(value) for value in database.root.values.values()}
    assert values == {database.txid}
    assert len(database.root.values) == KEYS
    return database.txid


class Recorder:
    """Stands for the sleep between attempts, and does one thing a call, if told so."""

    def __init__(self, *then: Callable[[], object]) -> None:
        self.pauses: list[float] = []
        self.then = list(then)

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if self.then:
            self.then.pop(0)()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


def disturb(monkeypatch: pytest.MonkeyPatch, *changes: Callable[[], object]) -> None:
    """Do the next of `changes` in each attempt, after its first look at the metas and before its copy of the pages."""
    waiting = list(changes)
    pread = os.pread

    def disturbed(fd: int, size: int, offset: int) -> bytes:
        if size > META_SPAN and waiting:
            waiting.pop(0)()
        return pread(fd, size, offset)

    monkeypatch.setattr("os.pread", disturbed)


# --- quiet files ----------------------------------------------------------------------------------------------------


def test_a_copy_is_the_state_without_what_follows(folder: int, path: Path):
    data = state(6)
    path.write_bytes(data + b"\xff" * 9000)
    sleep = Recorder()

    assert copy_database(folder, NAME, sleep=sleep) == Present(data)
    assert sleep.pauses == []


@pytest.mark.parametrize("page_size", [1024, 65536])
def test_any_page_size_is_copied_with_either_meta_damaged(folder: int, path: Path, page_size: int):
    data = write_database({"a": "1"}, page_size=page_size, txid=7)
    for damaged, txid in ((0, 7), (page_size, 6)):
        path.write_bytes(data[: damaged + 20] + b"\xff" + data[damaged + 21 :])
        copied = copy_database(folder, NAME)

        assert isinstance(copied, Present)
        assert parse_database(copied.value).txid == txid


def test_a_file_shorter_than_its_state_is_copied_as_it_is(folder: int, path: Path):
    path.write_bytes(state(6)[: 3 * PAGE])

    assert copy_database(folder, NAME) == Present(state(6)[: 3 * PAGE])


def test_a_state_above_the_limit_is_not_read(folder: int, path: Path):
    path.write_bytes(state(6))
    size = len(state(6))

    assert copy_database(folder, NAME, limit=size) == Present(state(6))
    assert copy_database(folder, NAME, limit=size - 1) == Malformed(f"at most {size - 1} bytes", str(size), size - 1)


def test_a_file_that_is_not_there_is_absent(folder: int):
    sleep = Recorder()

    assert copy_database(folder, NAME, sleep=sleep) == Absent()
    assert sleep.pauses == []


def test_an_empty_file_is_empty_once_three_looks_agree(folder: int, path: Path):
    path.write_bytes(b"")
    sleep = Recorder()

    assert copy_database(folder, NAME, sleep=sleep) == Empty()
    assert sleep.pauses == list(PAUSES[:2])


def test_a_file_that_was_empty_while_the_engine_made_it_is_copied(folder: int, path: Path):
    path.write_bytes(b"")

    def finish() -> None:
        path.write_bytes(state(6))

    sleep = Recorder(lambda: None, finish)

    assert copy_database(folder, NAME, sleep=sleep) == Present(state(6))


def test_a_file_without_a_valid_meta_is_malformed_once_three_looks_agree(folder: int, path: Path):
    path.write_bytes(b"no database" * 1000)
    sleep = Recorder()

    assert copy_database(folder, NAME, sleep=sleep) == Malformed("a valid meta page", "74616261", 16)
    assert sleep.pauses == list(PAUSES[:2])


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (Path.mkdir, "a directory"),
        (lambda path: path.symlink_to("target"), "a symlink"),
        (os.mkfifo, "a FIFO, socket or device"),
    ],
)
def test_nothing_but_a_regular_file_is_read(folder: int, path: Path, make: Callable[[Path], None], found: str):
    (path.parent / "target").write_bytes(state(6))
    make(path)

    assert copy_database(folder, NAME) == Malformed("a regular file", found)


def test_a_read_that_fails_is_unreadable_with_the_system_s_word(
    folder: int, path: Path, monkeypatch: pytest.MonkeyPatch
):
    path.write_bytes(state(6))

    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    disturb(monkeypatch, fail)

    assert copy_database(folder, NAME) == Unreadable("EIO")


def test_a_file_that_its_owner_holds_locked_is_copied_and_nothing_is_locked_or_opened_for_writing(
    folder: int, path: Path, monkeypatch: pytest.MonkeyPatch
):
    path.write_bytes(state(6))
    flags: list[int] = []
    opened = os.open

    def spy(name: str, flag: int, *, dir_fd: int) -> int:
        flags.append(flag)
        return opened(name, flag, dir_fd=dir_fd)

    def refuse(*_: object) -> None:
        raise AssertionError("a lock was asked for")

    with path.open("rb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        for call in ("flock", "lockf", "fcntl"):
            monkeypatch.setattr(fcntl, call, refuse)
        monkeypatch.setattr("os.open", spy)
        assert copy_database(folder, NAME) == Present(state(6))

    assert flags
    assert all(flag & os.O_ACCMODE == os.O_RDONLY and flag & os.O_NOFOLLOW and flag & os.O_NONBLOCK for flag in flags)


def test_every_outcome_closes_what_it_opened(folder: int, path: Path):
    before = sorted(entry.name for entry in Path("/proc/self/fd").iterdir())
    for content in (None, b"", b"x" * 9000, state(6)):
        if content is not None:
            path.write_bytes(content)
        copy_database(folder, NAME, sleep=Recorder())

    assert sorted(entry.name for entry in Path("/proc/self/fd").iterdir()) == before


# --- files that change ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commits", [1, 2, 3])
def test_a_state_that_moved_during_the_copy_is_copied_again(
    folder: int, path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
):
    path.write_bytes(state(6))

    def write() -> None:
        for txid in range(7, 7 + commits):
            commit(path, state(txid), txid)

    disturb(monkeypatch, write)
    sleep = Recorder()
    copied = copy_database(folder, NAME, sleep=sleep)

    assert isinstance(copied, Present)
    assert transaction(copied.value) == 6 + commits
    assert sleep.pauses == [PAUSES[0]]


def test_pages_of_an_unfinished_next_state_do_no_harm(folder: int, path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_bytes(state(6))
    unfinished = bytearray(state(7))
    unfinished[PAGE + 40] ^= 1

    disturb(monkeypatch, lambda: commit(path, bytes(unfinished), 7))
    sleep = Recorder()
    copied = copy_database(folder, NAME, sleep=sleep)

    assert isinstance(copied, Present)
    assert transaction(copied.value) == 6
    assert sleep.pauses == []


def test_a_file_that_changes_at_every_attempt_is_busy(folder: int, path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_bytes(state(6))
    attempts = len(PAUSES) + 1

    disturb(monkeypatch, *(lambda txid=txid: commit(path, state(txid), txid) for txid in range(7, 7 + attempts)))
    sleep = Recorder()

    assert copy_database(folder, NAME, sleep=sleep) == Busy(attempts)
    assert sleep.pauses == list(PAUSES)


def test_a_file_that_rests_before_the_last_attempt_is_copied(folder: int, path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_bytes(state(6))

    disturb(monkeypatch, *(lambda txid=txid: commit(path, state(txid), txid) for txid in range(7, 7 + len(PAUSES))))
    copied = copy_database(folder, NAME, sleep=Recorder())

    assert isinstance(copied, Present)
    assert transaction(copied.value) == 6 + len(PAUSES)


def test_a_file_replaced_during_the_copy_is_copied_anew(folder: int, path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_bytes(state(6))
    other = path.with_name("new")
    other.write_bytes(state(4))

    disturb(monkeypatch, lambda: other.replace(path))

    assert copy_database(folder, NAME, sleep=Recorder()) == Present(state(4))


def test_a_file_renamed_away_during_the_copy_is_absent(folder: int, path: Path, monkeypatch: pytest.MonkeyPatch):
    path.write_bytes(state(6))

    disturb(monkeypatch, lambda: path.replace(path.with_name("old")))

    assert copy_database(folder, NAME, sleep=Recorder()) == Absent()


def test_copies_taken_while_a_writer_is_alive_are_each_of_one_state(folder: int, path: Path):
    last = 2006
    states = {txid: state(txid) for txid in range(7, last + 1)}
    path.write_bytes(state(6))
    writer = multiprocessing.get_context("fork").Process(target=commit_all, args=(path, states))
    sleep = Recorder()
    copies: list[bytes] = []
    writer.start()
    while writer.is_alive():
        copied = copy_database(folder, NAME, sleep=sleep)
        if not isinstance(copied, Busy):
            assert isinstance(copied, Present)
            copies.append(copied.value)
    writer.join()

    assert writer.exitcode == 0
    assert sleep.pauses, "no copy met a commit"
    found = [transaction(copy) for copy in copies]
    assert found == sorted(found)
    copied = copy_database(folder, NAME)
    assert isinstance(copied, Present)
    assert transaction(copied.value) == last


def commit_all(path: Path, states: dict[int, bytes]) -> None:
    for txid, new in states.items():
        commit(path, new, txid)
