from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.inpython import read_in_python
from support.seeds import own_seed
from support.trees import DIRECTORY, FIFO, Link, plant, within

from gcd.demo.dockerroot import DockerRoot
from gcd.model.errors import RootNotFound
from gcd.model.facts import DormantStore, Engine, EngineState, FileType, KernelMount
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import ABSENT, Present
from gcd.root import read as reading
from gcd.root.progress import Pace
from gcd.root.read import compared, read_inventory

OK = SourceState(Coverage.OK)
STOPPED = Engine(EngineState.STOPPED)
RUNNING = Engine(EngineState.RUNNING, 7, 1_000_000_000_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with an image, a container on it, and something of BuildKit."""
    # Open files are told by the ids in their paths: a root of a run beside this one has others.
    with DockerRoot(tmp_path / "root", seed=own_seed()) as built:
        image = built.image("app:1", layers=2)
        built.container("web", image=image)
        built.build_source()
    return built.path


@pytest.fixture(autouse=True)
def quiet_host(monkeypatch):
    """No engine and no mounts, whatever else runs on this machine."""
    monkeypatch.setattr(reading, "read_engine", lambda _root, _proc: STOPPED)
    monkeypatch.setattr(reading, "read_mounts", lambda _proc: ((), OK))


def test_a_sound_root_is_read_whole(root):
    dormant = (DormantStore("vfs", "vfs"),)
    found = read_inventory(str(root), dormant=dormant)
    assert found.sources == dict.fromkeys(Source, OK)
    assert (found.root, found.store, found.dormant) == (str(root), "overlay2", dormant)
    assert len(found.layers) == 2
    assert len(found.images) == len(found.image_metadata) == len(found.containers) == len(found.rw_layers) == 1
    assert found.candidates == found.layer_dirs.keys()
    assert len(found.candidates) == 2 + 2 + 1
    assert len(found.link_farm.symlinks) == 5
    assert isinstance(found.repositories, Present)
    assert len(found.build_cache.snapshots) == 1
    assert found.engine == STOPPED
    named = {layer.cache_id.value for layer in found.layers.values()}
    assert named < found.candidates
    assert {d.diff_is_empty for d in found.layer_dirs.values()} == {None}


def test_two_readings_of_a_root_at_rest_are_equal(root):
    assert read_inventory(str(root)) == read_inventory(str(root))


def test_a_dir_that_a_process_has_open_is_held_though_a_record_names_it(root):
    """A push reads the files of a base layer in place; its image may be removed meanwhile."""
    held = next(iter(read_inventory(str(root)).layers.values())).cache_id.value
    with (root / "overlay2" / held / "diff" / "file").open("wb"):
        assert read_inventory(str(root)).held_dirs == {held}
    assert read_inventory(str(root)).held_dirs == frozenset()


class Steps:
    """The names that are opened and listed, each as a path relative to the root."""

    def __init__(self, monkeypatch, root: Path) -> None:
        self.seen: list[str] = []
        self.flags: set[int] = set()
        self._root = root
        self._open, self._scandir = os.open, os.scandir
        read_in_python(monkeypatch)
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(os, "scandir", self.scandir)

    def open(self, name, flags, mode=0o777, *, dir_fd=None):
        self.flags.add(flags)
        self._note("open", dir_fd, name)
        return self._open(name, flags, mode, dir_fd=dir_fd)

    def scandir(self, fd):
        self._note("list", fd, "")
        return self._scandir(fd)

    def _note(self, what: str, fd: int | None, name: str) -> None:
        if isinstance(fd, int):
            here = Path(f"/proc/self/fd/{fd}").readlink()
            if here.is_relative_to(self._root):
                self.seen.append(f"{what} {(here / name).relative_to(self._root)}".removesuffix("/"))

    def first(self, step: str) -> int:
        return self.seen.index(step)

    def last(self, start: str) -> int:
        return max(number for number, step in enumerate(self.seen) if step.startswith(start))


def test_the_order_is_that_of_the_safety_rule(root, monkeypatch):
    plant(root / "image/overlay2/layerdb", {"tmp/write-set-1": DIRECTORY})
    stray = "f" * 64
    plant(root / "overlay2", {f"{stray}/diff": DIRECTORY})
    steps = Steps(monkeypatch, root)
    monkeypatch.setattr(reading, "read_engine", lambda _root, _proc: (steps.seen.append("engine"), STOPPED)[1])
    monkeypatch.setattr(reading, "read_mounts", lambda _proc: (steps.seen.append("mounts"), ((), OK))[1])
    found = read_inventory(str(root))
    listings = [number for number, step in enumerate(steps.seen) if step == "list overlay2"]
    a_dir = next(iter(found.candidates - {stray}))
    order = [
        steps.first("engine"),
        listings[0],
        *(steps.first(f"open buildkit/{name}") for name in ("containerdmeta.db", "metadata_v2.db", "snapshots.db")),
        *(steps.first(f"list image/overlay2/layerdb/{part}") for part in ("tmp", "sha256", "mounts")),
        steps.first("list image/overlay2/imagedb/content/sha256"),
        steps.first("open image/overlay2/repositories.json"),
        steps.last("open containers/"),
        listings[1],
        steps.first(f"open overlay2/{a_dir}/link"),
        steps.last("open overlay2/l"),
        steps.first("mounts"),
        len(steps.seen) - 1 - steps.seen[::-1].index("engine"),
        steps.first(f"list overlay2/{stray}/diff"),
    ]
    assert order == sorted(order)
    assert len(set(order)) == len(order)
    assert len(listings) == 2
    assert steps.seen.count("engine") == 2
    before_the_second_listing = steps.seen[: listings[1]]
    assert not [step for step in before_the_second_listing if step.startswith("open overlay2/")]


def test_nothing_is_opened_for_writing_and_no_symlink_is_followed_below_the_root(root, monkeypatch):
    steps = Steps(monkeypatch, root)
    read_inventory(str(root))
    assert {flags & (os.O_ACCMODE | os.O_CREAT | os.O_TRUNC) for flags in steps.flags} == {os.O_RDONLY}
    assert sum(not flags & os.O_NOFOLLOW for flags in steps.flags) == 1  # the root itself


def test_a_dir_made_after_the_first_listing_is_no_candidate_but_part_of_the_closure(root, monkeypatch):
    made = "f" * 64
    read_container_files = reading.read_container_files

    def make_then_read(*args):
        plant(root / "overlay2", {f"{made}/diff": DIRECTORY})
        return read_container_files(*args)

    monkeypatch.setattr(reading, "read_container_files", make_then_read)
    found = read_inventory(str(root))
    assert made not in found.candidates
    assert found.layer_dirs[made].diff is FileType.DIRECTORY


def test_a_dir_removed_after_the_first_listing_is_only_a_candidate(root, monkeypatch):
    gone = "f" * 64
    plant(root / "overlay2", {gone: DIRECTORY})
    read_container_files = reading.read_container_files

    def remove_then_read(*args):
        (root / "overlay2" / gone).rmdir()
        return read_container_files(*args)

    monkeypatch.setattr(reading, "read_container_files", remove_then_read)
    found = read_inventory(str(root))
    assert gone in found.candidates
    assert gone not in found.layer_dirs
    assert found.sources == dict.fromkeys(Source, OK)


def test_only_dirs_that_nothing_names_are_looked_into(root):
    full, empty = "e" * 64, "f" * 64
    plant(root / "overlay2", {f"{full}/diff/x": b"", f"{empty}/diff": DIRECTORY})
    found = read_inventory(str(root))
    looked = {i: d.diff_is_empty for i, d in found.layer_dirs.items() if d.diff_is_empty is not None}
    assert looked == {full: False, empty: True}


def test_merged_is_looked_into_only_where_no_namespace_mounts_it(root, monkeypatch):
    mounted, stale = "e" * 64, "f" * 64
    plant(root / "overlay2", {f"{mounted}/merged": DIRECTORY, f"{stale}/merged": DIRECTORY})
    mount = KernelMount("/x", "overlay", "mnt:[1]", (1,), "sh", frozenset({mounted}), frozenset(), mounted)
    monkeypatch.setattr(reading, "read_mounts", lambda _proc: ((mount,), OK))
    found = read_inventory(str(root))
    assert found.mounts == (mount,)
    assert (found.layer_dirs[mounted].merged_is_empty, found.layer_dirs[stale].merged_is_empty) == (None, True)


def test_an_empty_directory_reads_as_nothing_at_all(tmp_path):
    found = read_inventory(str(tmp_path))
    without = {Source.ENGINE, Source.MOUNTS}
    assert {source for source, state in found.sources.items() if state.coverage is not Coverage.ABSENT} == without
    assert found.sources.keys() == set(Source)
    assert (found.candidates, found.layer_dirs, found.repositories) == (frozenset(), {}, ABSENT)


def test_no_such_root(tmp_path):
    with pytest.raises(RootNotFound):
        read_inventory(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("planted", [b"", FIFO, Link("/etc"), Link("nowhere")])
@pytest.mark.parametrize(
    ("path", "sources"),
    [
        ("overlay2", {Source.OVERLAY2, Source.LINKS}),
        ("overlay2/l", set()),
        ("image", {Source.LAYERS, Source.RW_LAYERS, Source.IMAGES, Source.REPOSITORIES, Source.DISTRIBUTION}),
        ("image/overlay2/layerdb/sha256", {Source.LAYERS}),
        ("image/overlay2/layerdb/mounts", {Source.RW_LAYERS}),
        ("image/overlay2/imagedb", {Source.IMAGES}),
        ("containers", {Source.CONTAINERS}),
        ("buildkit", {Source.BUILD_SNAPSHOTS, Source.BUILD_RECORDS, Source.BUILD_LEASES}),
        ("plugins", {Source.PLUGINS}),
        ("volumes", {Source.VOLUMES}),
    ],
)
def test_anything_in_a_directorys_place_costs_its_own_sources_only(root, path, sources, planted):
    (root / path).rename(root.parent / "aside")
    plant(root, {path: planted})
    with within(5):
        found = read_inventory(str(root))
    lacking = {source for source, state in found.sources.items() if state.coverage is Coverage.UNREADABLE}
    assert lacking == sources
    assert all(state == OK for source, state in found.sources.items() if source not in sources)


@pytest.mark.parametrize("name", ["list_names", "read_layer_dirs"])
def test_either_listing_of_the_dirs_cut_short_makes_the_source_partial(root, monkeypatch, name):
    whole = getattr(reading, name)
    partial = SourceState(Coverage.PARTIAL, "cut short")
    monkeypatch.setattr(reading, name, lambda *args, **named: (whole(*args, **named)[0], partial))
    assert read_inventory(str(root)).sources[Source.OVERLAY2] == partial


def test_an_engine_that_cannot_be_told_makes_its_source_unreadable(root, monkeypatch):
    unknown = Engine(EngineState.UNKNOWN, doubts=("the lock may not be tried",))
    monkeypatch.setattr(reading, "read_engine", lambda _root, _proc: unknown)
    found = read_inventory(str(root))
    assert found.sources[Source.ENGINE] == SourceState(Coverage.UNREADABLE, "the lock may not be tried")


@pytest.mark.parametrize(
    "after",
    [
        STOPPED,
        replace(RUNNING, pid=8),
        replace(RUNNING, epoch_ns=RUNNING.epoch_ns + 3_000_000_000),
        replace(RUNNING, epoch_ns=None),
        Engine(EngineState.UNKNOWN),
    ],
)
def test_nothing_is_proven_if_the_engine_changed_meanwhile(root, monkeypatch, after):
    engines = iter([RUNNING, after])
    monkeypatch.setattr(reading, "read_engine", lambda _root, _proc: next(engines))
    found = read_inventory(str(root))
    assert found.engine.state is after.state
    assert len(found.engine.doubts) == 1
    assert found.engine.doubts[0].startswith("the engine changed during the reading: running, pid 7, then ")
    assert found.engine.proof_bound(10**18) is None


def test_the_same_engine_twice_is_the_same_engine():
    assert compared(RUNNING, RUNNING) == RUNNING
    assert compared(STOPPED, STOPPED) == STOPPED


def test_of_two_epochs_within_the_clocks_grain_the_earlier_counts():
    later = replace(RUNNING, epoch_ns=RUNNING.epoch_ns + 1_000_000_000)
    assert compared(RUNNING, later) == compared(later, RUNNING) == RUNNING


def test_doubts_of_both_readings_stay():
    first, second = replace(RUNNING, doubts=("a", "b"), others=(9,)), replace(RUNNING, doubts=("b", "c"))
    assert compared(first, second) == replace(RUNNING, doubts=("a", "b", "c"), others=(9,))


def test_progress_tells_what_is_read(root):
    seen: list[tuple[Source, int, int]] = []
    read_inventory(str(root), pace=Pace(lambda source, done, total: seen.append((source, done, total))))
    assert list(dict.fromkeys(source for source, _, _ in seen)) == [
        Source.LAYERS,
        Source.RW_LAYERS,
        Source.IMAGES,
        Source.CONTAINERS,
        Source.OVERLAY2,
        Source.LINKS,
    ]
    assert all(0 <= done <= total for _, done, total in seen)
