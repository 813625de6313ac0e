"""
bbolt database files: bytes → the tree of buckets of their current state.

Input is a copy of a whole file (`gcd.root.databases` takes one while its owner writes). The whole state is read and
checked at once, so that a database is either sound as a whole or a `FormatError`: half a database would be a source
with holes that nobody sees. Nothing is ever repaired or guessed.

::

    page (header 16)   u64 id · u16 flags · u16 count · u32 overflow; spans (overflow + 1) pages
    branch element     u32 pos · u32 key size · u64 child page          pos counts from the element itself
    leaf element       u32 flags · u32 pos · u32 key size · u32 value size; flags bit 0: the value is a bucket
    bucket value       u64 root page · u64 sequence; root 0: a leaf page follows in the value (inline)
    meta (at page+16)  u32 magic · u32 version · u32 page size · u32 flags · u64 root · u64 sequence · u64 freelist
                       u64 high water · u64 txid · u64 FNV-1a of what precedes
    freelist           u64 page ids; count 0xFFFF: the first u64 is the real count

Data pages carry no checksum, so everything else that the writer always holds is demanded: page ids, exactly one flag,
element data that follows the element table without gap or overlap, keys ascending and within the bounds of their
branch, no page met twice, and (where a freelist is kept) each page either met or free, never both. A lost element or
subtree therefore shows.

Work and memory are bounded by the size of the input: no page is read twice and no byte belongs to two elements.

Sources: etcd-io/bbolt ``internal/common/{page,meta,bucket,inode}.go``, ``db.go`` getPageSize and meta, ``tx_check.go``,
``node.go`` write and rebalance; the layout has been the same since boltdb/bolt 1.3. Seen in files of Docker 20.10, 26.1
and 28.5. Integers are little-endian, as on every platform that Docker supports but s390x.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NoReturn

from msgspec import Struct

from gcd.formats.escape import escaped
from gcd.model.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    ReadAt = Callable[[int, int], bytes]
    """Up to `size` bytes from `offset`; fewer only at the end of the file."""

MAGIC = 0xED0CDAED
VERSION = 2
NO_FREELIST = 0xFFFF_FFFF_FFFF_FFFF
"""The freelist page of a database whose owner does not keep one on disk (containerd's)."""

BRANCH_FLAG = 0x01
LEAF_FLAG = 0x02
META_FLAG = 0x04
FREELIST_FLAG = 0x10
BUCKET_FLAG = 0x01
COUNT_OVERFLOW = 0xFFFF

PAGE_HEADER = struct.Struct("<QHHI")
BRANCH_ELEMENT = struct.Struct("<IIQ")
LEAF_ELEMENT = struct.Struct("<IIII")
BUCKET_HEADER = struct.Struct("<QQ")
META = struct.Struct("<IIIIQQQQQQ")
META_SPAN = PAGE_HEADER.size + META.size

PAGE_SIZES = tuple(1024 << i for i in range(15))
"""The sizes that bbolt itself looks for, 1 KiB to 16 MiB; the writer's choice is its machine's memory page."""

MAX_DEPTH = 64
"""Levels of buckets and branch pages in all. BuildKit's and containerd's files have fewer than ten."""

_FLAG_NAMES = {BRANCH_FLAG: "branch", LEAF_FLAG: "leaf", META_FLAG: "meta", FREELIST_FLAG: "freelist"}
_SHOWN = 24


class Meta(Struct, frozen=True):
    """One state of a database; `high_water` is the number of pages that it may use, all metas included."""

    page_size: int
    root: int
    freelist: int
    high_water: int
    txid: int

    @property
    def span(self) -> int:
        """The bytes of the file that this state consists of; what follows is meaningless."""
        return self.high_water * self.page_size


class Bucket(Struct, frozen=True):
    """Keys in ascending order. No key is in both mappings."""

    values: Mapping[bytes, bytes]
    buckets: Mapping[bytes, Bucket]

    def find(self, *path: bytes) -> Bucket | None:
        """The bucket below this one at `path`, or None."""
        bucket: Bucket | None = self
        for key in path:
            if bucket is None:
                return None
            bucket = bucket.buckets.get(key)
        return bucket

    def words(self) -> Iterator[bytes]:
        """Each key and each value below this bucket, those of nested buckets included."""
        waiting = [self]
        while waiting:
            bucket = waiting.pop()
            for key, value in bucket.values.items():
                yield key
                yield value
            yield from bucket.buckets
            waiting += bucket.buckets.values()


class Database(Struct, frozen=True):
    """The newest whole state found in a file; `txid` grows by one with each committed write."""

    page_size: int
    txid: int
    root: Bucket


def parse_database(data: bytes) -> Database:
    """All of the current state in `data`, a file's bytes from its start to at least the end of that state."""
    meta = current_meta(lambda offset, size: data[offset : offset + size])
    if meta.span > len(data):
        raise FormatError(
            "bolt file", offset=len(data), expected=f"{meta.span} bytes ({meta.high_water} pages)", found=f"{len(data)}"
        )
    reader = _Reader(memoryview(data)[: meta.span], meta)
    root = reader.tree(meta.root, told_at=PAGE_HEADER.size, depth=0)
    reader.account_for_all_pages()
    return Database(meta.page_size, meta.txid, root)


# --- metas ----------------------------------------------------------------------------------------------------------


def current_meta(read: ReadAt) -> Meta:
    """
    The valid meta with the highest transaction id; one of the two may be invalid (a crash, or a write under way).

    The second one lies a page after the first, wherever that is: its place is told by the first, or else looked for.
    """
    first = _meta_at(read, 0)
    if first is not None:
        second = _meta_at(read, first.page_size)
        return second if second is not None and second.txid > first.txid else first
    for size in PAGE_SIZES:
        second = _meta_at(read, size)
        if second is not None:
            return second
    head = read(PAGE_HEADER.size, 4).hex() or "the end"
    raise FormatError("bolt meta", offset=PAGE_HEADER.size, expected="a valid meta page", found=head)


def _meta_at(read: ReadAt, offset: int) -> Meta | None:
    raw = read(offset, META_SPAN)[PAGE_HEADER.size :]
    if len(raw) != META.size:
        return None
    magic, version, page_size, _flags, root, _sequence, freelist, high_water, txid, checksum = META.unpack(raw)
    if magic != MAGIC or version != VERSION or checksum != fnv1a(raw[:-8]):
        return None
    if page_size not in PAGE_SIZES or offset not in {0, page_size}:
        return None
    return Meta(page_size, root, freelist, high_water, txid)


def fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash with which bbolt seals a meta."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFF_FFFF_FFFF_FFFF
    return value


# --- pages ----------------------------------------------------------------------------------------------------------


class _Page(Struct, frozen=True):
    """A page's bytes and the name and file offset that errors give for it."""

    view: memoryview
    offset: int
    name: str
    flag: int
    count: int


class _Element(Struct, frozen=True):
    """
    `extra` is a branch element's child page, or a leaf element's flags; `offset` that of its entry in the page's table,
    `value_offset` that of its value, both in the file.
    """

    key: bytes
    value: memoryview
    extra: int
    offset: int
    value_offset: int


class _Bounds(Struct, frozen=True):
    """What a branch says of a child's keys: at least `low`, below `high` (None: no bound)."""

    low: bytes | None = None
    high: bytes | None = None


class _Reader:
    """Walks one state once. `met` are the pages seen so far, with the metas."""

    def __init__(self, view: memoryview, meta: Meta) -> None:
        self.view = view
        self.meta = meta
        self.met = bytearray(meta.high_water)
        self.met[:2] = b"\x01" * len(self.met[:2])

    def tree(self, root: int, told_at: int, depth: int) -> Bucket:
        """The bucket whose top page is `root`; `told_at` is the file offset of what says so."""
        values: dict[bytes, bytes] = {}
        buckets: dict[bytes, Bucket] = {}
        waiting = [(root, told_at, _Bounds(), depth)]
        while waiting:
            number, at, bounds, level = waiting.pop()
            page = self.page(number, at, BRANCH_FLAG | LEAF_FLAG, level)
            elements = _elements(page, bounds)
            if not elements and (number != root or page.flag == BRANCH_FLAG):
                raise FormatError(page.name, offset=page.offset, expected="at least one element", found="none")
            if page.flag == LEAF_FLAG:
                self.fill(values, buckets, elements, level)
                continue
            highs = [element.key for element in elements[1:]] + [bounds.high]
            children = [
                (element.extra, element.offset, _Bounds(element.key, high), level + 1)
                for element, high in zip(elements, highs, strict=True)
            ]
            waiting += reversed(children)
        return Bucket(values, buckets)

    def fill(
        self, values: dict[bytes, bytes], buckets: dict[bytes, Bucket], elements: list[_Element], depth: int
    ) -> None:
        for element in elements:
            if element.extra == 0:
                values[element.key] = bytes(element.value)
            elif element.extra == BUCKET_FLAG:
                buckets[element.key] = self.bucket(element, depth + 1)
            else:
                _refuse("bolt leaf element", element.offset, "flags 0 or 1", element.extra)

    def bucket(self, element: _Element, depth: int) -> Bucket:
        size = len(element.value)
        if size < BUCKET_HEADER.size:
            _refuse("bolt bucket", element.offset, f"at least {BUCKET_HEADER.size} bytes", size)
        root, _sequence = BUCKET_HEADER.unpack_from(element.value)
        if root != 0:
            return self.tree(root, element.offset, depth)
        inline = element.value[BUCKET_HEADER.size :]
        start = element.value_offset + BUCKET_HEADER.size
        page = _page(inline, start, "bolt inline bucket", number=0, flags=LEAF_FLAG)
        values: dict[bytes, bytes] = {}
        for inner in _elements(page, _Bounds()):
            if inner.extra != 0:
                _refuse("bolt inline bucket", inner.offset, "plain values only", f"an element with flags {inner.extra}")
            values[inner.key] = bytes(inner.value)
        return Bucket(values, {})

    def page(self, number: int, told_at: int, flags: int, depth: int) -> _Page:
        """Page `number` with its overflow, checked and marked as met; `flags` are those allowed here."""
        name = f"bolt page {number}"
        if not 2 <= number < self.meta.high_water:
            _refuse("bolt page number", told_at, f"one from 2 to {self.meta.high_water - 1}", number)
        offset = number * self.meta.page_size
        if depth > MAX_DEPTH:
            _refuse(name, offset, f"at most {MAX_DEPTH} levels", "more")
        overflow: int = PAGE_HEADER.unpack_from(self.view, offset)[3]
        end = number + overflow + 1
        if end > self.meta.high_water:
            _refuse(name, offset, f"an end below page {self.meta.high_water}", f"overflow {overflow}")
        if any(self.met[number:end]):
            _refuse(name, offset, "a page met once", "one met before")
        self.met[number:end] = b"\x01" * (end - number)
        return _page(self.view[offset : end * self.meta.page_size], offset, name, number, flags)

    def account_for_all_pages(self) -> None:
        """Where a freelist is kept: no page is both met and free, and none is neither."""
        if self.meta.freelist == NO_FREELIST:
            return
        page = self.page(self.meta.freelist, PAGE_HEADER.size, FREELIST_FLAG, depth=0)
        free = bytearray(self.meta.high_water)
        for number in _free_pages(page):
            if not 2 <= number < self.meta.high_water:
                _refuse(page.name, page.offset, f"free pages from 2 to {self.meta.high_water - 1}", number)
            if self.met[number] or free[number]:
                _refuse(page.name, page.offset, "free pages that nothing uses, each once", f"page {number}")
            free[number] = 1
        for number, (met, is_free) in enumerate(zip(self.met, free, strict=True)):
            if not met and not is_free:
                _refuse(f"bolt page {number}", number * self.meta.page_size, "a page in use or free", "neither")


def _page(view: memoryview, offset: int, name: str, number: int, flags: int) -> _Page:
    if len(view) < PAGE_HEADER.size:
        _refuse(name, offset, f"a page header of {PAGE_HEADER.size} bytes", len(view))
    found, flag, count, _overflow = PAGE_HEADER.unpack_from(view)
    if found != number:
        _refuse(name, offset, f"page id {number}", found)
    if flag not in _FLAG_NAMES or not flag & flags:
        allowed = " or ".join(text for bit, text in _FLAG_NAMES.items() if bit & flags)
        _refuse(name, offset, f"a {allowed} page", f"flags {flag:#x}")
    return _Page(view, offset, name, flag, count)


def _elements(page: _Page, bounds: _Bounds) -> list[_Element]:
    """The elements of a branch or leaf page; their keys ascend within `bounds`, their data lies end to end."""
    form = BRANCH_ELEMENT if page.flag == BRANCH_FLAG else LEAF_ELEMENT
    position = PAGE_HEADER.size + page.count * form.size
    if position > len(page.view):
        _refuse(page.name, page.offset, f"at most {len(page.view)} bytes", f"{page.count} elements")
    elements: list[_Element] = []
    last = bounds.low
    for index in range(page.count):
        at = PAGE_HEADER.size + index * form.size
        element, position = _element(page, at, position)
        if last is not None and (element.key < last or (index > 0 and element.key == last)):
            _refuse(page.name, element.offset, f"a key after {_shown(last)}", _shown(element.key))
        last = element.key
        elements.append(element)
    if bounds.high is not None and last is not None and last >= bounds.high:
        _refuse(page.name, page.offset, f"keys before {_shown(bounds.high)}", _shown(last))
    return elements


def _element(page: _Page, at: int, position: int) -> tuple[_Element, int]:
    """The element whose table entry is `at`, whose data must begin at `position`; and where its data ends."""
    if page.flag == BRANCH_FLAG:
        start, key_size, extra = BRANCH_ELEMENT.unpack_from(page.view, at)
        value_size = 0
    else:
        extra, start, key_size, value_size = LEAF_ELEMENT.unpack_from(page.view, at)
    offset = page.offset + at
    if at + start != position:
        _refuse(page.name, offset, f"element data at {position}", at + start)
    middle = position + key_size
    end = middle + value_size
    if end > len(page.view):
        _refuse(page.name, offset, f"element data that ends by {len(page.view)}", end)
    if key_size == 0:
        _refuse(page.name, offset, "a key", "an empty one")
    key = bytes(page.view[position:middle])
    return _Element(key, page.view[middle:end], extra, offset, page.offset + middle), end


def _free_pages(page: _Page) -> Iterator[int]:
    start = PAGE_HEADER.size
    count = page.count
    if count == COUNT_OVERFLOW:
        (count,) = struct.unpack_from("<Q", page.view, start)
        start += 8
    if count > (len(page.view) - start) // 8:
        _refuse(page.name, page.offset, f"a freelist within {len(page.view)} bytes", f"{count} ids")
    for (number,) in struct.iter_unpack("<Q", page.view[start : start + count * 8]):
        yield number


def _refuse(what: str, offset: int, expected: str, found: object) -> NoReturn:
    raise FormatError(what, offset=offset, expected=expected, found=str(found))


def _shown(key: bytes) -> str:
    return f"'{escaped(key, _SHOWN)}'"
