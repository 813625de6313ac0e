"""Several faults at once: repair changes only what it names, comes to an end, and can be undone whatever it was."""

from __future__ import annotations

import random

import pytest
from support.acting import Acting, by_name
from support.fingerprint import differences, fingerprint
from support.mending import lose_config_that_was_being_written, lose_host_config_that_was_being_written

from gcd.demo.faults import FAULTS
from gcd.demo.faults.fault import Target
from gcd.mends.table import MENDS
from gcd.model.finding import RemedyKind
from gcd.model.plan import Outcome

pytestmark = pytest.mark.slow

MOST_ROUNDS = 6
"""A chain of damaged records is mended from the base up: each round makes the next one provable."""

PLANTERS = [
    *((fault.plant, fault.target) for fault in FAULTS if fault.code in MENDS),
    (lose_config_that_was_being_written, Target.CONTAINER),
    (lose_host_config_that_was_being_written, Target.CONTAINER),
]
WISH = by_name(RemedyKind.REPAIR)


def marks(root):
    return fingerprint(root, leave_out=[".gcd"])


def plant_some(patient, seed):
    """A handful of faults; one that finds its target hurt by another already is left out."""
    chance = random.Random(seed)  # noqa: S311  nothing secret
    for plant, target in chance.sample(PLANTERS, 5):
        try:
            plant(patient.root, patient.targets[target])
        except OSError:
            continue


@pytest.mark.parametrize("seed", range(12))
def test_repair_changes_what_it_names_comes_to_an_end_and_is_undone(patient, seed):
    plant_some(patient, seed)
    before = marks(patient.root)
    acting = Acting(patient.root, ahead=True)
    named, entries = set(), []

    for _ in range(MOST_ROUNDS):
        plan = acting.plan(WISH)
        if not plan.steps:
            break
        named |= {change.path for step in plan.steps for change in step.changes}
        entries += [deed.entry for deed in acting.carry_out(WISH, plan) if deed.entry]

    assert acting.plan(WISH).steps == ()
    assert entries != []
    after = marks(patient.root)
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} <= named

    assert {deed.outcome for deed in acting.restore(entries)} == {Outcome.DONE}

    assert differences(before, marks(patient.root)) == []
