"""Bundles of members: the compiled reader and the one in Python are the same, and say what entries and headers do."""

from __future__ import annotations

import base64
import json
import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import compiled
from support.compiled import BUNDLE, needs_compiled

from gcd.formats import bundle
from gcd.formats.bundle import LARGEST, MOST_BYTES, MOST_MEMBERS, NUMBERS
from gcd.formats.tarheader import Headers, MemberType
from gcd.formats.tarsplit import Member, parse_entry

both = pytest.mark.parametrize("reader", [pytest.param(bundle, id="python"), BUNDLE])
TYPES = {"0": MemberType.FILE, "2": MemberType.SYMLINK, "5": MemberType.DIRECTORY}


def header(kind=b"0", size=0, link="", **fields):
    info = tarfile.TarInfo("whatever")
    info.type, info.size, info.linkname = kind, size, link
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def extension(kind, data):
    """A header that says something of the member after it."""
    return header(kind, size=len(data)) + data + bytes(-len(data) % 512)


def line(**entry):
    return json.dumps({**entry, "position": 7}, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def text(raw):
    return base64.b64encode(raw).decode()


def pair(name, raw=None, size=0, crc=0, padding=0, **member):
    """The two lines of a member, with so much padding before it."""
    said = {"size": size, "payload": text(crc.to_bytes(8))} if size else {"payload": None}
    raw = bytes(padding) + (header(size=size) if raw is None else raw)
    return line(type=2, payload=text(raw)) + line(type=1, name=name, **said, **member)


@both
def test_what_most_members_are_is_given_as_it_is(reader):
    lines = (
        pair("./a/", header(b"5"), padding=3)
        + pair("a/.x", size=1000, crc=0xFEDCBA9876543210)
        + pair("a/link", header(b"2", link="../" + "y" * 97), padding=24)
        + pair("a/ b~", header(b"\0"))
        + pair("d", header(b"5", size=5))
        + pair("z", size=512, crc=1)
    )

    (names, kinds, numbers, links, size), at, padding = reader.take_bundle(b"before\n" + lines + b"{}\n", 7, 3)

    assert names == b"a\0a/.x\0a/link\0a/ b~\0d\0z\0"
    assert kinds == b"502050"
    assert list(NUMBERS.iter_unpack(numbers)) == [(0, 0), (1000, 0xFEDCBA9876543210), (0, 0), (0, 0), (0, 0), (512, 1)]
    assert links == b"\0\0../" + b"y" * 97 + b"\0\0\0\0"
    assert (size, at, padding) == (1512, 7 + len(lines), 0)


@both
def test_the_padding_of_the_last_one_is_told(reader):
    fields, at, padding = reader.take_bundle(pair("a", size=1000, crc=5) + b"more", 0, 0)

    assert (fields[1], at, padding) == (b"0", len(pair("a", size=1000, crc=5)), 24)


ODD = {
    "hard link": pair("a", header(b"1", link="b")),
    "device": pair("a", header(b"3")),
    "FIFO": pair("a", header(b"6")),
    "long link": pair("a", header(b"2", link="x" * 101)),
    "long link in an extension": pair("a", extension(b"K", b"b\0") + header(b"2")),
    "global header": pair("a", extension(b"g", b"10 path=a\n") + header()),
    "extension of nothing": pair("a", extension(b"x", b"10 path=a\n")),
    "extension that is cut": pair("a", extension(b"x", b"10 path=a\n")[:-1] + header()),
    "extension without padding": pair("a", extension(b"x", b"10 path=a\n")[:522] + header()),
    "extension in base-256": pair(
        "a", extension(b"x", b"10 path=a\n").replace(b"0000012\0", b"\x80" + bytes(7)) + header()
    ),
    "long extension": pair("a", extension(b"x", b"20 path=a\n") + header()),
    "short record": pair("a", extension(b"x", b"8 path=a\n") + header()),
    "record without a newline": pair("a", extension(b"x", b"10 path=ab") + header()),
    "record without a length": pair("a", extension(b"x", b" path=a\n") + header()),
    "record of no length": pair("a", extension(b"x", b"0 path=a\n") + header()),
    "record of no length behind another": pair("a", extension(b"x", b"10 path=a\n0 path=a\n") + header()),
    "record of far too many": pair("a", extension(b"x", b"999999999999999 path=a\n") + header()),
    "record of two": pair("a", extension(b"x", b"3 \n") + header()),
    "record of nothing": pair("a", extension(b"x", b"7 path\n") + header()),
    "attribute of nothing": pair("a", extension(b"x", b"18 SCHILY.xattr.x\n10 path=a\n") + header()),
    "size in a record": pair("a", extension(b"x", b"9 size=1\n") + header()),
    "owner in a record": pair("a", extension(b"x", b"8 uid=1\n") + header()),
    "target in a record": pair("a", extension(b"x", b"14 linkpath=a\n") + header(b"2")),
    "sparse": pair("a", extension(b"x", b"10 path=a\n22 GNU.sparse.major=1\n") + header()),
    "more than there is room for": pair("a", extension(b"L", bytes(14 * 512 + 1)) + header()),
    "one byte more": pair("a", bytes(16 * 512 + 1)),
    "base-256": pair("a", header(uid=1 << 24)),
    "negative": pair("a", header(mtime=0, gid=-1)),
    "zeros": pair("a", bytes(512)),
    "no padding": pair("a", header()[:-1]),
    "more padding": pair("a", header() + b"\0"),
    "a symlink's header, and more": pair("a", header(b"2", link="x" * 60) + b"y" * 60),
    "a header that is cut behind an extension": pair("a", extension(b"x", b"10 path=a\n") + header()[:200]),
    "old directory": pair("a/", header(b"\0")),
    "file with a slash": pair("a/", header()),
    "symlink with a slash": pair("a/", header(b"2", link="x")),
    "directory with a size": pair("a", header(b"5"), size=1),
    "whiteout": pair("a/.wh.x", header()),
    "opaque": pair(".wh..wh..opq", header()),
    "whiteout of a directory": pair(".wh.x/", header(b"5")),
    "the layer itself": pair("./", header(b"5")),
    "up": pair("a/../b", header()),
    "here": pair("a/./b", header()),
    "nothing": pair("a//b", header()),
    "root": pair("/a", header()),
    "twice": pair("././a", header()),
    "no name": pair("", header()),
    "long name": pair("a" * 1025, header()),
    "letters": pair("caf\u00e9", header()),
    "escapes": pair('a"', header()),
    "backslash": pair("a\\", header()),
    "tab": pair("a\t", header()),
    "delete": pair("a\x7f", header()),
    "large": pair("a", size=LARGEST + 1),
    "size of nothing": pair("a", header()).replace(b'"payload":null', b'"size":0,"payload":null'),
    "checksum of nothing": pair("a", header()).replace(b"null", b'""'),
    "short checksum": pair("a", size=1).replace(b'AAAAAAAAAAA="', b'AAAAAAAAAA=="'),
    "no checksum": pair("a", size=1).replace(b'"AAAAAAAAAAA="', b"null"),
    "another form of it": pair("a", size=1).replace(b'AAAAAAAAAAA="', b'AAAAAAAAAAB="'),
    "no base64": pair("a", size=1).replace(b'AAAAAAAAAAA="', b'AAAAAAAA-AA="'),
    "blanks": pair("a").replace(b",", b", "),
    "leading zero": pair("a").replace(b'"position":7', b'"position":07'),
    "long position": pair("a").replace(b'"position":7', b'"position":1234567890123456789'),
    "no newline": pair("a")[:-1],
    "one line": line(type=2, payload=text(header())),
    "the other": line(type=1, name="a", payload=None),
    "order": line(type=1, name="a", payload=None) + line(type=2, payload=text(header())),
    "no text": b"",
}


@both
@pytest.mark.parametrize(
    "before",
    [
        extension(b"x", b"10 path=a\n"),
        extension(b"x", b"30 mtime=1234567890.123456789\n16 atime=7.5600\n16 ctime=7.5600\n"),
        extension(b"x", b"28 SCHILY.xattr.user.x=a\nb=\n\n"[:28]),
        extension(b"x", b"511 path=" + b"a" * 501 + b"\n"),
        extension(b"x", b"512 path=" + b"a" * 502 + b"\n"),
        extension(b"x", b"513 path=" + b"a" * 503 + b"\n"),
        extension(b"x", b""),
        extension(b"L", b"a" * 300 + b"\0") + extension(b"x", b"10 path=a\n"),
        extension(b"L", bytes(14 * 512)),
    ],
    ids=["name", "times", "attribute", "511", "512", "513", "nothing", "both", "long"],
)
def test_what_extensions_say_that_does_not_matter_is_passed_over(reader, before):
    lines = pair("a/b", before + header(size=700), size=700, crc=5)

    taken = ((b"a/b\0", b"0", NUMBERS.pack(700, 5), b"\0", 700), len(lines), 324)
    assert reader.take_bundle(lines, 0, 0) == taken
    headers = Headers()
    headers.feed(before + header(size=700))
    assert headers.header(b"a/b")[:2] == (MemberType.FILE, b"")


@both
@pytest.mark.parametrize("lines", ODD.values(), ids=ODD)
def test_what_is_not_as_most_are_is_left_to_others(reader, lines):
    assert reader.take_bundle(lines, 0, 0) is None
    (_, kinds, *_), at, _ = reader.take_bundle(pair("first") + lines, 0, 0)
    assert (kinds, at) == (b"0", len(pair("first")))


@both
def test_the_longest_name_and_the_largest_file(reader):
    lines = pair("a" * 1024, size=LARGEST, crc=1)

    assert reader.take_bundle(lines, 0, 0)[1:] == (len(lines), 0)


@both
def test_a_bundle_is_of_so_many_members(reader):
    lines = pair("a") * (MOST_MEMBERS + 1)

    (names, kinds, _, _, _), at, padding = reader.take_bundle(lines, 0, 0)

    assert (names, kinds) == (b"a\0" * MOST_MEMBERS, b"0" * MOST_MEMBERS)
    assert (at, padding) == (len(pair("a")) * MOST_MEMBERS, 0)


@both
def test_a_bundle_is_of_so_many_bytes(reader):
    one = pair("a", size=LARGEST)
    last = pair("b", size=LARGEST - 100)

    (names, _, _, _, size), at, padding = reader.take_bundle(one * 15 + last + pair("c", size=101, padding=100), 0, 0)

    assert (names, size) == (b"a\0" * 15 + b"b\0", MOST_BYTES - 100)
    assert (at, padding) == (len(one) * 15 + len(last), 100)


@both
@pytest.mark.parametrize(("at", "padding"), [(-1, 0), (3, 0), (0, -1), (0, 512)])
def test_what_is_no_place_in_a_text_is_refused(reader, at, padding):
    with pytest.raises(ValueError, match="no place in a tar-split"):
        reader.take_bundle(b"{}", at, padding)


LINES = (
    pair("./a/", header(b"5"), padding=3)
    + pair("a/b", size=1000, crc=0xFEDCBA9876543210)
    + pair("a/link", header(b"2", link="../x"), padding=24)
    + pair("a/c", extension(b"x", b"10 path=c\n11 mtime=77\n21 SCHILY.xattr.x=1\n\n") + header(b"\0"))
    + pair("z", size=512, crc=1)
)
CHANGES = st.lists(
    st.tuples(
        st.integers(0, len(LINES)),
        st.integers(0, 5),
        st.one_of(st.binary(max_size=4), st.sampled_from([b"A", b"/", b".", b"0", b"9", b"=", b"\n", b'"', b"_"])),
    ),
    max_size=3,
)


HEADERS = (
    extension(b"x", b"10 path=c\n11 mtime=77\n21 SCHILY.xattr.x=1\n\n")
    + extension(b"L", b"long")
    + header(b"2", size=7, link="target")
)
PLACES = [*range(124, 136), *range(156, 160), *range(512, 560), *range(1024 + 124, 1024 + 136), 1024 + 156, 1536]
FIELDS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(PLACES), st.integers(2048 + 100, 2048 + 170)),
        st.integers(0, 2),
        st.one_of(st.sampled_from([b"\0", b" ", b"x", b"=", b"\n", b"\xff"]), st.integers(0, 9).map(b"%d".__mod__)),
    ),
    max_size=3,
)


