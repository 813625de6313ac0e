"""A healthy root, and what gcd would write in a damaged copy of it."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.mending import carry_out
from support.seeds import own_seed

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults.targets import find_targets
from gcd.mends.mending import NOTHING_SAID, Mending
from gcd.mends.table import mend
from gcd.model.storegraph import StoreGraph
from gcd.root.discover import detect_store
from gcd.root.read import read_inventory
from gcd.root.tree import open_root
from gcd.root.witness import RootWitness
from gcd.run import look

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gcd.demo.faults.fault import Target
    from gcd.mends.mending import Consent, Unproven
    from gcd.model.finding import Finding
    from gcd.model.inventory import Inventory

HOURS = 3_600_000_000_000


@dataclass(frozen=True)
class Patient:
    """A damaged root."""

    root: Path
    targets: Mapping[Target, str]

    def read(self) -> Inventory:
        store = detect_store(str(self.root))
        return read_inventory(store.path, driver=store.driver, dormant=store.dormant)

    def findings(self, inventory: Inventory | None = None) -> tuple[Finding, ...]:
        """What gcd finds two hours later, when everything has settled."""
        return look(inventory or self.read(), time.time_ns() + 2 * HOURS)[0]

    def mends(
        self, code: str, consent: Consent = NOTHING_SAID, change: Callable[[Inventory], Inventory] | None = None
    ) -> list[Mending | Unproven]:
        """What gcd would write for each finding of `code`; `change` makes another inventory of what was read."""
        inventory = self.read()
        if change is not None:
            inventory = change(inventory)
        graph = StoreGraph(inventory, inventory.engine.proof_bound(time.time_ns() + 2 * HOURS))
        with open_root(str(self.root)) as root:
            found = [finding for finding in self.findings(inventory) if finding.code == code]
            return [mend(inventory, graph, finding, RootWitness(root), consent) for finding in found]

    def mended(self, code: str, consent: Consent = NOTHING_SAID) -> list[str]:
        """Mend the first finding of `code` that can be, again and again until there is none; what was foretold."""
        foretold = []
        while answers := self.mends(code, consent):
            mending = next((answer for answer in answers if isinstance(answer, Mending)), None)
            assert mending is not None, answers
            carry_out(self.root, mending.changes)
            foretold.append(mending.foretold)
        return foretold


@pytest.fixture(scope="session")
def healthy(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("mends") / "docker"
    with DockerRoot(place, seed=own_seed()) as root:
        root.image("other:1", layers=1)
        image = root.image("web:1", layers=4)
        root.container("idle", image=root.image("sparse:1", layers=1))
        root.container("web", image=image, content={"data/x": b"written"})
        root.build_source(record_type="exec.cachemount")
        root.build_step(root.build_step())
    return place


@pytest.fixture
def patient(healthy, tmp_path) -> Patient:
    """A copy of the healthy root, to be damaged."""
    root = tmp_path / "docker"
    shutil.copytree(healthy, root, symlinks=True)
    return Patient(root, find_targets(root))
