from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from support.fakeproc import FakeProc
from support.results import hex64, orphan

from gcd.actions import closelook
from gcd.actions.closelook import CloseLook, paths_of
from gcd.actions.fence import fence
from gcd.model.ids import ChainId, ImageId
from gcd.model.plan import (
    CopyFile,
    DropReference,
    Identity,
    MakeDirectory,
    MakeSymlink,
    Mend,
    Move,
    Plan,
    Reason,
    Release,
    SetAside,
    WriteFile,
)
from gcd.root.engine import read_engine
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gcd.model.plan import Step
    from gcd.root.tree import Directory

LAYER = hex64("a")
LINK = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FINDING = orphan("a")
MOVE = Move(FINDING, (f"overlay2/{LAYER}", f"overlay2/l/{LINK}"))
OTHER_ENGINE = "the engine is another one, or in another state, than when gcd looked"


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    docker = tmp_path / "docker"
    for name in ("volumes", "overlay2/l", f"overlay2/{LAYER}/diff", "tmp"):
        (docker / name).mkdir(parents=True)
    (docker / "volumes/metadata.db").write_bytes(b"x")
    (docker / f"overlay2/{LAYER}/link").write_text(LINK)
    (docker / "overlay2/l" / LINK).symlink_to(f"../{LAYER}/diff")
    (docker / "tmp-old").mkdir()
    return docker


@pytest.fixture
def root(docker: Path) -> Iterator[Directory]:
    time.sleep(0.02)
    with open_root(str(docker)) as root:
        yield root


@pytest.fixture(autouse=True)
def every_process_is_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closelook, "HOST_NS", -1)


def dockerd(proc: FakeProc, docker: Path, pid: int = 42) -> Path:
    folder = proc.process(pid, "dockerd", arguments=("/usr/sbin/dockerd", "--data-root", str(docker)))
    proc.lock(pid, docker / "volumes/metadata.db")
    return folder


def plan_of(root: Directory, docker: Path, proc: FakeProc) -> Plan:
    status = root.stat()
    engine = read_engine(root, str(proc))
    return Plan(str(docker), Identity(status.st_dev, status.st_ino, ""), engine, time.time_ns(), (), ())


@contextmanager
def looking(root: Directory, docker: Path, proc: FakeProc) -> Iterator[CloseLook]:
    """With no engine, and the fence held: its lock is not taken for an engine's."""
    plan = plan_of(root, docker, proc)
    with fence(root, str(proc)):
        yield CloseLook(root, plan, plan.read_ns, str(proc))


def told(look: CloseLook, step: Step) -> tuple[Reason, str] | None:
    alone = look.at(step)
    if alone is None:
        return None
    assert alone.finding == step.finding
    return alone.reason, alone.why


def test_the_paths_of_a_step():
    finding = replace(FINDING, paths=("overlay2/x",))

    assert paths_of(Move(finding, ("a", "b"))) == ("a", "b")
    assert paths_of(Mend(finding, (WriteFile("c", b"", "d"), SetAside("e")))) == ("c", "e")
    assert paths_of(Release(finding, ChainId("sha256:0"))) == ("overlay2/x",)


def test_nothing_happened(root: Directory, docker: Path, proc: FakeProc):
    with looking(root, docker, proc) as look:
        assert told(look, MOVE) is None


def test_a_path_right_below_the_root(root: Directory, docker: Path, proc: FakeProc):
    with looking(root, docker, proc) as look:
        assert told(look, Move(FINDING, ("tmp-old",))) is None
        (docker / "tmp-old/x").write_bytes(b"")
        assert told(look, Move(FINDING, ("tmp-old",))) == (Reason.CHANGED, "tmp-old has changed since gcd looked")


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (f"overlay2/{LAYER}", f"overlay2/{LAYER}"),
        (f"overlay2/{LAYER}/diff", f"overlay2/{LAYER}"),
        (f"overlay2/{LAYER}/link", f"overlay2/{LAYER}"),
        (f"overlay2/l/{LINK}", f"overlay2/l/{LINK}"),
    ],
)
def test_what_changed_is_left_alone(root: Directory, docker: Path, proc: FakeProc, path: str, named: str):
    with looking(root, docker, proc) as look:
        os.utime(docker / path, (1, 1), follow_symlinks=False)
        assert told(look, MOVE) == (Reason.CHANGED, f"{named} has changed since gcd looked")


def test_what_changed_in_the_same_tick_as_the_look_is_left_alone(root: Directory, docker: Path, proc: FakeProc):
    changed_ns = (docker / "overlay2/l" / LINK).lstat().st_ctime_ns
    with fence(root, str(proc)):
        plan = plan_of(root, docker, proc)
        look = CloseLook(root, plan, changed_ns + closelook.GRAIN_NS, str(proc))
        assert told(look, Move(FINDING, (f"overlay2/l/{LINK}",)))[0] is Reason.CHANGED
        look = CloseLook(root, plan, changed_ns + closelook.GRAIN_NS + 1, str(proc))
        assert told(look, Move(FINDING, (f"overlay2/l/{LINK}",))) is None


