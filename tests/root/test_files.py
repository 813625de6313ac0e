"""The compiled reader of small files and the one in Python are the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import compiled
from support.compiled import FILES, needs_compiled
from support.trees import DIRECTORY, FIFO, Link, change_after, plant, within, without_rights

from gcd.root import files, record
from gcd.root.files import MOST_BYTES

both = pytest.mark.parametrize("reader", [pytest.param(files, id="python"), FILES])

WANTED = ("config", "host")
ODD = [FIFO, DIRECTORY, Link("elsewhere"), Link("config")]


@contextmanager
def opened(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def read_record(reader, home, name="record", wanted=WANTED):
    with opened(home) as fd, within(5):
        return reader.read_whole_records(fd, [name], wanted, ".tmp-")[0]


def read_file(reader, home, name="file"):
    with opened(home) as fd, within(5):
        return reader.read_whole_files(fd, [name])[0]


@needs_compiled
def test_the_compiled_one_is_what_reads_here():
    parts = (compiled.files.read_whole_files, compiled.files.read_whole_records)
    assert (record.read_whole_files, record.read_whole_records) == parts


@both
@pytest.mark.parametrize("content", [b"", b"x", b"\0\xff\n" * 1000, b"x" * MOST_BYTES])
def test_a_small_file_is_given_whole_with_its_ctime(tmp_path, reader, content):
    plant(tmp_path, {"file": content})
    assert read_file(reader, tmp_path) == (content, (tmp_path / "file").stat().st_ctime_ns)


@both
@pytest.mark.parametrize("planted", [None, b"x" * (MOST_BYTES + 1), *ODD])
def test_all_else_in_the_place_of_a_file_is_odd(tmp_path, reader, planted):
    plant(tmp_path, {"elsewhere": b"x"} | ({} if planted is None else {"file": planted}))
    assert read_file(reader, tmp_path) is None


@both
def test_a_file_whose_size_is_no_promise_is_odd(reader):
    with opened("/proc/self") as fd:
        assert reader.read_whole_files(fd, ["status"]) == [None]


@both
def test_a_record_is_given_with_the_names_that_begin_as_asked(tmp_path, reader):
    plant(tmp_path / "record", {"config": b"1", "host": b"", ".tmp-b": FIFO, ".tmp-a": b"", ".tmp": b"", "x.tmp-": b""})
    newest = max((tmp_path / "record" / name).stat().st_ctime_ns for name in (".", *WANTED))
    assert read_record(reader, tmp_path) == ([".tmp-a", ".tmp-b"], newest, [b"1", b""])
    assert read_record(reader, tmp_path, wanted=()) == (
        [".tmp-a", ".tmp-b"],
        (tmp_path / "record").stat().st_ctime_ns,
        [],
    )


@both
@pytest.mark.parametrize("name", [".", "config", "host"])
def test_the_ctime_is_the_newest_of_the_directory_and_of_what_was_read(tmp_path, reader, name):
    plant(tmp_path / "record", {"config": b"1", "host": b"2", "other": b""})
    before = read_record(reader, tmp_path)[1]
    changed = change_after(tmp_path / "record" / name, before)
    assert read_record(reader, tmp_path)[1] == changed
    change_after(tmp_path / "record" / "other", changed)
    assert read_record(reader, tmp_path)[1] == changed


@both
@pytest.mark.parametrize("missing", WANTED)
def test_a_file_that_is_not_there_is_none(tmp_path, reader, missing):
    plant(tmp_path / "record", {name: name.encode() for name in WANTED if name != missing})
    assert read_record(reader, tmp_path)[2] == [None if name == missing else name.encode() for name in WANTED]


@both
@pytest.mark.parametrize("planted", [*ODD, b"x" * MOST_BYTES])
def test_a_record_with_anything_odd_in_a_files_place_is_odd(tmp_path, reader, planted):
    plant(tmp_path / "record", {"config": b"1", "host": planted, "elsewhere": b"x"})
    assert read_record(reader, tmp_path) is None


@both
def test_all_files_of_a_record_together_are_small(tmp_path, reader):
    plant(tmp_path / "record", {"config": b"1" * (MOST_BYTES - 9), "host": b"2" * 9})
    assert read_record(reader, tmp_path)[2] == [b"1" * (MOST_BYTES - 9), b"2" * 9]


@both
@pytest.mark.parametrize("planted", [b"", FIFO, Link("elsewhere"), None])
def test_what_is_no_directory_is_odd(tmp_path, reader, planted):
    plant(tmp_path, {"elsewhere/config": b"1"} | ({} if planted is None else {"record": planted}))
    assert read_record(reader, tmp_path) is None


@both
@pytest.mark.parametrize(("entries", "is_odd"), [(28, False), (29, True)])
def test_a_long_listing_is_odd(tmp_path, reader, entries, is_odd):
    plant(tmp_path / "record", {f"{number}".rjust(255, "x"): b"" for number in range(entries)} | {"config": b""})
    assert (read_record(reader, tmp_path) is None) is is_odd


def test_a_record_that_is_removed_before_it_is_listed_is_odd(tmp_path, monkeypatch):
    plant(tmp_path, {"record": DIRECTORY})
    scandir = os.scandir

    def remove_and_scan(directory):
        (tmp_path / "record").rmdir()
        return scandir(directory)

    assert read_record(files, tmp_path)[2] == [None, None]
    monkeypatch.setattr(os, "scandir", remove_and_scan)
    assert read_record(files, tmp_path) is None


@both
def test_what_is_closed_to_us_is_odd(tmp_path, reader):
    plant(tmp_path, {"record/config": b"1", "file": b"1", "closed/config": b"1"})
    (tmp_path / "record/config").chmod(0)
    (tmp_path / "file").chmod(0)
    (tmp_path / "closed").chmod(0)
    tmp_path.chmod(0o755)
    try:
        with opened(tmp_path) as fd, without_rights():
            assert reader.read_whole_files(fd, ["file"]) == [None]
            assert reader.read_whole_records(fd, ["record", "closed"], WANTED, "") == [None, None]
    finally:
        (tmp_path / "closed").chmod(0o755)


@both
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0b"])
def test_what_is_not_one_name_is_refused(tmp_path, reader, name):
    plant(tmp_path, {"a/b": b"", "record/config": b""})
    for read in (
        lambda: read_file(reader, tmp_path, name),
        lambda: read_record(reader, tmp_path, name),
        lambda: read_record(reader, tmp_path, wanted=("config", name)),
    ):
        with pytest.raises(ValueError, match=r"not one name|embedded null"):
            read()


@both
def test_more_files_than_there_may_be_are_refused(tmp_path, reader):
    plant(tmp_path, {"record/a": b"1"})
    assert read_record(reader, tmp_path, wanted=("a",) * 4) == (
        [],
        max(path.stat().st_ctime_ns for path in (tmp_path / "record", tmp_path / "record/a")),
        [b"1"] * 4,
    )
    with pytest.raises(ValueError, match="so many files"):
        read_record(reader, tmp_path, wanted=("a",) * 5)


@both
@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 300])
def test_many_are_given_in_their_order(tmp_path, reader, count):
    names = [f"{number:03}" for number in range(count)]
    plant(tmp_path, {f"{name}/{name}": name.encode() for name in names} | {"odd/odd": FIFO})
    with opened(tmp_path) as fd, within(5):
        records = reader.read_whole_records(fd, [*names, "odd", "gone", *names], ("000", "odd"), "1")
    contents = [None if record is None else (record[0], record[2]) for record in records]
    expected = [([name] if name[0] == "1" else [], [b"000" if name == "000" else None, None]) for name in names]
    assert contents == [*expected, None, None, *expected]

    plant(tmp_path / "files", {name: name.encode() * 100 for name in names} | {"odd": FIFO})
    with opened(tmp_path / "files") as fd, within(5):
        files = reader.read_whole_files(fd, (*names, "odd", "gone", *names))
    contents = [None if file is None else file[0] for file in files]
    assert contents == [*(name.encode() * 100 for name in names), None, None, *(name.encode() * 100 for name in names)]


@both
def test_one_that_is_no_name_among_many_is_refused(tmp_path, reader):
    with opened(tmp_path) as fd:
        for names in (["a"] * 200 + ["a/b"], ["a"] * 10 + [".."]):
            with pytest.raises(ValueError, match="not one name"):
                reader.read_whole_files(fd, names)
            with pytest.raises(ValueError, match="not one name"):
                reader.read_whole_records(fd, names, ("a",), "")


CONTENTS = st.sampled_from([b"", b"x", b"x" * 40_000, b"x" * MOST_BYTES, *ODD])
NAMES = st.sampled_from([*WANTED, "configs", "Config", ".tmp-1", ".tmp-\udcff", "mar\udcffk", "x" * 255])


@needs_compiled
@given(st.dictionaries(NAMES, CONTENTS, max_size=6))
def test_both_read_the_same(tmp_path_factory, entries):
    home = tmp_path_factory.mktemp("records")
    plant(home, {"record": DIRECTORY})
    plant(home / "record", entries)

    assert read_record(compiled.files, home) == read_record(files, home)
    for name in entries:
        assert read_file(compiled.files, home / "record", name) == read_file(files, home / "record", name)


REPLACING = """
import ctypes
libc = ctypes.CDLL(None)
print(flush=True)
while True:
    libc.renameat2(-100, b"record/config", -100, b"way", 2)  # RENAME_EXCHANGE
"""


@both
def test_a_file_that_becomes_a_symlink_leads_nowhere(tmp_path, reader):
    plant(tmp_path, {"record/config": b"1", "way": Link("../elsewhere"), "elsewhere": b"2"})
    with subprocess.Popen([sys.executable, "-c", REPLACING], cwd=tmp_path, stdout=subprocess.PIPE) as replacing:
        replacing.stdout.readline()
        found = [read_record(reader, tmp_path) for _ in range(2_000)]
        replacing.kill()

    assert {tuple(record[2]) for record in found if record is not None} <= {(b"1", None)}


def test_the_compiled_one_opens_nothing_for_writing():
    source = (Path(files.__file__).parent / "_files.c").read_text()

    assert set(re.findall(r"\bO_[A-Z]+\b", source)) == {
        "O_RDONLY",
        "O_NOFOLLOW",
        "O_NONBLOCK",
        "O_NOCTTY",
        "O_DIRECTORY",
        "O_CLOEXEC",
    }
    calls = set(re.findall(r"\b(\w*(?:at|read\w*|seek|stat|close|syscall))\(", source))
    assert {"unlinkat", "renameat", "mkdirat", "write"}.isdisjoint(calls)
