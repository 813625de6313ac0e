"""
Why a whole run is refused (safety rule S22): then nothing is done about anything, whatever the findings say.

One function for each reason, in one table; each answers one sentence that says what is wrong and what to do, or "".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from gcd.model.facts import EngineState
from gcd.model.finding import NodeKind
from gcd.model.inventory import Coverage, Source
from gcd.policy.policy import History

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcd.model.facts import Listed
    from gcd.model.finding import Node
    from gcd.model.inventory import Inventory

CLOCK_TOLERANCE_NS = 120_000_000_000
"""A run that lies further in the future than this says that the clock was set back (S5)."""

_KEEPERS = (Source.IMAGES, Source.LAYERS, Source.CONTAINERS)


class Outlook(Struct, frozen=True):
    """
    What a refusal is made of, beside the findings.

    `listed` is what the engine's API lists, None if it was not asked, before the reading and after it. `allow_empty` is
    the word of somebody who knows that a root without images or layers is as it should be.
    """

    inventory: Inventory
    now_ns: int
    history: History = field(default_factory=History)
    is_read_only: bool = False
    listed: Listed | None = None
    allow_empty: bool = False


def several_engines(outlook: Outlook) -> str:
    others = outlook.inventory.engine.others
    if not others:
        return ""
    return f"more than one engine has files of this root open (pids {', '.join(map(str, others))}): stop all but one"


def doubts(outlook: Outlook) -> str:
    """What makes nothing `proven` also makes nothing safe: a clock that was set back, an engine that was restarted."""
    found = outlook.inventory.engine.doubts
    return f"nothing is certain here: {'; '.join(found)}" if found else ""


def clock_went_back(outlook: Outlook) -> str:
    ahead_ns = outlook.history.last_ns - outlook.now_ns
    if ahead_ns <= CLOCK_TOLERANCE_NS:
        return ""
    return f"the clock went back: an earlier run was recorded {ahead_ns // 1_000_000_000} s in the future; set it right"


def read_only(outlook: Outlook) -> str:
    return "the file system of this root is mounted read-only" if outlook.is_read_only else ""


def keepers_unread(outlook: Outlook) -> str:
    """Images, layer records and containers are what keeps layer dirs alive; without them every dir looks orphaned."""
    inventory = outlook.inventory
    lacking = [
        f"{source} ({inventory.sources[source].coverage})"
        for source in _KEEPERS
        if inventory.sources[source].coverage in {Coverage.ABSENT, Coverage.UNREADABLE}
    ]
    if not lacking or not inventory.layer_dirs:
        return ""
    return f"what keeps layer dirs alive cannot be read: {', '.join(lacking)}; put that right first"


def engine_unasked(outlook: Outlook) -> str:
    """A running engine may have what the disk has lost; one that was started meanwhile was not asked before (S2)."""
    if outlook.inventory.engine.state is not EngineState.RUNNING or outlook.listed is not None:
        return ""
    return "the engine runs, and did not say before and after gcd looked what it has: try again, or name its --socket"


def unexpectedly_empty(outlook: Outlook) -> str:
    """No image, or no layer record, while layer dirs are there: either all was pruned, or the records were lost."""
    inventory = outlook.inventory
    lacking = [name for name, found in (("image", inventory.images), ("layer record", inventory.layers)) if not found]
    if not lacking or not inventory.layer_dirs or outlook.allow_empty:
        return ""
    found = f"there are {len(inventory.layer_dirs)} layer dirs and no {' and no '.join(lacking)}"
    if inventory.engine.state is not EngineState.RUNNING:
        return f"{found}: if all images were removed on purpose, say --allow-empty"
    if outlook.listed is not None and outlook.listed.images:
        return f"{found}, but the engine lists {len(outlook.listed.images)}: do not stop it, and save what runs"
    return ""


def engine_knows_more(outlook: Outlook) -> str:
    """What the engine lists and the disk does not have was lost under a running engine (S2)."""
    listed, inventory = outlook.listed, outlook.inventory
    if listed is None:
        return ""
    lost = [*sorted(listed.images - inventory.images.keys()), *sorted(listed.containers - inventory.containers.keys())]
    if not lost:
        return ""
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"the engine lists {lost[0]}{more}, of which the disk has no record: do not stop it, and save what runs"


REFUSALS: tuple[Callable[[Outlook], str], ...] = (
    several_engines,
    doubts,
    clock_went_back,
    read_only,
    keepers_unread,
    engine_unasked,
    unexpectedly_empty,
    engine_knows_more,
)


def refusal(outlook: Outlook) -> str:
    """Why nothing may be done in this run; "" if nothing is against it."""
    return next((why for check in REFUSALS if (why := check(outlook))), "")


def leaves_nothing(inventory: Inventory, taken: Sequence[Node]) -> str:
    """
    Why a plan that takes away `taken` is refused as a whole: the driver's home would be left empty, and an engine of 29
    and later that finds it so starts with another store (hazard H1). The link farm, which is never moved, keeps it.
    """
    dirs = {node.id for node in taken if node.kind is NodeKind.LAYER_DIR}
    if not dirs or inventory.link_farm.type is not None or inventory.layer_dirs.keys() - dirs:
        return ""
    return "overlay2 would be left empty, at which newer engines start with another store; start the engine once first"
