"""``gcd release``: have the running engine delete layers that nothing uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gcd.commands.acting import Order, act, acting_flags
from gcd.model.finding import RemedyKind

if TYPE_CHECKING:
    from typing import Unpack

    from gcd.commands.acting import Flags
    from gcd.model.errors import ExitBits


@click.command()
@click.argument("words", nargs=-1, metavar="[CODE|ID]...")
@acting_flags
def release(*, words: tuple[str, ...], **flags: Unpack[Flags]) -> ExitBits:
    """
    Have the running engine delete layers that nothing uses: of each CODE (GCD211), or just the finding ID; without any,
    all of them.

    The engine deletes them itself, at once, and their space is free; this cannot be undone. What it must not delete
    is proven before each one.
    """
    return act(Order("release", flags, RemedyKind.RELEASE, words))
