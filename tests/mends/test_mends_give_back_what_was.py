"""For each fault that can be mended, planted alone: the mended root is the undamaged one, byte by byte."""

from __future__ import annotations

import pytest
from support.mending import NAMES_LOST, NOTHING_LEFT, difference

from gcd.demo.faults import FAULTS
from gcd.demo.faults.fault import Target
from gcd.mends.mending import Unproven
from gcd.mends.table import MENDS
from gcd.rules.catalogue import EVERY_RULE


def named(fault):
    return f"{fault.code}-{fault.name}-{fault.target}"


MENDABLE = [f for f in FAULTS if f.code in MENDS and f.name not in NOTHING_LEFT and f.name not in NAMES_LOST]


@pytest.mark.parametrize(
    "fault",
    # The content of a layer proves its dir only where its files belong to whom the layer says: to root.
    [pytest.param(f, id=named(f), marks=[pytest.mark.root] * (f.code == "GCD206")) for f in MENDABLE],
)
def test_the_mended_root_is_the_undamaged_one(fault, healthy, patient):
    fault.plant(patient.root, patient.targets[fault.target])
    planted = difference(patient.root, healthy)

    foretold = patient.mended(fault.code)

    assert planted != {}
    assert difference(patient.root, healthy) == {}
    assert set(foretold) == {""}
    assert patient.findings() == ()


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.name in NOTHING_LEFT], ids=named)
def test_what_cannot_be_proven_is_not_written(fault, patient):
    fault.plant(patient.root, patient.targets[fault.target])

    (answer,) = patient.mends(fault.code)

    container = f"containers/{patient.targets[Target.CONTAINER]}"
    assert answer == Unproven(NOTHING_LEFT[fault.name].format(container=container))


def test_every_code_that_says_repair_has_a_mender():
    repaired = {rule.code for rule in EVERY_RULE if any(remedy.kind == "repair" for remedy in rule.remedies)}

    assert set(MENDS) == repaired
