"""Whole runs of ``gcd df`` on synthetic roots: the sum is du's, and orphans are those of ``gcd check``."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from support.accounts import usage_of

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import FAULTS
from gcd.demo.faults.targets import find_targets
from gcd.model.space import FILES, RW, SHARED, UNIQUE, Category, Space
from gcd.run import check

AHEAD_NS = 2 * 3_600_000_000_000
ORPHANING = [
    fault for fault in FAULTS if fault.code in {"GCD101", "GCD102", "GCD116", "GCD211", "GCD310", "GCD201", "GCD401"}
]


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker") as built:
        base = built.image("base:1", layers=[{"shared": b"x" * 50_000}])
        web = built.image("web:1", base=base, layers=[{"own": b"y" * 9_000}, {"more": b"z" * 20_000}])
        api = built.container("api", image=web, content={"written": b"w" * 7_000})
        built.build_step(built.build_step())
    (tmp_path / f"docker/containers/{api.id}/{api.id}-json.log").write_bytes(b"line\n" * 5_000)
    (tmp_path / "docker/volumes/data/_data").mkdir(parents=True)
    (tmp_path / "docker/volumes/data/_data/file").write_bytes(b"v" * 30_000)
    (tmp_path / "docker/.gcd/quarantine").mkdir(parents=True)
    return tmp_path / "docker"


def du(*paths):
    """Of all `paths` together, every inode once."""
    figures = []
    for flag in ("--block-size=1", "--inodes"):
        done = subprocess.run(["du", "-x", flag, "-sc", "--", *map(str, paths)], check=True, capture_output=True)
        figures.append(int(done.stdout.split()[-2]))
    return Space(*figures)


def used(root):
    return usage_of(str(root), now_ns=time.time_ns() + AHEAD_NS)


def test_a_healthy_root(root):
    usage = used(root)
    [web, base] = usage.images
    [api] = usage.containers
    layers = {name.name: name for name in (root / "overlay2").iterdir() if name.name != "l"}

    assert usage.total == du(root)
    assert usage.is_complete
    assert sum(usage.of(category).disk_bytes for category in Category) == usage.total.disk_bytes
    assert usage.of(Category.VOLUMES) == du(root / "volumes")
    assert usage.of(Category.QUARANTINE) == du(root / ".gcd")
    assert usage.of(Category.PLUGINS) == du(root / "plugins")
    assert usage.of(Category.SWARM) == du(root / "swarm")
    assert usage.of(Category.LOGS) == du(*root.glob("containers/*/*-json.log"))
    assert usage.of(Category.ORPHANS) == Space()
    assert (web.references, web.layers, web.engine_bytes, web.engine_shared_bytes) == (("web:1",), 3, 79_000, 50_000)
    assert (base.references, base.layers, base.engine_bytes, base.engine_shared_bytes) == (
        ("base:1",),
        1,
        50_000,
        50_000,
    )
    assert base.shared == web.shared
    [shared_dir] = [path for path in layers.values() if (path / "diff/shared").exists()]
    [shared_link] = [link for link in (root / "overlay2/l").iterdir() if shared_dir.name in str(link.readlink())]
    [shared_record] = [p.parent for p in root.glob("image/*/*/*/*/cache-id") if p.read_text() == shared_dir.name]
    assert web.shared == du(shared_dir, shared_link, shared_record)
    assert (api.name, api.engine_bytes, api.logs) == ("api", 7_000, usage.of(Category.LOGS))
    assert usage.shares[Category.CONTAINERS, RW] == api.rw
    assert usage.shares[Category.IMAGES, UNIQUE] == web.unique.plus(base.unique)
    assert usage.view.images.size_bytes == 79_000
    assert usage.view.volumes.size_bytes == 30_000
    assert usage.view.containers.size_bytes == 7_000


@pytest.mark.parametrize("fault", ORPHANING, ids=lambda fault: fault.name)
def test_orphans_are_those_of_the_check(root, fault):
    fault.plant(root, find_targets(root).get(fault.target, ""))
    usage = used(root)
    summary = check(str(root), now_ns=time.time_ns() + AHEAD_NS).summary

    assert usage.total == du(root)
    assert usage.of(Category.ORPHANS).disk_bytes == summary.orphaned_bytes + summary.blocked_bytes
    assert {part for category, part in usage.shares if category is Category.ORPHANS} == {
        code for code in summary.by_code if code in {"GCD101", "GCD102", "GCD116", "GCD211", "GCD310"}
    }


def test_hard_links_between_groups_count_once(root):
    before = used(root)
    [written] = root.glob("overlay2/*/diff/written")
    os.link(root / "volumes/data/_data/file", written.parent / "linked")
    [own] = root.glob("overlay2/*/diff/own")
    os.link(own, root / "volumes/data/_data/linked")
    usage = used(root)

    assert usage.total == du(root) == before.total
    file = Space((root / "volumes/data/_data/file").stat().st_blocks * 512, 1)
    assert usage.of(Category.VOLUMES).plus(file) == before.of(Category.VOLUMES)
    assert usage.shares[Category.CONTAINERS, RW] == before.shares[Category.CONTAINERS, RW].plus(file)
    assert usage.of(Category.IMAGES) == before.of(Category.IMAGES)
    assert usage.view.volumes.size_bytes == 39_000


def test_rules_that_cannot_look_for_orphans_are_named(root):
    (root / "buildkit/snapshots.db").write_bytes(b"no database at all")
    usage = used(root)

    assert not usage.is_complete
    assert {"GCD101", "GCD102", "GCD116"} <= {item.code for item in usage.not_checked}
    assert usage.total == du(root)


def test_an_empty_root(tmp_path):
    with DockerRoot(tmp_path / "docker") as built:
        path = built.path
    usage = used(path)

    assert usage.total == du(path)
    assert (usage.images, usage.containers) == ((), ())
    assert usage.shares[Category.IMAGES, SHARED] == du(path / "image/overlay2")
    assert usage.shares[Category.CONTAINERS, FILES] == du(path / "containers")
