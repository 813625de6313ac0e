"""A root that the builder wrote, given to an engine: it lists, saves, runs on and removes what is in it as its own."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.engine import BUSYBOX, Engine

from gcd.demo.dockerroot import DockerRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine


@pytest.fixture
def engine(engine_home: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Engine, DockerRoot]]:
    engine = Engine(engine_home / f"built-{request.node.name}"[:40])
    engine.root.rmdir()
    root = DockerRoot(engine.root)
    yield engine, root
    engine.dispose()


def test_images_and_containers_are_listed_and_nothing_is_skipped(engine):
    engine, root = engine
    deep = root.image("deep:1", layers=125)
    web = root.image("web:1", base=root.image("base:1", layers=2), layers=2)
    empty = root.image("empty:1", layers=0)
    container = root.container("web", image=web, content={"data/x": b"written"})
    steps = root.build_step(content={"usr/a": b"a" * 100})
    built = root.image_of("built:1", (root.build_export(steps),))
    root.write()

    engine.start()

    listed = set(engine.docker("images", "--no-trunc", "-q").split())
    assert {deep.id, web.id, empty.id, built.id} <= listed
    assert engine.docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}}") == (
        f"{container.id} web web:1"
    )
    data = engine.inspect("web")["GraphDriver"]["Data"]
    assert data["UpperDir"] == str(root.path / "overlay2" / container.rw.mount_id / "diff")
    assert engine.docker("cp", "web:/data/x", "-").count("written") == 1
    assert "Failed to load" not in engine.log.read_text()


def test_saved_layers_have_the_diff_ids_of_their_records(engine):
    engine, root = engine
    image = root.image("web:1", layers=[{"etc/a": b"a" * 1000}, {"etc/b": b"b", "usr/" + "x" * 120: b"long"}])
    root.write()
    engine.start()

    archive = engine.home / "saved.tar"
    engine.docker("save", "-o", str(archive), "web:1")

    with tarfile.open(archive) as saved:
        (manifest,) = json.load(saved.extractfile("manifest.json"))
        layers = [saved.extractfile(name).read() for name in manifest["Layers"]]
    assert [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers] == [
        layer.diff_id for layer in image.layers
    ]


def test_containers_run_on_built_layers_and_all_of_it_can_be_removed(engine):
    engine, root = engine
    image = root.image("tools:1", layers=[{"bin/busybox": Path(BUSYBOX).read_bytes()}, {"etc/motd": b"hello\n"}])
    root.write()
    (root.path / "overlay2" / image.layers[0].cache_id / "diff/bin/busybox").chmod(0o755)
    engine.start()

    said = engine.docker("run", "--rm", "--network=none", "tools:1", "/bin/busybox", "cat", "/etc/motd")
    engine.docker("rmi", "tools:1")

    assert said == "hello"
    assert engine.layer_dirs() == set()
    assert engine.chains() == {}
