"""``overlay2/``: layer dirs and the link farm (moby ``daemon/graphdriver/overlay2/overlay.go``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.facts.files import FileType
    from gcd.model.ids import LayerDirId, LinkId
    from gcd.model.reading import Reading


class BadElement(Struct, frozen=True):
    """An element of a ``lower`` file that is not ``l/<link id>``; `position` counts from 0, the nearest parent."""

    position: int
    text: str


class Lower(Struct, frozen=True):
    """
    A ``lower`` file: the link ids of all layers below, nearest first.

    `links` holds the well-formed elements in their order; with `bad` empty their index is their depth.
    """

    links: tuple[LinkId, ...]
    bad: tuple[BadElement, ...] = ()

    @property
    def depth(self) -> int:
        return len(self.links) + len(self.bad)


class LayerDir(Struct, frozen=True):
    """
    ``overlay2/<id>``, of whatever form its name is (layer, rw layer, init, build, or a name that fits none).

    `diff`, `work` and `merged` are the types of these entries, None where there is none. `ctime_ns` is the
    newest ctime of the directory, ``diff``, ``link`` and ``lower``, and of ``work`` where it is mounted: no later
    change of its set-up is possible. `diff_is_empty` and `merged_is_empty` are None where nobody needed to look (a dir
    that records name; a ``merged`` that some namespace has mounted). `unreadable` holds the reason when the directory
    itself could not be opened.
    `temporaries`: the names of the engine's ``.tmp-…`` files in it.
    """

    id: LayerDirId
    link: Reading[LinkId]
    lower: Reading[Lower]
    diff: FileType | None
    work: FileType | None
    merged: FileType | None
    ctime_ns: int
    diff_is_empty: bool | None = None
    merged_is_empty: bool | None = None
    unreadable: str | None = None
    temporaries: tuple[str, ...] = ()


class LinkSymlink(Struct, frozen=True):
    """
    ``overlay2/l/<link id>``.

    `target` is Present only when the text is exactly ``../<layer dir id>/diff``; anything else, a file or a directory
    in its place included, is Malformed. Nothing ever follows it.
    """

    id: LinkId
    target: Reading[LayerDirId]
    ctime_ns: int


class LinkFarm(Struct, frozen=True):
    """
    ``overlay2/l``. `type` is None when it is missing; `symlinks` holds every entry whose name is a link id.
    """

    type: FileType | None
    symlinks: Mapping[LinkId, LinkSymlink]
