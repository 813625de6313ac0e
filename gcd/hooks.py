"""
Hooks: commands of the owner that hear of findings and of acts. They decide nothing.

A command is a list of words, run without a shell, in ``/`` and in a session of its own; it gets one event as JSON on
stdin, and what it prints goes nowhere. After its time is over it is killed with all that it started in its session.
Hooks are called when everything is done and no lock is held: a child would keep the lock, and a slow one would keep
the engine from starting (safety rule S18).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def tell(command: Sequence[str], events: Iterable[Mapping[str, object]], *, seconds: float) -> str:
    """
    Call `command` once for each of `events`, one after the other, each for `seconds` at most.

    Why one of them failed, as one clause, or "". After one that could not be started, or that took too long, no other
    is tried: the others would fare no better, and somebody waits.
    """
    if not command:
        return ""
    failures = 0
    total = 0
    for event in events:
        total += 1
        text = json.dumps(event, ensure_ascii=True) + "\n"
        try:
            status = _run(command, text.encode("ascii"), seconds)
        except OSError as error:
            return f"{command[0]} cannot be run: {error.strerror}"
        if status is None:
            return f"{command[0]} took longer than {seconds:g} s and was killed"
        failures += status != 0
    return f"{command[0]} failed for {failures} of {total} events" if failures else ""


def _run(command: Sequence[str], event: bytes, seconds: float) -> int | None:
    """The exit status of `command`, None if its time was over."""
    with subprocess.Popen(  # noqa: S603 - the owner's own words, and no shell
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            process.communicate(event, timeout=seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return None
        return process.returncode
