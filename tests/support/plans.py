"""Plans of inventories in memory, under an engine of choice, two days after the newest thing in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gcd.model.facts import Engine, EngineState
from gcd.planning import Wish, decided
from gcd.policy.decision import kind_of
from gcd.policy.policy import DAY_NS, History, Policy, Verb
from gcd.policy.refusals import Outlook
from gcd.rules.table import RULES
from gcd.run import look

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.model.facts import Listed
    from gcd.model.finding import Finding
    from gcd.model.inventory import Inventory
    from gcd.model.plan import LeftAlone, Step

ALL = (Verb.REPAIR, Verb.RELEASE, Verb.QUARANTINE)
EVERYTHING = Policy(codes={rule.code: ALL for rule in RULES})


def now_of(inventory: Inventory) -> int:
    return max(layer_dir.ctime_ns for layer_dir in inventory.layer_dirs.values()) + 2 * DAY_NS


def under(inventory: Inventory, state: EngineState) -> Inventory:
    """`inventory` as if its engine were in `state`, and had been for a second."""
    pid = 4711 if state is EngineState.RUNNING else None
    return replace(inventory, engine=Engine(state, pid, now_of(inventory) - 1_000_000_000))


def planned(
    inventory: Inventory, policy: Policy = EVERYTHING, *, listed: Listed | None = None, **wish: Any
) -> tuple[tuple[Step, ...], tuple[LeftAlone, ...], tuple[Finding, ...]]:
    """What is decided of `inventory`, all of whose findings have been seen for a day."""
    now_ns = now_of(inventory)
    findings, _ = look(inventory, now_ns)
    history = History({finding.id: DAY_NS for finding in findings})
    said = Wish(**{"policy": policy, "history": history, **wish})
    steps, left = decided(inventory, findings, Outlook(inventory, now_ns, history, listed=listed), said)
    return steps, left, findings


def names(steps: Iterable[Step]) -> list[tuple[str, str]]:
    """Of each step what is done about what."""
    return [(kind_of(step), step.finding.id) for step in steps]
