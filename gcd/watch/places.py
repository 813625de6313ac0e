"""
The directories of a root whose entries are watched, and what a name in each of them says.

None of them lies inside a layer: what a container writes makes no event. Those that matter only because others appear
in them are watched too, so that no place is ever looked for by the clock alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gcd.model import layout
from gcd.model.changed import NOTHING, Changed

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = ""
"""The path of the root itself."""

_BUILD_DATABASES: Final = frozenset(
    (layout.BUILD_SNAPSHOTS, layout.BUILD_RECORDS, layout.BUILD_LEASES, layout.OLD_BUILD_RECORDS)
)


class Place(Struct, frozen=True):
    """
    A directory by its path relative to the root; `parts` are the names in it that are places themselves, and `told`
    makes hints of the other names.
    """

    path: str
    told: Callable[[frozenset[str]], Changed]
    parts: frozenset[str] = frozenset()


def places(driver: str) -> tuple[Place, ...]:
    """The places of the store that `driver` wrote, each after the one it lies in."""
    told: dict[str, Callable[[frozenset[str]], Changed]] = {
        driver: lambda names: Changed(layer_dirs=names),
        layout.link_farm(driver): lambda names: Changed(links=names),
        layout.layer_records(driver): lambda names: Changed(layers=names),
        layout.rw_layer_records(driver): lambda names: Changed(rw_layers=names),
        layout.write_sets(driver): lambda names: Changed(write_sets=names),
        layout.image_configs(driver): lambda names: Changed(images=names),
        layout.image_metadata_records(driver): lambda names: Changed(images=names),
        layout.image_tree(driver): lambda names: Changed(has_repositories=_REPOSITORIES in names),
        layout.CONTAINERS: lambda names: Changed(containers=names),
        layout.BUILDKIT: lambda names: Changed(has_build_cache=not names.isdisjoint(_BUILD_DATABASES)),
    }
    paths = {ROOT}.union(*map(_way_to, told))
    return tuple(Place(path, told.get(path, _nothing), _parts(path, paths)) for path in sorted(paths))


_REPOSITORIES: Final = layout.repositories().rpartition("/")[2]


def _nothing(_: frozenset[str]) -> Changed:
    return NOTHING


def _way_to(path: str) -> frozenset[str]:
    """`path` and all directories on the way to it."""
    names = path.split("/")
    return frozenset("/".join(names[:depth]) for depth in range(1, len(names) + 1))


def _parts(path: str, paths: set[str]) -> frozenset[str]:
    prefix = f"{path}/" if path else ""
    below = (other.removeprefix(prefix) for other in paths if other.startswith(prefix) and other != ROOT)
    return frozenset(name for name in below if "/" not in name)
