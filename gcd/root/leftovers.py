"""
Plugins, and volumes by name: of a volume only its options are read, never its data.

Source: moby ``plugin/manager.go`` (a plugin's ``config.json``), ``volume/local/local.go`` (``opts.json``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.descriptor import check_plugin_config
from gcd.formats.gojson import Kind, decode_document, struct_of
from gcd.model import layout
from gcd.model.facts import FileType, Plugin, Volume
from gcd.model.ids import is_hex64
from gcd.model.reading import Present
from gcd.root.record import open_record
from gcd.root.tree import listing_state, source_state

if TYPE_CHECKING:
    from gcd.model.inventory import SourceState
    from gcd.root.tree import Directory

PLUGIN_CONFIG_LIMIT = 16 << 20
VOLUME_OPTIONS_LIMIT = 1 << 20

_REMOVING_SUFFIX = "-removing"
_MARKS = frozenset({layout.VOLUME_DATA, layout.VOLUME_OPTIONS})
_OPTIONS = {"MountType": Kind.TEXT, "MountOpts": Kind.TEXT, "MountDevice": Kind.TEXT, "Quota": Kind.OBJECT}


def read_plugins(root: Directory) -> tuple[dict[str, Plugin], SourceState]:
    """The plugins, those being removed (``<id>-removing``) among them."""
    opened = root.open(layout.PLUGINS)
    if not isinstance(opened, Present):
        return {}, source_state(layout.PLUGINS, opened)
    found: dict[str, Plugin] = {}
    with opened.value as directory:
        listing = directory.list()
        for name in listing.entries:
            record = open_record(directory, name) if is_hex64(name.removesuffix(_REMOVING_SUFFIX)) else None
            if record is not None:
                with record:
                    config = record.read(layout.PLUGIN_CONFIG, PLUGIN_CONFIG_LIMIT, check_plugin_config)
                    found[name] = Plugin(name, config, record.ctime_ns)
    return found, listing_state(layout.PLUGINS, listing)


def read_volumes(root: Directory) -> tuple[dict[str, Volume], SourceState]:
    """The directories that the local volume driver takes for volumes; ``options`` is Absent for most."""
    opened = root.open(layout.VOLUMES)
    if not isinstance(opened, Present):
        return {}, source_state(layout.VOLUMES, opened)
    found: dict[str, Volume] = {}
    with opened.value as directory:
        listing = directory.list()
        for name, kind in listing.entries.items():
            record = open_record(directory, name) if kind is FileType.DIRECTORY else None
            if record is not None:
                with record:
                    if record.failure is None and _MARKS.isdisjoint(record.entries):
                        continue
                    found[name] = Volume(name, record.read(layout.VOLUME_OPTIONS, VOLUME_OPTIONS_LIMIT, _check_options))
    return found, listing_state(layout.VOLUMES, listing)


def _check_options(raw: bytes) -> None:
    options = struct_of(decode_document(raw, "opts.json"), "opts.json")
    if options is not None:
        options.require(_OPTIONS)
