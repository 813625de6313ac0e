"""``layerdb/``: records of layers and of rw layers (moby ``layer/filestore.go``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from gcd.model.ids import ChainId, DiffId, LayerDirId, RwLayerName
    from gcd.model.reading import Reading


class LayerRecord(Struct, frozen=True):
    """
    ``layerdb/sha256/<chain>``.

    `descriptor` is Absent on nearly every Linux layer; `tar_split` is the size in bytes of a ``tar-split.json.gz``
    whose gzip head and tail are sound. `parent` Absent means: claims to be a base layer. `ctime_ns` is the newest
    of the record and its files.
    """

    chain_id: ChainId
    diff_id: Reading[DiffId]
    size: Reading[int]
    cache_id: Reading[LayerDirId]
    parent: Reading[ChainId]
    descriptor: Reading[None]
    tar_split: Reading[int]
    ctime_ns: int


class RemovingRecord(Struct, frozen=True):
    """``layerdb/sha256/<chain>-<64 hex>-removing``: a record that the engine is deleting, or died deleting."""

    name: str
    chain_id: ChainId
    cache_id: Reading[LayerDirId]
    parent: Reading[ChainId]
    ctime_ns: int


class WriteSet(Struct, frozen=True):
    """``layerdb/tmp/write-set-<digits>``: a layer being registered; it names its dir only at the very end."""

    name: str
    cache_id: Reading[LayerDirId]
    ctime_ns: int


class RwLayerRecord(Struct, frozen=True):
    """``layerdb/mounts/<name>``; `ctime_ns` is the newest of the record and its files."""

    name: RwLayerName
    mount_id: Reading[LayerDirId]
    init_id: Reading[LayerDirId]
    parent: Reading[ChainId]
    ctime_ns: int
