"""
A disk that is full to the last byte: what is typed for good is deleted all the same, and all else is refused in words.

Moving takes room, for an entry and the first time for the place; nothing there is left to take it from but the orphans.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.acting import Acting, by_name, not_done
from support.engine import disk_usage
from support.fingerprint import differences, fingerprint
from support.fulldisk import expect_full, ext4, fill_up, free_bytes, on_a_terminal
from support.killing import fail_at, kill_at, points_of
from support.seeds import own_seed

from gcd.actions import room
from gcd.actions.fence import Fence
from gcd.actions.place import open_place
from gcd.actions.room import make_room
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import layers, overlay2
from gcd.model import layout
from gcd.model.audit import ActKind
from gcd.model.errors import CannotAct, ExitBits
from gcd.model.finding import Confidence, RemedyKind
from gcd.model.plan import Outcome
from gcd.planning import identity_of
from gcd.root.tree import open_root
from gcd.state import open_state

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.slow]

HOURS = 2 * 3600
"""With the engine stopped what is there has settled by then."""
TYPED = "delete for good"
TWIN = 4 * 4096
"""What the other name of a hard link keeps."""
SYMLINK = 4096
"""What a link symlink takes, whose text is too long for an inode."""
ENTRY = 3 * 4096
"""What an entry takes: two directories and its manifest."""
NO_ROOM = (
    "gcd: The disk is full: there is no room for the quarantine .gcd. "
    "gcd quarantine --purge deletes proven orphans at once."
)
DONE, LEFT, NOT_DONE = ExitBits.MENDED, ExitBits.FINDINGS_LEFT, ExitBits.NOT_DONE


@pytest.fixture
def disk(tmp_path: Path):
    with ext4(tmp_path / "image", tmp_path / "disk", 24 << 20) as point:
        with DockerRoot(point / "docker", seed=own_seed()) as built:
            image = built.image("web:1", layers=3)
            built.container("api", image=image)
        (point / "twin").write_bytes(b"twin" * 4096)
        yield point


@pytest.fixture
def root(disk: Path) -> Path:
    return disk / "docker"


@pytest.fixture
def gcd(root: Path, tmp_path: Path):
    def run(*arguments: str, typed: str = ""):
        return on_a_terminal(*arguments, "--root", root, state=tmp_path / "state", typed=typed, ahead=HOURS)

    return run


def orphan(root: Path, size: int) -> str:
    """The path of a layer dir that nothing names, with `size` bytes in a file, a byte in others, and a hard link."""
    path = root / "overlay2" / overlay2.add_layer_dir(root, "").id
    below = path / "diff/usr/lib"
    below.mkdir(parents=True)
    (below / "lib.so").write_bytes(os.urandom(size))
    (below / "link").symlink_to("/etc/passwd")
    (below / "twin").hardlink_to(root.parent / "twin")
    return str(path.relative_to(root))


def make_place(root: Path, *, reserve: bool = False) -> None:
    with open_root(str(root)) as directory, open_place(directory, create=True):
        pass
    if not reserve:
        (root / ".gcd/reserve").unlink()


def purged_bytes(root: Path, state: Path) -> int:
    with open_state(state) as opened:
        acts = opened.acts(identity_of(str(root)), most=100)
    assert {act.outcome for act in acts} == {Outcome.DONE}
    return sum(act.disk_bytes for act in acts if act.kind is ActKind.PURGE)


@pytest.mark.parametrize("place", ["no place", "place without reserve", "place"])
def test_orphans_are_deleted_on_a_full_disk(gcd, disk: Path, root: Path, tmp_path: Path, place: str):
    before = fingerprint(root)
    orphans = [orphan(root, 1 << 20), orphan(root, 1 << 20)]
    if place != "no place":
        make_place(root, reserve=place == "place")
    fill_up(disk)
    had, held = free_bytes(disk), disk_usage(disk)
    sizes = sum(disk_usage(root / path) - TWIN + SYMLINK for path in orphans)
    kept = disk_usage(root / ".gcd") if place != "no place" else 0

    told = gcd("quarantine", "--purge", typed=TYPED)

    assert told.status == DONE, told.lines
    assert "This deletes 2 orphans (2.1 MiB) for good; nothing brings them back." in told.lines
    assert sum(line.startswith("emptied   GCD101:") for line in told.lines) == 1
    assert differences(before, fingerprint(root, leave_out=(".gcd",))) == []
    assert list((root / ".gcd/entries").iterdir()) == []
    assert (disk / "twin").read_bytes() == b"twin" * 4096
    freed = free_bytes(disk) - had
    assert freed == held - disk_usage(disk)
    assert freed == sizes - (disk_usage(root / ".gcd") - kept)
    assert purged_bytes(root, tmp_path / "state") == sizes + 2 * ENTRY
    assert gcd("check").status == ExitBits.CLEAN


def test_nothing_is_emptied_where_something_else_is_typed(gcd, disk: Path, root: Path):
    orphan(root, 1 << 20)
    fill_up(disk)
    before = fingerprint(root)

    told = gcd("quarantine", "--purge", typed="yes")

    assert (told.status, told.lines[-1]) == (LEFT, "Nothing was changed.")
    assert differences(before, fingerprint(root)) == []


def test_a_layer_that_a_record_names_is_never_emptied(gcd, disk: Path, root: Path):
    """The engine would take it for what it was, at the next pull."""
    chain = layers.add_unused_layer(root, "")
    record = root / "image/overlay2/layerdb/sha256" / chain.id.removeprefix("sha256:")
    layer_dir = root / "overlay2" / (record / "cache-id").read_text()
    (layer_dir / "diff/big").write_bytes(os.urandom(1 << 20))
    fill_up(disk)
    before = fingerprint(root)

    told = gcd("quarantine", "--purge", typed=TYPED)

    assert told.status == NOT_DONE | LEFT
    assert told.lines[-1] == NO_ROOM
    assert differences(before, fingerprint(root)) == []


@pytest.mark.parametrize("replan", ["anew", "stale"])
def test_what_is_in_use_by_now_is_not_emptied(disk: Path, root: Path, replan: str):
    """The plan made anew says so, and so does the close look."""
    path = orphan(root, 1 << 20)
    fill_up(disk)
    before = fingerprint(root)
    acting, wish = Acting(root, ahead=True), by_name(RemedyKind.QUARANTINE, "GCD101")
    plan = acting.plan(wish)
    assert [step.paths[0] for step in plan.steps] == [path]
    with open_root(str(root)) as directory, (root / path / "diff/usr/lib/lib.so").open("rb"):
        anew = (lambda: acting.plan(wish)) if replan == "anew" else (lambda: plan)
        assert list(make_room(directory, plan, anew, layout.OVERLAY2)) == []
    assert differences(before, fingerprint(root)) == []


def test_nothing_is_emptied_beside_an_engine_that_is_starting(disk: Path, root: Path):
    orphan(root, 1 << 20)
    fill_up(disk)
    before = fingerprint(root)
    plan = Acting(root, ahead=True).plan(by_name(RemedyKind.QUARANTINE, "GCD101"))
    with open_root(str(root)) as directory, (root / "volumes/metadata.db").open("rb") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        with pytest.raises(CannotAct, match=r"volumes/metadata\.db is locked"):
            list(make_room(directory, plan, lambda: plan, layout.OVERLAY2))
    assert differences(before, fingerprint(root)) == []


def test_nothing_is_emptied_beside_another_gcd_that_writes(disk: Path, root: Path):
    """It may be moving that very orphan, whole, for somebody who wants it back."""
    orphan(root, 1 << 20)
    make_place(root)
    fill_up(disk)
    before = fingerprint(root)
    plan = Acting(root, ahead=True).plan(by_name(RemedyKind.QUARANTINE, "GCD101"))
    with (
        open_root(str(root)) as directory,
        open_place(directory, create=False),
        pytest.raises(CannotAct, match=r"Another gcd is writing to this root"),
    ):
        list(make_room(directory, plan, lambda: plan, layout.OVERLAY2))
    assert differences(before, fingerprint(root)) == []


def test_what_was_emptied_is_known_though_nothing_more_may_be(root: Path, monkeypatch: pytest.MonkeyPatch):
    orphan(root, 4096)
    orphan(root, 4096)
    plan = Acting(root, ahead=True).plan(by_name(RemedyKind.QUARANTINE, "GCD101"))
    monkeypatch.setattr(room, "_free", lambda _: 0)
    come: list[str] = []

    def check(_: Fence) -> None:
        if come:
            raise CannotAct(come[0])

    monkeypatch.setattr(Fence, "check", check)
    with open_root(str(root)) as directory:
        emptying = make_room(directory, plan, lambda: plan, layout.OVERLAY2)
        step, disk_bytes = next(emptying)
        come.append("an engine has come")
        with pytest.raises(CannotAct, match="an engine has come"):
            next(emptying)
    assert (step.finding.id, disk_bytes) == (
        plan.steps[0].finding.id,
        4 * 4096,
    )  # lib.so, and the three blocks of another file


def test_killed_or_failing_while_it_empties_it_leaves_an_orphan_that_is_as_proven(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = orphan(root, 4096)
    (root / path / "diff/usr/other").write_bytes(b"x" * 4096)
    before = fingerprint(root)
    acting, wish = Acting(root, ahead=True), by_name(RemedyKind.QUARANTINE, "GCD101")
    plan = acting.plan(wish)
    monkeypatch.setattr(room, "_free", lambda _: 0)

    def empty() -> None:
        with open_root(str(root)) as directory:
            list(room.make_room(directory, plan, lambda: plan, layout.OVERLAY2))

    copy = tmp_path / "disk/copy"
    subprocess.run(["cp", "-a", str(root / path), str(copy)], check=True)
    points = points_of(empty)
    assert {point.call for point in points} == {"ftruncate"}
    assert len(points) >= 3
    for point in points:
        for how in (kill_at, lambda act, at: fail_at(act, at, "EIO")):
            for file in ("diff/usr/other", "diff/usr/lib/lib.so"):
                (root / path / file).write_bytes((copy / file).read_bytes())

            how(empty, point)

            changed = [line for line in differences(before, fingerprint(root)) if path not in line]
            assert changed == []
            assert [(step.paths, step.finding.confidence) for step in acting.plan(wish).steps] == [
                (plan.steps[0].paths, Confidence.PROVEN)
            ]
    assert not_done(acting.carry_out(wish)) == []


def test_without_purge_a_full_disk_is_refused_in_words(gcd, disk: Path, root: Path):
    orphan(root, 1 << 20)
    fill_up(disk)
    before = fingerprint(root)

    told = gcd("quarantine", "--yes")

    assert told.status == NOT_DONE | LEFT
    assert told.lines[-1] == NO_ROOM
    assert differences(before, fingerprint(root)) == []
    expect_full(disk)


def test_restore_needs_no_room(gcd, disk: Path, root: Path):
    path = orphan(root, 1 << 20)
    before = fingerprint(root)
    assert gcd("quarantine", "--yes").status == DONE
    (root / ".gcd/reserve").unlink()
    fill_up(disk)
    entry = next((root / ".gcd/entries").iterdir()).name

    told = gcd("quarantine", "restore", entry)

    assert (told.status, told.lines[-1]) == (DONE, f"restored  {entry}")
    assert (root / path).is_dir()
    assert differences(before, fingerprint(root, leave_out=(".gcd",))) == []
