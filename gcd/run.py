"""
One run, from a root to a `RunResult`.

Reads the root, asks the rules, looks a second time at whatever looks wrong (safety rule S1: subjects and owners alike),
judges how sure each finding is, and measures what the reported ones would free. Writes nothing.
"""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from gcd.model.finding import Severity
from gcd.model.inventory import Coverage, Source
from gcd.model.reading import Present
from gcd.model.result import RunResult, Summary, is_orphan, is_reclaimable
from gcd.model.shelf import shelved_dirs, shelved_layers
from gcd.model.storegraph import StoreGraph
from gcd.policy.acceptance import accept, expired
from gcd.policy.confidence import judge
from gcd.root.discover import detect_store
from gcd.root.progress import Pace
from gcd.root.read import read_inventory
from gcd.root.tree import open_root
from gcd.root.usage import measure
from gcd.rules.table import RULES, find

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from gcd.model.finding import Acceptance, Code, Finding, NotChecked
    from gcd.model.inventory import Inventory
    from gcd.root.discover import Store
    from gcd.root.progress import Progress

ALL_CODES = frozenset(rule.code for rule in RULES)

CLOCK_TOLERANCE_NS = 120_000_000_000
"""A ctime later than now by more than this says that the clock cannot be trusted (S5)."""

MAX_READERS = 4

MAX_READINGS = 3
"""How often a root is read for one look at it, while one of its databases changes too fast to be copied."""

Look = tuple[tuple["Finding", ...], tuple["NotChecked", ...]]


class Sight(Struct, frozen=True):
    """What was read of a root, its second reading if there were findings, and what the rules said of it."""

    inventory: Inventory
    findings: tuple[Finding, ...]
    not_checked: tuple[NotChecked, ...]
    graph: StoreGraph
    """That of `inventory`, by which the rules judged."""


