"""
What a `Host` is made of: a Debian with systemd and Docker, and the wheels that gcd and its dependencies come in.

Both are fetched once and kept below GCD_HOST_DIR, else below the directory for temporary files, named by all that they
depend on. ``python -m support.debian`` fetches them ahead of the tests, which would otherwise wait for it. The Debian
is made by mmdebstrap, since debootstrap takes more than twice as long for the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from functools import lru_cache
from importlib.metadata import requires
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.utils import NormalizedName

CHECKOUT = Path(__file__).parent.parent.parent
PACKAGES = ("systemd", "systemd-sysv", "dbus", "docker.io", "python3", "python3-venv", "busybox-static")

_SOURCES = (
    *("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"),
    *("Created-By: Packages", "Origin: Debian", "Component: main"),
)

# One /usr from the first, as all Debians have it now; usrmerge, and the perl that it needs, would do it afterwards.
_SETUP = """
for name in bin sbin lib lib64; do
    mkdir -p "$1/usr/$name"
    ln -s "usr/$name" "$1/$name"
done
mkdir -p "$1/etc/apt/preferences.d"
printf 'Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n' >"$1/etc/apt/preferences.d/lean"
"""


class BuildError(Exception):
    """Something could not be fetched or put together; the text holds what the tool said."""


@lru_cache
def tree() -> Path:
    """
    The directory of a Debian with systemd and Docker, built if it is not there yet: once for all processes.

    It lies below GCD_HOST_DIR, else below the directory for temporary files, and is the release of this machine, from
    this machine's own sources.
    """
    mirror, release = _source()
    key = hashlib.sha256("\n".join((release, _SETUP, *PACKAGES)).encode()).hexdigest()[:12]
    with _once(key) as built:
        if not built.exists():
            _build(built, mirror, release)
    return built


def python_of(debian: Path) -> str:
    """The version of its Python, as ``3.11``."""
    return (debian / "usr/bin/python3").readlink().name.removeprefix("python")


def _source() -> tuple[str, str]:
    """Where this machine has its own packages from, and their release."""
    for _ in range(2):
        lines = subprocess.run(_SOURCES, check=True, capture_output=True, text=True).stdout.splitlines()
        if lines:
            mirror, release = lines[0].split()
            return mirror, release
        subprocess.run(["apt-get", "update", "-qq"], check=True)
    raise BuildError("apt knows no source of Debian's packages: no host can be built")


def _build(target: Path, mirror: str, release: str) -> None:
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    done = subprocess.run(
        [
            # Nothing that a killed build leaves running or mounted outlives it.
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"),
            *("--pid", "--mount-proc", "--fork", "--kill-child"),
            *("mmdebstrap", "--mode=root", "--variant=essential", f"--include={','.join(PACKAGES)}"),
            *(f"--setup-hook={_SETUP}", '--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"),
            *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")),
            *(release, str(partial), f"deb {mirror} {release} main"),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "SOURCE_DATE_EPOCH": "0"},
    )
    if done.returncode != 0:
        raise BuildError(f"no host could be built:\n{done.stderr[-2000:]}")
    # As if it had been booted before: at a first boot systemd enables all that it has.
    (partial / "etc/machine-id").write_text(f"{1:032x}\n")
    (partial / "etc/hostname").write_text("host\n")
    docker = partial / "etc/docker"
    docker.mkdir(exist_ok=True)
    (docker / "daemon.json").write_text('{"iptables": false, "ip6tables": false, "bridge": "none"}\n')
    partial.rename(target)


@contextlib.contextmanager
def _once(name: str) -> Iterator[Path]:
    """The place for what is built under `name`; whoever builds it keeps all others waiting."""
    home = Path(os.environ.get("GCD_HOST_DIR") or Path(tempfile.gettempdir()) / f"gcd-host-{os.geteuid()}")
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home / name


def wheels(python: str) -> Path:
    """A directory with all that ``pip install .`` needs on a host with this `python`, as requirements.lock has it."""
    project, lock = ((CHECKOUT / name).read_text() for name in ("pyproject.toml", "requirements.lock"))
    key = hashlib.sha256(f"{python}\n{project}\n{lock}".encode()).hexdigest()[:12]
    with _once(f"wheels-{key}") as found:
        if not found.exists():
            _fetch(found, python, tomllib.loads(project), lock)
    return found


def _fetch(target: Path, python: str, project: dict[str, Any], lock: str) -> None:
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    texts = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    names = _needed({canonicalize_name(Requirement(text).name) for text in texts}, python)
    wanted = partial / "wanted.txt"
    wanted.write_text("".join(entry for entry in _entries(lock) if canonicalize_name(entry.split("==")[0]) in names))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"),
            *(
                "--only-binary",
                ":all:",
                "--python-version",
                python,
                "--dest",
                str(partial),
                "--requirement",
                str(wanted),
            ),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise BuildError(f"no wheels for a host:\n{done.stderr[-2000:]}")
    partial.rename(target)


def _entries(lock: str) -> list[str]:
    """The packages of requirements.lock, each with its hashes."""
    return re.findall(r"^[A-Za-z0-9].*\n(?: .*\n)*", lock, re.MULTILINE)


def _needed(names: set[NormalizedName], python: str) -> set[NormalizedName]:
    """`names` and all that they need with this `python`, by their canonical names, as they are installed here."""
    environment = {"extra": "", "python_version": python, "python_full_version": f"{python}.0"}
    needed: set[NormalizedName] = set()
    while names:
        needed |= names
        requirements = [Requirement(text) for name in names for text in requires(name) or ()]
        used = [one for one in requirements if one.marker is None or one.marker.evaluate(environment)]
        names = {canonicalize_name(one.name) for one in used} - needed
    return needed


if __name__ == "__main__":
    wheels(python_of(tree()))
