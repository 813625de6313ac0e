"""Every fault of the catalogue, planted alone on a synthetic root: exactly the findings that it must give."""

import shutil
import time

import pytest
from support import catalogue
from support.seeds import own_seed

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import FAULTS
from gcd.demo.faults.targets import find_targets
from gcd.model.storegraph import StoreGraph
from gcd.root.discover import detect_store
from gcd.root.read import read_inventory
from gcd.rules.table import RULES, nodes_for, nodes_of
from gcd.run import look

HOURS = 3_600_000_000_000


def check(root):
    """What gcd finds two hours later: on a stopped root that is old enough for proof."""
    store = detect_store(str(root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    assert inventory.engine.doubts == ()
    assert_suspects_are_enough(inventory)
    return look(inventory, time.time_ns() + 2 * HOURS)


def assert_suspects_are_enough(inventory):
    """Each rule speaks of its suspects only, also where it is asked about all nodes."""
    graph = StoreGraph(inventory, inventory.engine.proof_bound(time.time_ns() + 2 * HOURS))
    for rule in RULES:
        asked = set(nodes_for(rule, inventory, graph))
        nodes = set(nodes_of(inventory, graph, rule.node))
        spoken_of = {node for node in nodes if next(iter(rule.check(inventory, graph, node)), None) is not None}
        assert (spoken_of - asked, asked - nodes) == (set(), set())


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    place = tmp_path_factory.mktemp("catalogue") / "docker"
    # Mounts and open files are told by the ids in their paths: a root of a run beside this one has others.
    with DockerRoot(place, seed=own_seed()) as root:
        root.image("other:1", layers=1)
        image = root.image("web:1", layers=4)
        root.container("idle", image=root.image("sparse:1", layers=1))
        root.container("web", image=image, content={"data/x": b"written"})
        root.build_source(record_type="exec.cachemount")
        root.build_step(root.build_step())
    return place


def test_the_root_is_healthy_before(healthy):
    assert check(healthy) == ((), ())


def test_every_rule_has_a_fault_and_every_fault_a_case():
    assert {fault.name for fault in FAULTS} == set(catalogue.CASES)
    assert {rule.code for rule in RULES} - {fault.code for fault in FAULTS} == {"GCD804"}  # needs two live engines


@pytest.mark.parametrize(
    "fault",
    [pytest.param(f, id=f"{f.code}-{f.name}-{f.target}", marks=[pytest.mark.root] * f.needs_root) for f in FAULTS],
)
def test_planted_fault_gives_exactly_its_findings(fault, healthy, tmp_path):
    planted = tmp_path / "docker"
    shutil.copytree(healthy, planted, symlinks=True)
    target = find_targets(planted)[fault.target]
    oracle = catalogue.Oracle(healthy)

    node = fault.plant(planted, target)
    try:
        findings, not_checked = check(planted)

        assert catalogue.seen(findings) == catalogue.expected(fault, node, oracle, planted)
        assert {(n.code, n.source) for n in not_checked} == catalogue.unread_rules(fault)
    finally:
        if fault.undo:
            fault.undo(planted, target)
