"""Plans carried out on synthetic roots: what is done, what is refused and why, and what ends a run."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from support.fakeproc import FakeProc
from support.fingerprint import differences, fingerprint
from support.seeds import own_seed

from gcd import planning
from gcd.actions import apply as apply_module
from gcd.actions import fence as fence_module
from gcd.actions.apply import MAX_FRUITLESS, Run
from gcd.actions.place import open_place
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import layers, leftovers, overlay2
from gcd.demo.faults.targets import find_targets
from gcd.model.entry import RunId
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.model.finding import RemedyKind
from gcd.model.plan import Deed, Mend, Move, Outcome, Reason, Release
from gcd.planning import Wish
from gcd.policy.policy import Selection
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gcd.actions.place import Place
    from gcd.model.plan import Plan, Step

AHEAD_NS = 2 * 3_600_000_000_000
QUARANTINE = Selection(remedy=RemedyKind.QUARANTINE)
REPAIR = Selection(remedy=RemedyKind.REPAIR)


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        image = built.image("web:1", layers=3)
        built.container("api", image=image)
    return tmp_path / "docker"


@pytest.fixture
def orphan(docker: Path) -> str:
    return str(overlay2.add_layer_dir(docker, "").id)


@pytest.fixture
def place(docker: Path):
    with open_root(str(docker)) as root, open_place(root, create=True) as place:
        yield place


class Planner:
    """Plans the root at `docker` as long after now as makes all that is there old; counts how often it was asked."""

    def __init__(self, docker: Path, selection: Selection = QUARANTINE) -> None:
        self.docker = docker
        self.wish = Wish(selection=selection)
        self.made = 0
        self.afterwards: Callable[[], None] = lambda: None

    def __call__(self) -> Plan:
        self.made += 1
        plan = planning.plan(str(self.docker), now_ns=time.time_ns() + AHEAD_NS, wish=self.wish)[1]
        self.afterwards()
        return plan


def no_release(_plan: Plan, _steps: Sequence[Release]):
    pytest.fail("a release was asked for")
    yield ()


def carry_out(place: Place, planner: Planner, plan: Plan | None = None, **said) -> list[Deed]:
    told: list[Deed] = []
    run = Run(place, run_id=RunId("run-1"), replan=planner, release=no_release, told=told.append, **said)
    deeds = run.apply(planner() if plan is None else plan)
    assert list(deeds) == told
    return told


def words(deeds: Sequence[Deed]) -> list[tuple[str, str, str | None]]:
    return [(deed.step.finding.code, str(deed.outcome), deed.reason and str(deed.reason)) for deed in deeds]


def test_a_plan_is_carried_out_and_a_second_run_has_nothing_to_do(docker: Path, place: Place, orphan: str):
    planner = Planner(docker)
    [deed] = carry_out(place, planner)

    assert (deed.outcome, deed.reason, deed.step.finding.subject.id) == (Outcome.DONE, None, orphan)
    assert deed.disk_bytes == deed.step.finding.disk_bytes
    assert (docker / ".gcd/entries" / deed.entry).is_dir()
    assert not (docker / "overlay2" / orphan).exists()
    assert planner().steps == ()


def test_nothing_is_done_that_the_plan_made_anew_does_not_hold(docker: Path, place: Place, orphan: str):
    planner = Planner(docker)
    plan = planner()
    before = fingerprint(docker)
    shutil.rmtree(docker / "image/overlay2/imagedb")

    [deed] = carry_out(place, planner, plan)

    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.RUN_REFUSED)
    assert "what keeps layer dirs alive cannot be read" in deed.why
    assert (docker / "overlay2" / orphan).exists()
    assert [line for line in differences(before, fingerprint(docker)) if "imagedb" not in line] == []


def test_what_has_got_an_owner_meanwhile_is_left(docker: Path, place: Place, orphan: str):
    planner = Planner(docker)
    plan = planner()
    # An engine came and made a container whose rw layer is in that dir.
    record = docker / "image/overlay2/layerdb/mounts" / ("c" * 64)
    record.mkdir()
    (record / "mount-id").write_text(orphan)

    [deed] = carry_out(place, planner, plan)

    assert (deed.outcome, deed.reason, deed.why) == (Outcome.REFUSED, Reason.CHANGED, "it is not found any more")


@pytest.mark.usefixtures("orphan")
def test_what_the_guards_refuse_now_is_refused_for_their_reason(docker: Path, place: Place):
    planner = Planner(docker)
    plan = planner()
    layers.empty_cache_id(docker, find_targets(docker)["base-layer"])

    [deed] = carry_out(place, planner, plan)

    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.BLOCKED)
    assert deed.why.startswith("it may belong to GCD206:layer:")


@pytest.mark.usefixtures("orphan")
def test_a_step_that_would_be_another_one_now_is_refused(docker: Path, place: Place):
    planner = Planner(docker)
    plan = planner()
    [step] = plan.steps
    assert isinstance(step, Move)
    other = replace(plan, steps=(replace(step, paths=step.paths[:1]),))

    [deed] = carry_out(place, planner, other)

    assert (deed.reason, deed.why) == (Reason.CHANGED, "what would be done about it now is not what was planned")


def test_one_step_that_is_refused_does_not_end_the_run(docker: Path, place: Place, orphan: str):
    leftovers.add_write_set(docker, "")
    planner = Planner(docker)
    plan = planner()
    assert [step.finding.code for step in plan.steps] == ["GCD601", "GCD101"]
    with (docker / "overlay2" / orphan / "held").open("w"):
        # Its own process is not counted as foreign, but an open file in the dir is one.
        deeds = carry_out(place, planner, plan)

    assert sorted(words(deeds)) == [("GCD101", "refused", "suspected"), ("GCD601", "done", None)]


def test_what_changes_between_the_plan_made_anew_and_the_step_is_left(docker: Path, place: Place, orphan: str):
    planner = Planner(docker)
    plan = planner()

    planner.afterwards = lambda: os.utime(docker / "overlay2" / orphan)
    [deed] = carry_out(place, planner, plan)

    assert (deed.reason, deed.why) == (Reason.CHANGED, f"overlay2/{orphan} has changed since gcd looked")


@pytest.mark.usefixtures("orphan")
def test_another_root_in_its_place_is_a_refusal(docker: Path, place: Place):
    planner = Planner(docker)
    plan = planner()
    moved = replace(plan, identity=replace(plan.identity, engine_id="another"))

    [deed] = carry_out(place, planner, moved)

    assert (deed.reason, deed.why) == (
        Reason.RUN_REFUSED,
        "the root is another one than the plan was made for, or another engine has made it its own",
    )


@pytest.mark.usefixtures("orphan")
def test_a_root_that_cannot_be_read_any_more_is_a_refusal(docker: Path, place: Place):
    planner = Planner(docker)
    plan = planner()
    (docker / "overlay2").rename(docker / "elsewhere")
    (docker / "image").rename(docker / "elsewhere/image")

    [deed] = carry_out(place, planner, plan)

    assert deed.reason is Reason.RUN_REFUSED
    assert "Docker root" in deed.why


def test_it_looks_anew_when_the_time_of_a_look_is_over(docker: Path, place: Place, monkeypatch: pytest.MonkeyPatch):
    for _ in range(3):
        overlay2.add_layer_dir(docker, "")
    monkeypatch.setattr(apply_module, "LOOK_NS", 1)
    planner = Planner(docker)

    deeds = carry_out(place, planner)

    assert words(deeds) == [("GCD101", "done", None)] * len(deeds)
    assert len(deeds) >= 3
    assert planner.made == 1 + len(deeds)


def test_repairs_come_first_and_use_the_same_road(docker: Path, place: Place):
    layer = find_targets(docker)["layer"]
    layers.empty_size(docker, layer)
    overlay2.drop_link_symlink(docker, find_targets(docker)["layer-dir"])
    planner = Planner(docker, REPAIR)
    plan = planner()
    assert all(isinstance(step, Mend) for step in plan.steps)

    deeds = carry_out(place, planner, plan)

    assert sorted(words(deeds)) == [("GCD103", "done", None), ("GCD204", "done", None)]
    assert planner().steps == ()


# --- the engine -------------------------------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


def dockerd(proc: FakeProc, docker: Path) -> Path:
    return proc.process(42, "dockerd", arguments=("/usr/sbin/dockerd", "--data-root", str(docker)))


@pytest.mark.usefixtures("orphan")
def test_with_the_engine_stopped_the_fence_is_held_at_each_step(
    docker: Path, place: Place, monkeypatch: pytest.MonkeyPatch
):
    asked: list[bool] = []
    move = apply_module.move

    def moving(*arguments, **said):
        with (
            open_root(str(docker)) as root,
            pytest.raises(CannotAct, match="is locked"),
            apply_module.fence(root),
        ):
            pass
        asked.append(True)
        return move(*arguments, **said)

    monkeypatch.setattr(apply_module, "move", moving)
    [deed] = carry_out(place, Planner(docker))

    assert deed.outcome is Outcome.DONE
    assert asked == [True]


@pytest.mark.usefixtures("orphan")
def test_deeds_are_told_when_the_door_is_open_again(docker: Path, place: Place):
    heard: list[bool] = []

    def told(_: Deed) -> None:
        with open_root(str(docker)) as root, apply_module.fence(root):
            heard.append(True)

    planner = Planner(docker)
    Run(place, run_id=RunId("run-1"), replan=planner, release=no_release, told=told).apply(planner())

    assert heard == [True]


@pytest.mark.usefixtures("orphan")
def test_an_engine_that_starts_meanwhile_is_outwaited_and_the_rest_done_then(
    docker: Path, place: Place, proc: FakeProc
):
    planner = Planner(docker)
    plan = planner()

    def start_once() -> None:
        if planner.made == 2:
            dockerd(proc, docker)
        else:
            shutil.rmtree(proc.path / "42")

    planner.afterwards = start_once
    deeds = carry_out(place, planner, plan, proc=str(proc))

    assert words(deeds) == [("GCD101", "done", None)]
    assert planner.made == 3


@pytest.mark.usefixtures("orphan")
def test_no_step_is_taken_beside_an_engine_that_starts_between_two(
    docker: Path, place: Place, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
):
    """Older engines have read everything when they come to the door."""
    overlay2.add_layer_dir_upon(docker, find_targets(docker)["layer-dir"])
    monkeypatch.setattr(fence_module, "WAIT_SECONDS", 0.0)
    move, beside = apply_module.move, []

    def moving(*arguments, **said):
        beside.append((proc.path / "42").exists())
        deed = move(*arguments, **said)
        if len(beside) == 1:
            dockerd(proc, docker)
        return deed

    monkeypatch.setattr(apply_module, "move", moving)
    planner = Planner(docker)
    plan = planner()
    planner.afterwards = lambda: shutil.rmtree(proc.path / "42", ignore_errors=True)

    deeds = carry_out(place, planner, plan, proc=str(proc))

    assert words(deeds) == [("GCD101", "done", None)] * 2
    assert beside == [False, False]


@pytest.mark.usefixtures("orphan")
def test_an_engine_that_will_not_go_away_is_a_refusal(docker: Path, place: Place, proc: FakeProc):
    planner = Planner(docker)
    plan = planner()
    dockerd(proc, docker)

    [deed] = carry_out(place, planner, plan, proc=str(proc))

    assert (deed.outcome, deed.reason, deed.why) == (
        Outcome.REFUSED,
        Reason.ENGINE_RUNS,
        "dockerd (pid 42) runs on this root: stop it first",
    )
    assert planner.made == 1 + MAX_FRUITLESS


def test_releases_are_handed_to_the_engine_together_and_looked_at_first(docker: Path, place: Place):
    tip = layers.add_unused_layer(docker, "")
    other = layers.add_unused_layer(docker, "")
    planner = Planner(docker)
    plan = planner()
    steps: tuple[Step, ...] = tuple(Release(s.finding, s.finding.subject.id) for s in plan.steps)
    assert {step.finding.subject for step in steps} == {tip, other}
    releasing = replace(plan, steps=steps)
    given: list[list[str]] = []

    def release(fresh: Plan, wanted: Sequence[Release]):
        assert fresh.engine.state is EngineState.STOPPED
        given.append([step.chain for step in wanted])
        for step in wanted:
            yield (Deed(step, Outcome.DONE, disk_bytes=7),)

    run = Run(place, run_id=RunId("r"), replan=lambda: replace(planner(), steps=steps), release=release)
    deeds = run.apply(releasing)

    assert words(deeds) == [("GCD211", "done", None)] * 2
    assert given == [[step.finding.subject.id for step in steps]]


def test_a_release_goes_on_in_the_next_look_when_its_time_is_over(
    docker: Path, place: Place, monkeypatch: pytest.MonkeyPatch
):
    layers.add_unused_layer(docker, "")
    layers.add_unused_layer(docker, "")
    planner = Planner(docker)
    plan = planner()
    steps = tuple(Release(s.finding, s.finding.subject.id) for s in plan.steps)
    ended: list[int] = []

    def release(_fresh: Plan, wanted: Sequence[Release]):
        try:
            for step in wanted:
                yield (Deed(step, Outcome.DONE),)
        finally:
            ended.append(len(wanted))

    monkeypatch.setattr(apply_module, "LOOK_NS", 1)
    run = Run(place, run_id=RunId("r"), replan=lambda: replace(planner(), steps=steps), release=release)

    assert words(run.apply(replace(plan, steps=steps))) == [("GCD211", "done", None)] * 2
    assert ended == [2, 1]


def test_a_release_that_ends_otherwise_than_foretold_ends_the_run(docker: Path, place: Place):
    """S10: what the engine did was not understood, so nothing more is done beside it."""
    layers.add_unused_layer(docker, "")
    layers.add_unused_layer(docker, "")
    overlay2.add_layer_dir(docker, "")
    planner = Planner(docker)
    plan = planner()
    steps = tuple(
        Release(s.finding, s.finding.subject.id) if s.finding.code == "GCD211" else s
        for s in sorted(plan.steps, key=lambda s: s.finding.code, reverse=True)
    )

    def release(_fresh: Plan, wanted: Sequence[Release]):
        yield (Deed(wanted[0], Outcome.FAILED, Reason.ENGINE_REFUSED, "another layer went too"),)

    run = Run(place, run_id=RunId("r"), replan=lambda: replace(planner(), steps=steps), release=release)
    deeds = run.apply(replace(plan, steps=steps))

    assert words(deeds) == [
        ("GCD211", "failed", "engine-refused"),
        ("GCD211", "refused", "run-refused"),
        ("GCD101", "refused", "run-refused"),
    ]
    assert deeds[2].why == "a release did not end as foretold: another layer went too"
