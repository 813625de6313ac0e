"""Planning from end to end: order, whole chains, what the engine says, and what only the edge knows."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from support.fakeproc import FakeProc
from support.plans import EVERYTHING, names, now_of, planned, under

from gcd import planning
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import layers, overlay2
from gcd.model import layout
from gcd.model.facts import EngineState, Listed, WriteSet
from gcd.model.finding import Acceptance, Code, Confidence, FindingId, RemedyKind
from gcd.model.ids import ImageId
from gcd.model.plan import Identity, Move, Reason
from gcd.model.reading import ABSENT
from gcd.planning import Wish, identity_of, plan
from gcd.policy.policy import DAY_NS, History, Policy, Protection, Selection
from gcd.root.read import read_inventory

HOUR_NS = DAY_NS // 24


@pytest.fixture
def proc(tmp_path):
    made = FakeProc(tmp_path / "proc")
    made.process(1)
    return str(made)


@pytest.fixture
def leaks(tmp_path):
    """An image, on it a leaked layer with two leaked ones on top, and a dir that nothing refers to."""
    with DockerRoot(tmp_path / "docker") as built:
        base = built.image("base:1", layers=2)
        low = built.layer(base.top)
        left, right = built.layer(low), built.layer(low)
        top = built.layer(right)
    overlay2.add_layer_dir(tmp_path / "docker", "")
    ids = {
        name: FindingId(f"GCD211:layer:{layer.chain_id}")
        for name, layer in {"low": low, "left": left, "right": right, "top": top}.items()
    }
    return SimpleNamespace(root=tmp_path / "docker", **ids)


@pytest.fixture
def seen(leaks, proc):
    return read_inventory(str(leaks.root), proc=proc)


def stopped(inventory):
    return under(inventory, EngineState.STOPPED)


def running(inventory):
    return under(inventory, EngineState.RUNNING)


def only_layers(steps):
    return [(kind, name) for kind, name in names(steps) if name.startswith("GCD211")]


def whys(left):
    return {item.finding.id: (item.reason, item.why) for item in left}


# --- order and chains -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "kind"), [(EngineState.STOPPED, "quarantine"), (EngineState.RUNNING, "release")], ids=str
)
def test_a_dir_that_a_killed_pull_left_on_leaked_layers_goes_before_them(leaks, proc, state, kind):
    cache_id = (leaks.root / "image/overlay2/layerdb/sha256" / leaks.top.rpartition(":")[2] / "cache-id").read_text()
    on_top = overlay2.add_layer_dir_upon(leaks.root, cache_id)

    steps, left, _ = planned(under(read_inventory(str(leaks.root), proc=proc), state))

    order = names(steps)
    assert left == ()
    assert order.index(("quarantine", f"GCD101:{on_top}")) < order.index((kind, leaks.top))
    assert len(only_layers(steps)) == 4


def test_tips_come_first_and_layers_before_dirs_that_stand_on_nothing(leaks, seen):
    steps, left, _ = planned(stopped(seen))

    kinds = [name[:6] for _, name in names(steps)]
    order = [name for _, name in only_layers(steps)]
    assert left == ()
    assert kinds == ["GCD211", "GCD211", "GCD211", "GCD211", "GCD101"]
    assert order[0] == leaks.top
    assert set(order[1:3]) == {leaks.left, leaks.right}
    assert order[3] == leaks.low


def test_a_unit_moves_as_a_whole(leaks, seen):
    steps, _, findings = planned(stopped(seen))

    [top] = [step for step in steps if step.finding.id == leaks.top]
    [found] = [finding for finding in findings if finding.id == leaks.top]
    assert top == Move(found, found.paths)
    assert [path.split("/")[0] for path in found.paths] == ["image", "overlay2", "overlay2"]


def test_while_the_engine_runs_it_is_made_to_release_them(seen):
    steps, _, _ = planned(running(seen))

    assert {kind for kind, _ in only_layers(steps)} == {"release"}
    assert len(only_layers(steps)) == 4


def protecting(*ids):
    return replace(EVERYTHING, protection=Protection(findings=ids))


def test_what_a_layer_that_stays_stands_on_stays_too(leaks, seen):
    steps, left, _ = planned(stopped(seen), protecting(leaks.top))

    assert {name for _, name in only_layers(steps)} == {leaks.left}
    assert whys(left)[leaks.right][0] is Reason.BLOCKED
    assert whys(left)[leaks.right][1].startswith(f"it lies below {leaks.top.removeprefix('GCD211:')}")
    assert whys(left)[leaks.low][0] is Reason.BLOCKED


def test_a_layer_that_stays_and_bears_nothing_else_keeps_what_the_engine_would_delete_it_with(leaks, seen):
    """S10: of right and top, which is on it, the engine deletes right with top."""
    steps, left, _ = planned(running(seen), protecting(leaks.right))

    assert {name for _, name in only_layers(steps)} == {leaks.left}
    below = leaks.right.removeprefix("GCD211:")
    assert whys(left)[leaks.top] == (Reason.BLOCKED, f"with it the engine would delete {below}, which is to stay")


def test_a_layer_that_stays_and_bears_another_that_stays_is_held_by_it(leaks, seen):
    """Low is held by right, so left may go although low stays."""
    steps, _, _ = planned(running(seen), protecting(leaks.low, leaks.right))

    assert {name for _, name in only_layers(steps)} == {leaks.left}


def test_a_layer_that_stays_keeps_all_that_stands_on_it_alone(leaks, seen):
    steps, left, _ = planned(running(seen), protecting(leaks.low))

    assert only_layers(steps) == []
    assert {reason for reason, _ in whys(left).values()} == {Reason.PROTECTED, Reason.BLOCKED}


def test_leaked_layers_that_hang_together_are_worth_the_smallest_size_together(leaks, seen):
    _, _, findings = planned(stopped(seen))
    by_id = {finding.id: replace(finding, disk_bytes=10) for finding in findings}
    standing = planning.Standing(seen, planning.StoreGraph(seen, now_of(seen)), tuple(by_id.values()))

    assert {name: standing.disk_bytes(by_id[name]) for name in (leaks.low, leaks.left, leaks.right, leaks.top)} == {
        leaks.low: 40,
        leaks.left: 40,
        leaks.right: 40,
        leaks.top: 40,
    }
    [alone] = by_id.keys() - {leaks.low, leaks.left, leaks.right, leaks.top}
    assert standing.disk_bytes(by_id[alone]) == 10


def test_leaked_layers_that_do_not_hang_together_are_worth_what_each_takes(tmp_path, proc):
    with DockerRoot(tmp_path / "docker") as built:
        base = built.image("base:1", layers=1)
        built.layer(base.top)
        built.layer(base.top)
    inventory = read_inventory(str(tmp_path / "docker"), proc=proc)
    _, _, findings = planned(stopped(inventory))
    sized = [replace(finding, disk_bytes=10) for finding in findings]
    standing = planning.Standing(inventory, planning.StoreGraph(inventory, now_of(inventory)), sized)

    assert [standing.disk_bytes(finding) for finding in sized] == [10, 10]


def test_limits_take_from_the_front(leaks, seen):
    steps, left, _ = planned(stopped(seen), replace(EVERYTHING, max_items=2))

    assert len(steps) == 2
    assert steps[0].finding.id == leaks.top
    assert Reason.OVER_LIMIT in {reason for reason, _ in whys(left).values()}
    assert whys(left)[leaks.low][0] is Reason.BLOCKED


def test_no_path_moves_twice(tmp_path, proc):
    """A record without its dir moves with all above it, and one of these lacks its dir as well."""
    with DockerRoot(tmp_path / "docker") as built:
        image = built.image("web:1", layers=3)
    for layer in (image.layers[0], image.layers[2]):
        layers.drop_layer_dir(tmp_path / "docker", layer.chain_id)

    steps, _, _ = planned(stopped(read_inventory(str(tmp_path / "docker"), proc=proc)))

    low, middle, top = (layout.layer_record(layer.chain_id) for layer in image.layers)
    assert [step.paths for step in steps if step.finding.code == "GCD201"] == [(top,), (middle, low)]


def test_repairs_begin_below(tmp_path, proc):
    with DockerRoot(tmp_path / "docker") as built:
        image = built.image("web:1", layers=3)
    for layer in image.layers:
        layers.empty_size(tmp_path / "docker", layer.chain_id)
    overlay2.drop_link_symlink(tmp_path / "docker", image.layers[0].cache_id)

    steps, _, _ = planned(stopped(read_inventory(str(tmp_path / "docker"), proc=proc)))

    chains = [layer.chain_id for layer in image.layers]
    assert names(steps) == [
        ("repair", f"GCD103:layer-dir:{image.layers[0].cache_id}"),
        *(("repair", f"GCD204:layer:{chain}") for chain in chains),
    ]


# --- what is asked for ----------------------------------------------------------------------------------------------


def test_only_what_is_asked_for_is_spoken_of(leaks, seen):
    steps, left, _ = planned(stopped(seen), selection=Selection(ids=frozenset({leaks.top})))

    assert names(steps) == [("quarantine", leaks.top)]
    assert left == ()


def test_by_name_no_verb_is_needed(leaks, seen):
    asked = Selection(RemedyKind.QUARANTINE, ids=frozenset({leaks.top}))

    assert names(planned(stopped(seen), Policy(), selection=asked)[0]) == [("quarantine", leaks.top)]


def test_a_tip_alone_is_not_released_where_its_base_would_go_with_it(leaks, seen):
    asked = Selection(RemedyKind.RELEASE, ids=frozenset({leaks.top}))

    steps, left, _ = planned(running(seen), Policy(), selection=asked)

    assert steps == ()
    assert [item.reason for item in left] == [Reason.BLOCKED]


def all_listed(inventory):
    return Listed(frozenset(inventory.images), frozenset(inventory.containers))


def test_a_plan_of_releases_is_proven_as_if_each_followed_the_other(leaks, seen):
    """Below two tips lies a layer that goes with the second."""
    there = running(seen)

    steps, left, _ = planned(there, Policy(), listed=all_listed(there), selection=Selection(RemedyKind.RELEASE))

    released = [name for _, name in names(steps)]
    assert sorted(released) == sorted([leaks.low, leaks.left, leaks.right, leaks.top])
    assert released[-1] == leaks.low
    assert released.index(leaks.top) < released.index(leaks.right)
    assert left == ()


def test_a_plan_promises_no_release_that_would_be_refused(leaks, seen):
    """The layer below all of them is not one that the engine is known to have as it is."""
    there = running(seen)
    base = next(r for r in there.layers.values() if f"GCD211:layer:{r.chain_id}" not in vars(leaks).values())
    young = replace(base, ctime_ns=there.engine.epoch_ns + 1)
    there = replace(there, layers={**there.layers, base.chain_id: young})

    steps, left, _ = planned(there, Policy(), listed=all_listed(there), selection=Selection(RemedyKind.RELEASE))

    why = f"layer {base.chain_id[:19]} changed after the engine started"
    alone = {item.finding.id: (item.reason, item.why) for item in left}
    assert steps == ()
    assert alone[leaks.left] == alone[leaks.top] == (Reason.SUSPECTED, why)
    assert alone[leaks.right][0] is alone[leaks.low][0] is Reason.BLOCKED


def test_a_dir_that_moves_before_holds_no_release_back(leaks, proc):
    """The half extracted dir of a killed pull stands on what it had registered."""
    seen = read_inventory(str(leaks.root), proc=proc)
    top = next(record for record in seen.layers.values() if leaks.top.endswith(record.chain_id))
    half = overlay2.add_layer_dir_upon(leaks.root, top.cache_id.value)
    there = running(read_inventory(str(leaks.root), proc=proc))

    steps, left, _ = planned(there, listed=all_listed(there))

    done = names(steps)
    assert left == ()
    assert done.index(("quarantine", f"GCD101:{half}")) < done.index(("release", leaks.top))


# --- what surrounds the findings ------------------------------------------------------------------------------------


def test_what_is_suspected_is_not_taken_while_the_engine_makes_a_layer(seen):
    """S6: a write set newer than the engine."""
    policy = replace(EVERYTHING, min_confidence=Confidence.SUSPECTED)
    young = replace(running(seen), engine=replace(running(seen).engine, epoch_ns=1))
    busy = replace(young, write_sets={"write-set-1": WriteSet("write-set-1", ABSENT, now_of(seen) - 1)})
    old = replace(young, write_sets={"write-set-1": WriteSet("write-set-1", ABSENT, 0)})

    assert [name[:6] for _, name in names(planned(young, policy)[0])] == ["GCD101"]
    assert "GCD101" in [name[:6] for _, name in names(planned(old, policy)[0])]
    _, left, _ = planned(busy, policy)
    told = {item.why for item in left if item.finding.code == "GCD101"}
    assert told == {"the engine is making a layer that it may belong to"}


def test_what_is_suspected_waits_for_its_grace(seen):
    policy = replace(EVERYTHING, min_confidence=Confidence.SUSPECTED)
    young = replace(running(seen), engine=replace(running(seen).engine, epoch_ns=1))

    steps, left, _ = planned(young, policy, history=History())

    assert steps == ()
    assert {(item.finding.code, item.reason) for item in left} == {
        ("GCD101", Reason.IN_GRACE),
        ("GCD211", Reason.SUSPECTED),
    }


def test_labels_reach_the_guards(tmp_path, proc):
    """The image of DockerRoot carries the label `title`."""
    with DockerRoot(tmp_path / "docker") as built:
        image = built.image("web:1", layers=1)
    layers.empty_size(tmp_path / "docker", image.layers[0].chain_id)
    seen = stopped(read_inventory(str(tmp_path / "docker"), proc=proc))

    [step], _, _ = planned(seen)
    steps, left, _ = planned(seen, replace(EVERYTHING, protection=Protection(labels=("title=*",))))

    assert step.finding.code == "GCD204"
    assert steps == ()
    assert whys(left)[step.finding.id] == (Reason.PROTECTED, "the settings protect web:1 by its label (title=*)")


# --- the edge -------------------------------------------------------------------------------------------------------


def at(root, hours=2):
    return root.stat().st_ctime_ns + hours * HOUR_NS


def test_a_plan_says_of_every_finding_what_happens_to_it(leaks, proc):
    now_ns = at(leaks.root)

    result, made = plan(str(leaks.root), now_ns=now_ns, wish=Wish(EVERYTHING), proc=proc)

    assert made.root == str(leaks.root)
    assert made.identity == Identity(leaks.root.stat().st_dev, leaks.root.stat().st_ino, "")
    assert (made.engine, made.read_ns, made.refusal) == (result.engine, now_ns, "")
    assert made.engine.state is EngineState.STOPPED
    assert {step.finding.id for step in made.steps} == {finding.id for finding in result.findings}
    assert all(step.finding.disk_bytes for step in made.steps)


def test_without_a_policy_nothing_is_done(leaks, proc):
    result, made = plan(str(leaks.root), now_ns=at(leaks.root), proc=proc)

    assert made.steps == ()
    assert {left.reason for left in made.left_alone} == {Reason.POLICY}
    assert len(made.left_alone) == len(result.findings) == 5


def test_an_accepted_finding_is_left_alone(leaks, proc):
    wish = Wish(EVERYTHING, acceptances=(Acceptance("GCD101:*", "known"),))

    _, made = plan(str(leaks.root), now_ns=at(leaks.root), wish=wish, proc=proc)

    assert [(left.finding.code, left.reason) for left in made.left_alone] == [("GCD101", Reason.ACCEPTED)]


def test_of_codes_that_are_not_looked_for_nothing_is_said(leaks, proc):
    wish = Wish(EVERYTHING, codes=frozenset({Code("GCD101")}))

    result, made = plan(str(leaks.root), now_ns=at(leaks.root), wish=wish, proc=proc)

    assert [finding.code for finding in result.findings] == ["GCD101"]
    assert [step.finding.code for step in made.steps] == ["GCD101"]


def test_a_refused_run_has_no_steps(leaks, proc, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))

    _, made = plan(str(leaks.root), now_ns=at(leaks.root), wish=Wish(EVERYTHING), proc=proc)

    assert made.refusal == "the file system of this root is mounted read-only"
    assert made.steps == ()
    assert {(left.reason, left.why) for left in made.left_alone} == {
        (Reason.RUN_REFUSED, "nothing is done in this run")
    }
    assert len(made.left_alone) == 5


def test_the_clock_of_earlier_runs_counts(leaks, proc):
    now_ns = at(leaks.root)
    wish = Wish(EVERYTHING, history=History(last_ns=now_ns + DAY_NS))

    assert plan(str(leaks.root), now_ns=now_ns, wish=wish, proc=proc)[1].refusal.startswith("the clock went back")


def test_only_what_the_engine_listed_all_along_must_be_on_disk(leaks, proc):
    """An image that comes or goes during the reading is no loss; one that was there before and after is."""
    gone, new, lost = (ImageId(f"sha256:{name}") for name in ("gone", "new", "lost"))
    answers = iter([Listed(frozenset({gone, lost})), Listed(frozenset({new, lost}))])
    wish = Wish(EVERYTHING, listing=answers.__next__)

    _, made = plan(str(leaks.root), now_ns=at(leaks.root), wish=wish, proc=proc)

    assert made.refusal.startswith("the engine lists sha256:lost, of which the disk has no record")


def test_dirs_that_the_engine_listed_before_or_after_are_in_use(leaks, proc):
    _, made = plan(str(leaks.root), now_ns=at(leaks.root), wish=Wish(EVERYTHING), proc=proc)
    used = frozenset(path.removeprefix("overlay2/") for path in made.steps[-1].finding.paths[:1])
    for answers in ([Listed(dirs=used), Listed()], [Listed(), Listed(dirs=used)]):
        asked = iter(answers)

        _, made = plan(str(leaks.root), now_ns=at(leaks.root), wish=Wish(EVERYTHING, listing=asked.__next__), proc=proc)

        assert [(left.finding.code, left.reason) for left in made.left_alone] == [("GCD101", Reason.IN_USE)]


def test_planning_changes_nothing(leaks, proc):
    before = sorted((path, path.lstat().st_ctime_ns) for path in leaks.root.rglob("*"))

    plan(str(leaks.root), now_ns=at(leaks.root), wish=Wish(EVERYTHING), proc=proc)

    assert sorted((path, path.lstat().st_ctime_ns) for path in leaks.root.rglob("*")) == before


def test_newer_engines_have_an_id_of_their_own(leaks):
    (leaks.root / "engine-id").write_text("2b1d\n")

    assert identity_of(str(leaks.root)).engine_id == "2b1d"


def test_whoever_waits_hears_of_measuring_too_and_may_end_it(leaks, proc, monkeypatch):
    """There may be thousands of orphans of gigabytes."""

    def measured(_root, groups, *, pulse):
        measuring.append(len(groups))
        pulse()

    def hear(_source, done, total):
        if measuring:
            assert (done, total) == (5, 5)
            raise KeyboardInterrupt

    measuring = []
    monkeypatch.setattr("gcd.run.measure", measured)
    with pytest.raises(KeyboardInterrupt):
        plan(str(leaks.root), now_ns=at(leaks.root), progress=hear, proc=proc)
    assert measuring == [5]
