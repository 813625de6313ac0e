"""
The experiments behind the safety rules: each makes something live look like an orphan, and gcd must not be taken in.

The names (T8, T40, …) are those of docs/safety.md where it is quoted; each docstring says which rule it holds.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.scenes import FILES, expect_healthy, judge, keep_evidence, told

from gcd.model.finding import Severity
from gcd.root import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.engine import Engine

    from gcd.model.finding import Finding
    from gcd.model.result import RunResult

needs_engine = pytest.mark.engine

PLANTED = "0123456789abcdef" * 4
PLANTED_LINK = "PLANTEDPLANTEDPLANTEDPLANT"


def orphans(result: RunResult) -> list[Finding]:
    return [finding for finding in result.findings if finding.kind == "orphan"]


def plant_orphan(root: Path) -> Path:
    """A layer dir that nothing refers to, whole, with a megabyte in it."""
    layer_dir = root / "overlay2" / PLANTED
    (layer_dir / "diff").mkdir(parents=True)
    (layer_dir / "link").write_text(PLANTED_LINK)
    (layer_dir / "diff/payload").write_bytes(os.urandom(1 << 20))
    (root / "overlay2/l" / PLANTED_LINK).symlink_to(f"../{PLANTED}/diff")
    return layer_dir


def expect_only_blocked(engine: Engine, result: RunResult, what: str) -> list[Finding]:
    """No orphan could be acted upon; the orphans that there are."""
    free = [f"{f.id} {f.confidence} blocked by {f.blocked_by}" for f in orphans(result) if not f.blocked_by]
    if free:
        keep_evidence(engine, what)
    assert free == []
    assert result.summary.orphaned_bytes == 0
    assert result.summary.proven_bytes == 0
    return orphans(result)


# --- T8: a layer moves from one store to the other while gcd reads --------------------------------


@pytest.fixture
def only_in_build_cache(make_engine: Callable[..., Engine]) -> Engine:
    """A running engine whose build cache holds two old steps that were never exported to an image."""
    engine = make_engine()
    out = engine.home / "out"
    engine.build("none", "FROM scratch\nCOPY a /a\nCOPY b /b\n", FILES, "-o", f"type=local,dest={out}", buildkit=True)
    assert engine.chains() == {}
    engine.restart()
    return engine


def move_to_layerdb(engine: Engine) -> None:
    """The build is made again, from the cache, which is pruned then: only layer records name the steps' dirs now."""
    engine.build("moved", "FROM scratch\nCOPY a /a\nCOPY b /b\n", FILES, buildkit=True)
    engine.docker("builder", "prune", "-a", "-f")
    assert set(engine.chains().values()) == engine.layer_dirs()


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have `act` done once, between the readings of BuildKit's databases and of layerdb, whichever comes first."""
    done: list[str] = []

    def hook(name: str) -> None:
        original = getattr(read, name)

        def reading(*args: object, **kwargs: object) -> object:
            result = original(*args, **kwargs)
            done.append(name)
            if len(done) == 1:
                act()
            return result

        monkeypatch.setattr(read, name, reading)

    hook("read_build_cache")
    hook("read_layerdb")


