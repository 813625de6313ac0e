"""
Scrubs by the clock: a part of all layers now and then, in a process of its own.

That process is ``gcd scrub start`` as a person would type it (`gcd.daemon.scrubchild`): it takes the lock of scrubs, so
that there is one at a time, goes last for processor and disk, and keeps its verdicts in the state. The loop never waits
for it, but asks now and then whether it has ended. When the daemon ends, so does it, with the layer in hand; the next
part begins with what was left, since that was not looked at for longest.

While the engine is stopped nobody scrubs here: what another process has open keeps everything from being proven then
(S7), and a person from repairs that need a stopped engine.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from typing import IO, TYPE_CHECKING

import structlog
from msgspec import Struct

from gcd.daemon.pacing import boot_seconds
from gcd.daemon.scrubregister import Register
from gcd.model.content import Course
from gcd.report.printable import printable
from gcd.scrubbing import is_under_way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gcd.model.facts import LayerRecord
    from gcd.model.ids import ChainId
    from gcd.model.plan import Identity
    from gcd.model.published import Scrubbing
    from gcd.settings import Settings

DAY_SECONDS = 86_400.0
PARTS = 25
"""In so many parts all layers are looked at, or in one a day where that is more of them."""
SPARE = 1.2
"""How much larger a part is than it must be: what is interrupted, or takes too long, is made up for."""
REST = 0.8
"""After this part of the period a layer is looked at again, and not before."""

FIRST_SECONDS = 3600.0
"""The first part begins within so long, and not in the first half of it: a host that starts has other things to do."""
AGAIN_SECONDS = 60.0
"""When to ask again, where somebody else scrubs."""
RETRY_SECONDS = 3600.0
"""When to begin again, at the latest, after one that failed or was ended for the engine's sake."""
ASKED_EVERY_SECONDS = 5.0
ENDS_WITHIN_SECONDS = 1.5
"""Then it is killed: whoever stops the daemon waits for five seconds in all."""
MOST_SAID = 4096


class Portion(Struct, frozen=True):
    """One part of a scrub of everything: when the next one is due, how much it is, and what it leaves out."""

    interval_seconds: float
    percent: float
    max_age_seconds: int


def portion(every_seconds: float) -> Portion:
    """Of what is looked at once in `every_seconds`."""
    interval = min(DAY_SECONDS, every_seconds / PARTS)
    return Portion(interval, 100 * SPARE * interval / every_seconds, int(REST * every_seconds))


