"""
Files of a layer are copied from another one: killed or failed at every call that changes something.

Right after each, each name has its old content or its new one; after the next start the whole repair is done or undone,
and what was one file with several names is one.
See `support.killing` for how.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from support.daemons import wait_until
from support.fingerprint import differences
from support.killing import Point, errors_for, fail_at, kill_at, points_of
from support.seeds import own_seed
from support.units import RUN, entries_of, outside

from gcd.actions.place import open_place
from gcd.actions.recover import Recovery, recover
from gcd.actions.repair import repair
from gcd.actions.restore import restore
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.tarsplit import MTIME, HardLinkTo
from gcd.mends.table import mend
from gcd.model.content import Depth
from gcd.model.entry import EntryState
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.model.plan import CopyFile, LinkFile, Mend, Outcome
from gcd.model.storegraph import StoreGraph
from gcd.root.discover import detect_store, find_root
from gcd.root.tree import open_root
from gcd.rules.content import content_findings
from gcd.run import reader
from gcd.scrub.layer import Manner, verify
from gcd.scrub.order import layers_of
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents
from gcd.scrub.twins import twins_of

pytestmark = [pytest.mark.root, pytest.mark.slow]

TOOL, NOTE = b"#!/bin/sh\n" + b"x" * 70_000, b"a note\n"
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw+ep, as setcap(8) writes it."""


class Twins:
    """The witness of one root."""

    def __init__(self, root):
        self.root = root

    def twins(self, chain, layers):
        known = layers_of(layers)
        return twins_of(self.root, known.pop(chain), known.values())


def mend_of(path: Path, code: str) -> Mend:
    """What ``gcd repair`` would do about the finding `code` of the one damaged layer."""
    inventory = reader(detect_store(find_root(str(path))), now_ns=time.time_ns())()
    with open_root(str(path)) as root, Contents(Pace()) as contents:
        for chain, layer in layers_of(inventory.layers).items():
            inventory.contents[chain] = verify(root, layer, contents, Manner(Depth.QUICK), now_ns=1)
        graph = StoreGraph(inventory, inventory.engine.proof_bound(time.time_ns()))
        [finding] = content_findings(inventory, graph)
        assert finding.code == code
        return Mend(finding, mend(inventory, graph, finding, Twins(root)).changes)


@pytest.fixture(scope="module")
def folder():
    """In memory where that is possible: what is asked is which calls were made, and a disk syncs for minutes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def model(folder):
    """
    A root whose layer lost two files that another one holds, and its mend: a note, and a tool with three names, setuid,
    somebody's, with a capability and an attribute.
    """
    names = {"bin/tool": HardLinkTo("bin/a"), "sbin/tool": HardLinkTo("bin/a")}
    with DockerRoot(folder / "model", seed=own_seed()) as built:
        built.image("one:1", layers=[{"bin/a": TOOL, **names, "note": NOTE}])
        built.image("two:1", layers=[{"note": NOTE, "opt/tool": TOOL}])
    [tool] = (folder / "model").glob("overlay2/*/diff/bin/a")
    os.truncate(tool, 0)
    os.chown(tool, 1000, 1001)
    tool.chmod(0o4755)
    os.setxattr(tool, "security.capability", CAPABILITY)
    os.setxattr(tool, "trusted.note", b"kept")
    (tool.parents[1] / "note").write_bytes(b"no note")
    mending = mend_of(folder / "model", "GCD701")
    assert [type(change) for change in mending.changes] == [CopyFile, LinkFile, LinkFile, CopyFile]
    return folder / "model", mending


@pytest.fixture
def fresh(model, folder):
    """Makes the root anew, as the model is."""
    root = folder / "docker"

    def make():
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--", str(model[0]), str(root)], check=True)
        return root

    return make


def in_place_of(root, do):
    """What `do` makes of the place of `root`; None where that cannot be opened, which is an orderly end."""
    with contextlib.suppress(CannotAct), open_root(str(root)) as directory, open_place(directory, create=True) as place:
        return do(place)
    return None


def act(root, mending):
    in_place_of(root, lambda place: repair(place, mending, run_id=RUN, now_ns=time.time_ns()))


def held(root, mending):
    return [(root / change.path).read_bytes() for change in mending.changes]


def worn(mark):
    return mark.mode, mark.owner, mark.xattrs, mark.links


def judge(root, mending, before):
    assert all(content in {was, shall} for content, was, shall in zip(held(root, mending), OLD, NEW, strict=True))
    done = in_place_of(root, lambda place: recover(place, engine=EngineState.STOPPED))
    assert [r for r in done if r.recovery is Recovery.LEFT_OPEN] == []
    assert held(root, mending) in (OLD, NEW)
    now = outside(root)
    paths = [change.path for change in mending.changes]
    changed = {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}
    assert changed in (set(), set(paths))
    assert [worn(now[path]) for path in paths] == [worn(before[path]) for path in paths]
    assert len({now[path].inode for path in paths}) == 2
    assert not changed or {now[path].mtime_ns for path in paths} == {MTIME * 1_000_000_000}
    names = [name for name, (state, _) in entries_of(root).items() if state is EntryState.CLOSED]
    deeds = in_place_of(root, lambda place: list(restore(place, names, engine=EngineState.STOPPED)))
    assert [deed for deed in deeds if deed.outcome is not Outcome.DONE] == []
    assert (entries_of(root), differences(before, outside(root))) == ({}, [])


OLD = [b"", b"", b"", b"no note"]
NEW = [TOOL, TOOL, TOOL, NOTE]


def at_each(fresh, mending, points, do):
    for point in points:
        root = fresh()
        before = outside(root)
        do(lambda root=root: act(root, mending), point)
        judge(root, mending, before)


def points_in(fresh, mending):
    root = fresh()
    points = points_of(lambda: act(root, mending))
    assert held(root, mending) == NEW
    return points


def test_killed_at_every_call(fresh, model):
    points = points_in(fresh, model[1])
    at_each(fresh, model[1], points, kill_at)

    assert len(points) == len(set(points)) >= 60


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EXDEV"])
def test_every_call_fails(fresh, model, error):
    points = [point for point in points_in(fresh, model[1]) if error in errors_for(point)]
    at_each(fresh, model[1], points, lambda act, point: fail_at(act, point, error))

    assert points


def put_back(root):
    names = list(entries_of(root))
    in_place_of(root, lambda place: list(restore(place, names, engine=EngineState.STOPPED)))


def test_restored_and_killed_at_every_call(fresh, model):
    root = fresh()
    act(root, model[1])
    points = points_of(lambda: put_back(root))
    assert held(root, model[1]) == OLD
    for point in points:
        root = fresh()
        before = outside(root)
        act(root, model[1])
        kill_at(lambda root=root: put_back(root), point)
        judge(root, model[1], before)

    assert len(points) >= 18


def settle(root):
    in_place_of(root, lambda place: recover(place, engine=EngineState.STOPPED))


@pytest.mark.parametrize("renames", [2, 3, 5], ids=["nothing taken yet", "nothing taken", "two taken"])
def test_recovered_and_killed_at_every_call(fresh, model, renames):
    """Both files are made with a rename each, the third is the manifest's, and then one takes each name."""

    def cut_short():
        root = fresh()
        before = outside(root)
        kill_at(lambda: act(root, model[1]), Point("renameat2", renames + 1))
        return root, before

    root, _ = cut_short()
    points = points_of(lambda: settle(root))
    assert (held(root, model[1]), entries_of(root)) == (OLD, {})
    for point in points:
        root, before = cut_short()
        kill_at(lambda root=root: settle(root), point)
        judge(root, model[1], before)

    assert len(points) >= 8


