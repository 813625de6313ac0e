"""
Killed anywhere in a release: before it speaks to the engine, and before it hears, each time that it does.

gcd changes nothing itself here. Whatever the engine was told by then, the next run ends what was begun, releases what
is left, and the root is what it is after a release that nobody killed.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import docker
import pytest
from support.fakeengine import fake_engine
from support.fakeproc import FakeProc
from support.killing import histogram, kill_at, points_of

from gcd.actions import release as releasing
from gcd.actions.engineapi import EngineApi
from gcd.actions.release import LABEL, finish, release
from gcd.demo.dockerroot import DockerRoot
from gcd.model.facts import Engine, EngineState
from gcd.model.ids import ChainId
from gcd.model.plan import Outcome, Release
from gcd.model.storegraph import StoreGraph
from gcd.planning import Wish, objection
from gcd.policy.confidence import judge
from gcd.root.read import read_inventory
from gcd.root.tree import open_root
from gcd.rules.table import find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.slow]

CALLS = ("connect", "sendto", "sendmsg", "write", "recvfrom")
MINUTE_NS = 60 * 10**9


class Scene:
    """A root with an image, on it a leak of two layers and of one more; and gcd at work on it."""

    def __init__(self, root: Path, socket: Path, proc: str) -> None:
        self.root = root
        self.socket = socket
        self._proc = proc
        self._epoch_ns = time.time_ns() + MINUTE_NS
        self._engine = Engine(EngineState.RUNNING, pid=1, epoch_ns=self._epoch_ns)

    def connect(self, *_: object, **__: object) -> EngineApi:
        client = docker.APIClient(base_url=f"unix://{self.socket}", version="auto", timeout=20)
        return EngineApi(client, str(self.socket))

    def read(self):
        return replace(read_inventory(str(self.root), proc=self._proc), engine=self._engine)

    def release(self) -> list[Outcome]:
        """What a run does: finish what an earlier one left, then release what is leaked, tips first."""
        now_ns = self._epoch_ns + MINUTE_NS
        with open_root(str(self.root)) as root:
            against = partial(objection, wish=Wish(), now_ns=now_ns)
            done = list(finish(root, self._engine, read=self.read, objection=against, now_ns=now_ns))
            inventory = self.read()
            bound_ns = self._engine.proof_bound(now_ns)
            graph = StoreGraph(inventory, bound_ns)
            found = [judge(finding, bound_ns) for finding in find(inventory, graph, {"GCD211"})[0]]
            steps = [Release(finding, ChainId(finding.subject.id)) for finding in found]
            steps.sort(key=lambda step: -len(list(graph.ancestors(step.chain))))
            done += release(root, self._engine, steps, read=self.read, now_ns=now_ns)
        return [deed.outcome for deeds in done for deed in deeds]

    def paths(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def leftovers(self) -> list[Path]:
        configs = (self.root / "image/overlay2/imagedb/content/sha256").iterdir()
        return [path for path in configs if LABEL in path.read_text()]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    with DockerRoot(tmp_path / "template") as built:
        base = built.image("base:1", layers=2)
        low = built.layer(base.top)
        built.layer(low)
        built.layer(base.top)
    return tmp_path / "template"


@pytest.fixture
def proc(tmp_path: Path) -> str:
    made = FakeProc(tmp_path / "proc")
    made.process(1)
    return str(made)


@pytest.fixture
def scenes(template: Path, tmp_path: Path, proc: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Fresh scenes, each with its engine; the one before is taken down."""

    def fresh() -> Iterator[Scene]:
        while True:
            root, socket = tmp_path / "docker", tmp_path / "s"
            shutil.copytree(template, root, symlinks=True)
            scene = Scene(root, socket, proc)
            monkeypatch.setattr(releasing, "connect", scene.connect)
            with fake_engine(root, socket):
                yield scene
            shutil.rmtree(root)
            socket.unlink()

    made = fresh()
    yield made
    made.close()


def test_killed_at_every_word_with_the_engine(scenes: Iterator[Scene], capsys: pytest.CaptureFixture[str]):
    scene = next(scenes)
    points = points_of(scene.release, calls=CALLS)
    clean = scene.paths()
    assert len(list((scene.root / "image/overlay2/layerdb/sha256").iterdir())) == 2
    left = 0
    for point in points:
        scene = next(scenes)

        kill_at(scene.release, point, calls=CALLS)

        scene.connect().images()  # the engine has done what it was asked by then
        left += len(scene.leftovers())
        assert set(scene.release()) <= {Outcome.DONE}
        assert (scene.paths(), scene.leftovers()) == (clean, [])
        assert scene.release() == []
    with capsys.disabled():
        sys.stdout.write("\n" + histogram(("release", point) for point in points) + "\n")
    assert len(points) >= 50
    assert (
        left == 2 * 3
    )  # of each release: between the load and its answer, and before a removal is connected to and asked for
