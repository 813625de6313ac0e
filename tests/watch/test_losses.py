"""
What must never be silent: an overflow, a root that is removed, replaced, moved, covered or unmounted, and no watch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.watching import heard, make_folders
from watchdog.observers.inotify_c import InotifyFD

from gcd.model.changed import EVERYTHING, NOTHING, Changed
from gcd.watch import Watcher

SETTLE = 0.03
SOON, NEVER = 0.1, 3600.0
C1 = Changed(containers=frozenset({"c1"}))


@pytest.fixture
def root(tmp_path):
    return make_folders(tmp_path / "up" / "root")


def watch(root, *, review_seconds=NEVER, **settings):
    """By default without what is only seen by looking again: the kernel tells of it."""
    return Watcher(str(root), settle_seconds=SETTLE, review_seconds=review_seconds, **settings)


def state(watcher):
    return watcher.is_watching, watcher.overflows


def test_an_overflow_of_the_kernels_queue(quick):
    """The clock stands where the reader hears, so that the kernel's queue fills."""
    may_hear = threading.Event()
    may_hear.set()

    def clock():
        may_hear.wait()
        return time.monotonic()

    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with watch(quick, clock=clock) as watcher:
        may_hear.clear()
        link = quick / "overlay2" / "l" / "L"
        for _ in range(queue):
            link.symlink_to("x")
            link.unlink()
        may_hear.set()
        told = heard(watcher, EVERYTHING)
        while watcher.take(0.1):
            pass

        assert (told, state(watcher)) == (EVERYTHING, (True, 1))
        assert queue <= watcher.events < 2 * queue
        (quick / "containers" / "c1").mkdir()
        assert heard(watcher, C1) == C1


def test_a_removed_root_that_returns(root):
    with watch(root, review_seconds=SOON) as watcher:
        shutil.rmtree(root)
        told = [heard(watcher, EVERYTHING), *state(watcher)]
        while watcher.take(0.1):
            pass
        make_folders(root)
        told += [heard(watcher, EVERYTHING), watcher.is_watching]
        while watcher.take(0.1):
            pass
        (root / "containers" / "c1").mkdir()

        assert told[:2] + told[3:] == [EVERYTHING, False, EVERYTHING, True]
        assert heard(watcher, C1) == C1


@pytest.mark.parametrize("name", ["root", "root/containers"])
def test_its_end_is_told_by_the_kernel(root, name):
    with watch(root) as watcher:
        shutil.rmtree(root.parent / name)

        assert watcher.take(60) == EVERYTHING


def test_a_move_is_told_by_the_kernel(root):
    with watch(root) as watcher:
        root.rename(root.parent / "aside")

        assert watcher.take(60) == EVERYTHING
        assert state(watcher) == (False, 1)


def test_one_long_wait_is_long_enough(root):
    with watch(root, review_seconds=SOON) as watcher:
        root.parent.rename(root.parent.parent / "aside")
        began = time.monotonic()

        assert watcher.take(60) == EVERYTHING
        assert time.monotonic() - began < 30


def test_a_root_replaced_while_nobody_takes(root):
    with watch(root) as watcher:
        shutil.rmtree(root)
        make_folders(root)
        told = [heard(watcher, EVERYTHING), watcher.is_watching]
        while watcher.take(0.1):
            pass
        (root / "containers" / "c1").mkdir()

        assert told == [EVERYTHING, True]
        assert heard(watcher, C1) == C1


@pytest.mark.parametrize("moved", ["up/root", "up"])
def test_a_root_that_is_moved_and_another_in_its_place(root, moved):
    top = root.parent.parent
    with watch(root, review_seconds=SOON) as watcher:
        (top / moved).rename(top / "aside")
        told = [heard(watcher, EVERYTHING), *state(watcher)]
        old = top / "aside" / "containers" if moved == "up/root" else top / "aside" / "root" / "containers"
        (old / "old").mkdir()
        (root / "containers").mkdir(parents=True)
        told += [heard(watcher, EVERYTHING), *state(watcher)]
        (old / "older").mkdir()
        (root / "containers" / "c1").mkdir()

        assert told == [EVERYTHING, False, 1, EVERYTHING, True, 2]
        assert heard(watcher, C1) == C1
        assert watcher.events == 1


def test_a_root_that_comes_later(tmp_path):
    with watch(tmp_path / "root", review_seconds=SOON) as watcher:
        told = [state(watcher), watcher.take(0.3)]
        make_folders(tmp_path / "root")

        assert told == [(False, 0), NOTHING]
        assert heard(watcher, EVERYTHING) == EVERYTHING
        assert state(watcher) == (True, 1)


def test_a_file_in_its_place(tmp_path):
    (tmp_path / "root").write_text("")
    with watch(tmp_path / "root") as watcher:
        assert [watcher.take(0.2), *state(watcher)] == [NOTHING, False, 0]


def test_a_place_that_goes_and_returns(root):
    with watch(root) as watcher:
        shutil.rmtree(root / "buildkit")
        told = [heard(watcher, EVERYTHING), *state(watcher)]
        (root / "buildkit").mkdir()
        (root / "buildkit" / "snapshots.db").write_text("")

        assert told == [EVERYTHING, True, 1]
        assert heard(watcher, Changed(has_build_cache=True)) == Changed(has_build_cache=True)
        assert state(watcher) == (True, 1)


