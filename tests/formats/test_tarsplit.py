from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.totality import value_or_format_error

from gcd.demo.tarsplit import pack
from gcd.formats import tarsplit
from gcd.formats.tarsplit import Member, Segment, parse_tar_split
from gcd.model.errors import FormatError


def packed(*lines):
    return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines), mtime=0)


def text(raw):
    return base64.b64encode(raw).decode()


def test_segments_and_members_in_their_order():
    raw = packed(
        {"type": 2, "payload": text(b"header"), "position": 0},
        {"type": 1, "name": "bin/\u00fc", "size": 7, "payload": text(bytes(8)), "position": 1},
        {"type": 1, "name_raw": text(b"caf\xe9"), "payload": None, "position": 2},
        {"type": 2, "payload": "", "position": 3},
    )

    assert list(parse_tar_split((raw,))) == [
        Segment(b"header"),
        Member("bin/\u00fc".encode(), 7, 0),
        Member(b"caf\xe9", 0),
        Segment(b""),
    ]


def test_the_segments_and_the_files_give_the_stream():
    content = {"a/b": b"x" * 700, "c": b""}
    layer = pack(content)

    stream = b"".join(
        entry.payload if isinstance(entry, Segment) else content.get(entry.name.decode(), b"")
        for entry in parse_tar_split((layer.tar_split,))
    )

    assert stream == layer.stream


def test_nothing_is_lost_where_a_line_ends_between_two_chunks(monkeypatch):
    lines = [{"type": 1, "name": f"file{number}", "size": number} for number in range(500)]
    monkeypatch.setattr(tarsplit, "_CHUNK", 7)

    assert [entry.size for entry in parse_tar_split((packed(*lines),))] == list(range(500))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "a whole gzip file"),
        (b"not gzip", "a whole gzip file"),
        (packed({"type": 2, "payload": ""})[:-3], "a whole gzip file"),
        (packed({"type": 2, "payload": ""})[:-5] + b"12345", "a whole gzip file"),
        (gzip.compress(b'{"type":2}', mtime=0), "a newline"),
        (gzip.compress(b"[]\n", mtime=0), "a JSON object"),
        (gzip.compress(b"\n", mtime=0), "a JSON object"),
        (gzip.compress(b"[" * 100_000 + b"\n", mtime=0), "a JSON object"),
        (packed({"type": 3}), "a segment or a member"),
        (packed({"type": 2, "payload": 7}), "base64"),
        (packed({"type": 2, "payload": "?"}), "base64"),
        (packed({"type": 1, "name_raw": 7}), "base64"),
        (packed({"type": 1, "name": "x", "payload": text(b"seven b")}), "a checksum of 8 bytes"),
        (packed({"type": 2, "payload": ""}) + b"more", "the end of the gzip file"),
        (packed({"type": 1, "name": "x", "size": -1}), "a size"),
        (packed({"type": 1, "name": "x", "size": "1"}), "a size"),
        (packed({"type": 1, "name": "x", "size": True}), "a size"),
    ],
)
def test_what_is_none_is_refused(raw, expected):
    with pytest.raises(FormatError) as caught:
        list(parse_tar_split((raw,)))

    assert caught.value.expected == expected


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_pieces_of_any_size_are_one_file(size):
    lines = [{"type": 1, "name": f"file{number}", "size": number} for number in range(500)]
    raw = packed(*lines)

    pieces = (raw[at : at + size] for at in range(0, len(raw), size))

    assert [entry.size for entry in parse_tar_split(pieces)] == list(range(500))


def test_no_more_than_a_few_entries_are_in_memory():
    def pieces():
        machine = zlib.compressobj(wbits=31)
        for _ in range(300):
            yield machine.compress(json.dumps({"type": 2, "payload": text(bytes(100_000))}).encode() + b"\n")
        yield machine.flush()

    tracemalloc.start()
    assert sum(1 for _ in parse_tar_split(pieces())) == 300
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 3_000_000


