from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from support.fakeproc import FakeProc

from gcd.model.facts import KernelMount
from gcd.model.inventory import Coverage, SourceState
from gcd.root.mounts import read_mounts
from gcd.root.processes import Process, read_link

if TYPE_CHECKING:
    from pathlib import Path

TOP, INIT, RW, BUILD = "a" * 64, "b" * 64 + "-init", "b" * 64, "k" * 25
LINK_1, LINK_2 = "A" * 26, "B" * 26
ROOT = "/var/lib/docker"
MERGED = (
    f"50 29 0:44 / {ROOT}/overlay2/{RW}/merged rw,relatime shared:1 - overlay overlay rw,"
    f"lowerdir={ROOT}/overlay2/l/{LINK_1}:{ROOT}/overlay2/l/{LINK_2},"
    f"upperdir={ROOT}/overlay2/{RW}/diff,workdir={ROOT}/overlay2/{RW}/work\n"
)
OTHER = "22 27 0:21 / /proc rw,relatime - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n"


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


def mount(**changes: object) -> KernelMount:
    fields = {
        "mount_point": f"{ROOT}/overlay2/{RW}/merged",
        "fstype": "overlay",
        "namespace": "mnt:[1]",
        "pids": (10,),
        "holder": "dockerd",
        "dirs": frozenset({RW}),
        "links": frozenset({LINK_1, LINK_2}),
        "merged_of": RW,
    }
    return KernelMount(**{**fields, **changes})


def test_a_container_mount_names_its_dirs_and_links(proc):
    proc.process(10, "dockerd", mountinfo=OTHER + MERGED)

    assert read_mounts(str(proc)) == ((mount(),), SourceState(Coverage.OK))


def test_every_namespace_is_asked_once(proc):
    proc.process(10, "dockerd", mountinfo=OTHER + MERGED)
    proc.process(11, "bash", mountinfo=OTHER + MERGED)
    inside = MERGED.replace(f"{ROOT}/overlay2/{RW}/merged", "/")
    for pid in range(20, 27):
        proc.process(pid, "nginx", namespace="mnt:[2]", mountinfo=inside)

    found, _ = read_mounts(str(proc))

    assert found == (
        mount(pids=(10, 11)),
        mount(mount_point="/", namespace="mnt:[2]", pids=(20, 21, 22, 23, 24), holder="nginx", merged_of=None),
    )


def test_a_process_with_another_root_directory_is_asked_too(proc):
    """It is the lowest pid of its namespace, and sees nothing of the mount."""
    proc.process(9, "chrooted", top="/srv/jail", mountinfo="")
    proc.process(10, "dockerd", mountinfo=MERGED)

    assert read_mounts(str(proc))[0] == (mount(),)


def test_the_engine_is_the_holder_and_kernel_threads_are_none(proc):
    proc.process(2, "kthreadd", arguments=(), mountinfo=MERGED)
    for pid in range(3, 9):
        proc.process(pid, "bash", mountinfo=MERGED)
    proc.process(10, "dockerd", mountinfo=MERGED)
    proc.process(20, "kthreadd", arguments=(), namespace="mnt:[2]", mountinfo=MERGED)

    assert read_mounts(str(proc))[0] == (
        mount(pids=(10, 3, 4, 5, 6)),
        mount(pids=(20,), holder="kthreadd", namespace="mnt:[2]"),
    )


def test_a_namespace_that_may_not_be_asked_for_but_looks_like_another_counts_once(proc, monkeypatch):
    real = Process.link

    def refuse(self, name):
        if self.pid == 9:
            raise PermissionError(13, "no")
        return real(self, name)

    monkeypatch.setattr(Process, "link", refuse)
    proc.process(9, "x", mountinfo=OTHER + MERGED)
    proc.process(10, "dockerd", mountinfo=MERGED)

    assert read_mounts(str(proc))[0] == (mount(),)


@pytest.mark.parametrize("option", ["upperdir={}/diff,workdir=/x", "upperdir=/x,workdir={}/work"])
def test_relative_forms_are_understood(proc, option):
    line = f"50 29 0:44 / / rw - overlay overlay rw,lowerdir=l/{LINK_1},{option.format(RW)}\n"
    proc.process(10, "dockerd", mountinfo=line)

    assert read_mounts(str(proc))[0] == (mount(mount_point="/", links=frozenset({LINK_1}), merged_of=None),)


def test_a_read_only_view_names_the_dir_that_is_its_first_lower(proc):
    line = (
        f"50 29 0:44 / {ROOT}/overlay2/{BUILD}/merged ro - overlay overlay ro,"
        f"lowerdir={ROOT}/overlay2/{BUILD}/diff:{ROOT}/overlay2/l/{LINK_1}\n"
    )
    proc.process(10, "dockerd", mountinfo=line)

    (found,) = read_mounts(str(proc))[0]

    assert (found.dirs, found.links, found.merged_of) == ({BUILD}, {LINK_1}, BUILD)


