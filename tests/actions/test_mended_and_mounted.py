"""
A layer whose files a repair replaced or made is mounted: the repair is not undone below it (S17), and one that was cut
short stays as it is until the layer is mounted no more.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.daemons import wait_until
from support.fingerprint import differences
from support.seeds import own_seed
from support.units import RUN, entries_of, finding_for, outside

from gcd.actions.place import open_place
from gcd.actions.recover import Recovered, Recovery, recover
from gcd.actions.repair import repair
from gcd.actions.restore import restore
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.tarsplit import MTIME
from gcd.model.content import Worn
from gcd.model.entry import EntryId, EntryState
from gcd.model.facts import EngineState
from gcd.model.plan import CopyFile, Mend, Outcome, Reason, WriteFile
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.fingerprint import Mark

    from gcd.actions.place import Place

pytestmark = pytest.mark.root

TOOLS = {"bin/a": b"a" * 5000, "bin/b": b"b" * 5000}


@dataclass(frozen=True)
class Mended:
    """A root with a layer of which a damaged file was replaced, and then a missing one made, in one entry."""

    docker: Path
    diff: Path
    before: dict[str, Mark]
    entry: EntryId

    def held(self) -> list[bytes]:
        return [(self.diff / name).read_bytes() for name in TOOLS if (self.diff / name).exists()]

    def cut_short(self) -> None:
        """As if gcd had been killed between the two."""
        opened = (self.docker / ".gcd/entries" / self.entry).rename(self.docker / ".gcd/open" / self.entry)
        (self.diff / "bin/b").rename(opened / "items/1")


@pytest.fixture
def mended(tmp_path: Path) -> Mended:
    docker = tmp_path / "docker"
    with DockerRoot(docker, seed=own_seed()) as built:
        built.image("one:1", layers=[dict(TOOLS)])
        built.image("two:1", layers=[{f"opt/{name}": content for name, content in TOOLS.items()}])
    [damaged] = docker.glob("overlay2/*/diff/bin/a")
    [twins] = docker.glob("overlay2/*/diff/opt")
    damaged.write_bytes(b"damaged")
    damaged.with_name("b").unlink()
    diff = damaged.parents[1]
    changes = tuple(
        CopyFile(
            str((diff / name).relative_to(docker)),
            str((twins / name).relative_to(docker)),
            len(content),
            hashlib.sha256(content).hexdigest(),
            MTIME * 10**9,
            worn,
        )
        for (name, content), worn in zip(TOOLS.items(), (None, Worn(0o755, 7, 7, ())), strict=True)
    )
    before = outside(docker)
    mend = Mend(finding_for("x"), changes)
    deed = in_place(docker, lambda place: repair(place, mend, run_id=RUN, now_ns=time.time_ns()))
    assert deed.outcome is Outcome.DONE, deed
    return Mended(docker, diff, before, deed.entry)


def in_place(docker: Path, do: Callable[[Place], object]):
    with open_root(str(docker)) as root, open_place(root, create=True) as place:
        return do(place)


@pytest.fixture(params=["id", "link"])
def lower(request: pytest.FixtureRequest, mended: Mended) -> Path:
    """The layer as a mount names it: by its own id, as one that is alone, or by its link, as one below another."""
    link = (mended.diff.parent / "link").read_text()
    return mended.diff if request.param == "id" else mended.docker / "overlay2/l" / link


@contextlib.contextmanager
def mounted(lower: Path, point: Path) -> Iterator[str]:
    """Where it is."""
    for folder in (point, point.with_name("empty")):
        folder.mkdir()
    options = f"lowerdir={lower}:{point.with_name('empty')}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(point)], check=True)
    try:
        yield f"it is mounted at {point} (pid "
    finally:
        subprocess.run(["umount", str(point)], check=True)


def put_back(mended: Mended):
    def do(place: Place):
        return next(restore(place, [mended.entry], engine=EngineState.STOPPED))

    return in_place(mended.docker, do)


def recovered(mended: Mended, **said: str) -> tuple[Recovered, ...]:
    return in_place(mended.docker, lambda place: recover(place, engine=EngineState.STOPPED, **said))


def test_a_repair_is_not_undone_in_a_layer_that_is_mounted(mended: Mended, lower: Path, tmp_path: Path):
    with mounted(lower, tmp_path / "point") as told:
        deed = put_back(mended)
        assert (deed.outcome, deed.reason, deed.why.startswith(told)) == (Outcome.REFUSED, Reason.IN_USE, True)
        assert mended.held() == list(TOOLS.values())

    # Whoever made a mount namespace meanwhile, as each engine that another test starts, has the mount for a while yet.
    wait_until(lambda: put_back(mended).outcome is Outcome.DONE, "it is put back", seconds=120)
    assert (entries_of(mended.docker), differences(mended.before, outside(mended.docker))) == ({}, [])


def test_one_that_was_cut_short_stays_half_done_while_the_layer_is_mounted(mended: Mended, lower: Path, tmp_path: Path):
    mended.cut_short()
    half = outside(mended.docker)
    with mounted(lower, tmp_path / "point") as told:
        [done] = recovered(mended)
        assert (done.entry, done.recovery) == (mended.entry, Recovery.LEFT_OPEN)
        assert done.why.startswith(told)
        assert done.why.endswith(
            "), and a repair is half done: see to it that the layer is not mounted, and run gcd again"
        )
        assert differences(half, outside(mended.docker)) == []
        assert [state for state, _ in entries_of(mended.docker).values()] == [EntryState.OPEN]

    returned = (Recovered(mended.entry, Recovery.RETURNED),)
    wait_until(lambda: recovered(mended) == returned, "it is undone", seconds=120)
    assert (entries_of(mended.docker), differences(mended.before, outside(mended.docker))) == ({}, [])


def test_a_mount_of_another_layer_is_in_nobodys_way(mended: Mended, tmp_path: Path):
    mended.cut_short()
    [other] = [diff for diff in mended.docker.glob("overlay2/*/diff") if diff != mended.diff]

    with mounted(other, tmp_path / "point"):
        assert recovered(mended) == (Recovered(mended.entry, Recovery.RETURNED),)
    assert differences(mended.before, outside(mended.docker)) == []


def test_where_mounts_cannot_be_seen_the_layer_may_be_mounted(mended: Mended, tmp_path: Path):
    mended.cut_short()

    [done] = recovered(mended, proc=str(tmp_path / "proc"))

    assert (done.recovery, done.why.partition(",")[0]) == (Recovery.LEFT_OPEN, "not all mounts can be seen (ENOENT)")
    assert mended.held() == [TOOLS["bin/a"]]


def test_a_half_done_repair_of_what_no_layer_holds_asks_no_mount(tmp_path: Path):
    docker = tmp_path / "docker"
    with DockerRoot(docker, seed=own_seed()) as built:
        built.image("one:1", layers=2)
    sizes = sorted(docker.glob("image/overlay2/layerdb/sha256/*/size"))
    for size in sizes:
        size.unlink()
    before = outside(docker)
    names = [str(size.relative_to(docker)) for size in sizes]
    mend = Mend(finding_for("x"), tuple(WriteFile(name, b"7", name.replace("size", "diff")) for name in names))
    deed = in_place(docker, lambda place: repair(place, mend, run_id=RUN, now_ns=time.time_ns()))
    opened = (docker / ".gcd/entries" / deed.entry).rename(docker / ".gcd/open" / deed.entry)
    sizes[1].rename(opened / "items/1")

    done = in_place(docker, lambda place: recover(place, engine=EngineState.STOPPED, proc=str(tmp_path / "proc")))

    assert done == (Recovered(deed.entry, Recovery.RETURNED),)
    assert (entries_of(docker), differences(before, outside(docker))) == ({}, [])
