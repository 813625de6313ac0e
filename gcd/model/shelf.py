"""
Records by id, the sound ones as rows.

A root holds tens of thousands of records in which nothing is wrong, and most of a run never looks at one of them alone.
They are kept as rows, tuples of plain values; a row becomes the record that it stands for when somebody asks for it by
its id. A record of which anything is damaged, missing or unusual stays as it is. Which of the two a record is follows
from the record alone: `layer_row`, `dir_row` and `link_row` say it, and a reader that reads rows must agree with them.

A shelf is a mapping like any other. What it has beside that are its `rows` and its `odd` records, for those who ask one
question about all: the question is put to the rows at once, and to the odd records one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar, cast

from gcd.model.facts import FileType, LayerDir, LayerRecord, LinkSymlink, Lower
from gcd.model.ids import ChainId, DiffId, LayerDirId, LinkId, is_layer_dir_id
from gcd.model.reading import ABSENT, Absent, Present

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

K = TypeVar("K")
R = TypeVar("R", bound="tuple[object, ...]")
V = TypeVar("V")

LayerRow = tuple[DiffId, int, LayerDirId, "ChainId | None", int, int]
"""Diff id, size, cache id, parent (None: a base layer), bytes of the tar-split, ctime."""

DirRow = tuple[LinkId, str, bool, int]
"""
Link, ``lower``, whether there is a ``merged``, ctime.

