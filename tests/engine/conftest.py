"""
Engines for the tests of this directory, and roots prepared once.

`make_engine` starts engines of a test's own, each on a copy of a root that an engine prepared once in the session, and
disposes of all of them whatever becomes of the test. `now_ns` of the checks lies ahead where a copied root is judged
with its engine stopped: the ctimes of a copy are those of the copying.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.engine import SETTLE, Engine, Registry, copy_root, engine_lack, place, unmount_below
from support.scenes import make_base, push_several_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


@pytest.fixture(scope="session")
def base_root(engine_home: Path) -> Path:
    """A stopped root with the images of `support.scenes.make_base`."""
    engine = Engine(engine_home / "base")
    try:
        engine.start()
        make_base(engine)
        engine.stop()
    finally:
        engine.dispose()
    return engine.root


@pytest.fixture(scope="session")
def several_layers(engine_home: Path, registry: Registry) -> str:
    """An image in the registry whose pull takes a while: `support.scenes.push_several_layers`."""
    name = f"{registry.address}/several:v1"
    engine = Engine(engine_home / "pusher")
    try:
        engine.start()
        push_several_layers(engine, name)
    finally:
        engine.dispose()
        shutil.rmtree(engine.home)
    return name


@pytest.fixture
def make_engine(engine_home: Path) -> Iterator[Callable[..., Engine]]:
    """
    ``make_engine(source)`` gives a running engine on a copy of the root `source`, or on a new root without it.

    With `settle` all that was copied is older than the engine's epoch.
    """
    engines: list[Engine] = []

    def make(
        source: Path | None = None, *, command: tuple[str, ...] = (), flags: tuple[str, ...] = (), settle: bool = False
    ) -> Engine:
        home = Path(tempfile.mkdtemp(prefix="e", dir=engine_home))
        if source is not None:
            copy_root(source, home / "root")
        if settle:
            time.sleep(SETTLE)
        engine = Engine(home, command=command, flags=flags)
        engines.append(engine)
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


def pytest_report_header() -> str:
    return f"engine: {engine_lack() or 'dockerd'}; evidence kept in {os.environ.get('GCD_EVIDENCE') or 'no place'}"
