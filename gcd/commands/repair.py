"""``gcd repair``: mend what can be mended with certainty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gcd.commands.acting import Order, act, acting_flags
from gcd.mends.mending import Consent
from gcd.model.errors import ExitBits
from gcd.model.finding import RemedyKind

if TYPE_CHECKING:
    from typing import Unpack

    from gcd.commands.acting import Flags

CONTENT = "GCD7"
"""How the ids of findings begin that a scrub made, whose verdict is another one once they are mended."""


@click.command()
@click.argument("words", nargs=-1, metavar="[CODE|ID]...")
@acting_flags
@click.option("--auto-remove", is_flag=True, help="Mend containers too that the engine then removes with their data.")
@click.option("--no-hold", is_flag=True, help="Give images of unknown name none: the next prune may delete them.")
def repair(*, words: tuple[str, ...], auto_remove: bool, no_hold: bool, **flags: Unpack[Flags]) -> ExitBits:
    """
    Mend what can be rebuilt with certainty from what is left: of each CODE, or just the finding ID; without any, all
    that is auto or opt-in.

    What is replaced is kept: gcd quarantine restore undoes a repair. Most repairs need the engine stopped.
    """
    consent = Consent(auto_remove=auto_remove, hold=not no_hold)
    bits = act(Order("repair", flags, RemedyKind.REPAIR, words, consent))
    if bits & ExitBits.MENDED and any(word.upper().startswith(CONTENT) for word in words):
        from gcd.commands.scrub import look_again  # noqa: PLC0415 - only where content was mended

        look_again(flags["root"], words)
    return bits
