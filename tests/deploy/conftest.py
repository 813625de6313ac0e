"""What the tests of ``deploy/`` share: which of them this machine cannot run, and where the files are."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
PROGRAMS = ("prometheus", "promtool")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("prometheus") is not None:
        missing = [program for program in PROGRAMS if shutil.which(program) is None]
        if missing:
            pytest.skip(f"needs Prometheus: no {', '.join(missing)} on the PATH")


@pytest.fixture(scope="session")
def deploy() -> Path:
    return DEPLOY


@pytest.fixture(scope="session")
def dashboards():
    """The module that ``make dashboards`` runs."""
    sys.path.insert(0, str(DEPLOY / "grafana"))
    try:
        import dashboards  # noqa: PLC0415 - a script beside its files, no package
    finally:
        sys.path.pop(0)
    return dashboards