@pytest.fixture(scope="module")
def lacking(folder):
    """A root whose layer has lost a file under both its names; and its mend."""
    with DockerRoot(folder / "lacking", seed=own_seed()) as built:
        built.image("one:1", layers=[{"bin/a": TOOL, "bin/b": HardLinkTo("bin/a")}])
        built.image("two:1", layers=[{"opt/tool": TOOL}])
    for tool in (folder / "lacking").glob("overlay2/*/diff/bin/?"):
        tool.unlink()
    mending = mend_of(folder / "lacking", "GCD702")
    assert [type(change) for change in mending.changes] == [CopyFile, LinkFile]
    return folder / "lacking", mending


def judge_made(root, mending, before):
    """Nothing of it is there, or all, as one file."""
    done = in_place_of(root, lambda place: recover(place, engine=EngineState.STOPPED))
    assert [r for r in done if r.recovery is Recovery.LEFT_OPEN] == []
    now = outside(root)
    paths = {change.path for change in mending.changes}
    assert now.keys() - before.keys() in (set(), paths)
    made = [now[path] for path in paths if path in now]
    assert len(set(made)) == bool(made)
    assert all((mark.links, mark.mtime_ns) == (2, MTIME * 1_000_000_000) for mark in made)
    assert all((root / path).read_bytes() == TOOL for path in paths & now.keys())
    # A run beside this one may have a mount in an entry of its own that was named in the same second.
    wait_until(lambda: put_back(root) or entries_of(root) == {}, "it is put back")
    assert differences(before, outside(root)) == []


@pytest.mark.parametrize("error", ["", "ENOSPC", "EIO", "EXDEV"])
def test_what_is_missing_is_made_and_killed_or_failed_at_every_call(lacking, folder, error):
    """Killed without an `error`."""
    model, mending = lacking
    root = folder / "docker"

    def fresh():
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--", str(model), str(root)], check=True)

    fresh()
    points = [p for p in points_of(lambda: act(root, mending)) if not error or error in errors_for(p)]
    assert held(root, mending) == [TOOL, TOOL]
    for point in points:
        fresh()
        before = outside(root)
        if error:
            fail_at(lambda: act(root, mending), point, error)
        else:
            kill_at(lambda: act(root, mending), point)
        judge_made(root, mending, before)

    assert points
