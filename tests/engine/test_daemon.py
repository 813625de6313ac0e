"""The daemon beside a real engine: containers that come and go, and an engine that stops, starts and crashes."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import structlog
from support.daemons import wait_until, watching
from support.scenes import told

from gcd.model.facts import EngineState
from gcd.model.published import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.engine import Engine

pytestmark = pytest.mark.engine

BURST = 20
BURSTS = 5
"""As many bursts of creations, and as many of removals: two hundred containers come and go."""

LATE_SECONDS = 2
"""After a burst figures are right within that; in the median, for other tests run beside this one."""


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()


def test_two_hundred_containers_come_and_go_and_none_is_missed(
    make_engine: Callable[..., Engine], base_root: Path, tmp_path: Path
) -> None:
    engine = make_engine(base_root)
    with watching(tmp_path, engine.root) as watched, ThreadPoolExecutor(4) as hands:
        assert watched.latest.result.summary.containers == 0
        waits = []
        for _ in range(BURSTS):
            names = [name.strip() for name in hands.map(lambda _: engine.docker("create", "app"), range(BURST))]
            waits.append(seconds_until(lambda: watched.latest.result.summary.containers == BURST, "all are there"))
            assert told(watched.latest.result) == []
            engine.docker("rm", *names)
            waits.append(seconds_until(lambda: watched.latest.result.summary.containers == 0, "all are gone"))
            assert told(watched.latest.result) == []
        latest = watched.latest

    assert statistics.median(waits) < LATE_SECONDS
    assert latest.result.engine.state is EngineState.RUNNING
    assert (latest.tally.failures, latest.tally.watch_overflows) == (0, 0)
    assert Scope.INCREMENTAL in latest.checked_ns


def test_an_engine_may_stop_start_and_crash(
    make_engine: Callable[..., Engine], base_root: Path, tmp_path: Path
) -> None:
    engine = make_engine(base_root)
    with watching(tmp_path, engine.root, '[daemon]\nsettle = "50ms"\n') as watched:
        assert state_of(watched) is EngineState.RUNNING
        engine.stop()
        wait_until(lambda: state_of(watched) is EngineState.STOPPED, "it is known that the engine is stopped")
        engine.start()
        wait_until(lambda: state_of(watched) is EngineState.RUNNING, "it is known that the engine runs")
        engine.docker("create", "--name", "web", "app")
        wait_until(lambda: watched.latest.result.summary.containers == 1, "the container is there")
        engine.crash()
        wait_until(lambda: state_of(watched) is EngineState.STOPPED, "it is known that the engine is dead")
        engine.start()
        wait_until(lambda: state_of(watched) is EngineState.RUNNING, "it is known that the engine is back")
        wait_until(lambda: watched.latest.result.summary.containers == 1, "the container is there still")

        assert told(watched.latest.result) == []
        assert watched.latest.tally.failures == 0
    assert watched.named("trouble") == []


def seconds_until(holds: Callable[[], object], what: str) -> float:
    began = time.monotonic()
    wait_until(holds, what)
    return time.monotonic() - began


def state_of(watched: object) -> EngineState:
    return watched.latest.result.engine.state
