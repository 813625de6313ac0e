"""
GCD307: a container's configuration, from the copy that the engine had just written; and what the engine does with a
container that comes back (safety rule S13).

Sources: moby ``daemon/daemon.go`` restore (restart policies; AutoRemove containers that do not run are removed),
``container/container.go`` toDisk (a copy is written whole and synced before it takes the file's place).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

from gcd.formats.containerconfig import parse_container_config, parse_host_config
from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import not_lost
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.ids import ContainerId, RwLayerName
from gcd.model.plan import Reason, SetAside, WriteFile
from gcd.model.reading import Absent, Present, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcd.mends.mending import Case
    from gcd.model.facts import Container, ContainerConfig, HostConfig
    from gcd.model.plan import Change

T = TypeVar("T")

_STAYS = frozenset({"", "no"})
"""Restart policies by which the engine starts nothing by itself."""


class _Copy(Struct, Generic[T], frozen=True):
    path: str
    content: bytes
    value: T

    def put_at(self, path: str) -> tuple[Change, ...]:
        return WriteFile(path, self.content, self.path), SetAside(self.path)


def lost_config(case: Case) -> Mending | Unproven:
    """GCD307: each file that cannot be read gets the content of its newest valid copy; the copy goes to the entry."""
    container = case.inventory.containers[ContainerId(case.finding.subject.id)]
    home = layout.container(container.id)
    changes: list[Change] = []
    if not _is_usable(container):
        path = f"{home}/{layout.CONTAINER_CONFIG}"
        config = _newest_valid(case, path, parse_container_config)
        if isinstance(config, Unproven):
            return config
        if doubt := _doubt_of(container, config.value):
            return doubt
        changes += config.put_at(path)
    host = value_of(container.host_config)
    if not isinstance(container.host_config, Present | Absent):
        path = f"{home}/{layout.HOST_CONFIG}"
        host_config = _newest_valid(case, path, parse_host_config)
        if isinstance(host_config, Unproven):
            return host_config
        if doubt := not_lost(container.host_config):
            return doubt
        host = host_config.value
        changes += host_config.put_at(path)
    effect = _effect(case, container.id, host)
    return effect if isinstance(effect, Unproven) else Mending(tuple(changes), _sentence((effect,)))


def return_of(case: Case, containers: Iterable[ContainerId]) -> str | Unproven:
    """
    What the engine does at its next start with `containers`, which it will load again, as one sentence; "" if nothing.

    `Unproven` where it would remove one with its data, and the owner has not agreed to that.
    """
    effects: list[str] = []
    for name in containers:
        container = case.inventory.containers.get(name)
        effect = _effect(case, name, value_of(container.host_config) if container is not None else None)
        if isinstance(effect, Unproven):
            return effect
        effects.append(effect)
    return _sentence(effects)


def _effect(case: Case, name: ContainerId, host: HostConfig | None) -> str | Unproven:
    label = case.graph.container_label(name)
    if host is not None and host.auto_remove:
        if case.consent.auto_remove:
            return f"removes {label} and all that it wrote (AutoRemove)"
        return Unproven(
            f"{label} has AutoRemove: at its next start the engine removes it and all that it wrote; "
            f"save {_diff_of(case, name)} first, then say so",
            Reason.POLICY,
        )
    if host is not None and host.restart_policy not in _STAYS:
        return f"may start {label} (restart policy {host.restart_policy[:20]!a})"
    return ""


def _sentence(effects: Iterable[str]) -> str:
    said = " and ".join(effect for effect in effects if effect)
    return f"At its next start the engine {said}." if said else ""


def _diff_of(case: Case, name: ContainerId) -> str:
    record = case.inventory.rw_layers.get(RwLayerName(name))
    mount_id = value_of(record.mount_id) if record is not None else None
    return f"{layout.layer_dir(mount_id)}/{layout.DIFF}" if mount_id is not None else "its diff"


def _is_usable(container: Container) -> bool:
    return isinstance(container.config, Present) and container.config.value.has_config


def _doubt_of(container: Container, copy: ContainerConfig) -> Unproven | None:
    """Why `copy` may not become the config of `container`; a config that is there and fatal is lost, too."""
    if copy.id != container.id or not copy.has_config:
        return Unproven("its newest copy is not one of this container")
    if copy.is_being_removed:
        return Unproven("its newest copy says that its removal was begun")
    return None if isinstance(container.config, Present) else not_lost(container.config)


def _newest_valid(case: Case, path: str, parse: Callable[[bytes], T]) -> _Copy[T] | Unproven:
    for copy, content in case.witness.newer_copies(path):
        try:
            return _Copy(copy, content, parse(content))
        except FormatError:
            continue
    return Unproven(f"no newer valid copy of {path} is beside it")
