"""
All items of an entry are taken, or none: what a quarantine and a repair meet in the places of a hostile root, and how a
failure is told that could not be undone.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.fingerprint import differences
from support.units import RUN, entries_of, finding_for, leaked_root, outside

from gcd.actions import taking
from gcd.actions.place import open_place
from gcd.actions.quarantine import move
from gcd.actions.recover import Recovery, recover
from gcd.actions.repair import repair
from gcd.model.entry import EntryState
from gcd.model.facts import EngineState
from gcd.model.plan import MakeSymlink, Mend, Move, Outcome, Reason, SetAside, WriteFile
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.units import Unit

    from gcd.actions.place import Place
    from gcd.model.plan import Deed


def moving(unit: Unit) -> Move:
    """Of a record, a layer dir and a symlink."""
    return Move(finding_for(*unit), unit)


def mending(unit: Unit) -> Mend:
    """In the same places: a file is replaced, another set aside, a symlink replaced."""
    record, layer_dir, link = unit
    changes = (WriteFile(f"{record}/size", b"12", like=record), SetAside(f"{layer_dir}/lower"), MakeSymlink(link, "x"))
    return Mend(finding_for(*unit), changes)


def paths_of(step: Move | Mend) -> list[str]:
    return list(step.paths) if isinstance(step, Move) else [change.path for change in step.changes]


@pytest.fixture
def leaked(tmp_path: Path) -> tuple[Path, list[Unit]]:
    return leaked_root(tmp_path / "docker")


@pytest.fixture
def root(leaked: tuple[Path, list[Unit]]) -> Path:
    return leaked[0]


@pytest.fixture(params=[moving, mending])
def step(request: pytest.FixtureRequest, leaked: tuple[Path, list[Unit]]) -> Move | Mend:
    """What is to be done to the tip of the leaked layers."""
    made: Callable[[Unit], Move | Mend] = request.param
    return made(leaked[1][0])


@contextlib.contextmanager
def held(root: Path) -> Iterator[Place]:
    with open_root(str(root)) as directory, open_place(directory, create=True) as place:
        yield place


def carry_out(place: Place, step: Move | Mend) -> Deed:
    if isinstance(step, Move):
        return move(place, step, run_id=RUN, now_ns=time.time_ns())
    return repair(place, step, run_id=RUN, now_ns=time.time_ns())


def at_the_nth(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[], None]) -> None:
    """`do` right before the item of that index is taken: between look and act."""
    take = taking.take

    def wrapped(item, index, items, parent, name):  # type: ignore[no-untyped-def]
        if index == number:
            do()
        take(item, index, items, parent, name)

    monkeypatch.setattr(taking, "take", wrapped)


@pytest.mark.parametrize("number", range(3))
def test_what_is_swapped_between_look_and_act_goes_back(root, step, number, monkeypatch):
    before = outside(root)
    path = paths_of(step)[number]

    def swap() -> None:
        (root / path).rename(root / "aside")
        (root / path).symlink_to("/etc")

    with held(root) as place:
        at_the_nth(monkeypatch, number, swap)
        deed = carry_out(place, step)

    assert (deed.outcome, deed.reason) == (Outcome.FAILED if number else Outcome.REFUSED, Reason.CHANGED)
    assert deed.why == f"something else stood at {path} than a moment before"
    assert str((root / path).readlink()) == "/etc"
    (root / path).unlink()
    (root / "aside").rename(root / path)
    assert differences(before, outside(root)) == []
    assert entries_of(root) == {}


def test_what_cannot_be_put_back_stays_in_an_open_entry_and_the_next_start_does_it(root, step, monkeypatch):
    before = outside(root)
    first = root / paths_of(step)[0]
    made = root / "made"

    def stand_in_the_way() -> None:
        """What a mend made is gone from the first place, or something new is where a move took something."""
        if first.exists():
            first.rename(made)
        else:
            first.mkdir()
        raise OSError(5, "EIO")

    with held(root) as place:
        at_the_nth(monkeypatch, 1, stand_in_the_way)
        deed = carry_out(place, step)

    assert (deed.outcome, deed.reason) == (Outcome.FAILED, Reason.PLACE)
    assert deed.why.startswith(f"{paths_of(step)[1]}: EIO; the next start of gcd puts it back (")
    assert {name: state for name, (state, _) in entries_of(root).items()} == {deed.entry: EntryState.OPEN}

    if made.exists():
        made.rename(first)
    else:
        first.rmdir()
    with held(root) as place:
        assert [r.recovery for r in recover(place, engine=EngineState.STOPPED)] == [Recovery.RETURNED]
    assert differences(before, outside(root)) == []
    assert entries_of(root) == {}


@contextlib.contextmanager
def flagged(path: Path, flag: str) -> Iterator[None]:
    subprocess.run(["chattr", f"+{flag}", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", f"-{flag}", str(path)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("flag", ["i", "a"])
@pytest.mark.parametrize(("number", "around"), [(0, False), (1, False), (0, True), (1, True), (2, True)])
def test_what_is_immutable_or_lies_in_such_a_directory_fails_the_whole_step(root, step, flag, number, around):
    before = outside(root)
    path = root / paths_of(step)[number]

    with flagged(path.parent if around else path, flag), held(root) as place:
        deed = carry_out(place, step)

    assert (deed.outcome, deed.reason) == (Outcome.FAILED if number else Outcome.REFUSED, Reason.PLACE)
    assert "lsattr(1)" in deed.why
    assert entries_of(root) == {}
    assert differences(before, outside(root)) == []


@contextlib.contextmanager
def mounted(point: Path) -> Iterator[None]:
    """Something of the root itself, over itself: the same device, and nothing changes but that it is a mount."""
    subprocess.run(["mount", "--bind", str(point), str(point)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(point)], check=True)


@pytest.mark.root
@pytest.mark.parametrize("number", range(2))
def test_a_mount_at_any_level_above_or_at_an_item_changes_nothing(root, step, number):
    """Also where the rename would say EXDEV though the device is one; nothing is ever copied."""
    before = outside(root)
    parts = paths_of(step)[number].split("/")
    for level in range(1, len(parts) + 1):
        point = root / "/".join(parts[:level])
        with mounted(point), held(root) as place:
            deed = carry_out(place, step)

        assert deed.outcome in {Outcome.REFUSED, Outcome.FAILED}, point
        assert deed.reason in {Reason.PLACE, Reason.IN_USE}, point
        assert entries_of(root) == {}, point
        assert differences(before, outside(root)) == [], point
