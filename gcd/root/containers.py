"""
Containers: the two configuration files of each.

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
from gcd.root import parcels
from gcd.root.progress import ALONE, Pace, counted
from gcd.root.record import Wanted, read_pair
from gcd.root.shares import in_shares
from gcd.root.tree import listing_state, source_state

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gcd.root.tree import Directory

CONFIG_LIMIT = 16 << 20

_CONFIG = Wanted(layout.CONTAINER_CONFIG, CONFIG_LIMIT, parse_container_config)
_HOST_CONFIG = Wanted(layout.HOST_CONFIG, CONFIG_LIMIT, parse_host_config)


def read_containers(
    root: Directory, pace: Pace = ALONE, only: Collection[str] | None = None
) -> tuple[dict[ContainerId, Container], SourceState]:
    """
    The containers of all drivers, or `only` some; what their configs say of the driver is for the rules.
    """
    opened = root.open(layout.CONTAINERS)
    if not isinstance(opened, Present):
        return {}, source_state(layout.CONTAINERS, opened)
    with opened.value as directory:
        listing = directory.list_named(only)
        names = [name for name in listing.entries if is_hex64(name)]
        found = in_shares(partial(_read, directory, pace), names, pace.readers, parcels)
    return found, listing_state(layout.CONTAINERS, listing)


def _read(directory: Directory, pace: Pace, names: Sequence[str], shares: int) -> dict[ContainerId, Container]:
    found: dict[ContainerId, Container] = {}
    for name in counted(names, Source.CONTAINERS, pace, shares):
        pair = read_pair(directory, name, _CONFIG, _HOST_CONFIG)
        if pair is not None:
            found[ContainerId(name)] = Container(ContainerId(name), *pair)
    return found
