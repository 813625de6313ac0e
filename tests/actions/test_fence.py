from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.fakeproc import FakeProc

from gcd.actions import fence as fence_module
from gcd.actions.fence import fence
from gcd.model.errors import CannotAct
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.root.tree import Directory

DATABASE = "volumes/metadata.db"


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    docker = tmp_path / "docker"
    (docker / "volumes").mkdir(parents=True)
    (docker / DATABASE).write_bytes(b"x")
    return docker


@pytest.fixture
def root(docker: Path) -> Iterator[Directory]:
    with open_root(str(docker)) as root:
        yield root


def dockerd(proc: FakeProc, docker: Path) -> Path:
    return proc.process(42, "dockerd", arguments=("/usr/sbin/dockerd", "--data-root", str(docker)))


def is_locked(docker: Path) -> bool:
    with (docker / DATABASE).open("rb") as database:
        try:
            fcntl.flock(database, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def refusal(root: Directory, proc: FakeProc) -> str:
    with pytest.raises(CannotAct) as told, fence(root, str(proc)):
        pytest.fail("the fence was taken")
    return str(told.value)


def test_the_door_is_held_shut_while_inside(root: Directory, docker: Path, proc: FakeProc):
    with fence(root, str(proc)) as held:
        held.check()
        assert is_locked(docker)

    assert not is_locked(docker)


def test_the_door_is_let_go_when_a_step_fails(root: Directory, docker: Path, proc: FakeProc):
    with pytest.raises(RuntimeError), fence(root, str(proc)):
        raise RuntimeError

    assert not is_locked(docker)


def test_no_descriptor_stays_open(root: Directory, docker: Path, proc: FakeProc):
    before = open_descriptors()
    with fence(root, str(proc)):
        pass
    (docker / DATABASE).unlink()
    refusal(root, proc)

    assert open_descriptors() == before


def test_an_engine_of_this_root_is_a_refusal(root: Directory, docker: Path, proc: FakeProc):
    dockerd(proc, docker)

    assert refusal(root, proc) == "dockerd (pid 42) runs on this root: stop it first"
    assert not is_locked(docker)


def test_an_engine_of_another_root_is_none(root: Directory, tmp_path: Path, proc: FakeProc):
    (tmp_path / "other").mkdir()
    dockerd(proc, tmp_path / "other")

    with fence(root, str(proc)) as held:
        held.check()


def test_a_lock_that_is_taken_is_a_refusal(root: Directory, docker: Path, proc: FakeProc):
    with (docker / DATABASE).open("rb") as database:
        fcntl.flock(database, fcntl.LOCK_EX)

        assert refusal(root, proc) == f"{DATABASE} is locked: an engine, or another gcd, is at work on this root"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("gone", "volumes/metadata.db cannot be opened (ENOENT): an engine cannot be kept from starting"),
        ("symlink", "volumes/metadata.db cannot be opened (ELOOP): an engine cannot be kept from starting"),
        ("fifo", "volumes/metadata.db is no regular file: an engine cannot be kept from starting"),
        ("folder gone", "volumes cannot be opened: an engine cannot be kept from starting"),
    ],
)
def test_what_is_no_lock_file_is_a_refusal(root: Directory, docker: Path, proc: FakeProc, place: str, why: str):
    database = docker / DATABASE
    database.unlink()
    match place:
        case "symlink":
            (docker / "real").write_bytes(b"x")
            database.symlink_to("../real")
        case "fifo":
            os.mkfifo(database)
        case "folder gone":
            database.parent.rmdir()

    assert refusal(root, proc) == why


def test_processes_that_cannot_be_listed_are_a_refusal(root: Directory, proc: FakeProc):
    shutil.rmtree(proc.path)

    assert refusal(root, proc) == f"whether an engine is being started cannot be told (ENOENT at {proc})"


def test_an_engine_that_starts_meanwhile_is_told_and_outwaited(root: Directory, docker: Path, proc: FakeProc):
    with fence(root, str(proc)) as held:
        folder = dockerd(proc, docker)
        with pytest.raises(CannotAct) as told:
            held.check()
        began = time.monotonic()
        ending = threading.Timer(0.3, shutil.rmtree, [folder])
        ending.start()
    waited = time.monotonic() - began
    ending.join()  # it is gone before the last of it is

    assert str(told.value) == "dockerd (pid 42) was started on this root meanwhile: gcd writes no more beside it"
    assert 0.3 <= waited < fence_module.WAIT_SECONDS


def test_an_engine_that_does_not_end_is_not_waited_for_without_end(
    root: Directory, docker: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fence_module, "WAIT_SECONDS", 0.1)
    with (
        pytest.raises(CannotAct, match=r"^dockerd \(pid 42\) was started on this root meanwhile, and does not end$"),
        fence(root, str(proc)),
    ):
        dockerd(proc, docker)

    assert not is_locked(docker)


def test_an_engine_that_starts_between_look_and_lock_is_told(
    root: Directory, docker: Path, proc: FakeProc, monkeypatch: pytest.MonkeyPatch
):
    taken = fence_module._lock
    ending: list[threading.Timer] = []

    def lock(descriptor: int) -> None:
        taken(descriptor)
        ending.append(threading.Timer(0.2, shutil.rmtree, [dockerd(proc, docker)]))
        ending[0].start()

    monkeypatch.setattr(fence_module, "_lock", lock)
    told = refusal(root, proc)
    ending[0].join()  # the fence waits for its process alone; it is gone before the last of it is

    assert told == "dockerd (pid 42) was started on this root meanwhile: gcd writes no more beside it"


def test_it_is_held_for_five_seconds_at_most(root: Directory, proc: FakeProc, monkeypatch: pytest.MonkeyPatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with fence(root, str(proc)) as held:
        clock[0] = 104.9
        held.check()
        clock[0] = 105.1
        with pytest.raises(CannotAct, match=r"was held for 5 s, which is as long as an engine is kept out"):
            held.check()
