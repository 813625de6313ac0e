"""GCD501 to GCD504: BuildKit's databases, and the dirs of its cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import edges, layout
from gcd.model.facts import SnapshotKind
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import is_build_id
from gcd.model.inventory import Source
from gcd.model.reading import Absent, Empty, Malformed, describe
from gcd.rules.damage import database_is_damaged
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcd.model.facts import BuildCache, BuildSnapshot
    from gcd.model.ids import LayerDirId
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_SNAPSHOTS = layout.build_database(layout.BUILD_SNAPSHOTS)
_SHOWN = 8
"""Dirs that GCD504 names in its evidence; the number of all is in its summary."""


@rule(
    "GCD501",
    "build-database-damaged",
    Kind.DAMAGED,
    Severity.CRITICAL,
    node=NodeKind.DATABASE,
    needs=frozenset(),
)
def build_database_damaged(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    One of BuildKit's databases is damaged.

    Harm: the engine does not start (measured with each of the three truncated). Until it is mended nobody knows what
    the build cache keeps, so nothing that it could keep is called an orphan.
    Cause: power loss, a full disk, a bad disk.
    Remedy: none by gcd. With the engine stopped, put the file back from a backup; or move all of ``buildkit`` aside:
    the engine starts with an empty build cache, and the old dirs stay behind.
    Not this rule: a database that is busy, or that gcd has no right to read (GCD801).
    """
    path = node.id
    name = path.removeprefix(f"{layout.BUILDKIT}/")
    reading = inventory.build_cache.databases.get(name) if name != path else None
    if reading is not None and database_is_damaged(reading):
        yield Fault(
            node,
            f"BuildKit's database {path} is damaged: what the build cache keeps cannot be known.",
            (Evidence(path, "a bolt database", describe(reading)),),
            severity=None if isinstance(reading, Malformed) else Severity.ERROR,
        )


