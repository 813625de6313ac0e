"""
A writer of bbolt files: a tree of buckets → the bytes of a whole database.

For synthetic roots and for tests. It lays pages out as bbolt does after a fresh write: small buckets inline, leaves
filled to half a page, branch pages above them, overflow pages for what is larger than one page, a freelist that names
every page not in use. The same input gives the same bytes.

`Tree` values are bytes or text, or a mapping for a nested bucket.

Sources: etcd-io/bbolt ``bucket.go`` inlineable and spill, ``node.go`` split and write, ``tx.go`` Commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from gcd.formats.bolt import (
    BRANCH_ELEMENT,
    BRANCH_FLAG,
    BUCKET_FLAG,
    BUCKET_HEADER,
    FREELIST_FLAG,
    LEAF_ELEMENT,
    LEAF_FLAG,
    MAGIC,
    META,
    META_FLAG,
    NO_FREELIST,
    PAGE_HEADER,
    VERSION,
    fnv1a,
)

Tree: TypeAlias = Mapping[str, "str | bytes | Tree"]

FIRST_PAGE = 2
_MIN_KEYS = 2
_META_STATES = 2


def write_database(
    tree: Tree,
    *,
    page_size: int = 4096,
    txid: int = 2,
    first_page: int = FIRST_PAGE,
    spare_pages: int = 0,
    keep_freelist: bool = True,
) -> bytes:
    """
    The file of a database that holds `tree` as of transaction `txid`.

    Pages below `first_page`, and `spare_pages` after the last one used, are free; two states with different
    `first_page` can thus lie side by side, as a writer's do. Keys sort by their UTF-8 bytes. Without `keep_freelist`
    none is written, as by containerd.
    """
    writer = _Writer(page_size, first_page + 1 if keep_freelist else first_page)
    root = writer.tree(tree)
    if keep_freelist:
        freelist = first_page
        free = [*range(FIRST_PAGE, first_page), *range(writer.next_page, writer.next_page + spare_pages)]
        if PAGE_HEADER.size + len(free) * 8 > page_size:
            raise ValueError("more free pages than one freelist page holds")
        writer.pages[freelist] = _freelist_page(freelist, free)
    else:
        freelist = NO_FREELIST
    high_water = writer.next_page + spare_pages
    out = bytearray(high_water * page_size)
    for number, page in writer.pages.items():
        out[number * page_size : number * page_size + len(page)] = page
    for state in range(max(0, txid + 1 - _META_STATES), txid + 1):
        meta = meta_page(state, page_size=page_size, root=root, freelist=freelist, high_water=high_water)
        slot = state % _META_STATES * page_size
        out[slot : slot + len(meta)] = meta
    return bytes(out)


def meta_page(txid: int, *, page_size: int, root: int, freelist: int, high_water: int) -> bytes:
    """The used part of the meta page that transaction `txid` writes; its place is page ``txid % 2``."""
    sealed = META.pack(MAGIC, VERSION, page_size, 0, root, 0, freelist, high_water, txid, 0)[:-8]
    header = PAGE_HEADER.pack(txid % _META_STATES, META_FLAG, 0, 0)
    return header + sealed + fnv1a(sealed).to_bytes(8, "little")


def _freelist_page(number: int, free: list[int]) -> bytes:
    ids = b"".join(page.to_bytes(8, "little") for page in free)
    return PAGE_HEADER.pack(number, FREELIST_FLAG, len(free), 0) + ids


class _Item(Struct, frozen=True):
    """What a page's element is made of; `extra` is a branch element's child page or a leaf element's flags."""

    key: bytes
    value: bytes
    extra: int


class _Writer:
    def __init__(self, page_size: int, next_page: int) -> None:
        self.page_size = page_size
        self.next_page = next_page
        self.pages: dict[int, bytes] = {}

    def tree(self, tree: Tree) -> int:
        """Write the bucket `tree`, nested ones first, and give the number of its top page."""
        items = [self._item(key.encode(), tree[key]) for key in sorted(tree, key=str.encode)]
        flag = LEAF_FLAG
        while True:
            groups = _split(items, flag, self.page_size)
            numbers = [self._write(group, flag) for group in groups]
            if len(numbers) == 1:
                return numbers[0]
            items = [_Item(group[0].key, b"", number) for group, number in zip(groups, numbers, strict=True)]
            flag = BRANCH_FLAG

    def _item(self, key: bytes, value: str | bytes | Tree) -> _Item:
        if isinstance(value, str):
            return _Item(key, value.encode(), 0)
        if isinstance(value, bytes):
            return _Item(key, value, 0)
        inline = self._inline(value)
        if inline is not None:
            return _Item(key, BUCKET_HEADER.pack(0, 0) + inline, BUCKET_FLAG)
        return _Item(key, BUCKET_HEADER.pack(self.tree(value), 0), BUCKET_FLAG)

    def _inline(self, tree: Tree) -> bytes | None:
        """The page of a bucket that holds plain values only, in no more than a quarter of a page; else None."""
        if any(isinstance(value, Mapping) for value in tree.values()):
            return None
        page = _page(0, LEAF_FLAG, [self._item(key.encode(), tree[key]) for key in sorted(tree, key=str.encode)], 0)
        return page if len(page) <= self.page_size // 4 else None

    def _write(self, items: list[_Item], flag: int) -> int:
        number = self.next_page
        span = -(-len(_page(number, flag, items, 0)) // self.page_size)
        self.pages[number] = _page(number, flag, items, span - 1)
        self.next_page += span
        return number


def _split(items: list[_Item], flag: int, page_size: int) -> list[list[_Item]]:
    """Groups of at least two items (so that branch levels come to an end), each filling about half a page."""
    form = LEAF_ELEMENT if flag == LEAF_FLAG else BRANCH_ELEMENT
    groups: list[list[_Item]] = [[]]
    used = 0
    for index, item in enumerate(items):
        size = form.size + len(item.key) + len(item.value)
        left = len(items) - index
        if used + size > page_size // 2 and len(groups[-1]) >= _MIN_KEYS and left >= _MIN_KEYS:
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += size
    return groups


def _page(number: int, flag: int, items: list[_Item], overflow: int) -> bytes:
    form = LEAF_ELEMENT if flag == LEAF_FLAG else BRANCH_ELEMENT
    table = bytearray()
    data = bytearray()
    for index, item in enumerate(items):
        start = (len(items) - index) * form.size + len(data)
        if flag == LEAF_FLAG:
            table += LEAF_ELEMENT.pack(item.extra, start, len(item.key), len(item.value))
        else:
            table += BRANCH_ELEMENT.pack(start, len(item.key), item.extra)
        data += item.key + item.value
    return PAGE_HEADER.pack(number, flag, len(items), overflow) + table + data
