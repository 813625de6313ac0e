"""
Which engines run, on which data root, and with which settings.

The settings are read as the engine reads them: its own flags first, then its configuration file, both seen through
``/proc/<pid>/root``, since it may live in another mount namespace. A flag that contradicts the file would have kept it
from starting.

Sources: moby ``cmd/dockerd/config.go`` and ``options.go`` (flags and their older names), ``daemon/config/config.go``
(keys of the file), ``cmd/dockerd/config_unix.go`` (defaults; those of RootlessKit's child are in the user's home),
``opts`` of 28 (``--feature name=bool``).
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gcd.formats.escape import escaped
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.root.processes import PROC, Process, processes, read_file, read_link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.root.tree import Directory

DEFAULT_ROOT: Final = "/var/lib/docker"
DAEMON_JSON: Final = "/etc/docker/daemon.json"
SNAPSHOTTER_FEATURE: Final = "containerd-snapshotter"

_FLAGS = {
    "--data-root": "data-root",
    "--graph": "data-root",
    "-g": "data-root",
    "--config-file": "config-file",
    "--storage-driver": "storage-driver",
    "-s": "storage-driver",
    "--userns-remap": "userns-remap",
    "--feature": "feature",
    "--host": "host",
    "-H": "host",
}
_IN_A_ROOT = (".", layout.OVERLAY2, "image", layout.CONTAINERS, layout.VOLUMES, layout.BUILDKIT)
_FILE_LIMIT = 1 << 20
_MAX_SYMLINKS = 40
_HOME_VARIABLES = (b"ROOTLESSKIT_STATE_DIR", b"HOME", b"XDG_DATA_HOME", b"XDG_CONFIG_HOME")


class Settings(Struct, frozen=True):
    """
    What an engine's flags, or a ``daemon.json``, say of its store; "" and None where they say nothing.

    `data_root` is a path as the engine sees it. `snapshotter` is the feature that chooses the containerd image store.
    `hosts` is where its API listens: ``unix://`` with a path as the engine sees it, ``fd://``, ``tcp://``.
    """

    data_root: str = ""
    driver: str = ""
    snapshotter: bool | None = None
    userns_remap: str = ""
    hosts: tuple[str, ...] = ()

    def over(self, other: Settings) -> Settings:
        """These settings, and those of `other` where these say nothing."""
        return Settings(
            self.data_root or other.data_root,
            self.driver or other.driver,
            other.snapshotter if self.snapshotter is None else self.snapshotter,
            self.userns_remap or other.userns_remap,
            self.hosts or other.hosts,
        )


class RunningEngine(Struct, frozen=True):
    """A dockerd; `path` leads to its data root from gcd's own mount namespace, `identity` is device and inode of it."""

    pid: int
    path: str
    identity: tuple[int, int]
    settings: Settings
    is_nested: bool
    """Whether it lives in a pid namespace below that of ``/proc``: an engine inside a container."""


def parse_daemon_json(raw: bytes) -> Settings:
    """The settings in a ``daemon.json``; FormatError if it is no JSON object."""
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FormatError("daemon.json", expected="JSON", found=escaped(str(error))) from None
    if not isinstance(content, dict):
        raise FormatError("daemon.json", expected="a JSON object", found=type(content).__name__)
    features = content.get("features")
    snapshotter = features.get(SNAPSHOTTER_FEATURE) if isinstance(features, dict) else None
    hosts = content.get("hosts")
    return Settings(
        data_root=_text(content, "data-root") or _text(content, "graph"),
        driver=_text(content, "storage-driver"),
        snapshotter=snapshotter if isinstance(snapshotter, bool) else None,
        userns_remap=_text(content, "userns-remap"),
        hosts=tuple(host for host in hosts if isinstance(host, str)) if isinstance(hosts, list) else (),
    )


def parse_flags(arguments: list[str]) -> tuple[Settings, str]:
    """The settings in dockerd's command line (program first), and the configuration file that it names, or ""."""
    found: dict[str, str] = {}
    hosts: list[str] = []
    snapshotter: bool | None = None
    for name, value in _flags(arguments[1:]):
        found[name] = value
        if name == "host":
            hosts.append(value)
        feature, _, switch = value.partition("=")
        if name == "feature" and feature == SNAPSHOTTER_FEATURE:
            snapshotter = switch.lower() in {"", "1", "t", "true"}
    return Settings(
        data_root=found.get("data-root", ""),
        driver=found.get("storage-driver", ""),
        snapshotter=snapshotter,
        userns_remap=found.get("userns-remap", ""),
        hosts=tuple(hosts),
    ), found.get("config-file", "")


def running_engines(proc: str = PROC) -> list[RunningEngine]:
    """All dockerd processes whose data root can be told and reached, oldest first. OSError without a ``/proc``."""
    engines: list[RunningEngine] = []
    for process in sorted((p for p in processes(proc) if p.comm() == "dockerd"), key=_started):
        try:
            engine = _engine_of(process)
        except OSError:
            continue
        # Between fork and exec a child of the engine looks as the engine itself; its pid may be the lower one.
        if engine is not None and all(engine.identity != known.identity for known in engines):
            engines.append(engine)
    return engines