def changed(changes, lines=LINES):
    for at, cut, instead in changes:
        lines = lines[:at] + instead + lines[at + cut :]
    return lines


@needs_compiled
@given(CHANGES, st.sampled_from([3, 0, 24, 511]))
@example([], 3)
def test_both_take_the_same_of_any_text(changes, padding):
    lines = changed(changes)
    for at in [0, *(found.end() for found in re.finditer(rb"\n", lines))]:
        assert compiled.bundle.take_bundle(lines, at, padding) == bundle.take_bundle(lines, at, padding)


@needs_compiled
@given(FIELDS)
@example([])
def test_both_take_the_same_of_any_header(changes):
    lines = pair("a", changed(changes, HEADERS))

    taken = compiled.bundle.take_bundle(lines, 0, 0)
    assert taken == bundle.take_bundle(lines, 0, 0)
    assert_it_is_what_others_read(lines, 0, taken)


@given(CHANGES, st.sampled_from([3, 0, 24]))
@example([], 3)
def test_the_reader_of_entries_and_headers_says_the_same(changes, padding):
    lines = changed(changes)
    assert_it_is_what_others_read(lines, padding, bundle.take_bundle(lines, 0, padding))


def assert_it_is_what_others_read(lines, padding, taken):
    if taken is None:
        return
    (names, kinds, numbers, links, size), end, after = taken
    headers, said = Headers(), []
    headers.skip(padding)
    for one in lines[:end].splitlines():
        entry = parse_entry(one)
        if isinstance(entry, Member):
            said.append((entry, headers.header(entry.name)))
        else:
            headers.feed(entry.payload)

    assert [member.name.removeprefix(b"./").removesuffix(b"/") for member, _ in said] == names.split(b"\0")[:-1]
    assert [found.type for _, found in said] == [TYPES[chr(kind)] for kind in kinds]
    assert [(member.size, member.crc or 0) for member, _ in said] == list(NUMBERS.iter_unpack(numbers))
    assert all((member.crc is None) == (member.size == 0) for member, _ in said)
    assert [found.link for _, found in said if found.type is MemberType.SYMLINK] == [
        link for link, kind in zip(links.split(b"\0"), kinds, strict=False) if chr(kind) == "2"
    ]
    assert not any(found.is_sparse or found.xattrs for _, found in said)
    assert (size, after) == (sum(member.size for member, _ in said), headers.padding)
    assert headers.is_between()


def test_the_compiled_one_calls_nothing_of_the_system():
    source = (Path(bundle.__file__).parent / "_bundle.c").read_text()

    assert set(re.findall(r"#include <([^>]+)>", source)) == {"Python.h", "stdbool.h", "stdint.h", "string.h"}