def test_what_is_gone_is_left_alone(root: Directory, docker: Path, proc: FakeProc):
    with looking(root, docker, proc) as look:
        (docker / "overlay2/l" / LINK).unlink()
        assert told(look, MOVE) == (Reason.CHANGED, f"overlay2/l/{LINK} is not there any more")
        mend = Mend(FINDING, (MakeSymlink(f"overlay2/l/{LINK}", f"../{LAYER}/diff"),))
        assert told(look, mend) is None


def test_no_symlink_is_followed_on_the_way(root: Directory, docker: Path, proc: FakeProc):
    with looking(root, docker, proc) as look:
        (docker / "overlay2").rename(docker / "elsewhere")
        (docker / "overlay2").symlink_to("elsewhere")
        assert told(look, MOVE) == (Reason.CHANGED, "overlay2 cannot be opened any more")


def test_a_repair_makes_the_folder_that_it_needs(root: Directory, docker: Path, proc: FakeProc):
    link = f"overlay2/l/{LINK}"
    mend = Mend(FINDING, (MakeDirectory("overlay2/l", 0o700, "overlay2"), MakeSymlink(link, f"../{LAYER}/diff")))
    with looking(root, docker, proc) as look:
        shutil.rmtree(docker / "overlay2/l")
        assert told(look, mend) is None
        (docker / "overlay2/l").write_bytes(b"")
        assert told(look, mend) is None


def test_what_an_earlier_step_made_or_shortened_is_no_change(root: Directory, docker: Path, proc: FakeProc):
    changes = (MakeDirectory("overlay2/l", 0o700, "overlay2"), DropReference("repositories", "web:1", ImageId("x")))
    with looking(root, docker, proc) as look:
        for path in ("overlay2/l/new", "repositories"):
            (docker / path).write_bytes(b"")
        assert told(look, Mend(FINDING, changes)) is None


def test_another_root_in_its_place(root: Directory, docker: Path, proc: FakeProc):
    with looking(root, docker, proc) as look:
        docker.rename(docker.with_name("old"))
        assert told(look, MOVE) == (Reason.CHANGED, "the root is not there any more (ENOENT)")
        docker.mkdir()
        assert told(look, MOVE) == (Reason.CHANGED, "another directory has taken the place of the root")


def test_an_engine_that_came_and_went(root: Directory, docker: Path, proc: FakeProc):
    """Its start made ``tmp`` anew, and it may have taken up what nobody needed."""
    with looking(root, docker, proc) as look:
        (docker / "tmp").rmdir()
        (docker / "tmp").mkdir()
        assert told(look, MOVE) == (Reason.CHANGED, "an engine was started and stopped since gcd looked")


def test_an_engine_that_came_and_went_while_the_root_was_read(root: Directory, docker: Path, proc: FakeProc):
    plan = plan_of(root, docker, proc)
    (docker / "tmp").rmdir()
    (docker / "tmp").mkdir()
    with fence(root, str(proc)):
        look = CloseLook(root, plan, plan.read_ns, str(proc))
        assert told(look, MOVE) == (Reason.CHANGED, "an engine was started and stopped since gcd looked")


def test_gcd_itself_may_move_something_out_of_tmp(root: Directory, docker: Path, proc: FakeProc):
    (docker / "tmp/docker-import-1").write_bytes(b"")
    time.sleep(0.02)
    with looking(root, docker, proc) as look:
        (docker / "tmp/docker-import-1").rename(docker / "moved")
        assert told(look, MOVE) is None


def test_the_same_engine_at_work(root: Directory, docker: Path, proc: FakeProc):
    dockerd(proc, docker)
    plan = plan_of(root, docker, proc)
    assert plan.engine.pid == 42

    assert told(CloseLook(root, plan, plan.read_ns, str(proc)), MOVE) is None


@pytest.mark.parametrize("change", ["gone", "another", "two"])
def test_an_engine_that_is_not_the_planned_one(root: Directory, docker: Path, proc: FakeProc, change: str):
    folder = dockerd(proc, docker)
    plan = plan_of(root, docker, proc)
    if change != "two":
        shutil.rmtree(folder)
        (proc.path / "locks").write_text("")
    if change != "gone":
        dockerd(proc, docker, 43)

    assert told(CloseLook(root, plan, plan.read_ns, str(proc)), MOVE) == (Reason.CHANGED, OTHER_ENGINE)


def test_an_engine_with_another_epoch(root: Directory, docker: Path, proc: FakeProc):
    dockerd(proc, docker)
    with (docker / "volumes/metadata.db").open("rb") as database:
        fcntl.flock(database, fcntl.LOCK_EX)
        plan = plan_of(root, docker, proc)
        epoch_ns = plan.engine.epoch_ns
        assert epoch_ns is not None

        def answer(told_before: int | None) -> object:
            before = replace(plan, engine=replace(plan.engine, epoch_ns=told_before))
            return told(CloseLook(root, before, plan.read_ns, str(proc)), MOVE)

        assert answer(epoch_ns + closelook.EPOCH_TOLERANCE_NS) is None
        assert answer(epoch_ns + closelook.EPOCH_TOLERANCE_NS + 1) == (Reason.CHANGED, OTHER_ENGINE)
        assert answer(None) == (Reason.CHANGED, OTHER_ENGINE)


