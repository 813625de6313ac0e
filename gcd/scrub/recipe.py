"""
The recipe of a layer, its tar-split, as members with their headers; by a process of its own where that can be.

To read a hundred thousand entries takes as long as to look at the files that they name. So a `Clerk`, a fork of this
process, reads them while this one looks. It is handed the open file, has nothing else open, and ends when nobody is
left to ask it. If it dies before, what it had not told is read here.

Forked is only where no other thread runs, whose locks a fork would copy.
"""

from __future__ import annotations

import contextlib
import itertools
import marshal
import os
import signal
import socket
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn, Self

from gcd.formats.tarheader import Header, Headers, MemberType
from gcd.formats.tarsplit import Member, parse_tar_split
from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

Entry = bytes | tuple[Member, Header]
"""A segment of the stream, or a member and what the segments before it say of it."""

BATCH: Final = 500
BATCH_BYTES: Final = 1 << 20
"""After so many entries, or bytes in them, they are handed over."""
_USUAL_LINK: Final = 100
"""A longer target of a link is not remembered: a layer may be made to fill the memory with them."""
_PIECE: Final = 1 << 18
_LENGTH_BYTES: Final = 4
_TYPES: Final = tuple(MemberType)
_NUMBERS: Final = {kind: number for number, kind in enumerate(_TYPES)}
_MEMBERS, _WHOLE = b"m", b"w"
"""What is asked for: the members alone, or the segments too."""


def pieces_of(fd: int) -> Iterator[bytes]:
    """The open file, from where it stands."""
    return iter(lambda: os.read(fd, _PIECE), b"")


def entries(fd: int, *, has_segments: bool) -> Iterator[Entry]:
    """
    What the open ``tar-split.json.gz`` `fd` says, in its order. `FormatError` or `OSError` where it cannot be read.
    """
    headers = Headers()
    for entry in parse_tar_split(pieces_of(fd)):
        if isinstance(entry, Member):
            yield entry, headers.header(entry.name)
        else:
            headers.feed(entry.payload)
            if has_segments:
                yield entry.payload


class Clerk:
    """
    Gives `entries`, read by a fork if it `is_forked` and one can be had; a context manager that ends it.
    """

    def __init__(self, *, is_forked: bool = True) -> None:
        self._pid: int | None = None
        if not is_forked or threading.active_count() > 1:
            return
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            own, other = map(stack.enter_context, socket.socketpair())
            pid = os.fork()
            if pid == 0:
                _be_the_clerk(other)
            stack.pop_all()
            other.close()
            self._socket, self._pid = own, pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Leave neither process nor descriptor behind."""
        if self._pid is not None:
            pid, self._pid = self._pid, None
            self._socket.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def entries(self, fd: int, *, has_segments: bool) -> Iterator[Entry]:
        """See `entries`. One at a time: whoever does not read on to the end ends the clerk."""
        told = 0
        try:
            if self._pid is not None:
                for entry in self._told(fd, _WHOLE if has_segments else _MEMBERS):
                    yield entry
                    told += 1
                return
        except EOFError:
            os.lseek(fd, 0, os.SEEK_SET)
        yield from itertools.islice(entries(fd, has_segments=has_segments), told, None)

    def _told(self, fd: int, what: bytes) -> Iterator[Entry]:
        """What the fork tells; `EOFError` where it died."""
        is_ready = False
        try:
            socket.send_fds(self._socket, [what], [fd])
            while batch := self._batch():
                yield from map(_entry, batch)
            is_ready = True
            trouble = self._batch()
        except OSError as error:
            raise EOFError from error
        finally:
            if not is_ready:
                self.end()
        if trouble:
            raise _raised(trouble)

    def _batch(self) -> Any:  # noqa: ANN401 - whatever was dumped
        length = int.from_bytes(self._received(_LENGTH_BYTES))
        return marshal.loads(self._received(length))  # noqa: S302 - written by a fork of this very process

    def _received(self, length: int) -> bytearray:
        got = bytearray(length)
        view = memoryview(got)
        while view:
            count = self._socket.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return got


def _be_the_clerk(own: socket.socket) -> NoReturn:
    """Never comes back: what this process was in the middle of is its parent's, and so is all that is open."""
    with contextlib.suppress(BaseException):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for fd in [int(entry.name) for entry in os.scandir("/proc/self/fd")]:
            if fd != own.fileno():
                with contextlib.suppress(OSError):
                    os.close(fd)
        for _ in range(3):
            os.open(os.devnull, os.O_RDONLY)
        while True:
            what, fds, _, _ = socket.recv_fds(own, 1, 1)
            if not what:
                break
            _tell(own, fds[0], has_segments=what == _WHOLE)
    os._exit(0)


def _tell(own: socket.socket, fd: int, *, has_segments: bool) -> None:
    """Batches of entries, an empty one, and then what kept it from reading on; by then `fd` is closed."""
    trouble: tuple[object, ...] = ()
    batch: list[object] = []
    size = 0
    try:
        for entry in entries(fd, has_segments=has_segments):
            if isinstance(entry, bytes):
                batch.append(entry)
                size += len(entry)
            else:
                member, header = entry
                if header.xattrs or len(header.link) > _USUAL_LINK:
                    batch.append((*member, _dressed(header)))
                    size += len(header.link) + sum(map(len, header.xattrs.values()))
                else:
                    batch.append((*member, _plain(header[:-1])))
                size += len(member.name)
            if len(batch) >= BATCH or size > BATCH_BYTES:
                _send(own, batch)
                batch, size = [], 0
    except FormatError as error:
        trouble = (error.what, error.offset, error.expected, error.found)
    except OSError as error:
        trouble = (error.errno,)
    os.close(fd)
    if batch:
        _send(own, batch)
    _send(own, [])
    _send(own, trouble)


def _send(own: socket.socket, value: Any) -> None:  # noqa: ANN401 - what marshal knows
    raw = marshal.dumps(value)
    own.sendall(len(raw).to_bytes(_LENGTH_BYTES))
    own.sendall(raw)


@lru_cache(256)
def _plain(header: tuple[Any, ...]) -> tuple[object, ...]:
    """One object for many headers: marshal writes it once."""
    return (_NUMBERS[header[0]], *header[1:])


def _dressed(header: Header) -> tuple[object, ...]:
    return (_NUMBERS[header.type], *header[1:-1], dict(header.xattrs))


def _entry(told: Any) -> Entry:  # noqa: ANN401 - whatever was dumped
    if isinstance(told, bytes):
        return told
    name, size, crc, header = told
    return Member(name, size, crc), _header(header) if len(header) < _ALL else _header_of(header)


_ALL: Final = len(Header._fields)


def _header_of(told: tuple[Any, ...]) -> Header:
    return Header(_TYPES[told[0]], *told[1:])


_header = lru_cache(256)(_header_of)


def _raised(trouble: tuple[Any, ...]) -> FormatError | OSError:
    match trouble:
        case (what, offset, expected, found):
            return FormatError(what, offset=offset, expected=expected, found=found)
        case (number, *_):
            return OSError(number, os.strerror(number))
        case _:
            raise AssertionError(trouble)
