from __future__ import annotations

import mmap
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pagecache import resident, synced

from gcd.demo.tarsplit import crc64_iso
from gcd.scrub import reading
from gcd.scrub.folders import MOST_OPEN, Folders
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Content, Contents, joined_crc


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_the_checksums_of_parts_make_that_of_the_whole(first, second):
    assert joined_crc(crc64_iso(first), crc64_iso(second), len(second)) == crc64_iso(first + second)


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 1000, 12345])
def test_long_files_are_read_in_parts_and_short_ones_at_once(tmp_path, monkeypatch, size):
    monkeypatch.setattr(reading, "CHUNK", 100)
    monkeypatch.setattr(reading, "PART", 250)
    raw = os.urandom(size)
    (tmp_path / "file").write_bytes(raw)

    with Contents(Pace()) as contents:
        content = contents.read(os.open(tmp_path / "file", os.O_RDONLY), size)

        assert content() == Content(size, crc64_iso(raw) if raw else 0)


def test_a_sink_has_all_bytes_in_their_order(tmp_path):
    raw = os.urandom(3 * reading.CHUNK + 7)
    (tmp_path / "file").write_bytes(raw)
    got = bytearray()

    with Contents(Pace()) as contents:
        content = contents.read(os.open(tmp_path / "file", os.O_RDONLY), len(raw), got.extend)

    assert bytes(got) == raw
    assert content() == Content(len(raw), crc64_iso(raw))


@pytest.mark.parametrize("size", [50, 5 * reading.CHUNK])
def test_a_file_that_became_shorter_is_read_to_its_end(tmp_path, size):
    (tmp_path / "file").write_bytes(b"x" * size)

    with Contents(Pace()) as contents:
        content = contents.read(os.open(tmp_path / "file", os.O_RDONLY), 2 * size)

        assert content().size == size


@pytest.mark.parametrize("size", [50, 5 * reading.CHUNK])
def test_what_cannot_be_read_is_told_when_it_is_asked_for(tmp_path, size):
    with Contents(Pace()) as contents:
        content = contents.read(os.open(tmp_path, os.O_RDONLY), size)

        with pytest.raises(IsADirectoryError):
            content()


