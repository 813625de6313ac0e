"""The bound below which an unreferenced thing is nobody's (safety rules S4 to S7)."""

from __future__ import annotations

import pytest

from gcd.model.facts import SETTLED_NS, Engine, EngineState

NOW_NS = 1_764_072_000_000_000_000
EPOCH_NS = NOW_NS - 86_400_000_000_000


@pytest.mark.parametrize(
    ("engine", "bound_ns"),
    [
        (Engine(EngineState.RUNNING, pid=1, epoch_ns=EPOCH_NS), EPOCH_NS),
        (Engine(EngineState.RUNNING, pid=1), None),
        (Engine(EngineState.STOPPED), NOW_NS - 3_600_000_000_000),
        (Engine(EngineState.UNKNOWN), None),
        (Engine(EngineState.UNKNOWN, epoch_ns=EPOCH_NS), None),
    ],
)
def test_each_state_has_its_bound(engine, bound_ns):
    assert engine.proof_bound(NOW_NS) == bound_ns


@pytest.mark.parametrize("state", list(EngineState))
def test_one_doubt_proves_nothing(state):
    assert Engine(state, epoch_ns=EPOCH_NS, doubts=("the clock was set back",)).proof_bound(NOW_NS) is None


def test_an_hour_settles():
    assert SETTLED_NS == 3600 * 10**9
