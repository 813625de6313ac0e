"""
What a unit stands on: the parent chains that its records name, and the dirs that its ``lower`` files lead to.

It is noted when the unit is taken, and must be the same when a record among it comes back (safety rule S20): a layer on
another parent is another layer, and one that leads nowhere cannot be mounted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gcd.actions.items import parent_of
from gcd.formats.lower import parse_lower
from gcd.formats.texts import parse_digest, parse_layer_dir_id, parse_link_target
from gcd.model import layout
from gcd.model.entry import Ground
from gcd.model.errors import FormatError
from gcd.model.ids import ChainId, is_layer_dir_id
from gcd.model.reading import Present, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcd.actions.place import Place
    from gcd.model.ids import LayerDirId, LinkId
    from gcd.root.tree import Directory

T = TypeVar("T")

_TEXT_LIMIT = 4096
_LOWER_LIMIT = 64 << 10


def ground_of(place: Place, paths: tuple[str, ...]) -> Ground:
    """What the unit of `paths`, all in their places, stands on, as far as it can be read."""
    return Ground(parents=dict(_parents(place, paths)), links=dict(_links(place, paths)))


def lacking(place: Place, ground: Ground) -> str:
    """The path of the first part of `ground` that is not as it was; "" if all of it is."""
    for chain, cache_id in ground.parents.items():
        if _cache_id(place, chain) != cache_id:
            return layout.layer_record(chain, place.driver)
        if not _is_directory(place, cache_id):
            return layout.layer_dir(cache_id, place.driver)
    for link, layer_dir in ground.links.items():
        if _target(place, link) != layer_dir:
            return layout.link_symlink(link, place.driver)
        if not _is_directory(place, layer_dir):
            return layout.layer_dir(layer_dir, place.driver)
    return ""


def paths_of(ground: Ground, driver: str) -> Iterator[str]:
    """The paths of all records and dirs that are `ground`."""
    for chain, cache_id in ground.parents.items():
        yield layout.layer_record(chain, driver)
        yield layout.layer_dir(cache_id, driver)
    for layer_dir in ground.links.values():
        yield layout.layer_dir(layer_dir, driver)


def _parents(place: Place, paths: tuple[str, ...]) -> Iterator[tuple[ChainId, LayerDirId]]:
    """The whole parent chain of each record; those of it that go along are no ground, but what they stand on is."""
    homes = (f"{layout.layer_records(place.driver)}/", f"{layout.rw_layer_records(place.driver)}/")
    records = [path for path in paths if path.startswith(homes)]
    seen = set(records)
    while records:
        parent = _text(place.root, f"{records.pop()}/{layout.PARENT}", lambda raw: parse_digest(raw, layout.PARENT))
        if parent is None:
            continue
        chain = ChainId(parent)
        path = layout.layer_record(chain, place.driver)
        if path not in seen:
            seen.add(path)
            records.append(path)
            cache_id = _cache_id(place, chain)
            if cache_id is not None:
                yield chain, cache_id


def _links(place: Place, paths: tuple[str, ...]) -> Iterator[tuple[LinkId, LayerDirId]]:
    """Links to what goes along are no ground: an rw dir's ``lower`` begins with its init dir."""
    for path in paths:
        folder, _, name = path.rpartition("/")
        if folder == place.driver and is_layer_dir_id(name):
            lower = _text(place.root, f"{path}/{layout.LOWER}", parse_lower, _LOWER_LIMIT)
            for link in lower.links if lower is not None else ():
                target = _target(place, link)
                if target is not None and layout.layer_dir(target, place.driver) not in paths:
                    yield link, target


def _cache_id(place: Place, chain: ChainId) -> LayerDirId | None:
    path = f"{layout.layer_record(chain, place.driver)}/{layout.CACHE_ID}"
    return _text(place.root, path, lambda raw: parse_layer_dir_id(raw, layout.CACHE_ID))


def _target(place: Place, link: LinkId) -> LayerDirId | None:
    try:
        with parent_of(place.root, layout.link_symlink(link, place.driver)) as (farm, name):
            target = farm.readlink(name)
            return parse_link_target(target.value) if isinstance(target, Present) else None
    except (OSError, FormatError):
        return None


def _is_directory(place: Place, layer_dir: LayerDirId) -> bool:
    opened = place.root.open_path(layout.layer_dir(layer_dir, place.driver))
    if isinstance(opened, Present):
        opened.value.close()
    return isinstance(opened, Present)


def _text(root: Directory, path: str, parse: Callable[[bytes], T], limit: int = _TEXT_LIMIT) -> T | None:
    """What the small file at `path` says; None if it says nothing."""
    try:
        with parent_of(root, path) as (parent, name):
            return value_of(parent.read(name, limit, parse))
    except OSError:
        return None
