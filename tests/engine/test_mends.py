"""
The real engine judges: each fault that can be mended, planted on a root that an engine wrote, repaired, restored,
repaired again; then the engine starts, lists images and containers, and runs them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.engine import copy_root
from support.fingerprint import differences, fingerprint
from support.mending import (
    NAMES_LOST,
    NOTHING_LEFT,
    lose_config_that_was_being_written,
    lose_host_config_that_was_being_written,
)
from support.scenes import FILES

from gcd.actions.place import open_place
from gcd.actions.repair import repair
from gcd.actions.restore import restore
from gcd.demo.faults import FAULTS
from gcd.demo.faults.fault import Target
from gcd.demo.faults.targets import find_targets
from gcd.mends.mending import Mending
from gcd.mends.table import MENDS, mend
from gcd.model.entry import RunId
from gcd.model.facts import EngineState
from gcd.model.ids import is_build_id
from gcd.model.plan import Mend, Outcome, Reason
from gcd.model.storegraph import StoreGraph
from gcd.root.discover import detect_store
from gcd.root.read import read_inventory
from gcd.root.tree import open_root
from gcd.root.witness import RootWitness
from gcd.run import look

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

    from gcd.model.entry import EntryId
    from gcd.model.finding import Finding, NotChecked

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HOURS = 3_600_000_000_000


@dataclass(frozen=True)
class Damage:
    code: str
    name: str
    plant: Callable[[Path, str], object]
    target: Target

    def __str__(self) -> str:
        return f"{self.code}-{self.name}-{self.target}"


CATALOGUE = [
    Damage(f.code, f.name, f.plant, f.target) for f in FAULTS if f.code in MENDS and f.name not in NOTHING_LEFT
]
DAMAGES = [
    *CATALOGUE,
    *(
        Damage("GCD307", plant.__name__, plant, Target.CONTAINER)
        for plant in (lose_config_that_was_being_written, lose_host_config_that_was_being_written)
    ),
]
ONLINE = [d for d in CATALOGUE if d.code in {"GCD103", "GCD105", "GCD106", "GCD107", "GCD108", "GCD110"}]


def found(root: Path, now_ns: int | None = None) -> tuple[tuple[Finding, ...], tuple[NotChecked, ...]]:
    store = detect_store(str(root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    return look(inventory, now_ns or time.time_ns() + 2 * HOURS)


def repaired(root: Path, code: str, now_ns: int | None = None) -> list[EntryId]:
    """Repair all findings of `code`, looking anew before each; the entries that this made."""
    entries: list[EntryId] = []
    while step := planned(root, code, now_ns):
        with open_root(str(root)) as directory, open_place(directory, create=True) as place:
            deed = repair(place, step, run_id=RunId("run"), now_ns=time.time_ns())
        assert deed.outcome is Outcome.DONE, deed
        entries.append(deed.entry)
    return entries


def planned(root: Path, code: str, now_ns: int | None) -> Mend | None:
    """
    What would be done about the first finding of `code` that can be mended now; None if there is no such finding.

    What only the running engine keeps from being mended is passed over; nothing else may be.
    """
    store = detect_store(str(root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    now_ns = now_ns or time.time_ns() + 2 * HOURS
    graph = StoreGraph(inventory, inventory.engine.proof_bound(now_ns))
    with open_root(str(root)) as directory:
        for finding in look(inventory, now_ns)[0]:
            if finding.code == code:
                answer = mend(inventory, graph, finding, RootWitness(directory))
                if isinstance(answer, Mending):
                    return Mend(finding, answer.changes, answer.foretold)
                assert answer.reason is Reason.ENGINE_RUNS, (finding.id, answer)
    return None


def restored(root: Path, entries: list[EntryId]) -> None:
    with open_root(str(root)) as directory, open_place(directory, create=False) as place:
        for deed in restore(place, entries, engine=EngineState.STOPPED):
            assert deed.outcome is Outcome.DONE, deed


def marks(root: Path):
    return fingerprint(root, leave_out=[".gcd"])


def expect_at_work(engine: Engine, images: set[str]) -> None:
    """The engine lists images and container, and runs both."""
    listed = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert images <= set(listed), listed
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").split() == ["web"]
    for image in sorted(images):
        assert engine.docker("run", "--rm", "--network=none", image, "/bin/busybox", "cat", "/a") == said("a")
    assert engine.docker("start", "-a", "web") == ""
    assert "A /data/x" in engine.docker("diff", "web").splitlines()


def said(name: str) -> str:
    return FILES[name].decode().strip()


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_the_engine_takes_what_was_mended(damage, filled_root, make_engine, tmp_path):
    root = tmp_path / "docker"
    copy_root(filled_root, root)
    damage.plant(root, find_targets(root)[damage.target])
    before = marks(root)

    entries = repaired(root, damage.code)

    assert entries != []
    assert differences(before, marks(root)) != []
    assert found(root) == ((), ())

    restored(root, entries)

    assert differences(before, marks(root)) == []

    repaired(root, damage.code)
    engine = make_engine(root)
    expect_at_work(engine, names_after(damage, filled_root))
    engine.stop()
    assert found(engine.root) == ((), ())


def names_after(damage, root: Path) -> set[str]:
    """The names that images have after mending: where the file was lost, those that containers prove, and held ones."""
    if damage.name not in NAMES_LOST:
        return {"app:latest", "built:latest"}
    images = {path.name for path in (root / "image/overlay2/imagedb/content/sha256").iterdir()}
    app = find_targets(root)[Target.IMAGE].removeprefix("sha256:")
    return {"app:latest"} | {f"gcd-recovered/{image[:12]}:latest" for image in images - {app}}


@pytest.mark.parametrize("damage", ONLINE, ids=str)
def test_what_may_be_mended_while_the_engine_runs(damage, filled_root, make_engine):
    engine = make_engine(filled_root, settle=True)
    damage.plant(engine.root, find_targets(engine.root)[damage.target])

    entries = repaired(engine.root, damage.code, time.time_ns())

    assert entries != []
    expect_at_work(engine, {"app:latest", "built:latest"})
    engine.stop()
    left = [finding for finding in found(engine.root)[0] if not is_build_id(finding.subject.id)]
    assert left == []
    repaired(engine.root, damage.code)  # the dirs of builds
    assert found(engine.root) == ((), ())


def test_the_content_of_each_layer_proves_its_dir_and_no_other(filled_root):
    store = detect_store(str(filled_root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    cache_ids = {record.cache_id.value for record in inventory.layers.values()}
    proven = []

    with open_root(str(filled_root)) as directory:
        witness = RootWitness(directory)
        for record in inventory.layers.values():
            for layer_dir in cache_ids:
                lack = witness.lacks(layer_dir, record.chain_id, record.diff_id.value)
                assert (lack == "") == (layer_dir == record.cache_id.value), (record, layer_dir, lack)
                proven += [layer_dir] * (lack == "")

    assert sorted(proven) == sorted(cache_ids)
    assert len(proven) > 5
