"""
Killed anywhere in a release: before it speaks to the engine, and before it hears, each time that it does; and each time
the engine, or the way to it, fails.

gcd changes nothing itself here. Whatever the engine was told by then, the next run ends what was begun, releases what
is left, and the root is what it is after a release that nobody killed.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import docker
import pytest
from msgspec.structs import replace
from support.fakeengine import Trouble, fake_engine
from support.fakeproc import FakeProc
from support.killing import fail_at, histogram, kill_at, points_of

from gcd.actions import release as releasing
from gcd.actions.engineapi import EngineApi
from gcd.actions.release import LABEL, finish, release
from gcd.demo.dockerroot import DockerRoot
from gcd.model.errors import CannotAct
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

    from gcd.model.plan import Deed

pytestmark = [pytest.mark.root, pytest.mark.slow]

CALLS = ("connect", "sendto", "sendmsg", "write", "recvfrom")
MINUTE_NS = 60 * 10**9


class Scene:
    """A root with an image, on it a leak of two layers and of one more; and gcd at work on it."""

    def __init__(self, root: Path, socket: Path, proc: str) -> None:
        self.root = root
        self.socket = socket
        self.whys: list[str] = []
        self.patience = 20.0
        self._proc = proc
        self._epoch_ns = time.time_ns() + MINUTE_NS
        self._engine = Engine(EngineState.RUNNING, pid=1, epoch_ns=self._epoch_ns)

    def connect(self, *_: object, **__: object) -> EngineApi:
        try:
            client = docker.APIClient(base_url=f"unix://{self.socket}", version="auto", timeout=self.patience)
        except docker.errors.DockerException as error:
            raise CannotAct(f"The engine does not answer: {error}.") from None
        return EngineApi(client, str(self.socket))

    def read(self):
        return replace(read_inventory(str(self.root), proc=self._proc), engine=self._engine)

    def release(self) -> list[Outcome]:
        """
        What a run does: finish what an earlier one left, then release what is leaked, tips first. One that cannot ask
        the engine has no deeds.
        """
        with contextlib.suppress(CannotAct):
            return [self._outcome(deed) for deeds in self._deeds() for deed in deeds]
        return []

    def _outcome(self, deed: Deed) -> Outcome:
        assert (deed.outcome is Outcome.DONE) == (deed.why == ""), deed
        assert "\n" not in deed.why
        self.whys.append(deed.why)
        return deed.outcome

    def _deeds(self) -> list[tuple[Deed, ...]]:
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
        return done

    def paths(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def leaked(self) -> int:
        """How many layers there are, but for the two of the image."""
        return len(list((self.root / "image/overlay2/layerdb/sha256").iterdir())) - 2

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


ERROR_OF = {"connect": "ECONNREFUSED", "sendto": "EIO", "recvfrom": "ECONNRESET"}
"""Of what was sent to a connection that is gone urllib3 awaits an answer all the same: that would be a timeout."""


def test_every_call_to_the_engine_fails(scenes: Iterator[Scene], capsys: pytest.CaptureFixture[str]):
    scene = next(scenes)
    points = points_of(scene.release, calls=CALLS)
    clean = scene.paths()
    for point in points:
        scene = next(scenes)

        fail_at(scene.release, point, ERROR_OF[point.call], calls=CALLS)

        expect_finished(scene, clean)
    with capsys.disabled():
        sys.stdout.write("\n" + histogram(("release fails", point) for point in points) + "\n")
    assert len(points) >= 50


WORDS = {"GET": (Trouble.REFUSES, Trouble.GARBLES), "POST": tuple(Trouble), "DELETE": tuple(Trouble)}
"""What goes wrong with a question, and with what changes something."""


def test_every_answer_of_the_engine_is_none(
    template: Path, tmp_path: Path, proc: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """What the engine has done by then, or not, gcd is not told."""
    root, socket = tmp_path / "docker", tmp_path / "s"
    scene = Scene(root, socket, proc)
    monkeypatch.setattr(releasing, "connect", scene.connect)

    def released(*troubled: tuple[int, Trouble]) -> tuple[list[Outcome], list[str]]:
        """The outcomes, and the methods of all that the engine was asked."""
        socket.unlink(missing_ok=True)
        with fake_engine(root, socket, *troubled) as asked:
            return scene.release(), asked.read_text().split()

    shutil.copytree(template, root, symlinks=True)
    outcomes, words = released()
    assert outcomes == [Outcome.DONE] * 3
    clean = scene.paths()
    troubles = [(number, trouble) for number, word in enumerate(words, 1) for trouble in WORDS[word]]
    for number, trouble in troubles:
        shutil.rmtree(root)
        shutil.copytree(template, root, symlinks=True)
        scene.patience = 0.2 if trouble is Trouble.HANGS else 20.0

        outcomes, asked = released((number, trouble))

        assert len(asked) >= number
        assert outcomes.count(Outcome.DONE) <= 3 - scene.leaked(), (number, trouble)
        scene.patience = 20.0
        socket.unlink()
        with fake_engine(root, socket):
            expect_finished(scene, clean)
    with capsys.disabled():
        counted = Counter(f"{words[number - 1]} {trouble.name.lower()}" for number, trouble in troubles)
        sys.stdout.write("\n" + "\n".join(f"{what:24} {times:4}" for what, times in sorted(counted.items())) + "\n")
    assert (words.count("POST"), words.count("DELETE")) == (2, 2)


def expect_finished(scene: Scene, clean: set[str]) -> None:
    """Nothing that lives was hurt, and the next run does the rest."""
    assert scene.paths() >= clean
    assert set(scene.release()) <= {Outcome.DONE}, scene.whys
    assert (scene.paths(), scene.leftovers()) == (clean, [])
    assert scene.release() == []
