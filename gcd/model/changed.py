"""
What may have changed in a root since it was read: hints, which say what to read again and never what is true.

The names are those of entries that came, went or were replaced in one of the watched directories, as the kernel spelled
them: unchecked, since anybody who may write there chooses them.
"""

from __future__ import annotations

from msgspec import Struct


class Changed(Struct, frozen=True):
    """
    Entries by the directory that holds them; `layers` and `rw_layers` are those of ``layerdb/sha256`` and
    ``layerdb/mounts``. With `everything` nothing is known but that something may have changed: the rest says nothing.
    """

    layer_dirs: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    layers: frozenset[str] = frozenset()
    rw_layers: frozenset[str] = frozenset()
    write_sets: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    containers: frozenset[str] = frozenset()
    has_repositories: bool = False
    has_build_cache: bool = False
    everything: bool = False

    def __or__(self, other: Changed) -> Changed:
        return Changed(**{f: getattr(self, f) | getattr(other, f) for f in self.__struct_fields__})

    def __bool__(self) -> bool:
        return any(getattr(self, f) for f in self.__struct_fields__)


NOTHING = Changed()
EVERYTHING = Changed(everything=True)