def _started(process: Process) -> float:
    """For sorting; a process that is gone comes last."""
    ticks = process.start_ticks()
    return math.inf if ticks is None else ticks


def engines_on(root: Directory, proc: str = PROC) -> list[RunningEngine]:
    """
    The engines that say that they use `root`, whether or not they hold its lock. OSError without a ``/proc``.

    One that remaps users uses a directory below its data root; which one of several, it does not say.
    """
    above = os.stat("..", dir_fd=root.fd)
    here = root.stat()
    return [
        engine
        for engine in running_engines(proc)
        if engine.identity == identity_of(above if engine.settings.userns_remap else here)
    ]


def identity_of(status: os.stat_result) -> tuple[int, int]:
    return (status.st_dev, status.st_ino)


def resolve_below(top: str, path: str) -> str:
    """
    The absolute `path` with all its symlinks resolved as if `top` were ``/``, without `top`.

    The system itself would take an absolute symlink below ``/proc/<pid>/root`` from gcd's own root. OSError as usual.
    """
    resolved: list[str] = []
    pending = path.split("/")[::-1]
    symlinks = 0
    while pending:
        name = pending.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            del resolved[-1:]
            continue
        here = "/".join((top.rstrip("/"), *resolved, name))
        if not stat.S_ISLNK(os.lstat(here).st_mode):
            resolved.append(name)
            continue
        symlinks += 1
        if symlinks > _MAX_SYMLINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = str(Path(here).readlink())
        if target.startswith("/"):
            resolved.clear()
        pending.extend(target.split("/")[::-1])
    return "/" + "/".join(resolved)


def _engine_of(process: Process) -> RunningEngine | None:
    arguments = process.arguments()
    if not arguments:
        return None
    top = top_of(process)
    flags, config_file = parse_flags(arguments)
    default_root, default_file = _defaults_of(process)
    settings = flags.over(_settings_in(process, top, config_file or default_file))
    data_root = settings.data_root or default_root
    if not data_root.startswith("/"):
        data_root = f"{process.link('cwd') or ''}/{data_root}"
    inside = resolve_below(top, data_root)
    path = top.rstrip("/") + inside
    if _is_same_tree(path, inside):
        path = inside
    depth = process.pid_namespace_depth()
    is_nested = depth is not None and depth > 1
    return RunningEngine(process.pid, path, identity_of(Path(path).stat()), settings, is_nested)


def top_of(process: Process) -> str:
    """The path under which gcd sees the root directory of `process`."""
    mine = read_link(f"{process.proc}/self/ns/mnt")
    if mine is None or process.link("ns/mnt") in {mine, None}:
        return process.link("root") or "/"
    return f"{process.folder}/root"


def _is_same_tree(path: str, other: str) -> bool:
    """Whether both lead to one root, with the same mounted in it as far as an engine's trees go."""
    return all(_identity_at(f"{path}/{name}") == _identity_at(f"{other}/{name}") for name in _IN_A_ROOT)


def _identity_at(path: str) -> tuple[int, int] | None:
    try:
        return identity_of(Path(path).stat())
    except OSError:
        return None


def _settings_in(process: Process, top: str, path: str) -> Settings:
    """The settings in the configuration file of `process`; none if there is no file. A damaged one stops no engine."""
    if not path.startswith("/"):
        path = f"{process.link('cwd') or ''}/{path}"
    try:
        return parse_daemon_json(read_file(top.rstrip("/") + resolve_below(top, path), _FILE_LIMIT) or b"{}")
    except (OSError, FormatError):
        return Settings()


def _defaults_of(process: Process) -> tuple[str, str]:
    """Data root and configuration file of an engine that names none: below RootlessKit they are in the home."""
    variables: dict[bytes, str] = {}
    try:
        environment = process.read("environ") or b""
    except OSError:
        environment = b""
    for entry in environment.split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name in _HOME_VARIABLES:
            variables[name] = os.fsdecode(value)
    home = variables.get(b"HOME", "")
    if b"ROOTLESSKIT_STATE_DIR" not in variables or not home:
        return DEFAULT_ROOT, DAEMON_JSON
    data_home = variables.get(b"XDG_DATA_HOME") or f"{home}/.local/share"
    config_home = variables.get(b"XDG_CONFIG_HOME") or f"{home}/.config"
    return f"{data_home}/docker", f"{config_home}/docker/daemon.json"


def _flags(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """The known flags with their values, in all spellings of pflag."""
    pending = arguments[::-1]
    while pending:
        argument = pending.pop()
        if argument == "--":
            return
        flag, has_value, value = argument.partition("=")
        if not argument.startswith("--"):
            flag, value = argument[:2], argument[2:].removeprefix("=")
            has_value = value
        if flag in _FLAGS and (has_value or pending):
            yield _FLAGS[flag], value if has_value else pending.pop()


def _text(content: dict[str, object], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""
