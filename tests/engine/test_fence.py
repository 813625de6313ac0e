"""
Safety rule S18 on a real engine: with the fence held it does not start, and nothing of it is hurt.

Measured with 20.10: it loads its layers, waits a second for the lock, and ends with an error; 26.1 and 28.5 as well.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.engine import EngineError
from support.fingerprint import differences, fingerprint
from support.scenes import judge, told

from gcd.actions.fence import fence
from gcd.model.errors import CannotAct
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

pytestmark = pytest.mark.engine

STARTED_IN = 30.0
OWN = ("tmp", "tmp-old", "runtimes", "containerd", "plugins", "network", "swarm", "buildkit", "volumes", "trust")
"""What an engine makes anew, or opens, at every start."""


@pytest.fixture
def stopped(make_engine: Callable[..., Engine], filled_root: Path) -> Engine:
    """A stopped engine on a root with images, a container and build cache."""
    engine = make_engine(filled_root)
    engine.stop()
    return engine


def begin(engine: Engine) -> tuple[threading.Thread, list[str]]:
    """Start the engine in a thread; the list gets what it said if it did not come up."""
    told_by: list[str] = []

    def start() -> None:
        try:
            engine.start(STARTED_IN)
        except EngineError as error:
            told_by.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    return thread, told_by


def test_held_shut_no_engine_starts_and_none_is_hurt(stopped: Engine) -> None:
    before = fingerprint(stopped.root, leave_out=OWN)
    with open_root(str(stopped.root)) as root:
        with fence(root) as held:
            thread, complaint = begin(stopped)
            while held.engine() is None:
                time.sleep(0.005)
            with pytest.raises(CannotAct, match=r"^dockerd \(pid \d+\) was started on this root meanwhile"):
                held.check()
        left_behind = held.engine()
    thread.join()

    assert left_behind is None
    assert len(complaint) == 1
    # Newer engines say in between which file it was.
    assert re.search(r"error while opening volume store metadata database( \(.*/metadata.db\))?: timeout", complaint[0])
    assert differences(before, fingerprint(stopped.root, leave_out=OWN)) == []

    stopped.start()
    assert stopped.docker("run", "--rm", "--network=none", "app", "/bin/busybox", "cat", "/data/one") == "one"
    assert stopped.docker("start", "web") == "web"
    assert told(judge(stopped)) == []


def test_let_go_the_engine_starts(stopped: Engine) -> None:
    with open_root(str(stopped.root)) as root:
        for _ in range(3):
            with fence(root) as held:
                held.check()
    stopped.start()
    assert stopped.docker("images", "-q", "app") != ""


def test_an_engine_that_runs_keeps_its_door(engine: Engine) -> None:
    with open_root(str(engine.root)) as root, pytest.raises(CannotAct) as refused, fence(root):
        pytest.fail("the fence was taken")
    assert str(refused.value) == f"dockerd (pid {engine.pid}) runs on this root: stop it first"
    assert engine.docker("images", "-q", "app") != ""
