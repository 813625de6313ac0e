"""
``/proc/<pid>/net/unix``: the unix sockets of a network namespace.

::

    Num               RefCount Protocol Flags    Type St Inode  Path
    0000000000000000: 00000002 00000000 00010000 0001 01 303122 /run/docker.sock        listens
    0000000000000000: 00000003 00000000 00000000 0001 03 303125 /run/docker.sock        a connection to it
    0000000000000000: 00000002 00000000 00000000 0002 01  20011 @abstract               bound to no file

`Path` is what the socket was bound to, as whoever bound it saw it; numbers before it are hexadecimal but for the inode.

Source: Linux ``net/unix/af_unix.c`` unix_seq_show; ``__SO_ACCEPTCON`` in ``include/linux/net.h``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LISTENER = re.compile(rb"[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ ([0-9A-F]{8}) 0001 [0-9A-F]{2} +([0-9]{1,20}) (/.*)")
_ACCEPTS = 0x10000


def parse_listeners(raw: bytes) -> Mapping[int, str]:
    """
    By inode of the socket, the absolute path of each stream socket that listens; the last line may be cut off.

    A line of another form is passed over: whoever can bind a socket chooses its name, and all that a line can do here
    is to be missed.
    """
    found: dict[int, str] = {}
    for line in raw.split(b"\n")[1:]:
        match = _LISTENER.fullmatch(line)
        if match is not None and int(match[1], 16) & _ACCEPTS:
            found[int(match[2])] = match[3].decode("utf-8", "surrogateescape")
    return found
