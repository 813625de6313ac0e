"""
An engine's own race: ``docker image prune`` removes the image that a build has made and not yet named.

The classic builder registers the image, removes the container of its last step, and names the image then (moby
``builder/dockerfile/builder.go`` and ``api/server/backend/build``, TagImages); until then it is a dangling image.
Naming one that is gone fails only after the name was written. Confirmed on Docker 20.10.24, 26.1.5 and 28.5.2.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.engine import EngineError
from support.scenes import all_names, expect_healthy, judge, named_by, names_of_nothing

from gcd.model.finding import Confidence, Severity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

pytestmark = pytest.mark.engine

LIMIT = 60
ATTEMPTS = 5
FILES = 5000
"""So many that removing the step's container takes far longer than it takes the engine to begin a prune."""

LOOP = f"/bin/busybox mkdir -p /m/m; i=0; while [ $i -lt {FILES} ]; do : >/m/m/$i; i=$((i+1)); done"
DOCKERFILE = f'FROM app\nRUN ["/bin/busybox", "sh", "-c", ": attempt %d; {LOOP}"]\n'


def images(engine: Engine) -> set[str]:
    return {path.name for path in (engine.root / "image/overlay2/imagedb/content/sha256").glob("[0-9a-f]*")}


def prune_before_the_name(engine: Engine, tag: str, attempt: int) -> str | None:
    """
    Build `tag` and prune dangling images when its image is there and its name is not; the image's id. None if the name
    was there by then.
    """
    before = images(engine)
    complaints: list[str] = []

    def build() -> None:
        try:
            engine.build(tag, DOCKERFILE % attempt)
        except EngineError as error:
            complaints.append(str(error))

    builder = threading.Thread(target=build)
    pruner = threading.Thread(target=lambda: engine.request("POST", "/images/prune"))
    builder.start()
    try:
        deadline = time.monotonic() + LIMIT
        while not (made := images(engine) - before):
            assert time.monotonic() < deadline, "the build made no image"
            time.sleep(0.0005)
        with engine.frozen():
            if f"{tag}:latest" in dict(all_names(engine)):
                return None
            pruner.start()
            time.sleep(0.1)
        pruner.join(LIMIT)
    finally:
        builder.join(LIMIT)
    (image,) = made
    assert image not in images(engine)
    assert len(complaints) == 1
    assert "failed to get digest" in complaints[0]
    return f"sha256:{image}"


def test_a_name_of_an_image_that_was_pruned_before_it_was_named(
    make_engine: Callable[..., Engine], base_root: Path
) -> None:
    engine = make_engine(base_root)
    for attempt in range(ATTEMPTS):
        image = prune_before_the_name(engine, "raced", attempt)
        if image is not None:
            break
        engine.docker("rmi", "raced")
    assert image is not None, "the name always came before the prune"
    assert names_of_nothing(engine) == {("raced:latest", image)}

    for _ in range(2):
        result = judge(engine)
        (dangling,) = [finding for finding in result.findings if finding.severity is not Severity.INFO]
        assert (dangling.code, named_by(dangling)) == ("GCD405", ("raced:latest", image))
        assert dangling.confidence is Confidence.PROVEN
        with pytest.raises(EngineError, match="No such image"):
            engine.docker("rmi", "raced")
        engine.restart()

    engine.build("raced", "FROM app\nLABEL a=b\n")
    expect_healthy(engine, "named again", orphans_too=True)
