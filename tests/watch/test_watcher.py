from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from support.daemons import wait_until
from support.watching import heard, make_folders

from gcd.demo.dockerroot import DockerRoot
from gcd.model.changed import EVERYTHING, NOTHING, Changed
from gcd.run import check
from gcd.watch import Watcher
from gcd.watch.gathering import MOST_NAMES

SETTLE = 0.03
LEAST_LEAK = 4 << 20
"""What 90,000 names would take that somebody kept: about 100 bytes each, half of it to be sure."""


@pytest.fixture
def root(tmp_path):
    return make_folders(tmp_path / "root")


@pytest.fixture
def watcher(root):
    with Watcher(str(root), settle_seconds=SETTLE) as watcher:
        yield watcher


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("overlay2/n", Changed(layer_dirs=frozenset({"n"}))),
        ("overlay2/l/n", Changed(links=frozenset({"n"}))),
        ("image/overlay2/layerdb/sha256/n", Changed(layers=frozenset({"n"}))),
        ("image/overlay2/layerdb/mounts/n", Changed(rw_layers=frozenset({"n"}))),
        ("image/overlay2/layerdb/tmp/n", Changed(write_sets=frozenset({"n"}))),
        ("image/overlay2/imagedb/content/sha256/n", Changed(images=frozenset({"n"}))),
        ("image/overlay2/imagedb/metadata/sha256/n", Changed(images=frozenset({"n"}))),
        ("containers/n", Changed(containers=frozenset({"n"}))),
        ("image/overlay2/repositories.json", Changed(has_repositories=True)),
        ("buildkit/snapshots.db", Changed(has_build_cache=True)),
    ],
)
def test_what_comes_is_moved_and_goes_is_heard(root, watcher, path, wanted):
    place, outside = root / path, root.parent / "outside"
    told = []
    for act in (place.mkdir, lambda: place.rename(outside), lambda: outside.rename(place), place.rmdir):
        act()
        told.append(heard(watcher, wanted))

    assert told == [wanted] * 4
    assert (watcher.events, watcher.overflows, watcher.is_watching) == (4, 0, True)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("image/overlay2/repositories.json", Changed(has_repositories=True)),
        ("buildkit/metadata_v2.db", Changed(has_build_cache=True)),
    ],
)
def test_what_is_written_in_place_is_heard(root, path, wanted):
    (root / path).write_bytes(b"before")
    with Watcher(str(root), settle_seconds=SETTLE) as watcher:
        fd = os.open(root / path, os.O_WRONLY)
        try:
            os.pwrite(fd, b"B", 0)
            told = heard(watcher, wanted)
        finally:
            os.close(fd)

        assert (told, watcher.events) == (wanted, 1)


def test_what_was_there_before_is_not_told(root):
    (root / "containers" / "c1").mkdir()
    with Watcher(str(root), settle_seconds=SETTLE) as watcher:
        assert watcher.take(4 * SETTLE) == NOTHING
        assert (watcher.events, watcher.overflows, watcher.is_watching) == (0, 0, True)


def test_the_inside_of_a_layer_and_of_a_record_makes_no_event(root):
    for folder in ("overlay2/d/diff", "image/overlay2/layerdb/sha256/c", "containers/n"):
        (root / folder).mkdir(parents=True)
    with Watcher(str(root), settle_seconds=SETTLE) as watcher:
        for folder in ("overlay2/d/diff", "overlay2/d", "image/overlay2/layerdb/sha256/c", "containers/n"):
            (root / folder / "x").write_text("x")
        (root / "containers" / "c1").mkdir()

        assert heard(watcher, Changed(containers=frozenset({"c1"}))) == Changed(containers=frozenset({"c1"}))
        assert watcher.events == 1


def test_a_check_of_the_root_makes_no_event(tmp_path):
    with DockerRoot(tmp_path / "root") as builder:
        builder.container("web", image=builder.image("web", layers=2))
    with Watcher(str(tmp_path / "root"), settle_seconds=SETTLE) as watcher:
        check(str(tmp_path / "root"), now_ns=time.time_ns())
        (tmp_path / "root" / "containers" / "c1").mkdir()

        assert heard(watcher, Changed(containers=frozenset({"c1"}))) == Changed(containers=frozenset({"c1"}))
        assert watcher.events == 1


def test_a_fresh_root_with_what_was_made_before_its_watches_stood(tmp_path):
    with Watcher(str(tmp_path), settle_seconds=SETTLE, review_seconds=3600) as watcher:
        is_watching = watcher.is_watching
        make_folders(tmp_path)
        (tmp_path / "overlay2" / "d1").mkdir()
        (tmp_path / "overlay2" / "l" / "L1").symlink_to("../d1/diff")
        (tmp_path / "image/overlay2/layerdb/sha256/c1").mkdir()
        (tmp_path / "image/overlay2/layerdb/mounts/m1").mkdir()
        (tmp_path / "image/overlay2/layerdb/tmp/write-set-1").mkdir()
        (tmp_path / "image/overlay2/imagedb/content/sha256/i1").write_text("{}")
        (tmp_path / "image/overlay2/repositories.json").write_text("{}")
        (tmp_path / "containers" / "n1").mkdir()
        (tmp_path / "buildkit" / "snapshots.db").write_text("")
        wanted = Changed(
            layer_dirs=frozenset({"d1"}),
            links=frozenset({"L1"}),
            layers=frozenset({"c1"}),
            rw_layers=frozenset({"m1"}),
            write_sets=frozenset({"write-set-1"}),
            images=frozenset({"i1"}),
            containers=frozenset({"n1"}),
            has_repositories=True,
            has_build_cache=True,
        )

        assert (is_watching, heard(watcher, wanted)) == (True, wanted)
        (tmp_path / "overlay2" / "l" / "L2").symlink_to("../d2/diff")
        (tmp_path / "image/overlay2/imagedb/content/sha256/i2").write_text("{}")
        later = Changed(links=frozenset({"L2"}), images=frozenset({"i2"}))
        assert heard(watcher, later) == later
        assert (watcher.overflows, watcher.is_watching) == (0, True)


