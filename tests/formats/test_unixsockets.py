from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gcd.formats.unixsockets import parse_listeners

HEAD = b"Num       RefCount Protocol Flags    Type St Inode Path\n"
LISTENER = b"00000000d887e69d: 00000002 00000000 00010000 0001 01 840013 /run/docker.sock\n"


def test_listeners_by_inode():
    raw = (
        HEAD
        + LISTENER
        + b"00000000d887e69e: 00000003 00000000 00000000 0001 03 840014 /run/docker.sock\n"  # a connection
        + b"00000000d887e69f: 00000002 00000000 00010000 0001 01 840015 @abstract\n"
        + b"00000000d887e6a0: 00000002 00000000 00010000 0005 01 840016 /run/packets\n"
        + b"00000000d887e6a1: 00000002 00000000 00000000 0002 01 840017 /run/datagrams\n"
        + b"00000000d887e6a2: 00000003 00000000 00000000 0001 03 840018\n"
        + b"00000000d887e6a3: 00000002 00000000 00010000 0001 01    19 /a path/\xff\n"
        + b"00000000d887e6a4: 00000002 00000000 00010000 00"
    )
    assert parse_listeners(raw) == {840013: "/run/docker.sock", 19: "/a path/\udcff"}


def test_the_first_line_is_no_socket():
    assert parse_listeners(LISTENER) == {}
    assert parse_listeners(b"") == {}


@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer(raw: bytes):
    parse_listeners(HEAD + raw)
