"""
The socket on which the engine of a root answers its API (safety rule S11).

Where it listens, its own flags or its configuration say; that it does, the kernel says: among the files that the engine
has open is a listening socket which is bound to that very file. So a socket that another engine answers, one that a
dead engine left behind, and one that only leads on to an engine are never taken, whoever names them. ``DOCKER_HOST`` is
not asked.

A socket that systemd opened for the engine (``fd://``) is looked for where ``docker.socket`` puts it.

Sources: moby ``cmd/dockerd/daemon.go`` loadListeners, ``opts/hosts.go`` ParseHost and DefaultUnixSocket, systemd
``docker.socket`` of Docker's packages; proc(5).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gcd.formats.escape import escaped
from gcd.formats.unixsockets import parse_listeners
from gcd.model.errors import CannotAct
from gcd.root.dockerd import identity_of, resolve_below, top_of
from gcd.root.processes import PROC, Process
from gcd.root.tree import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.root.dockerd import RunningEngine

DEFAULT_SOCKET: Final = "/var/run/docker.sock"
"""Where an engine listens that is told nothing, and where ``docker.socket`` has systemd listen for it."""

_TABLE_LIMIT = 64 << 20


def api_socket(engine: RunningEngine, named: str = "", proc: str = PROC) -> str:
    """
    The path, in gcd's own eyes, of a socket on which `engine` listens; `named` is the one that the user means, if any.

    Raises `CannotAct` where there is none that the kernel confirms.
    """
    process = Process(proc, engine.pid)
    try:
        top = top_of(process)
        wanted = [named] if named else list(_seen_from(top, _told(process, engine.settings.hosts)))
        listened = _listened(process, top) if wanted else frozenset()
    except OSError as error:
        raise CannotAct(
            f"The files of dockerd (pid {engine.pid}) cannot be seen ({name_of(error)}): run gcd as root."
        ) from None
    for path in wanted:
        if _identity(path) in listened:
            return path
    if named:
        raise CannotAct(f"dockerd (pid {engine.pid}), whose root this is, does not listen on {escaped(named)}.")
    raise CannotAct(
        f"No unix socket of dockerd (pid {engine.pid}) was found where its flags and its configuration say: "
        "name it with --socket."
    )


def _told(process: Process, hosts: tuple[str, ...]) -> Iterator[str]:
    """The paths of the sockets that the engine was told to listen on, as it sees them."""
    for host in hosts or ("unix://",):
        scheme, _, path = host.partition("://")
        if scheme == "fd":
            yield DEFAULT_SOCKET
        elif scheme == "unix":
            yield path or _default(process)


def _default(process: Process) -> str:
    """Below RootlessKit an engine that is told nothing listens in the user's own directory."""
    entries = (entry.partition(b"=") for entry in (process.read("environ") or b"").split(b"\0"))
    variables = {name: os.fsdecode(value) for name, _, value in entries}
    folder = variables.get(b"XDG_RUNTIME_DIR") if b"ROOTLESSKIT_STATE_DIR" in variables else None
    return f"{folder}/docker.sock" if folder else DEFAULT_SOCKET


def _seen_from(top: str, paths: Iterator[str]) -> Iterator[str]:
    """`paths` below `top`, their symlinks resolved as those see them that live there; without what is not there."""
    for path in paths:
        if path.startswith("/"):
            try:
                yield top.rstrip("/") + resolve_below(top, path)
            except (FileNotFoundError, NotADirectoryError):
                continue


def _listened(process: Process, top: str) -> frozenset[tuple[int, int]]:
    """Device and inode of each file to which a listening unix socket is bound that `process` has open."""
    bound = parse_listeners(process.read("net/unix", _TABLE_LIMIT) or b"")
    paths = [bound[inode] for inode in _open_sockets(process) if inode in bound]
    return frozenset(identity for path in _seen_from(top, iter(paths)) if (identity := _identity(path)) is not None)


def _open_sockets(process: Process) -> Iterator[int]:
    """The inodes of the sockets that `process` has open."""
    with os.scandir(f"{process.folder}/fd") as entries:
        numbers = [entry.name for entry in entries]
    for number in numbers:
        target = process.link(f"fd/{number}") or ""
        inode = target.removeprefix("socket:[").removesuffix("]")
        if target.startswith("socket:[") and inode.isdecimal():
            yield int(inode)


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of what is at `path`; None if nothing is."""
    try:
        return identity_of(Path(path).stat())
    except OSError:
        return None
