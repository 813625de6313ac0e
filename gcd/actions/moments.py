"""
What may be put back while the engine runs (safety rule S20).

A running engine has the records in its memory: one that appears on disk is unknown to it, and the next load of that
layer finds a file where it wants to write, and deletes what it stands on (T31). Layer dirs, link symlinks and temporary
files are looked for on disk whenever they are needed, so those that no record names may come back at any time.

A repair is of what is needed, or was when it was made: what it put into the link farm, or into a layer dir that a
record names, is not taken away under a running engine either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.entry import Operation
from gcd.model.reading import Present
from gcd.root.layerdb import read_layerdb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.actions.place import Place
    from gcd.model.entry import Manifest
    from gcd.model.ids import LayerDirId
    from gcd.model.reading import Reading


def demands_stop(place: Place, manifest: Manifest) -> str:
    """In one clause, why the items may not be put back while the engine runs; "" if they may."""
    for item in manifest.items:
        if is_in_memory(item.path, place.driver):
            return f"the engine has {item.path} in its memory"
        if _is_of_farm(item.path, manifest.operation, place.driver):
            return f"the engine finds layers by {item.path}"
    named = frozenset(_named(place))
    for item in manifest.items:
        home, _, rest = item.path.partition("/")
        name, _, within = rest.partition("/")
        # What was moved out of a dir that is in use was nobody's; what a repair wrote there is read.
        if home == place.driver and name in named and (not within or manifest.operation is Operation.REPAIR):
            return f"a record names the layer dir {name}"
    return ""


def _is_of_farm(path: str, operation: Operation, driver: str) -> bool:
    """Whether it is the link farm, or a symlink in it that a repair made; one that was moved out was nobody's."""
    farm = layout.link_farm(driver)
    return path == farm or (operation is Operation.REPAIR and path.startswith(f"{farm}/"))


def is_in_memory(path: str, driver: str) -> bool:
    """Whether a running engine has read what stands at `path`, and does not look at it again."""
    if path.rpartition("/")[2].startswith(layout.TEMPORARY_PREFIX):
        return False
    kept = (
        layout.layer_records(driver),
        layout.rw_layer_records(driver),
        layout.imagedb(driver),
        layout.repositories(driver),
        layout.CONTAINERS,
        layout.PLUGINS,
    )
    return any(path == place or path.startswith(f"{place}/") for place in kept)


def _named(place: Place) -> Iterator[LayerDirId]:
    layerdb = read_layerdb(place.root, place.driver)
    readings: list[Reading[LayerDirId]] = [record.cache_id for record in layerdb.layers.values()]
    readings += [record.cache_id for record in layerdb.removing.values()]
    readings += [record.cache_id for record in layerdb.write_sets.values()]
    for record in layerdb.rw_layers.values():
        readings += [record.mount_id, record.init_id]
    return (reading.value for reading in readings if isinstance(reading, Present))
