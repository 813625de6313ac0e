"""
Killed anywhere: every mutating system call of every operation is one at which gcd is killed, or which fails.

After each the next start completes or undoes what was begun, and nothing is lost or doubled: not a byte, owner, mode,
attribute or inode number. See `support.killing` for how.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.fingerprint import differences
from support.killing import errors_for, fail_at, histogram, kill_at, points_of
from support.units import RUN, Unit, entries_of, finding_for, held_by, leaked_root, outside, quarantined, together

from gcd.actions.place import open_place
from gcd.actions.purge import purge
from gcd.actions.recover import Recovery, recover
from gcd.actions.repair import repair
from gcd.actions.restore import restore
from gcd.model import layout
from gcd.model.entry import EntryState
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.model.plan import MakeDirectory, MakeSymlink, Mend, Outcome, SetAside, WriteFile
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.killing import Point

pytestmark = [pytest.mark.root, pytest.mark.slow]

APART_NS = 1000 * 86_400_000_000_000
"""
Entries are named after their second, and a purge minds mounts by that name: those of tests that run beside have others.
"""


@dataclass(frozen=True)
class Case:
    """An operation: what is there before, what is done, and what must hold after the next start."""

    name: str
    prepare: Callable[[Path, list[Unit]], object]
    act: Callable[[Path, list[Unit]], object]
    judge: Callable[[Path, list[Unit], object], None]


def in_place_of(root, do):
    """What `do` makes of the place of `root`; None where that cannot be opened, which is an orderly end."""
    with contextlib.suppress(CannotAct), open_root(str(root)) as directory, open_place(directory, create=True) as place:
        return do(place)
    return None


def recovered(root):
    """The next start: everything is settled."""
    done = in_place_of(root, lambda place: recover(place, engine=EngineState.STOPPED))
    assert [r for r in done if r.recovery is Recovery.LEFT_OPEN] == []
    assert [name for name, (state, _) in entries_of(root).items() if state is EntryState.OPEN] == []


def restored(root, names=None):
    names = names or [name for name, (state, _) in entries_of(root).items() if state is EntryState.CLOSED]
    deeds = in_place_of(root, lambda place: list(restore(place, names, engine=EngineState.STOPPED)))
    assert [deed for deed in deeds if deed.outcome is not Outcome.DONE] == []


# --- quarantine -----------------------------------------------------------------------------------------------------


def judge_tree(root, _units, before):
    """What was there is there, in its place or in an entry, once; restored it is all in its place."""
    recovered(root)
    assert differences(before, together(root)) == []
    restored(root)
    assert entries_of(root) == {}
    assert differences(before, outside(root)) == []


def act_quarantine(root, units):
    with contextlib.suppress(CannotAct):
        quarantined(root, units, now_ns=time.time_ns() + APART_NS)


QUARANTINE = Case("quarantine", lambda root, _: outside(root), act_quarantine, judge_tree)


# --- restore --------------------------------------------------------------------------------------------------------


def prepare_restore(root, units):
    before = outside(root)
    quarantined(root, units, now_ns=time.time_ns() + APART_NS)
    return before


def act_restore(root, _units):
    names = list(entries_of(root))
    in_place_of(root, lambda place: list(restore(place, names, engine=EngineState.STOPPED)))


RESTORE = Case("restore", prepare_restore, act_restore, judge_tree)


# --- recovery -------------------------------------------------------------------------------------------------------


def prepare_recovery(root, units):
    """Three entries that were cut short: one not begun, one half taken, one wholly."""
    before = prepare_restore(root, units)
    place = root / layout.GCD
    for count, folder in enumerate(sorted((place / "entries").iterdir())):
        opened = folder.rename(place / "open" / folder.name)
        manifest = entries_of(root)[folder.name][1]
        for index, item in list(enumerate(manifest.items))[count:]:
            if count < 2:
                (opened / "items" / str(index)).rename(root / item.path)
    return before


def act_recovery(root, _units):
    in_place_of(root, lambda place: recover(place, engine=EngineState.STOPPED))


RECOVERY = Case("recover", prepare_recovery, act_recovery, judge_tree)


# --- repair ---------------------------------------------------------------------------------------------------------


def mends_of(units):
    _, layer_dir, link = units[0]
    record = units[0][0]
    changes = (
        (WriteFile(f"{record}/size", b"12", like=record), WriteFile(f"{record}/new", b"", like=f"{record}/diff")),
        (MakeSymlink(link, "../elsewhere/diff"), SetAside(f"{layer_dir}/{layout.LOWER}")),
        (
            SetAside(units[1][2]),
            MakeDirectory(f"{layer_dir}/made", 0o711, like=f"{layer_dir}/diff"),
            MakeSymlink(f"{layer_dir}/made/within", "text"),
        ),
    )
    return [Mend(finding_for(change[0].path), change) for change in changes]


def act_repair(root, units):
    in_place_of(root, lambda place: [repair(place, m, run_id=RUN, now_ns=time.time_ns()) for m in mends_of(units)])


def judge_repair(root, units, before):
    """Only what the repairs name has changed, each of them whole or not at all; undone it is as it was."""
    recovered(root)
    named = {change.path for mend in mends_of(units) for change in mend.changes}
    now = outside(root)
    assert {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)} <= named
    restored(root)
    assert entries_of(root) == {}
    assert differences(before, outside(root)) == []


REPAIR = Case("repair", lambda root, _: outside(root), act_repair, judge_repair)


# --- purge ----------------------------------------------------------------------------------------------------------


def prepare_purge(root, units):
    prepare_restore(root, units)
    return outside(root), together(root)


def act_purge(root, _units):
    names = list(entries_of(root))
    return in_place_of(root, lambda place: list(purge(place, names)))


def judge_purge(root, units, before):
    """Outside nothing changed; an entry that can be restored is whole; purged again, all of it is gone."""
    others, whole = before
    recovered(root)
    assert differences(others, outside(root)) == []
    for name, (state, manifest) in entries_of(root).items():
        if state is EntryState.CLOSED:
            found = held_by(root, name)
            paths = tuple(item.path for item in manifest.items)
            expected = {p: m for p, m in whole.items() if p in paths or p.startswith(tuple(f"{x}/" for x in paths))}
            assert differences(expected, found) == []
    assert [deed for deed in act_purge(root, units) if deed.outcome is not Outcome.DONE] == []
    assert entries_of(root) == {}
    assert differences(others, outside(root)) == []


PURGE = Case("purge", prepare_purge, act_purge, judge_purge)


CASES = (QUARANTINE, RESTORE, RECOVERY, REPAIR, PURGE)


@pytest.fixture(scope="module")
def folder():
    """In memory where that is possible: what is asked is which calls were made, and a disk syncs for minutes."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def model(folder):
    """A root that is copied for each point, so that all are alike, and its units."""
    return leaked_root(folder / "model")