The ``lower`` is "" (a base layer, which has none, and no ``work``), or the text as it stands, or the id of another dir
with a row: then it is the link of that dir followed by the ``lower`` of that (`folded`).
"""

LinkRow = tuple[LayerDirId, int]
"""Target, ctime."""

_FIRST_LINK: Final = slice(2, 28)
"""Where the first link of a well-formed ``lower`` stands."""

_REST: Final = slice(29, None)
"""Where the ``lower`` begins that the dir of the first link should have."""


class Shelf(Mapping[K, V], Generic[K, R, V]):
    """`rows` and `odd` have no id in common; `record_of` makes the record of an id and its row."""

    __slots__ = ("_ids", "odd", "record_of", "rows")

    def __init__(self, rows: dict[K, R], odd: dict[K, V], record_of: Callable[[K, R], V]) -> None:
        self.rows = rows
        self.odd = odd
        self.record_of = record_of
        self._ids: frozenset[K] | None = None

    def __getitem__(self, key: K) -> V:
        row = self.rows.get(key)
        return self.odd[key] if row is None else self.record_of(key, row)

    def __contains__(self, key: object) -> bool:
        return key in self.rows or key in self.odd

    def __iter__(self) -> Iterator[K]:
        yield from self.rows
        yield from self.odd

    def __len__(self) -> int:
        return len(self.rows) + len(self.odd)

    def ids(self) -> frozenset[K]:
        """All ids, as a set of the fast kind: the `keys` of a mapping compare one by one."""
        if self._ids is None:
            self._ids = frozenset(self.rows).union(self.odd)
        return self._ids


LayerShelf = Shelf[ChainId, LayerRow, LayerRecord]
DirShelf = Shelf[LayerDirId, DirRow, LayerDir]
LinkShelf = Shelf[LinkId, LinkRow, LinkSymlink]


def shelved_layers(records: Mapping[ChainId, LayerRecord]) -> LayerShelf:
    return _shelved(records, layer_row, layer_of)


def shelved_dirs(records: Mapping[LayerDirId, LayerDir]) -> DirShelf:
    found = _shelved(records, dir_row, _never)
    return found if found is records else folded(dir_shelf(found.rows, found.odd))


def shelved_links(records: Mapping[LinkId, LinkSymlink]) -> LinkShelf:
    return _shelved(records, link_row, link_of)


def _shelved(records: Mapping[K, V], row_of: Callable[[V], R | None], record_of: Callable[[K, R], V]) -> Shelf[K, R, V]:
    if isinstance(records, Shelf):
        return cast("Shelf[K, R, V]", records)
    rows: dict[K, R] = {}
    odd: dict[K, V] = {}
    for key, record in records.items():
        row = row_of(record)
        if row is None:
            odd[key] = record
        else:
            rows[key] = row
    return Shelf(rows, odd, record_of)


def replaced(shelf: Shelf[K, R, V], records: Mapping[K, V | None], row_of: Callable[[V], R | None]) -> Shelf[K, R, V]:
    """`shelf` with `records` instead of its own of those ids; None: without any. Not for layer dirs."""
    rows, odd = dict(shelf.rows), dict(shelf.odd)
    _replace(rows, odd, records, row_of)
    return Shelf(rows, odd, shelf.record_of)


def _replace(rows: dict[K, R], odd: dict[K, V], records: Mapping[K, V | None], row_of: Callable[[V], R | None]) -> None:
    for key, record in records.items():
        rows.pop(key, None)
        odd.pop(key, None)
        row = row_of(record) if record is not None else None
        if row is not None:
            rows[key] = row
        elif record is not None:
            odd[key] = record


# --- layer records ----------------------------------------------------------------------------------------------------


def layer_row(record: LayerRecord) -> LayerRow | None:
    """The row of a record whose every file is sound, and which has no ``descriptor.json``; None for any other."""
    match record:
        case LayerRecord(
            diff_id=Present(diff_id),
            size=Present(size),
            cache_id=Present(cache_id),
            parent=Present() | Absent() as parent,
            descriptor=Absent(),
            tar_split=Present(tar_split),
        ):
            return (
                diff_id,
                size,
                cache_id,
                parent.value if isinstance(parent, Present) else None,
                tar_split,
                record.ctime_ns,
            )
        case _:
            return None


def layer_of(chain: ChainId, row: LayerRow) -> LayerRecord:
    diff_id, size, cache_id, parent, tar_split, ctime_ns = row
    return LayerRecord(
        chain,
        Present(diff_id),
        Present(size),
        Present(cache_id),
        ABSENT if parent is None else Present(parent),
        ABSENT,
        Present(tar_split),
        ctime_ns,
    )


# --- layer dirs -------------------------------------------------------------------------------------------------------


def dir_row(layer_dir: LayerDir) -> DirRow | None:
    """
    The row of a dir in which nothing is wrong and nothing unusual: a link id, a ``diff``, and either a well-formed
    ``lower`` and a ``work`` or neither. None for any other, and where somebody looked into ``diff`` or ``merged``.
    """
    match layer_dir:
        case LayerDir(
            link=Present(link),
            lower=Present(Lower(bad=())) | Absent() as lower,
            diff=FileType.DIRECTORY,
            merged=FileType.DIRECTORY | None as merged,
            diff_is_empty=None,
            merged_is_empty=None,
            unreadable=None,
            temporaries=(),
        ) if is_layer_dir_id(layer_dir.id):
            links = lower.value.links if isinstance(lower, Present) else ()
            is_formed = layer_dir.work is (FileType.DIRECTORY if links else None) and bool(links) is not (
                lower == ABSENT
            )
            return (link, spelled(links), merged is not None, layer_dir.ctime_ns) if is_formed else None
        case _:
            return None


def dir_shelf(rows: dict[LayerDirId, DirRow], odd: dict[LayerDirId, LayerDir]) -> DirShelf:
    """A shelf of layer dirs; what a row refers to must be in `rows`."""
    return Shelf(rows, odd, partial(_dir_of, rows))


def folded(dirs: DirShelf) -> DirShelf:
    """
    `dirs`, each ``lower`` that is the link of another and the ``lower`` of that as a reference to it: as it should be,
    and the texts are most of what a root says.
    """
    rows = dirs.rows
    claimants = {row[0]: dir_id for dir_id, row in rows.items()}
    found: dict[LayerDirId, DirRow] = {}
    for dir_id, row in rows.items():
        link, lower, has_merged, ctime_ns = row
        below = claimants.get(LinkId(lower[_FIRST_LINK]))
        if below is not None and rows[below][1] == lower[_REST]:
            found[dir_id] = link, below, has_merged, ctime_ns
        else:
            found[dir_id] = row
    return dir_shelf(found, dirs.odd)


def dirs_replaced(
    dirs: DirShelf,
    records: Mapping[LayerDirId, LayerDir | None],
    *,
    above: Iterable[LayerDirId],
    claimants: Mapping[LinkId, tuple[LayerDirId, ...]],
) -> DirShelf:
    """
    As `replaced`, of layer dirs. `above` are the dirs whose ``lower`` may be told by one of `records` so far, and
    `claimants` says of each link which dirs had it.
    """
    rows, odd = dict(dirs.rows), dict(dirs.odd)
    loose = {d for d in above if d in rows and rows[d][1] in records}
    for dir_id in loose:
        link, _, has_merged, ctime_ns = rows[dir_id]
        rows[dir_id] = (link, spelled(lower_links(dirs.rows, dir_id)), has_merged, ctime_ns)
    _replace(rows, odd, records, dir_row)
    new = {rows[d][0]: d for d in records if d in rows}
    for dir_id in (*loose, *records):
        row = rows.get(dir_id)
        first = LinkId(row[1][_FIRST_LINK]) if row is not None and is_spelled(row[1]) else None
        if row is None or first is None:
            continue
        below = new.get(first) or next(iter(claimants.get(first, ())), None)
        if below in rows and rows[below][0] == first and spelled(lower_links(rows, below)) == row[1][_REST]:
            rows[dir_id] = (row[0], below, row[2], row[3])
    return dir_shelf(rows, odd)


def lower_links(rows: Mapping[LayerDirId, DirRow], dir_id: LayerDirId) -> tuple[LinkId, ...]:
    """The links that the ``lower`` of the dir of a row names, nearest first."""
    links: list[LinkId] = []
    lower = rows[dir_id][1]
    while lower and not is_spelled(lower):
        link, lower, _, _ = rows[LayerDirId(lower)]
        links.append(link)
    return (*links, *_links_of(lower))


def is_spelled(lower: str) -> bool:
    """Whether the `lower` of a row that has one is a text, and no reference."""
    return lower.startswith("l/")


def _dir_of(rows: Mapping[LayerDirId, DirRow], dir_id: LayerDirId, row: DirRow) -> LayerDir:
    link, lower, has_merged, ctime_ns = row
    return LayerDir(
        dir_id,
        Present(link),
        Present(Lower(lower_links(rows, dir_id))) if lower else ABSENT,
        FileType.DIRECTORY,
        FileType.DIRECTORY if lower else None,
        FileType.DIRECTORY if has_merged else None,
        ctime_ns,
    )


def _never(key: object, row: object) -> NoReturn:
    raise AssertionError(key, row)


def spelled(links: tuple[LinkId, ...]) -> str:
    """The links as a ``lower`` names them; "" for none."""
    return ":".join([f"l/{link}" for link in links])


def _links_of(lower: str) -> tuple[LinkId, ...]:
    """The links of a well-formed `lower`."""
    return cast("tuple[LinkId, ...]", tuple(lower[2:].split(":l/"))) if lower else ()


# --- the link farm ----------------------------------------------------------------------------------------------------


def link_row(symlink: LinkSymlink) -> LinkRow | None:
    """The row of a symlink whose target has the form of one; None for any other."""
    return (symlink.target.value, symlink.ctime_ns) if isinstance(symlink.target, Present) else None


def link_of(link: LinkId, row: LinkRow) -> LinkSymlink:
    return LinkSymlink(link, Present(row[0]), row[1])
