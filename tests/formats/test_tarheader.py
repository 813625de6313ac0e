"""Headers out of segments: what Python's own tar writer wrote, cut as the engine cuts it, and any bytes at all."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.totality import value_or_format_error

from gcd.formats import tarheader
from gcd.formats.tarheader import Header, Headers, MemberType
from gcd.model.errors import FormatError

LONG = "a" * 90 + "/" + "b" * 200


def member(name="file", kind=tarfile.REGTYPE, size=0, *, form=tarfile.PAX_FORMAT, **said):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, size, 0o640
    info.uid, info.gid = 3, 4
    for key, value in said.items():
        setattr(info, key, value)
    return info.tobuf(form, errors="surrogateescape")


def header(raw, name=b"file"):
    headers = Headers()
    headers.feed(raw)
    return headers.header(name)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (member(size=7), Header(MemberType.FILE, b"", 0o640, 3, 4, 0, 0)),
        (member(kind=tarfile.AREGTYPE), Header(MemberType.FILE, b"", 0o640, 3, 4, 0, 0)),
        (member(kind=tarfile.DIRTYPE), Header(MemberType.DIRECTORY, b"", 0o640, 3, 4, 0, 0)),
        (member(kind=tarfile.FIFOTYPE), Header(MemberType.FIFO, b"", 0o640, 3, 4, 0, 0)),
        (member(kind=tarfile.SYMTYPE, linkname="../x"), Header(MemberType.SYMLINK, b"../x", 0o640, 3, 4, 0, 0)),
        (member(kind=tarfile.LNKTYPE, linkname="x"), Header(MemberType.HARD_LINK, b"x", 0o640, 3, 4, 0, 0)),
        (
            member(kind=tarfile.CHRTYPE, devmajor=5, devminor=300),
            Header(MemberType.CHARACTER_DEVICE, b"", 0o640, 3, 4, 5, 300),
        ),
        (member(kind=tarfile.BLKTYPE, devmajor=7), Header(MemberType.BLOCK_DEVICE, b"", 0o640, 3, 4, 7, 0)),
        (member(kind=b"7", size=5), Header(MemberType.OTHER, b"", 0o640, 3, 4, 0, 0)),
        (member(LONG, size=7), Header(MemberType.FILE, b"", 0o640, 3, 4, 0, 0)),
        (member(LONG, size=7, form=tarfile.GNU_FORMAT), Header(MemberType.FILE, b"", 0o640, 3, 4, 0, 0)),
        (
            member(kind=tarfile.SYMTYPE, linkname=LONG, form=tarfile.GNU_FORMAT),
            Header(MemberType.SYMLINK, LONG.encode(), 0o640, 3, 4, 0, 0),
        ),
        (
            member(kind=tarfile.SYMTYPE, linkname=LONG),
            Header(MemberType.SYMLINK, LONG.encode(), 0o640, 3, 4, 0, 0),
        ),
        (
            member(kind=tarfile.SYMTYPE, linkname="caf\udce9" * 40, form=tarfile.GNU_FORMAT),
            Header(MemberType.SYMLINK, b"caf\xe9" * 40, 0o640, 3, 4, 0, 0),
        ),
        (member(size=9 << 33), Header(MemberType.FILE, b"", 0o640, 3, 4, 0, 0)),
        (member(size=9 << 33, form=tarfile.GNU_FORMAT), Header(MemberType.FILE, b"", 0o640, 3, 4, 0, 0)),
        (member(uid=1 << 30), Header(MemberType.FILE, b"", 0o640, 1 << 30, 4, 0, 0)),
        (member(uid=1 << 30, form=tarfile.GNU_FORMAT), Header(MemberType.FILE, b"", 0o640, 1 << 30, 4, 0, 0)),
        (
            member(pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, size=512),
            Header(MemberType.FILE, b"", 0o640, 3, 4, 0, 0, is_sparse=True),
        ),
        (
            member(pax_headers={"SCHILY.xattr.security.capability": "\x01"}),
            Header(MemberType.FILE, b"", 0o640, 3, 4, 0, 0, xattrs={b"security.capability": b"\x01"}),
        ),
    ],
)
def test_what_a_header_says(raw, expected):
    assert header(raw) == expected


def test_an_old_archive_marks_directories_by_their_name():
    assert header(member("x", kind=tarfile.AREGTYPE), b"x/").type is MemberType.DIRECTORY
    assert header(member("x", kind=tarfile.REGTYPE), b"x/").type is MemberType.FILE


def test_old_sparse_archives():
    assert header(member(kind=b"S", size=700) + bytes(512)) == Header(
        MemberType.FILE, b"", 0o640, 3, 4, 0, 0, is_sparse=True
    )


@pytest.mark.parametrize(
    ("raw", "padding"),
    [
        (member(size=700), 324),
        (member(size=512), 0),
        (member(size=(9 << 33) + 3), 509),
        (member(size=(9 << 33) + 3, form=tarfile.GNU_FORMAT), 509),
        (member(pax_headers={"size": "3"}), 509),
        (member(kind=b"7", size=5), 507),
        (member(kind=tarfile.LNKTYPE, linkname="x", size=700), 0),
        (member(kind=tarfile.DIRTYPE, size=700), 0),
    ],
)
def test_the_padding_of_the_one_before_stands_before_the_next(raw, padding):
    headers = Headers()

    headers.feed(raw)
    headers.header(b"one")
    headers.feed(bytes(padding) + member(kind=tarfile.FIFOTYPE))

    assert headers.header(b"two").type is MemberType.FIFO


@pytest.mark.parametrize(
    ("raw", "modified_ns"),
    [
        (member(mtime=0), 0),
        (member(mtime=1_700_000_000), 1_700_000_000_000_000_000),
        (member(mtime=1 << 33, form=tarfile.GNU_FORMAT), (1 << 33) * 1_000_000_000),
        (member(mtime=1_700_000_000.25), 1_700_000_000_250_000_000),
        (member(pax_headers={"mtime": "7"}), 7_000_000_000),
        (member(pax_headers={"mtime": "7."}), 7_000_000_000),
        (member(pax_headers={"mtime": "7.1234567899"}), 7_123_456_789),
        (member(pax_headers={"mtime": "-7.5"}), 0),
        (member(pax_headers={"mtime": "9223372036"}), 9_223_372_036_000_000_000),
        (member(pax_headers={"mtime": "9223372037"}), 0),
        (member(mtime=-1, form=tarfile.GNU_FORMAT), 0),
    ],
)
def test_when_a_member_was_modified(raw, modified_ns):
    """What lies outside an engine's clock is the beginning of it."""
    headers = Headers()
    headers.feed(raw)
    headers.header(b"file")

    assert headers.modified_ns() == modified_ns


