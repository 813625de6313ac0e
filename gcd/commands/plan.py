"""``gcd plan``: what would be done about findings, in its order, and why the rest is left alone. Does nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from gcd import planning
from gcd.commands.check import level
from gcd.commands.listing import listed
from gcd.commands.output import PRIVATE, keep_out, write
from gcd.commands.progress import ProgressBar
from gcd.commands.terminal import width_and_colour
from gcd.commands.wishes import demand_found, wish_of
from gcd.formats.planfile import MOST_BYTES, plan_json, shown_plan_json
from gcd.model.errors import CannotAct, ExitBits, GcdError
from gcd.report.plan_text import plan_text
from gcd.report.units import iec
from gcd.root.discover import detect_store, find_root
from gcd.settings import ReportFormat, load

if TYPE_CHECKING:
    from gcd.model.facts import Listed
    from gcd.model.finding import Code
    from gcd.model.plan import Plan
    from gcd.model.result import RunResult
    from gcd.settings import Settings


@click.command()
@click.argument("words", nargs=-1, metavar="[CODE|ID]...")
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option("-o", "--output", metavar="FILE", help="Save the plan to FILE too, for gcd apply FILE within an hour.")
@click.option(
    "--format", "form", type=click.Choice([str(form) for form in ReportFormat]), help="text (default) or json."
)
@click.option("--allow-empty", is_flag=True, help="It is right that this root has no image: all were removed.")
@click.option("--socket", metavar="PATH", help="The socket of the engine's API, where gcd does not find it.")
@click.option("-v", "--verbose", count=True, help="Log more to stderr; twice for still more.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
def plan(
    *,
    words: tuple[str, ...],
    root: str | None,
    output: str | None,
    form: str | None,
    allow_empty: bool,
    socket: str | None,
    verbose: int,
    quiet: bool,
) -> ExitBits:
    """
    Show what gcd apply would do by the policy of the settings: about each CODE, or just the finding ID; without any,
    about all findings. Changes nothing.
    """
    settings = load({"root": root, "format": form, "log_level": level(verbose, quiet=quiet)}).settings
    path = detect_store(find_root(None if settings.root is None else str(settings.root))).path
    keep_out(path, "plan", {"--output": output})
    wish = replace(wish_of(settings, path, words, allow_empty=allow_empty), listing=lambda: listed(path, socket or ""))
    with ProgressBar() as progress:
        result, made = planning.plan(path, now_ns=time.time_ns(), wish=wish, progress=progress)
    demand_found(wish.selection, result)
    if output is not None:
        _save(output, made)
    click.echo(shown_plan_json(made) if settings.format is ReportFormat.JSON else on_terminal(made), nl=False)
    return bits_of(result, made)


def _save(output: str, made: Plan) -> None:
    """`GcdError` where ``gcd apply`` would not read it."""
    text = plan_json(made)
    if len(text) > MOST_BYTES:
        raise GcdError(
            f"the plan has {iec(len(text))}, more than the {iec(MOST_BYTES)} that gcd apply reads:"
            " name fewer findings, or let gcd apply make the plan itself"
        )
    # It holds the files that repairs would write, among them configs of containers with their environment.
    write(output, text, mode=PRIVATE)


def planned_beside(
    path: str, settings: Settings, codes: frozenset[Code], progress: ProgressBar
) -> tuple[RunResult, Plan]:
    """A check with its plan. An engine that cannot be asked takes nothing from a check; gcd apply will insist on it."""

    def listing() -> Listed | None:
        try:
            return listed(path)
        except CannotAct:
            return None

    wish = replace(wish_of(settings, path), codes=codes, listing=listing)
    return planning.plan(path, now_ns=time.time_ns(), wish=wish, progress=progress)


def on_terminal(made: Plan) -> str:
    width, colour = width_and_colour()
    return plan_text(made, width=width, colour=colour)


def bits_of(result: RunResult, made: Plan) -> ExitBits:
    """FINDINGS_LEFT where there is something to do; NOT_DONE where nothing may be, or something was not checked."""
    bits = ExitBits.FINDINGS_LEFT if made.steps else ExitBits.CLEAN
    return bits | ExitBits.NOT_DONE if made.refusal or result.not_checked else bits
