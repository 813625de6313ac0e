"""
What all tests share: the markers `root` and `engine`, the announcement of what they skip, and the watch over threads.

A test that cannot run for want of root rights or of an engine is skipped with its reason, and the end of the run names
each one. With ``GCD_REQUIRE_ENGINE=1`` such a skip is a failure, and so is any other.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long one example takes depends on what else the machine has to do.
hypothesis.settings.register_profile("gcd", deadline=None)
hypothesis.settings.load_profile("gcd")

# Whoever starts the tests in the background has SIGINT ignored, and that is inherited; what it does is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = (
    "engine/test_storm_of_moves.py",
    "engine/test_storm.py",
    "host/test_host.py",
    "actions/test_killed.py",
    "engine/test_mends.py",
    "engine/test_scrub.py",
    "engine/test_daemon.py",
    "daemon/test_storm.py",
    "deploy/test_prometheus.py",
    "daemon/test_process.py",
    "engine/test_quarantine.py",
    "test_properties.py",
)
"""The files whose tests take longest, half a minute and more, in their order: what begins last makes a run long."""

WHOLE = ("host/test_host.py",)
"""Those of them whose tests share what takes longest to make, and so stay in one process."""

REQUIRED = os.environ.get("GCD_REQUIRE_ENGINE") == "1"
ENGINE_PROGRAMS = ("dockerd", "docker", "containerd", "busybox")


def lack_of(item: pytest.Item) -> str | None:
    """Why this machine cannot run `item`, or None."""
    needs_engine = item.get_closest_marker("engine") is not None
    if (needs_engine or item.get_closest_marker("root") is not None) and os.geteuid() != 0:
        return "needs root rights"
    if needs_engine:
        missing = [program for program in ENGINE_PROGRAMS if shutil.which(program) is None]
        if missing:
            return f"needs a Docker engine: no {', '.join(missing)} on the PATH"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Where tests run beside each other, each process begins with long ones, goes on with those that need an engine or are
    slow, and ends with quick ones, which the others can take from it.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes > 1:
        items[:] = dealt(items, processes)


def dealt(items: list[pytest.Item], processes: int) -> list[pytest.Item]:
    """
    `items` in the order in which ``--dist worksteal`` gives each process its share: it cuts them into as many parts.

    Long tests are dealt out one by one; the others stay together, since neighbours begin with the same roots.
    """
    long = {name: [item for item in items if item.path.as_posix().endswith(f"/tests/{name}")] for name in LONGEST}
    hands = [hand for name in LONGEST for hand in ([long[name]] if name in WHOLE else [[item] for item in long[name]])]
    taken = {item for hand in hands for item in hand}
    slow = [item for item in items if item not in taken and is_slow(item)]
    quick = [item for item in items if item not in taken and not is_slow(item)]
    order: list[pytest.Item] = []
    for number in range(processes):
        share = (len(items) - len(order)) // (processes - number)
        begin = [item for hand in hands[number::processes] for item in hand]
        begin += slow[len(slow) * number // processes : len(slow) * (number + 1) // processes]
        rest = max(0, share - len(begin))
        order += begin + quick[:rest]
        del quick[:rest]
    return order


def is_slow(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) is not None for name in ("engine", "prometheus", "slow"))


@pytest.fixture
def memory() -> Iterator[Path]:
    """
    A directory on a device of its own where there is one: for trees so deep that no path leads to all of them. Whoever
    is in one is doubted by every check of a stopped root on the same device, those of tests that run beside included.
    """
    home = tempfile.mkdtemp(prefix="gcd-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    yield Path(home)
    subprocess.run(["rm", "-rf", "--", home], check=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    reason = lack_of(item)
    if reason is None:
        return
    if REQUIRED:
        pytest.fail(f"{reason}, and GCD_REQUIRE_ENGINE=1 lets nothing be skipped", pytrace=False)
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped ({reason_of(report)}), and GCD_REQUIRE_ENGINE=1 lets nothing be skipped"
    return report


def reason_of(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", ())
    if skipped:
        terminalreporter.section("not run on this machine")
    for report in skipped:
        terminalreporter.write_line(f"{report.nodeid}: {reason_of(report)}")


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Every thread that a test starts has ended when the test ends."""
    before = set(threading.enumerate())
    yield
    leaked = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
    assert leaked == []
