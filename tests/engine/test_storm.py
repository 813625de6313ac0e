"""
A storm: pulls, builds of both kinds, runs, commits, removals and prunes at once, and gcd looking all the while.

Nothing that the engine does is a fault; what was planted before is found in every pass; and what a crash in the middle
of it leaves behind is found in every pass after the restart. It lasts ``GCD_STORM_SECONDS`` (120; ``make storm``: 600).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.engine import SETTLE, EngineError, copy_root
from support.scenes import judge, keep_evidence, told

from gcd.demo.faults import layers, overlay2
from gcd.demo.faults.fault import Target
from gcd.demo.faults.targets import find_targets
from gcd.model.finding import Kind, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.engine import Engine, Registry

    from gcd.model.result import RunResult

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SECONDS = float(os.environ.get("GCD_STORM_SECONDS", "120"))
IMAGES = 3
QUICK_LAYERS = 9
LEAST_CHECKED = 0.8
LEAST_LEAKS = 20
PASSES_AFTER = 10
REMAINS = {"GCD101", "GCD601"}
"""What killed pulls leave besides the layers that they had registered: the dir and the write set of the one at hand."""


def push_images(engine: Engine, address: str) -> list[str]:
    """Images of nine quick layers and a slow one on top, which is where a pull is when it is killed."""
    names = [f"{address}/storm{number}:v1" for number in range(IMAGES)]
    for name in names:
        files = {f"part{i}": os.urandom(200_000) for i in range(QUICK_LAYERS)}
        files |= {f"many/{i % 50}/{i}": os.urandom(2000) for i in range(5000)}
        copies = "\n".join(f"COPY part{i} /part{i}" for i in range(QUICK_LAYERS))
        engine.build(name, f"FROM scratch\n{copies}\nCOPY many /many\n", files, buildkit=True)
        engine.docker("push", name)
        engine.docker("rmi", name)
    return names


def pull(engine: Engine, name: str) -> None:
    engine.docker("pull", name)
    engine.docker("rmi", name)


def build(engine: Engine, number: int, *, buildkit: bool) -> None:
    tag = f"made{int(buildkit)}"
    run = f'RUN ["/bin/busybox", "sh", "-c", "echo {number} >/made"]'
    engine.build(tag, f"FROM app\n{run}\nCOPY f /f\n", {"f": os.urandom(20_000)}, buildkit=buildkit)
    engine.docker("run", "--rm", "--network=none", tag, "/bin/busybox", "cat", "/made")
    engine.docker("rmi", "-f", tag)


def commit(engine: Engine, number: int) -> None:
    name = f"box{number}"
    engine.docker("run", "--network=none", "--name", name, "app", "/bin/busybox", "sh", "-c", "echo x >/data/y")
    engine.docker("commit", name, f"committed{number % 3}")
    engine.docker("rm", "-f", name)
    engine.docker("rmi", "-f", f"committed{number % 3}")


def prune(engine: Engine, number: int) -> None:
    what = (("builder", "-a"), ("image",), ("container",))[number % 3]
    engine.docker(what[0], "prune", "-f", *what[1:])
    time.sleep(2)


@contextlib.contextmanager
def storm(works: dict[str, Callable[[int], None]]) -> Iterator[dict[str, int]]:
    """While inside, each of `works` is done over and over in a thread of its own; gives how often each was done."""
    done = dict.fromkeys(works, 0)
    is_over = threading.Event()

    def repeat(name: str) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            # One worker prunes what another is just building: a command may fail, and the engine must come to no harm.
            with contextlib.suppress(EngineError):
                works[name](number)
                done[name] += 1

    threads = [threading.Thread(target=repeat, args=(name,)) for name in works]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        is_over.set()
        for thread in threads:
            thread.join(150)


def planted_in(root: Path) -> set[str]:
    """Three faults that no engine makes good: their findings are there in every pass."""
    target = find_targets(root)[Target.LAYER]
    return {
        f"GCD101:{overlay2.add_layer_dir(root, '')}",
        f"GCD102:{overlay2.add_build_dir(root, '')}",
        f"GCD209:{layers.cut_tar_split(root, target)}",
    }


def grave(result: RunResult) -> set[str]:
    return {finding.id for finding in result.findings if finding.severity is not Severity.INFO}


def test_a_storm_makes_no_findings_and_its_leaks_are_all_found(
    make_engine: Callable[..., Engine], base_root: Path, registry: Registry, tmp_path: Path
) -> None:
    pusher = make_engine(base_root)
    names = push_images(pusher, registry.address)
    pusher.stop()
    source = tmp_path / "planted"
    copy_root(base_root, source)
    planted = planted_in(source)
    engine = make_engine(source, settle=True)
    works: dict[str, Callable[[int], None]] = {
        **{f"pull {name}": lambda _, name=name: pull(engine, name) for name in names[:2]},
        "classic build": lambda number: build(engine, number, buildkit=False),
        "BuildKit build": lambda number: build(engine, number, buildkit=True),
        "commit": lambda number: commit(engine, number),
        "prune": lambda number: prune(engine, number),
    }

    passes = 0
    unchecked = 0
    with storm(works) as done:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            result = judge(engine)
            passes += 1
            unchecked += bool(result.not_checked)
            is_right = grave(result) <= planted if result.not_checked else grave(result) == planted
            if not is_right:
                keep_evidence(engine, "storm")
            assert is_right, (planted - grave(result), told(result, least=Severity.INFO), result.engine)
    assert min(done.values()) >= SECONDS / 60, done
    assert passes >= SECONDS / 10
    assert 1 - unchecked / passes >= LEAST_CHECKED, f"{unchecked} of {passes} passes were not fully checked"

    leaks = leave_leaks(engine, names)
    engine.start()
    for _ in range(PASSES_AFTER):
        result = judge(engine)
        found = {finding.id for finding in result.findings if finding.kind is Kind.ORPHAN}
        assert leaks <= found, told(result)
        assert {f.split(":")[0] for f in grave(result) - planted - leaks} <= REMAINS, told(result)
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
