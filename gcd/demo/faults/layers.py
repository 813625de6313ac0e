"""Planters of faults of layer records (GCD201-212)."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from gcd.demo.faults.fault import cache_id_of, fresh_names, layer_node, layer_record, link_of, lower_links
from gcd.demo.placing import put_committed, put_directory, put_file, put_layer_dir, put_layer_record, remove_layer_dir
from gcd.demo.tarsplit import pack
from gcd.model import layout
from gcd.model.ids import ChainId, LinkId, chain_id

if TYPE_CHECKING:
    from pathlib import Path

    from gcd.model.finding import Node


def drop_layer_dir(root: Path, chain: str) -> Node:
    """F5: the dir that a `cache-id` names is missing, and its symlink too."""
    remove_layer_dir(root, cache_id_of(root, chain))
    return layer_node(chain)


def add_empty_record(root: Path, _target: str) -> Node:
    """F1: a record that is an empty directory; every pull of that layer fails with ``file exists``."""
    chain = ChainId("sha256:" + fresh_names(root).hex64())
    put_directory(layer_record(root, chain), 0o700)
    return layer_node(chain)


def empty_record_files(root: Path, chain: str) -> Node:
    """F2: all files of a record are of no bytes, as a power loss leaves them."""
    for path in layer_record(root, chain).iterdir():
        os.truncate(path, 0)
    return layer_node(chain)


def drop_record_files(root: Path, chain: str) -> Node:
    """F2: a record that an image needs is an empty directory."""
    for path in layer_record(root, chain).iterdir():
        path.unlink()
    return layer_node(chain)


def empty_diff_id(root: Path, chain: str) -> Node:
    """F6: `diff` is empty."""
    return _empty(root, chain, layout.DIFF)


def drop_diff_id(root: Path, chain: str) -> Node:
    """F6: `diff` is missing."""
    return _drop(root, chain, layout.DIFF)


def garble_diff_id(root: Path, chain: str) -> Node:
    """F6: `diff` holds no digest."""
    return _put(root, chain, layout.DIFF, b"sha256:\x00\xff\x1b[31m")


def empty_size(root: Path, chain: str) -> Node:
    """F7: `size` is empty."""
    return _empty(root, chain, layout.SIZE)


def drop_size(root: Path, chain: str) -> Node:
    """F7: `size` is missing."""
    return _drop(root, chain, layout.SIZE)


def end_size_with_newline(root: Path, chain: str) -> Node:
    """F7: `size` ends with a newline, which the engine does not read as a number."""
    path = layer_record(root, chain) / layout.SIZE
    return _put(root, chain, layout.SIZE, path.read_bytes() + b"\n")


def drop_parent(root: Path, chain: str) -> Node:
    """F8: `parent` of a layer that has one is missing: it loads as a base layer, silently."""
    return _drop(root, chain, layout.PARENT)


def empty_parent(root: Path, chain: str) -> Node:
    """F8b: `parent` is empty."""
    return _empty(root, chain, layout.PARENT)


def empty_cache_id(root: Path, chain: str) -> Node:
    """F9: `cache-id` is empty; the dir with the layer's data looks like an orphan."""
    return _empty(root, chain, layout.CACHE_ID)


def drop_cache_id(root: Path, chain: str) -> Node:
    """F9: `cache-id` is missing."""
    return _drop(root, chain, layout.CACHE_ID)


def share_cache_id(root: Path, chain: str) -> Node:
    """F9b: a second record, of a layer of its own, names the same dir."""
    packed = pack({"shared": fresh_names(root).hex64().encode()})
    other = ChainId(packed.diff_id)
    put_layer_record(root, other, packed, cache_id_of(root, chain), None, packed.size)
    return layer_node(chain)


def empty_descriptor(root: Path, chain: str) -> Node:
    """F10: an empty `descriptor.json`; the layer does not load, though without the file it would."""
    return _put(root, chain, layout.DESCRIPTOR, b"")


def cut_tar_split(root: Path, chain: str) -> Node:
    """F10b: `tar-split.json.gz` ends before its trailer."""
    path = layer_record(root, chain) / layout.TAR_SPLIT
    os.truncate(path, path.stat().st_size // 2)
    return layer_node(chain)


def drop_tar_split(root: Path, chain: str) -> Node:
    """F10b: `tar-split.json.gz` is missing."""
    return _drop(root, chain, layout.TAR_SPLIT)


def garble_tar_split(root: Path, chain: str) -> Node:
    """F10b: `tar-split.json.gz` is no gzip file."""
    return _put(root, chain, layout.TAR_SPLIT, b"not gzip at all, but long enough to be")


def forge_diff_id(root: Path, chain: str) -> Node:
    """`diff` is a sound digest that does not hash to the record's chain id."""
    return _put(root, chain, layout.DIFF, b"sha256:" + hashlib.sha256(b"forged").hexdigest().encode())


def add_unused_layer(root: Path, _target: str) -> Node:
    """F31: a healthy base layer that nothing refers to, as a killed pull leaves it."""
    return layer_node(_add_layer(root, None))


def add_unused_layer_upon(root: Path, chain: str) -> Node:
    """F31: a healthy layer on top of one in use; nothing refers to it."""
    return layer_node(_add_layer(root, chain))


def _add_layer(root: Path, parent: str | None) -> ChainId:
    content = {"usr/share/unused": fresh_names(root).hex64().encode() * 100}
    packed = pack(content)
    chain = chain_id(ChainId(parent) if parent else None, packed.diff_id)
    cache_id = fresh_names(root).layer_dir_id()
    lower: tuple[LinkId, ...] = ()
    if parent:
        below = cache_id_of(root, parent)
        put_committed(root, below)
        lower = (link_of(root, below), *lower_links(root, below))
    put_layer_dir(root, cache_id, fresh_names(root).link_id(), lower, content)
    put_layer_record(root, chain, packed, cache_id, ChainId(parent) if parent else None, packed.size)
    return chain


def drop_parent_record(root: Path, chain: str) -> Node:
    """F10d: the record that `parent` names is missing, its layer dir is there."""
    shutil.rmtree(layer_record(root, (layer_record(root, chain) / layout.PARENT).read_text()))
    return layer_node(chain)


def tie_chain_into_ring(root: Path, chain: str) -> Node:
    """F10d: following `parent` from a layer comes back to it. The main finding is about the least id of the ring."""
    ring = [chain]
    while (path := layer_record(root, ring[-1]) / layout.PARENT).exists():
        ring.append(path.read_text())
    put_file(layer_record(root, ring[-1]) / layout.PARENT, chain)
    return layer_node(min(ring))


def _put(root: Path, chain: str, name: str, data: bytes) -> Node:
    put_file(layer_record(root, chain) / name, data)
    return layer_node(chain)


def _empty(root: Path, chain: str, name: str) -> Node:
    os.truncate(layer_record(root, chain) / name, 0)
    return layer_node(chain)


def _drop(root: Path, chain: str, name: str) -> Node:
    (layer_record(root, chain) / name).unlink()
    return layer_node(chain)
