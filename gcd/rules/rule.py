"""
What a rule is.

A rule looks at one node and yields a `Fault` for each thing that is wrong with it. It declares the kind of node that it
is about, and the sources that it `needs`: if one of them was not read completely the rule does not run, and the result
says so. Its docstring is what ``gcd explain CODE`` prints: a first line that states the fault, then the sections
Harm, Cause, Remedy and Not this rule.

Where most nodes of its kind can be cleared all at once, a rule also names its `suspects`: all nodes that `check` could
yield anything for, and as few others as is cheap to tell. They save time and decide nothing: asking all nodes gives the
same faults, and a test holds every rule to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model.finding import Code, Fault, Kind, Node, NodeKind, Remedy, Severity

if TYPE_CHECKING:
    from gcd.model.inventory import Inventory, Source
    from gcd.model.storegraph import StoreGraph

Check = Callable[["Inventory", "StoreGraph", Node], Iterator[Fault]]

Suspects = Callable[["Inventory", "StoreGraph"], Iterable[str]]
"""The ids of the nodes that a rule has to be asked about."""


class Rule(Struct, frozen=True):
    code: Code
    name: str
    kind: Kind
    severity: Severity
    """The highest that a finding of this code can have; a `Fault` may carry a lower one."""
    node: NodeKind
    needs: frozenset[Source]
    remedies: tuple[Remedy, ...]
    check: Check
    suspects: Suspects | None
    """None: all nodes of its kind."""

    @property
    def text(self) -> str:
        """The docstring of `check`."""
        return inspect.getdoc(self.check) or ""


def rule(
    code: str,
    name: str,
    kind: Kind,
    severity: Severity,
    *,
    node: NodeKind,
    needs: frozenset[Source],
    remedies: tuple[Remedy, ...] = (),
    suspects: Suspects | None = None,
) -> Callable[[Check], Rule]:
    """Make a `Rule` of a check function; nothing is registered: the module's ``RULES`` tuple lists it."""

    def make(check: Check) -> Rule:
        return Rule(Code(code), name, kind, severity, node, needs, remedies, check, suspects)

    return make