@rule(
    "GCD502",
    "missing-build-dir",
    Kind.DANGLING,
    Severity.WARNING,
    node=NodeKind.BUILD_SNAPSHOT,
    needs=frozenset({Source.BUILD_SNAPSHOTS, Source.OVERLAY2}),
)
def missing_build_dir(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A build snapshot's layer dir does not exist.

    Harm: builds that go on from this step in the cache, or export it, fail (``open …/committed: no such file or
    directory``) until the cache is pruned.
    Cause: a clean-up script that deletes from ``overlay2``; a restore that left the dir out.
    Remedy: none by gcd: ``docker builder prune -a`` removes the snapshot.
    Not this rule: names that have no dir of their own: leases, and layers that the layer store keeps.
    """
    snapshots = inventory.build_cache.snapshots
    snapshot = snapshots.get(node.id)
    if snapshot is None or snapshot.dir_id is None or snapshot.dir_id in inventory.layer_dirs:
        return
    if snapshot.name == _speaker(snapshots.values(), snapshot.dir_id):
        yield Fault(
            node,
            f"The layer dir {snapshot.dir_id} of this build snapshot does not exist.",
            (Evidence(layout.layer_dir(snapshot.dir_id), "a directory", "absent"),),
            causes=tuple(edges.layer_node(record.chain_id) for record in graph.layers_of(snapshot.dir_id)),
        )


@rule(
    "GCD503",
    "build-lease-leak",
    Kind.LEFTOVER,
    Severity.WARNING,
    node=NodeKind.BUILD_LEASE,
    needs=frozenset(
        {
            Source.BUILD_LEASES,
            Source.BUILD_RECORDS,
            Source.BUILD_SNAPSHOTS,
            Source.OVERLAY2,
            Source.LINKS,
            Source.LAYERS,
        }
    ),
)
def build_lease_leak(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A lease keeps a build dir that no cache record knows.

    Harm: disk space: BuildKit looks at its records at start, never at leases without one, so that no prune frees the
    dir.
    Cause: the engine was killed between the making of the dir and of its record.
    Remedy: none by gcd, which never writes to BuildKit's databases; the dir stays while the lease does.
    Not this rule: temporary leases, which BuildKit drops at start; dirs that another record needs as a lower.
    """
    cache = inventory.build_cache
    lease = cache.leases.get(node.id)
    if lease is None or lease.temporary or lease.id in cache.records:
        return
    held = [cache.snapshots[name] for name in lease.snapshots if name in cache.snapshots]
    leaked = [layer_dir for snapshot in held if (layer_dir := _own_dir(inventory, graph, snapshot)) is not None]
    needed = _needed(cache) if leaked else frozenset()
    dirs = [inventory.layer_dirs[layer_dir] for layer_dir in leaked if layer_dir not in needed]
    if dirs:
        yield Fault(
            node,
            "No cache record knows what this build lease keeps, so no prune frees it.",
            tuple(Evidence(layout.layer_dir(d.id), "a cache record that needs it", "none") for d in dirs),
            since_ns=max(d.ctime_ns for d in dirs),
            paths=tuple(layout.layer_dir(d.id) for d in dirs),
        )


@rule(
    "GCD504",
    "build-database-missing",
    Kind.HAZARD,
    Severity.WARNING,
    node=NodeKind.DATABASE,
    needs=frozenset({Source.OVERLAY2, Source.LAYERS}),
)
def build_database_missing(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    BuildKit's ``snapshots.db`` is missing or empty although dirs of the build cache are there.

    Harm: disk space: the engine starts with an empty build cache, and no command shows or frees the dirs. Without the
    database it cannot be told which of them other layers still need.
    Cause: a hand that removed ``buildkit``; a restore that left it out; power loss at the first start.
    Remedy: put the database back before the engine starts; or let it start with a new one and run
    ``docker builder prune -a``: then nothing names the dirs that nobody needs, and they are orphans (GCD102).
    Not this rule: build dirs that a layer record names, for they are layers now; a damaged database (GCD501).
    """
    if node.id != _SNAPSHOTS:
        return
    reading = inventory.build_cache.databases.get(layout.BUILD_SNAPSHOTS)
    if not isinstance(reading, Absent | Empty):
        return
    dirs = sorted(d for d in inventory.layer_dirs if is_build_id(d) and not _is_recorded(graph, d))
    if dirs:
        count = "one build dir is" if len(dirs) == 1 else f"{len(dirs)} build dirs are"
        yield Fault(
            node,
            f"BuildKit's {_SNAPSHOTS} is {describe(reading)}, but {count} there.",
            (
                Evidence(_SNAPSHOTS, "a bolt database", describe(reading)),
                *(Evidence(layout.layer_dir(d), "a name in that database", "none") for d in dirs[:_SHOWN]),
            ),
        )


def _speaker(snapshots: Iterable[BuildSnapshot], layer_dir: LayerDirId) -> str:
    """Of the snapshots whose dir is `layer_dir` the one to report: that of the dir's own name, else the first."""
    names = sorted(snapshot.name for snapshot in snapshots if snapshot.dir_id == layer_dir)
    return layer_dir if layer_dir in names else names[0]


def _own_dir(inventory: Inventory, graph: StoreGraph, snapshot: BuildSnapshot) -> LayerDirId | None:
    """The dir of an active snapshot, if it exists and is no layer by now."""
    layer_dir = snapshot.dir_id
    if snapshot.kind is not SnapshotKind.ACTIVE or layer_dir is None or layer_dir not in inventory.layer_dirs:
        return None
    return None if graph.layers_of(layer_dir) else layer_dir


def _needed(cache: BuildCache) -> frozenset[str]:
    """The names and dirs that the cache records need, parents included."""
    frontier = {
        name for record in cache.records.values() for name in (record.id, record.snapshot, record.equal_mutable)
    }
    needed: set[str] = set()
    while frontier:
        needed |= frontier
        reached = (cache.snapshots[name] for name in frontier if name in cache.snapshots)
        frontier = {name for s in reached for name in (s.parent, s.dir_id) if name} - needed
    return frozenset(needed)


def _is_recorded(graph: StoreGraph, layer_dir: LayerDirId) -> bool:
    """Whether a layer record names `layer_dir`, be it one that is being made or removed."""
    records = {NodeKind.LAYER, NodeKind.REMOVING_LAYER, NodeKind.WRITE_SET, NodeKind.RW_LAYER}
    return any(owner.kind in records for owner in graph.owners(layer_dir))


RULES = (build_database_damaged, missing_build_dir, build_lease_leak, build_database_missing)
