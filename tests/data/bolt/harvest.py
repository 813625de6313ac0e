"""
Take the bolt databases of a real engine while it builds: ``harvest.py SOCKET ROOT OUTPUT``.

SOCKET is the engine's (``unix:///…``), ROOT its Docker root, OUTPUT the folder for ``<name>.db.gz`` and
``copies.json``. Needs root rights, a docker client with BuildKit's client built in (the one of Debian's docker.io
20.10; DOCKER names another), a static busybox (BUSYBOX), and an engine whose build cache is empty. Images are made of
nothing but busybox, so no network is needed. The files beside this one came from Debian's docker.io packages: 20.10.24
(bookworm), 26.1.5 (trixie), 28.5.2 (forky).

The builds leave all five kinds of bucket in ``snapshots.db``: a base image that goes into the layer store, steps above
it that are exported, steps of a stage that is not, a cache mount, local contexts, a build that is cut off in a step.
Meanwhile a thread copies the databases without a pause and parses each copy; what it saw goes into ``copies.json``.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from gcd.formats.bolt import parse_database
from gcd.model.reading import Present
from gcd.root.databases import copy_database

NAMES = ("snapshots.db", "metadata_v2.db", "containerdmeta.db")

BASE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN echo base > /base
"""

WORK = """\
FROM base AS tool
RUN for i in $(seq 20); do echo $i > /tool-$i; done
RUN echo unused > /unused
FROM base
RUN --mount=type=cache,target=/cache echo kept > /cache/kept
COPY --from=tool /tool-1 /tool
RUN echo one > /one
RUN echo two > /two
COPY context /context
"""

CUT = """\
FROM base
RUN echo before > /before
RUN echo begun > /begun && sleep 600
"""


class Copier(threading.Thread):
    """Copies and parses the databases until stopped, and counts what came of it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.stopped = threading.Event()
        self.counts: Counter[str] = Counter()
        self.states: dict[str, set[int]] = {name: set() for name in NAMES}

    def run(self) -> None:
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        while not self.stopped.is_set():
            for name in NAMES:
                outcome = copy_database(fd, name, sleep=self.wait)
                self.counts[type(outcome).__name__] += 1
                if isinstance(outcome, Present):
                    self.states[name].add(parse_database(outcome.value).txid)
        os.close(fd)

    def wait(self, seconds: float) -> None:
        self.counts["further attempts"] += 1
        time.sleep(seconds)


def build(socket: str, dockerfile: str, context: Path, *options: str) -> subprocess.Popen[bytes]:
    (context / "Dockerfile").write_text(dockerfile)
    docker = os.environ.get("DOCKER", "/usr/bin/docker")
    command = [docker, "-H", socket, "build", "--network=none", "--progress=plain", *options, str(context)]
    return subprocess.Popen(command, env={**os.environ, "DOCKER_BUILDKIT": "1"})


def builds(socket: str, context: Path) -> None:
    shutil.copy(os.environ.get("BUSYBOX", "/bin/busybox"), context / "busybox")
    (context / "context").mkdir()
    (context / "context" / "file").write_text("of the context\n")
    for dockerfile, tag in ((BASE, "base"), (WORK, "work")):
        if build(socket, dockerfile, context, "--tag", tag).wait():
            sys.exit(f"the build of {tag} failed")
    for number in range(4):
        more = f"{WORK}RUN echo {number} > /more-{number}\n"
        if build(socket, more, context, "--tag", "more").wait():
            sys.exit("a further build failed")
    build(socket, WORK, context, "--target", "tool").wait()


def main(socket: str, root: Path, output: Path) -> None:
    copier = Copier(root / "buildkit")
    with tempfile.TemporaryDirectory() as folder:
        copier.start()
        began = time.monotonic()
        builds(socket, Path(folder))
        cut = build(socket, CUT, Path(folder))
        time.sleep(5)
        keep(root / "buildkit", output)
        cut.send_signal(signal.SIGINT)
        cut.wait()
        seconds = time.monotonic() - began
        copier.stopped.set()
        copier.join()
    report = {
        "seconds": round(seconds, 1),
        "outcomes": dict(copier.counts),
        "states": {name: len(found) for name, found in copier.states.items()},
    }
    (output / "copies.json").write_text(json.dumps(report, indent=2) + "\n")
    sys.stdout.write(json.dumps(report) + "\n")


def keep(directory: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for name in NAMES:
        outcome = copy_database(fd, name)
        if not isinstance(outcome, Present):
            sys.exit(f"{name}: {outcome}")
        (output / f"{name}.gz").write_bytes(gzip.compress(outcome.value, mtime=0))
    os.close(fd)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
