"""What an engine writes is known to be plain, so that a check of a healthy root reads none of it with care."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.compiled import needs_compiled
from support.scenes import FILES

from gcd.formats import gostruct
from gcd.root.containers import containers_of, read_container_files
from gcd.root.images import images_of, read_imagedb
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from support.engine import Engine

    from gcd.formats.gojson import Fields

pytestmark = [pytest.mark.engine, needs_compiled]


def test_images_and_containers_are_plain(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = 'LABEL who="<me> & \\"you\\""\nENV A=b\nVOLUME /volume\nEXPOSE 80\nHEALTHCHECK CMD /bin/busybox true\n'
    engine.build("labelled", f"FROM app\nCOPY b /b\n{labels}", FILES)
    engine.build("built-labelled", f"FROM built\nCOPY b /b\n{labels}", FILES, buildkit=True)
    run = ("run", "-d", "--network=none")
    limits = ("-v", "data:/data2", "--label=a=b", "--memory=64m", "--cap-drop=ALL", "--restart=on-failure:3")
    engine.docker(*run, *limits, "labelled", "/bin/busybox", "true")
    engine.docker(*run, "--tmpfs=/tmp:size=1m", "--ulimit=nofile=99:99", "built-labelled")
    known: list[bool] = []
    genuine = gostruct._plain

    def plain(raw: bytes, shape: gostruct.Shape, *, is_whole: bool) -> Fields | None:
        fields = genuine(raw, shape, is_whole=is_whole)
        known.append(fields is not None)
        return fields

    monkeypatch.setattr(gostruct, "_plain", plain)
    with open_root(str(engine.root)) as root:
        images = images_of(read_imagedb(root, "overlay2")[0])
        containers = containers_of(read_container_files(root)[0])

    assert (len(images) >= 4, len(containers)) == (True, 2)
    assert known == [True] * (len(images) + 2 * len(containers) + 1)