class Part:
    """A process that scrubs a part; it says little, and ends with this one."""

    def __init__(self, words: Sequence[str], directory: Path) -> None:
        self._said = b""
        self._process = subprocess.Popen(  # noqa: S603 - gcd itself, and no shell
            [sys.executable, "-P", "-m", "gcd.daemon.scrubchild", str(os.getpid()), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "GCD_STATE_DIR": str(directory)},
            start_new_session=True,  # Ctrl-C is for the daemon, which then ends it
        )
        os.set_blocking(self._pipe.fileno(), False)

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stderr is not None
        return self._process.stderr

    def ended(self) -> int | None:
        """Its exit status, or minus the signal that killed it; None as long as it is at work."""
        status = self._process.poll()
        while heard := self._pipe.read(MOST_SAID):
            self._said = (self._said + heard)[-MOST_SAID:]
        if status is not None:
            self._pipe.close()
        return status

    @property
    def said(self) -> str:
        """The last line that it said, ""  if none."""
        lines = self._said.decode("utf-8", "backslashreplace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def end(self) -> None:
        """Now: it loses the layer in hand."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS_WITHIN_SECONDS)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel has it, and a disk that does not answer
            self._process.wait(ENDS_WITHIN_SECONDS)
        self._pipe.close()


class Scrubber:
    """Scrubs the root that it is told of, as often as the settings say; `register` tells what is known of it."""

    def __init__(
        self, *, clock: Callable[[], float] = boot_seconds, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self._settings: Settings | None = None
        self._root: tuple[str, Identity] | None = None
        self._part: Part | None = None
        self._due: float | None = None
        self._asked_at = float("-inf")
        self._failure = ""
        self.register = Register()

    def on(self, path: str, identity: Identity, settings: Settings, now_ns: int) -> None:
        """From now on it is about the root at `path`, and `settings` are in force; `now_ns` is the wall clock time."""
        before = self._settings
        is_same = before is not None and before.scrub == settings.scrub and before.state_dir == settings.state_dir
        if is_same and self._root == (path, identity):
            return
        self.end()
        self._settings, self._root = settings, (path, identity)
        self.register.on(settings.state_dir, identity)
        self._due = self._first_due(now_ns) if settings.scrub.every else None

    def _first_due(self, now_ns: int) -> float:
        """An interval after the last scrub began, but soon if that was cut short, and never at once."""
        interval, sweep = self._portion.interval_seconds, self.register.known.sweep
        wait = min(FIRST_SECONDS, interval) * (0.5 + self._jitter() / 2)
        if sweep is not None and sweep.course is not Course.RUNNING and sweep.began_ns <= now_ns:
            wait = max(wait, interval - (now_ns - sweep.began_ns) / 1e9)
        return self._clock() + wait

    @property
    def _portion(self) -> Portion:
        assert self._settings is not None
        return portion(self._settings.scrub.every.total_seconds())

    def tend(self, *, is_engine_stopped: bool) -> bool:
        """
        See to the process, and begin a part if one is due. Whether anything may be known since that was not known the
        last time.
        """
        has_ended = self._part is not None and self._hear(self._part)
        now = self._clock()
        if self._part is not None and is_engine_stopped:
            self.end()
            self._due = now + self._retry_seconds
            has_ended = True
            structlog.get_logger().info("scrub_cut_short", why="the engine was stopped")
        if self._part is None and self._due is not None and now >= self._due and not is_engine_stopped:
            self._begin(now)
        if not has_ended and now - self._asked_at < ASKED_EVERY_SECONDS:
            return False
        self._asked_at = now
        return self.register.ask()

    def _begin(self, now: float) -> None:
        assert self._settings is not None
        assert self._root is not None
        path, identity = self._root
        table, part = self._settings.scrub, self._portion
        words = ["start", "--root", path, f"--{table.depth}", "--fail-on", "never"]
        words += ["--subset", f"{part.percent:.4g}%", "--max-age", f"{part.max_age_seconds}s"]
        words += ["--max-duration", f"{int(table.max_duration.total_seconds())}s"]
        words += [] if table.bandwidth is None else ["--bandwidth", str(int(table.bandwidth))]
        try:
            if is_under_way(self._settings.state_dir, identity):
                self._due = now + AGAIN_SECONDS
                return
            self._part = Part(words, self._settings.state_dir)
        except OSError as error:
            self._fail(str(error))
            return
        self._due = now + part.interval_seconds * (1 - self._jitter() / 10)
        structlog.get_logger().info("scrub_begun", root=printable(path), subset=f"{part.percent:.4g}%")

    def _hear(self, part: Part) -> bool:
        """Whether it has ended."""
        status = part.ended()
        if status is None:
            return False
        self._part = None
        if status == 0:
            structlog.get_logger().info("scrub_ended")
            self._failure = ""
        else:
            self._fail(part.said or f"it ended with status {status}")
        return True

    def _fail(self, why: str) -> None:
        """Said once; tried again before the next part is due."""
        if why != self._failure:
            structlog.get_logger().warning("scrub_failed", why=printable(why))
        self._failure = why
        self._due = self._clock() + self._retry_seconds

    @property
    def _retry_seconds(self) -> float:
        return min(RETRY_SECONDS, self._portion.interval_seconds)

    def scrubbing(self, layers: Mapping[ChainId, LayerRecord], now_ns: int, *, is_anew: bool) -> Scrubbing:
        """What is known of `layers`; see `Register`."""
        assert self._settings is not None
        period_seconds = self._settings.scrub.every.total_seconds()
        return self.register.scrubbing(layers, now_ns, period_seconds, is_anew=is_anew)

    def end(self) -> None:
        """End the process, if there is one. The next part begins when it is told of a root again."""
        if self._part is not None:
            self._part.end()
            self._part = None