def test_a_place_that_appears_overfull_is_everything(root):
    (root / "containers").rmdir()
    with Watcher(str(root), settle_seconds=SETTLE, review_seconds=3600) as watcher:
        (root.parent / "made").mkdir()
        for number in range(MOST_NAMES + 1):
            (root.parent / "made" / f"{number}").symlink_to("x")
        (root.parent / "made").rename(root / "containers")

        assert heard(watcher, EVERYTHING) == EVERYTHING
        assert (watcher.overflows, watcher.is_watching) == (1, True)


def test_names_of_any_bytes(root, watcher):
    names = ["\udcff\udcfe", "a\nb", "\x1b[31m", "x" * 255, "ü"]
    for name in names:
        (root / "containers" / name).mkdir()
    wanted = Changed(containers=frozenset(names))

    assert heard(watcher, wanted) == wanted


def test_a_symlink_in_the_place_of_a_directory_is_not_followed(root):
    (root / "containers").rmdir()
    (root.parent / "elsewhere").mkdir()
    (root / "containers").symlink_to(root.parent / "elsewhere")
    with Watcher(str(root), settle_seconds=SETTLE) as watcher:
        (root.parent / "elsewhere" / "c1").mkdir()
        (root / "overlay2" / "d1").mkdir()

        assert heard(watcher, Changed(layer_dirs=frozenset({"d1"}))) == Changed(layer_dirs=frozenset({"d1"}))
        assert (watcher.events, watcher.is_watching) == (1, True)


def test_a_burst_is_taken_whole(root):
    """Once nothing more came for as long as it takes to settle; the clock is in the test's hand."""
    clock = [0.0]
    with Watcher(str(root), settle_seconds=0.5, clock=lambda: clock[0]) as watcher:
        (root / "containers" / "c1").mkdir()
        wait_until(lambda: watcher.events == 1, "the first is heard")
        clock[0] = 0.4
        (root / "containers" / "c2").mkdir()
        wait_until(lambda: watcher.events == 2, "the second is heard")
        clock[0] = 0.8
        watcher.wake()
        early = watcher.take(60)
        clock[0] = 0.9

        assert [early, watcher.take(60)] == [NOTHING, Changed(containers=frozenset({"c1", "c2"}))]


def test_it_waits_no_longer_than_it_is_told(watcher):
    began = time.monotonic()

    assert watcher.take(0.2) == NOTHING
    assert 0.2 <= time.monotonic() - began < 10


def test_another_thread_wakes_it(watcher):
    thread = threading.Thread(target=watcher.wake)
    thread.start()

    assert watcher.take(60) == NOTHING
    thread.join()


def test_a_signal_handler_wakes_it(watcher):
    before = signal.signal(signal.SIGALRM, lambda *_: watcher.wake())
    try:
        began = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        told = watcher.take(60)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert told == NOTHING
    assert 0.05 <= time.monotonic() - began < 30


def test_it_is_woken_once_and_forgets_nothing(root):
    now, step = [0.0], [0.0]

    def clock():
        now[0] += step[0]
        return now[0]

    with Watcher(str(root), settle_seconds=0.3, clock=clock) as watcher:
        (root / "containers" / "c1").mkdir()
        wait_until(lambda: watcher.events == 1, "it is heard")
        watcher.wake()
        watcher.wake()
        told = [watcher.take(60)]
        step[0] = 0.05  # so that it has not settled when the next begins

        assert [*told, watcher.take(60)] == [NOTHING, Changed(containers=frozenset({"c1"}))]


def test_waking_what_is_over_does_nothing(root):
    with Watcher(str(root)) as watcher:
        pass
    watcher.wake()

    assert watcher.is_watching is False


@pytest.mark.slow
def test_ten_thousand_containers_in_bursts_of_a_hundred_within_the_same_memory(quick):
    missed, sizes = [], []
    with Watcher(str(quick), settle_seconds=0.005) as watcher:
        for burst in range(100):
            names = [f"{burst}-{number}" for number in range(100)]
            inits = [f"{name}-init" for name in names]
            folders = [quick / "overlay2" / name for name in (*names, *inits)]
            folders += [quick / "image/overlay2/layerdb/mounts" / name for name in names]
            folders += [quick / "containers" / name for name in names]
            links = [quick / "overlay2" / "l" / name for name in names]
            wanted = Changed(
                layer_dirs=frozenset([*names, *inits]),
                links=frozenset(names),
                rw_layers=frozenset(names),
                containers=frozenset(names),
            )
            for folder in folders:
                folder.mkdir()
            for link in links:
                link.symlink_to("../x/diff")
            missed += [burst] * (heard(watcher, wanted) != wanted)
            for link in links:
                link.unlink()
            for folder in folders:
                folder.rmdir()
            missed += [burst] * (heard(watcher, wanted) != wanted)
            sizes.append(resident_bytes())

        assert missed == []
        assert (watcher.events, watcher.overflows, watcher.is_watching) == (100_000, 0, True)
    assert sizes[-1] - sizes[9] < LEAST_LEAK