def test_a_bind_mount_names_the_dir_that_it_comes_from(proc):
    proc.process(10, "bash", mountinfo=f"50 29 254:0 {ROOT}/overlay2/{TOP}/diff/etc /mnt/etc rw - ext4 /dev/vda rw\n")

    assert read_mounts(str(proc))[0] == (
        mount(
            mount_point="/mnt/etc",
            fstype="ext4",
            holder="bash",
            dirs=frozenset({TOP}),
            links=frozenset(),
            merged_of=None,
        ),
    )


@pytest.mark.parametrize("path", [f"/{RW}/diff", f"/{RW}/diff/etc"])
def test_overlay2_may_be_a_file_system_of_its_own(proc, path):
    proc.process(10, "bash", mountinfo=f"50 29 254:0 {path} /mnt rw - ext4 /dev/vdb rw\n")
    assert [found.dirs for found in read_mounts(str(proc))[0]] == [{RW}]


def test_a_thread_of_an_engine_that_unpacks_a_layer_is_asked_too(proc):
    unpacking = f"110 68 254:0 {ROOT}/overlay2/{TOP}/diff / rw - ext4 /dev/vda rw\n"
    engine = proc.process(10, "dockerd", mountinfo=OTHER + MERGED)
    threads = FakeProc(engine / "task")
    threads.process(10, "dockerd", mountinfo=OTHER + MERGED)
    threads.process(11, "dockerd", mountinfo=OTHER + MERGED)
    threads.process(12, "dockerd", namespace="mnt:[2]", mountinfo=unpacking)

    of_engine, of_thread = read_mounts(str(proc))[0]

    assert of_engine == mount()
    assert (of_thread.dirs, of_thread.pids, of_thread.holder) == ({TOP}, (10,), "dockerd")


def test_a_mount_inside_a_container_root_names_its_dir_but_is_not_its_merged(proc):
    proc.process(10, "x", mountinfo=f"50 29 0:5 / {ROOT}/overlay2/{RW}/merged/proc rw - proc proc rw\n")

    (found,) = read_mounts(str(proc))[0]

    assert (found.dirs, found.merged_of) == ({RW}, None)


def test_names_that_are_no_ids_are_no_mounts_of_a_root(proc):
    lines = (
        "50 29 0:44 / /run/x rw - overlay overlay rw,"
        "lowerdir=/snapshots/3/fs,upperdir=/snapshots/4/fs,workdir=/snapshots/4/work\n"
        "51 29 254:0 /home/overlay2/notes /mnt rw - ext4 /dev/vda rw\n"
    )
    proc.process(10, "x", mountinfo=lines)

    assert read_mounts(str(proc)) == ((), SourceState(Coverage.OK))


def test_processes_that_end_meanwhile_are_no_trouble(proc):
    gone = proc.process(8, "gone", mountinfo=MERGED)
    for name in ("mountinfo", "ns/mnt", "root"):
        (gone / name).unlink()
    half_gone = proc.process(9, "half", namespace="mnt:[3]")
    (half_gone / "mountinfo").unlink()
    proc.process(10, "dockerd", mountinfo=MERGED)

    assert read_mounts(str(proc)) == ((mount(),), SourceState(Coverage.OK))


def test_where_namespaces_may_not_be_asked_for_every_table_is_read(proc, monkeypatch):
    def refuse(_self, _name):
        raise PermissionError(13, "no")

    monkeypatch.setattr(Process, "link", refuse)
    proc.process(9, "x", mountinfo=OTHER)
    proc.process(10, "dockerd", mountinfo=OTHER + MERGED)
    proc.process(11, "y", mountinfo=MERGED)

    assert read_mounts(str(proc)) == ((mount(namespace="unknown", pids=(10, 11)),), SourceState(Coverage.OK))


def test_a_table_that_is_not_understood_makes_the_source_incomplete(proc):
    proc.process(10, "dockerd", mountinfo=MERGED + "overlay what\n")

    found, state = read_mounts(str(proc))

    assert found == (mount(),)
    assert state == SourceState(Coverage.PARTIAL, "1 lines of mountinfo are not understood")


def test_no_proc_means_that_nothing_is_known(tmp_path):
    missing = tmp_path / "missing"

    assert read_mounts(str(missing)) == ((), SourceState(Coverage.UNREADABLE, f"{missing} cannot be listed (ENOENT)"))


@pytest.mark.root
def test_a_mount_in_another_namespace_is_seen(tmp_path):
    root = tmp_path / "overlay2"
    for name in (f"{RW}/diff", f"{RW}/work", f"{RW}/merged", f"{TOP}/diff", "l"):
        (root / name).mkdir(parents=True)
    (root / "l" / LINK_1).symlink_to(f"../{TOP}/diff")
    options = f"lowerdir={root}/l/{LINK_1},upperdir={root}/{RW}/diff,workdir={root}/{RW}/work"
    script = 'mount -t overlay overlay -o "$1" "$2" && echo ready && read line'
    holder = subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", options, str(root / RW / "merged")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "ready\n"
        found = [m for m in read_mounts()[0] if RW in m.dirs and m.mount_point.startswith(str(tmp_path))]
        namespace = read_link(f"/proc/{holder.pid}/ns/mnt")
    finally:
        holder.communicate("\n")

    assert [(m.namespace, m.links, m.merged_of) for m in found] == [(namespace, {LINK_1}, RW)]
    assert namespace != read_link("/proc/self/ns/mnt")
