"""
The real engine judges: each fault that can be mended, planted on a root that an engine wrote, repaired, restored,
repaired again; then the engine starts, lists images and containers, and runs them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from support.acting import GREEDY, Acting, alone, by_name, not_done
from support.engine import copy_root
from support.fingerprint import differences, fingerprint
from support.mending import (
    NAMES_LOST,
    NOTHING_LEFT,
    lose_config_that_was_being_written,
    lose_host_config_that_was_being_written,
)
from support.scenes import FILES, HOURS_AHEAD

from gcd.demo.faults import FAULTS
from gcd.demo.faults.fault import Target
from gcd.demo.faults.targets import find_targets
from gcd.mends.table import MENDS
from gcd.model.finding import RemedyKind
from gcd.model.ids import is_build_id
from gcd.model.plan import Outcome, Reason
from gcd.root.discover import detect_store
from gcd.root.read import read_inventory
from gcd.root.tree import open_root
from gcd.root.witness import RootWitness
from gcd.run import look

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

    from gcd.model.finding import Finding, NotChecked
    from gcd.model.plan import Plan
    from gcd.planning import Wish

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@dataclass(frozen=True)
class Damage:
    code: str
    name: str
    plant: Callable[[Path, str], object]
    target: Target

    def __str__(self) -> str:
        return f"{self.code}-{self.name}-{self.target}"

    @property
    def place(self) -> str:
        """What it harms: two that harm the same are not planted in one root, lest one mend hide the other's work."""
        if self.code in {"GCD103", "GCD105", "GCD112"} or self.name == "drop_link_file_and_symlink":
            return "link farm"
        return {"GCD107": f"lower of {self.target}", "GCD108": f"lower of {self.target}", "GCD403": "repositories",
                "GCD404": "repositories", "GCD405": "repositories"}.get(self.code, self.code)  # fmt: skip


CATALOGUE = [
    Damage(f.code, f.name, f.plant, f.target) for f in FAULTS if f.code in MENDS and f.name not in NOTHING_LEFT
]
DAMAGES = [
    *CATALOGUE,
    *(
        Damage("GCD307", plant.__name__, plant, Target.CONTAINER)
        for plant in (lose_config_that_was_being_written, lose_host_config_that_was_being_written)
    ),
]
ONLINE = [d for d in CATALOGUE if d.code in {"GCD103", "GCD105", "GCD106", "GCD107", "GCD108", "GCD110"}]


def rounds_of(damages: list[Damage]) -> list[tuple[Damage, ...]]:
    """`damages` in as few rounds as may be, those of one round in places of their own."""
    rounds: list[list[Damage]] = []
    for damage in damages:
        for planted in rounds:
            if all(damage.place != other.place for other in planted):
                planted.append(damage)
                break
        else:
            rounds.append([damage])
    return [tuple(planted) for planted in rounds]


