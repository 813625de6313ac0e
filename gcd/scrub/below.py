"""
What the layers below a layer show through it.

Only with native diff does an engine make a node for each whiteout and mark each opaque directory. Where it cannot
(``redirect_dir``, user namespaces) it unpacks into a mount: then the kernel notes only what hides something, in its own
way, and the dir of a healthy layer has other nodes than its stream says. What counts is what is seen.

Sources: moby ``daemon/graphdriver/fsdiff.go``, ``pkg/archive/diff.go`` UnpackLayer, ``changes.go``.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from gcd.formats.texts import parse_digest, parse_layer_dir_id
from gcd.model import layout
from gcd.model.ids import ChainId
from gcd.model.reading import Absent, Present, value_of

if TYPE_CHECKING:
    from gcd.model.ids import LayerDirId
    from gcd.root.tree import Directory
    from gcd.scrub.layer import Layer

OPAQUE_ATTRIBUTES: Final = ("trusted.overlay.opaque", "user.overlay.opaque")
MOVED: Final = (
    "trusted.overlay.redirect",
    "trusted.overlay.metacopy",
    "user.overlay.redirect",
    "user.overlay.metacopy",
)
MOST_LAYERS: Final = 500
_TEXT_LIMIT: Final = 4096


class Below:
    """What is below `layer`, read when it is asked for. Of what cannot be read nothing is shown."""

    def __init__(self, root: Directory, layer: Layer) -> None:
        self._root = root
        self._layer = layer
        self._known: tuple[LayerDirId, ...] | None = None

    def shows(self, path: str) -> bool:
        """Whether a layer below surely shows something at `path`, if the layer itself has nothing just there."""
        for layer_dir in (self._layer.layer_dir, *self._dirs()):
            found = self._found(layer_dir, path)
            if found is not None:
                return found
        return False

    def shows_in(self, folder: str, besides: set[str]) -> bool:
        """Whether one surely shows a name in `folder` that is not among `besides`."""
        names: set[str] = set()
        for layer_dir in self._dirs():
            opened = self._root.open_path(f"{layout.layer_dir(layer_dir)}/{layout.DIFF}/{folder}".rstrip("/"))
            if isinstance(opened, Present):
                with opened.value as there:
                    names.update(there.list().entries)
        return any(self.shows(f"{folder}/{name}".lstrip("/")) for name in sorted(names - besides))

    def _dirs(self) -> tuple[LayerDirId, ...]:
        """The dirs of the layers below, the nearest first."""
        if self._known is None:
            found: list[LayerDirId] = []
            chain: ChainId | None = self._layer.chain
            while chain is not None and len(found) < MOST_LAYERS:
                chain = self._parent(chain)
                layer_dir = None if chain is None else self._dir_of(chain)
                if layer_dir is None:
                    break
                found.append(layer_dir)
            self._known = tuple(found)
        return self._known

    def _parent(self, chain: ChainId) -> ChainId | None:
        opened = self._root.open_path(layout.layer_record(chain))
        if not isinstance(opened, Present):
            return None
        with opened.value as record:
            return value_of(record.read(layout.PARENT, _TEXT_LIMIT, lambda raw: ChainId(parse_digest(raw, "parent"))))

    def _dir_of(self, chain: ChainId) -> LayerDirId | None:
        opened = self._root.open_path(layout.layer_record(chain))
        if not isinstance(opened, Present):
            return None
        with opened.value as record:
            return value_of(record.read(layout.CACHE_ID, _TEXT_LIMIT, lambda raw: parse_layer_dir_id(raw, "cache-id")))

    def _found(self, layer_dir: LayerDirId, path: str) -> bool | None:
        """Whether the layer shows `path`: False too where it hides what is below; None: that decides."""
        opened = self._root.open_path(f"{layout.layer_dir(layer_dir)}/{layout.DIFF}")
        if not isinstance(opened, Present):
            return False
        here, is_opaque = opened.value, False
        *folders, name = path.split("/")
        try:
            for folder in folders:
                there = here.open(folder)
                if not isinstance(there, Present):
                    return None if isinstance(here.lstat(folder), Absent) and not is_opaque else False
                here.close()
                here = there.value
                attributes = os.listxattr(here.fd)
                if not set(MOVED).isdisjoint(attributes):
                    return False
                is_opaque = is_opaque or not set(OPAQUE_ATTRIBUTES).isdisjoint(attributes)
            status = here.lstat(name)
            if layer_dir == self._layer.layer_dir or isinstance(status, Absent):
                return False if is_opaque else None
            return isinstance(status, Present) and not is_whiteout(status.value)
        except OSError:
            return False
        finally:
            here.close()


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and not status.st_rdev
