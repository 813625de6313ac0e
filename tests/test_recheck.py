"""A refresh says what a full look says, and reads what changed and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support.fakeproc import BOOT_SECONDS, FakeProc
from support.inpython import read_in_python
from support.rootoperations import VERBS, Operations

from gcd.model.changed import NOTHING, Changed
from gcd.model.errors import RootNotFound
from gcd.model.finding import Confidence
from gcd.recheck import Recheck
from gcd.run import check

EXAMPLES = int(os.environ.get("GCD_PROPERTY_EXAMPLES", "100"))
SECOND_NS = 1_000_000_000
HOUR_NS = 3_600_000_000_000
DIR = "d" * 64


@pytest.fixture(scope="module")
def proc(tmp_path_factory):
    return str(FakeProc(tmp_path_factory.mktemp("proc")))


def told(result):
    """What two looks at one root must agree upon."""
    return (
        sorted(result.findings, key=lambda f: f.id),
        sorted(result.not_checked, key=lambda lack: (lack.code, lack.source)),
        dict(result.sources),
        result.summary,
    )


@settings(
    max_examples=max(5, EXAMPLES // 4),
    deadline=None,
    derandomize="GCD_PROPERTY_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 23)), min_size=1, max_size=10),
    bursts=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_a_refresh_says_what_a_full_look_says(proc, steps, bursts):
    with tempfile.TemporaryDirectory() as folder:
        operations = Operations(Path(folder) / "root", 5)
        now_ns = time.time_ns() + 2 * HOUR_NS
        recheck = Recheck(str(operations.path), proc=proc)
        recheck.full(now_ns)
        heard = NOTHING
        for (verb, pick), is_end in zip(steps, bursts, strict=False):
            note(f"{verb} {pick}{'' if is_end else ' …'}")
            heard |= operations.do(verb, pick)
            if is_end:
                assert told(recheck.refresh(heard, now_ns)) == told(
                    check(str(operations.path), now_ns=now_ns, proc=proc)
                )
                heard = NOTHING
        assert told(recheck.refresh(heard, now_ns)) == told(check(str(operations.path), now_ns=now_ns, proc=proc))


# --- what is read ---------------------------------------------------------------------------------------------------


class Calls:
    """Counts the calls by which a root is read."""

    NAMES = ("open", "readlink", "scandir", "stat")

    def __init__(self, monkeypatch):
        self.counted = Counter()
        read_in_python(monkeypatch)
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._counting(name, getattr(os, name)))

    def _counting(self, name, call):
        def counting(*arguments, **named):
            self.counted[name] += 1
            return call(*arguments, **named)

        return counting

    def of(self, work):
        self.counted.clear()
        work()
        return self.counted.total()


@pytest.mark.parametrize("containers", [10, 60])
def test_what_a_refresh_reads_does_not_grow_with_the_root(tmp_path, proc, monkeypatch, containers):
    operations = Operations(tmp_path / "root", 6)
    for number in range(containers):
        operations.do("create", number)
    now_ns = time.time_ns() + 2 * HOUR_NS
    recheck = Recheck(str(operations.path), proc=proc)
    calls = Calls(monkeypatch)

    assert calls.of(lambda: recheck.full(now_ns)) > 20 * containers
    came = operations.do("create", 0)
    assert calls.of(lambda: recheck.refresh(came, now_ns)) < 200
    went = operations.do("rm", containers)
    assert calls.of(lambda: recheck.refresh(went, now_ns)) < 200
    assert calls.of(lambda: recheck.refresh(NOTHING, now_ns)) < 120


# --- what makes it sure ---------------------------------------------------------------------------------------------


@pytest.fixture
def operations(tmp_path):
    return Operations(tmp_path / "root", 7)


def looked_at(operations, proc):
    """A `Recheck` after its first full look, and the time of that."""
    recheck = Recheck(str(operations.path), proc=proc)
    now_ns = time.time_ns() + 2 * HOUR_NS
    recheck.full(now_ns)
    return recheck, now_ns


def leaked(operations):
    """What is heard of a dir that nothing names, and when that last changed."""
    came = operations.do("leak_dir", 0)
    (dir_id,) = came.layer_dirs
    home = operations.path / "overlay2" / dir_id
    return came, max(path.lstat().st_ctime_ns for path in (home, *home.iterdir()))


def test_an_owner_that_nobody_heard_of_is_seen_before_its_dir_is_called_an_orphan(operations, proc):
    recheck, now_ns = looked_at(operations, proc)
    came = operations.do("create", 0)

    assert recheck.refresh(Changed(layer_dirs=came.layer_dirs), now_ns).findings == ()


def test_a_container_that_says_it_dies_is_read_with_its_dirs(operations, proc):
    """Its config changes inside of its dir, which makes no event; the loss of the dir does."""
    recheck, now_ns = looked_at(operations, proc)
    went = operations.do("cut_rm", 1)

    assert went == Changed(layer_dirs=went.layer_dirs, links=went.links)
    assert [f.code for f in recheck.refresh(went, now_ns).findings] == ["GCD309"]


def test_a_container_with_a_finding_is_read_again_though_nobody_hears_of_it(operations, proc):
    """That it dies is written into its config in place; its dir was lost long before."""
    home = operations.path / "containers" / operations.containers[0].id
    alive = (home / "config.v2.json").read_bytes()
    operations.do("cut_rm", 1)
    dead = (home / "config.v2.json").read_bytes()
    (home / "config.v2.json").write_bytes(alive)
    recheck = Recheck(str(operations.path), proc=proc)
    now_ns = time.time_ns() + 2 * HOUR_NS
    assert [f.code for f in recheck.full(now_ns).findings] == ["GCD306"]

    (home / "config.v2.json").write_bytes(dead)
    assert [f.code for f in recheck.refresh(NOTHING, now_ns).findings] == ["GCD309"]


def test_a_process_in_a_new_orphan_keeps_it_from_being_proven(operations, tmp_path):
    fake = FakeProc(tmp_path / "proc")
    recheck, now_ns = looked_at(operations, str(fake))
    came = operations.do("leak_dir", 0)
    (leaked,) = came.layer_dirs
    fake.process(4321, files=(f"{operations.path}/overlay2/{leaked}/diff/x",))
    (finding,) = recheck.refresh(came, now_ns).findings

    assert (finding.code, finding.subject.id, finding.confidence) == ("GCD101", leaked, Confidence.SUSPECTED)


@pytest.mark.parametrize("broken", ["replaced", "clock", "engine", "quarantine"])
def test_where_it_is_not_sure_it_looks_at_everything(operations, proc, broken):
    recheck, now_ns = looked_at(operations, proc)
    operations.do("leak_dir", 0)  # which nobody is told of: only a full look finds it
    assert recheck.refresh(NOTHING, now_ns).findings == ()
    match broken:
        case "replaced":
            containers = operations.path / "containers"
            shutil.copytree(containers, operations.path / "copy")
            shutil.rmtree(containers)
            (operations.path / "copy").rename(containers)
        case "clock":
            now_ns -= 1
        case "engine":
            shutil.rmtree(operations.path / "tmp")
            (operations.path / "tmp").mkdir()
        case "quarantine":
            (operations.path / ".gcd").mkdir()

    assert [f.code for f in recheck.refresh(NOTHING, now_ns).findings] == ["GCD101"]


def test_the_first_look_is_a_full_one(operations, proc):
    operations.do("leak_dir", 0)
    result = Recheck(str(operations.path), proc=proc).refresh(NOTHING, time.time_ns() + 2 * HOUR_NS)

    assert [f.code for f in result.findings] == ["GCD101"]


def test_what_is_not_complete_is_young_until_it_is_or_is_old(operations, proc):
    recheck, _ = looked_at(operations, proc)
    (operations.path / "overlay2" / DIR).mkdir()
    made_ns = (operations.path / "overlay2" / DIR).lstat().st_ctime_ns
    recheck = Recheck(str(operations.path), proc=proc)
    recheck.full(made_ns + 30 * 1_000_000_000)
    assert recheck.young == Changed(layer_dirs=frozenset({DIR}))

    recheck.refresh(recheck.young, made_ns + 61 * 1_000_000_000)
    assert recheck.young == NOTHING


def test_what_changed_a_moment_ago_is_looked_at_once_more(operations, proc):
    recheck = Recheck(str(operations.path), proc=proc)
    recheck.full(time.time_ns() + 2 * HOUR_NS)
    came = operations.do("create", 0)
    recheck = Recheck(str(operations.path), proc=proc)
    recheck.full(time.time_ns())

    assert recheck.young.containers >= came.containers
    assert recheck.young.layer_dirs >= came.layer_dirs


@pytest.fixture
def running(operations, tmp_path):
    """The ``/proc`` of an engine that runs on the root since now."""
    database = operations.path / "volumes" / "metadata.db"
    database.parent.mkdir(exist_ok=True)
    fake = FakeProc(tmp_path / "proc")
    fake.process(7, "dockerd", started=int(time.time()) - BOOT_SECONDS)
    with database.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fake.lock(7, database)
        yield str(fake)


@pytest.mark.parametrize("is_full", [False, True])
def test_what_is_suspected_of_something_new_is_told_of_by_itself_after_seconds(operations, running, is_full):
    """An engine makes a dir before it writes what names it, and mounts one before it says so."""
    recheck = Recheck(str(operations.path), proc=running)
    recheck.full(time.time_ns())
    came, leaked_ns = leaked(operations)
    soon_ns = leaked_ns + 5 * SECOND_NS - 1

    assert (recheck.full(soon_ns) if is_full else recheck.refresh(came, soon_ns)).findings == ()
    assert recheck.sight.findings == ()
    assert recheck.young == Changed(layer_dirs=came.layer_dirs)

    (finding,) = recheck.refresh(recheck.young, leaked_ns + 5 * SECOND_NS).findings
    assert (finding.code, finding.confidence) == ("GCD101", Confidence.SUSPECTED)
    assert recheck.young == NOTHING


def test_what_is_proven_is_told_of_at_once(operations, running, monkeypatch):
    monkeypatch.setattr("gcd.root.engine.MARGIN_NS", -HOUR_NS)
    recheck = Recheck(str(operations.path), proc=running)
    recheck.full(time.time_ns())
    came, leaked_ns = leaked(operations)

    (finding,) = recheck.refresh(came, leaked_ns + 1).findings
    assert (finding.code, finding.confidence) == ("GCD101", Confidence.PROVEN)


def test_with_the_engine_stopped_all_is_told_of_at_once(operations, proc):
    recheck = Recheck(str(operations.path), proc=proc)
    recheck.full(time.time_ns())
    came, leaked_ns = leaked(operations)

    (finding,) = recheck.refresh(came, leaked_ns + 1).findings
    assert (finding.code, finding.confidence) == ("GCD101", Confidence.SUSPECTED)


def test_what_was_told_of_is_not_taken_back_because_it_changes(operations, running):
    recheck = Recheck(str(operations.path), proc=running)
    came, leaked_ns = leaked(operations)
    assert [f.code for f in recheck.full(leaked_ns + 5 * SECOND_NS).findings] == ["GCD101"]
    (dir_id,) = came.layer_dirs
    (operations.path / "overlay2" / dir_id).chmod(0o700)

    for result in (recheck.refresh(came, leaked_ns + 5 * SECOND_NS), recheck.full(leaked_ns + 5 * SECOND_NS)):
        assert [(f.code, f.since_ns > leaked_ns) for f in result.findings] == [("GCD101", True)]


def test_what_only_a_full_look_sees_again_is_told_of_at_once(operations, running):
    (operations.path / "containers" / operations.containers[0].id / ".tmp-config.v2.json123").write_text("")
    recheck = Recheck(str(operations.path), proc=running)

    assert [f.code for f in recheck.full(time.time_ns()).findings] == ["GCD603"]


def test_what_changed_in_the_future_is_not_young(operations, running):
    """Else it would be so for ever, once the clock was set back."""
    recheck = Recheck(str(operations.path), proc=running)
    _, leaked_ns = leaked(operations)

    assert [f.code for f in recheck.full(leaked_ns - HOUR_NS).findings] == ["GCD101"]
    assert recheck.young == NOTHING


def test_what_changes_while_a_long_look_goes_on_is_young(operations, running, monkeypatch):
    recheck = Recheck(str(operations.path), proc=running)
    came, leaked_ns = leaked(operations)
    clock = iter([0, *[200 * SECOND_NS] * 9])
    monkeypatch.setattr(time, "monotonic_ns", lambda: next(clock))

    assert recheck.full(leaked_ns - 200 * SECOND_NS).findings == ()
    assert recheck.young.layer_dirs >= came.layer_dirs


def test_a_refresh_tells_whether_it_became_a_full_look(operations, proc):
    recheck = Recheck(str(operations.path), proc=proc)
    now_ns = time.time_ns() + 2 * HOUR_NS
    assert not recheck.was_full
    told = []
    for later_ns in (0, 0, -1, 0):
        recheck.refresh(NOTHING, now_ns + later_ns)
        told.append(recheck.was_full)

    assert told == [True, False, True, False]


def test_a_refresh_tells_of_its_parts(operations, proc):
    heard = []
    recheck = Recheck(str(operations.path), proc=proc, progress=lambda source, *_: heard.append(source))
    recheck.full(time.time_ns() + 2 * HOUR_NS)
    heard.clear()
    recheck.refresh(operations.do("create", 0), time.time_ns() + 2 * HOUR_NS)
    once = [source for source, _ in groupby(heard)]
    heard.clear()
    recheck.refresh(operations.do("leak_dir", 0), time.time_ns() + 2 * HOUR_NS)
    twice = [source for source, _ in groupby(heard)]

    assert once == ["layers", "rw-layers", "containers", "overlay2", "links"]
    assert twice == ["overlay2", "links", "engine", "overlay2", "links", "mounts", "engine", "overlay2"]


def test_a_root_that_is_gone_ends_the_look_and_the_next_one_is_full(operations, proc):
    recheck, now_ns = looked_at(operations, proc)
    operations.path.rename(operations.path.with_name("away"))
    with pytest.raises(RootNotFound):
        recheck.refresh(NOTHING, now_ns)
    assert recheck.sight is None
    operations.path.with_name("away").rename(operations.path)
    operations.do("leak_dir", 0)

    assert [f.code for f in recheck.refresh(NOTHING, now_ns).findings] == ["GCD101"]
