"""The text report on stdout: wrapped and coloured on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from gcd.report.text import text_report
from gcd.rules.document import remedy_in_words
from gcd.rules.table import RULES

if TYPE_CHECKING:
    from gcd.model.result import RunResult


def show(result: RunResult) -> None:
    width, colour = width_and_colour()
    click.echo(report(result, width=width, colour=colour), nl=False, color=colour)


def report(result: RunResult, *, width: int | None = None, colour: bool = False) -> str:
    """The text report, with what the rules advise."""
    codes = {finding.code for finding in result.findings}
    advice = {rule.code: remedy_in_words(rule) for rule in RULES if rule.code in codes}
    return text_report(result, width=width, colour=colour, advice=advice)


def width_and_colour() -> tuple[int | None, bool]:
    """The columns of the terminal that stdout is, None if it is none, and whether it may have colours."""
    if not sys.stdout.isatty():
        return None, False
    import shutil  # noqa: PLC0415 - with the four kinds of compression that it knows

    return shutil.get_terminal_size().columns, may_colour()


def may_colour() -> bool:
    """See no-color.org; a dumb terminal has no colours either."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
