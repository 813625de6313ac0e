"""
Engines for the tests of this directory, and roots prepared once.

`make_engine` starts engines of a test's own, each on a copy of a root that an engine prepared once in the session, and
disposes of all of them whatever becomes of the test. `now_ns` of the checks lies ahead where a copied root is judged
with its engine stopped: the ctimes of a copy are those of the copying.

``GCD_ENGINE_CHROOT=<directory>`` takes dockerd from a Debian in that directory, such as those that
``tests/data/roots/harvest.py`` installs: the same tests, judged by a newer engine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.contents import write_every_way
from support.engine import SETTLE, Engine, Registry, copy_root, engine_lack, inside, place, unmount_below
from support.scenes import branch_out, expect_sound, fill, make_base, many_files, push_several_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


BIG = 15_000


def newer(home: Path) -> tuple[str, ...]:
    """What an engine at `home` is put behind: nothing, or the Debian that was asked for."""
    chroot = os.environ.get("GCD_ENGINE_CHROOT")
    return inside(Path(chroot), home) if chroot else ()


@pytest.fixture(scope="session")
def engine_home() -> Iterator[Path]:
    """A directory for the session's engines; nothing is mounted below it at the end, and it is gone."""
    lack = engine_lack()
    if lack is not None:
        pytest.skip(f"needs a Docker engine: {lack}")
    home = Path(tempfile.mkdtemp(prefix="gcd-", dir=place()))
    yield home
    unmount_below(home)
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def registry(engine_home: Path) -> Iterator[Registry]:
    registry = Registry(engine_home / "registry")
    yield registry
    registry.close()


def prepared(home: Path, scene: Callable[[Engine], None], source: Path | None = None) -> Path:
    """
    A stopped root at ``home/root`` in which an engine made `scene`, beginning with a copy of the root `source`.

    It fails here if the root is not sound, rather than in every test that begins with a copy of it.
    """
    if source is not None:
        home.mkdir()
        copy_root(source, home / "root")
    engine = Engine(home, command=newer(home))
    try:
        engine.start()
        scene(engine)
        engine.stop()
    finally:
        engine.dispose()
    expect_sound(engine, f"the root that is prepared once in the session as {home.name!r}")
    return engine.root


@pytest.fixture(scope="session")
def base_root(engine_home: Path) -> Path:
    """A stopped root with the images of `support.scenes.make_base`."""
    return prepared(engine_home / "base", make_base)


@pytest.fixture(scope="session")
def filled_root(engine_home: Path, base_root: Path) -> Path:
    """A stopped root with containers and build cache too, a target for every fault: `support.scenes.fill`."""
    return prepared(engine_home / "filled", fill, base_root)


@pytest.fixture(scope="session")
def branched_root(engine_home: Path, base_root: Path) -> Path:
    """A stopped root with images that share layers, and layers that only they hold: `support.scenes.branch_out`."""
    return prepared(engine_home / "branched", branch_out, base_root)


@pytest.fixture(scope="session")
def big_root(engine_home: Path, base_root: Path) -> Path:
    """A stopped root with trees that take long to remove: `support.scenes.many_files`."""
    return prepared(engine_home / "big", lambda engine: many_files(engine, BIG), base_root)


@pytest.fixture(scope="session")
def several_layers(engine_home: Path, registry: Registry) -> str:
    """An image in the registry whose pull takes a while: `support.scenes.push_several_layers`."""
    name = f"{registry.address}/several:v1"
    root = prepared(engine_home / "pusher", lambda engine: push_several_layers(engine, name))
    shutil.rmtree(root)
    return name


@pytest.fixture(scope="session")
def written_root(engine_home: Path, registry: Registry) -> Path:
    """A stopped root with layers written in every way: `support.contents.write_every_way`."""
    return prepared(engine_home / "written", lambda engine: write_every_way(engine, registry.address))


@pytest.fixture
def make_engine(engine_home: Path) -> Iterator[Callable[..., Engine]]:
    """
    ``make_engine(source)`` gives a running engine on a copy of the root `source`, or on a new root without it.

    `harm` is done to the copy before the engine starts. With `settle` all that was copied, and the harm, is older than
    the engine's epoch.
    """
    engines: list[Engine] = []

    def make(
        source: Path | None = None,
        *,
        command: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
        settle: bool = False,
        harm: Callable[[Engine], object] = lambda _: None,
    ) -> Engine:
        home = Path(tempfile.mkdtemp(prefix="e", dir=engine_home))
        if source is not None:
            copy_root(source, home / "root")
        engine = Engine(home, command=(*command, *newer(home)), flags=flags)
        engines.append(engine)
        harm(engine)
        if settle:
            time.sleep(SETTLE)
        engine.start()
        return engine

    yield make
    for engine in engines:
        engine.dispose()
        shutil.rmtree(engine.home, ignore_errors=True)


@pytest.fixture
def engine(make_engine: Callable[..., Engine], base_root: Path) -> Engine:
    """A running engine on a copy of the base root."""
    return make_engine(base_root)


@pytest.fixture
def harvested(tmp_path: Path) -> Callable[[str], Engine]:
    """``harvested(name)``: a root of ``tests/data/roots``, unpacked, as an engine that is never started."""

    def unpack(name: str) -> Engine:
        engine = Engine(tmp_path / name)
        archive = Path(__file__).parents[1] / "data/roots" / f"{name}.tar.gz"
        subprocess.run(["tar", "-C", str(engine.root), "-xpzf", str(archive)], check=True)
        return engine

    return unpack


def pytest_report_header() -> str:
    return f"engine: {engine_lack() or 'dockerd'}; evidence kept in {os.environ.get('GCD_EVIDENCE') or 'no place'}"
