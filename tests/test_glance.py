"""The first look, which may take things for older than they are, and the second, which knows."""

import os
import time
from dataclasses import replace

import pytest
from support.inventories import BOUND_NS, dir_id, healthy_inventory, layer_dir, link_id, with_records

from gcd.demo.dockerroot import DockerRoot
from gcd.model.finding import Confidence
from gcd.run import ALL_CODES, check, look_twice

NOW_NS = BOUND_NS * 2
ORPHAN = dir_id("orphan")


def orphaned(age_ns):
    return with_records(healthy_inventory(), layer_dir(ORPHAN, link_id("orphan"), ctime_ns=age_ns))


def test_ages_are_those_of_the_second_look():
    _, (finding,), _ = look_twice(lambda: orphaned(NOW_NS), NOW_NS, ALL_CODES, glance=lambda: orphaned(0))

    assert (finding.subject.id, finding.confidence, finding.since_ns) == (ORPHAN, Confidence.SUSPECTED, NOW_NS)


def test_what_only_the_glance_shows_is_nothing():
    assert look_twice(healthy_inventory, NOW_NS, ALL_CODES, glance=lambda: orphaned(0))[1] == ()


def test_a_glance_that_shows_nothing_is_enough():
    def not_called():
        raise AssertionError

    glanced = healthy_inventory()
    assert look_twice(not_called, NOW_NS, ALL_CODES, glance=lambda: glanced) == (glanced, (), ())


@pytest.mark.parametrize("later", [0, 7_200_000_000_000])
def test_a_check_knows_how_old_an_orphan_is(tmp_path, later):
    with DockerRoot(tmp_path / "docker", seed=os.getpid()) as root:
        root.image("web:1", layers=2)
        root.layer_dir()
    result = check(str(tmp_path / "docker"), now_ns=time.time_ns() + later)
    (finding,) = result.findings

    assert (finding.code, finding.confidence is Confidence.PROVEN) == ("GCD101", later > 0)
    assert replace(finding, since_ns=0) != finding
