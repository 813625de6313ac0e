"""
``gcd boot``: before the engine starts, mend what would keep it from starting, and nothing else (safety rule S23).

What a container is made of is never touched here: an unreadable config of one (GCD307) is moved aside only if the
policy of the settings names that code itself.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

import click
from msgspec.structs import replace

from gcd.commands.acting import tell_recovered
from gcd.commands.audit import Audit
from gcd.commands.check import level
from gcd.commands.output import keep_out
from gcd.commands.undertaking import Undertaking
from gcd.commands.wishes import policy_of
from gcd.model.errors import ExitBits, NotADockerRoot, RootNotFound
from gcd.model.facts import EngineState
from gcd.model.finding import Code, Confidence, Severity
from gcd.model.plan import Outcome
from gcd.planning import Wish, identity_of
from gcd.policy.policy import Policy, Verb
from gcd.report.deeds import deed_line
from gcd.report.printable import printable
from gcd.root.discover import detect_store, find_root
from gcd.rules.table import RULES
from gcd.settings import load

if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from gcd.model.finding import Finding
    from gcd.model.plan import Deed, Plan
    from gcd.model.result import RunResult
    from gcd.settings import Settings

SECONDS: Final = 60
"""How long a boot is held up at most."""

MENDED: Final = Code("GCD403")
"""``repositories.json``: the one thing that is mended without being asked."""

NAMED: Final = Code("GCD307")
"""Configs of containers: only where the policy names the code."""

_CRITICAL: Final = frozenset(rule.code for rule in RULES if rule.severity is Severity.CRITICAL)
"""What is looked for: a boot does not wait until orphans are measured."""


class OutOfTime(KeyboardInterrupt):
    """Raised wherever the work is; as safe as any kill: what was begun is finished or undone at the next start."""


@click.command()
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of daemon.json.")
@click.option("-v", "--verbose", count=True, help="Log more to stderr; twice for still more.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
def boot(*, root: str | None, verbose: int, quiet: bool) -> ExitBits:
    """
    Before the engine starts, mend what would keep it from starting. Nothing else is touched, and 60 s are enough or it
    is given up. What was replaced is kept: gcd quarantine restore puts it back.
    """
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return _booted(load({"root": root, "log_level": level(verbose, quiet=quiet)}).settings)
    except OutOfTime:
        click.echo(f"gcd: the {SECONDS} s of gcd boot are over; what was begun is undone at the next start", err=True)
        return ExitBits.NOT_DONE
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _out_of_time(_number: int, _frame: FrameType | None) -> NoReturn:
    raise OutOfTime


def _booted(settings: Settings) -> ExitBits:
    path = find_root(None if settings.root is None else str(settings.root))
    try:
        store = detect_store(path)
    except (RootNotFound, NotADockerRoot) as error:
        click.echo(f"There is nothing to mend: {printable(str(error))}")
        return ExitBits.CLEAN
    keep_out(store.path, "boot", {"state_dir": str(settings.state_dir)})
    undertaking = Undertaking(store, Wish(policy=_policy(settings), codes=_CRITICAL))
    result, plan = undertaking.plan()
    if result.engine.state is EngineState.RUNNING:
        click.echo("There is nothing to mend: the engine runs.")
        return ExitBits.CLEAN
    critical, doubtful = _critical(result), _doubtful(result)
    for finding in doubtful:
        told = f"{finding.id}: {finding.summary}"
        click.echo(f"gcd: perhaps the engine will not start, this is too young to be sure: {printable(told)}", err=True)
    if doubtful and not critical:
        return ExitBits.NOT_DONE
    if not critical:
        click.echo("Nothing that gcd knows of keeps the engine from starting.")
        return ExitBits.NOT_DONE if result.not_checked else ExitBits.CLEAN
    deeds = _carried_out(undertaking, settings, plan)
    left = critical - {deed.step.finding.id for deed in deeds if deed.outcome is Outcome.DONE}
    _tell_what_is_left(result, plan, deeds, left)
    bits = ExitBits.NOT_DONE if doubtful else ExitBits.CLEAN
    return ExitBits.FINDINGS_LEFT | ExitBits.NOT_DONE if left else bits


def _policy(settings: Settings) -> Policy:
    owners = policy_of(settings)
    named = {NAMED: owners.codes[NAMED]} if NAMED in owners.codes else {}
    return Policy(codes={MENDED: (Verb.REPAIR,), **named}, protection=owners.protection, is_offline=owners.is_offline)


def _critical(result: RunResult) -> frozenset[str]:
    return frozenset(finding.id for finding in result.findings if finding.severity is Severity.CRITICAL)


def _doubtful(result: RunResult) -> list[Finding]:
    """What may be critical, but is suspected so far: of a thing so young it is not said how bad it is."""
    return [f for f in result.findings if f.code in _CRITICAL and f.confidence is Confidence.SUSPECTED]


def _carried_out(undertaking: Undertaking, settings: Settings, plan: Plan) -> list[Deed]:
    steps = tuple(step for step in plan.steps if step.finding.severity is Severity.CRITICAL)
    deeds: list[Deed] = []

    def told(deed: Deed) -> None:
        deeds.append(deed)
        click.echo(deed_line(deed))

    if steps:
        root = undertaking.store.path
        with Audit(settings, identity_of(root), root) as audit:
            undertaking.carry_out(replace(plan, steps=steps), audit, told, tell_recovered, lambda _: None)
    return deeds


def _tell_what_is_left(result: RunResult, plan: Plan, deeds: list[Deed], left: frozenset[str]) -> None:
    """What still keeps the engine from starting, and why nothing was done about it, on stderr."""
    whys = {item.finding.id: item.why for item in plan.left_alone} | {d.step.finding.id: d.why for d in deeds if d.why}
    for finding in result.findings:
        if finding.id in left:
            why = plan.refusal or whys.get(finding.id, "")
            told = f"{finding.id}: {finding.summary}{f' ({why})' if why else ''}"
            click.echo(f"gcd: the engine will not start: {printable(told)}; gcd explain {finding.code}", err=True)