def test_a_place_replaced_by_another(root):
    with watch(root) as watcher:
        (root / "containers").rename(root.parent / "old")
        (root / "containers").mkdir()
        told = [heard(watcher, EVERYTHING), *state(watcher)]
        (root.parent / "old" / "x").mkdir()
        (root / "containers" / "c1").mkdir()

        assert told == [EVERYTHING, True, 1]
        assert heard(watcher, C1) == C1


def test_what_ends_while_it_is_open_elsewhere(root):
    """The kernel tells of the end of a directory only when nobody has it open any more."""
    fd = os.open(root / "containers", os.O_RDONLY)
    try:
        with watch(root) as watcher:
            (root / "containers").rmdir()

            assert heard(watcher, EVERYTHING) == EVERYTHING
            assert state(watcher) == (True, 1)
    finally:
        os.close(fd)


@pytest.fixture
def mounted():
    """Mounts a memory file system; what is still mounted in the end is let go."""
    points = []

    def mount(point):
        subprocess.run(["mount", "-t", "tmpfs", "gcd-test", str(point)], check=True)
        points.append(point)

    yield mount
    for point in points:
        subprocess.run(["umount", str(point)], check=False, capture_output=True)


@pytest.mark.root
def test_a_root_that_is_unmounted_and_mounted_again(tmp_path, mounted):
    root = tmp_path / "root"
    root.mkdir()
    mounted(root)
    make_folders(root)
    with watch(root, review_seconds=SOON) as watcher:
        subprocess.run(["umount", str(root)], check=True)  # no watch holds it busy
        told = [heard(watcher, EVERYTHING), watcher.overflows]
        while watcher.take(0.1):
            pass
        mounted(root)
        make_folders(root)
        told += [heard(watcher, EVERYTHING), watcher.is_watching]
        while watcher.take(0.1):
            pass
        (root / "containers" / "c1").mkdir()

        assert told == [EVERYTHING, 1, EVERYTHING, True]
        assert heard(watcher, C1) == C1


@pytest.mark.root
@pytest.mark.parametrize("covered", ["", "overlay2"])
def test_a_mount_over_what_is_watched(root, mounted, covered):
    with watch(root, review_seconds=SOON) as watcher:
        mounted(root / covered)
        told = [heard(watcher, EVERYTHING), *state(watcher)]
        (root / "overlay2" / "d1").mkdir(parents=True)

        assert told == [EVERYTHING, True, 1]
        assert heard(watcher, Changed(layer_dirs=frozenset({"d1"}))) == Changed(layer_dirs=frozenset({"d1"}))


LIMITED = """
import sys
from pathlib import Path
from support.watching import heard
from gcd.model.changed import EVERYTHING, NOTHING, Changed
from gcd.watch import Watcher

root, limit, low, high = Path(sys.argv[1]), Path("/proc/sys/user") / sys.argv[2], *sys.argv[3:]
"""
HEARS = """
    limit.write_text(high)
    is_everything = heard(watcher, EVERYTHING) == EVERYTHING
    (root / "containers" / "c1").mkdir()
    c1 = Changed(containers=frozenset({"c1"}))
    print(is_everything, heard(watcher, c1) == c1, watcher.is_watching, watcher.overflows)
"""
FROM_THE_BEGINNING = """
limit.write_text(low)
with Watcher(str(root), settle_seconds=0.03, review_seconds=0.1) as watcher:
    print(watcher.take(0.3) == NOTHING, watcher.is_watching, watcher.overflows)
"""
LATER = """
with Watcher(str(root), settle_seconds=0.03, review_seconds=0.1) as watcher:
    limit.write_text(low)
    (root / "containers").mkdir()
    print(heard(watcher, EVERYTHING) == EVERYTHING, watcher.is_watching, watcher.overflows)
"""


def limited(script, root, limit, low):
    """What `script` prints in a user namespace of its own, which has limits of its own."""
    tests = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-W", "error", "-c", script, root, limit, low, "99"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tests), str(tests.parent)))},
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.root
@pytest.mark.parametrize(
    ("limit", "low"),
    [("max_inotify_instances", "0"), ("max_inotify_watches", "0"), ("max_inotify_watches", "7")],
)
def test_exhausted_limits_of_inotify(root, limit, low):
    told = limited(LIMITED + FROM_THE_BEGINNING + HEARS, root, limit, low)

    assert told == ["True False 0", "True True True 1"]


@pytest.mark.root
@pytest.mark.parametrize("closed", [".", "containers", "image/overlay2"])
def test_no_rights(root, closed):
    """Who has all rights in a user namespace has none to what belongs to users outside."""
    os.chown(root / closed, 4711, 4711)
    (root / closed).chmod(0o700)

    told = limited(LIMITED + FROM_THE_BEGINNING, root, "max_inotify_watches", "99")

    assert told == ["True False 0"]


@pytest.mark.root
def test_a_limit_that_a_new_place_meets(root):
    (root / "containers").rmdir()

    told = limited(LIMITED + LATER + HEARS, root, "max_inotify_watches", "15")

    assert told == ["True False 1", "True True True 2"]


def test_no_thread_to_hear_with(root, monkeypatch):
    def refuse(_reader):
        refused.append(len(list(Path("/proc/self/fd").iterdir())))
        raise RuntimeError("can't start new thread")

    refused = []
    monkeypatch.setattr(InotifyFD, "start", refuse)
    with watch(root, review_seconds=SOON) as watcher:
        assert watcher.take(3 * SOON) == NOTHING
        assert state(watcher) == (False, 0)
        assert len(refused) >= 3
        assert len(set(refused)) == 1
        monkeypatch.undo()

        assert heard(watcher, EVERYTHING) == EVERYTHING
        assert state(watcher) == (True, 1)
