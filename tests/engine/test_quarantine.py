"""
Quarantine on roots that a real engine wrote, judged by the engine.

What leaked goes: the engine starts, whatever worked still works, the bytes are out of ``overlay2``; and all of it comes
back as it was, to the inode.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.acting import Acting, alone, by_name, not_done
from support.engine import SETTLE, EngineError, copy_root, disk_usage
from support.fingerprint import Mark, differences, fingerprint
from support.fulldisk import ext4, fill_up, free_bytes, on_a_terminal
from support.scenes import judge, told

from gcd.demo.faults import FAULTS, overlay2
from gcd.demo.faults.targets import find_targets
from gcd.model.errors import ExitBits
from gcd.model.finding import RemedyKind
from gcd.model.plan import Move, Outcome, Reason
from gcd.rules.table import RULES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

    from gcd.demo.faults.fault import PlantedFault
    from gcd.model.plan import Deed

pytestmark = pytest.mark.engine

LEAKS = [
    fault
    for fault in FAULTS
    if any(
        remedy.kind is RemedyKind.QUARANTINE for rule in RULES if rule.code == fault.code for remedy in rule.remedies
    )
]


KEPT = {
    "drop_rw_dir",
    "drop_rw_dirs",
    "empty_container_config",
    "drop_container_config",
    "garble_container_config",
    "empty_host_config",
    "add_removing_record_of_live_dir",
}
"""Faults whose code has this remedy, but not in this case: something that lives would be lost."""


def name_of(fault: PlantedFault) -> str:
    return f"{fault.code}-{fault.name}"


def plant(fault: PlantedFault, root: Path) -> str:
    """The id of the finding about it."""
    node = fault.plant(root, find_targets(root)[fault.target])
    return f"{fault.code}:{node}"


def units(deeds: tuple[Deed, ...]) -> list[str]:
    return [path for deed in deeds if isinstance(deed.step, Move) for path in deed.step.paths]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [pytest.param(f, id=name_of(f)) for f in LEAKS if f.name in KEPT])
def test_what_lives_has_no_such_remedy(fault: PlantedFault, filled_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "docker"
    copy_root(filled_root, root)
    finding = plant(fault, root)

    plan = Acting(root, ahead=True).plan(by_name(RemedyKind.QUARANTINE, finding))

    assert plan.steps == ()
    assert [(left.finding.id, left.reason) for left in plan.left_alone] == [(finding, Reason.NO_REMEDY)]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [pytest.param(f, id=name_of(f)) for f in LEAKS if f.name not in KEPT])
def test_a_unit_goes_whole_and_comes_back_exactly(fault: PlantedFault, filled_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "docker"
    copy_root(filled_root, root)
    finding = plant(fault, root)
    before = fingerprint(root)
    acting = Acting(root, ahead=True)
    wish = by_name(RemedyKind.QUARANTINE, finding)
    plan = acting.plan(wish)
    assert alone(plan) == []

    deeds = acting.carry_out(wish, plan)

    assert not_done(deeds) == []
    after = fingerprint(root, leave_out=(".gcd",))
    gone = {path for path in before if any(f"{path}/".startswith(f"{unit}/") for unit in units(deeds))}
    assert before.keys() - after.keys() == gone
    assert differences({path: mark for path, mark in before.items() if path not in gone}, after) == []
    assert acting.plan(wish).steps == ()

    assert {(deed.outcome, deed.why) for deed in acting.restore(deed.entry for deed in deeds)} == {(Outcome.DONE, "")}
    assert differences(before, fingerprint(root, leave_out=(".gcd",))) == []


# --- judged by the engine ---------------------------------------------------------------------------------------------

HARMLESS = {"GCD101", "GCD102", "GCD104", "GCD113", "GCD116", "GCD211", "GCD310", "GCD601", "GCD602", "GCD603",
            "GCD604", "GCD605"}  # fmt: skip
"""Leaks beside which everything works, so that all of them can be planted in one root."""
TOGETHER = [
    *(fault for fault in LEAKS if fault.code in HARMLESS and fault.name not in KEPT),
    *(fault for fault in LEAKS if fault.name == "add_metadata_without_image"),
]
ONLINE = {"GCD101", "GCD102", "GCD104", "GCD113", "GCD601", "GCD603"}
"""Those of them that may be moved while the engine runs."""
CACHED = 'FROM app\nRUN --mount=type=cache,target=/cache ["/bin/busybox", "cat", "/cache/x"]\n'


def plant_together(root: Path, faults: list[PlantedFault]) -> set[str]:
    targets = find_targets(root)
    return {f"{fault.code}:{fault.plant(root, targets[fault.target])}" for fault in faults}


def works(engine: Engine) -> None:
    """The images are there and run, the container starts, the build cache holds what it held."""
    assert set(engine.docker("images", "--format", "{{.Repository}}").split()) == {"app", "built"}
    for image in ("app", "built"):
        assert "a" in engine.docker("run", "--rm", "--network=none", image, "/bin/busybox", "ls", "/").split()
    assert engine.docker("start", "web") == "web"
    assert engine.docker("cp", "web:/data/x", "-") != ""
    engine.build("again", CACHED, buildkit=True)
    engine.docker("rmi", "again")
    lines = told(judge(engine))
    assert lines == []


def marks_of(root: Path, paths: list[str]) -> dict[str, Mark]:
    """The marks of all that is at or below `paths`."""
    every = fingerprint(root, leave_out=(".gcd",))
    return {path: mark for path, mark in every.items() if any(f"{path}/".startswith(f"{unit}/") for unit in paths)}


@pytest.mark.slow
def test_leaks_go_with_the_engine_stopped_and_come_back(make_engine: Callable[..., Engine], filled_root: Path) -> None:
    engine = make_engine(filled_root)
    engine.stop()
    planted = plant_together(engine.root, TOGETHER)
    acting = Acting(engine.root, ahead=True)
    wish = by_name(RemedyKind.QUARANTINE, *planted)
    plan = acting.plan(wish)
    assert alone(plan) == []
    assert {step.finding.id for step in plan.steps} == planted
    before = marks_of(engine.root, [path for step in plan.steps for path in step.finding.paths])
    in_overlay2 = disk_usage(engine.overlay2)

    deeds = acting.carry_out(wish, plan)

    assert not_done(deeds) == []
    moved = [path for path in units(deeds) if path.startswith("overlay2/")]
    entries = [engine.root / ".gcd/entries" / deed.entry for deed in deeds]
    assert disk_usage(engine.overlay2) <= in_overlay2 - (len(moved) << 12)
    assert disk_usage(*entries) >= sum(deed.disk_bytes for deed in deeds) > len(moved) << 12
    assert marks_of(engine.root, units(deeds)) == {}

    time.sleep(SETTLE)
    engine.start()
    works(engine)
    engine.restart()
    works(engine)
    engine.stop()
    restored = acting.restore(deed.entry for deed in deeds)
    assert [(deed.outcome, deed.why) for deed in restored] == [(Outcome.DONE, "")] * len(deeds)
    assert marks_of(engine.root, units(deeds)) == before


@pytest.mark.slow
def test_leaks_go_and_come_back_while_the_engine_runs(
    make_engine: Callable[..., Engine], filled_root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "planted"
    copy_root(filled_root, source)
    planted = plant_together(source, [fault for fault in TOGETHER if fault.code in ONLINE])
    engine = make_engine(source, settle=True)
    engine.docker("run", "-d", "--network=none", "--name", "live", "app")
    acting = Acting(engine.root)
    wish = by_name(RemedyKind.QUARANTINE, *ONLINE)
    plan = acting.plan(wish)
    found = {step.finding.id for step in plan.steps}
    assert found <= planted
    assert {name.split(":")[0] for name in found} == ONLINE, alone(plan)
    before = marks_of(engine.root, [path for step in plan.steps for path in step.finding.paths])

    deeds = acting.carry_out(wish, plan)

    assert not_done(deeds) == []
    assert marks_of(engine.root, units(deeds)) == {}
    works(engine)
    assert engine.docker("exec", "live", "/bin/busybox", "cat", "/data/one") == "one"
    engine.docker("kill", "live")
    engine.restart()
    works(engine)

    restored = acting.restore(deed.entry for deed in deeds)
    assert [(deed.outcome, deed.why) for deed in restored] == [(Outcome.DONE, "")] * len(deeds)
    assert marks_of(engine.root, units(deeds)) == before
    engine.docker("start", "live")


FULL_DISK = 48 << 20
"""Room for an engine and its images, and quickly filled."""


@pytest.mark.slow
def test_a_full_disk_is_freed_beside_a_running_engine(
    make_engine: Callable[..., Engine], base_root: Path, tmp_path: Path
) -> None:
    """The root is a disk of its own; the engine finds it as gcd left it, and has room again."""
    with contextlib.ExitStack() as disks:

        def move_to_a_small_disk(engine: Engine) -> None:
            aside = engine.root.rename(engine.home / "aside")
            disks.enter_context(ext4(engine.home / "image", engine.root, FULL_DISK))
            subprocess.run(["cp", "-a", "--", f"{aside}/.", str(engine.root)], check=True)
            orphan = engine.root / "overlay2" / overlay2.add_layer_dir(engine.root, "").id
            (orphan / "diff/big").write_bytes(os.urandom(4 << 20))
            orphans.append(orphan)

        orphans: list[Path] = []
        engine = make_engine(harm=move_to_a_small_disk, source=base_root, settle=True)
        disks.callback(engine.dispose)
        engine.docker("run", "-d", "--network=none", "--name", "live", "app")
        fill_up(engine.root)
        had, size = free_bytes(engine.root), disk_usage(*orphans)
        with pytest.raises(EngineError, match="no space left on device"):
            engine.docker("create", "app")

        gone = on_a_terminal(
            "quarantine", "--purge", "--root", engine.root, state=tmp_path / "state", typed="delete for good"
        )

        assert gone.status == ExitBits.MENDED, gone.lines
        assert [path for path in orphans if path.exists()] == []
        assert free_bytes(engine.root) - had >= size - disk_usage(engine.root / ".gcd")
        assert engine.docker("exec", "live", "/bin/busybox", "echo", "alive") == "alive"
        engine.docker("kill", "live")
        assert engine.docker("start", "live") == "live"
        assert told(judge(engine)) == []
