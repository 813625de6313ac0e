"""The walk over a whole root: what each unit takes, and that all of them together are what du says."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.offspring import offspring
from support.trees import DIRECTORY, FIFO, Link, plant, without_rights

from gcd.model.errors import CannotCheck
from gcd.model.space import Space, Tree, Unit
from gcd.root import walk
from gcd.root.tree import open_root
from gcd.root.walk import begin_walk

ROOT = {
    "engine-id": b"an id",
    "overlay2/abc/diff/usr/bin/tool": b"x" * 10_000,
    "overlay2/abc/diff/usr/lib": Link("/usr/lib"),
    "overlay2/abc/link": b"L" * 26,
    "overlay2/abc/work/work": DIRECTORY,
    "overlay2/def/diff": DIRECTORY,
    "overlay2/l/AAA": Link("../abc/diff"),
    "overlay2/l/BBB": Link("../" + "y" * 300 + "/diff"),
    "overlay2/backingFsBlockDev": FIFO,
    "image/overlay2/repositories.json": b"{}",
    "image/overlay2/imagedb/content/sha256/aa": b"config",
    "image/overlay2/imagedb/metadata/sha256/aa/parent": b"sha256:bb",
    "image/overlay2/layerdb/sha256/cc/diff": b"diff",
    "image/overlay2/layerdb/mounts/dd/mount-id": b"mount",
    "image/overlay2/layerdb/tmp": DIRECTORY,
    "image/overlay2/distribution/diffid-by-digest/sha256/ee": b"ff",
    "containers/cc/cc-json.log": b"log\n" * 3000,
    "containers/cc/local-logs/container.log": b"more",
    "containers/cc/config.v2.json": b"{}",
    "volumes/data/_data/deep/er/file": b"z" * 5000,
    "volumes/data/opts.json": b"{}",
    "volumes/metadata.db": b"m" * 40_000,
    "tmp": DIRECTORY,
}


@pytest.fixture
def root(tmp_path):
    return plant(tmp_path / "root", ROOT)


def du(root: Path) -> Space:
    figures = []
    for flag in ("--block-size=1", "--inodes"):
        done = subprocess.run(["du", "-x", flag, "-s", str(root)], check=True, capture_output=True, text=True)
        figures.append(int(done.stdout.split()[0]))
    return Space(*figures)


def walked(root: Path, **options) -> Tree:
    with open_root(str(root)) as directory, begin_walk(directory.fd, **options) as under_way:
        return under_way.result()


def total(tree: Tree) -> Space:
    spaces = [*(unit.space for unit in tree.units.values()), *tree.spanning.values()]
    return Space(sum(space.disk_bytes for space in spaces), sum(space.inodes for space in spaces))


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_all_units_together_are_what_du_says(root, processes):
    tree = walked(root, processes=processes)

    assert total(tree) == du(root)
    assert tree.unreadable == 0
    assert tree.spanning == {}


def test_the_units_of_a_root(root):
    assert sorted(walked(root).units) == sorted(
        [
            "",
            "engine-id",
            "overlay2",
            "overlay2/abc",
            "overlay2/def",
            "overlay2/backingFsBlockDev",
            "overlay2/l",
            "overlay2/l/AAA",
            "overlay2/l/BBB",
            "image",
            "image/overlay2",
            "image/overlay2/repositories.json",
            "image/overlay2/distribution",
            "image/overlay2/imagedb",
            "image/overlay2/imagedb/content",
            "image/overlay2/imagedb/content/sha256",
            "image/overlay2/imagedb/content/sha256/aa",
            "image/overlay2/imagedb/metadata",
            "image/overlay2/imagedb/metadata/sha256",
            "image/overlay2/imagedb/metadata/sha256/aa",
            "image/overlay2/layerdb",
            "image/overlay2/layerdb/sha256",
            "image/overlay2/layerdb/sha256/cc",
            "image/overlay2/layerdb/mounts",
            "image/overlay2/layerdb/mounts/dd",
            "image/overlay2/layerdb/tmp",
            "containers",
            "containers/cc",
            "containers/cc/cc-json.log",
            "containers/cc/local-logs",
            "containers/cc/config.v2.json",
            "volumes",
            "volumes/data",
            "volumes/metadata.db",
            "tmp",
        ]
    )


def test_a_unit_takes_what_du_says_of_it(root):
    units = walked(root).units

    assert units["overlay2/abc"].space == du(root / "overlay2/abc")
    assert units["containers/cc/cc-json.log"].space == du(root / "containers/cc/cc-json.log")
    assert units["overlay2/l/AAA"].space == du(root / "overlay2/l/AAA")


def test_the_payload_is_the_length_of_all_files_and_symlinks_in_diff_or_data(root):
    units = walked(root).units

    assert units["overlay2/abc"].payload_bytes == 10_000 + len("/usr/lib")
    assert units["overlay2/def"].payload_bytes == 0
    assert units["volumes/data"].payload_bytes == 5000
    assert units["containers/cc/local-logs"].payload_bytes == 0


def test_an_inode_with_names_in_several_units_is_none_of_theirs(root):
    os.link(root / "overlay2/abc/diff/usr/bin/tool", root / "overlay2/abc/diff/usr/bin/again")
    os.link(root / "volumes/data/_data/deep/er/file", root / "overlay2/def/diff/file")
    os.link(root / "volumes/data/_data/deep/er/file", root / "overlay2/def/diff/again")

    for processes in (1, 2, 4):
        tree = walked(root, processes=processes)

        assert tree.spanning == {
            ("overlay2/def", "volumes/data"): Space((root / "overlay2/def/diff/file").stat().st_blocks * 512, 1)
        }
        assert total(tree) == du(root)
        assert tree.units["overlay2/abc"].space == du(root / "overlay2/abc")
        assert tree.units["overlay2/abc"].payload_bytes == 10_000 + len("/usr/lib")
        assert tree.units["overlay2/def"].payload_bytes == 5000
        assert tree.units["volumes/data"].payload_bytes == 5000


def test_what_several_processes_saw_of_an_inode_comes_together():
    first = ({"a": (8, 1, 5), "b": (16, 2, 0)}, {7: (24, ["a"]), 8: (32, ["b"])}, 1)
    second = ({"c": (0, 1, 0)}, {7: (24, ["c"]), 9: (40, ["c"])}, 2)

    assert walk._merged([first, second]) == Tree(
        {
            "a": Unit(Space(8 * 512, 1), 5),
            "b": Unit(Space(48 * 512, 3)),
            "c": Unit(Space(40 * 512, 2)),
        },
        {("a", "c"): Space(24 * 512, 1)},
        3,
    )


def test_another_driver_has_its_own_units(tmp_path):
    root = plant(tmp_path / "root", {"fuse-overlayfs/abc/diff/x": b"123", "overlay2/def/diff/x": b"1"})

    units = walked(root, driver="fuse-overlayfs").units

    assert sorted(units) == ["", "fuse-overlayfs", "fuse-overlayfs/abc", "overlay2"]
    assert units["fuse-overlayfs/abc"].payload_bytes == 3


def test_symlinks_in_the_place_of_directories_are_not_followed(tmp_path):
    plant(tmp_path / "elsewhere", {"overlay2/layerdb/sha256/x": b"x" * 9000})
    root = plant(
        tmp_path / "root",
        {"image": Link(str(tmp_path / "elsewhere")), "overlay2/abc": Link("/usr"), "containers/cc": Link("/usr")},
    )
    tree = walked(root)

    assert total(tree) == du(root)
    assert tree.unreadable == 0
    assert sorted(tree.units) == ["", "containers", "containers/cc", "image", "overlay2", "overlay2/abc"]


def test_names_may_be_any_bytes(tmp_path):
    root = plant(tmp_path / "root", {"overlay2/l/\udcff\x1b[2J": Link("x"), "volumes/\udcfe\n/_data/\udcff": b"12"})
    tree = walked(root)

    assert total(tree) == du(root)
    assert tree.units["volumes/\udcfe\n"].payload_bytes == 2


def test_depth_costs_no_recursion_and_few_descriptors(memory):
    root = plant(memory / "root", {"volumes/v/_data": DIRECTORY})
    here = os.open(root / "volumes/v/_data", os.O_RDONLY)
    for _ in range(1500):
        for name in ("d", "e"):
            os.mkdir(name, dir_fd=here)
        with open("file", "wb", opener=lambda name, flags, at=here: os.open(name, flags, dir_fd=at)) as file:
            file.write(b"1")
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        tree, said = walked(root), du(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert total(tree) == said
    assert tree.units["volumes/v"].space.inodes == 2 + 3 * 1500
    assert tree.units["volumes/v"].payload_bytes == 1500


def test_what_cannot_be_read_is_counted(root):
    for closed in ("overlay2/abc/diff/usr", "containers", "image/overlay2/imagedb"):
        (root / closed).chmod(0)
    with open_root(str(root)) as directory, without_rights(), begin_walk(directory.fd) as under_way:
        tree = under_way.result()

    assert tree.unreadable == 3
    assert tree.units["containers"].space.inodes == 1
    assert tree.units["overlay2/abc"].space.inodes == 6


@pytest.mark.root
def test_another_device_is_not_entered(root):
    points = ("overlay2/def/merged", "volumes/other", "containers", "image/overlay2/imagedb/content/sha256")
    for point in points:
        (root / point).mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", str(root / point)], check=True)
        plant(root / point, {"file": b"x" * 10_000, "dd/file": b"x" * 10_000})
    try:
        tree, said = walked(root), du(root)
    finally:
        for point in points:
            subprocess.run(["umount", str(root / point)], check=True)

    assert total(tree) == said
    assert tree.units["overlay2/def"].space.inodes == 2
    assert {unit for unit in tree.units if unit.startswith("containers") and tree.units[unit].space != Space()} == set()


@pytest.mark.root
def test_a_bind_mount_from_the_same_device_counts_as_du_counts_it(root):
    (root / "volumes/bound/_data").mkdir(parents=True)
    bound = str(root / "volumes/bound/_data")
    subprocess.run(["mount", "--bind", str(root / "overlay2/abc/diff"), bound], check=True)
    try:
        trees, said = [walked(root, processes=processes) for processes in (1, 2)], du(root)
    finally:
        subprocess.run(["umount", bound], check=True)

    assert [total(tree) for tree in trees] == [said, said]


def test_progress_ends_where_all_is_done(root):
    told: list[tuple[int, int]] = []
    with open_root(str(root)) as directory, begin_walk(directory.fd) as under_way:
        under_way.result(lambda done, whole: told.append((done, whole)))

    assert told[-1][0] == told[-1][1] > 0
    assert told == sorted(told)


def test_a_process_that_dies_ends_the_run(root, monkeypatch):
    caller, real = os.getpid(), walk._Worker.result
    monkeypatch.setattr(walk._Worker, "result", lambda self: real(self) if os.getpid() == caller else os._exit(3))

    with pytest.raises(CannotCheck, match="died"):
        walked(root, processes=2)


def test_the_caller_does_what_the_others_have_not_begun(root, monkeypatch):
    caller, real = os.getpid(), walk._Worker.do
    # The others stay at their first portion until the caller has done all but those, and is seen to wait for them.
    done, go = os.pipe()

    def held_up(self, task):
        if os.getpid() != caller:
            os.read(done, 1)
        real(self, task)

    monkeypatch.setattr(walk._Worker, "do", held_up)
    with open_root(str(root)) as directory, begin_walk(directory.fd, processes=3) as under_way:
        portions = under_way._total
        tree = under_way.result(lambda done, _: os.write(go, b"g" * portions) if done == portions else None)
    os.close(done)
    os.close(go)

    assert total(tree) == du(root)


def test_one_process_is_the_caller(root):
    with open_root(str(root)) as directory, begin_walk(directory.fd, processes=1) as under_way:
        assert under_way._processes == {}
        assert total(under_way.result()) == du(root)


def test_more_portions_than_a_page_holds_are_never_made(tmp_path):
    root = plant(tmp_path / "root", {f"overlay2/{number}/diff": DIRECTORY for number in range(2500)})
    with open_root(str(root)) as directory, begin_walk(directory.fd, processes=2) as under_way:
        portions = under_way._total
        tree = under_way.result()

    assert portions == 834  # of three tasks each: 2500 dirs, overlay2 and the root
    assert total(tree) == du(root)


def test_whoever_leaves_early_leaves_no_process(root, monkeypatch):
    monkeypatch.setattr(walk._Worker, "do", lambda *_: time.sleep(60))
    started = time.monotonic()
    with open_root(str(root)) as directory, begin_walk(directory.fd, processes=3) as under_way:
        pids = list(under_way._processes)

    assert len(pids) == 2
    assert time.monotonic() - started < 30
    for pid in pids:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def test_a_signal_while_processes_are_made_comes_later_and_leaves_none_behind(root, monkeypatch):
    fork = os.fork

    def interrupted():
        pid = fork()
        signal.raise_signal(signal.SIGINT)  # in both
        return pid

    before = set(Path("/proc/self/fd").iterdir()), offspring()
    monkeypatch.setattr(os, "fork", interrupted)
    with pytest.raises(KeyboardInterrupt), open_root(str(root)) as directory:
        begin_walk(directory.fd, processes=3)
    assert (set(Path("/proc/self/fd").iterdir()), offspring()) == before


@pytest.mark.parametrize("call", ["pipe", "fork"])
def test_where_no_process_can_be_made_the_caller_walks_alone(root, monkeypatch, call):
    with open_root(str(root)) as directory:
        with begin_walk(directory.fd, processes=1) as walk:
            alone = walk.result()
        before, real, calls = set(Path("/proc/self/fd").iterdir()), getattr(os, call), []

        def no_room():
            calls.append(None)
            if call == "pipe" and len(calls) == 1:
                return real()  # that of the portions
            raise OSError(errno.EMFILE, "no room")

        monkeypatch.setattr(os, call, no_room)
        with begin_walk(directory.fd, processes=3) as walk:
            assert walk.result() == alone
        assert set(Path("/proc/self/fd").iterdir()) == before


def test_the_processes_leave_no_descriptor_open(root):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for processes in (1, 3):
        walked(root, processes=processes)
    with open_root(str(root)) as directory, begin_walk(directory.fd, processes=3) as under_way:
        under_way.close()

    assert len(list(Path("/proc/self/fd").iterdir())) == before