@pytest.mark.parametrize("size", [20_000, 3 << 20])
@pytest.mark.parametrize("was_resident", [True, False])
@pytest.mark.parametrize("has_sink", [True, False])
def test_the_page_cache_is_left_as_it_was(tmp_path, size, was_resident, has_sink):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    synced(path, is_kept=was_resident)
    before = resident(path)

    with Contents(Pace()) as contents:
        contents.read(os.open(path, os.O_RDONLY), size, (lambda _: None) if has_sink else None)()

    assert before == (-(-size // mmap.PAGESIZE) if was_resident else 0)
    assert resident(path) == before


@pytest.fixture
def quick_disk(monkeypatch):
    """One that has read what a question for the page cache makes the kernel read before the question is answered."""
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset, _flags=0: preadv(fd, buffers, offset))


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("size", [20_000, 3 << 20])
@pytest.mark.parametrize("has_sink", [True, False])
def test_what_is_there_only_because_it_was_asked_for_is_not_left_there(tmp_path, size, has_sink):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    synced(path, is_kept=False)

    with Contents(Pace()) as contents:
        contents.read(os.open(path, os.O_RDONLY), size, (lambda _: None) if has_sink else None)()

    assert resident(path) == 0


@pytest.mark.usefixtures("quick_disk")
def test_nor_is_a_short_file_that_is_as_it_shall_be(tmp_path):
    path, raw = tmp_path / "file", os.urandom(20_000)
    path.write_bytes(raw)
    synced(path, is_kept=False)

    with Contents(Pace()) as contents:
        other = contents.unlike(os.open(path, os.O_RDONLY), len(raw), crc64_iso(raw))

        assert other() == Content(len(raw), crc64_iso(raw))
    assert resident(path) == 0


@pytest.mark.parametrize("was_resident", [True, False])
@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("has_sink", [True, False])
def test_a_short_file_that_is_as_it_shall_be_is_told_at_once(tmp_path, was_resident, is_right, has_sink):
    path, raw = tmp_path / "file", os.urandom(20_000)
    path.write_bytes(raw)
    synced(path, is_kept=was_resident)
    before, got, fd = resident(path), bytearray(), os.open(path, os.O_RDONLY)

    with Contents(Pace()) as contents:
        other = contents.unlike(fd, len(raw), crc64_iso(raw) ^ (not is_right), got.extend if has_sink else None)
        assert (other is None) == (is_right and was_resident)
        assert other is None or other() == Content(len(raw), crc64_iso(raw))

    assert bytes(got) == (raw if has_sink else b"")
    assert resident(path) == before == (5 if was_resident else 0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_folders_are_opened_once_and_none_stays_open(tmp_path):
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/d").mkdir()
    (tmp_path / "link").symlink_to("a")
    deep = "/".join(["x"] * (MOST_OPEN + 5))
    (tmp_path / deep).mkdir(parents=True)
    base = os.open(tmp_path, os.O_RDONLY)
    folders = Folders(base)

    for path in ("", "a/b/c", "a/b/c", "a", "a/d", deep, deep, "a/b", ""):
        assert os.fstat(folders.open(path)).st_ino == (tmp_path / path).stat().st_ino
    for bad in ("link", "link/b", "gone", "a/gone/x", f"{deep}/gone"):
        with pytest.raises(OSError, match=r"No such file|Not a directory|Too many levels"):
            folders.open(bad)
        assert os.fstat(folders.open("a/b")).st_ino == (tmp_path / "a/b").stat().st_ino
    folders.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(base + 1)
    os.close(base)


class Clock:
    """A clock that only sleeping moves, and a count of stalls that somebody else causes meanwhile."""

    def __init__(self, pressure=None):
        self.now = 100.0
        self.slept = []
        self.others = 0.0
        self.stalls = 0.0
        self.pressure = pressure

    def __call__(self):
        return self.now

    def pass_by(self, seconds, stalled):
        self.now += seconds
        self.stalls += seconds * stalled
        if self.pressure:
            self.pressure.write_text(
                f"some avg10=0.00 avg60=0.00 avg300=0.00 total={self.stalls * 1e6:.0f}\nfull avg10=0.00 total=0\n"
            )

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.pass_by(seconds, self.others)


def test_a_rate_is_kept():
    clock = Clock()
    pace = Pace(1000, clock=clock, sleep=clock.sleep)

    for _ in range(50):
        pace.spend(100)

    assert 4.0 <= clock.now - 100.0 <= 5.0


def test_it_goes_on_when_nobody_else_waits_for_the_disk(tmp_path):
    clock = Clock(tmp_path / "io")
    clock.pass_by(0, 0)
    pace = Pace(pressure=str(tmp_path / "io"), clock=clock, sleep=clock.sleep)

    clock.pass_by(6, stalled=0.9)
    pace.spend(1)

    assert clock.slept == [0.25]


def test_it_stands_still_while_others_wait_but_not_for_ever(tmp_path):
    clock = Clock(tmp_path / "io")
    clock.pass_by(0, 0)
    pace = Pace(pressure=str(tmp_path / "io"), clock=clock, sleep=clock.sleep)
    clock.others = 0.5

    clock.pass_by(6, stalled=0.9)
    pace.spend(1)
    stood = sum(clock.slept)
    pace.spend(1)

    assert stood == 30.0
    assert sum(clock.slept) == stood


def test_a_quiet_disk_is_not_asked_about_for_long(tmp_path):
    clock = Clock(tmp_path / "io")
    clock.pass_by(0, 0)
    pace = Pace(pressure=str(tmp_path / "io"), clock=clock, sleep=clock.sleep)

    clock.pass_by(6, stalled=0.05)
    pace.spend(1)

    assert clock.slept == []
