"""Disks that are full to the last byte, and gcd at work on them, on a terminal of its own."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AHEAD = """
import sys, time
now_ns = time.time_ns
time.time_ns = lambda: now_ns() + int(sys.argv[1]) * 10**9
from gcd import cli
sys.exit(cli.run(sys.argv[2:]))
"""
"""gcd as its command, so many seconds later."""


@contextlib.contextmanager
def ext4(image: Path, point: Path, size: int) -> Iterator[Path]:
    """An ext4 of `size` bytes in the file `image`, of which nothing is kept for root, mounted at `point`."""
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-b", "4096", str(image)], check=True)
    point.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
    try:
        yield point
    finally:
        if point.is_mount():  # an engine that is disposed of takes it along
            subprocess.run(["umount", str(point)], check=True)
        image.unlink()


def fill_up(disk: Path) -> None:
    """Write files until not one byte more can be written."""
    for number, size in enumerate((1 << 20, 4096, 4096)):
        with (disk / f"filler{number}").open("wb", buffering=0) as filler, contextlib.suppress(_Full):
            while True:
                _write(filler.fileno(), bytes(size))
    expect_full(disk)


def expect_full(disk: Path) -> None:
    """Neither a byte nor a directory finds room."""
    try:
        with (disk / "probe").open("wb", buffering=0) as probe:
            _write(probe.fileno(), b"1")
    except _Full:
        (disk / "probe").unlink()
    else:
        raise AssertionError("there was room for a byte")
    try:
        (disk / "probe").mkdir()
    except OSError as error:
        assert error.errno == errno.ENOSPC  # noqa: PT017 - without an error it is the one below
    else:
        raise AssertionError("there was room for a directory")


def free_bytes(disk: Path) -> int:
    os.sync()
    status = os.statvfs(disk)
    return status.f_bfree * status.f_frsize


PROMPT = b"to do it: "


class Told(NamedTuple):
    status: int
    lines: list[str]
    """What the terminal showed, which is as wide as any line."""


def on_a_terminal(*arguments: object, state: Path, typed: str = "", ahead: int = 0) -> Told:
    """What ``gcd`` with `arguments` says, `ahead` seconds from now, on a terminal on which somebody types an answer."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GCD_")}
    path = os.pathsep.join(sys.path)
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", AHEAD, str(ahead), *map(str, arguments)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**inherited, "PYTHONPATH": path, "TERM": "dumb", "COLUMNS": "1000", "GCD_STATE_DIR": str(state)},
        start_new_session=True,
    ) as process:
        os.close(follower)
        told = b""
        while chunk := _read(leader):
            told += chunk
            if typed and told.endswith(PROMPT):
                os.write(leader, f"{typed}\n".encode())
        os.close(leader)
        return Told(process.wait(timeout=60), told.decode().splitlines())


class _Full(Exception):
    """The disk has no room."""


def _write(fd: int, content: bytes) -> None:
    try:
        os.write(fd, content)
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from error


def _read(leader: int) -> bytes:
    """A pty whose other end is closed gives EIO where a pipe gives an end."""
    try:
        return os.read(leader, 65536)
    except OSError:
        return b""
