"""
Killing gcd at every system call that changes something, and failing each of them.

An operation is a function that runs in a forked child of this interpreter, which is warm: nothing is imported or
compiled any more, so it makes the same calls each time. The child waits until ``strace -p`` holds it. A first run
counts its mutating calls; then each is a `Point`: the nth call of its name. At a point the child is killed at the entry
of the call, which is then not carried out, or the call fails with an error.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Operation = Callable[[], None]

MUTATING = (
    "rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "symlink", "symlinkat",
    "link", "linkat", "mknod", "mknodat", "write", "pwrite64", "writev", "fsync", "fdatasync", "fchmod", "chmod",
    "fchmodat", "fchown", "chown", "lchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr", "removexattr",
    "lremovexattr", "fremovexattr", "ftruncate", "truncate", "fallocate", "utimensat", "open", "openat",
)  # fmt: skip
"""Of ``open`` and ``openat`` those count that create."""

RENAMING = frozenset({"rename", "renameat", "renameat2", "link", "linkat"})
ALLOCATING = frozenset(
    {"fallocate", "mkdir", "mkdirat", "openat", "write", "symlinkat", "symlink", "renameat2", "fsync"}
)

_CALL = re.compile(r"^(?:\d+ +)?([a-z0-9_]+)\((.*)$")
_RAISED = 99


@dataclass(frozen=True, order=True)
class Point:
    """The `nth` (from 1) call of that name."""

    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.call}#{self.nth}"


@dataclass(frozen=True)
class Ending:
    """How a child ended: by `signal`, or with the exit `status`; and what strace saw."""

    signal: int
    status: int
    trace: str


def points_of(operation: Operation, *, calls: Sequence[str] = MUTATING) -> list[Point]:
    """The mutating calls of `operation`, or those of `calls`, in their order; it is carried out."""
    ending = run(operation, calls=calls)
    assert (ending.signal, ending.status) == (0, 0), ending
    seen: Counter[str] = Counter()
    points = []
    for line in ending.trace.splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        call, rest = match.groups()
        seen[call] += 1
        if call not in {"open", "openat"} or "O_CREAT" in rest:
            points.append(Point(call, seen[call]))
    return points


def kill_at(operation: Operation, point: Point, *, calls: Sequence[str] = MUTATING) -> None:
    """Carry out `operation` as far as `point`, one of `calls`, where it is killed."""
    ending = run(operation, "--inject", f"{point.call}:signal=SIGKILL:when={point.nth}", calls=calls)
    assert ending.signal == signal.SIGKILL, f"not killed at {point}: {ending}"


def fail_at(operation: Operation, point: Point, error: str, *, calls: Sequence[str] = MUTATING) -> None:
    """Carry out `operation`, in which the call at `point`, one of `calls`, fails; it must end in an orderly way."""
    ending = run(operation, "--inject", f"{point.call}:error={error}:when={point.nth}", calls=calls)
    assert (ending.signal, ending.status) == (0, 0), f"{error} at {point}: {ending}"
    assert "(INJECTED)" in ending.trace, f"{error} at {point} was not injected: {ending}"


def errors_for(point: Point) -> Sequence[str]:
    """What the call at `point` can fail with, one of a kind."""
    return (
        *(("ENOSPC",) if point.call in ALLOCATING else ()),
        "EIO",
        *(("EXDEV",) if point.call in RENAMING else ()),
    )


def histogram(points: Iterable[tuple[str, Point]]) -> str:
    """How many points of each call there were, by what they belong to: one line each."""
    counted: dict[str, Counter[str]] = {}
    for what, point in points:
        counted.setdefault(what, Counter())[point.call] += 1
    lines = [
        f"{what:24} {sum(calls.values()):4}  " + "  ".join(f"{call} {n}" for call, n in sorted(calls.items()))
        for what, calls in counted.items()
    ]
    total = sum(sum(calls.values()) for calls in counted.values())
    return "\n".join([*lines, f"{'all':24} {total:4}"])


def run(operation: Operation, *strace: str, calls: Sequence[str] = MUTATING) -> Ending:
    """Carry out `operation` in a child under strace, which looks at `calls`, with the further arguments."""
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(opener)
        _child(operation, gate)
    os.close(gate)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "trace"
        command = ("strace", "-s", "0", "-o", str(log), "-e", f"trace={','.join(calls)}", *strace, "-p", str(pid))
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            assert tracer.stderr is not None
            attached = tracer.stderr.readline()
            os.close(opener)
            _, status = os.waitpid(pid, 0)
            rest = tracer.stderr.read()
        assert "attached" in attached, attached + rest
        trace = log.read_text()
    return Ending(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, os.waitstatus_to_exitcode(status), trace)


def _child(operation: Operation, gate: int) -> None:
    status = _RAISED
    try:
        os.read(gate, 1)
        operation()
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the parent must hear of it
        traceback.print_exc()
    finally:
        os._exit(status)
