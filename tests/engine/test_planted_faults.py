"""Every fault of the catalogue, planted alone on a root that a real engine wrote: exactly its findings."""

import time

import pytest
from support import catalogue
from support.engine import copy_root

from gcd.demo.faults import FAULTS
from gcd.demo.faults.targets import find_targets
from gcd.root.discover import detect_store
from gcd.root.read import read_inventory
from gcd.run import look

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HOURS = 3_600_000_000_000


def check(root):
    store = detect_store(str(root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    assert inventory.engine.doubts == ()
    return look(inventory, time.time_ns() + 2 * HOURS)


def test_the_root_is_healthy_before(filled_root):
    assert check(filled_root) == ((), ())


@pytest.mark.parametrize("fault", [pytest.param(f, id=f"{f.code}-{f.name}-{f.target}") for f in FAULTS])
def test_fault_planted_on_an_engines_root_gives_exactly_its_findings(fault, filled_root, tmp_path):
    planted = tmp_path / "docker"
    copy_root(filled_root, planted)
    targets = find_targets(planted)
    oracle = catalogue.Oracle(filled_root)

    node = fault.plant(planted, targets[fault.target])
    try:
        findings, not_checked = check(planted)

        assert catalogue.seen(findings) == catalogue.expected(fault, node, oracle, planted)
        assert {(n.code, n.source) for n in not_checked} == catalogue.unread_rules(fault)
    finally:
        if fault.undo:
            fault.undo(planted, targets[fault.target])
