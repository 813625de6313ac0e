"""
Small inventories made by hand, one line a fact.

`healthy_inventory` is a root with one image of two layers and one container on it; `with_records` puts facts into an
inventory (replacing those of the same id), `without` takes them out. Ids are made from short words, so that a test can
say ``digest("top")``. Every record is `OLD_NS` old, which is before `BOUND_NS`, the bound that `graph_of` takes.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gcd.model.facts import (
    BuildCache,
    BuildLease,
    BuildRecord,
    BuildSnapshot,
    Container,
    ContainerConfig,
    Engine,
    EngineState,
    FileType,
    HostConfig,
    Image,
    ImageConfig,
    ImageMetadata,
    LayerDir,
    LayerRecord,
    LinkFarm,
    LinkSymlink,
    Lower,
    RemovingRecord,
    Repositories,
    RwLayerRecord,
    WriteSet,
)
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import (
    ChainId,
    ContainerId,
    DiffId,
    ImageId,
    LayerDirId,
    LinkId,
    RwLayerName,
    chain_id,
    chains_of,
    init_dir_of,
)
from gcd.model.inventory import Coverage, Inventory, Source, SourceState
from gcd.model.reading import ABSENT, Present, Reading
from gcd.model.storegraph import StoreGraph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.finding import Fault
    from gcd.rules.rule import Rule

OLD_NS = 1_700_000_000_000_000_000
BOUND_NS = OLD_NS + 3_600_000_000_000
YOUNG_NS = BOUND_NS + 3_600_000_000_000


# --- ids ------------------------------------------------------------------------------------------------------------


def hex64(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


def digest(word: str) -> str:
    return "sha256:" + hex64(word)


def dir_id(word: str) -> LayerDirId:
    return LayerDirId(hex64(word))


def init_id(word: str) -> LayerDirId:
    return init_dir_of(dir_id(word))


def build_id(word: str) -> LayerDirId:
    """Of BuildKit's form: 25 characters."""
    return LayerDirId(hex64(word)[:25])


def link_id(word: str) -> LinkId:
    return LinkId(base64.b32encode(hashlib.sha256(word.encode()).digest()).decode()[:26])


BASE_DIFF, TOP_DIFF = DiffId(digest("base diff")), DiffId(digest("top diff"))
BASE_CHAIN = chain_id(None, BASE_DIFF)
TOP_CHAIN = chain_id(BASE_CHAIN, TOP_DIFF)
BASE_DIR, TOP_DIR = dir_id("base"), dir_id("top")
RW_DIR, INIT_DIR = dir_id("rw"), init_id("rw")
BASE_LINK, TOP_LINK, RW_LINK, INIT_LINK = (link_id(word) for word in ("base", "top", "rw", "init"))
IMAGE = ImageId(digest("image"))
CONTAINER = ContainerId(hex64("container"))
RW_LAYER = RwLayerName(CONTAINER)


# --- records --------------------------------------------------------------------------------------------------------


def lower(*links: LinkId) -> Reading[Lower]:
    return Present(Lower(links)) if links else ABSENT


def layer_dir(
    layer_dir_id: LayerDirId,
    link: LinkId | Reading[LinkId],
    below: tuple[LinkId, ...] | Reading[Lower] = (),
    **changes: Any,
) -> LayerDir:
    """`below` are the links of its ``lower``, nearest first; ``work`` follows from it."""
    reading = lower(*below) if isinstance(below, tuple) else below
    made = LayerDir(
        id=layer_dir_id,
        link=Present(link) if isinstance(link, str) else link,
        lower=reading,
        diff=FileType.DIRECTORY,
        work=None if reading == ABSENT else FileType.DIRECTORY,
        merged=None,
        ctime_ns=OLD_NS,
    )
    return replace(made, **changes)


def symlink(link: LinkId, target: LayerDirId | Reading[LayerDirId], ctime_ns: int = OLD_NS) -> LinkSymlink:
    return LinkSymlink(link, Present(target) if isinstance(target, str) else target, ctime_ns)


def layer(
    diff_id: DiffId,
    cache_id: LayerDirId,
    parent: ChainId | None = None,
    **changes: Any,
) -> LayerRecord:
    made = LayerRecord(
        chain_id=chain_id(parent, diff_id),
        diff_id=Present(diff_id),
        size=Present(1000),
        cache_id=Present(cache_id),
        parent=ABSENT if parent is None else Present(parent),
        descriptor=ABSENT,
        tar_split=Present(100),
        ctime_ns=OLD_NS,
    )
    return replace(made, **changes)


