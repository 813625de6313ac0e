"""
What ``/proc`` says of processes.

Processes end while gcd looks: whatever is asked of one that is gone is None, never an error. A refusal (other users'
processes, without CAP_SYS_PTRACE) is raised as the OSError it is, since it means that something was not seen.
`proc` is a parameter everywhere, so that a test can lay out a tree of its own.
"""

from __future__ import annotations

import errno
import os
from pathlib import PurePath
from typing import Final

from msgspec import Struct

from gcd.formats.escape import escaped

PROC: Final = "/proc"

_GONE = {errno.ENOENT, errno.ESRCH, errno.EINVAL, errno.ENOTDIR}
"""What asking a process answers after its end; EINVAL is the answer of a zombie's mountinfo."""

_TEXT_LIMIT = 1 << 20
_NANOSECONDS = 1_000_000_000

# Fields of /proc/<pid>/stat after the name, which may hold anything, also ")": proc(5) counts from 1, the name being 2.
_PARENT_FIELD = 4 - 3
_START_FIELD = 22 - 3


class Process(Struct, frozen=True):
    proc: str
    pid: int

    @property
    def folder(self) -> str:
        return f"{self.proc}/{self.pid}"

    def read(self, name: str, limit: int = _TEXT_LIMIT) -> bytes | None:
        """The file `name`, cut at `limit` bytes; None if the process is gone."""
        return read_file(f"{self.folder}/{name}", limit)

    def link(self, name: str) -> str | None:
        """The text of the link `name`; None if the process, or the link, is gone."""
        try:
            return text_of(f"{self.folder}/{name}")
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise

    def comm(self) -> str:
        """The name of the process, which it can choose itself, escaped; "" if it is gone or does not say."""
        try:
            return escaped((self.read("comm", 64) or b"").removesuffix(b"\n"))
        except OSError:
            return ""

    def arguments(self) -> list[str]:
        """The command line, program first; empty for a kernel thread, a zombie and a process that is gone."""
        raw = (self.read("cmdline") or b"").removesuffix(b"\0")
        return [os.fsdecode(argument) for argument in raw.split(b"\0")] if raw else []

    def is_dockerd(self) -> bool:
        if self.comm() == "dockerd":
            return True
        try:
            program = self.link("exe") or ""
        except OSError:
            return False
        return PurePath(program.removesuffix(" (deleted)")).name == "dockerd"

    def threads(self) -> list[Process]:
        """Its threads, which can be asked what a process can be asked; none if it is gone."""
        try:
            return processes(f"{self.folder}/task")
        except OSError as error:
            if error.errno in _GONE:
                return []
            raise

    def parent(self) -> int | None:
        return self._stat_field(_PARENT_FIELD)

    def start_ticks(self) -> int | None:
        """When it started, in ticks since the boot: with its pid, the same for no other process."""
        return self._stat_field(_START_FIELD)

    def start_ns(self) -> int | None:
        """When it started, in nanoseconds of the wall clock, to about 1 s; it moves when the clock is set."""
        ticks = self.start_ticks()
        boot = _boot_seconds(self.proc)
        if ticks is None or boot is None:
            return None
        return boot * _NANOSECONDS + ticks * _NANOSECONDS // os.sysconf("SC_CLK_TCK")

    def pid_namespace_depth(self) -> int | None:
        """How many pid namespaces deep it lives, counted from that of ``/proc``: 1 in the same."""
        for line in (self.read("status") or b"").splitlines():
            if line.startswith(b"NSpid:"):
                return len(line.split()) - 1
        return None

    def _stat_field(self, index: int) -> int | None:
        fields = (self.read("stat") or b"").rpartition(b")")[2].split()
        try:
            return int(fields[index])
        except (IndexError, ValueError):
            return None


def processes(proc: str = PROC) -> list[Process]:
    """All processes, lowest pid first. OSError if they cannot be listed."""
    with os.scandir(proc) as entries:
        return [Process(proc, pid) for pid in sorted(int(entry.name) for entry in entries if entry.name.isdecimal())]


def read_file(path: str, limit: int) -> bytes | None:
    """A file of ``/proc``, cut at `limit` bytes; None if it, or its process, is gone."""
    parts: list[bytes] = []
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            while limit > 0 and (part := os.read(fd, min(limit, 1 << 20))):
                parts.append(part)
                limit -= len(part)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _GONE:
            return None
        raise
    return b"".join(parts)


def text_of(link: str) -> str:
    """The text of a link of ``/proc``. OSError where there is none, or where it may not be read."""
    return os.readlink(link)  # noqa: PTH115  some thousand times in a check: a Path costs ten times the call


def read_link(path: str) -> str | None:
    """The text of a link of ``/proc``; None if there is none or it may not be read."""
    try:
        return text_of(path)
    except OSError:
        return None


def _boot_seconds(proc: str) -> int | None:
    for line in (read_file(f"{proc}/stat", _TEXT_LIMIT) or b"").splitlines():
        if line.startswith(b"btime "):
            return int(line.split()[1])
    return None
