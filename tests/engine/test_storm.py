"""
A storm: pulls, builds of both kinds, runs, commits, removals and prunes at once, and gcd looking all the while.

Nothing that the engine does is a fault, but for one race of its own (test_pruned_while_built.py), of which a witness
that reads the files with code of its own must have seen each case; what was planted before is found in every pass; and
what a crash in the middle of it leaves behind is found in every pass after the restart. It lasts ``GCD_STORM_SECONDS``
(120; ``make storm``: 600).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import pytest
from support.engine import SETTLE, copy_root
from support.scenes import judge, keep_evidence, named_by, names_of_nothing, told
from support.storms import SECONDS, push_images, storm, works_on

from gcd.demo.faults import layers, overlay2
from gcd.demo.faults.fault import Target
from gcd.demo.faults.targets import find_targets
from gcd.model.facts import EngineState
from gcd.model.finding import Kind, Severity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine, Registry
    from support.scenes import Name

    from gcd.model.result import RunResult

pytestmark = [pytest.mark.engine, pytest.mark.slow]

LEAST_CHECKED = 0.8
LEAST_LEAKS = 20
PASSES_AFTER = 10
KNOWN_PANIC = "cache.(*cacheManager).GetByBlob"
"""
Where dockerd 20.10 ends itself when a ``builder prune -a`` meets the ``FROM`` of a BuildKit build: a nil dereference
(moby/buildkit issue 2153). With the two alone, over and over, 20.10.24 was dead after 30 s; with the builds alone, and
26.1.5 with both, lived on for 90 s. The storm goes on with another engine then.
"""

WITNESSED_EVERY = 0.02
REMAINS = {"GCD101", "GCD601"}
"""What killed pulls leave besides the layers that they had registered: the dir and the write set of the one at hand."""


class Witness:
    """While inside, sees which names are of no image, some dozen times a second."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._last_seen: dict[Name, float] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(10)

    def saw(self, name: Name, since: float) -> bool:
        """Whether `name` was of no image at some moment since `since`, a time of ``time.monotonic``."""
        return self._last_seen.get(name, -1.0) >= since

    def _look(self) -> None:
        while not self._is_over.wait(WITNESSED_EVERY):
            for name in names_of_nothing(self._engine):
                self._last_seen[name] = time.monotonic()


def planted_in(root: Path) -> set[str]:
    """Three faults that no engine makes good: their findings are there in every pass."""
    target = find_targets(root)[Target.LAYER]
    return {
        f"GCD101:{overlay2.add_layer_dir(root, '')}",
        f"GCD102:{overlay2.add_build_dir(root, '')}",
        f"GCD209:{layers.cut_tar_split(root, target)}",
    }


def grave(result: RunResult, witness: Callable[[Name], bool]) -> set[str]:
    """The findings above info, without the names of nothing that `witness` saw too."""
    return {
        finding.id
        for finding in result.findings
        if finding.severity is not Severity.INFO and not (finding.code == "GCD405" and witness(named_by(finding)))
    }


@dataclass
class Tally:
    """What came of a storm, over all its engines."""

    seconds: float = 0.0
    passes: int = 0
    unchecked: int = 0
    done: Counter[str] = field(default_factory=Counter)


def rage(engine: Engine, names: list[str], planted: set[str], tally: Tally) -> bool:
    """
    Storm on `engine` until there was enough of it; whether it is still alive then.

    A pass in which the engine died says nothing: it may die of the panic that is known of it, and of nothing else.
    """
    pid = engine.pid
    began = time.monotonic()
    with Witness(engine) as witness, storm(works_on(engine, names), tally.done):
        while (start := time.monotonic()) - began < SECONDS - tally.seconds:
            result = judge(engine)
            lived = (result.engine.state, result.engine.pid, result.engine.doubts) == (EngineState.RUNNING, pid, ())
            if not lived and engine.has_ended(within=2):
                break
            assert lived, result.engine
            tally.passes += 1
            tally.unchecked += bool(result.not_checked)
            found = grave(result, lambda name, start=start: witness.saw(name, start))
            is_right = found <= planted if result.not_checked else found == planted
            if not is_right:
                keep_evidence(engine, "storm")
            assert is_right, (planted - found, told(result, least=Severity.INFO), result.engine)
    tally.seconds += time.monotonic() - began
    if engine.has_ended():
        said = engine.log.read_text(errors="replace")
        assert KNOWN_PANIC in said, said[said.find("panic:") :][:4000]
        return False
    return True


def test_a_storm_makes_no_findings_and_its_leaks_are_all_found(
    make_engine: Callable[..., Engine], base_root: Path, registry: Registry, tmp_path: Path
) -> None:
    pusher = make_engine(base_root)
    names = push_images(pusher, registry.address)
    pusher.stop()
    source = tmp_path / "planted"
    copy_root(base_root, source)
    planted = planted_in(source)

    tally = Tally()
    while not rage(engine := make_engine(source, settle=True), names, planted, tally):
        engine.dispose()

    assert len(tally.done) == len(works_on(engine, names))
    assert min(tally.done.values()) >= SECONDS / 60, tally
    assert tally.passes >= SECONDS / 10, tally
    assert 1 - tally.unchecked / tally.passes >= LEAST_CHECKED, tally

    leaks = leave_leaks(engine, names)
    engine.start()
    of_nothing = names_of_nothing(engine)
    for _ in range(PASSES_AFTER):
        result = judge(engine)
        assert leaks <= {finding.id for finding in result.findings if finding.kind is Kind.ORPHAN}, told(result)
        others = grave(result, of_nothing.__contains__) - planted - leaks
        assert {f.split(":")[0] for f in others} <= REMAINS, told(result)
        assert {named_by(f) for f in result.findings if f.code == "GCD405"} == of_nothing
        assert result.not_checked == ()


def leave_leaks(engine: Engine, names: list[str]) -> set[str]:
    """Kill the engine when all pulls are at their last layer; the findings that this must leave, twenty and more."""
    engine.docker("system", "prune", "-f")
    before = engine.chains()
    pulls = [engine.spawn("pull", name) for name in names]
    deadline = time.monotonic() + 60
    while len(engine.chains().keys() - before.keys()) < LEAST_LEAKS:
        assert time.monotonic() < deadline, "the pulls did not come far enough to be killed"
        time.sleep(0.002)
    engine.crash()
    for process in pulls:
        process.wait(20)
    time.sleep(SETTLE)
    leaked = engine.chains().keys() - before.keys()
    assert len(leaked) >= LEAST_LEAKS
    return {f"GCD211:layer:sha256:{chain.removeprefix('sha256:')}" for chain in leaked}