def rw_layer(
    name: str = RW_LAYER,
    mount: LayerDirId = RW_DIR,
    parent: ChainId | None = TOP_CHAIN,
    **changes: Any,
) -> RwLayerRecord:
    made = RwLayerRecord(
        name=RwLayerName(name),
        mount_id=Present(mount),
        init_id=Present(init_dir_of(mount)),
        parent=ABSENT if parent is None else Present(parent),
        ctime_ns=OLD_NS,
    )
    return replace(made, **changes)


def image(
    *diff_ids: DiffId,
    image_id: ImageId = IMAGE,
    **changes: Any,
) -> Image:
    config = ImageConfig(chains_of(diff_ids, {}), os="linux", created="2023-11-14T22:00:00Z")
    return replace(Image(image_id, Present(config), image_id, OLD_NS), **changes)


def container_config(
    container_id: str = CONTAINER,
    **changes: Any,
) -> ContainerConfig:
    made = ContainerConfig(
        id=container_id,
        name="/web",
        image=IMAGE,
        image_reference="app:latest",
        driver="overlay2",
        running=False,
        dead=False,
        removal_in_progress=False,
        has_config=True,
    )
    return replace(made, **changes)


def container(
    container_id: ContainerId = CONTAINER,
    config: Reading[ContainerConfig] | None = None,
    **changes: Any,
) -> Container:
    made = Container(
        container_id,
        config if config is not None else Present(container_config(container_id)),
        Present(HostConfig(auto_remove=False, restart_policy="no")),
        OLD_NS,
    )
    return replace(made, **changes)


# --- inventories ----------------------------------------------------------------------------------------------------


def empty_inventory(**changes: Any) -> Inventory:
    """A root in which nothing is yet; every source read completely, no engine running."""
    made = Inventory(
        root="/var/lib/docker",
        store="overlay2",
        sources={source: SourceState(Coverage.OK) for source in Source},
        engine=Engine(EngineState.STOPPED),
        candidates=frozenset(),
        layer_dirs={},
        link_farm=LinkFarm(FileType.DIRECTORY, {}),
        layers={},
        removing={},
        write_sets={},
        rw_layers={},
        images={},
        image_metadata={},
        repositories=Present(Repositories({})),
        containers={},
        build_cache=BuildCache(
            {}, {}, {}, frozenset(), frozenset(),
            {name: Present(1) for name in ("snapshots.db", "metadata_v2.db", "containerdmeta.db")},
        ),
        mounts=(),
        plugins={},
        volumes={},
        dormant=(),
        databases={"volumes/metadata.db": Present(1), "network/files/local-kv.db": Present(1)},
    )  # fmt: skip
    return replace(made, **changes)


def healthy_inventory(**changes: Any) -> Inventory:
    """``app:latest`` of two layers, and the container ``web`` on it."""
    made = with_records(
        empty_inventory(repositories=Present(Repositories({"app:latest": IMAGE}))),
        layer_dir(BASE_DIR, BASE_LINK),
        layer_dir(TOP_DIR, TOP_LINK, (BASE_LINK,)),
        layer_dir(INIT_DIR, INIT_LINK, (TOP_LINK, BASE_LINK)),
        layer_dir(RW_DIR, RW_LINK, (INIT_LINK, TOP_LINK, BASE_LINK)),
        symlink(BASE_LINK, BASE_DIR),
        symlink(TOP_LINK, TOP_DIR),
        symlink(INIT_LINK, INIT_DIR),
        symlink(RW_LINK, RW_DIR),
        layer(BASE_DIFF, BASE_DIR),
        layer(TOP_DIFF, TOP_DIR, BASE_CHAIN),
        rw_layer(),
        image(BASE_DIFF, TOP_DIFF),
        container(),
    )
    return replace(made, **changes)


