"""
What came and went in a root without anybody hearing of it: the names in its directories, compared with those that an
inventory has. Names alone are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.changed import Changed
from gcd.model.ids import is_hex64, is_link_id
from gcd.model.reading import Present

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.model.inventory import Inventory
    from gcd.root.tree import Directory


def unheard(root: Directory, inventory: Inventory) -> Changed:
    """The subjects that are there and not in `inventory`, or the other way round."""
    driver = inventory.store
    chains = {chain.removeprefix("sha256:") for chain in inventory.layers}
    images = {image.removeprefix("sha256:") for image in inventory.images}
    notes = {image.removeprefix("sha256:") for image in inventory.image_metadata}
    records = _names(root, layout.layer_records(driver))
    dirs = _names(root, driver) - {layout.LINK_FARM, layout.BACKING_DEVICE}
    contents = filter(is_hex64, _names(root, layout.image_configs(driver)))
    noted = filter(is_hex64, _names(root, layout.image_metadata_records(driver)))
    return Changed(
        layer_dirs=_either(dirs, inventory.layer_dirs),
        links=_either(filter(is_link_id, _names(root, layout.link_farm(driver))), inventory.link_farm.symlinks),
        layers=_either(filter(_is_record, records), chains.union(inventory.removing)),
        rw_layers=_either(
            _names(root, layout.rw_layer_records(driver)), {name.partition("/")[0] for name in inventory.rw_layers}
        ),
        write_sets=_either(
            {n for n in _names(root, layout.write_sets(driver)) if n.startswith(layout.WRITE_SET_PREFIX)},
            inventory.write_sets,
        ),
        images=_either(contents, images) | _either(noted, notes),
        containers=_either(filter(is_hex64, _names(root, layout.CONTAINERS)), inventory.containers),
    )


def _names(root: Directory, path: str) -> set[str]:
    opened = root.open_path(path)
    if not isinstance(opened, Present):
        return set()
    with opened.value as directory:
        return set(directory.list().entries)


def _is_record(name: str) -> bool:
    return is_hex64(name.partition("-")[0])


def _either(here: Iterable[str], known: Iterable[str]) -> frozenset[str]:
    """What is in one of the two alone."""
    return frozenset(set(here).symmetric_difference(known))
