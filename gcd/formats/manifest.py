"""
``manifest.json``, or ``manifest.new``: what an entry of the quarantine holds, in gcd's own hand.

::

    {"schema": 2, "entry", "run", "operation", "made_ns", "boot_id", "engine_id", "store_inode",
     "finding": {…}, "items": [{"path", "taken": {…} | null, "made": {…} | null}],
     "ground": {"parents": {chain: cache id}, "links": {link id: layer dir}}}

    taken: {"type", "mode", "uid", "gid", "device", "inode", "label", "disk_bytes"}
    made: {"type", "sha256", "size"}

The reader is strict, for a root is hostile: every key must be there and no other; paths are relative, go nowhere but
down and lead to nothing of gcd's own. Of schema 1, in which `made` has no size, manifests are read too, so that what an
older gcd took can be restored. One of a later schema is refused with a sentence that says so.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, TypeGuard

from gcd.formats.escape import escaped
from gcd.formats.findings import choice, finding_from, finding_value
from gcd.formats.strictjson import Fields, read_object, text_from, text_value
from gcd.model import layout
from gcd.model.entry import EntryId, Ground, Item, Made, Manifest, Operation, RunId, Taken
from gcd.model.errors import FormatError
from gcd.model.facts import FileType
from gcd.model.ids import ChainId, is_digest, is_layer_dir_id, is_link_id

if TYPE_CHECKING:
    from gcd.model.ids import LayerDirId, LinkId

SCHEMA = 2
_WITHOUT_SIZES = 1
"""The schema of manifests that do not say how long a file is that a repair made."""
MOST_BYTES = 16 << 20
"""No manifest is longer; a unit is a handful of items."""
MOST_ITEMS = 10_000
MOST_PATH_BYTES = 4095
MOST_NAME_BYTES = 255

_ENTRY_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9]{4,9}")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}|")
_WHAT = "manifest"


def is_entry_id(text: str) -> TypeGuard[EntryId]:
    return _ENTRY_ID.fullmatch(text) is not None


def is_run_id(text: str) -> TypeGuard[RunId]:
    return _RUN_ID.fullmatch(text) is not None


def is_item_path(path: str) -> bool:
    """Whether `path` may be an item's: relative, downwards, within what a file system takes, and not gcd's own."""
    raw = path.encode("utf-8", "surrogateescape")
    names = raw.split(b"/")
    return (
        len(raw) <= MOST_PATH_BYTES
        and b"\0" not in raw
        and names[0] != layout.GCD.encode()
        and all(name not in {b"", b".", b".."} and len(name) <= MOST_NAME_BYTES for name in names)
    )


def manifest_bytes(manifest: Manifest) -> bytes:
    value = {
        "schema": SCHEMA,
        "entry": manifest.entry,
        "run": manifest.run,
        "operation": manifest.operation,
        "made_ns": manifest.made_ns,
        "boot_id": manifest.boot_id,
        "engine_id": text_value(manifest.engine_id),
        "store_inode": manifest.store_inode,
        "finding": finding_value(manifest.finding),
        "items": [_item_value(item) for item in manifest.items],
        "ground": {"parents": dict(manifest.ground.parents), "links": dict(manifest.ground.links)},
    }
    return json.dumps(value, indent=1).encode() + b"\n"


def parse_manifest(raw: bytes) -> Manifest:
    fields = read_object(raw, _WHAT)
    schema = fields.integer("schema")
    if schema not in {_WITHOUT_SIZES, SCHEMA}:
        raise FormatError(_WHAT, expected=f"schema {SCHEMA}", found=f"schema {schema}, of another version of gcd")
    operation = choice(fields, "operation", Operation)
    manifest = Manifest(
        entry=_entry_id(fields.text("entry")),
        run=_run_id(fields.text("run")),
        operation=operation,
        made_ns=fields.integer("made_ns"),
        boot_id=fields.text("boot_id"),
        engine_id=fields.text("engine_id"),
        store_inode=fields.integer("store_inode"),
        finding=finding_from(fields.fields("finding")),
        items=_items(fields, operation, has_sizes=schema != _WITHOUT_SIZES),
        ground=_ground_from(fields.fields("ground")),
    )
    fields.end()
    return manifest


def _entry_id(text: str) -> EntryId:
    if not is_entry_id(text):
        raise FormatError(f"{_WHAT}: entry", expected="an entry's id", found=escaped(text))
    return text


def _run_id(text: str) -> RunId:
    if not is_run_id(text):
        raise FormatError(f"{_WHAT}: run", expected="a run's id", found=escaped(text))
    return text


def _items(fields: Fields, operation: Operation, *, has_sizes: bool) -> tuple[Item, ...]:
    """Those of a repair may lie within one another: a directory is made, and then what is in it."""
    objects = fields.objects("items")
    if not 1 <= len(objects) <= MOST_ITEMS:
        raise FormatError(f"{_WHAT}: items", expected=f"1 to {MOST_ITEMS}", found=str(len(objects)))
    items = tuple(_item_from(item, has_sizes=has_sizes) for item in objects)
    paths = sorted(item.path.split("/") for item in items)
    nested = any(below[: len(path)] == path for path, below in pairwise(paths))
    if operation is Operation.QUARANTINE and (nested or any(i.taken is None or i.made is not None for i in items)):
        raise FormatError(f"{_WHAT}: items", expected="what was taken, apart from each other", found="something else")
    return items


def _item_value(item: Item) -> dict[str, object]:
    taken, made = item.taken, item.made
    return {
        "path": text_value(item.path),
        "taken": None
        if taken is None
        else {
            "type": taken.type,
            "mode": taken.mode,
            "uid": taken.uid,
            "gid": taken.gid,
            "device": taken.device,
            "inode": taken.inode,
            "label": None if taken.label is None else text_value(taken.label),
            "disk_bytes": taken.disk_bytes,
        },
        "made": None if made is None else {"type": made.type, "sha256": made.sha256, "size": made.size},
    }


def _item_from(fields: Fields, *, has_sizes: bool) -> Item:
    path = fields.text("path")
    if not is_item_path(path):
        raise FormatError(f"{fields.what}: path", expected="a path below the root", found=escaped(path))
    item = Item(
        path,
        _taken_from(fields.fields("taken")) if fields.stated("taken") else None,
        _made_from(fields.fields("made"), has_size=has_sizes) if fields.stated("made") else None,
    )
    fields.end()
    if item.taken is None and item.made is None:
        raise FormatError(fields.what, expected="something taken or made", found="neither")
    return item


def _taken_from(fields: Fields) -> Taken:
    taken = Taken(
        type=choice(fields, "type", FileType),
        mode=fields.integer("mode"),
        uid=fields.integer("uid"),
        gid=fields.integer("gid"),
        device=fields.integer("device"),
        inode=fields.integer("inode"),
        label=fields.text("label") if fields.stated("label") else None,
        disk_bytes=fields.integer("disk_bytes"),
    )
    fields.end()
    return taken


def _made_from(fields: Fields, *, has_size: bool) -> Made:
    made = Made(choice(fields, "type", FileType), fields.text("sha256"), fields.integer("size") if has_size else None)
    fields.end()
    if _SHA256.fullmatch(made.sha256) is None:
        raise FormatError(f"{fields.what}: sha256", expected="64 hex digits", found=escaped(made.sha256))
    return made


def _ground_from(fields: Fields) -> Ground:
    parents, links = fields.members("parents"), fields.members("links")
    fields.end()
    return Ground(
        parents={_digest(chain): _layer_dir(text_from(name, fields.what)) for chain, name in parents},
        links={_link(link): _layer_dir(text_from(name, fields.what)) for link, name in links},
    )


def _digest(text: str) -> ChainId:
    if not is_digest(text):
        raise FormatError(f"{_WHAT}: ground", expected="a chain id", found=escaped(text))
    return ChainId(text)


def _link(text: str) -> LinkId:
    if not is_link_id(text):
        raise FormatError(f"{_WHAT}: ground", expected="a link id", found=escaped(text))
    return text


def _layer_dir(text: str) -> LayerDirId:
    if not is_layer_dir_id(text):
        raise FormatError(f"{_WHAT}: ground", expected="the name of a layer dir", found=escaped(text))
    return text
