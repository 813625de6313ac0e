"""
A leak that needs neither a crash nor a kill: a build step whose bytes layerdb has already.

BuildKit's dir of the step is registered under a chain that has a dir, so layerdb keeps the one that it has; a prune of
the build cache then lets go of the layer and forgets BuildKit's dir (moby ``builder/builder-next/adapters/snapshot``
EnsureLayer and remove). Confirmed on Docker 20.10.24, 26.1.5 and 28.5.2.

An equal chain is no rarity: a classic build and one of BuildKit that begin with the same ``COPY``, or one build twice
with ``builder prune`` in between. Steps that make a directory are equal if they run within one second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.engine import disk_usage
from support.scenes import FILES, duplicate_dirs, expect_healthy, judge, told

from gcd.model.finding import Confidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.engine import Engine

pytestmark = pytest.mark.engine

ONE = "FROM scratch\nCOPY a /a\n"
TWO = f"{ONE}COPY b /b\n"


def two_builders(engine: Engine) -> None:
    engine.build("first", ONE, FILES)
    engine.build("second", TWO, FILES, buildkit=True)


def one_builder_twice(engine: Engine) -> None:
    engine.build("first", ONE, FILES, buildkit=True)
    engine.docker("builder", "prune", "-a", "-f")
    engine.build("second", TWO, FILES, buildkit=True)


@pytest.mark.parametrize("scene", [two_builders, one_builder_twice], ids=lambda scene: scene.__name__)
def test_a_dir_of_a_step_that_was_there_before_is_lost(
    make_engine: Callable[..., Engine], scene: Callable[[Engine], None]
) -> None:
    engine = make_engine()
    scene(engine)
    first, second = (engine.inspect(name)["RootFS"]["Layers"] for name in ("first", "second"))
    assert first == second[:1]
    (duplicate,) = duplicate_dirs(engine)
    expect_healthy(engine, "a duplicate dir that the build cache names", orphans_too=True)

    engine.docker("builder", "prune", "-a", "-f")
    expect_healthy(engine, "a duplicate dir that a layer of the second image stands on", orphans_too=True)
    engine.restart()
    expect_healthy(engine, "the same, older than the epoch", orphans_too=True)

    engine.docker("system", "prune", "-a", "-f")
    assert set(engine.docker("system", "df", "--format", "{{.Size}}").split()) == {"0B"}
    assert engine.layer_dirs() == {duplicate}

    result = judge(engine)

    (leak,) = result.findings
    link = (engine.overlay2 / duplicate / "link").read_text()
    assert (leak.code, leak.subject.id) == ("GCD102", duplicate), told(result)
    assert (leak.confidence, leak.blocked_by) == (Confidence.PROVEN, ())
    assert set(leak.paths) == {f"overlay2/{duplicate}", f"overlay2/l/{link}"}
    assert leak.disk_bytes == disk_usage(*(engine.root / path for path in leak.paths))
    assert result.not_checked == ()
