"""
The table of all rules, and the one place that runs them.

`find` asks each rule about the nodes of its kind, or its suspects among them, and makes a `Finding` of each `Fault`:
severity from the table, impact and cause from the graph, `blocked_by` from the lost owners. A rule of which a source
was not read completely does not run, and is named in the result.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.finding import Confidence, Finding, FindingId, Impact, Kind, Node, NodeKind, NotChecked, finding_id
from gcd.model.inventory import Coverage, Source
from gcd.model.reading import value_of
from gcd.rules import (
    builds,
    chains,
    containers,
    host,
    images,
    layerdirs,
    layers,
    leftovers,
    linkfarm,
    lost,
    lowers,
    orphans,
    repositories,
    rwlayers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from gcd.model.finding import Code, Fault
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph
    from gcd.rules.rule import Rule

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (
            *orphans.RULES,
            *linkfarm.RULES,
            *lowers.RULES,
            *layerdirs.RULES,
            *layers.RULES,
            *chains.RULES,
            *rwlayers.RULES,
            *containers.RULES,
            *images.RULES,
            *repositories.RULES,
            *builds.RULES,
            *leftovers.RULES,
            *host.RULES,
        ),
        key=lambda rule: rule.code,
    )
)

NEEDLESS = frozenset(
    {
        Source.BUILD_SNAPSHOTS,
        Source.BUILD_RECORDS,
        Source.BUILD_LEASES,
        Source.REPOSITORIES,
        Source.DISTRIBUTION,
        Source.PLUGINS,
        Source.VOLUMES,
        Source.TEMPORARIES,
    }
)
"""Sources whose absence hides nothing: there is nothing to find then, or a rule speaks of it (GCD404, GCD504)."""


def find(
    inventory: Inventory, graph: StoreGraph, codes: Collection[Code]
) -> tuple[tuple[Finding, ...], tuple[NotChecked, ...]]:
    """The findings of the rules whose code is in `codes`, in the order of the table, and what could not be checked."""
    able: list[Rule] = []
    not_checked: list[NotChecked] = []
    for rule in RULES:
        lacks = tuple(source for source in Source if source in rule.needs and _lacks(inventory, source))
        if lacks:
            if rule.code in codes:
                not_checked += (NotChecked(rule.code, rule.name, s, inventory.sources[s].why) for s in lacks)
        else:
            able.append(rule)
    findings = _findings(inventory, graph, list(_faults(inventory, graph, able)))
    return tuple(f for f in findings if f.code in codes), tuple(not_checked)


def _faults(inventory: Inventory, graph: StoreGraph, rules: Collection[Rule]) -> Iterator[tuple[Rule, Fault]]:
    """What `rules` find, in their order."""
    for rule in rules:
        faults = map(rule.check, repeat(inventory), repeat(graph), nodes_for(rule, inventory, graph))
        yield from ((rule, fault) for fault in chain.from_iterable(faults))


def nodes_for(rule: Rule, inventory: Inventory, graph: StoreGraph) -> Iterator[Node]:
    """The nodes that `rule` is to be asked about."""
    if rule.suspects is None:
        return nodes_of(inventory, graph, rule.node)
    return map(Node, repeat(rule.node), sorted(rule.suspects(inventory, graph)))


def _lacks(inventory: Inventory, source: Source) -> bool:
    """Whether `source` was not read completely; that it is not there is no lack for some."""
    coverage = inventory.sources[source].coverage
    return coverage is not Coverage.OK and not (coverage is Coverage.ABSENT and source in NEEDLESS)


def nodes_of(inventory: Inventory, graph: StoreGraph, kind: NodeKind) -> Iterator[Node]:
    """All nodes of a kind that rules are about."""
    ids: Iterable[str]
    match kind:
        case NodeKind.LAYER_DIR:
            ids = (*inventory.layer_dirs, *sorted(graph.lost_dirs))
        case NodeKind.LINK:
            ids = sorted({*graph.farm, *graph.claimants, *graph.unresolved_links})
        case NodeKind.LINK_FARM:
            ids = (layout.link_farm(),)
        case NodeKind.DATABASE:
            ids = (*map(layout.build_database, inventory.build_cache.databases), *inventory.databases)
        case NodeKind.ENGINE:
            ids = ("engine",)
        case _:
            ids = _RECORDS[kind](inventory)
    return (Node(kind, id_) for id_ in ids)


def _references(inventory: Inventory) -> Iterable[str]:
    repositories = value_of(inventory.repositories)
    return repositories.references if repositories else ()


_RECORDS: Mapping[NodeKind, Callable[[Inventory], Iterable[str]]] = {
    NodeKind.LAYER: lambda inventory: inventory.layers,
    NodeKind.REMOVING_LAYER: lambda inventory: inventory.removing,
    NodeKind.WRITE_SET: lambda inventory: inventory.write_sets,
    NodeKind.RW_LAYER: lambda inventory: inventory.rw_layers,
    NodeKind.CONTAINER: lambda inventory: inventory.containers,
    NodeKind.IMAGE: lambda inventory: inventory.images,
    NodeKind.IMAGE_METADATA: lambda inventory: inventory.image_metadata,
    NodeKind.DISTRIBUTION_RECORD: lambda inventory: inventory.distribution,
    NodeKind.PLUGIN: lambda inventory: inventory.plugins,
    NodeKind.VOLUME: lambda inventory: inventory.volumes,
    NodeKind.TEMPORARY_FILE: lambda inventory: (*inventory.temporaries, *inventory.engine_temporaries),
    NodeKind.REPOSITORIES: lambda _inventory: (layout.repositories(),),
    NodeKind.REFERENCE: _references,
    NodeKind.SOURCE: lambda inventory: inventory.sources,
    NodeKind.STORE: lambda inventory: tuple(store.path for store in inventory.dormant),
    NodeKind.BUILD_SNAPSHOT: lambda inventory: inventory.build_cache.snapshots,
    NodeKind.BUILD_LEASE: lambda inventory: inventory.build_cache.leases,
}


def _findings(inventory: Inventory, graph: StoreGraph, faults: list[tuple[Rule, Fault]]) -> list[Finding]:
    by_subject: dict[Node, list[FindingId]] = {}
    for rule, fault in faults:
        by_subject.setdefault(fault.subject, []).append(finding_id(rule.code, fault.subject))
    orphans = [fault.subject for rule, fault in faults if rule.kind is Kind.ORPHAN]
    blockers = lost.blockers(inventory, graph, orphans) if orphans else {}
    return [_finding(graph, rule, fault, blockers, by_subject) for rule, fault in faults]


def _finding(
    graph: StoreGraph,
    rule: Rule,
    fault: Fault,
    blockers: Mapping[Node, tuple[Node, ...]],
    by_subject: Mapping[Node, list[FindingId]],
) -> Finding:
    is_orphan = rule.kind is Kind.ORPHAN
    blocked_by = blockers[fault.subject] if is_orphan else ()
    return Finding(
        code=rule.code,
        name=rule.name,
        kind=rule.kind,
        severity=fault.severity or rule.severity,
        confidence=Confidence.PROVEN,
        subject=fault.subject,
        summary=fault.summary,
        evidence=fault.evidence,
        paths=fault.paths,
        remedies=rule.remedies if fault.remedies is None else fault.remedies,
        related=graph.other_names(fault.subject),
        impact=fault.impact or (Impact() if is_orphan else graph.impact(fault.subject)),
        blocked_by=tuple(id_ for node in blocked_by for id_ in by_subject.get(node, (FindingId(str(node)),))),
        cause=next(
            (id_ for node in fault.causes for id_ in sorted(by_subject.get(node, ()), key=_explains_little)), None
        ),
        since_ns=fault.since_ns,
        is_held=fault.is_held,
    )


def _explains_little(id_: FindingId) -> bool:
    """Whether a finding about a layer record is one that the engine loads all the same, so that it explains no loss."""
    return id_.startswith(("GCD207", "GCD209", "GCD210"))
