"""
Containers that come and go in bursts: none is missed, and the figures are right after each. How soon after it depends
on what else the machine has to do: ``bench/daemon.py`` measures it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.daemons import wait_until, watching
from support.seeds import own_seed

from gcd.demo.dockerroot import DockerRoot
from gcd.model import layout
from gcd.model.ids import init_dir_of
from gcd.model.published import Scope

if TYPE_CHECKING:
    from pathlib import Path

BURST = 100
BURSTS = 100


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)


class Fleet:
    """
    A hundred containers of one image, which are in the root or beside it: a move is quick, and to whoever watches it is
    what an engine does, in its order.
    """

    def __init__(self, home: Path) -> None:
        self.root = home / "docker"
        self._aside = home / "aside"
        with DockerRoot(self.root, seed=own_seed()) as built:
            image = built.image("web:1", layers=3)
            self._containers = [built.container(f"web{number}", image=image) for number in range(BURST)]
        for container in self._containers:
            for path in self._paths(container):
                (self._aside / path).parent.mkdir(parents=True, exist_ok=True)
        self.remove()

    def create(self) -> None:
        for container in self._containers:
            for path in self._paths(container):
                (self._aside / path).rename(self.root / path)

    def remove(self) -> None:
        for container in self._containers:
            for path in reversed(self._paths(container)):
                (self.root / path).rename(self._aside / path)

    def _paths(self, container) -> list[str]:
        rw = container.rw
        return [
            layout.layer_dir(init_dir_of(rw.mount_id)),
            layout.link_symlink(rw.init_link),
            layout.layer_dir(rw.mount_id),
            layout.link_symlink(rw.link),
            layout.rw_layer_record(rw.name),
            layout.container(container.id),
        ]


def test_ten_thousand_containers_come_and_go_and_none_is_missed(tmp_path):
    fleet = Fleet(tmp_path)
    with watching(tmp_path, fleet.root, '[daemon]\nsettle = "20ms"\n') as watched:
        assert watched.latest.result.summary.containers == 0
        for number in range(BURSTS):
            expected = (0, 0) if number % 2 else (BURST, 0)
            (fleet.remove if number % 2 else fleet.create)()
            wait_until(lambda: figures(watched) == expected, "right figures")  # noqa: B023 - asked within this turn of the loop
        latest = watched.latest

    assert figures(watched) == (0, 0)
    assert latest.checked_ns.keys() == set(Scope)
    assert latest.tally.failures == 0
    assert latest.tally.watch_overflows == 0
    assert watched.named("finding_new") == watched.named("finding_gone") == []


def figures(watched):
    """Containers, and findings of any kind."""
    result = watched.latest.result
    return result.summary.containers, len(result.findings)
