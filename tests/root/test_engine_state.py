from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support.fakeproc import BOOT_SECONDS, FakeProc

from gcd.model.facts import Engine, EngineState
from gcd.root import engine as engine_module
from gcd.root.engine import is_locked, read_engine
from gcd.root.statx import Origin, origin_of
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
STARTED = 100
START_NS = (BOOT_SECONDS + STARTED) * SECOND
NO_HOLDER = "volumes/metadata.db is locked by a process that /proc/locks does not show (another pid namespace)"
FLAG = "--data-root"


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What an engine leaves, its lock included."""
    root = tmp_path / "docker"
    for name in ("volumes", "buildkit", "overlay2", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "volumes" / "metadata.db").write_bytes(b"x")
    (root / "buildkit" / "snapshots.db").write_bytes(b"x")
    return root


@pytest.fixture
def born(monkeypatch: pytest.MonkeyPatch):
    """Sets the birth time of ``tmp``."""

    def set_birth(birth_ns: int | None) -> None:
        def answer(path, *, dir_fd=-1, follow=False):
            origin = origin_of(path, dir_fd=dir_fd, follow=follow)
            return Origin(origin.device, origin.inode, birth_ns, origin.mount) if path == "tmp" else origin

        monkeypatch.setattr(engine_module, "origin_of", answer)

    return set_birth


def look(root: Path, proc: object = "/proc") -> Engine:
    with open_root(str(root)) as directory:
        return read_engine(directory, str(proc))


@contextmanager
def locked(file: Path):
    with file.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def run_of(program: str, *arguments: str):
    """A Python process that said it is ready; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", program + "\nprint('ready', flush=True)\ninput()", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.communicate("\n")


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "rb")
fcntl.flock(file, fcntl.LOCK_EX)
open("/proc/self/comm", "w").write(sys.argv[2])
"""


# --- the state ------------------------------------------------------------------------------------------------------


def test_a_free_lock_says_stopped(root, proc):
    assert look(root, proc) == Engine(EngineState.STOPPED)


def test_looking_leaves_no_lock_behind(root, proc):
    look(root, proc)

    with (root / "volumes" / "metadata.db").open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_lock_is_tried_on_a_descriptor_that_cannot_write(root, proc, monkeypatch):
    modes = []
    real = fcntl.flock

    def watch(fd, operation):
        modes.append((fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE, operation))
        return real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", watch)

    look(root, proc)

    assert modes == [(os.O_RDONLY, fcntl.LOCK_SH | fcntl.LOCK_NB), (os.O_RDONLY, fcntl.LOCK_UN)]


@pytest.mark.parametrize("gone", ["volumes/metadata.db", "volumes"])
def test_a_copied_root_without_the_lock_file_is_stopped(root, proc, gone):
    (root / "volumes" / "metadata.db").unlink()
    if gone == "volumes":
        (root / "volumes").rmdir()

    assert look(root, proc) == Engine(EngineState.STOPPED)


@pytest.mark.parametrize("put", ["symlink", "directory", "fifo"])
def test_something_else_in_place_of_the_lock_file_is_unknown(root, proc, put):
    lock = root / "volumes" / "metadata.db"
    lock.unlink()
    match put:
        case "symlink":
            lock.symlink_to("/etc/passwd")
        case "directory":
            lock.mkdir()
        case "fifo":
            os.mkfifo(lock)

    engine = look(root, proc)

    assert (engine.state, len(engine.doubts)) == (EngineState.UNKNOWN, 1)
    assert engine.proof_bound(time.time_ns()) is None


def test_a_lock_that_cannot_be_tried_is_unknown(root, proc, monkeypatch):
    def refuse(_fd, _operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)

    assert look(root, proc) == Engine(EngineState.UNKNOWN, doubts=("volumes/metadata.db cannot be locked (ENOLCK)",))


def test_a_dockerd_of_this_root_without_its_lock_is_running(root, proc):
    """It is starting; before 23.0 it loads layers and images before it takes the lock."""
    proc.process(7, "dockerd", arguments=("/usr/sbin/dockerd", FLAG, str(root)))

    assert look(root, proc) == Engine(
        EngineState.RUNNING,
        7,
        doubts=("dockerd (pid 7) uses this root without holding the lock on volumes/metadata.db",),
    )


def test_a_dockerd_of_another_root_does_not_matter(root, proc, tmp_path):
    (tmp_path / "other").mkdir()
    proc.process(7, "dockerd", arguments=("dockerd", FLAG, str(tmp_path / "other")))

    assert look(root, proc) == Engine(EngineState.STOPPED)


def test_an_engine_whose_lock_file_was_removed_is_running(root, proc):
    proc.process(7, "dockerd", arguments=("dockerd", FLAG, str(root)))
    (root / "volumes" / "metadata.db").unlink()

    assert look(root, proc).state is EngineState.RUNNING


def test_an_engine_that_locks_another_database_of_the_root_is_running(root, proc):
    proc.process(7, "dockerd", arguments=("dockerd", FLAG, "/nowhere"))
    proc.lock(7, root / "buildkit" / "snapshots.db")

    engine = look(root, proc)

    assert (engine.state, engine.pid, len(engine.doubts)) == (EngineState.RUNNING, 7, 1)


# --- the holder -----------------------------------------------------------------------------------------------------


def test_where_no_dockerd_runs_nobody_waits_for_the_table_of_locks(root, proc, monkeypatch):
    asked = []
    read_file = engine_module.read_file
    monkeypatch.setattr(engine_module, "read_file", lambda path, limit: asked.append(path) or read_file(path, limit))
    proc.process(41, "vi")
    proc.lock(41, root / "buildkit/snapshots.db")

    assert look(root, proc).state is EngineState.STOPPED
    assert asked == []
    (proc.process(42, "engine") / "exe").symlink_to("/usr/bin/dockerd")
    proc.lock(42, root / "buildkit/snapshots.db")
    assert look(root, proc).state is EngineState.RUNNING
    assert asked == [f"{proc}/locks"]


def test_the_holder_and_its_epoch(root, proc, born):
    born(START_NS + SECOND)
    proc.process(7, "dockerd", started=STARTED)
    proc.lock(7, root / "volumes" / "metadata.db")
    proc.lock(7, root / "buildkit" / "snapshots.db")

    with locked(root / "volumes" / "metadata.db"):
        assert look(root, proc) == Engine(EngineState.RUNNING, 7, START_NS - 2 * SECOND)


def test_the_earlier_of_start_and_birth_is_the_epoch(root, proc, born):
    born(START_NS - 90 * SECOND)
    proc.process(7, "dockerd", started=STARTED)
    proc.lock(7, root / "volumes" / "metadata.db")

    with locked(root / "volumes" / "metadata.db"):
        assert look(root, proc) == Engine(EngineState.RUNNING, 7, START_NS - 92 * SECOND)


@pytest.mark.parametrize(("difference", "doubts"), [(120, 0), (121, 1), (-120, 0), (-121, 1)])
def test_start_and_birth_too_far_apart_are_doubted(root, proc, born, difference, doubts):
    born(START_NS + difference * SECOND)
    proc.process(7, "dockerd", started=STARTED)
    proc.lock(7, root / "volumes" / "metadata.db")

    with locked(root / "volumes" / "metadata.db"):
        assert len(look(root, proc).doubts) == doubts


def test_no_birth_time_is_doubted(root, proc, born):
    born(None)
    proc.process(7, "dockerd", started=STARTED)
    proc.lock(7, root / "volumes" / "metadata.db")

    with locked(root / "volumes" / "metadata.db"):
        assert look(root, proc).doubts == (
            "the birth time of tmp, which the engine makes at its start, cannot be told",
        )


def test_a_lock_that_proc_does_not_show_leaves_the_epoch_unknown(root, proc):
    with locked(root / "volumes" / "metadata.db"):
        assert look(root, proc) == Engine(EngineState.RUNNING, None, None, (NO_HOLDER,))


def test_a_waiter_is_no_holder(root, proc):
    proc.process(7, "dockerd")
    proc.lock(7, root / "volumes" / "metadata.db")
    locks = proc.path / "locks"
    locks.write_text(locks.read_text().replace("1: FLOCK", "1: -> FLOCK"))

    with locked(root / "volumes" / "metadata.db"):
        assert look(root, proc).doubts == (NO_HOLDER,)


def test_locks_that_are_not_understood_are_doubted(root, proc):
    (proc.path / "locks").write_text("what is this\n")

    with locked(root / "volumes" / "metadata.db"):
        engine = look(root, proc)

    assert (engine.pid, engine.epoch_ns, len(engine.doubts)) == (None, None, 1)


def test_a_holder_that_is_no_dockerd_is_named(root, proc):
    proc.process(7, "copy\nit")
    proc.lock(7, root / "volumes" / "metadata.db")

    with locked(root / "volumes" / "metadata.db"):
        assert look(root, proc) == Engine(
            EngineState.RUNNING, doubts=(r"volumes/metadata.db is locked by pid 7 (copy\nit), which is no dockerd",)
        )


def test_a_renamed_dockerd_is_known_by_its_program(root, proc, born):
    born(START_NS)
    folder = proc.process(7, "engine-1", started=STARTED)
    (folder / "exe").symlink_to("/usr/bin/dockerd (deleted)")
    proc.lock(7, root / "volumes" / "metadata.db")

    with locked(root / "volumes" / "metadata.db"):
        assert look(root, proc).pid == 7


def test_another_engine_on_another_file_is_told(root, proc, born):
    born(START_NS)
    for pid, file in ((7, root / "volumes" / "metadata.db"), (9, root / "buildkit" / "snapshots.db")):
        proc.process(pid, "dockerd", started=STARTED)
        proc.lock(pid, file)
    proc.process(8, "containerd")
    proc.lock(8, root / "buildkit" / "snapshots.db")

    with locked(root / "volumes" / "metadata.db"):
        engine = look(root, proc)

    assert (engine.pid, engine.others) == (7, (9,))
    assert engine.doubts == ("several engines hold files of this root: also pid 9",)


# --- a stopped engine is not idle -----------------------------------------------------------------------------------


def test_a_process_with_a_file_of_the_root_open_is_doubted(root, proc):
    proc.process(7, "rsync", files=("/dev/null", str(root / "buildkit" / "snapshots.db")))

    assert look(root, proc).doubts == (f"pid 7 (rsync) has {root}/buildkit/snapshots.db open",)


def test_a_process_that_works_in_the_root_is_doubted(root, proc):
    proc.process(7, "tar", cwd=str(root))

    assert look(root, proc).doubts == (f"pid 7 (tar) has {root} open",)


def test_a_folder_of_a_similar_name_is_not_the_root(root, proc, tmp_path):
    (tmp_path / "docker-copy").mkdir()
    proc.process(7, "tar", cwd=str(tmp_path / "docker-copy"), top=str(tmp_path))

    assert look(root, proc) == Engine(EngineState.STOPPED)


def test_containerd_belongs_to_the_engine(root, proc):
    proc.process(7, "containerd", cwd=str(root))
    proc.process(8, "containerd-shim", cwd=str(root))

    assert look(root, proc) == Engine(EngineState.STOPPED)


def test_many_processes_are_counted_not_listed(root, proc):
    for pid in range(10, 18):
        proc.process(pid, "cp", cwd=str(root))

    doubts = look(root, proc).doubts

    assert (len(doubts), doubts[-1]) == (6, "3 more processes have files of this root open")


def test_a_process_that_may_not_be_looked_into_is_doubted(root, proc, monkeypatch):
    proc.process(7, "other")
    proc.process(8, "kthreadd", arguments=())
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "no")

    monkeypatch.setattr("gcd.root.openfiles._links", refuse)

    assert look(root, proc).doubts == (
        "whether 1 processes have files of this root open cannot be told: run gcd as root",
    )


def test_in_a_root_of_ones_own_other_users_processes_do_not_matter(root, proc, monkeypatch):
    proc.process(7, "other")
    if os.getuid() == 0:
        os.chown(root, 1234, -1)
    owner = root.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner)

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "no")

    monkeypatch.setattr("gcd.root.openfiles._links", refuse)

    assert look(root, proc) == Engine(EngineState.STOPPED)


def test_without_proc_nobody_can_be_ruled_out(root, tmp_path):
    engine = look(root, tmp_path / "missing")

    assert engine.state is EngineState.STOPPED
    assert engine.doubts == ("whether a process has files of this root open cannot be told (ENOENT)",)


# --- the real /proc -------------------------------------------------------------------------------------------------


def test_a_real_holder_is_found_by_its_lock(root):
    with run_of(HOLD, str(root / "volumes" / "metadata.db"), "dockerd") as holder:
        engine = look(root)
        with open_root(str(root)) as directory:
            assert is_locked(directory)

    assert (engine.state, engine.pid) == (EngineState.RUNNING, holder.pid)
    assert engine.epoch_ns is None or abs(engine.epoch_ns - time.time_ns()) < 300 * SECOND
    assert look(root).pid is None


def test_a_real_process_with_an_open_file_is_found(root):
    with run_of("import sys; file = open(sys.argv[1])", str(root / "buildkit" / "snapshots.db")) as reader:
        assert f"pid {reader.pid} (python" in "".join(look(root).doubts)


DEEP = """
import os, sys
os.chdir(sys.argv[1])
for _ in range(30):
    os.mkdir("d" * 200)
    os.chdir("d" * 200)
