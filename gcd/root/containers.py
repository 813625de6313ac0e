"""
Containers: the two configuration files of each. Reading them and making something of them are two steps: the second
needs no root.

Names that are not 64 hex digits are no containers. The names of temporary files are kept: the engine writes a
configuration to one and renames it, so that after a crash the newest may lie there.

Source: moby ``container/container.go`` toDisk, WriteHostConfig, readHostConfig; ``daemon/daemon.go`` restore.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gcd.formats.containerconfig import parse_container_config, parse_host_config
from gcd.model import layout
from gcd.model.facts import Container
from gcd.model.ids import ContainerId, is_hex64
from gcd.model.inventory import Source, SourceState
from gcd.model.reading import Present
from gcd.root.progress import ALONE, Pace
from gcd.root.record import Wanted, read_pairs
from gcd.root.shares import in_threads
from gcd.root.tree import listing_state, parsed_reading, source_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gcd.root.record import Pair
    from gcd.root.tree import Directory

    ContainerFiles = Pair[bytes, bytes]

CONFIG_LIMIT = 16 << 20

_CONFIG = Wanted(layout.CONTAINER_CONFIG, CONFIG_LIMIT, bytes)
_HOST_CONFIG = Wanted(layout.HOST_CONFIG, CONFIG_LIMIT, bytes)


def read_container_files(
    root: Directory, pace: Pace = ALONE, only: Collection[str] | None = None
) -> tuple[dict[ContainerId, ContainerFiles], SourceState]:
    """
    The files of the containers of all drivers, or of `only` some.
    """
    opened = root.open(layout.CONTAINERS)
    if not isinstance(opened, Present):
        return {}, source_state(layout.CONTAINERS, opened)
    with opened.value as directory:
        listing = directory.list_named(only)
        names = [name for name in listing.entries if is_hex64(name)]
        found = in_threads(partial(_read, directory), names, Source.CONTAINERS, pace)
    return found, listing_state(layout.CONTAINERS, listing)


def containers_of(files: Mapping[ContainerId, ContainerFiles]) -> dict[ContainerId, Container]:
    """The containers that `files` describe; what their configs say of the driver is for the rules."""
    return {
        container: Container(
            container,
            parsed_reading(config, parse_container_config),
            parsed_reading(host_config, parse_host_config),
            ctime_ns,
            temporaries,
        )
        for container, (config, host_config, ctime_ns, temporaries) in files.items()
    }


def _read(directory: Directory, names: Sequence[str]) -> dict[ContainerId, ContainerFiles]:
    return {ContainerId(name): pair for name, pair in read_pairs(directory, names, _CONFIG, _HOST_CONFIG)}
