"""
What all commands that change a root have in common: plan, show, ask, carry out, tell.

``gcd apply`` asks for what the policy has a verb for; ``gcd repair``, ``gcd release`` and ``gcd quarantine`` ask for
one kind of remedy by name. Each shows its plan before it asks, and says of what is left alone why.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click
from msgspec import Struct
from msgspec.structs import replace

from gcd.actions.recover import Recovery
from gcd.commands.audit import Audit
from gcd.commands.check import FAIL_ON, level
from gcd.commands.output import keep_out
from gcd.commands.plan import on_terminal
from gcd.commands.progress import ProgressBar
from gcd.commands.undertaking import Undertaking
from gcd.commands.wishes import demand_found, wish_of
from gcd.formats.planfile import plan_digest
from gcd.mends.mending import NOTHING_SAID
from gcd.model.errors import CannotAct, ExitBits, GcdError, UsageError
from gcd.model.finding import Applicability, Confidence, Kind, RemedyKind
from gcd.model.plan import Outcome, Reason
from gcd.model.result import exit_bits
from gcd.planning import identity_of
from gcd.policy.policy import Selection, Verb
from gcd.report.deeds import deed_line, deeds_summary
from gcd.report.printable import printable
from gcd.report.quarantine_text import entry_deed_line
from gcd.report.units import counted, iec
from gcd.root.discover import detect_store, find_root
from gcd.root.dockerd import DEFAULT_ROOT
from gcd.run import check
from gcd.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gcd.actions.recover import Recovered
    from gcd.mends.mending import Consent
    from gcd.model.entry import EntryDeed
    from gcd.model.finding import Finding
    from gcd.model.plan import Deed, Move, Plan
    from gcd.model.result import RunResult
    from gcd.planning import Wish
    from gcd.root.discover import Store
    from gcd.settings import Settings


PURGE_WORD = "delete for good"


class Flags(TypedDict):
    """The flags that all of these commands have."""

    root: str | None
    dry_run: bool
    yes: bool
    allow_empty: bool
    socket: str | None
    verbose: int
    quiet: bool


def acting_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of `Flags`."""
    options = (
        click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine."),
        click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
        click.option("--yes", "-y", is_flag=True, help="Do not ask; needed where there is no terminal."),
        click.option("--allow-empty", is_flag=True, help="It is right that this root has no image: all were removed."),
        click.option("--socket", metavar="PATH", help="The socket of the engine's API, where gcd does not find it."),
        click.option("-v", "--verbose", count=True, help="Log more to stderr; twice for still more."),
        click.option("-q", "--quiet", is_flag=True, help="Log errors only."),
    )
    for option in reversed(options):
        command = option(command)
    return command


class Order(Struct, frozen=True):
    """
    What a command was asked to do: `remedy` for the codes and ids in `words`; without one, what the policy has a verb
    for, or what `saved` holds, a plan that was made before. With `is_purged` what is moved is deleted at once.
    """

    command: str
    flags: Flags
    remedy: RemedyKind | None = None
    words: tuple[str, ...] = ()
    consent: Consent = NOTHING_SAID
    saved: Plan | None = None
    is_purged: bool = False


def act(order: Order) -> ExitBits:
    """
    Plan, show, ask, carry out and tell.

    What an earlier release left half done is finished first; its owner was asked then. Raises `UsageError` where nobody
    can be asked, or what is asked for is not there, and `CannotAct` without rights.
    """
    flags = order.flags
    said = {"root": flags["root"], "log_level": level(flags["verbose"], quiet=flags["quiet"])}
    settings = load(said).settings
    store = detect_store(find_root(None if settings.root is None else str(settings.root)))
    wish = wish_of(settings, store.path, order.words, remedy=order.remedy, allow_empty=flags["allow_empty"])
    _demand_somebody_to_ask(order)
    if not flags["dry_run"]:
        _demand_rights(store.path)
    if order.saved is not None:
        wanted = frozenset(step.finding.id for step in order.saved.steps)
        wish = replace(wish, selection=Selection(ids=wanted))
    undertaking = Undertaking(store, replace(wish, consent=order.consent), flags["socket"] or "")
    if flags["dry_run"]:
        result, plan = _planned(order, undertaking)
        return _bits(order, settings, result, plan, ())
    keep_out(store.path, order.command, {"state_dir": str(settings.state_dir)})
    with Audit(settings, identity_of(store.path), store.path) as audit:
        deeds: list[Deed] = []
        bits = ExitBits.CLEAN
        if _wants_releases(order, wish):
            undertaking.finish_releases(audit, _telling(deeds))
        result, plan = _planned(order, undertaking)
        if plan.steps and _is_agreed(order, plan):
            bits = _carried_out(order, undertaking, plan, audit, deeds)
    if deeds:
        click.echo(deeds_summary(deeds, is_purged=order.is_purged))
        result = _what_is_left(store, settings)
    return bits | _bits(order, settings, result, plan, deeds)


def _what_is_left(store: Store, settings: Settings) -> RunResult:
    """A last look: a repair mends its consequences too, and what was moved may have kept something else alive."""
    with ProgressBar() as progress:
        return check(store.path, now_ns=time.time_ns(), acceptances=settings.acceptances, progress=progress)


def _planned(order: Order, undertaking: Undertaking) -> tuple[RunResult, Plan]:
    """The plan, shown: the saved one if there is one."""
    with ProgressBar() as progress:
        result, plan = undertaking.plan(progress)
    if order.saved is None:
        demand_found(undertaking.wish.selection, result)
    elif not plan.refusal:
        plan = order.saved
    if order.is_purged:
        plan = replace(plan, steps=tuple(step for step in plan.steps if _is_of_no_worth(step.finding)))
    click.echo(on_terminal(plan), nl=False)
    _say_how_with_the_engine_stopped(order, plan)
    return result, plan


