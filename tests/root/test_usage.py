from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.inpython import read_in_python

from gcd.root import descent, usage
from gcd.root.tree import open_root
from gcd.root.usage import Usage, measure

if TYPE_CHECKING:
    from pathlib import Path


def du(*paths: Path) -> int:
    """What du says of all `paths` together: one line each, every inode once."""
    out = subprocess.run(["du", "-x", "-B1", "-s", "--", *map(str, paths)], check=True, capture_output=True, text=True)
    return sum(int(line.split("\t")[0]) for line in out.stdout.splitlines())


def inodes(*paths: Path) -> int:
    out = subprocess.run(
        ["du", "-x", "--inodes", "-s", "--", *map(str, paths)], check=True, capture_output=True, text=True
    )
    return sum(int(line.split("\t")[0]) for line in out.stdout.splitlines())


def usage_of(root: Path, *paths: str) -> Usage:
    with open_root(str(root)) as directory:
        return measure(directory, {"it": paths})["it"]


def fill(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * 10_000)
    (folder / "empty").touch()
    (folder / "symlink").symlink_to("/usr")
    (folder / "long-symlink").symlink_to("/" + "y" * 200)
    os.mkfifo(folder / "fifo")
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_bytes(b"x" * 123_456)


def test_a_tree_of_everything_takes_what_du_says(tmp_path):
    fill(tmp_path / "tree")

    assert usage_of(tmp_path, "tree") == Usage(du(tmp_path / "tree"), 8)


def test_a_hard_link_counts_once_in_a_group(tmp_path):
    fill(tmp_path / "a")
    fill(tmp_path / "b")
    os.link(tmp_path / "a" / "file", tmp_path / "a" / "sub" / "again")
    os.link(tmp_path / "a" / "file", tmp_path / "b" / "once-more")

    assert usage_of(tmp_path, "a", "b") == Usage(du(tmp_path / "a", tmp_path / "b"), 16)


def test_groups_are_measured_apart(tmp_path):
    fill(tmp_path / "a")
    (tmp_path / "b").mkdir()
    os.link(tmp_path / "a" / "file", tmp_path / "b" / "shared")

    with open_root(str(tmp_path)) as root:
        measured = measure(root, {1: ["a"], 2: ["b"], 3: []})

    assert measured == {1: Usage(du(tmp_path / "a"), 8), 2: Usage(du(tmp_path / "b"), 2), 3: Usage(0, 0)}


def test_a_sparse_file_counts_for_what_it_holds(tmp_path):
    sparse = tmp_path / "tree" / "sparse"
    sparse.parent.mkdir()
    with sparse.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"x" * 4096)

    measured = usage_of(tmp_path, "tree")

    assert measured.disk_bytes == du(tmp_path / "tree")
    assert measured.disk_bytes < 1 << 20


def test_paths_within_one_another_count_once(tmp_path):
    fill(tmp_path / "tree")

    assert usage_of(tmp_path, "tree/sub", "tree", "tree/sub/file") == usage_of(tmp_path, "tree")


def test_a_file_or_a_symlink_counts_itself(tmp_path):
    fill(tmp_path / "tree")

    assert usage_of(tmp_path, "tree/file") == Usage(du(tmp_path / "tree" / "file"), 1)
    assert usage_of(tmp_path, "tree/symlink").inodes == 1


@pytest.mark.parametrize("pulse", [None, lambda: None], ids=["alone", "with a pulse"])
def test_what_a_signal_raises_ends_it_after_the_trees_in_hand(tmp_path, monkeypatch, pulse):
    begun = []

    def slow(_root, paths, _descents):
        begun.append(paths)
        time.sleep(0.1)
        return Usage(0, 0)

    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    monkeypatch.setattr(usage, "_usage_of", slow)
    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # a callback of Hypothesis, which every collection calls, would swallow what is raised in it
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        with open_root(str(tmp_path)) as directory, pytest.raises(KeyboardInterrupt):
            measure(directory, dict.fromkeys(range(1000), ()), workers=2, pulse=pulse)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()
        signal.signal(signal.SIGALRM, before)
    assert len(begun) < 500