def test_a_line_without_end_is_not_kept(monkeypatch):
    monkeypatch.setattr(tarsplit, "LINE_LIMIT", 1000)
    monkeypatch.setattr(tarsplit, "_CHUNK", 100)

    with pytest.raises(FormatError) as caught:
        list(parse_tar_split((gzip.compress(b"[" * 10_000_000),)))

    assert caught.value.expected == "entries of a bearable size"


def test_a_bomb_is_not_unpacked_whole(monkeypatch):
    monkeypatch.setattr(tarsplit, "WHOLE_LIMIT", 10_000)

    with pytest.raises(FormatError) as caught:
        list(parse_tar_split((packed(*[{"type": 2, "payload": ""}] * 1000),)))

    assert caught.value.expected == "entries of a bearable size"


@given(st.binary(max_size=200))
def test_any_bytes_give_entries_or_an_error(raw):
    for compressed in (raw, gzip.compress(raw)):
        value_or_format_error(lambda whole: list(parse_tar_split((whole,))), compressed)


def test_base64_beyond_ascii_is_damage():
    line = '{"type": 2, "payload": "\u0080ZC8A"}\n'.encode()

    with pytest.raises(FormatError) as caught:
        list(parse_tar_split([gzip.compress(line)]))

    assert (caught.value.expected, caught.value.found) == ("base64", "something else")


def as_engines_write(name, size, payload):
    """As Go writes an entry: no blanks, and characters escaped that need it in HTML."""
    said = {"type": 1, "name": name, **({"size": size} if size else {}), "payload": payload, "position": 7}
    line = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    return line.replace("<", "\\u003c").encode() + b"\n"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from([0, 1, 10**17, 1 << 62]),
    st.sampled_from([None, "", text(bytes(8)), text(b"12345678")]),
)
def test_entries_as_engines_write_them_are_those_of_json(name, size, payload):
    line = as_engines_write(name, size, payload)

    [member] = parse_tar_split([gzip.compress(line)])

    crc = int.from_bytes(base64.b64decode(payload)) if payload else None
    assert member == Member(name.encode(), size, crc)
    assert tarsplit._any_entry(line) == member


@given(st.binary(max_size=30), st.integers(0, 90), st.integers(0, 3))
def test_what_looks_like_an_entry_is_read_as_json_reads_it(instead, at, cut):
    line = b'{"type":1,"name":"bin/x","size":12,"payload":"AAAAAAAAAAc=","position":3}'
    segment = b'{"type":2,"payload":"aGVhZGVy","position":2}'
    for whole in (line, segment):
        changed = whole[:at] + instead + whole[at + cut :]
        found, expected = (value_or_format_error(read, changed) for read in (tarsplit.parse_entry, tarsplit._any_entry))
        assert found == expected


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":1,"name":"x","size":012,"payload":null,"position":3}',
        b'{"type":1,"name":"x","size":0,"payload":null,"position":3}',
        b'{"type":1,"name":"x","payload":null,"position":03}',
        b'{"type":1,"name":"x\x01","payload":null,"position":3}',
        b'{"type":1,"name":"x\xff","payload":null,"position":3}',
        b'{"type":1,"name":"\\u0078","payload":null,"position":3}',
        b'{"type":1,"name":"","payload":null,"position":3}',
        b'{"type":1,"name":"x","payload":"AA==","position":3}',
        b'{"type":1,"name":"x","payload":null,"position":3} ',
        b'{"type":1,"name":"x","payload":null,"position":3}{}',
        b'{"type":2,"payload":"A\\u0041==","position":3}',
        b'{"type":2,"payload":"AA","position":3}',
        b'{"type":2,"payload":"AA==\n","position":3}',
        b'{"type":2,"payload":null,"position":3}',
        b'{"type":2,"payload":"AA==","position":3,"type":1}',
    ],
)
def test_what_engines_do_not_write_is_read_as_json_reads_it(line):
    assert value_or_format_error(tarsplit.parse_entry, line) == value_or_format_error(tarsplit._any_entry, line)
