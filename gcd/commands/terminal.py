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
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else None
    is_coloured = is_terminal and may_colour()
    click.echo(report(result, width=width, colour=is_coloured), nl=False, color=is_coloured)


def report(result: RunResult, *, width: int | None = None, colour: bool = False) -> str:
    """The text report, with what the rules advise."""
    advice = {rule.code: remedy_in_words(rule) for rule in RULES}
    return text_report(result, width=width, colour=colour, advice=advice)


def may_colour() -> bool:
    """See no-color.org; a dumb terminal has no colours either."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
