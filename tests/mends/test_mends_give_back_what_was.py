"""For each fault that can be mended, planted alone: the mended root is the undamaged one, byte by byte."""

from __future__ import annotations

import pytest
from support.mending import difference

from gcd.demo.faults import FAULTS
from gcd.demo.faults.fault import Target
from gcd.mends.mending import Unproven
from gcd.mends.table import MENDS
from gcd.rules.table import RULES

NOT_TO_BE_HAD = {
    "cite_unknown_link": "no layer dir says that it is the one",
    "empty_container_config": "no newer valid copy of {container}/config.v2.json is beside it",
    "drop_container_config": "no newer valid copy of {container}/config.v2.json is beside it",
    "garble_container_config": "no newer valid copy of {container}/config.v2.json is beside it",
    "nullify_process_config": "no newer valid copy of {container}/config.v2.json is beside it",
    "empty_cache_id": "{layer_dir} could be its dir, but gcd does not compare contents yet",
    "drop_cache_id": "{layer_dir} could be its dir, but gcd does not compare contents yet",
    "empty_host_config": "no newer valid copy of {container}/hostconfig.json is beside it",
}
"""Faults that leave nothing to mend from, each with what is said then."""
ANOTHER = {"empty_repositories", "drop_repositories", "clear_repositories"}
"""Faults after which only a part of what was lost can be had: tests of their own."""


def named(fault):
    return f"{fault.code}-{fault.name}-{fault.target}"


MENDABLE = [f for f in FAULTS if f.code in MENDS and f.name not in NOT_TO_BE_HAD and f.name not in ANOTHER]


@pytest.mark.parametrize("fault", MENDABLE, ids=named)
def test_the_mended_root_is_the_undamaged_one(fault, healthy, patient):
    fault.plant(patient.root, patient.targets[fault.target])
    planted = difference(patient.root, healthy)

    foretold = patient.mended(fault.code)

    assert planted != {}
    assert difference(patient.root, healthy) == {}
    assert set(foretold) == {""}
    assert patient.findings() == ()


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.name in NOT_TO_BE_HAD], ids=named)
def test_what_cannot_be_proven_is_not_written(fault, patient):
    fault.plant(patient.root, patient.targets[fault.target])

    (answer,) = patient.mends(fault.code)

    container, layer_dir = f"containers/{patient.targets[Target.CONTAINER]}", patient.targets[Target.LAYER_DIR]
    assert answer == Unproven(NOT_TO_BE_HAD[fault.name].format(container=container, layer_dir=layer_dir))


def test_every_code_that_says_repair_has_a_mender():
    repaired = {rule.code for rule in RULES if any(remedy.kind == "repair" for remedy in rule.remedies)}

    assert set(MENDS) == repaired
