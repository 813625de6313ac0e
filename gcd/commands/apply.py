"""``gcd apply``: do what the policy says, or what a saved plan holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gcd.commands.acting import Order, act, acting_flags
from gcd.formats.planfile import MOST_BYTES, parse_plan
from gcd.mends.mending import Consent
from gcd.model.errors import CannotAct, FormatError, UsageError
from gcd.model.plan import why_stale

if TYPE_CHECKING:
    from typing import Unpack

    from gcd.commands.acting import Flags
    from gcd.model.errors import ExitBits
    from gcd.model.plan import Plan


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
@acting_flags
@click.option("--auto-remove", is_flag=True, help="Mend containers too that the engine then removes with their data.")
@click.option("--no-hold", is_flag=True, help="Give images of unknown name none: the next prune may delete them.")
def apply(*, file: str | None, auto_remove: bool, no_hold: bool, **flags: Unpack[Flags]) -> ExitBits:
    """
    Do what the policy of the settings says about all findings, as gcd plan shows it; or what is in FILE, which gcd plan
    -o wrote within the last hour, if it still fits what is on disk. A saved plan is applied once.
    """
    saved = None if file is None else _read(file)
    if saved is not None:
        flags["root"] = _root_of(saved, flags["root"])
    return act(Order("apply", flags, consent=Consent(auto_remove=auto_remove, hold=not no_hold), saved=saved))


def _read(file: str) -> Plan:
    """The plan in `file`, which is still good."""
    try:
        with Path(file).open("rb") as stream:
            plan = parse_plan(stream.read(MOST_BYTES + 1))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except FormatError as error:
        raise UsageError(f"{file} is no plan of gcd plan -o: {error}") from None
    if why := why_stale(plan, time.time_ns()):
        raise CannotAct(f"{file} cannot be applied: {why}; make a new one")
    return plan


def _root_of(plan: Plan, named: str | None) -> str:
    """The plan's root, unless another one is named."""
    if named is not None and Path(named).resolve() != Path(plan.root).resolve():
        raise UsageError(f"the plan was made for {plan.root}, not for {named}")
    return plan.root
