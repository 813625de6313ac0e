"""
``gcd df`` on roots that an engine wrote: the sum is du's to the byte, and Docker's figures are those of its own API.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.accounts import usage_of
from support.engine import SETTLE
from support.scenes import BUILT, FILES, fill

from gcd.model.space import RW, UNIQUE, Category, Space

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

    from gcd.model.space import DiskUsage

pytestmark = pytest.mark.engine

RUN = ("run", "--network=none", "-d")
SHELL = ("/bin/busybox", "sh", "-c")
TRIES = 5


def du(root: Path) -> Space:
    figures = []
    for flag in ("--block-size=1", "--inodes"):
        done = subprocess.run(["du", "-x", flag, "-s", str(root)], check=True, capture_output=True, text=True)
        figures.append(int(done.stdout.split()[0]))
    return Space(*figures)


def quiet_usage(engine: Engine) -> DiskUsage:
    """The usage of a root that did not change while it was measured: du says the same before and after."""
    for _ in range(TRIES):
        before = du(engine.root)
        usage = usage_of(str(engine.root), now_ns=time.time_ns())
        after = du(engine.root)
        if before == after:
            assert usage.total == after
            assert usage.is_complete
            return usage
        time.sleep(1)
    pytest.fail(f"the root was never quiet: {before}, {after}")


def of_docker(engine: Engine) -> dict:
    return json.loads(engine.request("GET", "/system/df"))


def busy(engine: Engine) -> None:
    """Images of both builders that share layers, containers, logs, volumes, build cache with contexts and mounts."""
    fill(engine)
    writes = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done; echo kept >/v/x; /bin/busybox ln /v/x /v/y"
    volume = ("-v", "data:/v")
    engine.docker(*RUN, "--name", "log", *volume, "app", *SHELL, f"{writes}; exec /bin/busybox sleep 10000")
    engine.docker(*RUN, "--name", "second", "--log-driver", "local", "built")
    engine.docker("exec", "second", *SHELL, "echo written by exec >/written; /bin/busybox ln -s /written /link")
    engine.docker("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "with-options")
    engine.build("child", "FROM built\nCOPY c /c\n", {"c": b"c" * 9000}, buildkit=True)
    engine.build("twin", f"{BUILT}\nLABEL a=b\n", FILES, buildkit=True)
    engine.docker("tag", "app", "other/name:1.0")


def test_every_byte_and_what_docker_says(engine: Engine) -> None:
    busy(engine)
    usage = quiet_usage(engine)
    said = of_docker(engine)

    images = {image.id: image for image in usage.images}
    assert {i["Id"]: i["Size"] for i in said["Images"]} == {id_: i.engine_bytes for id_, i in images.items()}
    for image in said["Images"]:
        # Engines after 20.10 take an image and the steps that the classic builder made it of for several.
        if not (image["ParentId"] and os.environ.get("GCD_ENGINE_CHROOT")):
            assert images[image["Id"]].engine_shared_bytes == image["SharedSize"]
    assert usage.view.images.size_bytes == said["LayersSize"]
    assert {c["Id"]: c.get("SizeRw", 0) for c in said["Containers"]} == {
        container.id: container.engine_bytes for container in usage.containers
    }
    with_size = [v for v in said["Volumes"] if v["UsageData"]]
    assert usage.view.volumes.count == len(with_size) == 1
    assert usage.view.volumes.size_bytes == sum(v["UsageData"]["Size"] for v in with_size)
    assert usage.view.build_cache.count == len(said["BuildCache"])
    assert usage.view.build_cache.size_bytes == sum(b["Size"] for b in said["BuildCache"] if not b["Shared"])
    assert usage.view.build_bytes_in_images == sum(b["Size"] for b in said["BuildCache"] if b["Shared"])


def test_shares_of_an_engines_root(engine: Engine) -> None:
    busy(engine)
    usage = quiet_usage(engine)

    assert usage.of(Category.ORPHANS) == Space()
    assert usage.of(Category.VOLUMES) == du(engine.root / "volumes")
    assert usage.of(Category.SWARM) == du(engine.root / "swarm")
    logs = [*engine.root.glob("containers/*/*-json.log"), *engine.root.glob("containers/*/local-logs")]
    assert usage.of(Category.LOGS).disk_bytes == sum(du(path).disk_bytes for path in logs)
    assert usage.shares[Category.IMAGES, UNIQUE].disk_bytes == sum(i.unique.disk_bytes for i in usage.images)
    assert usage.shares[Category.CONTAINERS, RW].disk_bytes == sum(c.rw.disk_bytes for c in usage.containers)
    assert usage.shares.get((Category.OTHER, "overlay2")) == Space(
        sum((engine.root / path).stat().st_blocks * 512 for path in ("overlay2", "overlay2/l")), 2
    )


def test_a_removed_image_lives_on_below_its_container(engine: Engine) -> None:
    engine.docker("create", "--network=none", "--name", "one", "app")
    before = quiet_usage(engine)
    engine.docker("rmi", "-f", "app")
    usage = quiet_usage(engine)

    kept = next(image for image in before.images if image.references == ("app:latest",))
    assert usage.of(Category.CONTAINERS).disk_bytes > before.of(Category.CONTAINERS).disk_bytes
    assert usage.of(Category.CONTAINERS).disk_bytes - before.of(Category.CONTAINERS).disk_bytes <= (
        kept.unique.disk_bytes
    )
    assert usage.of(Category.ORPHANS) == Space()


def test_what_a_crash_leaves_is_orphaned_after_the_restart(make_engine: Callable[..., Engine], base_root: Path) -> None:
    engine = make_engine(base_root)
    engine.docker(*RUN, "--name", "one", "app", *SHELL, "echo mine >/data/mine; exec /bin/busybox sleep 10000")
    container = engine.inspect("one")["Id"]
    engine.crash()
    for path in (f"image/overlay2/layerdb/mounts/{container}", f"containers/{container}"):
        subprocess.run(["rm", "-r", str(engine.root / path)], check=True)
    time.sleep(SETTLE)
    engine.start()
    usage = quiet_usage(engine)

    assert [part for category, part in usage.shares if category is Category.ORPHANS] == ["GCD116"]
    assert usage.containers == ()


def test_a_stopped_engine(make_engine: Callable[..., Engine], filled_root: Path) -> None:
    engine = make_engine(filled_root)
    engine.stop()

    assert quiet_usage(engine).engine == "stopped"
