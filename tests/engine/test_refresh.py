"""
A refresh beside a real engine: after each thing that the engine does, what the watcher heard and nothing else is read
again, and that says what a full look says.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.daemons import orphan, remove
from support.inpython import read_in_python
from support.scenes import ahead_ns

from gcd.recheck import Recheck
from gcd.run import check
from gcd.watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine, Registry

    from gcd.model.result import RunResult

pytestmark = pytest.mark.engine

CROWD = 40
"""Containers that nothing happens to: a full look opens some ten files of each."""

QUIET_SECONDS = 0.4
PATIENCE_SECONDS = 30.0
"""An engine goes on for a moment after its answer."""


def told(result: RunResult) -> tuple[object, ...]:
    """What two looks at one root must agree upon."""
    return (
        sorted(result.findings, key=lambda finding: finding.id),
        sorted(result.not_checked, key=lambda lack: (lack.code, lack.source)),
        dict(result.sources),
        result.summary,
    )


class Opens:
    """Counts what is opened below a root: by a descriptor, as nothing else is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counted = 0
        read_in_python(monkeypatch)
        original = os.open

        def counting(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            self.counted += dir_fd is not None
            return original(path, flags, mode, dir_fd=dir_fd)

        monkeypatch.setattr(os, "open", counting)

    def of(self, look: Callable[[], RunResult]) -> tuple[RunResult, int]:
        before = self.counted
        return look(), self.counted - before


class Refreshing:
    """A root under watch, and what was last seen of it."""

    def __init__(self, root: Path, watcher: Watcher, opens: Opens) -> None:
        self._root = str(root)
        self._watcher = watcher
        self._opens = opens
        self._recheck = Recheck(self._root)
        self._result, self.opened_in_full = opens.of(lambda: self._recheck.full(ahead_ns()))

    def _refresh(self) -> None:
        while changed := self._watcher.take(QUIET_SECONDS):
            self._result, opened = self._opens.of(lambda: self._recheck.refresh(changed, ahead_ns()))
            assert not changed.everything
            assert not self._recheck.was_full
            assert opened < self.opened_in_full / 3

    def expect_what_a_full_look_says(self, what: str) -> RunResult:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            self._refresh()
            full = check(self._root, now_ns=ahead_ns())
            if told(self._result) == told(full):
                return full
            assert time.monotonic() < end, (what, told(self._result), told(full))


def test_after_all_that_an_engine_does_a_refresh_says_what_a_full_look_says(
    make_engine: Callable[..., Engine],
    base_root: Path,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = make_engine(base_root)
    remote, archive, leaked = f"{registry.address}/refreshed:v1", str(tmp_path / "app.tar"), 7
    run = ("run", "-d", "--network=none", "--name")
    step = 'FROM app\nRUN ["/bin/busybox", "touch", "/step"]\n'
    with ThreadPoolExecutor(4) as hands:
        list(hands.map(lambda _: engine.docker("create", "app"), range(CROWD)))
    does: dict[str, Callable[[], object]] = {
        "creates a container": lambda: engine.docker("create", "--name", "made", "app"),
        "runs one": lambda: engine.docker(*run, "runs", "app"),
        "runs one of another image": lambda: engine.docker(*run, "other", "built"),
        "leaks a dir": lambda: orphan(engine.root, leaked),
        "kills one": lambda: engine.docker("kill", "runs"),
        "removes one that runs": lambda: engine.docker("rm", "-f", "other"),
        "commits one": lambda: engine.docker("commit", "runs", "committed"),
        "removes two": lambda: engine.docker("rm", "made", "runs"),
        "builds": lambda: engine.build("classic", step),
        "builds by BuildKit": lambda: engine.build("kit", step.replace("/step", "/other"), buildkit=True),
        "tags": lambda: engine.docker("tag", "classic", remote),
        "pushes": lambda: engine.docker("push", remote),
        "saves": lambda: engine.docker("save", "-o", archive, "committed"),
        "loses the leaked dir": lambda: remove(engine.root, leaked),
        "removes images": lambda: engine.docker("rmi", remote, "classic", "committed"),
        "pulls": lambda: engine.docker("pull", remote),
        "loads": lambda: engine.docker("load", "-i", archive),
        "untags and removes": lambda: engine.docker("rmi", "kit", remote),
        "prunes builds": lambda: engine.docker("builder", "prune", "-af"),
    }
    opens = Opens(monkeypatch)
    with Watcher(str(engine.root)) as watcher:
        refreshing = Refreshing(engine.root, watcher, opens)
        assert refreshing.opened_in_full > 8 * CROWD
        codes = {}
        for what, do in does.items():
            do()
            codes[what] = {finding.code for finding in refreshing.expect_what_a_full_look_says(what).findings}
    assert codes["leaks a dir"] == {"GCD101"}
    assert codes["prunes builds"] == set()
