"""
``/proc/locks``: who holds which file, by device and inode.

::

    1: FLOCK  ADVISORY  WRITE 708 08:01:131090 0 EOF
    1: -> FLOCK  ADVISORY  WRITE 811 08:01:131090 0 EOF        a waiter for the lock before
    2: OFDLCK ADVISORY  READ -1 00:19:2244 0 EOF               of an open file, not of a process
    3: POSIX  *NOINODE* WRITE 12 <none>:0 0 EOF                of no file: not kept

Major and minor number are hexadecimal. The kernel leaves out locks of processes that the reader's pid namespace does
not see.

Source: Linux ``fs/locks.c`` lock_get_status, locks_show.
"""

from __future__ import annotations

import re

from msgspec import Struct

from gcd.formats.escape import escaped
from gcd.model.errors import FormatError

_LINE = re.compile(
    rb"\s*[0-9]+:\s+(?P<waiter>->\s+)?(?P<kind>[A-Z]+)\s+\S+\s+(?P<mode>[A-Z]+)\s+(?P<pid>-?[0-9]{1,10})\s+"
    rb"(?:<none>:0|(?P<major>[0-9a-f]{1,8}):(?P<minor>[0-9a-f]{1,8}):(?P<inode>[0-9]{1,20}))\s.*"
)


class Lock(Struct, frozen=True):
    """
    `kind` is the kernel's word (FLOCK, POSIX, OFDLCK, LEASE …), `mode` READ, WRITE or UNLCK. `pid` is -1 where no
    process owns it. `waiting`: not held, only wanted.
    """

    kind: str
    mode: str
    pid: int
    major: int
    minor: int
    inode: int
    waiting: bool = False


def parse_locks(raw: bytes) -> tuple[Lock, ...]:
    """
    Every lock of a file, in the kernel's order.

    A line of another form is a `FormatError`, never skipped: it may be the lock that proves an engine alive.
    """
    locks: list[Lock] = []
    offset = 0
    for line in raw.split(b"\n"):
        if line.strip():
            match = _LINE.fullmatch(line)
            if match is None:
                raise FormatError("/proc/locks", offset=offset, expected="a lock", found=escaped(line))
            if match["inode"] is not None:
                locks.append(_lock(match))
        offset += len(line) + 1
    return tuple(locks)


def _lock(match: re.Match[bytes]) -> Lock:
    return Lock(
        kind=match["kind"].decode(),
        mode=match["mode"].decode(),
        pid=int(match["pid"]),
        major=int(match["major"], 16),
        minor=int(match["minor"], 16),
        inode=int(match["inode"]),
        waiting=match["waiter"] is not None,
    )
