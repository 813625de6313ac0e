"""
A leak by hand: a running engine with an image and a container, and two layers on the image's base that nothing holds.

``BASE`` carries the image's ``TOP``, and ``LOW`` with ``TIP`` on it, which are leaked. `LISTED` is what the engine says
that it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIR,
    BASE_LINK,
    BOUND_NS,
    CONTAINER,
    IMAGE,
    INIT_DIR,
    RW_DIR,
    TOP_DIR,
    digest,
    dir_id,
    healthy_inventory,
    layer,
    layer_dir,
    link_id,
    symlink,
    with_records,
)

from gcd.model.facts import Engine, EngineState, Listed
from gcd.model.ids import DiffId, chain_id

if TYPE_CHECKING:
    from gcd.model.inventory import Inventory

BASE_DIFF = DiffId(BASE_CHAIN)
LOW_DIFF, TIP_DIFF = DiffId(digest("low diff")), DiffId(digest("tip diff"))
LOW = chain_id(BASE_CHAIN, LOW_DIFF)
TIP = chain_id(LOW, TIP_DIFF)
LOW_DIR, TIP_DIR = dir_id("low"), dir_id("tip")
LOW_LINK, TIP_LINK = link_id("low"), link_id("tip")
RUNNING = Engine(EngineState.RUNNING, pid=1, epoch_ns=BOUND_NS)
LISTED = Listed(frozenset({IMAGE}), frozenset({CONTAINER}), frozenset({BASE_DIR, TOP_DIR, INIT_DIR, RW_DIR}))


def leaked(*records: object, **changes: Any) -> Inventory:
    """The leak with `records` put into it."""
    made = with_records(
        healthy_inventory(engine=RUNNING),
        layer(LOW_DIFF, LOW_DIR, BASE_CHAIN),
        layer(TIP_DIFF, TIP_DIR, LOW),
        layer_dir(LOW_DIR, LOW_LINK, (BASE_LINK,)),
        layer_dir(TIP_DIR, TIP_LINK, (LOW_LINK, BASE_LINK)),
        symlink(LOW_LINK, LOW_DIR),
        symlink(TIP_LINK, TIP_DIR),
        *records,
    )
    return replace(made, **changes)
