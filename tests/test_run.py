"""The second look: what two readings agree upon, and what one of them could not see."""

import time

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_DIFF,
    BASE_DIR,
    BOUND_NS,
    dir_id,
    healthy_inventory,
    layer,
    layer_dir,
    link_id,
    with_records,
)
from support.seeds import own_seed

from gcd.demo.dockerroot import DockerRoot
from gcd.model.finding import Confidence
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import EMPTY
from gcd.run import ALL_CODES, MAX_READINGS, check, look_twice

NOW_NS = BOUND_NS * 2
ORPHAN = dir_id("orphan")
BUSY = SourceState(Coverage.BUSY, "snapshots.db changed during each attempt")


def orphaned():
    return with_records(healthy_inventory(), layer_dir(ORPHAN, link_id("orphan")))


def busy(inventory):
    return replace(inventory, sources={**inventory.sources, Source.BUILD_SNAPSHOTS: BUSY})


def looks_at(*inventories):
    """What is found by readings that give `inventories`, one after the other; and how many were made."""
    waiting = list(inventories)
    _, findings, not_checked = look_twice(lambda: waiting.pop(0), NOW_NS, ALL_CODES)
    codes = {finding.code for finding in findings if finding.subject.id == ORPHAN}
    return codes, {lack.code for lack in not_checked if lack.source is Source.BUILD_SNAPSHOTS}, len(waiting)


def test_a_healthy_root_is_read_once():
    assert looks_at(healthy_inventory(), orphaned()) == (set(), set(), 1)


def test_what_both_readings_show_is_found():
    assert looks_at(orphaned(), orphaned()) == ({"GCD101"}, set(), 0)


def test_what_one_reading_shows_was_in_passing():
    assert looks_at(orphaned(), healthy_inventory()) == (set(), set(), 0)


def test_a_busy_database_is_waited_for():
    assert looks_at(busy(orphaned()), orphaned(), busy(orphaned()), orphaned()) == ({"GCD101"}, set(), 0)


def test_a_rule_that_ran_in_one_of_two_readings_only_is_not_checked():
    damaged = with_records(orphaned(), replace(layer(BASE_DIFF, BASE_DIR), tar_split=EMPTY))
    codes, lacks, left = looks_at(*[busy(damaged)] * MAX_READINGS, damaged)

    assert (codes, left) == (set(), 0)
    assert {"GCD101", "GCD102", "GCD116", "GCD211"} <= lacks


@pytest.mark.parametrize("later", [0, 7_200_000_000_000])
def test_a_check_knows_how_old_an_orphan_is(tmp_path, later):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as root:
        root.image("web:1", layers=2)
        root.layer_dir()
    result = check(str(tmp_path / "docker"), now_ns=time.time_ns() + later)
    (finding,) = result.findings

    assert (finding.code, finding.confidence is Confidence.PROVEN) == ("GCD101", later > 0)
    assert replace(finding, since_ns=0) != finding


def test_a_healthy_root_that_changed_in_the_future_says_that_the_clock_was_set_back(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as root:
        root.image("web:1", layers=2)
    result = check(str(tmp_path / "docker"), now_ns=time.time_ns() - 7_200_000_000_000)
    (doubt,) = result.engine.doubts

    assert (result.findings, doubt.startswith("something in the root changed 7")) == ((), True)