def found(root: Path, now_ns: int | None = None) -> tuple[tuple[Finding, ...], tuple[NotChecked, ...]]:
    store = detect_store(str(root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    return look(inventory, now_ns or time.time_ns() + HOURS_AHEAD)


def wish_for(code: str) -> Wish:
    """What ``gcd repair CODE`` asks for, of damage that has been seen for two days."""
    return replace(by_name(RemedyKind.REPAIR, code), history=GREEDY.history)


def repaired(acting: Acting, code: str, plan: Plan | None = None) -> list[str]:
    """Repair all findings of `code`, by `plan` if it was made just now; the entries that this made."""
    plan = plan or acting.plan(wish_for(code))
    assert alone(plan) == []
    deeds = acting.carry_out(wish_for(code), plan)
    assert not_done(deeds) == []
    return [deed.entry for deed in deeds]


def marks(root: Path):
    return fingerprint(root, leave_out=[".gcd"])


def expect_at_work(engine: Engine, images: set[str]) -> None:
    """The engine lists images and container, and runs both."""
    listed = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert images <= set(listed), listed
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").split() == ["web"]
    for image in sorted(images & {"app:latest", "built:latest"}):
        assert engine.docker("run", "--rm", "--network=none", image, "/bin/busybox", "cat", "/a") == said("a")
    assert engine.docker("start", "-a", "web") == ""
    assert "A /data/x" in engine.docker("diff", "web").splitlines()


def said(name: str) -> str:
    return FILES[name].decode().strip()


@pytest.mark.parametrize("damages", rounds_of(DAMAGES), ids=lambda damages: f"{damages[0]} and {len(damages) - 1} more")
def test_the_engine_takes_what_was_mended(damages, filled_root, make_engine, tmp_path):
    """One engine judges the mends of a round, which one root got one after the other, each in other places."""
    root = tmp_path / "docker"
    copy_root(filled_root, root)
    mended: set[str] = set()

    for damage in damages:
        named = mend_undo_and_mend_again(root, damage)
        assert named & mended == set(), f"{damage} hides what was mended before it"
        mended |= named

    engine = make_engine(root)
    expect_at_work(engine, names_after(damages, filled_root))
    engine.stop()
    assert found(engine.root) == ((), ())


def mend_undo_and_mend_again(root: Path, damage: Damage) -> set[str]:
    """What `damage` to a sound root takes to be mended: the paths that this changes."""
    damage.plant(root, find_targets(root)[damage.target])
    before = marks(root)

    acting = Acting(root, ahead=True)
    plan = acting.plan(wish_for(damage.code))
    named = {change.path for step in plan.steps for change in step.changes}
    entries = repaired(acting, damage.code, plan)

    assert entries != [], damage
    after = marks(root)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed != set(), damage
    assert changed <= named, damage
    assert found(root) == ((), ()), damage

    assert {deed.outcome for deed in acting.restore(entries)} == {Outcome.DONE}, damage

    assert differences(before, marks(root)) == [], damage

    repaired(acting, damage.code)
    return named


def names_after(damages: tuple[Damage, ...], root: Path) -> set[str]:
    """The names that images have after mending: where the file was lost, those that containers prove, and held ones."""
    if not NAMES_LOST & {damage.name for damage in damages}:
        return {"app:latest", "built:latest"}
    images = {path.name for path in (root / "image/overlay2/imagedb/content/sha256").iterdir()}
    app = find_targets(root)[Target.IMAGE].removeprefix("sha256:")
    return {"app:latest"} | {f"gcd-recovered/{image[:12]}:latest" for image in images - {app}}


@pytest.mark.parametrize("code", sorted({damage.code for damage in ONLINE}))
def test_what_may_be_mended_while_the_engine_runs(code, filled_root, make_engine):
    """All damages of a code, one after the other: the engine works after each, before the next is planted."""
    engine = make_engine(filled_root, settle=True)
    acting = Acting(engine.root, socket=str(engine.socket))

    for damage in (damage for damage in ONLINE if damage.code == code):
        damage.plant(engine.root, find_targets(engine.root)[damage.target])
        plan = acting.plan(wish_for(code))
        deeds = acting.carry_out(wish_for(code), plan)

        assert not_done(deeds) == [], damage
        assert deeds != (), damage
        assert {left.reason for left in plan.left_alone} <= {Reason.ENGINE_RUNS}, damage
        assert all(is_build_id(left.finding.subject.id) for left in plan.left_alone), damage
        expect_at_work(engine, {"app:latest", "built:latest"})

    engine.stop()
    repaired(Acting(engine.root, ahead=True), code)  # the dirs of builds
    assert found(engine.root) == ((), ())


def test_the_content_of_each_layer_proves_its_dir_and_none_of_other_files(filled_root):
    store = detect_store(str(filled_root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    held = {record.cache_id.value: files_of(filled_root, record.cache_id.value) for record in inventory.layers.values()}

    with open_root(str(filled_root)) as directory:
        witness = RootWitness(directory)
        for record in inventory.layers.values():
            own = held[record.cache_id.value]
            for layer_dir, files in held.items():
                lack = witness.lacks(layer_dir, record.chain_id, record.diff_id.value)
                assert (lack == "") == (files == own), (record, layer_dir, lack)

    assert len(held) > 5


def files_of(root: Path, layer_dir: str) -> dict[str, tuple[object, ...]]:
    """Two builders copy the same file: the layers differ in mtimes alone."""
    marks_of_all = fingerprint(root / "overlay2" / layer_dir / "diff")
    return {path: (m.mode, m.owner, m.device, m.xattrs, m.content) for path, m in marks_of_all.items()}