@contextmanager
def collecting_no_cycles() -> Iterator[None]:
    """
    Inside, memory is freed by reference counts alone. An inventory is a million values without a cycle among them:
    looking for one again and again while they are made was a fifth of a run's time, and freed nothing. It ends when the
    inventory is gone, for the first look afterwards goes through all that was made meanwhile.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@collecting_no_cycles()
def check(
    path: str,
    *,
    now_ns: int,
    codes: Collection[Code] = ALL_CODES,
    acceptances: Sequence[Acceptance] = (),
    progress: Progress | None = None,
    proc: str = "/proc",
) -> RunResult:
    """
    Check the Docker root at `path` by the rules of `codes`; `now_ns` is the wall clock time in nanoseconds.

    Raises `CannotCheck` where the run cannot begin: no such root, no rights, a store that gcd does not read.
    """
    began_ns = time.monotonic_ns()
    sight = see(path, now_ns=now_ns, codes=codes, progress=progress, proc=proc)
    return result_of(sight, now_ns=now_ns, began_ns=began_ns, codes=codes, acceptances=acceptances)


def result_of(
    sight: Sight,
    *,
    now_ns: int,
    began_ns: int,
    codes: Collection[Code] = ALL_CODES,
    acceptances: Sequence[Acceptance] = (),
    progress: Progress | None = None,
    measured: Collection[Finding] = (),
) -> RunResult:
    """
    What is told of `sight`: its findings measured, sorted and counted. It began at `began_ns` of time.monotonic. Those
    that are in `measured` with the same paths and the same age were measured already.
    """
    inventory = sight.inventory
    findings = accept(_measured(inventory.root, sight.findings, progress, measured), acceptances, now_ns)
    return RunResult(
        root=inventory.root,
        store=inventory.store,
        engine=inventory.engine,
        sources=inventory.sources,
        summary=summarize(inventory, findings),
        findings=tuple(sorted(findings, key=lambda f: (-f.severity.rank, f.code, f.subject))),
        not_checked=sight.not_checked,
        checked_ns=now_ns,
        duration_ns=time.monotonic_ns() - began_ns,
        expired=expired(findings, acceptances, now_ns),
        rules=len(ALL_CODES),
        rules_left_out=len(ALL_CODES) - len(codes),
    )


def see(
    path: str,
    *,
    now_ns: int,
    codes: Collection[Code] = ALL_CODES,
    progress: Progress | None = None,
    proc: str = "/proc",
) -> Sight:
    """Read the root at `path` and let the rules of `codes` judge it; errors are those of `check`."""
    store = detect_store(path, proc=proc)
    return see_store(store, now_ns=now_ns, codes=codes, progress=progress, proc=proc)


def see_store(
    store: Store,
    *,
    now_ns: int,
    codes: Collection[Code] = ALL_CODES,
    progress: Progress | None = None,
    proc: str = "/proc",
) -> Sight:
    """As `see`, of a root whose store is known."""
    return see_twice(reader(store, now_ns=now_ns, progress=progress, proc=proc, readers=_readers()), now_ns, codes)


def reader(
    store: Store,
    *,
    now_ns: int,
    progress: Progress | None = None,
    proc: str = "/proc",
    readers: int = 1,
) -> Callable[[], Inventory]:
    """
    What reads `store`, as often as it is called, in so many threads; a change later than `now_ns` and the time since is
    doubted.
    """
    started = time.monotonic_ns()
    pace = Pace(progress, readers)

    def read() -> Inventory:
        inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant, proc=proc, pace=pace)
        return doubting_the_clock(inventory, now_ns + time.monotonic_ns() - started)

    return read


def _readers() -> int:
    """How many threads read a root: as many as there are processors for this one, but not all of a big host."""
    return min(len(os.sched_getaffinity(0)), MAX_READERS)


def look_twice(
    read: Callable[[], Inventory], now_ns: int, codes: Collection[Code]
) -> tuple[Inventory, tuple[Finding, ...], tuple[NotChecked, ...]]:
    """As `see_twice`: the inventory, the findings, and what could not be checked."""
    sight = see_twice(read, now_ns, codes)
    return sight.inventory, sight.findings, sight.not_checked


def see_twice(read: Callable[[], Inventory], now_ns: int, codes: Collection[Code]) -> Sight:
    """
    The findings that two readings, one after the other, agree upon; they and the inventory are those of the second.

    Without findings one reading is enough. What was only in passing is in one of them at most. A rule that did not run
    in one of the two has confirmed nothing: it is not checked.
    """
    sight = _look_past_the_busy(read, now_ns, codes)
    if not sight.findings:
        return sight
    first, not_checked = sight.findings, sight.not_checked
    del sight  # there is never more than one inventory in memory
    return agreed(first, not_checked, _look_past_the_busy(read, now_ns, codes))


def agreed(first: Collection[Finding], not_checked: Collection[NotChecked], second: Sight) -> Sight:
    """`second` with those of its findings that a look before it had as well, and with what either could not check."""
    seen = {finding.id for finding in first}
    lacks = {(lack.code, lack.source): lack for lack in (*not_checked, *second.not_checked)}
    findings = tuple(finding for finding in second.findings if finding.id in seen)
    return replace(second, findings=findings, not_checked=tuple(lacks.values()))


def _look_past_the_busy(read: Callable[[], Inventory], now_ns: int, codes: Collection[Code]) -> Sight:
    """One reading and what the rules find in it; another one, a few times, where a database was too busy to be read."""
    inventory = read()
    for _ in range(MAX_READINGS - 1):
        if all(state.coverage is not Coverage.BUSY for state in inventory.sources.values()):
            break
        del inventory
        inventory = read()
    return judged(StoreGraph(inventory, inventory.engine.proof_bound(now_ns)), now_ns, codes)


def judged(graph: StoreGraph, now_ns: int, codes: Collection[Code]) -> Sight:
    """What the rules find in the inventory of `graph`, each finding with its confidence at `now_ns`."""
    inventory = graph.inventory
    bound_ns = inventory.engine.proof_bound(now_ns)
    findings, not_checked = find(inventory, graph, codes)
    return Sight(inventory, tuple(judge(finding, bound_ns) for finding in findings), not_checked, graph)


def look(inventory: Inventory, now_ns: int, codes: Collection[Code] = ALL_CODES) -> Look:
    """
    What the rules find in `inventory`, each finding with its confidence at `now_ns`, and what they could not check.
    """
    sight = judged(StoreGraph(inventory, inventory.engine.proof_bound(now_ns)), now_ns, codes)
    return sight.findings, sight.not_checked


def doubting_the_clock(inventory: Inventory, now_ns: int) -> Inventory:
    """`inventory`, with a doubt added to its engine if something in it changed in the future."""
    newest = max(_ctimes(inventory), default=0)
    if newest <= now_ns + CLOCK_TOLERANCE_NS:
        return inventory
    doubt = (
        f"something in the root changed {(newest - now_ns) // 1_000_000_000} s in the future: the clock was set back"
    )
    return replace(inventory, engine=replace(inventory.engine, doubts=(*inventory.engine.doubts, doubt)))


def _ctimes(inventory: Inventory) -> Iterable[int]:
    layers, dirs = shelved_layers(inventory.layers), shelved_dirs(inventory.layer_dirs)
    rows = itertools.chain(layers.rows.values(), dirs.rows.values())
    records = (layers.odd, dirs.odd, inventory.rw_layers, inventory.containers)
    values = itertools.chain.from_iterable(found.values() for found in records)
    return itertools.chain(map(itemgetter(-1), rows), map(attrgetter("ctime_ns"), values))


def _measured(
    path: str, findings: tuple[Finding, ...], progress: Progress | None, measured: Collection[Finding]
) -> tuple[Finding, ...]:
    """`findings`, those that would free something with its bytes and inodes on disk; `progress` hears of each step."""
    known = {(f.id, f.paths, f.since_ns): (f.disk_bytes, f.inodes) for f in measured}
    sizes = {f.id: known[key] for f in findings if (key := (f.id, f.paths, f.since_ns)) in known}
    groups = {f.id: f.paths for f in findings if f.paths and f.id not in sizes}
    if groups:
        with open_root(path) as root:
            pulse = None if progress is None else partial(progress, Source.OVERLAY2, len(groups), len(groups))
            usage = measure(root, groups, pulse=pulse)
        sizes |= {id_: (found.disk_bytes, found.inodes) for id_, found in usage.items()}
    return tuple(replace(f, disk_bytes=sizes[f.id][0], inodes=sizes[f.id][1]) if f.id in sizes else f for f in findings)


def summarize(inventory: Inventory, findings: tuple[Finding, ...]) -> Summary:
    known = [finding for finding in findings if finding.accepted is not None]
    new = [finding for finding in findings if finding.accepted is None]
    orphans = [finding for finding in new if is_orphan(finding) and not finding.blocked_by]
    severities = Counter(finding.severity for finding in new)
    return Summary(
        by_code=dict(sorted(Counter(finding.code for finding in new).items())),
        by_severity={severity: severities[severity] for severity in Severity},
        orphaned_bytes=_disk_bytes(orphans),
        orphaned_inodes=sum(finding.inodes or 0 for finding in orphans),
        proven_bytes=_disk_bytes(filter(is_reclaimable, new)),
        blocked_bytes=_disk_bytes(finding for finding in new if is_orphan(finding) and finding.blocked_by),
        layer_dirs=len(inventory.layer_dirs),
        layers=len(inventory.layers),
        images=sum(isinstance(image.config, Present) for image in inventory.images.values()),
        containers=len(inventory.containers),
        accepted=len(known),
        accepted_bytes=_disk_bytes(known),
    )


def _disk_bytes(findings: Iterable[Finding]) -> int:
    return sum(finding.disk_bytes or 0 for finding in findings)
