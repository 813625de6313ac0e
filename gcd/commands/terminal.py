"""The text report on stdout: wrapped and coloured on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
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
    advice = {rule.code: remedy_in_words(rule) for rule in RULES}
    return text_report(result, width=width, colour=colour, advice=advice)


def width_and_colour() -> tuple[int | None, bool]:
    """The columns of the terminal that stdout is, None if it is none, and whether it may have colours."""
    if not sys.stdout.isatty():
        return None, False
    return shutil.get_terminal_size().columns, may_colour()


def may_colour() -> bool:
    """See no-color.org; a dumb terminal has no colours either."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
