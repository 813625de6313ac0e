"""
One run of ``gcd df``, from a root to a `DiskUsage`: the facts and findings of ``gcd check``, laid over one walk.

Orphans are those that two readings agree upon (`gcd.run.look_twice`). Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gcd.model.accounts import account
from gcd.model.attribution import Attribution
from gcd.model.finding import Kind
from gcd.model.storegraph import StoreGraph
from gcd.rules.table import RULES
from gcd.run import look_twice, reader

if TYPE_CHECKING:
    from gcd.model.space import DiskUsage
    from gcd.root.discover import Store
    from gcd.root.walk import Walk

ORPHAN_CODES = frozenset(rule.code for rule in RULES if rule.kind is Kind.ORPHAN)

Progress = Callable[[str, int, int], None]
"""Called with what is being read, how many of its items are done, and how many there are."""


def disk_usage(
    store: Store, walk: Walk, *, now_ns: int, progress: Progress | None = None, proc: str = "/proc"
) -> DiskUsage:
    """
    Whose every byte of the Docker root of `store` is, over which `walk` has begun; `now_ns` is the wall clock time in
    nanoseconds. Raises `CannotCheck` where the run cannot begin.
    """
    read = reader(store, now_ns=now_ns, progress=progress, proc=proc)
    inventory, orphans, not_checked = look_twice(read, now_ns, ORPHAN_CODES)
    graph = StoreGraph(inventory, inventory.engine.proof_bound(now_ns))
    # Claims need no figures: they are made while others walk.
    attribution = Attribution(inventory, graph, orphans)
    tree = walk.result(None if progress is None else lambda done, total: progress("disk usage", done, total))
    return account(inventory, graph, attribution, not_checked, tree, now_ns=now_ns)
