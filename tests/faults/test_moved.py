"""Every finding of the catalogue that may be quarantined: its unit moves whole, and restore gives the planted root."""

import os
import shutil
import time

import pytest
from support.fingerprint import differences, fingerprint
from support.seeds import own_seed
from support.units import RUN, entries_of, outside, together

from gcd.actions.place import open_place
from gcd.actions.quarantine import move
from gcd.actions.restore import restore
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import FAULTS
from gcd.demo.faults.targets import find_targets
from gcd.model.facts import EngineState
from gcd.model.finding import RemedyKind
from gcd.model.plan import Move, Outcome
from gcd.root.discover import detect_store
from gcd.root.read import read_inventory
from gcd.root.tree import open_root
from gcd.rules.table import RULES
from gcd.run import look

HOURS = 3_600_000_000_000
MOVABLE = {rule.code for rule in RULES if any(remedy.kind is RemedyKind.QUARANTINE for remedy in rule.remedies)}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    place = tmp_path_factory.mktemp("movable") / "docker"
    with DockerRoot(place, seed=own_seed()) as root:
        root.image("other:1", layers=1)
        image = root.image("web:1", layers=4)
        root.container("idle", image=root.image("sparse:1", layers=1))
        root.container("web", image=image, content={"data/x": b"written"})
        root.build_source(record_type="exec.cachemount")
        root.build_step(root.build_step())
    return place


def movable_in(root):
    store = detect_store(str(root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    findings, _ = look(inventory, time.time_ns() + 2 * HOURS)
    return [f for f in findings if f.paths and any(remedy.kind is RemedyKind.QUARANTINE for remedy in f.remedies)]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(f, id=f"{f.code}-{f.name}-{f.target}", marks=[pytest.mark.root] * f.needs_root)
        for f in FAULTS
        if f.code in MOVABLE
    ],
)
def test_a_unit_moves_whole_and_comes_back(fault, healthy, tmp_path):
    root = tmp_path / "docker"
    shutil.copytree(healthy, root, symlinks=True)
    target = find_targets(root)[fault.target]
    fault.plant(root, target)
    try:
        before = fingerprint(root)
        for finding in movable_in(root):
            with open_root(str(root)) as directory, open_place(directory, create=True) as place:
                deed = move(place, Move(finding, finding.paths), run_id=RUN, now_ns=time.time_ns())
                assert (deed.outcome, deed.why) == (Outcome.DONE, ""), finding.id
                assert differences(before, together(root)) == []
                assert [path for path in finding.paths if os.path.lexists(root / path)] == []

                back = list(restore(place, [deed.entry], engine=EngineState.STOPPED))

            assert [(d.outcome, d.why) for d in back] == [(Outcome.DONE, "")], finding.id
            assert differences(before, outside(root)) == []
            assert entries_of(root) == {}
    finally:
        if fault.undo:
            fault.undo(root, target)
