"""A plan that copies files, carried out: what takes long is done before anything is kept from starting."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from support.fakeproc import FakeProc
from support.fingerprint import differences
from support.seeds import own_seed
from support.units import entries_of, outside

from gcd import planning
from gcd.actions import apply as apply_module
from gcd.actions import syscalls
from gcd.actions.apply import Run
from gcd.actions.fence import fence
from gcd.actions.place import open_place
from gcd.actions.repair import prepare
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.tarsplit import MTIME, HardLinkTo
from gcd.model.content import Depth
from gcd.model.entry import EntryState, RunId
from gcd.model.errors import CannotCheck
from gcd.model.facts import EngineState
from gcd.model.finding import FindingId, RemedyKind
from gcd.model.plan import CopyFile, Mend, Outcome, Reason
from gcd.planning import Wish
from gcd.policy.policy import Selection
from gcd.root.discover import detect_store, find_root
from gcd.root.tree import open_root
from gcd.run import reader
from gcd.scrub.layer import Manner, verify
from gcd.scrub.order import layers_of
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcd.model.plan import Deed, Plan

pytestmark = pytest.mark.root

TOOL = b"#!/bin/sh\n" + b"x" * 70_000


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A stopped engine's root, of which a file with two names is empty that another layer holds."""
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        built.image("one:1", layers=[{"bin/a": TOOL, "bin/b": HardLinkTo("bin/a")}])
        built.image("two:1", layers=[{"opt/tool": TOOL}])
    os.truncate(tool(built.path), 0)
    return built.path


def tool(docker: Path) -> Path:
    [found] = docker.glob("overlay2/*/diff/bin/a")
    return found


def twin(docker: Path) -> Path:
    [found] = docker.glob("overlay2/*/diff/opt/tool")
    return found


class Planner:
    """Plans the repair of what a scrub found; calls `before` each time but the first."""

    def __init__(self, docker: Path) -> None:
        self.docker = docker
        self.before: Callable[[], None] = lambda: None
        inventory = reader(detect_store(find_root(str(docker))), now_ns=time.time_ns())()
        with open_root(str(docker)) as root, Contents(Pace()) as contents:
            verdicts = {
                chain: verify(root, layer, contents, Manner(Depth.QUICK), now_ns=1)
                for chain, layer in layers_of(inventory.layers).items()
            }
        [damaged] = [chain for chain, verdict in verdicts.items() if verdict.differences]
        ids = frozenset({FindingId(f"GCD701:layer:{damaged}")})
        self.wish = Wish(selection=Selection(RemedyKind.REPAIR, ids=ids), contents=verdicts)
        self.first = self.plan()

    def plan(self) -> Plan:
        return planning.plan(str(self.docker), now_ns=time.time_ns(), wish=self.wish)[1]

    def __call__(self) -> Plan:
        self.before()
        return self.plan()


@pytest.fixture
def planner(docker: Path) -> Planner:
    made = Planner(docker)
    [step] = made.first.steps
    assert isinstance(step, Mend)
    assert isinstance(step.changes[0], CopyFile)
    time.sleep(0.02)  # a ctime may lie as far before the moment of the change
    return made


def no_release(_plan, _steps):
    pytest.fail("a release was asked for")
    yield ()


def carry_out(planner: Planner, **said) -> Deed:
    with open_root(str(planner.docker)) as root, open_place(root, create=True) as place:
        run = Run(place, run_id=RunId("run-1"), replan=planner, release=no_release, **said)
        [deed] = run.apply(planner.first)
        return deed


def refused(planner: Planner, **said) -> tuple[Reason | None, str]:
    """The reason and the words; nothing but what the planner did is changed, and nothing is left."""
    deed = carry_out(planner, **said)
    assert (deed.outcome, entries_of(planner.docker)) == (Outcome.REFUSED, {}), deed
    return deed.reason, deed.why


def test_what_is_copied_stands_under_all_its_names_with_the_time_of_the_stream(planner: Planner, docker: Path):
    deed = carry_out(planner)

    assert deed.outcome is Outcome.DONE, deed
    assert tool(docker).read_bytes() == TOOL
    assert tool(docker).samefile(tool(docker).with_name("b"))
    assert tool(docker).stat().st_mtime_ns == MTIME * 1_000_000_000
    assert [state for state, _ in entries_of(docker).values()] == [EntryState.CLOSED]
    assert is_all_verified(docker)


def is_all_verified(docker: Path) -> bool:
    inventory = reader(detect_store(find_root(str(docker))), now_ns=time.time_ns())()
    with open_root(str(docker)) as root, Contents(Pace()) as contents:
        layers = layers_of(inventory.layers).values()
        verdicts = [verify(root, layer, contents, Manner(Depth.FULL), now_ns=1) for layer in layers]
    return not any(verdict.differences or verdict.digest or verdict.reasons for verdict in verdicts)


