"""
What all tests share: the markers `root` and `engine`, the announcement of what they skip, and the watch over threads.

A test that cannot run for want of root rights or of an engine is skipped with its reason, and the end of the run names
each one. With ``GCD_REQUIRE_ENGINE=1`` such a skip is a failure, and so is any other.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

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
