"""A storm: pulls, builds of both kinds, runs, commits, removals and prunes on one engine, all at once."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from support.engine import EngineError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from support.engine import Engine

SECONDS = float(os.environ.get("GCD_STORM_SECONDS", "120"))
IMAGES = 3
QUICK_LAYERS = 9


def push_images(engine: Engine, address: str) -> list[str]:
    """Images of nine quick layers and a slow one on top, which is where a pull is when it is killed."""
    names = [f"{address}/storm{number}:v1" for number in range(IMAGES)]
    for name in names:
        files = {f"part{i}": os.urandom(200_000) for i in range(QUICK_LAYERS)}
        files |= {f"many/{i % 50}/{i}": os.urandom(2000) for i in range(5000)}
        copies = "\n".join(f"COPY part{i} /part{i}" for i in range(QUICK_LAYERS))
        engine.build(name, f"FROM scratch\n{copies}\nCOPY many /many\n", files, buildkit=True)
        engine.docker("push", name)
        engine.docker("rmi", name)
    return names


def pull(engine: Engine, name: str, _number: int = 0) -> None:
    engine.docker("pull", name)
    engine.docker("rmi", name)


def build(engine: Engine, number: int, *, buildkit: bool) -> None:
    """Its first step is like none of the other builder's, lest it leak a dir (test_duplicate_builds.py)."""
    tag = f"made{int(buildkit)}"
    run = f'RUN ["/bin/busybox", "sh", "-c", "echo {tag} {number} >/made"]'
    engine.build(tag, f"FROM app\n{run}\nCOPY f /f\n", {"f": os.urandom(20_000)}, buildkit=buildkit)
    engine.docker("run", "--rm", "--network=none", tag, "/bin/busybox", "cat", "/made")
    engine.docker("rmi", "-f", tag)


def commit(engine: Engine, number: int) -> None:
    name = f"box{number}"
    engine.docker("run", "--network=none", "--name", name, "app", "/bin/busybox", "sh", "-c", "echo x >/data/y")
    engine.docker("commit", name, f"committed{number % 3}")
    engine.docker("rm", "-f", name)
    engine.docker("rmi", "-f", f"committed{number % 3}")


def prune(engine: Engine, number: int) -> None:
    what = (("builder", "-a"), ("image",), ("container",))[number % 3]
    engine.docker(what[0], "prune", "-f", *what[1:])
    time.sleep(2)


def works_on(engine: Engine, names: list[str]) -> dict[str, Callable[[int], None]]:
    return {
        **{f"pull {name}": partial(pull, engine, name) for name in names[:2]},
        "classic build": partial(build, engine, buildkit=False),
        "BuildKit build": partial(build, engine, buildkit=True),
        "commit": partial(commit, engine),
        "prune": partial(prune, engine),
    }


@contextlib.contextmanager
def storm(works: dict[str, Callable[[int], None]], done: Counter[str]) -> Iterator[None]:
    """While inside, each of `works` is done over and over in a thread of its own; `done` counts how often."""
    is_over = threading.Event()

    def repeat(name: str) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            # One worker prunes what another is just building: a command may fail, and the engine must come to no harm.
            with contextlib.suppress(EngineError):
                works[name](number)
                done[name] += 1

    threads = [threading.Thread(target=repeat, args=(name,)) for name in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join(150)
