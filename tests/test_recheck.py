"""A refresh says what a full look says, and reads what changed and nothing else."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from support.fakeproc import FakeProc
from support.rootoperations import VERBS, Operations

from gcd.model.changed import NOTHING
from gcd.recheck import Recheck
from gcd.run import check

EXAMPLES = int(os.environ.get("GCD_PROPERTY_EXAMPLES", "100"))
HOUR_NS = 3_600_000_000_000


@pytest.fixture(scope="module")
def proc(tmp_path_factory):
    return str(FakeProc(tmp_path_factory.mktemp("proc")))


def told(result):
    """What two looks at one root must agree upon."""
    return (
        sorted(result.findings, key=lambda f: f.id),
        sorted(result.not_checked, key=lambda lack: (lack.code, lack.source)),
        dict(result.sources),
        result.summary,
    )


@settings(
    max_examples=max(5, EXAMPLES // 4),
    deadline=None,
    derandomize="GCD_PROPERTY_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 23)), min_size=1, max_size=10),
    bursts=st.lists(st.booleans(), min_size=10, max_size=10),
)
def test_a_refresh_says_what_a_full_look_says(proc, steps, bursts):
    with tempfile.TemporaryDirectory() as folder:
        operations = Operations(Path(folder) / "root", 5)
        now_ns = time.time_ns() + 2 * HOUR_NS
        recheck = Recheck(str(operations.path), proc=proc)
        recheck.full(now_ns)
        heard = NOTHING
        for (verb, pick), is_end in zip(steps, bursts, strict=False):
            note(f"{verb} {pick}{'' if is_end else ' …'}")
            heard |= operations.do(verb, pick)
            if is_end:
                assert told(recheck.refresh(heard, now_ns)) == told(
                    check(str(operations.path), now_ns=now_ns, proc=proc)
                )
                heard = NOTHING
        assert told(recheck.refresh(heard, now_ns)) == told(check(str(operations.path), now_ns=now_ns, proc=proc))


# --- what is read ---------------------------------------------------------------------------------------------------


class Calls:
    """Counts the calls by which a root is read."""

    NAMES = ("open", "readlink", "scandir", "stat")

    def __init__(self, monkeypatch):
        self.counted = Counter()
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._counting(name, getattr(os, name)))

    def _counting(self, name, call):
        def counting(*arguments, **named):
            self.counted[name] += 1
            return call(*arguments, **named)

        return counting

    def of(self, work):
        self.counted.clear()
        work()
        return self.counted.total()


@pytest.mark.parametrize("containers", [10, 60])
def test_what_a_refresh_reads_does_not_grow_with_the_root(tmp_path, proc, monkeypatch, containers):
    operations = Operations(tmp_path / "root", 6)
    for number in range(containers):
        operations.do("create", number)
    now_ns = time.time_ns() + 2 * HOUR_NS
    recheck = Recheck(str(operations.path), proc=proc)
    calls = Calls(monkeypatch)

    assert calls.of(lambda: recheck.full(now_ns)) > 20 * containers
    came = operations.do("create", 0)
    assert calls.of(lambda: recheck.refresh(came, now_ns)) < 200
    went = operations.do("rm", containers)
    assert calls.of(lambda: recheck.refresh(went, now_ns)) < 200
    assert calls.of(lambda: recheck.refresh(NOTHING, now_ns)) < 120