_RECORDS: Mapping[type, tuple[str, str]] = {
    LayerDir: ("layer_dirs", "id"),
    LayerRecord: ("layers", "chain_id"),
    RemovingRecord: ("removing", "name"),
    WriteSet: ("write_sets", "name"),
    RwLayerRecord: ("rw_layers", "name"),
    Image: ("images", "id"),
    ImageMetadata: ("image_metadata", "id"),
    Container: ("containers", "id"),
}
_BUILD_RECORDS: Mapping[type, tuple[str, str]] = {
    BuildSnapshot: ("snapshots", "name"),
    BuildRecord: ("records", "id"),
    BuildLease: ("leases", "id"),
}
_KINDS: Mapping[NodeKind, str] = {
    NodeKind.LAYER_DIR: "layer_dirs",
    NodeKind.LAYER: "layers",
    NodeKind.REMOVING_LAYER: "removing",
    NodeKind.WRITE_SET: "write_sets",
    NodeKind.RW_LAYER: "rw_layers",
    NodeKind.IMAGE: "images",
    NodeKind.CONTAINER: "containers",
}
_BUILD_KINDS: Mapping[NodeKind, str] = {NodeKind.BUILD_SNAPSHOT: "snapshots", NodeKind.BUILD_LEASE: "leases"}


def with_records(inventory: Inventory, *records: object) -> Inventory:
    """`inventory` with `records` in their places; layer dirs become candidates too, symlinks go into the link farm."""
    for record in records:
        if isinstance(record, LinkSymlink):
            farm = replace(inventory.link_farm, symlinks={**inventory.link_farm.symlinks, record.id: record})
            inventory = replace(inventory, link_farm=farm)
        elif type(record) in _BUILD_RECORDS:
            cache = _put(inventory.build_cache, *_BUILD_RECORDS[type(record)], record)
            inventory = replace(inventory, build_cache=_with_names(cache))
        else:
            inventory = _put(inventory, *_RECORDS[type(record)], record)
            if isinstance(record, LayerDir):
                inventory = replace(inventory, candidates=inventory.candidates | {record.id})
    return inventory


def without(inventory: Inventory, *nodes: Node) -> Inventory:
    """`inventory` without the records of `nodes`; a layer dir's symlink and a link stay where they are."""
    for node in nodes:
        if node.kind is NodeKind.LINK:
            kept = {link: entry for link, entry in inventory.link_farm.symlinks.items() if link != node.id}
            inventory = replace(inventory, link_farm=replace(inventory.link_farm, symlinks=kept))
        elif node.kind in _BUILD_KINDS:
            cache = _drop(inventory.build_cache, _BUILD_KINDS[node.kind], node.id)
            inventory = replace(inventory, build_cache=_with_names(cache))
        else:
            inventory = _drop(inventory, _KINDS[node.kind], node.id)
            if node.kind is NodeKind.LAYER_DIR:
                inventory = replace(inventory, candidates=inventory.candidates - {LayerDirId(node.id)})
    return inventory


def _put(owner: Any, mapping: str, key: str, record: object) -> Any:
    return replace(owner, **{mapping: {**getattr(owner, mapping), getattr(record, key): record}})


def _drop(owner: Any, mapping: str, key: str) -> Any:
    records = getattr(owner, mapping)
    assert key in records, f"no {key} among the {mapping}"
    return replace(owner, **{mapping: {k: v for k, v in records.items() if k != key}})


def _with_names(cache: BuildCache) -> BuildCache:
    """`cache`, saying of itself which ids and digests its records mention, as the reader does."""
    words = {word for record in _build_records(cache) for word in _words(record)}
    digests = frozenset(word for word in words if word.startswith("sha256:"))
    return replace(cache, named=frozenset(word for word in words - digests if word), chains=digests)


def _build_records(cache: BuildCache) -> tuple[object, ...]:
    return (*cache.snapshots.values(), *cache.records.values(), *cache.leases.values())


def _words(record: Any) -> list[str]:
    found: list[str] = []
    for name in (name for name in record.__struct_fields__ if name not in {"kind", "temporary", "record_type"}):
        value = getattr(record, name)
        found.extend(value if isinstance(value, tuple) else [value] if value else [])
    return found


# --- rules ----------------------------------------------------------------------------------------------------------


def graph_of(inventory: Inventory, bound_ns: int | None = BOUND_NS) -> StoreGraph:
    return StoreGraph(inventory, bound_ns)


def faults(rule: Rule, inventory: Inventory, node_id: str) -> list[Fault]:
    """What `rule` says of the node of its own kind that is called `node_id`."""
    return list(rule.check(inventory, graph_of(inventory), Node(rule.node, node_id)))
