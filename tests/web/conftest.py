"""What the tests of the web side share: which of them this machine cannot run."""

from __future__ import annotations

import shutil

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") is not None and shutil.which("chromium") is None:
        pytest.skip("needs a browser: no chromium on the PATH")
