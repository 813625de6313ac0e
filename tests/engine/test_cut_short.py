"""
Work that a kill cut short, as far as rw layers and containers tell of it: a classic build's COPY, and ``docker rm``.

A COPY works in an rw layer that only the engine's memory owns (moby ``daemon/images/image_builder.go`` NewRWLayer);
after a kill nothing ever releases it. A removal marks the container first and takes its rw layer then
(``daemon/delete.go``).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.engine import SETTLE, EngineError, disk_usage
from support.scenes import judge, keep_evidence, told

from gcd.model.finding import Confidence, Severity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

    from gcd.model.finding import Finding
    from gcd.model.result import RunResult

pytestmark = pytest.mark.engine

LIMIT = 60
ATTEMPTS = 5
COPIED = 60 << 20


def above_info(result: RunResult) -> list[Finding]:
    return [finding for finding in result.findings if finding.severity is not Severity.INFO]


def transient_records(engine: Engine) -> list[str]:
    """Those of no container that are whole: ``parent`` is written last (moby ``layer/layer_store.go`` saveMount)."""
    containers = {path.name for path in (engine.root / "containers").iterdir()}
    whole = [path.parent.name for path in (engine.layerdb / "mounts").glob("*/parent") if is_written(path)]
    return [name for name in whole if name not in containers]


def is_written(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size > 0
    return False


def kill_during_copy(engine: Engine) -> str | None:
    """
    Kill the engine while a classic build copies; the name of the rw layer record that this left behind. None, and a
    built image, if the copy was done before the engine could be halted.
    """

    def build() -> None:
        with contextlib.suppress(EngineError):
            engine.build("big", "FROM app\nCOPY big /big\n", {"big": os.urandom(COPIED)})

    builder = threading.Thread(target=build)
    builder.start()
    try:
        deadline = time.monotonic() + LIMIT
        while not (records := transient_records(engine)):
            assert time.monotonic() < deadline, "no rw layer of a COPY was seen"
            time.sleep(0.002)
        with engine.frozen():
            if records[0] not in transient_records(engine):
                return None
            assert told(judge(engine)) == [], "a COPY under way"
            engine.crash()
    finally:
        builder.join(LIMIT)
    return records[0]


def test_a_copy_that_was_killed_leaves_its_rw_layer(engine: Engine) -> None:
    name = next(filter(None, (kill_during_copy(engine) for _ in range(ATTEMPTS))))
    time.sleep(SETTLE)
    engine.start()
    engine.docker("system", "prune", "-a", "-f", "--volumes")

    result = judge(engine)

    keep_evidence(engine, "killed copy")
    (leak,) = [finding for finding in above_info(result) if finding.code == "GCD310"]
    mount_id = (engine.layerdb / "mounts" / name / "mount-id").read_text()
    link = (engine.overlay2 / mount_id / "link").read_text()
    assert leak.subject.id == name
    assert (leak.confidence, leak.blocked_by) == (Confidence.PROVEN, ())
    assert set(leak.paths) == {
        f"image/overlay2/layerdb/mounts/{name}",
        f"overlay2/{mount_id}",
        f"overlay2/l/{link}",
    }
    assert leak.disk_bytes == disk_usage(*(engine.root / path for path in leak.paths))
    # On a slow machine the copy is done before the kill, and its layer in the middle of its registration.
    assert {finding.code for finding in above_info(result)} <= {"GCD310", "GCD101", "GCD211", "GCD601"}, told(result)
    assert result.not_checked == ()


def dead(engine: Engine) -> list[Path]:
    found = []
    for path in (engine.root / "containers").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if '"Dead":true' in (path / "config.v2.json").read_text():
                found.append(path)
    return found


def kill_during_removal(engine: Engine) -> bool:
    """Kill the engine while it removes ``big``; False if that was over before the engine could be halted."""
    removal = engine.spawn("rm", "big")
    deadline = time.monotonic() + LIMIT
    while not dead(engine) and removal.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with engine.frozen():
        is_under_way = bool(dead(engine))
        if is_under_way:
            assert told(judge(engine)) == [], "a removal under way"
            engine.crash()
    removal.wait(LIMIT)
    return is_under_way


def test_a_removal_that_was_killed_leaves_a_dead_container(make_engine: Callable[..., Engine], big_root: Path) -> None:
    """Proven only with the engine stopped: at each start it writes the config of every container that it loads."""
    engine = next(engine for _ in range(ATTEMPTS) if kill_during_removal(engine := make_engine(big_root)))
    (path,) = dead(engine)

    result = judge(engine, ahead=True)

    keep_evidence(engine, "killed rm")
    (remains,) = above_info(result)
    assert (remains.code, remains.subject.id, remains.confidence) == ("GCD309", path.name, Confidence.PROVEN)
    assert f"containers/{path.name}" in remains.paths
    assert result.not_checked == ()

    time.sleep(SETTLE)
    engine.start()
    assert above_info(judge(engine)) == []
    engine.docker("rm", "big")
    assert [finding.code for finding in judge(engine).findings if finding.code == "GCD309"] == []
