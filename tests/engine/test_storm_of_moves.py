"""
A storm with automatic quarantine: while images are pulled, built, run, committed, removed and pruned at once, gcd moves
every orphan that is proven, again and again. Twenty and more were made before by killing the engine in the middle of
pulls: all of those move, nothing else does, and every image saves the same bytes before and after.

It lasts ``GCD_STORM_SECONDS`` (120). The build cache is not pruned here: a known panic of dockerd 20.10 would end the
engine (`test_storm.KNOWN_PANIC`), and what that leaves behind is leaked in earnest.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.acting import PROVEN_ORPHANS, Acting
from support.engine import SETTLE, EngineError
from support.scenes import judge, keep_evidence, told
from support.storms import SECONDS, push_images, storm, works_on

from gcd.model.finding import Confidence, Kind
from gcd.model.plan import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine, Registry

pytestmark = [pytest.mark.engine, pytest.mark.slow]

LEAST_LEAKS = 20
MOST_KILLS = 20
LEAKY_IMAGES = 8
AT_ONCE = 5
"""So many pulls are unpacking when the engine is killed; each leaves a dir."""


def push_leaky_images(engine: Engine, address: str) -> list[str]:
    """Images of one layer whose many files take a while to unpack."""
    names = [f"{address}/leaky{number}:v1" for number in range(LEAKY_IMAGES)]
    for name in names:
        files = {f"many/{i % 50}/{i}": os.urandom(500) for i in range(2000)}
        engine.build(name, "FROM scratch\nCOPY many /many\n", files)
        engine.docker("push", name)
    return names


def leak_dirs(engine: Engine, names: list[str]) -> set[str]:
    """Kill the engine in the middle of pulls, until enough dirs are named by nothing; the dirs. It is stopped then."""
    before = engine.layer_dirs()
    leaked: set[str] = set()
    for _ in range(MOST_KILLS):
        pulls = [engine.spawn("pull", name) for name in names]
        deadline = time.monotonic() + 90
        # Pulls that are over before so many were seen at once leak nothing: they are made again.
        while unpacking(engine, before | leaked) < AT_ONCE and any(pull.poll() is None for pull in pulls):
            assert time.monotonic() < deadline, "the pulls did not come far enough to be killed"
        engine.crash()
        for pull in pulls:
            pull.wait(20)
        leaked = engine.layer_dirs() - before - set(engine.chains().values())
        if len(leaked) >= LEAST_LEAKS:
            return leaked
        start_again(engine)
        for name in engine.docker("images", "-q", "--filter", "reference=*/leaky*").split():
            engine.docker("rmi", "-f", name)
    raise EngineError(f"{MOST_KILLS} kills have leaked no more than {len(leaked)} dirs")


def unpacking(engine: Engine, known: set[str]) -> int:
    """How many pulls are unpacking their layer, each into a dir of its own."""
    begun = engine.layer_dirs() - known - set(engine.chains().values())
    return sum((engine.overlay2 / name / "diff/many/30").exists() for name in begun)


def start_again(engine: Engine) -> None:
    """A second time if need be: its containerd has 15 s to come up, which a busy machine may not give it."""
    try:
        engine.start()
    except EngineError:
        engine.start(60)


def saved(engine: Engine, name: str) -> dict[str, str]:
    """The content of each file in the archive that ``docker save`` makes of an image."""
    archive = subprocess.run(
        ["docker", "save", name], env=engine.environment(), check=True, capture_output=True, timeout=300
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar if member.isfile()]
        return {name: hashlib.sha256(file.read()).hexdigest() for name, file in files if file is not None}


def works_without_builder_prune(engine: Engine, names: list[str]) -> dict[str, Callable[[int], None]]:
    def prune(number: int) -> None:
        engine.docker("image" if number % 2 else "container", "prune", "-f")
        time.sleep(2)

    return {**works_on(engine, names), "prune": prune}


def test_all_that_leaked_moves_and_nothing_else_does(
    make_engine: Callable[..., Engine], base_root: Path, registry: Registry
) -> None:
    pusher = make_engine(base_root)
    names = push_images(pusher, registry.address)
    leaky = push_leaky_images(pusher, registry.address)
    pusher.stop()
    engine = make_engine(base_root)
    leaked = leak_dirs(engine, leaky)
    time.sleep(SETTLE)
    start_again(engine)
    engine.docker("pull", names[2])
    images = ["app", "built", names[2]]
    before = {name: saved(engine, name) for name in images}
    acting = Acting(engine.root)
    moved: set[str] = set()
    reasons: Counter[str] = Counter()
    done: Counter[str] = Counter()
    passes = 0

    with storm(works_without_builder_prune(engine, names), done):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            passes += 1
            for deed in acting.carry_out(PROVEN_ORPHANS):
                reasons[f"{deed.outcome} {deed.reason or ''}".strip()] += 1
                if deed.outcome is Outcome.DONE:
                    moved.add(deed.step.finding.subject.id)
            if not moved <= leaked:
                keep_evidence(engine, "storm of moves")
            assert moved <= leaked

    assert moved == leaked, (reasons, told(judge(engine)))
    assert len(done) == 6
    assert min(done.values()) >= SECONDS / 60, done
    assert passes >= SECONDS / 20, (passes, reasons)
    assert {name: saved(engine, name) for name in images} == before
    assert leaked & engine.layer_dirs() == set()
    proven = [f.id for f in judge(engine).findings if f.kind is Kind.ORPHAN and f.confidence is Confidence.PROVEN]
    assert [name for name in proven if not name.startswith("GCD211")] == []
    engine.restart()
    assert {name: saved(engine, name) for name in images} == before
    for name in ("app", "built"):
        engine.docker("run", "--rm", "--network=none", name, "/bin/busybox", "cat", "/a")