def _is_of_no_worth(finding: Finding) -> bool:
    """What may be deleted without a time in which it could be missed: an orphan that is proven, and no user's data."""
    is_sure = any(r.kind is RemedyKind.QUARANTINE and r.applicability is Applicability.AUTO for r in finding.remedies)
    return finding.kind is Kind.ORPHAN and finding.confidence is Confidence.PROVEN and is_sure


def _wants_releases(order: Order, wish: Wish) -> bool:
    policy = wish.policy
    verbs = {
        verb for said in (policy.codes, policy.kinds, policy.severities) for some in said.values() for verb in some
    }
    return order.remedy is RemedyKind.RELEASE or (order.remedy is None and Verb.RELEASE in verbs)


def _demand_somebody_to_ask(order: Order) -> None:
    flags, is_terminal = order.flags, sys.stdin.isatty() and sys.stdout.isatty()
    if flags["dry_run"] or is_terminal or (flags["yes"] and not order.is_purged):
        return
    if order.is_purged:
        raise UsageError(f"gcd {order.command} --purge deletes for good: it asks to type that, on a terminal")
    raise UsageError(
        f"gcd {order.command} changes a Docker root, and there is no terminal to ask on: "
        "look at it with --dry-run, then say --yes"
    )


def _demand_rights(path: str) -> None:
    if os.geteuid() not in {0, Path(path).stat().st_uid}:
        raise CannotAct(f"only root may change {printable(path)}: run gcd with sudo")


def _is_agreed(order: Order, plan: Plan) -> bool:
    if order.is_purged:
        size = iec(sum(step.finding.disk_bytes or 0 for step in plan.steps))
        click.echo(f"\nThis deletes {counted(len(plan.steps), 'orphan')} ({size}) for good; nothing brings them back.")
        is_agreed = (
            click.prompt(f"Type {PURGE_WORD!r} to do it", default="", show_default=False, err=True) == PURGE_WORD
        )
    else:
        is_agreed = order.flags["yes"] or click.confirm("Do this?", err=True)
    if not is_agreed:
        click.echo("Nothing was changed.")
    return is_agreed


def _carried_out(order: Order, undertaking: Undertaking, plan: Plan, audit: Audit, deeds: list[Deed]) -> ExitBits:
    """Carry `plan` out, adding to `deeds`; what ends it halfway is told, and does not hide what was done before."""
    try:
        digest = plan_digest(plan) if order.saved is not None else ""
        if order.is_purged:
            undertaking.make_room(plan, audit, _tell_emptied)
        undertaking.carry_out(
            plan, audit, _telling(deeds), tell_recovered, _tell_purged, digest=digest, is_purged=order.is_purged
        )
    except GcdError as error:
        click.echo(f"gcd: {printable(str(error))}", err=True)
        return error.exit_bits
    except KeyboardInterrupt:
        click.echo("gcd: interrupted; a step that was begun is finished or undone at the next start", err=True)
        return ExitBits.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - what was done must be told all the same
        traceback.print_exception(error)
        click.echo("gcd: this is a fault of gcd itself; what was begun is undone at the next start", err=True)
        return ExitBits.NOT_DONE
    return ExitBits.CLEAN


def _telling(deeds: list[Deed]) -> Callable[[Deed], None]:
    """What says each deed at once, and adds it to `deeds`."""

    def tell(deed: Deed) -> None:
        deeds.append(deed)
        click.echo(deed_line(deed))

    return tell


def tell_recovered(item: Recovered) -> None:
    what = {
        Recovery.CLOSED: "was completed",
        Recovery.RETURNED: "was put back",
        Recovery.LEFT_OPEN: "is still open",
    }[item.recovery]
    why = f": {printable(item.why)}" if item.why else ""
    click.echo(f"gcd: entry {item.entry}, which an earlier run left open, {what}{why}", err=True)


def _tell_emptied(step: Move, disk_bytes: int) -> None:
    name = printable(step.finding.id)
    click.echo(f"emptied   {name}, {iec(disk_bytes)}; the disk is full, and moving takes some room")


def _tell_purged(deed: EntryDeed) -> None:
    click.echo(entry_deed_line(deed, "purged"))


def _say_how_with_the_engine_stopped(order: Order, plan: Plan) -> None:
    """The commands that do what was asked for by name and needs the engine stopped."""
    waiting = [left for left in plan.left_alone if left.reason is Reason.ENGINE_RUNS]
    if order.remedy is None or not waiting:
        return
    where = [] if plan.root == DEFAULT_ROOT else ["--root", plan.root]
    words = order.words or tuple(dict.fromkeys(left.finding.code for left in waiting))
    click.echo("\nWith the engine stopped, and containers with it, this does the rest:")
    click.echo("  systemctl stop docker.socket docker.service")
    click.echo(f"  {shlex.join(['gcd', order.command, *where, *map(printable, words)])}")
    click.echo("  systemctl start docker.socket docker.service")


def _bits(order: Order, settings: Settings, result: RunResult, plan: Plan, deeds: Sequence[Deed]) -> ExitBits:
    """
    MENDED if anything was done; FINDINGS_LEFT for what `result` says is there; NOT_DONE if what was asked for was
    refused: the whole run, a step, or what somebody named.
    """
    bits = exit_bits(result, FAIL_ON[settings.fail_on])
    done = [deed for deed in deeds if deed.outcome is Outcome.DONE]
    if done:
        bits |= ExitBits.MENDED
    if plan.refusal or len(done) < len(deeds) or (order.words and plan.left_alone):
        bits |= ExitBits.NOT_DONE
    return bits