"""
"""Stands where no path leads: the kernel spells at most 4,096 bytes."""


@pytest.mark.root
def test_what_is_too_deep_to_be_told_is_not_doubted_on_another_device(root, memory):
    """On the root's own device it is; no test shows that, for it would be so for all that run beside it."""
    with run_of(DEEP, str(memory)):
        assert "have files of this root open cannot be told" not in "".join(look(root).doubts)


def test_the_shell_that_waits_for_gcd_in_the_root_is_not_foreign(root):
    program = "import sys; from gcd.root.tree import open_root; from gcd.root.engine import read_engine\n"
    program += "print(read_engine(open_root('.')).doubts)"
    script = f'cd {root} && {sys.executable} -c "$1"; true'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    out = subprocess.run(
        ["sh", "-c", script, "sh", program], check=True, capture_output=True, text=True, env=environment
    ).stdout

    assert str(root) not in out


@pytest.mark.root
def test_in_a_child_pid_namespace_the_holder_is_not_shown(root):
    program = (
        "import sys; from gcd.root.tree import open_root; from gcd.root.engine import read_engine\n"
        "engine = read_engine(open_root(sys.argv[1]))\n"
        "print(engine.state, engine.pid, engine.epoch_ns, engine.doubts[0])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with run_of(HOLD, str(root / "volumes" / "metadata.db"), "dockerd"):
        out = subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program, str(root)],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        ).stdout

    assert out == f"running None None {NO_HOLDER}\n"


@pytest.mark.root
def test_a_process_in_another_mount_namespace_is_found(root, tmp_path):
    """It sees the root under another path, through a bind mount that only it has."""
    (tmp_path / "elsewhere").mkdir()
    script = 'mount --bind "$1" "$2" && cd "$2/overlay2" && echo ready && read line'
    holder = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(root), str(tmp_path / "elsewhere")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "ready\n"
        doubts = look(root).doubts
    finally:
        holder.communicate("\n")

    assert f"pid {holder.pid} (sh) has " in "".join(doubts)


def test_statx_says_what_stat_says(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "symlink").symlink_to("file")
    status = (tmp_path / "file").stat()

    origin = origin_of(str(tmp_path / "symlink"), follow=True)

    assert (origin.device, origin.inode) == (status.st_dev, status.st_ino)
    assert origin_of(str(tmp_path / "symlink")).inode == (tmp_path / "symlink").lstat().st_ino
    assert origin_of(str(tmp_path / "missing")) is None
    assert origin.birth_ns is None or origin.birth_ns <= status.st_mtime_ns
