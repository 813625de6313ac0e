"""
The leak that gcd was made for: the engine is killed in the middle of a pull, and nothing ever gives the space back.

What stays is of two kinds. The layer dir that was being extracted is named by nothing; the layers that were done are
registered, but belong to no image. ``docker system prune -a`` frees neither (moby ``layer/layer_store.go``: layers load
with a reference count of zero, and nothing looks for them).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from support.engine import SETTLE, disk_usage
from support.scenes import DONE_BEFORE_THE_KILL, judge, keep_evidence, kill_during_pull, told

from gcd.model.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.engine import Engine

    from gcd.model.finding import Finding

pytestmark = pytest.mark.engine


@pytest.fixture
def leaking(make_engine: Callable[..., Engine], several_layers: str) -> Engine:
    """A running engine that says it uses nothing, on a root that holds the remains of a killed pull."""
    engine = make_engine()
    kill_during_pull(engine, several_layers)
    time.sleep(SETTLE)
    engine.start()
    engine.docker("system", "prune", "-a", "-f", "--volumes")
    return engine


def of_code(findings: tuple[Finding, ...], code: str) -> list[Finding]:
    return [finding for finding in findings if finding.code == code]


def expected_bytes(engine: Engine, paths: list[str]) -> int:
    return disk_usage(*(engine.root / path for path in paths))


def test_both_kinds_of_leak_are_found_with_their_bytes(leaking: Engine) -> None:
    registered = leaking.chains()
    extracting = leaking.layer_dirs() - set(registered.values())
    assert set(leaking.docker("system", "df", "--format", "{{.Size}}").split()) == {"0B"}
    assert len(extracting) == 1
    assert len(registered) >= DONE_BEFORE_THE_KILL

    result = judge(leaking)
    lines = told(result)
    assert result.not_checked == (), lines
    assert {f.code for f in result.findings if f.severity is not Severity.INFO} == {"GCD101", "GCD211", "GCD601"}, lines
    assert [f.subject.id for f in of_code(result.findings, "GCD601")] == leaking.write_sets()

    (unnamed,) = of_code(result.findings, "GCD101")
    (layer_dir,) = extracting
    link = (leaking.overlay2 / layer_dir / "link").read_text()
    assert unnamed.subject.id == layer_dir
    assert set(unnamed.paths) == {f"overlay2/{layer_dir}", f"overlay2/l/{link}"}
    assert unnamed.confidence == "proven"
    assert unnamed.blocked_by == ()
    assert unnamed.disk_bytes == expected_bytes(leaking, list(unnamed.paths))
    assert unnamed.disk_bytes >= expected_bytes(leaking, [f"overlay2/{layer_dir}"]) > 1 << 20

    layers = of_code(result.findings, "GCD211")
    assert {f.subject.id for f in layers} == set(registered)
    assert all(f.confidence == "proven" and f.blocked_by == () for f in layers), lines
    for finding in layers:
        layer_dir = f"overlay2/{registered[finding.subject.id]}"
        assert layer_dir in finding.paths
        assert finding.disk_bytes == expected_bytes(leaking, list(finding.paths))
        assert finding.disk_bytes >= expected_bytes(leaking, [layer_dir]) > 1 << 20

    assert result.summary.orphaned_bytes == sum(f.disk_bytes or 0 for f in (unnamed, *layers))
    assert result.summary.proven_bytes == result.summary.orphaned_bytes
    assert result.summary.blocked_bytes == 0


def test_the_same_leak_with_the_engine_stopped(leaking: Engine) -> None:
    online = {f.id for f in judge(leaking).findings if f.severity is not Severity.INFO}
    leaking.stop()
    result = judge(leaking, ahead=True)
    assert result.not_checked == ()
    assert {f.id for f in result.findings if f.severity is not Severity.INFO} == online
    assert all(f.confidence == "proven" for f in result.findings if f.kind == "orphan")


def test_during_the_pull_nothing_is_proven(make_engine: Callable[..., Engine], several_layers: str) -> None:
    """The same directories, while the pull is alive: at most a suspicion, shown as info."""
    engine = make_engine()
    pull = engine.spawn("pull", several_layers)
    seen_extracting = 0
    while pull.poll() is None:
        with engine.frozen():
            seen_extracting += bool(engine.write_sets())
            lines = told(judge(engine))
            if lines:
                keep_evidence(engine, "during pull")
            assert lines == []
        time.sleep(0.05)
    assert pull.returncode == 0
    assert seen_extracting > 0