def test_nothing_is_written_for_long_while_an_engine_is_kept_from_starting(planner: Planner, monkeypatch):
    """Content, and what may have to wait for a disk that writes it, is there before the fence is."""
    events: list[str] = []

    def recorded(name: str, call):
        def wrapped(*args, **named):
            events.append(name)
            return call(*args, **named)

        return wrapped

    for name in ("write_all", "sync_file", "exchange"):
        monkeypatch.setattr(syscalls, name, recorded(name, getattr(syscalls, name)))
    monkeypatch.setattr(apply_module, "fence", recorded("fence", fence))
    planner.before = lambda: events.append("plan")

    assert carry_out(planner).outcome is Outcome.DONE
    last_written = max(index for index, name in enumerate(events) if name in {"write_all", "sync_file"})
    assert events[last_written + 1 :] == ["plan", "fence", "exchange", "exchange"]


def test_a_twin_that_changes_between_plan_and_copy_is_refused(planner: Planner, docker: Path):
    twin(docker).write_bytes(TOOL.swapcase())
    before = outside(docker)

    reason, why = refused(planner)

    assert (reason, why.partition("/diff/")[2]) == (
        Reason.CHANGED,
        "opt/tool does not hold any more what was to be copied",
    )
    assert differences(before, outside(docker)) == []


def test_a_twin_that_changes_after_the_copy_is_refused(planner: Planner, docker: Path):
    planner.before = lambda: twin(docker).write_bytes(TOOL.swapcase())

    assert refused(planner) == (Reason.UNPROVEN, "no other layer holds bin/a whole")
    assert tool(docker).read_bytes() == b""


def test_a_damaged_file_that_changes_after_the_copy_is_left(planner: Planner, docker: Path, monkeypatch):
    """The new file wears what it wore before: a change of that is not undone, be it before the next look."""

    def prepared(*args, **named):
        ready = prepare(*args, **named)
        tool(docker).chmod(0o700)
        time.sleep(0.03)
        return ready

    monkeypatch.setattr(apply_module, "prepare", prepared)

    reason, why = refused(planner)

    assert (reason, why.endswith("has changed since gcd looked")) == (Reason.CHANGED, True)
    assert (tool(docker).read_bytes(), tool(docker).stat().st_mode & 0o777) == (b"", 0o700)


def test_a_file_that_is_whole_again_after_the_copy_is_left(planner: Planner, docker: Path):
    planner.before = lambda: tool(docker).write_bytes(TOOL)

    reason, _ = refused(planner)

    assert reason is Reason.UNPROVEN
    assert tool(docker).read_bytes() == TOOL


def test_a_layer_that_is_mounted_by_now_is_left(planner: Planner, docker: Path, tmp_path: Path):
    proc = FakeProc(tmp_path / "proc")
    layer_dir = tool(docker).parents[2].name
    options = f"lowerdir=/r/overlay2/{layer_dir}/diff,upperdir=/u,workdir=/w"
    line = f"50 1 0:40 / /mnt rw - overlay overlay rw,{options}\n"
    planner.before = lambda: proc.process(77, "holder", mountinfo=line)

    reason, why = refused(planner, proc=str(tmp_path / "proc"))

    assert (reason, why) == (Reason.IN_USE, "it is mounted at /mnt (pid 77, holder)")


def test_where_the_root_cannot_be_read_any_more_nothing_is_left_of_the_copy(planner: Planner, docker: Path):
    def fails():
        raise CannotCheck("gone")

    planner.before = fails

    assert refused(planner) == (Reason.RUN_REFUSED, "gone")
    assert tool(docker).read_bytes() == b""


def test_who_ends_a_run_leaves_nothing_of_the_copy(planner: Planner, docker: Path):
    def interrupted():
        raise KeyboardInterrupt

    planner.before = interrupted
    before = outside(docker)

    with pytest.raises(KeyboardInterrupt):
        carry_out(planner)

    assert (entries_of(docker), differences(before, outside(docker))) == ({}, [])


def test_for_another_root_nothing_is_copied(planner: Planner, docker: Path, tmp_path: Path, monkeypatch):
    """The plan was made for what stood here before."""
    docker.rename(tmp_path / "old")
    with DockerRoot(docker, seed=own_seed()) as built:
        built.image("one:1", layers=[{"bin/a": TOOL, "bin/b": HardLinkTo("bin/a")}])
        built.image("two:1", layers=[{"opt/tool": TOOL}])
    monkeypatch.setattr(syscalls, "set_modified", lambda *_: pytest.fail("it was copied"))

    reason, why = refused(planner)

    assert (reason, why.partition(" than")[0]) == (Reason.RUN_REFUSED, "the root is another one")


def test_an_engine_that_runs_is_told_and_nothing_is_left_of_the_copy(planner: Planner, docker: Path, monkeypatch):
    made = planner.plan

    def running():
        fresh = made()
        return replace(fresh, engine=replace(fresh.engine, state=EngineState.RUNNING, pid=1))

    monkeypatch.setattr(planner, "plan", running)

    reason, why = refused(planner)

    assert (reason, why) == (Reason.CHANGED, "the engine is another one, or in another state, than when gcd looked")
    assert tool(docker).read_bytes() == b""
