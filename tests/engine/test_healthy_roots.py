"""
Roots that an engine wrote and nobody hurt: whatever was done, gcd finds nothing above info and checks everything.

Each scene is judged three times: at once with the engine up (young things are about), after a restart (all of it is
older than the epoch, so every claim would be proven), and with the engine stopped and two hours gone by.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from support.engine import SETTLE
from support.scenes import FILES, expect_healthy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine, Registry

pytestmark = pytest.mark.engine

RUN = ("run", "--network=none")
SHELL = ("/bin/busybox", "sh", "-c")


def nothing(engine: Engine) -> None:
    """Only the builds of the base root, classic and BuildKit."""
    assert engine.docker("images", "-q").count("\n") == 1


def builds_on_top(engine: Engine) -> None:
    engine.build("child", "FROM app\nCOPY b /b\n", FILES)
    engine.build("child2", "FROM built\nCOPY c /c\n", {"c": b"c" * 9000}, buildkit=True)
    engine.build("child3", 'FROM app\nCOPY c /c\nRUN ["/bin/busybox", "rm", "/c"]\n', {"c": b"c" * 9000}, buildkit=True)


def build_cache_mount(engine: Engine) -> None:
    mount = "--mount=type=cache,target=/cache"
    run = f'RUN {mount} ["/bin/busybox", "sh", "-c", "echo kept >/cache/kept"]'
    engine.build("cached", f"# syntax\nFROM built\n{run}\n", buildkit=True)


def build_that_exports_nothing(engine: Engine) -> None:
    engine.build("none", "FROM built\nCOPY c /c\n", {"c": b"c" * 9000}, "-o", "type=local,dest=/dev/shm", buildkit=True)


def failed_builds(engine: Engine) -> None:
    for buildkit in (False, True):
        with pytest.raises(Exception, match="docker build"):
            engine.build("bad", 'FROM app\nCOPY c /c\nRUN ["/bin/busybox", "false"]\n', {"c": b"c"}, buildkit=buildkit)


def running(engine: Engine) -> None:
    engine.docker(*RUN, "-d", "--name", "one", "app")
    engine.docker(*RUN, "-d", "--name", "two", "built")


def paused(engine: Engine) -> None:
    engine.docker(*RUN, "-d", "--name", "one", "app")
    engine.docker("pause", "one")


def stopped(engine: Engine) -> None:
    engine.docker(*RUN, "--name", "one", "app", *SHELL, "echo mine >/data/mine")
    engine.docker("create", "--network=none", "--name", "two", "built")


def removed(engine: Engine) -> None:
    engine.docker(*RUN, "--name", "one", "app", *SHELL, "echo mine >/data/mine")
    engine.docker(*RUN, "--rm", "built", *SHELL, "echo gone >/gone")
    engine.docker("rm", "one")


def committed(engine: Engine) -> None:
    engine.docker(*RUN, "--name", "one", "app", *SHELL, "echo mine >/data/mine; rm /data/one")
    engine.docker("commit", "one", "committed")
    engine.docker(*RUN, "-d", "--name", "two", "committed")


def pruned(engine: Engine) -> None:
    stopped(engine)
    engine.docker("volume", "create", "data")
    engine.docker("system", "prune", "-a", "-f", "--volumes")
    assert engine.docker("images", "-q") == ""


def builder_pruned(engine: Engine) -> None:
    engine.docker("builder", "prune", "-a", "-f")
    engine.build("built2", "FROM built\nCOPY c /c\n", {"c": b"c" * 9000}, buildkit=True)
    engine.docker("builder", "prune", "-a", "-f")
    engine.docker(*RUN, "--rm", "built2", *SHELL, "/bin/busybox cat /a /b /c /built")


def image_removed_build_cache_kept(engine: Engine) -> None:
    engine.docker("rmi", "built", "app")


def saved_and_loaded(engine: Engine) -> None:
    archive = str(engine.home / "images.tar")
    engine.docker("save", "-o", archive, "app", "built")
    engine.docker("system", "prune", "-a", "-f")
    engine.docker("load", "-i", archive)
    engine.docker("load", "-i", archive)


def imported(engine: Engine) -> None:
    engine.docker(*RUN, "--name", "one", "app", "/bin/busybox", "true")
    archive = engine.home / "one.tar"
    engine.docker("export", "-o", str(archive), "one")
    engine.docker("import", str(archive), "imported")


def tagged(engine: Engine) -> None:
    engine.docker("tag", "app", "other/name:1.0")
    engine.docker("tag", "built", "other/name:2.0")
    engine.docker("rmi", "app")
    engine.build("built", "FROM other/name:1.0\nCOPY b /b\n", FILES)


def without_layers(engine: Engine) -> None:
    engine.build("bare", "FROM scratch\nLABEL a=b\n")
    assert engine.inspect("bare")["RootFS"].get("Layers") in (None, [])
    engine.docker("create", "--network=none", "--name", "bare", "bare", "/nothing")
    engine.build("bare2", "FROM scratch\nLABEL a=b\n", buildkit=True)


def image_removed_under_container(engine: Engine) -> None:
    running(engine)
    engine.docker("rmi", "-f", "app", "built")


def crashed_with_containers(engine: Engine) -> None:
    engine.docker(*RUN, "-d", "--name", "one", "app", *SHELL, "echo mine >/data/mine; exec /bin/busybox sleep 10000")
    engine.docker(*RUN, "-d", "--name", "two", "built")
    engine.crash()
    time.sleep(SETTLE)
    engine.start()


SCENES = (
    nothing,
    builds_on_top,
    build_cache_mount,
    build_that_exports_nothing,
    failed_builds,
    running,
    paused,
    stopped,
    removed,
    committed,
    pruned,
    builder_pruned,
    image_removed_build_cache_kept,
    saved_and_loaded,
    imported,
    tagged,
    without_layers,
    image_removed_under_container,
    crashed_with_containers,
)


def judge_three_times(engine: Engine, name: str) -> None:
    expect_healthy(engine, f"{name}, engine up")
    engine.stop()
    expect_healthy(engine, f"{name}, engine down", ahead=True, orphans_too=True)
    time.sleep(SETTLE)
    engine.start()
    expect_healthy(engine, f"{name}, engine up again", orphans_too=True)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_healthy(engine: Engine, scene: Callable[[Engine], None]) -> None:
    scene(engine)
    judge_three_times(engine, scene.__name__)


def test_pushed_and_pulled(engine: Engine, make_engine: Callable[..., Engine], registry: Registry) -> None:
    names = [f"{registry.address}/{image}:v1" for image in ("app", "built")]
    for image, name in zip(("app", "built"), names, strict=True):
        engine.docker("tag", image, name)
        engine.docker("push", name)
    judge_three_times(engine, "pushed")
    puller = make_engine()
    for name in names:
        puller.docker("pull", name)
    puller.docker(*RUN, "-d", names[0])
    judge_three_times(puller, "pulled")


def test_root_of_an_engine_that_has_done_nothing(make_engine: Callable[..., Engine]) -> None:
    judge_three_times(make_engine(), "new")


def test_containers_that_outlive_their_engine(make_engine: Callable[..., Engine], base_root: Path) -> None:
    """live-restore: the engine is stopped, its containers run on and everything they stand on is in use."""
    engine = make_engine(base_root, flags=("--live-restore",))
    running(engine)
    engine.stop(keep_containers=True)
    try:
        result = expect_healthy(engine, "containers without engine", ahead=True, orphans_too=True)
    finally:
        time.sleep(SETTLE)
        engine.start()
    assert result.engine.state == "stopped"
    expect_healthy(engine, "containers with their engine back", orphans_too=True)
    assert sorted(json.loads(engine.request("GET", "/containers/json"))[i]["Names"][0] for i in (0, 1)) == [
        "/one",
        "/two",
    ]
