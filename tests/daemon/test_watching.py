"""The daemon on synthetic roots: what it shows, says and keeps, whatever happens to the root and around it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import ExitStack

import pytest
from support.daemons import disk_usage, orphan, remove, size_of_orphan, wait_until, watching
from support.seeds import own_seed

from gcd.actions.place import open_place
from gcd.daemon import doing, pacing, vigil
from gcd.daemon.board import Board
from gcd.demo.dockerroot import DockerRoot
from gcd.model.audit import ActKind
from gcd.model.errors import CannotAct
from gcd.model.plan import Outcome, Reason
from gcd.model.published import Scope
from gcd.planning import identity_of
from gcd.report.units import iec
from gcd.root.tree import open_root
from gcd.state import open_state

QUICK = '[daemon]\nreconcile_interval = "1s"\nsettle = "10ms"\n'
NOW_AND_THEN = '[daemon]\nsettle = "10ms"\n'


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        image = built.image("web:1", layers=3)
        built.container("api", image=image)
    return tmp_path / "docker"


def full_looks(watched):
    return sum(watched.latest.tally.durations[Scope.FULL].counts)


def ids(watched):
    return [finding.id for finding in watched.latest.result.findings]


def test_it_is_ready_at_once_and_shows_what_it_sees(tmp_path, root):
    name = orphan(root)
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        latest = watched.latest
        wait_until(lambda: watched.systemd.statuses, "a status")

        assert watched.systemd.heard[:2] == ["WATCHDOG=1", "READY=1"]
        size = size_of_orphan(root)
        said = f"{root}: healthy; {iec(size)} orphaned; engine stopped; read in full"
        assert watched.systemd.statuses[-1].startswith(said)
    assert [finding.id for finding in latest.result.findings] == [f"GCD101:layer-dir:{name}"]
    assert latest.result.summary.orphaned_bytes == size
    assert (latest.trouble, latest.is_watching, latest.reclaimable_bytes) == ("", True, 0)
    assert [point.orphaned_bytes for point in latest.history] == [size]
    assert set(latest.checked_ns) == {Scope.FULL}
    assert latest.tally.durations[Scope.FULL].counts.count(1) == 1
    assert watched.systemd.heard[-1] == "STOPPING=1"
    assert watched.systemd.heard.count("READY=1") == 1
    assert watched.raised == []


def test_each_finding_is_told_when_it_comes_and_when_it_goes(tmp_path, root):
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        assert ids(watched) == []
        name = orphan(root)
        size = size_of_orphan(root)
        wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "the orphan is found")
        remove(root)
        wait_until(lambda: ids(watched) == [], "the orphan is gone")
        assert Scope.INCREMENTAL in watched.latest.checked_ns

    [new], [gone] = watched.named("finding_new"), watched.named("finding_gone")
    assert (new["finding"], new["severity"], new["confidence"], new["disk_bytes"]) == (
        f"GCD101:layer-dir:{name}",
        "info",
        "suspected",
        size,
    )
    assert gone["finding"] == f"GCD101:layer-dir:{name}"
    assert all(event["run"] for event in (new, gone))
    assert new["run"] != gone["run"]


def test_what_an_earlier_daemon_told_of_is_not_told_again(tmp_path, root):
    name = orphan(root)
    with watching(tmp_path, root, NOW_AND_THEN) as first:
        assert ids(first) == [f"GCD101:layer-dir:{name}"]
    remove(root)
    other = orphan(root, 1)
    with watching(tmp_path, root, NOW_AND_THEN) as second:
        assert ids(second) == [f"GCD101:layer-dir:{other}"]

    assert [event["finding"] for event in first.named("finding_new")] == [f"GCD101:layer-dir:{name}"]
    assert [event["finding"] for event in second.named("finding_new")] == [f"GCD101:layer-dir:{other}"]
    assert [event["finding"] for event in second.named("finding_gone")] == [f"GCD101:layer-dir:{name}"]


def test_what_is_seen_is_kept(tmp_path, root):
    name = orphan(root)
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        assert ids(watched) == [f"GCD101:layer-dir:{name}"]
    with open_state(tmp_path / "state") as state:
        assert [sighting.finding for sighting in state.sightings(identity_of(str(root)))] == [
            f"GCD101:layer-dir:{name}"
        ]


def test_the_root_is_read_in_full_by_the_clock_too(tmp_path, root):
    with watching(tmp_path, root, QUICK) as watched:
        first = watched.latest.checked_ns[Scope.FULL]
        wait_until(lambda: full_looks(watched) >= 3, "two more full looks")

        assert watched.latest.checked_ns[Scope.FULL] >= first + 1_800_000_000


def test_a_look_is_counted_when_it_is_shown_and_not_before(tmp_path, root, monkeypatch):
    """What is served is one moment, never the count of a look beside the figures of the one before it."""
    shown = [None]
    monkeypatch.setattr(
        Board, "latest", property(lambda _: shown[-1], lambda _, value: shown.append(value)), raising=False
    )
    with watching(tmp_path, root, QUICK) as watched:
        wait_until(lambda: full_looks(watched) >= 2, "another full look")
        orphan(root)  # what the watcher hears is counted at the next look
        wait_until(lambda: full_looks(watched) >= 4, "two more full looks")

    moments = {}
    for published in filter(None, shown):
        looks = sum(published.tally.durations[Scope.FULL].counts)
        moments.setdefault(looks, set()).add(published.checked_ns[Scope.FULL])
    assert {looks: len(times) for looks, times in moments.items()} == dict.fromkeys(range(1, max(moments) + 1), 1)


def test_a_root_that_vanishes_is_told_and_watched_again_when_it_is_back(tmp_path, root):
    away = tmp_path / "away"
    with watching(tmp_path, root, QUICK) as watched:
        assert watched.latest.trouble == ""
        root.rename(away)
        wait_until(lambda: watched.latest.trouble, "trouble")
        gone = f"There is no directory '{root}': name the Docker root with --root."
        assert watched.latest.trouble == gone
        assert watched.latest.tally.failures >= 1
        assert watched.latest.has_failed
        assert watched.systemd.statuses[-1] == f"TROUBLE: {gone}"
        wait_until(lambda: watched.latest.tally.failures >= 2, "it tries again")
        away.rename(root)
        name = orphan(root)
        wait_until(lambda: not watched.latest.has_failed, "all is well again")
        assert watched.latest.trouble == ""
        wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "the orphan is found")

    assert len(watched.named("trouble")) == 1
    assert len(watched.named("trouble_over")) == 1
    assert watched.raised == []


def test_another_root_in_its_place_has_a_history_of_its_own(tmp_path, root):
    orphan(root)
    with DockerRoot(tmp_path / "other", seed=own_seed()) as built:
        built.image("other:1")
        built.image("other:2")
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        wait_until(lambda: watched.latest.result.findings, "the orphan is found")
        root.rename(tmp_path / "away")
        (tmp_path / "other").rename(root)
        wait_until(lambda: watched.latest.result.summary.images == 2, "the other root is seen")
        wait_until(lambda: len(watched.named("watching")) >= 2, "it is watched")
        wait_until(lambda: [point.orphaned_bytes for point in watched.latest.history] == [0], "its own history")
        name = orphan(root)
        wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "its own orphan is found")
    with open_state(tmp_path / "state") as state:
        assert [len(state.sightings(identity_of(str(path)))) for path in (root, tmp_path / "away")] == [1, 1]


def test_what_is_read_of_another_root_is_not_kept_as_that_of_the_one_before(tmp_path, root, monkeypatch):
    """The other one comes after a look was settled upon, and before it begins."""
    name = orphan(root)
    with DockerRoot(tmp_path / "other", seed=own_seed()) as built:
        built.image("other:1")
        built.image("other:2")
    looks, acts = [], []

    class Replaced(vigil.Recheck):
        def full(self, now_ns):
            looks.append(now_ns)
            if len(looks) == 2:
                root.rename(tmp_path / "away")
                (tmp_path / "other").rename(root)
            return super().full(now_ns)

    monkeypatch.setattr(vigil, "Recheck", Replaced)
    monkeypatch.setattr(vigil.Vigil, "_act", lambda vigil, _run: acts.append(vigil._identity))
    with watching(tmp_path, root, f"{NOW_AND_THEN}act = true\n") as watched:
        wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "the orphan is found")
        (root / "tmp").rmdir()  # as an engine does when it starts: a full look
        wait_until(lambda: len(looks) >= 2, "it begins")
        wait_until(lambda: watched.latest.result.summary.images == 2, "the other root is seen")
        wait_until(lambda: len(watched.named("watching")) == 2, "it is watched")
    away, here = identity_of(str(tmp_path / "away")), identity_of(str(root))
    with open_state(tmp_path / "state") as state:
        assert [sighting.finding for sighting in state.sightings(away)] == [f"GCD101:layer-dir:{name}"]
        assert [point.orphaned_bytes for point in state.history(here, most=9)] == [0]
    assert acts == [away, here]


def test_a_daemon_may_begin_before_its_root_is_there(tmp_path):
    root = tmp_path / "docker"
    with watching(tmp_path, root, QUICK) as watched:
        wait_until(lambda: watched.named("trouble"), "trouble")
        wait_until(lambda: "READY=1" in watched.systemd.heard, "it is up all the same")
        assert watched.board.latest is None
        with DockerRoot(root, seed=own_seed()) as built:
            built.image("web:1")
        assert watched.latest.result.summary.images == 1


def test_a_fault_of_gcd_itself_is_counted_and_ends_nothing(tmp_path, root, monkeypatch):
    looks = []

    class Faulty(vigil.Recheck):
        def full(self, now_ns):
            looks.append(now_ns)
            if len(looks) < 3:
                raise ZeroDivisionError("of gcd")
            return super().full(now_ns)

    monkeypatch.setattr(vigil, "Recheck", Faulty)
    monkeypatch.setattr(pacing, "FIRST_REST_SECONDS", 0.01)
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        assert watched.latest.tally.failures == 2

    [told] = watched.named("trouble")
    assert told["why"] == "a fault of gcd itself, ZeroDivisionError: of gcd"
    assert "Traceback" in told["exception"]


def test_a_refresh_that_becomes_a_full_look_counts_as_one(tmp_path, root):
    """A quarantine that appears is no place that is watched, and a refresh does not read it."""
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        assert full_looks(watched) == 1
        (root / ".gcd").mkdir()
        name = orphan(root)
        wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "the orphan is found")

        assert full_looks(watched) == 2
        assert watched.latest.tally.watch_overflows == 0
        assert len(watched.latest.history) == 1


def test_a_clock_that_is_set_makes_it_look_again(tmp_path, root, monkeypatch):
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        looks = full_looks(watched)
        assert looks == 1
        monkeypatch.setattr(pacing, "_apart_ns", lambda: 0)
        wait_until(lambda: full_looks(watched) == 2, "another full look")
        time.sleep(1)

        assert full_looks(watched) == 2
    assert len(watched.named("clock_set")) == 1


def test_intervals_are_not_those_of_the_wall_clock(tmp_path, root, monkeypatch):
    """With the wall clock standing still, full looks come all the same, and everything has the time of that clock."""
    moment = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: moment)
    monkeypatch.setattr(pacing, "JUMP_NS", 10**18)
    with watching(tmp_path, root, QUICK) as watched:
        wait_until(lambda: full_looks(watched) >= 3, "three full looks")

        assert watched.latest.checked_ns[Scope.FULL] == moment


def test_a_state_that_cannot_be_written_is_said_once_and_takes_nothing_from_the_rest(tmp_path, root):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        (small / "filler").write_bytes(b"x" * 60 * 1024)
        with watching(tmp_path, root, QUICK, state=small / "state") as watched:
            wait_until(lambda: watched.latest.trouble, "trouble")
            assert watched.latest.trouble.startswith(
                f"history is not kept: the state in {small}/state/state.db cannot be"
            )
            name = orphan(root)
            wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "the orphan is found")
            assert watched.latest.tally.failures == 0
            assert len(watched.named("state_not_kept")) == 1
            subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
            wait_until(lambda: watched.latest.trouble == "", "history is kept again")
            assert len(watched.latest.history) == 1
        assert len(watched.named("state_not_kept")) == 1
        assert len(watched.named("state_kept_again")) == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_settings_are_read_again(tmp_path, root):
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        name = orphan(root)
        wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "the orphan is found")
        watched.say(NOW_AND_THEN + '[accept."GCD101:*"]\nreason = "known"\n')
        watched.flags.reload()
        wait_until(lambda: watched.latest.result.summary.accepted == 1, "it is accepted")
        heard = watched.systemd.heard

    assert [event["event"] for event in watched.events if event["event"].startswith("settings")] == [
        "settings_reloaded"
    ]
    reloading = next(n for n, said in enumerate(heard) if said.startswith("RELOADING=1\nMONOTONIC_USEC="))
    assert "READY=1" in heard[reloading:]


def test_bad_settings_are_not_followed(tmp_path, root):
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        first = watched.latest
        watched.say("[daemon]\nsettel = '1s'\n")
        watched.flags.reload()
        wait_until(lambda: watched.named("settings_kept"), "the old settings are kept")
        orphan(root)
        wait_until(lambda: watched.latest.result.findings, "the orphan is found")

    [told] = watched.named("settings_kept")
    assert told["why"] == f"{watched.etc}/gcd.toml: there is no setting 'daemon.settel'; did you mean settle?"
    assert first.trouble == ""
    assert watched.raised == []


@pytest.mark.parametrize("fault", [RecursionError("too deep"), RuntimeError("can't start new thread")])
def test_no_fault_in_reading_the_settings_ends_it(tmp_path, root, monkeypatch, fault):
    with watching(tmp_path, root, NOW_AND_THEN) as watched:
        assert ids(watched) == []

        def fail(*_, **__):
            raise fault

        monkeypatch.setattr("support.daemons.settings.load", fail)
        watched.flags.reload()
        wait_until(lambda: watched.named("settings_kept") or watched.raised, "the old settings are kept")
        orphan(root)
        wait_until(lambda: watched.raised or watched.latest.result.findings, "the orphan is found")

    [told] = watched.named("settings_kept")
    assert told["why"] == f"a fault of gcd itself, {type(fault).__name__}: {fault}"
    assert watched.raised == []


def test_hooks_hear_of_what_is_new_once(tmp_path, root):
    heard = tmp_path / "heard"
    hook = f"[hooks]\non_finding = ['/bin/sh', '-c', 'cat >>{heard}']\n"
    with watching(tmp_path, root, QUICK + hook) as watched:
        name = orphan(root)
        wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "the orphan is found")
        wait_until(lambda: full_looks(watched) >= 3, "more looks")

    assert heard.read_text().count(f"GCD101:layer-dir:{name}") == 1


def hours_later(monkeypatch):
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 2 * 3_600_000_000_000)


QUARANTINE = '[policy.kinds]\norphan = "quarantine"\n'


def test_by_default_nothing_is_done_whatever_the_policy_says(tmp_path, root, monkeypatch):
    hours_later(monkeypatch)
    name = orphan(root)
    with watching(tmp_path, root, QUICK + QUARANTINE) as watched:
        wait_until(lambda: full_looks(watched) >= 2, "two looks")

        assert ids(watched) == [f"GCD101:layer-dir:{name}"]
        assert watched.latest.reclaimable_bytes == size_of_orphan(root)
        assert watched.latest.tally.acts == {}
    assert not (root / ".gcd").exists()


def test_without_a_verb_nothing_is_done_whoever_may_act(tmp_path, root, monkeypatch):
    hours_later(monkeypatch)
    name = orphan(root)
    with watching(tmp_path, root, QUICK + "act = true\n") as watched:
        wait_until(lambda: full_looks(watched) >= 2, "two looks")

        assert ids(watched) == [f"GCD101:layer-dir:{name}"]
        assert watched.latest.reclaimable_bytes == 0
    assert not (root / ".gcd").exists()


def test_the_policy_is_carried_out_where_the_settings_say_so(tmp_path, root, monkeypatch):
    hours_later(monkeypatch)
    orphan(root)
    with watching(tmp_path, root, QUICK + "act = true\n" + QUARANTINE) as watched:
        wait_until(lambda: watched.latest.tally.acts, "something is done")
        wait_until(lambda: ids(watched) == [], "the orphan is gone")
        latest = watched.latest

    [entry] = (root / ".gcd/entries").iterdir()
    assert latest.tally.acts == {(ActKind.QUARANTINE, Outcome.DONE): 1}
    assert latest.tally.reclaimed_bytes == 0
    assert latest.holding.entries == 1
    assert latest.holding.disk_bytes == disk_usage(entry)
    assert latest.holding.oldest_ns is not None
    assert latest.result.summary.orphaned_bytes == 0
    assert latest.reclaimable_bytes == 0
    [done] = watched.named("quarantine_done")
    assert (done["entry"], done["finding"]) == (entry.name, f"GCD101:layer-dir:{0:064x}")
    with open_state(tmp_path / "state") as state:
        assert [act.entry for act in state.acts(identity_of(str(root)), most=9)] == [entry.name]


def test_that_a_run_is_refused_is_shown_and_counted(tmp_path, root, monkeypatch):
    hours_later(monkeypatch)
    orphan(root)
    shutil.rmtree(root / "image/overlay2/imagedb/content")
    with watching(tmp_path, root, QUICK + "act = true\n" + QUARANTINE) as watched:
        wait_until(lambda: watched.latest.tally.refusals.get(Reason.RUN_REFUSED, 0) >= 2, "two refusals")

        assert watched.latest.trouble.startswith("nothing is done: what keeps layer dirs alive cannot be read: images")
    assert len(watched.named("run_refused")) == 1
    assert not (root / ".gcd/entries").exists() or list((root / ".gcd/entries").iterdir()) == []


def test_what_an_earlier_run_left_open_is_settled_at_the_start(tmp_path, root, monkeypatch):
    hours_later(monkeypatch)
    orphan(root)
    with watching(tmp_path, root, QUICK + "act = true\n" + QUARANTINE) as watched:
        wait_until(lambda: watched.latest.holding.entries == 1, "the orphan is moved")
    [entry] = (root / ".gcd/entries").iterdir()
    entry.rename(root / ".gcd/open" / entry.name)
    shutil.rmtree(tmp_path / "state")
    with watching(tmp_path, root, QUICK + "act = true\n" + QUARANTINE) as watched:
        wait_until(lambda: watched.latest.holding.entries == 1, "the entry is closed")

    assert [event["entry"] for event in watched.named("entry_closed")] == [entry.name]
    with open_state(tmp_path / "state") as state:
        [told] = state.acts(identity_of(str(root)), most=9)
    assert (told.kind, told.outcome, told.entry) == (ActKind.QUARANTINE, Outcome.DONE, entry.name)


def test_another_gcd_at_work_keeps_it_from_acting_and_from_nothing_else(tmp_path, root, monkeypatch):
    """Say, a long purge."""
    hours_later(monkeypatch)
    name = orphan(root)
    settings = QUICK + "act = true\n" + QUARANTINE
    with open_root(str(root)) as opened, ExitStack() as other:
        other.enter_context(open_place(opened, create=True))
        with watching(tmp_path, root, settings) as watched:
            wait_until(lambda: watched.latest.trouble and full_looks(watched) >= 4, "it looks on")
            assert ids(watched) == [f"GCD101:layer-dir:{name}"]
            assert watched.latest.trouble.startswith("nothing is done: ")
            assert (watched.latest.tally.failures, watched.latest.has_failed) == (0, False)
            assert len(watched.named("run_refused")) == 1
            other.close()
            wait_until(lambda: watched.latest.tally.acts, "something is done")
            wait_until(lambda: ids(watched) == [], "the orphan is gone")
            assert watched.latest.trouble == ""
    assert len(watched.named("watching")) == 1


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (CannotAct("The engine does not answer."), "The engine does not answer."),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (ZeroDivisionError("of gcd"), "a fault of gcd itself, ZeroDivisionError: of gcd"),
    ],
    ids=lambda what: type(what).__name__,
)
def test_why_nothing_was_done_is_shown_until_it_is_tried_again(tmp_path, root, monkeypatch, error, why):
    """Looks that go well between do not take it away, and neither does a root that was gone."""
    acts = []

    def act(*_):
        acts.append(1)
        if len(acts) == 1:
            raise error
        return ""

    monkeypatch.setattr(doing.Doer, "act", act)
    monkeypatch.setattr(pacing, "FIRST_REST_SECONDS", 0.1)
    settings = NOW_AND_THEN + "act = true\n" + QUARANTINE
    with watching(tmp_path, root, settings) as watched:
        wait_until(lambda: watched.latest.trouble, "it is shown")
        for attempt in range(2):
            looks = full_looks(watched)
            monkeypatch.setattr(pacing, "_apart_ns", lambda attempt=attempt: attempt * 10**12)
            wait_until(lambda looks=looks: full_looks(watched) > looks, "a look that goes well")
            orphan(root, attempt)
            wait_until(lambda attempt=attempt: len(ids(watched)) == attempt + 1, "and one of what changed")
            assert (watched.latest.trouble, len(acts)) == (f"nothing is done: {why}", 1)
            assert watched.systemd.statuses[-1].startswith(f"TROUBLE: nothing is done: {why}; {root}: ")
        root.rename(tmp_path / "away")
        wait_until(lambda: watched.latest.has_failed, "the root is gone")
        (tmp_path / "away").rename(root)
        wait_until(lambda: not watched.latest.has_failed, "the root is back")
        assert (watched.latest.trouble, len(acts)) == (f"nothing is done: {why}", 1)
        watched.flags.reload()
        wait_until(lambda: len(acts) == 2 and watched.latest.trouble == "", "it is tried again")
    assert [told["why"] for told in watched.named("run_refused")] == [why]


def test_an_engine_that_does_not_answer_keeps_it_from_acting_and_from_nothing_else(tmp_path, root, monkeypatch):
    def hung(*_):
        raise CannotAct("The engine does not answer on /s: Read timed out.")

    monkeypatch.setattr(doing.Doer, "act", hung)
    with watching(tmp_path, root, QUICK + "act = true\n" + QUARANTINE) as watched:
        wait_until(lambda: watched.latest.trouble and full_looks(watched) >= 3, "it looks on")
        assert watched.latest.trouble == "nothing is done: The engine does not answer on /s: Read timed out."
        name = orphan(root)
        wait_until(lambda: ids(watched) == [f"GCD101:layer-dir:{name}"], "the orphan is found")
        assert watched.latest.tally.failures == 0
        assert watched.latest.tally.refusals[Reason.RUN_REFUSED] >= 1
    assert len(watched.named("run_refused")) == 1
    assert len(watched.named("watching")) == 1