OVERLAY = "36 35 0:40 / /mnt rw - overlay overlay rw,lowerdir={lower},upperdir=/x/overlay2/{upper}/diff\n"


@pytest.mark.parametrize(("lower", "upper"), [(f"/r/overlay2/l/{LINK}", hex64("b")), ("/r/overlay2/l/B", LAYER)])
def test_what_is_mounted_in_any_namespace_is_left_alone(
    root: Directory, docker: Path, proc: FakeProc, lower: str, upper: str
):
    with looking(root, docker, proc) as look:
        proc.process(77, "holder", namespace="mnt:[9]", mountinfo=OVERLAY.format(lower=lower, upper=upper))
        assert told(look, MOVE) == (Reason.IN_USE, "it is mounted at /mnt (pid 77, holder)")


def test_a_repair_minds_a_mount_only_where_it_rewrites_lower_or_takes_away(
    root: Directory, docker: Path, proc: FakeProc
):
    mounted = (Reason.IN_USE, "it is mounted at /mnt (pid 77, holder)")
    with looking(root, docker, proc) as look:
        proc.process(77, "holder", mountinfo=OVERLAY.format(lower=f"/r/overlay2/l/{LINK}", upper=LAYER))
        for change, answer in (
            (WriteFile(f"overlay2/{LAYER}/lower", b"", "x"), mounted),
            (SetAside(f"overlay2/l/{LINK}"), mounted),
            (WriteFile(f"overlay2/{LAYER}/link", b"", "x"), None),
            (MakeSymlink(f"overlay2/l/{LINK}", "x"), None),
        ):
            assert told(look, Mend(FINDING, (change,))) == answer


def test_what_lies_beside_the_content_of_a_lower_layer_may_go(root: Directory, docker: Path, proc: FakeProc):
    (docker / "overlay2" / LAYER / ".tmp-link7").write_bytes(b"")
    time.sleep(0.02)
    move = Move(FINDING, (f"overlay2/{LAYER}/.tmp-link7",))
    with looking(root, docker, proc) as look:
        proc.process(77, "holder", mountinfo=OVERLAY.format(lower=f"/r/overlay2/l/{LINK}", upper=hex64("b")))
        assert told(look, move) is None


def test_content_is_not_changed_below_a_mount_that_names_the_layer_by_its_link(
    root: Directory, docker: Path, proc: FakeProc
):
    mend = Mend(FINDING, (CopyFile(f"overlay2/{LAYER}/diff/bin/sh", "x", 0, "ab" * 32, 0),))
    with looking(root, docker, proc) as look:
        assert told(look, mend) is None
        proc.process(77, "holder", mountinfo=OVERLAY.format(lower=f"/r/overlay2/l/{LINK}", upper=hex64("b")))
        assert told(look, mend) == (Reason.IN_USE, "it is mounted at /mnt (pid 77, holder)")


def test_mounts_that_cannot_be_seen(root: Directory, docker: Path, proc: FakeProc):
    with looking(root, docker, proc) as look:
        proc.process(77, "x", mountinfo="overlay /diff nonsense\n")
        assert told(look, MOVE) == (
            Reason.NOT_CHECKED,
            "not all mounts can be seen: 1 lines of mountinfo are not understood",
        )


def test_what_a_process_has_open_is_left_alone(root: Directory, docker: Path, proc: FakeProc):
    with looking(root, docker, proc) as look:
        proc.process(77, "vi", files=(f"/elsewhere/{LAYER}/diff/x (deleted)",))
        assert told(look, MOVE) == (Reason.IN_USE, f"a process has files in {LAYER} open")


def test_what_is_named_by_its_content_is_open_in_another_root_as_well(root: Directory, docker: Path, proc: FakeProc):
    """A chain id says which layer it is, and not in which root; a layer dir's id is random."""
    size = f"image/overlay2/layerdb/sha256/{LAYER}/size"
    (docker / size).parent.mkdir(parents=True)
    time.sleep(0.02)
    with looking(root, docker, proc) as look:
        proc.process(77, "dockerd", files=(f"/another/{size}",))
        assert told(look, Mend(FINDING, (WriteFile(size, b"1", "x"),))) is None


def test_all_processes_are_asked_once_for_the_steps_of_a_moment(
    root: Directory, docker: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    read_mounts = closelook.read_mounts
    monkeypatch.setattr(closelook, "read_mounts", lambda proc: asked.append(proc) or read_mounts(proc))
    monkeypatch.setattr(closelook, "HOST_NS", 60_000_000_000)
    with looking(root, docker, proc) as look:
        assert [told(look, MOVE) for _ in range(3)] == [None] * 3
    assert len(asked) == 1