def test_a_signal_while_threads_are_started_leaves_none_behind(tmp_path, monkeypatch):
    real = threading.Thread.start

    def start_and_be_signalled(self):
        real(self)
        signal.raise_signal(signal.SIGALRM)

    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    monkeypatch.setattr(usage, "_usage_of", lambda *_: time.sleep(0.2))
    monkeypatch.setattr(threading.Thread, "start", start_and_be_signalled)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with open_root(str(tmp_path)) as directory, pytest.raises(KeyboardInterrupt):
            measure(directory, {1: (), 2: ()})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("gcd-usage")] == []


def test_a_path_through_a_symlink_is_not_followed(tmp_path):
    fill(tmp_path / "tree")
    (tmp_path / "way").symlink_to("tree")

    assert usage_of(tmp_path, "way/sub") == Usage(0, 0, unreadable=1)


def test_what_is_not_there_counts_nothing(tmp_path):
    assert usage_of(tmp_path, "gone", "gone/too") == Usage(0, 0)


def test_depth_costs_no_descriptors_and_no_recursion(memory):
    depth = 3000
    top = os.open(memory, os.O_RDONLY)
    os.mkdir("tree", dir_fd=top)
    here = os.open("tree", os.O_RDONLY, dir_fd=top)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        os.mkdir("e", dir_fd=here)
        there = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = there
    os.close(here)
    os.close(top)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
    try:
        measured = usage_of(memory, "tree")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert (measured.inodes, measured.unreadable) == (2 * depth + 1, 0)


def test_a_directory_moved_away_during_the_walk_is_told(tmp_path, monkeypatch):
    (tmp_path / "tree" / "a" / "b" / "c").mkdir(parents=True)
    real = os.open

    def move_then_open(path, flags, mode=0o777, *, dir_fd=None):
        if path == "..":
            (tmp_path / "tree" / "a" / "b").rename(tmp_path / "elsewhere")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", move_then_open)
    monkeypatch.setattr(descent, "LEVELS", 0)
    monkeypatch.setattr(descent, "OPEN", 2)

    assert usage_of(tmp_path, "tree").unreadable == 1


def test_a_name_that_vanishes_during_the_walk_counts_nothing(tmp_path, monkeypatch):
    (tmp_path / "tree" / "gone").mkdir(parents=True)
    (tmp_path / "tree" / "stays").mkdir()
    real = os.open

    def remove_then_open(path, flags, mode=0o777, *, dir_fd=None):
        if path == "gone":
            (tmp_path / "tree" / "gone").rmdir()
        return real(path, flags, mode, dir_fd=dir_fd)

    read_in_python(monkeypatch)
    monkeypatch.setattr(os, "open", remove_then_open)

    assert usage_of(tmp_path, "tree").unreadable == 0


def test_what_cannot_be_read_is_counted(tmp_path, monkeypatch):
    (tmp_path / "tree" / "closed").mkdir(parents=True)
    real = os.open

    def refuse(path, flags, mode=0o777, *, dir_fd=None):
        if path == "closed":
            raise PermissionError(errno.EACCES, "no")
        return real(path, flags, mode, dir_fd=dir_fd)

    read_in_python(monkeypatch)
    monkeypatch.setattr(os, "open", refuse)

    assert usage_of(tmp_path, "tree") == Usage(du(tmp_path / "tree"), 2, unreadable=1)


@pytest.mark.root
def test_a_mounted_file_system_is_not_entered(tmp_path):
    fill(tmp_path / "tree")
    (tmp_path / "tree" / "mnt").mkdir()
    before = du(tmp_path / "tree")
    subprocess.run(["mount", "-t", "tmpfs", "none", str(tmp_path / "tree" / "mnt")], check=True)
    try:
        (tmp_path / "tree" / "mnt" / "big").write_bytes(b"x" * 1_000_000)
        measured = usage_of(tmp_path, "tree")
        expected = du(tmp_path / "tree")
        mountpoint = usage_of(tmp_path, "tree/mnt")
    finally:
        subprocess.run(["umount", str(tmp_path / "tree" / "mnt")], check=True)

    assert measured == Usage(expected, 8)
    assert expected < before
    assert mountpoint == Usage(0, 0)