@pytest.fixture
def fresh(model, folder):
    """Makes the root anew, as the model is."""
    root = folder / "docker"

    def make():
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run(["cp", "-a", "--", str(model[0]), str(root)], check=True)
        return root, model[1]

    return make


def points_in(case, fresh):
    root, units = fresh()
    case.prepare(root, units)
    return points_of(lambda: case.act(root, units))


def at_each(case, fresh, points, do):
    for point in points:
        root, units = fresh()
        before = case.prepare(root, units)
        do(lambda root=root, units=units: case.act(root, units), point)
        case.judge(root, units, before)


LEAST = {"quarantine": 90, "restore": 35, "recover": 20, "repair": 100, "purge": 65}
"""How many distinct points of each operation are killed at least: more than 300 in all."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_killed_at_every_call(case, fresh, capsys):
    points = points_in(case, fresh)
    at_each(case, fresh, points, kill_at)

    with capsys.disabled():
        sys.stdout.write(f"\nkilled at\n{histogram((case.name, point) for point in points)}\n")
    assert len(set(points)) == len(points)
    assert len(points) >= LEAST[case.name]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_call_fails(case, fresh, capsys):
    failed: list[tuple[str, Point]] = []
    for error in ("ENOSPC", "EIO", "EXDEV"):
        points = [point for point in points_in(case, fresh) if error in errors_for(point)]
        at_each(case, fresh, points, lambda act, point, error=error: fail_at(act, point, error))
        failed += [(f"{case.name} {error}", point) for point in points]

    with capsys.disabled():
        sys.stdout.write(f"\nfailed at\n{histogram(failed)}\n")
    assert len(failed) > 0
