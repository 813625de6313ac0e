"""``gcd check``: one run, its report, its exit status."""

from __future__ import annotations

import gc
import json
import sys
import time
from typing import TYPE_CHECKING

import click

from gcd.commands.codes import selected
from gcd.commands.output import PUBLIC, keep_out, write
from gcd.commands.progress import ProgressBar
from gcd.commands.terminal import report, width_and_colour
from gcd.model.finding import Severity
from gcd.model.result import exit_bits
from gcd.report.json import json_report, report_object
from gcd.root.discover import find_root
from gcd.run import collecting_no_cycles, result_of, see
from gcd.settings import FailOn, LogFormat, LogLevel, ReportFormat, Settings, load

if TYPE_CHECKING:
    from gcd.model.errors import ExitBits
    from gcd.model.finding import Code
    from gcd.model.plan import Plan
    from gcd.model.result import RunResult
    from gcd.run import Sight

FAIL_ON = {FailOn.ERROR: Severity.ERROR, FailOn.WARNING: Severity.WARNING, FailOn.NEVER: None}


@click.command()
@click.option("--root", metavar="DIR", help="The Docker root. Without it gcd finds that of the running engine.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show too what gcd apply would do. gcd check never does anything, with it or without.",
)
@click.option(
    "--format", "form", type=click.Choice([str(form) for form in ReportFormat]), help="text (default) or json."
)
@click.option("--only", multiple=True, metavar="CODE", help="Run only this rule; may be given more than once.")
@click.option("--skip", multiple=True, metavar="CODE", help="Do not run this rule; may be given more than once.")
@click.option(
    "--fail-on",
    type=click.Choice([str(level) for level in FailOn]),
    help="The least severity that makes the exit status 4 (default: warning).",
)
@click.option("--output", metavar="FILE", help="Write the report to FILE, not to stdout.")
@click.option("--textfile", metavar="FILE", help="Write metrics too, for the textfile collector of node_exporter.")
@click.option("--record", "is_recorded", is_flag=True, help="Keep what was seen, and when, in the state directory.")
@click.option("-v", "--verbose", count=True, help="Log more to stderr; twice for still more.")
@click.option("-q", "--quiet", is_flag=True, help="Log errors only.")
def check(  # noqa: PLR0913 - one parameter a flag
    *,
    root: str | None,
    dry_run: bool,
    form: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    fail_on: str | None,
    output: str | None,
    textfile: str | None,
    is_recorded: bool,
    verbose: int,
    quiet: bool,
) -> ExitBits:
    """
    Say what is wrong with a Docker root: orphans, damage, and what they cost.

    Reads only. Run it as root on the host, engine running or stopped. With --dry-run the report is followed by what
    gcd apply would do by the policy of the settings.
    """
    flags = {"root": root, "format": form, "only": only or None, "skip": skip or None, "fail_on": fail_on}
    settings = load({**flags, "log_level": level(verbose, quiet=quiet)}).settings
    codes = selected(settings.only, settings.skip)
    path = find_root(None if settings.root is None else str(settings.root))
    # A check writes nothing below a root, not even what it was asked to write elsewhere.
    state_dir = str(settings.state_dir) if is_recorded else None
    keep_out(path, "check", {"--output": output, "--textfile": textfile, "state_dir": state_dir})
    result, plan = _checked(path, settings, codes, is_planned=dry_run)
    if settings.log_level in {LogLevel.DEBUG, LogLevel.INFO}:
        _log(result, settings)
    _deliver(result, plan, settings.format, output)
    if textfile is not None:
        from gcd import metrics  # noqa: PLC0415 - prometheus-client is for those who have it written
        from gcd.commands.contents import known_contents  # noqa: PLC0415 - SQLite, too

        write(textfile, metrics.textfile(result, known_contents(settings, path)), mode=PUBLIC)
    if is_recorded:
        from gcd.commands.record import record  # noqa: PLC0415 - SQLite is for those who keep something

        record(settings, path, result, codes)
    return exit_bits(result, FAIL_ON[settings.fail_on])


def level(verbose: int, *, quiet: bool) -> LogLevel | None:
    """What the flags -v and -q say of the log, None if nothing."""
    if quiet:
        return LogLevel.ERROR
    return {0: None, 1: LogLevel.INFO}.get(verbose, LogLevel.DEBUG)


def _log(result: RunResult, settings: Settings) -> None:
    """What only those hear of who ask for it; the others do not wait for structlog's tenth of a second."""
    import structlog  # noqa: PLC0415

    from gcd import logs  # noqa: PLC0415

    is_json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stderr.isatty()
    )
    logs.configure(settings.log_level, json=is_json)
    log = structlog.get_logger()
    for source, state in result.sources.items():
        if state.why:
            log.info("source", source=source, coverage=state.coverage, why=state.why)
    log.info(
        "checked",
        root=result.root,
        engine=result.engine.state,
        findings=dict(result.summary.by_severity),
        not_checked=len(result.not_checked),
        seconds=round(result.duration_ns / 1e9, 3),
    )


def _checked(
    path: str, settings: Settings, codes: frozenset[Code], *, is_planned: bool
) -> tuple[RunResult, Plan | None]:
    """The result of the run, and with `is_planned` what would be done about its findings."""
    with ProgressBar() as progress:
        if is_planned:
            from gcd.commands.plan import planned_beside  # noqa: PLC0415 - most checks plan nothing

            return planned_beside(path, settings, codes, progress)
        now_ns, began_ns = time.time_ns(), time.monotonic_ns()
        with collecting_no_cycles():
            sight = see(path, now_ns=now_ns, codes=codes, progress=progress)
            _leave(sight)
            accepted = settings.acceptances
            return result_of(sight, now_ns=now_ns, began_ns=began_ns, codes=codes, acceptances=accepted), None


def _leave(sight: Sight) -> None:
    """
    Leave `sight` to the end of the process, if it ends with this command: nobody gains from taking the million values
    of a big root apart one by one.
    """
    left = click.get_current_context().obj
    if left is not None:
        left.append(sight)
        gc.freeze()


def _deliver(result: RunResult, plan: Plan | None, form: ReportFormat, output: str | None) -> None:
    is_json = form is ReportFormat.JSON
    if output is not None:
        write(output, _json(result, plan) if is_json else _text(result, plan))
    elif is_json:
        click.echo(_json(result, plan), nl=False)
    else:
        width, colour = width_and_colour()
        click.echo(_text(result, plan, width=width, colour=colour), nl=False, color=colour)


def _text(result: RunResult, plan: Plan | None, *, width: int | None = None, colour: bool = False) -> str:
    text = report(result, width=width, colour=colour)
    if plan is None:
        return text
    from gcd.report.plan_text import plan_text  # noqa: PLC0415

    return f"{text}\n{plan_text(plan, width=width, colour=colour)}"


def _json(result: RunResult, plan: Plan | None) -> str:
    if plan is None:
        return json_report(result)
    from gcd.formats.planfile import shown_plan  # noqa: PLC0415

    return json.dumps({**report_object(result), "plan": shown_plan(plan)}, indent=2) + "\n"