@needs_engine
def test_t8_one_reading_sees_a_moving_layer(only_in_build_cache: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """S1: BuildKit is read before layerdb, so one of them names the layer whenever it moves."""
    engine = only_in_build_cache
    between(monkeypatch, lambda: move_to_layerdb(engine))
    inventory = read.read_inventory(str(engine.root))
    live = set(engine.chains().values())
    assert len(live) == 2
    named = set(inventory.build_cache.named) | {getattr(r.cache_id, "value", "") for r in inventory.layers.values()}
    assert live <= named
    assert all(inventory.layer_dirs[i].ctime_ns < inventory.engine.epoch_ns for i in live), "age would excuse nothing"


@needs_engine
def test_t8_a_moving_layer_is_no_orphan(only_in_build_cache: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = only_in_build_cache
    between(monkeypatch, lambda: move_to_layerdb(engine))
    result = judge(engine)
    assert told(result) == []
    assert orphans(result) == []


# --- lost owners ----------------------------------------------------------------------------------


@needs_engine
@pytest.mark.parametrize("which", ["top", "middle", "base"])
@pytest.mark.parametrize("image", ["app", "built"])
def test_t40_layer_record_lost_under_a_running_engine(
    make_engine: Callable[..., Engine], base_root: Path, image: str, which: str
) -> None:
    """S2: the dir is named by nothing, old, and in use by an engine that has the record in memory."""
    engine = make_engine(base_root, settle=True)
    if image == "built":
        engine.docker("builder", "prune", "-a", "-f")
    diff_ids = engine.inspect(image)["RootFS"]["Layers"]
    depth = {"top": len(diff_ids), "middle": 2, "base": 1}[which]
    chain = engine.chain(diff_ids[:depth])
    lost_dir = engine.chains()[chain]
    shutil.rmtree(engine.layerdb / "sha256" / chain.removeprefix("sha256:"))

    result = judge(engine)
    lines = told(result)
    assert result.not_checked == (), lines
    assert any(f.severity >= Severity.ERROR for f in result.findings if image in " ".join(f.impact.images)), lines
    apparent = expect_only_blocked(engine, result, f"t40 {image} {which}")
    assert {f.subject.id for f in apparent} <= {lost_dir}
    engine.docker("run", "--rm", "--network=none", image, "/bin/busybox", "ls", "/a")


@needs_engine
def test_t41_rw_layer_record_lost(make_engine: Callable[..., Engine], base_root: Path) -> None:
    """S2, S9: the dir with the user's data looks like an orphan; its container is there and says that it is none."""
    engine = make_engine(base_root)
    shell = ("/bin/busybox", "sh", "-c")
    engine.docker("run", "--network=none", "--name", "mine", "app", *shell, "echo precious >/data/mine")
    engine.restart()
    container = engine.inspect("mine")["Id"]
    record = engine.layerdb / "mounts" / container
    mount_id = (record / "mount-id").read_text()
    shutil.rmtree(record)

    result = judge(engine)
    lines = told(result)
    assert result.not_checked == (), lines
    assert f"GCD305:container:{container}" in {f.id for f in result.findings}, lines
    apparent = expect_only_blocked(engine, result, "t41")
    assert "GCD101" not in {f.code for f in result.findings}, lines
    (data,) = [f for f in apparent if f.code == "GCD116"]
    assert data.subject.id == mount_id
    assert data.blocked_by == (f"GCD305:container:{container}",)
    assert {remedy.applicability for remedy in data.remedies} <= {"manual"}


@needs_engine
def test_t41_with_the_engine_stopped(make_engine: Callable[..., Engine], base_root: Path) -> None:
    engine = make_engine(base_root)
    engine.docker(
        "run", "--network=none", "--name", "mine", "app", "/bin/busybox", "sh", "-c", "echo precious >/data/x"
    )
    container = engine.inspect("mine")["Id"]
    engine.stop()
    shutil.rmtree(engine.layerdb / "mounts" / container)
    expect_only_blocked(engine, judge(engine, ahead=True), "t41 stopped")


# --- is the engine alive, and since when? ---------------------------------------------------------

CHECK_ELSEWHERE = """
import json, sys, time
from gcd.run import check
result = check(sys.argv[1], now_ns=time.time_ns())
print(json.dumps({
    "state": result.engine.state, "pid": result.engine.pid, "epoch": result.engine.epoch_ns,
    "findings": {f.id: [f.confidence, f.severity] for f in result.findings},
    "proven_bytes": result.summary.proven_bytes, "not_checked": len(result.not_checked),
}))
"""


def judge_elsewhere(engine: Engine, *command: str) -> dict[str, object]:
    """The check made by a process that `command` starts, such as ``unshare --pid``."""
    python = [sys.executable, "-c", CHECK_ELSEWHERE, str(engine.root)]
    repository = str(Path(read.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": repository}
    done = subprocess.run([*command, *python], check=True, capture_output=True, text=True, env=environment)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@needs_engine
def test_engine_in_another_pid_namespace(make_engine: Callable[..., Engine], base_root: Path) -> None:
    """S4: the lock is held, but by nobody that gcd can see: running, epoch unknown, nothing proven."""
    engine = make_engine(base_root)
    plant_orphan(engine.root)
    engine.restart()
    orphan = f"GCD101:layer-dir:{PLANTED}"

    beside = judge(engine)
    assert beside.engine.pid == engine.pid
    assert {f.id: f.confidence for f in orphans(beside)} == {orphan: "proven"}

    apart = judge_elsewhere(engine, "unshare", "--fork", "--pid", "--mount-proc")
    assert apart["state"] == "running"
    assert apart["pid"] is None
    assert apart["epoch"] is None
    assert apart["findings"] == {orphan: ["suspected", "info"]}
    assert apart["proven_bytes"] == 0
    assert apart["not_checked"] == 0


@needs_engine
def test_engine_in_a_pid_namespace_below(make_engine: Callable[..., Engine], base_root: Path) -> None:
    """From the parent namespace the engine's pid is seen, translated: a sound root stays without a finding."""
    unshare = ("unshare", "--fork", "--pid", "--kill-child")
    engine = make_engine(base_root, command=unshare, settle=True)
    result = expect_healthy(engine, "engine in a pid namespace", orphans_too=True)
    assert result.engine.state == "running"
    assert result.engine.pid in (engine.pid, None)


@needs_engine
def test_lock_held_by_something_that_is_no_engine(make_engine: Callable[..., Engine], base_root: Path) -> None:
    """S4: a locked database without a dockerd proves nothing."""
    engine = make_engine(base_root)
    plant_orphan(engine.root)
    engine.stop()
    with (engine.root / "volumes/metadata.db").open("rb") as database:
        fcntl.flock(database, fcntl.LOCK_EX)
        result = judge(engine, ahead=True)
    assert result.engine.state == "running"
    assert result.engine.epoch_ns is None
    assert [(f.subject.id, f.confidence) for f in orphans(result)] == [(PLANTED, "suspected")]
    assert told(result) == []


@needs_engine
def test_young_orphan_is_only_suspected(engine: Engine) -> None:
    """S5: what is younger than the epoch may be the beginning of a pull."""
    plant_orphan(engine.root)
    result = judge(engine)
    assert [(f.subject.id, f.confidence, f.severity) for f in orphans(result)] == [(PLANTED, "suspected", "info")]


@needs_engine
def test_stopped_is_not_settled(engine: Engine) -> None:
    """S7: with the engine stopped, what changed within the hour may be part of a copy that still arrives."""
    plant_orphan(engine.root)
    engine.stop()
    now = judge(engine)
    assert now.engine.state == "stopped"
    assert [(f.subject.id, f.confidence) for f in orphans(now)] == [(PLANTED, "suspected")]
    later = judge(engine, ahead=True)
    assert [(f.subject.id, f.confidence) for f in orphans(later)] == [(PLANTED, "proven")]


@needs_engine
def test_orphan_that_somebody_has_mounted(make_engine: Callable[..., Engine], base_root: Path) -> None:
    """S3: a mount in a namespace that is not gcd's keeps the dir, by its upper side or by a bind of its diff."""
    engine = make_engine(base_root)
    layer_dir = plant_orphan(engine.root)
    engine.restart()
    target = engine.home / "elsewhere"
    target.mkdir()
    script = f"mount --bind {layer_dir}/diff {target}; echo mounted; exec sleep 1000"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"mounted\n"
            held = judge(engine)
        finally:
            holder.kill()
    assert [f.id for f in orphans(held) if f.confidence == "proven" and not f.blocked_by] == []
    time.sleep(0.1)
    assert [f.confidence for f in orphans(judge(engine))] == ["proven"]


# --- T50 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["duplicate-dirs-26", "duplicate-dirs-28"])
def test_t50_kept_only_by_a_lower_that_no_longer_resolves(harvested: Callable[[str], Engine], name: str) -> None:
    """S3: link and symlink are lost, so no ``lower`` leads to the dir; one that does not resolve may mean it."""
    stopped = harvested(name)
    links = {(stopped.overlay2 / i / "link").read_text(): i for i in stopped.layer_dirs()}
    named = set(stopped.chains().values())
    kept_by_lower = {links[token] for token in stopped.cited_links()} - named
    kept_by_lower = {i for i in kept_by_lower if len(i) == 25}
    assert len(kept_by_lower) >= 2
    for lost in sorted(kept_by_lower):
        (stopped.overlay2 / "l" / (stopped.overlay2 / lost / "link").read_text()).unlink()
        (stopped.overlay2 / lost / "link").unlink()
        result = judge(stopped, ahead=True)
        assert any(f.severity >= Severity.ERROR for f in result.findings), told(result)
        expect_only_blocked(stopped, result, f"t50 {name}")
