"""Plugins: of each whether it has a sound ``config.json`` (moby ``plugin/manager.go``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.descriptor import check_plugin_config
from gcd.model import layout
from gcd.model.facts import Plugin
from gcd.model.ids import is_hex64
from gcd.model.reading import Present
from gcd.root.record import open_record
from gcd.root.tree import listing_state, source_state

if TYPE_CHECKING:
    from gcd.model.inventory import SourceState
    from gcd.root.tree import Directory

PLUGIN_CONFIG_LIMIT = 16 << 20


def read_plugins(root: Directory) -> tuple[dict[str, Plugin], SourceState]:
    """The plugins, those being removed (``<id>-removing``) among them."""
    opened = root.open(layout.PLUGINS)
    if not isinstance(opened, Present):
        return {}, source_state(layout.PLUGINS, opened)
    found: dict[str, Plugin] = {}
    with opened.value as directory:
        listing = directory.list()
        for name in listing.entries:
            record = open_record(directory, name) if is_hex64(name.removesuffix(layout.REMOVING_SUFFIX)) else None
            if record is not None:
                with record:
                    config = record.read(layout.PLUGIN_CONFIG, PLUGIN_CONFIG_LIMIT, check_plugin_config)
                    found[name] = Plugin(name, config, record.ctime_ns)
    return found, listing_state(layout.PLUGINS, listing)
