"""
Hostile roots: whatever stands in a place of metadata, the greediest policy ends in order, touches nothing outside the
root, takes nothing that was sound before, and all that it did can be undone, to the inode.

What is swapped between look and act, immutable or a mountpoint is in test_quarantine and test_repair, and what an entry
may hold in test_killed.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest
from support.acting import GREEDY, Acting
from support.fingerprint import differences, fingerprint
from support.seeds import own_seed
from support.trees import FIFO, SOCKET, place, within

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import layers, overlay2
from gcd.demo.faults.fault import Target, link_symlink
from gcd.demo.faults.targets import find_targets
from gcd.model import layout
from gcd.model.ids import ChainId, ContainerId, ImageId, LayerDirId, RwLayerName
from gcd.model.plan import Move, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcd.model.plan import Deed

pytestmark = pytest.mark.root

ENOUGH_SECONDS = 20
LONG = "n" * 255
NO_TEXT = os.fsdecode(b"\xff\xfe\x1b[2J\n")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound root but for what gives the policy something to do: an orphaned dir, and a lost size."""
    path = tmp_path_factory.mktemp("hostile") / "docker"
    with DockerRoot(path, seed=own_seed()) as made:
        other = made.image("other:1", layers=2)
        made.container("web", image=made.image("web:1", layers=3))
        made.build_step()
    layers.empty_size(path, other.top.chain_id)
    overlay2.add_layer_dir(path, "")
    return path


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "docker", symlinks=True)
    return tmp_path / "docker"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """What is not the root's, and what its symlinks lead to."""
    folder = tmp_path / "elsewhere"
    place(folder / "file", b"theirs")
    return folder


def places_in(root: Path) -> list[str]:
    """The paths in `root` that something hostile may stand in: one of each sort that gcd reads or writes."""
    targets = find_targets(root)
    layer_dir = layout.layer_dir(LayerDirId(targets[Target.LAYER_DIR]))
    record = layout.layer_record(ChainId(targets[Target.LAYER]))
    rw_record = layout.rw_layer_record(RwLayerName(targets[Target.CONTAINER]))
    container = layout.container(ContainerId(targets[Target.CONTAINER]))
    return [
        layout.link_farm(),
        str(link_symlink(root, targets[Target.LAYER_DIR]).relative_to(root)),
        layer_dir,
        f"{layer_dir}/{layout.LINK}",
        f"{layer_dir}/{layout.LOWER}",
        record,
        f"{record}/size",
        f"{rw_record}/{layout.MOUNT_ID}",
        f"{container}/{layout.CONTAINER_CONFIG}",
        layout.image_config(ImageId(targets[Target.IMAGE])),
        layout.repositories(),
        layout.write_sets(),
        layout.build_database(layout.BUILD_SNAPSHOTS),
    ]


# --- what stands there ------------------------------------------------------------------------------------------------


def nothing_at(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def put_special(path: Path, _elsewhere: Path) -> None:
    """A FIFO, a socket or a device without an end, whichever is the turn of a path so long."""
    nothing_at(path)
    match len(str(path)) % 3:
        case 0:
            place(path, FIFO)
        case 1:
            place(path, SOCKET)
        case _:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


def put_symlink_out(path: Path, elsewhere: Path) -> None:
    """To the very thing, which is elsewhere now, with files emptied that gcd would mend if they were the root's."""
    taken = elsewhere / "taken"
    if taken.is_symlink() or taken.exists():
        nothing_at(taken)
    path.rename(taken)
    for name in ("size", layout.LINK, layout.MOUNT_ID):
        if (taken / name).exists():
            (taken / name).write_bytes(b"")
    path.symlink_to(taken)


def put_hard_link_out(path: Path, elsewhere: Path) -> None:
    """A file that is also somebody else's: it may be replaced, never written into."""
    nothing_at(path)
    os.link(elsewhere / "file", path)


def put_odd_names(path: Path, _elsewhere: Path) -> None:
    """Beside it, and in it if it is a directory; what was there is closed to everybody."""
    for folder in {path.parent, path} if path.is_dir() else {path.parent}:
        for name in (LONG, NO_TEXT):
            place(folder / name, b"..")
    if not path.is_symlink():
        path.chmod(0)


@pytest.mark.parametrize("put", [put_special, put_symlink_out, put_hard_link_out, put_odd_names])
def test_whatever_stands_in_a_place(
    root: Path, sound: Path, elsewhere: Path, put: Callable[[Path, Path], None]
) -> None:
    sound_moves = moved(Acting(root, ahead=True).carry_out(GREEDY))
    assert {path.rpartition("/")[0] for path in sound_moves} == {"overlay2", "overlay2/l"}
    done = 0
    for path in places_in(sound):
        shutil.rmtree(root)
        shutil.copytree(sound, root, symlinks=True)
        put(root / path, elsewhere)
        before, theirs = fingerprint(root), contents(elsewhere)
        acting = Acting(root, ahead=True)

        with within(ENOUGH_SECONDS):
            deeds = acting.carry_out(GREEDY)

        assert moved(deeds) <= sound_moves, path
        entries = [deed.entry for deed in reversed(deeds) if deed.outcome is Outcome.DONE]
        restored = acting.restore(entries) if entries else ()
        assert [deed.outcome for deed in restored] == [Outcome.DONE] * len(entries), path
        assert differences(before, fingerprint(root, leave_out=(layout.GCD,))) == [], path
        assert contents(elsewhere) == theirs, path
        done += len(entries)
    assert done > len(places_in(sound))


def moved(deeds: tuple[Deed, ...]) -> set[str]:
    steps = [deed.step for deed in deeds if deed.outcome is Outcome.DONE]
    return {path for step in steps if isinstance(step, Move) for path in step.paths}


def contents(folder: Path) -> dict[str, tuple[str, tuple[int, int], str]]:
    """All but the count of links, which a test may change itself."""
    return {path: (mark.mode, mark.owner, mark.content) for path, mark in fingerprint(folder).items()}
