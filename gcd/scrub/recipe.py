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
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NoReturn, Self

from gcd.formats.bundle import Bundle
from gcd.formats.tarheader import Header, Headers, MemberType
from gcd.formats.tarsplit import Member, parse_entry, parse_tar_split, unpacked_lines
from gcd.model.errors import FormatError
from gcd.root.shares import signals_held

try:
    from gcd.formats._bundle import take_bundle
except ImportError:  # not compiled where it was installed
    from gcd.formats.bundle import take_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from types import TracebackType
    from typing import Any

Entry = bytes | tuple[Member, Header] | Bundle
"""A segment of the stream, or a member and what the segments before it say of it, or a bundle of members."""


class Asked(Enum):
    """Which entries are asked for."""

    MEMBERS = b"m"

    BUNDLES = b"b"
    """All members; most of them by the bundle, without what a bundle does not tell."""

    WHOLE = b"w"
    """The members, and all segments too."""


BATCH: Final = 500
BATCH_BYTES: Final = 1 << 20
"""After so many members and segments, or bytes in them, they are handed over."""
_USUAL_LINK: Final = 100
"""A longer target of a link is not remembered: a layer may be made to fill the memory with them."""
_PIECE: Final = 1 << 18
_LENGTH_BYTES: Final = 4
_TYPES: Final = tuple(MemberType)
_NUMBERS: Final = {kind: number for number, kind in enumerate(_TYPES)}


def pieces_of(fd: int) -> Iterator[bytes]:
    """The open file, from where it stands."""
    return iter(lambda: os.read(fd, _PIECE), b"")


def entries(fd: int, asked: Asked) -> Iterator[Entry]:
    """
    What the open ``tar-split.json.gz`` `fd` says, in its order. `FormatError` or `OSError` where it cannot be read.
    """
    if asked is Asked.BUNDLES:
        yield from _bundled(fd)
        return
    headers = Headers()
    for entry in parse_tar_split(pieces_of(fd)):
        if isinstance(entry, Member):
            yield entry, headers.header(entry.name)
        else:
            headers.feed(entry.payload)
            if asked is Asked.WHOLE:
                yield entry.payload


def _bundled(fd: int) -> Iterator[Entry]:
    headers, text, at = Headers(), b"", 0
    for more in itertools.chain(unpacked_lines(pieces_of(fd)), (b"",)):
        text, at = text[at:] + more, 0
        while at < len(text):
            is_between = headers.is_between()
            taken = take_bundle(text, at, headers.padding) if is_between else None
            if taken is not None:
                fields, at, padding = taken
                headers.skip(padding)
                yield Bundle(*fields)
                continue
            end = text.index(b"\n", at)
            if more and is_between and end + 1 == len(text):
                break  # a header, it seems, whose member is in what comes next
            entry, at = parse_entry(text[at:end]), end + 1
            if isinstance(entry, Member):
                yield entry, headers.header(entry.name)
            else:
                headers.feed(entry.payload)


class Clerk:
    """
    Gives `entries`, read by a fork if it `is_forked` and one can be had; a context manager that ends it.
    """

    def __init__(self, *, is_forked: bool = True) -> None:
        self._pid: int | None = None
        if not is_forked or threading.active_count() > 1:
            return
        try:
            self._fork()
        except BaseException:  # interrupted
            self.end()
            raise

    def _fork(self) -> None:
        with contextlib.suppress(OSError), signals_held() as held, contextlib.ExitStack() as stack:
            own, other = map(stack.enter_context, socket.socketpair())
            pid = os.fork()
            if pid == 0:
                _be_the_clerk(other, held)
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

    def entries(self, fd: int, asked: Asked) -> Iterator[Entry]:
        """See `entries`. One at a time: whoever does not read on to the end ends the clerk."""
        told = 0
        try:
            if self._pid is not None:
                for entry in self._told(fd, asked):
                    yield entry
                    told += 1
                return
        except EOFError:
            os.lseek(fd, 0, os.SEEK_SET)
        yield from itertools.islice(entries(fd, asked), told, None)

    def _told(self, fd: int, asked: Asked) -> Iterator[Entry]:
        """What the fork tells; `EOFError` where it died."""
        is_ready = False
        try:
            socket.send_fds(self._socket, [asked.value], [fd])
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


def _be_the_clerk(own: socket.socket, held: AbstractSet[int]) -> NoReturn:
    """
    Never comes back: what this process was in the middle of is its parent's, and so is all that is open. It holds the
    signals `held`.
    """
    with contextlib.suppress(BaseException):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
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
            _tell(own, fds[0], Asked(what))
    os._exit(0)


def _tell(own: socket.socket, fd: int, asked: Asked) -> None:
    """Batches of entries, an empty one, and then what kept it from reading on; by then `fd` is closed."""
    trouble: tuple[object, ...] = ()
    batch: list[object] = []
    count = size = 0
    try:
        for entry in entries(fd, asked):
            value, members, length = _dumped(entry)
            batch.append(value)
            count += members
            size += length
            if count >= BATCH or size > BATCH_BYTES:
                _send(own, batch)
                batch, count, size = [], 0, 0
    except FormatError as error:
        trouble = (error.what, error.offset, error.expected, error.found)
    except OSError as error:
        trouble = (error.errno,)
    os.close(fd)
    if batch:
        _send(own, batch)
    _send(own, [])
    _send(own, trouble)


def _dumped(entry: Entry) -> tuple[object, int, int]:
    """`entry` as marshal knows it, for how many it counts, and about how many bytes it has."""
    if isinstance(entry, bytes):
        return entry, 1, len(entry)
    if isinstance(entry, Bundle):
        return tuple(entry), len(entry.kinds), len(entry.names) + len(entry.numbers) + len(entry.links)
    member, header = entry
    if header.xattrs or len(header.link) > _USUAL_LINK:
        length = len(member.name) + len(header.link) + sum(map(len, header.xattrs.values()))
        return (*member, _dressed(header)), 1, length
    return (*member, _plain(header[:-1])), 1, len(member.name)


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
    if len(told) == len(Bundle._fields):
        return Bundle(*told)
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
