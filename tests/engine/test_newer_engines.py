"""
Small roots that engines newer than Debian's wrote, made by ``tests/data/roots/harvest.py``; no engine is needed here.

26.1 and 28.5 leave layer dirs behind that no database names, and that live layers stand on; 28 mounts images.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.scenes import expect_healthy

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.engine import Engine

DUPLICATES = ["duplicate-dirs-26", "duplicate-dirs-28"]


@pytest.mark.parametrize("name", DUPLICATES)
def test_unnamed_dirs_that_a_live_layer_stands_on(harvested: Callable[[str], Engine], name: str) -> None:
    stopped = harvested(name)
    ids = stopped.layer_dirs()
    unnamed = {i for i in ids - set(stopped.chains().values()) if len(i) == 25}
    cited = stopped.cited_links()
    assert len(unnamed) == 2, "the root shows what it was made for"
    assert {(stopped.overlay2 / i / "link").read_text() for i in unnamed} <= cited
    result = expect_healthy(stopped, name, ahead=True, orphans_too=True)
    assert result.engine.state == "stopped"
    assert (result.summary.images, result.summary.containers) == (2, 1)


def test_container_that_mounts_an_image(harvested: Callable[[str], Engine]) -> None:
    stopped = harvested("image-mount-28")
    (config,) = (json.loads(path.read_bytes()) for path in stopped.root.glob("containers/*/config.v2.json"))
    nested = config["MountPoints"]["/data"]["ID"]
    assert "/" in nested
    assert (stopped.layerdb / "mounts" / nested / "mount-id").is_file()
    expect_healthy(stopped, "image mount", ahead=True, orphans_too=True)
