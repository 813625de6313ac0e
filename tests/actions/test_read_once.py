"""
What a repair copied is large: it is read again only where that must be, once whatever names it has, and removed while
no engine is kept from starting (S18).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.fakeproc import FakeProc
from support.fingerprint import differences
from support.seeds import own_seed
from support.units import RUN, entries_of, finding_for, outside

from gcd.actions import apply as apply_module
from gcd.actions import syscalls, taking
from gcd.actions.apply import Run
from gcd.actions.fence import fence
from gcd.actions.place import open_place
from gcd.actions.recover import Recovered, Recovery, recover_ahead
from gcd.actions.repair import prepare, repair
from gcd.actions.restore import restore, restore_ahead
from gcd.commands import restoring, undertaking
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.tarsplit import MTIME, HardLinkTo
from gcd.model import layout
from gcd.model.content import Worn
from gcd.model.entry import EntryState
from gcd.model.facts import EngineState
from gcd.model.plan import CopyFile, Identity, LinkFile, Mend, Outcome, Plan, Reason
from gcd.root.engine import read_engine
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

    from gcd.actions.place import Place
    from gcd.model.entry import EntryDeed

pytestmark = pytest.mark.root

TOOL = b"#!/bin/sh\n" + b"x" * 300_000
NAMES = ("bin/a", "bin/b", "bin/c")


@dataclass(frozen=True)
class Lacking:
    """A root of which a file with three names is damaged, or missing under all of them, and what mends that."""

    docker: Path
    files: tuple[Path, ...]
    mend: Mend


@pytest.fixture(params=["damaged", "missing"])
def lacking(request: pytest.FixtureRequest, tmp_path: Path) -> Lacking:
    docker = tmp_path / "docker"
    with DockerRoot(docker, seed=own_seed()) as built:
        built.image("one:1", layers=[{"bin/a": TOOL, "bin/b": HardLinkTo("bin/a"), "bin/c": HardLinkTo("bin/a")}])
        built.image("two:1", layers=[{"opt/tool": TOOL}])
    [first] = docker.glob("overlay2/*/diff/bin/a")
    [twin] = docker.glob("overlay2/*/diff/opt/tool")
    files = tuple(first.parents[1] / name for name in NAMES)
    os.truncate(first, 0)
    if request.param == "missing":
        for file in files:
            file.unlink()
    path, *others = (str(file.relative_to(docker)) for file in files)
    worn = Worn(0o755, 7, 7, ()) if request.param == "missing" else None
    digest = hashlib.sha256(TOOL).hexdigest()
    copied = CopyFile(path, str(twin.relative_to(docker)), len(TOOL), digest, MTIME * 10**9, worn)
    return Lacking(docker, files, Mend(finding_for("x"), (copied, *(LinkFile(other, path) for other in others))))


def in_place(lacking: Lacking, do: Callable[[Place], object]):
    with open_root(str(lacking.docker)) as root, open_place(root, create=True) as place:
        return do(place)


def repaired(lacking: Lacking):
    return in_place(lacking, lambda place: repair(place, lacking.mend, run_id=RUN, now_ns=time.time_ns()))


@contextlib.contextmanager
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """How many bytes of each inode are read by `os.read`."""
    read, counted = os.read, Counter[int]()

    def wrapped(fd: int, size: int) -> bytes:
        piece = read(fd, size)
        counted[os.fstat(fd).st_ino] += len(piece)
        return piece

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", wrapped)
        yield counted


def test_to_restore_it_is_read_once(lacking, monkeypatch):
    before = outside(lacking.docker)
    entry = repaired(lacking).entry
    made = lacking.files[0].stat().st_ino

    with reading(monkeypatch) as counted:
        [deed] = in_place(lacking, lambda place: list(restore(place, [entry], engine=EngineState.STOPPED)))

    assert (deed.outcome, counted[made]) == (Outcome.DONE, len(TOOL))
    assert (entries_of(lacking.docker), differences(before, outside(lacking.docker))) == ({}, [])


def test_what_was_written_since_it_was_read_ahead_is_read_again(lacking):
    entry = repaired(lacking).entry

    def do(place: Place):
        restore_ahead(place, [entry])
        with lacking.files[0].open("r+b") as file:
            file.write(b"theirs")
        return list(restore(place, [entry], engine=EngineState.STOPPED))

    [deed] = in_place(lacking, do)

    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.CHANGED)
    assert [file.read_bytes()[:6] for file in lacking.files] == [b"theirs"] * 3


@contextlib.contextmanager
def watched_door(
    monkeypatch: pytest.MonkeyPatch, where: ModuleType, counted: Counter[int], made: int
) -> Iterator[list[int]]:
    """How many bytes of the inode `made` were read by the time the fence of `where` is held, and is held no more."""
    found: list[int] = []

    @contextlib.contextmanager
    def door(*arguments):
        with fence(*arguments) as held:
            found.append(counted[made])
            yield held
        found.append(counted[made])

    with monkeypatch.context() as patched:
        patched.setattr(where, "fence", door)
        yield found


def test_it_is_read_before_an_engine_is_kept_from_starting(lacking, monkeypatch):
    before = outside(lacking.docker)
    entry = repaired(lacking).entry
    made = lacking.files[0].stat().st_ino
    deeds: list[EntryDeed] = []

    with reading(monkeypatch) as counted, watched_door(monkeypatch, restoring, counted, made) as found:
        in_place(lacking, lambda place: restoring._put_back(place, [entry], deeds.append))

    assert ([deed.outcome for deed in deeds], found) == ([Outcome.DONE], [len(TOOL)] * 2)
    assert (entries_of(lacking.docker), differences(before, outside(lacking.docker))) == ({}, [])


def fails_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """Taking the item of that number ends so."""
    take = taking.take

    def fails(item, index, *arguments):
        if index == number:
            raise error
        take(item, index, *arguments)

    monkeypatch.setattr(taking, "take", fails)


@pytest.mark.parametrize("number", range(3))
def test_what_was_just_made_is_not_read_to_undo_it(lacking, monkeypatch, number):
    before = outside(lacking.docker)
    fails_at(monkeypatch, number, OSError(errno.EIO, "no"))

    with reading(monkeypatch) as counted:
        deed = repaired(lacking)

    assert deed.outcome is (Outcome.FAILED if number else Outcome.REFUSED)
    assert max(counted.values()) == len(TOOL) == sum(size for size in counted.values() if size >= len(TOOL))
    assert (entries_of(lacking.docker), differences(before, outside(lacking.docker))) == ({}, [])


@pytest.mark.parametrize("is_written", [False, True])
def test_into_what_was_just_made_nobody_must_have_written_when_it_is_undone(lacking, monkeypatch, is_written):
    """Then it is theirs, and kept. Its mtime tells; where somebody changed that alone, it is read."""
    take = taking.take

    def fails(item, index, *arguments):
        if index == 1:
            with lacking.files[0].open("r+b") as file:
                file.write(b"theirs" if is_written else TOOL[:6])
            raise OSError(errno.EIO, "no")
        take(item, index, *arguments)

    monkeypatch.setattr(taking, "take", fails)

    deed = repaired(lacking)

    assert (deed.outcome, deed.reason) == (Outcome.FAILED, Reason.PLACE)
    found = (*lacking.files, *lacking.docker.glob(".gcd/open/*/items/*"))
    assert (b"theirs" in [path.read_bytes()[:6] for path in found if path.exists()]) is is_written
    states = [state for state, _ in entries_of(lacking.docker).values()]
    assert states == ([EntryState.OPEN] if is_written else [])


class Killed(BaseException):
    """As if gcd were killed."""


def killed(_: object) -> None:
    raise Killed


@pytest.mark.parametrize("number", range(4))
def test_what_was_cut_short_is_read_once_before_an_engine_is_kept_from_starting(lacking, monkeypatch, number):
    """It is killed before the first is taken, then when some are, then when all are."""
    before = outside(lacking.docker)
    with monkeypatch.context() as patched:
        if number < len(NAMES):
            fails_at(patched, number, Killed())
        else:
            patched.setattr(taking, "close_entry", killed)
        with pytest.raises(Killed):
            repaired(lacking)
    [entry] = entries_of(lacking.docker)
    made = next(
        status.st_ino
        for path in (*lacking.files, *lacking.docker.glob(".gcd/open/*/items/*"))
        if path.exists() and (status := path.stat()).st_size == len(TOOL)
    )

    with reading(monkeypatch) as counted, watched_door(monkeypatch, undertaking, counted, made) as found:
        done = in_place(lacking, undertaking.settled)

    assert found == [len(TOOL)] * 2
    if number < len(NAMES):
        assert done == (Recovered(entry, Recovery.RETURNED),)
        assert (entries_of(lacking.docker), differences(before, outside(lacking.docker))) == ({}, [])
    else:
        assert done == (Recovered(entry, Recovery.CLOSED),)
        assert [file.read_bytes() for file in lacking.files] == [TOOL] * 3


@contextlib.contextmanager
def left_untaken(lacking: Lacking) -> Iterator[tuple[str, int]]:
    """An entry in which all is made, as if gcd were killed before it takes anything: its id, and the inode of that."""

    def do(place: Place) -> str:
        with prepare(place, lacking.mend, run_id=RUN, now_ns=time.time_ns()) as entry:
            return entry.id

    name = in_place(lacking, do)
    yield name, (lacking.docker / f".gcd/open/{name}/items/0").stat().st_ino


def test_what_was_never_taken_is_discarded_unread_and_without_a_fence(lacking, monkeypatch):
    before = outside(lacking.docker)
    monkeypatch.setattr(undertaking, "fence", lambda _: pytest.fail("an engine is kept from starting"))

    with left_untaken(lacking) as (name, made), reading(monkeypatch) as counted:
        assert in_place(lacking, undertaking.settled) == (Recovered(name, Recovery.RETURNED),)

    assert counted[made] == 0
    assert (entries_of(lacking.docker), differences(before, outside(lacking.docker))) == ({}, [])


def test_what_cannot_be_discarded_is_told_by_what_recovers_the_rest(lacking):
    with left_untaken(lacking) as (name, _):
        stray = lacking.docker / f".gcd/open/{name}/items/stray"
        stray.write_bytes(b"whose?")

        assert in_place(lacking, recover_ahead) == ()
        [told] = in_place(lacking, undertaking.settled)

    assert (told.entry, told.recovery) == (name, Recovery.LEFT_OPEN)
    assert stray.read_bytes() == b"whose?"


def test_what_was_taken_is_never_discarded(lacking):
    """Be it that somebody puts a file into the entry that says that nothing is taken."""
    entry = repaired(lacking).entry
    opened = (lacking.docker / f".gcd/entries/{entry}").rename(lacking.docker / f".gcd/open/{entry}")
    kept = {path.name: path.stat().st_ino for path in (opened / "items").iterdir()}
    (opened / "made.new").write_bytes(b"")

    in_place(lacking, undertaking.settled)

    if kept:
        assert {path.name: path.stat().st_ino for path in (opened / "items").iterdir()} == kept
    assert [file.read_bytes() for file in lacking.files] == [TOOL] * 3


def plan_of(lacking: Lacking) -> Plan:
    status = lacking.docker.stat()
    with open_root(str(lacking.docker)) as root:
        engine = read_engine(root)
    identity = Identity(status.st_dev, status.st_ino, "")
    return Plan(str(lacking.docker), identity, engine, time.time_ns(), (lacking.mend,), ())


def test_refused_when_the_door_is_shut_it_is_removed_when_it_is_open_again(lacking, tmp_path, monkeypatch):
    """The layer is mounted by the time of the close look."""
    events: list[str] = []

    @contextlib.contextmanager
    def door(*arguments):
        with fence(*arguments) as held:
            events.append("shut")
            yield held
        events.append("open")

    unlink = syscalls.unlink

    def removed(parent, name):
        events.append(name)
        unlink(parent, name)

    monkeypatch.setattr(apply_module, "fence", door)
    monkeypatch.setattr(syscalls, "unlink", removed)
    proc = FakeProc(tmp_path / "proc")
    options = f"lowerdir={lacking.files[0].parents[1]},upperdir=/u,workdir=/w"
    proc.process(77, "holder", mountinfo=f"50 1 0:40 / /mnt rw - overlay overlay rw,{options}\n")
    plan = plan_of(lacking)

    def do(place: Place):
        run = Run(place, run_id=RUN, replan=lambda: plan, release=lambda *_: iter(()), proc=str(proc))
        return run.apply(plan)

    with reading(monkeypatch) as counted:
        [deed] = in_place(lacking, do)

    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.IN_USE)
    assert events == ["shut", "open", "0", "1", "2", layout.ENTRY_NEW_MANIFEST]
    assert sum(size for size in counted.values() if size >= len(TOOL)) == len(TOOL)
    assert entries_of(lacking.docker) == {}
