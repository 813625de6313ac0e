"""
The session that the README shows, played with a real engine: ``make session`` (root rights, docker.io, a minute).

A pull is cut short by killing the engine; what that leaked is found, planned, released and moved; an entry of the
quarantine is put back and taken again. What is printed is what the commands said, with two changes only: the root and
the socket are those of a private engine, and are written as the usual ones; ``--root`` is left out. The session fails
where a command does not end as it should.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.engine import SETTLE, Engine, Registry, docker_cli, engine_lack, place, unmount_below
from support.scenes import kill_during_pull

GCD = str(Path(sys.executable).with_name("gcd"))
USUAL = "/var/lib/docker"
APP = 'FROM scratch\nCOPY busybox /bin/busybox\nSTOPSIGNAL SIGKILL\nCMD ["/bin/busybox", "sleep", "10000"]\n'
MEGABYTES = (50, 40, 20, 12)
"""Of the layers that the pull has registered when the engine is killed; the next is of many small files."""

SMALL_FILES = 6000
POLICY = {"GCD_POLICY__KINDS__ORPHAN": '["release", "quarantine"]', "GCD_POLICY__KINDS__LEFTOVER": "quarantine"}
DONE, LEFT = 1, 4


class Session:
    """Commands on `engine`, told as at a prompt."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GCD_")},
            "DOCKER_HOST": f"unix://{engine.socket}",
            "GCD_STATE_DIR": str(engine.home / "state"),
            "COLUMNS": "120",
        }

    def docker(self, *words: str) -> str:
        return self._told(f"docker {' '.join(words)}", [str(docker_cli()), *words])

    def gcd(self, *words: str, status: int = 0, policy: bool = False) -> str:
        command = [GCD, words[0], "--root", str(self._engine.root), *words[1:]]
        if words[0] == "quarantine" and len(words) > 1 and not words[1].startswith("-"):
            command = [GCD, *words[:2], "--root", str(self._engine.root), *words[2:]]
        return self._told(f"gcd {' '.join(words)}", command, POLICY if policy else {}, status)

    def usage(self) -> str:
        return self._told(f"du -xsh {USUAL}/overlay2", ["du", "-xsh", str(self._engine.overlay2)])

    def _told(self, line: str, command: list[str], more: dict[str, str] | None = None, status: int = 0) -> str:
        print(f"# {line}")
        done = subprocess.run(
            command, env=self._environment | (more or {}), stdout=subprocess.PIPE, text=True, check=False
        )
        said = done.stdout.replace(str(self._engine.root), USUAL)
        print(said, end="")
        if done.returncode != status:
            sys.exit(f"{line}: exit status {done.returncode}, not {status}")
        return said


def push(engine: Engine, name: str) -> None:
    files = {f"part{number}": os.urandom(size << 20) for number, size in enumerate(MEGABYTES)}
    files |= {f"many/{number % 100}/{number}": os.urandom(3000) for number in range(SMALL_FILES)}
    copies = "".join(f"COPY part{number} /part{number}\n" for number in range(len(MEGABYTES)))
    engine.build(name, f"FROM scratch\n{copies}COPY many /many\n", files)
    engine.docker("push", name)
    engine.docker("rmi", name)


def play(engine: Engine) -> None:
    session = Session(engine)
    session.docker("system", "prune", "--all", "--force", "--volumes")
    session.docker("system", "df")
    session.usage()
    session.gcd("check", status=LEFT)
    session.gcd("plan", status=LEFT, policy=True)
    session.gcd("apply", "--yes", status=DONE, policy=True)
    session.usage()
    session.gcd("check")
    entries = re.findall(r"^\d{8}T\d{6}-\d+", session.gcd("quarantine", "list"), re.MULTILINE)
    session.gcd("quarantine", "restore", entries[-1], status=DONE)
    session.usage()
    session.gcd("check")
    session.gcd("history")
    if engine.docker("exec", "web", "/bin/busybox", "echo", "alive") != "alive":
        sys.exit("the container does not run any more")


def main() -> None:
    lack = engine_lack()
    if lack is not None:
        sys.exit(f"a session needs a Docker engine: {lack}")
    with tempfile.TemporaryDirectory(prefix="gcd-", dir=place()) as home:
        registry = Registry(Path(home) / "registry")
        engine = Engine(Path(home))
        try:
            name = f"{registry.address}/big:1"
            engine.start()
            engine.build("app", APP)
            push(engine, name)
            kill_during_pull(engine, name)
            time.sleep(SETTLE)
            engine.start()
            engine.docker("run", "--detach", "--network=none", "--name=web", "app")
            play(engine)
        finally:
            engine.dispose()
            registry.close()
            unmount_below(Path(home))


if __name__ == "__main__":
    main()
