"""
The content of files: read once, its checksum told, with regard for others.

What is short is read at once; what is long is cut into parts that several threads read, for both the reading and the
checksum leave the interpreter's lock to others, and the checksums of the parts make that of the whole. Whoever wants
the bytes themselves, in their order, gets them from one thread.

A file that was not in the page cache before is not left there. ``preadv2`` with RWF_NOWAIT tells without waiting, but
the kernel begins to read what is missing (seen with Linux 6.18), and that may be over before the answer where the disk
is quick or the processor busy. So a yes counts only if this thread read nothing from the disk for it; where the
filesystem does not say, the cache is left alone.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, ParamSpec, Self, TypeVar

from fastcrc.crc64 import go_iso
from msgspec import Struct

from gcd.scrub.recipe import Clerk

if TYPE_CHECKING:
    from types import TracebackType

    from gcd.scrub.pace import Pace

CHUNK: Final = 1 << 20
PART: Final = 1 << 24
THREADS: Final = 2
_POLYNOMIAL: Final = 0xD800000000000000
_ONE: Final = 1 << 63
"""Polynomials have the bit of x⁰ on the left, as the checksum has."""

P = ParamSpec("P")
T = TypeVar("T")

Sink = Callable[[memoryview], None]
"""What wants the bytes; it must be done with them when it returns."""


class Content(Struct, frozen=True):
    """So many bytes were read, to the end or to the size that was asked for; their CRC-64/ISO is `crc`."""

    size: int
    crc: int


class Contents:
    """
    Reads files. A context manager, whose threads end with it; `read` may be called by one thread only.

    Its `clerk` reads what layers shall hold, in a process of its own if it `has_fork`: for long scrubs.
    """

    def __init__(self, pace: Pace, threads: int = THREADS, *, has_fork: bool = False) -> None:
        self.clerk = Clerk(is_forked=has_fork)
        self._pace = pace
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="scrub")
        self._buffer = memoryview(bytearray(CHUNK))
        self._idle = [memoryview(bytearray(CHUNK)) for _ in range(threads)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.stop()
        self._pool.shutdown(cancel_futures=True)
        self.clerk.end()

    def stop(self) -> None:
        """Read nothing more, by any thread: who waits for content has `Stopped` raised."""
        self._pace.stop()

    def spend(self, size: int) -> None:
        """To be told of what somebody else is about to read; see `Pace.spend`."""
        self._pace.spend(size)

    def begin(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread do it; whoever asks must wait for it, or cancel it."""
        return self._pool.submit(work, *args, **kwargs)

    def unlike(self, fd: int, size: int, crc: int, sink: Sink | None = None) -> Callable[[], Content] | None:
        """
        None where the first `size` bytes of `fd`, `CHUNK` at most, are in the page cache and have the checksum `crc`:
        then there is nothing more to be done. Else what `read` gives, which did the same for `fd` and `sink`.
        """
        view = self._buffer[:size]
        count, was_resident = resident_part(fd, view)
        if not was_resident or count != size or go_iso(view) != crc:
            return self.read(fd, size, sink, was_resident=was_resident)
        os.close(fd)
        self._pace.spend(size)
        if sink is not None:
            sink(view)
        return None

    def read(
        self, fd: int, size: int, sink: Sink | None = None, *, was_resident: bool | None = None
    ) -> Callable[[], Content]:
        """
        The first `size` bytes of `fd`, which is closed when they are read; what it gives waits for them, must be called
        and may raise `OSError`. A `sink` has had all of them before this returns.
        """
        if size > CHUNK and sink is None:
            return self._in_parts(fd, size)
        try:
            content = self._at_once(fd, size, sink, was_resident)
        except OSError as error:
            return partial(_raise, error)
        finally:
            os.close(fd)
        return lambda: content

    def _at_once(self, fd: int, size: int, sink: Sink | None, was_resident: bool | None) -> Content:
        if size > CHUNK:
            was_resident = _is_resident(fd, size - 1, self._buffer)
        done = crc = 0
        while done < size:
            view = self._buffer[: min(CHUNK, size - done)]
            self._pace.spend(len(view))
            count = 0
            if was_resident is None:
                count, was_resident = resident_part(fd, view)
            count = count or os.preadv(fd, [view], done)
            if not count:
                break
            crc = go_iso(view[:count], crc) if done else go_iso(view[:count])
            if sink is not None:
                sink(view[:count])
            done += count
        if not was_resident:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return Content(done, crc)

    def _in_parts(self, fd: int, size: int) -> Callable[[], Content]:
        is_kept = _is_resident(fd, size - 1, self._buffer) and _is_resident(fd, 0, self._buffer)
        parts = [
            self._pool.submit(self._part, fd, start, min(PART, size - start), is_kept=is_kept)
            for start in range(0, size, PART)
        ]
        return partial(self._joined, fd, parts)

    def _part(self, fd: int, start: int, size: int, *, is_kept: bool) -> Content:
        buffer = self._idle.pop()
        try:
            done = crc = 0
            while done < size:
                view = buffer[: min(CHUNK, size - done)]
                self._pace.spend(len(view))
                count = os.preadv(fd, [view], start + done)
                if not count:
                    break
                crc = go_iso(view[:count], crc) if done else go_iso(view[:count])
                done += count
        finally:
            self._idle.append(buffer)
        if not is_kept:
            os.posix_fadvise(fd, start, size, os.POSIX_FADV_DONTNEED)
        return Content(done, crc)

    def _joined(self, fd: int, parts: list[Future[Content]]) -> Content:
        try:
            contents = [part.result() for part in parts]
        except KeyboardInterrupt:
            self.stop()
            raise
        finally:
            for part in parts:
                part.cancel()
            for part in parts:
                part.cancelled() or part.exception()
            os.close(fd)
        size, crc = contents[0].size, contents[0].crc
        for content in contents[1:]:
            size, crc = size + content.size, joined_crc(crc, content.crc, content.size)
        return Content(size, crc)


def joined_crc(first: int, second: int, size: int) -> int:
    """The CRC-64/ISO of bytes whose beginning has `first`, and the rest of which, `size` bytes, has `second`."""
    power, shift = _ONE, _ONE >> 8
    while size:
        if size & 1:
            power = _times(power, shift)
        shift = _times(shift, shift)
        size >>= 1
    return _times(power, first) ^ second


def _times(a: int, b: int) -> int:
    """The product of two polynomials, modulo that of the checksum."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = a << 1 & (_ONE << 1) - 1
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def _is_resident(fd: int, offset: int, buffer: memoryview) -> bool:
    """Whether the byte at `offset` is in the page cache; True too where that cannot be told."""
    before = _blocks_from_disk()
    try:
        os.preadv(fd, [buffer[:1]], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return _blocks_from_disk() == before


def resident_part(fd: int, view: memoryview) -> tuple[int, bool]:
    """How many bytes from the start of the file were taken from the page cache, and whether all of it was there."""
    before = _blocks_from_disk()
    try:
        count = os.preadv(fd, [view], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return 0, False
    except OSError:
        return 0, True
    return count, count == len(view) and _blocks_from_disk() == before


def _blocks_from_disk() -> int:
    """What this thread has had the kernel read so far, by getrusage(2)."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


def _raise(error: OSError) -> Content:
    raise error
