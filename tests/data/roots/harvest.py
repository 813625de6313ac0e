"""
Make the roots in this directory: small roots that newer engines wrote, for tests that cannot start these engines.

Usage, as root, on a Debian host with debootstrap, docker.io and busybox-static::

    python tests/data/roots/harvest.py [--work DIRECTORY] [NAME...]

It installs the engines with debootstrap below ``--work`` (kept for the next time), lets each make its scene, stops it,
and packs its root. Scenes:

duplicate-dirs
    A BuildKit build of ``COPY a``, ``COPY b``, a prune of the build cache, the same with ``COPY c`` on top, a prune.
    BuildKit exported chains that layerdb knew already under other cache-ids: what is left are layer dirs that no
    database names and that the image's top layer needs all the same.
image-mount
    A container, created and not started, with an image mounted by its name: its rw layer record lies in nested
    directories of ``layerdb/mounts``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from support.engine import Engine, inside  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

MIRROR = Path("/etc/apt/sources.list.d/debian.sources")
FILES = {name: (name * 2000).encode() for name in "abc"}
LEFT_OUT = ("containerd", "network", "runtimes", "swarm", "tmp/*", "volumes/backingFsBlockDev", "*.sock")


def duplicate_dirs(engine: Engine) -> None:
    engine.build("duplicate", "FROM scratch\nCOPY a /a\nCOPY b /b\n", FILES, buildkit=True)
    engine.docker("builder", "prune", "-a", "-f")
    engine.build("duplicate", "FROM scratch\nCOPY a /a\nCOPY b /b\nCOPY c /c\n", FILES, buildkit=True)
    engine.docker("builder", "prune", "-a", "-f")
    engine.docker("create", "--network=none", "--name", "stands-on-it", "duplicate", "/a")


def image_mount(engine: Engine) -> None:
    engine.build("app", "FROM scratch\nCOPY a /a\n", FILES, buildkit=True)
    engine.build("example.org/team/data:v1", "FROM scratch\nCOPY b /b\nCOPY c /c\n", FILES, buildkit=True)
    mounts = [{"Type": "image", "Source": "example.org/team/data:v1", "Target": "/data"}]
    body = {"Image": "app", "Cmd": ["/a"], "HostConfig": {"NetworkMode": "none", "Mounts": mounts}}
    engine.request("POST", "/v1.48/containers/create?name=mounts-an-image", body)


@dataclass(frozen=True)
class Harvest:
    suite: str
    scene: Callable[[Engine], None]


HARVESTS = {
    "duplicate-dirs-26": Harvest("trixie", duplicate_dirs),
    "duplicate-dirs-28": Harvest("forky", duplicate_dirs),
    "image-mount-28": Harvest("forky", image_mount),
}


def debian(suite: str, work: Path) -> Path:
    """A directory with a Debian of `suite` and its engine, installed there if it is not yet."""
    chroot = work / f"chroot-{suite}"
    if not (chroot / "usr/sbin/dockerd").exists():
        mirror = next(line.split()[1] for line in MIRROR.read_text().splitlines() if line.startswith("URIs: "))
        include = "--include=docker.io,containerd,runc,ca-certificates,iproute2"
        script = "/usr/share/debootstrap/scripts/sid"
        command = ["debootstrap", "--variant=minbase", include, suite, str(chroot), mirror, script]
        subprocess.run(command, check=True)
    return chroot


def harvest(name: str, work: Path) -> Path:
    chroot = debian(HARVESTS[name].suite, work)
    with tempfile.TemporaryDirectory(prefix="gcd-", dir="/var/lib") as directory:
        home = Path(directory)
        engine = Engine(home, command=inside(chroot, home))
        try:
            engine.start()
            HARVESTS[name].scene(engine)
            engine.stop()
        finally:
            engine.dispose()
            (chroot / home.relative_to("/")).rmdir()
        target = HERE / f"{name}.tar.gz"
        left_out = [f"--exclude=./{path}" for path in LEFT_OUT]
        tar = ["tar", "-C", str(engine.root), "--sort=name", "--numeric-owner", *left_out, "-cf", "-", "."]
        packed = subprocess.run(tar, check=True, capture_output=True).stdout
        target.write_bytes(subprocess.run(["gzip", "-9n"], input=packed, check=True, capture_output=True).stdout)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "gcd-engines")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(HARVESTS)} (all)")
    options = parser.parse_args()
    for name in options.names or HARVESTS:
        target = harvest(name, options.work)
        print(f"{target.name}: {target.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