def test_a_time_that_is_none_is_refused():
    headers = Headers()
    headers.feed(member(pax_headers={"mtime": "seven"}))
    headers.header(b"file")

    with pytest.raises(FormatError, match="expected a time"):
        headers.modified_ns()


def test_the_padding_of_a_global_header_comes_with_the_next_member():
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}) as archive:
        archive.addfile(tarfile.TarInfo("file"))
    raw = whole.getvalue()
    length = int(raw[124:135], 8)
    headers = Headers()

    headers.feed(raw[: 512 + length])
    assert headers.header(b"pax_global_header").type is MemberType.GLOBAL
    headers.feed(raw[512 + length : 1536])
    assert headers.header(b"file").type is MemberType.FILE


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "a header"),
        (bytes(512), "a header"),
        (member()[:511], "a header"),
        (member() + member(), "the content of a member"),
        (member(LONG)[:600], "an extended header"),
        (member(LONG)[:1024], "a header"),
        (member(size=7).replace(b"00000000007", b"0000000000x"), "an octal number"),
        (member()[:124] + b"\xff" * 12 + member()[136:], "a number that is not negative"),
        (member()[:124] + b"\xbf" * 12 + member()[136:], "a number of 63 bits"),
        (member(LONG).replace(b" path=", b" path:"), "a record of an extended header"),
        (member(LONG, form=tarfile.PAX_FORMAT).replace(b"301 path=", b"999 path="), "a record of an extended header"),
        (member(pax_headers={"size": "-1"}), "a decimal number"),
    ],
)
def test_what_is_no_header_is_refused(raw, expected):
    with pytest.raises(FormatError) as caught:
        header(raw)

    assert caught.value.expected == expected


def test_endless_padding_is_not_kept(monkeypatch):
    monkeypatch.setattr(tarheader, "MOST_WAITING", 1000)
    headers = Headers()
    for _ in range(3):
        headers.feed(bytes(512))

    with pytest.raises(FormatError) as caught:
        headers.header(b"x")

    assert caught.value.expected == "headers of a bearable size"
    assert headers._waiting == b""


def test_many_short_segments_are_not_copied_again_for_each():
    headers = Headers()
    headers.feed(b"x")
    headers.feed(b"x")
    waiting = headers._waiting

    for _ in range(998):
        headers.feed(b"x")

    assert headers._waiting is waiting
    assert len(waiting) == 1000


SOUND = (
    member(LONG, size=9 << 33),
    member(LONG, kind=tarfile.SYMTYPE, linkname=LONG, form=tarfile.GNU_FORMAT),
    member(pax_headers={"SCHILY.xattr.user.x": "y", "size": "7"}),
    member(uid=1 << 30, form=tarfile.GNU_FORMAT),
)


@given(
    st.sampled_from(SOUND),
    st.integers(0, 2000),
    st.integers(0, 40),
    st.binary(max_size=40),
)
def test_damaged_headers_give_a_header_or_an_error(sound, at, cut, instead):
    value_or_format_error(header, sound[:at] + instead + sound[at + cut :])


@given(st.binary(max_size=1200))
def test_any_bytes_give_a_header_or_an_error(raw):
    value_or_format_error(header, raw)
