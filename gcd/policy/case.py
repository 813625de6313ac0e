"""What a guard is asked about: one remedy of one finding, and all that surrounds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from gcd.model.plan import LeftAlone
from gcd.policy.policy import BY_POLICY, DEFAULT, History

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from gcd.model.facts import Engine
    from gcd.model.finding import Finding, Node, Remedy
    from gcd.model.ids import LayerDirId
    from gcd.model.inventory import Source
    from gcd.model.plan import Reason
    from gcd.policy.policy import Policy, Selection


class Situation(Struct, frozen=True):
    """
    What holds for all findings of a plan.

    `now_ns` is the wall clock time. `is_writing` says that the engine is making a layer: a write set is there that is
    newer than the engine's epoch. `listed_dirs` are the layer dirs that its API says are in use, `silent` the images
    and containers of which it cannot say what they use. `unread` are the
    sources of references that were not read completely. `labelled` gives, by the name of an image or container that
    a label protects, the pattern that fits the label.
    """

    engine: Engine
    now_ns: int
    policy: Policy = DEFAULT
    selection: Selection = BY_POLICY
    history: History = field(default_factory=History)
    is_writing: bool = False
    listed_dirs: AbstractSet[LayerDirId] = frozenset()
    silent: AbstractSet[str] = frozenset()
    unread: tuple[Source, ...] = ()
    labelled: Mapping[str, str] = field(default_factory=dict)


class Case(Struct, frozen=True):
    """
    May `remedy` be done about `finding`?

    `nodes` are all things that would be taken away. `staying` are those that stand on them and would be left behind.
    `disk_bytes` is what the whole unit is worth that it is a part of. `items` and `planned_bytes` are what this run has
    planned so far.
    """

    finding: Finding
    remedy: Remedy
    situation: Situation
    nodes: tuple[Node, ...] = ()
    staying: tuple[Node, ...] = ()
    disk_bytes: int = 0
    items: int = 0
    planned_bytes: int = 0

    @property
    def is_named_by_id(self) -> bool:
        """Whether its owner asked for just this one, so that limits of time and number do not hold for it."""
        selection = self.situation.selection
        return selection.remedy is not None and self.finding.id in selection.ids

    def left_alone(self, reason: Reason, why: str) -> LeftAlone:
        return LeftAlone(self.finding, reason, why)
