from __future__ import annotations

import os

import pytest

from gcd import settings


@pytest.fixture(autouse=True)
def own_settings(tmp_path, tmp_path_factory, monkeypatch):
    """Neither the machine's settings nor its environment have a say: the directory of the test's own."""
    directory = tmp_path_factory.mktemp("etc")
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "CONFIG_DIR", directory)
    monkeypatch.setenv("GCD_STATE_DIR", str(tmp_path / "state"))
    return directory
