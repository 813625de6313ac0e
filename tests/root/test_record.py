"""A record, or one file, is the same whether it was read at once or with care."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.trees import DIRECTORY, FIFO, Link, change_after, plant, within

from gcd.model.errors import FormatError
from gcd.model.reading import ABSENT, Malformed, Present
from gcd.root import record
from gcd.root.record import Wanted, read_pairs, read_small
from gcd.root.tree import open_root

LIMIT = 9


def text(raw: bytes) -> str:
    if raw.startswith(b"no"):
        raise FormatError("text", offset=1, expected="a text", found="no text")
    return raw.decode("latin-1")


CONFIG, HOST = Wanted("config", LIMIT, text), Wanted("host", 70_000, len)

CONTENTS = st.sampled_from(
    [b"", b"x", b"no", b"x" * LIMIT, b"x" * (LIMIT + 1), b"x" * 66_000, b"x" * 70_001, DIRECTORY, FIFO, Link("config")]
)
NAMES = st.sampled_from(["config", "host", ".tmp-config1", ".tmp-host", "other", "x" * 255])


def pair(home, name="record"):
    with open_root(str(home)) as directory, within(5):
        return dict(read_pairs(directory, [name], CONFIG, HOST)).get(name)


def with_care():
    return patch.object(record, "read_whole_records", lambda _home, names, *_: [None] * len(names))


@given(st.dictionaries(NAMES, CONTENTS, max_size=6))
def test_a_pair_read_at_once_is_what_it_is_read_with_care(tmp_path_factory, entries):
    home = tmp_path_factory.mktemp("records")
    plant(home, {"record": DIRECTORY})
    plant(home / "record", entries)

    at_once = pair(home)
    with with_care():
        assert pair(home) == at_once


@given(CONTENTS)
def test_a_small_file_read_at_once_is_what_it_is_read_with_care(tmp_path_factory, content):
    home = tmp_path_factory.mktemp("files")
    plant(home, {"file": content})

    with open_root(str(home)) as directory, within(5):
        with_care = directory.read_stamped("file", LIMIT, bytes)
        assert list(read_small(directory, ["file", "gone", "file"], LIMIT)) == [with_care, (ABSENT, 0), with_care]


@pytest.mark.parametrize("name", [".", "config", "host"])
def test_what_a_pair_tells(tmp_path, name):
    plant(tmp_path / "record", {"config": b"x" * 10, "host": b"ab", ".tmp-b": b"", ".tmp-a": b"", "other": b""})
    newest = change_after(tmp_path / "record" / name, (tmp_path / "record/other").stat().st_ctime_ns)
    told = (Malformed("at most 9 bytes", "more", 9), Present(2), newest, (".tmp-a", ".tmp-b"))

    assert pair(tmp_path) == told
    with with_care():
        assert pair(tmp_path) == told
    assert pair(tmp_path, "gone") is None


def test_of_many_records_those_that_are_there_are_told_in_their_order(tmp_path):
    names = [f"{number:03}" for number in range(300)]
    plant(tmp_path, {f"{name}/config": name.encode() for name in names if name not in {"123", "201"}})
    plant(tmp_path, {"200/host": FIFO, "201": b""})
    with open_root(str(tmp_path)) as directory, within(5):
        found = dict(read_pairs(directory, names, CONFIG, HOST))
    assert list(found) == [name for name in names if name != "123"]
    assert found.pop("200")[:2] == (Present("200"), Malformed("a regular file", "a FIFO, socket or device"))
    assert found.pop("201")[0] == Malformed("a directory", "a regular file")
    assert {name: pair[:2] for name, pair in found.items()} == {name: (Present(name), ABSENT) for name in found}
