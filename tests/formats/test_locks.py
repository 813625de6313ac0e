from __future__ import annotations

import pytest
from hypothesis import given
from support.totality import damaged, value_or_format_error

from gcd.formats.locks import Lock, parse_locks
from gcd.model.errors import FormatError

KERNEL = b"""\
1: FLOCK  ADVISORY  WRITE 29121 fe:00:2279598 0 EOF
2: POSIX  ADVISORY  READ  708 103:0a:131090 128 1073742335
2: -> POSIX  ADVISORY  WRITE 811 103:0a:131090 0 EOF
3: OFDLCK ADVISORY  READ  -1 00:19:18446744073709551615 0 EOF
4: LEASE  ACTIVE    READ  12 00:19:7 0 EOF
5: DELEG  BREAKING  UNLCK 13 00:19:8 0 EOF
6: POSIX  *NOINODE* WRITE 12 <none>:0 0 EOF
1234567: FLOCK  ADVISORY  WRITE 1 08:01:1 0 EOF
1234567:  -> FLOCK  ADVISORY  READ 2 08:01:1 0 EOF
"""


def test_every_lock_of_a_file_in_the_kernels_order():
    assert parse_locks(KERNEL) == (
        Lock("FLOCK", "WRITE", 29121, 0xFE, 0, 2279598),
        Lock("POSIX", "READ", 708, 0x103, 10, 131090),
        Lock("POSIX", "WRITE", 811, 0x103, 10, 131090, waiting=True),
        Lock("OFDLCK", "READ", -1, 0, 0x19, 2**64 - 1),
        Lock("LEASE", "READ", 12, 0, 0x19, 7),
        Lock("DELEG", "UNLCK", 13, 0, 0x19, 8),
        Lock("FLOCK", "WRITE", 1, 8, 1, 1),
        Lock("FLOCK", "READ", 2, 8, 1, 1, waiting=True),
    )


def test_no_locks():
    assert parse_locks(b"") == ()


@pytest.mark.parametrize(
    "line",
    [
        b"1: FLOCK  ADVISORY  WRITE 29121 fe:00:2279",
        b"1: FLOCK  ADVISORY  WRITE x fe:00:2279598 0 EOF",
        b"FLOCK  ADVISORY  WRITE 29121 fe:00:2279598 0 EOF",
        b"1: FLOCK  ADVISORY  WRITE 29121 zz:00:2279598 0 EOF",
        b"\xff\x00",
    ],
)
def test_a_line_that_may_hide_an_engines_lock_is_an_error(line):
    first = b"1: FLOCK  ADVISORY  WRITE 29121 fe:00:2279598 0 EOF\n"
    with pytest.raises(FormatError) as error:
        parse_locks(first + line + b"\n")
    assert error.value.offset == len(first)


@given(damaged(KERNEL))
def test_any_bytes_are_locks_or_refused(raw):
    locks = value_or_format_error(parse_locks, raw)
    assert locks is None or len(locks) <= raw.count(b"\n") + 1


def test_long_lines_take_time_in_proportion():
    for line in (b" " * 1_000_000, b"1:" + b" " * 1_000_000 + b"x", b"1: A " * 200_000, b"1: -> " + b"A" * 1_000_000):
        value_or_format_error(parse_locks, line)
