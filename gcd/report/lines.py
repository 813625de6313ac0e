"""
Lines of a report: plain, and whole however long; or as Rich wraps and colours them, which takes longer to import than
most reports to write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

STYLES = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


class Text:
    """
    `parts` of one line, all of them printable, each with a style of Rich's. With `no_wrap` they stay one line on
    narrow terminals, too: what somebody may copy.
    """

    __slots__ = ("no_wrap", "parts")

    def __init__(self, *parts: str | tuple[str, str], style: str = "", no_wrap: bool = False) -> None:
        self.parts = tuple((part, style) if isinstance(part, str) else part for part in parts)
        self.no_wrap = no_wrap

    @property
    def plain(self) -> str:
        return "".join(text for text, _ in self.parts)


Line = tuple[int, Text]
"""Columns of indentation, and the text."""


def written(lines: Iterable[Line], *, width: int | None, colour: bool) -> str:
    """`lines` below each other, wrapped to `width` columns if given; with `colour` they carry ANSI colours."""
    if width is None and not colour:
        return "".join(f"{' ' * indent}{text.plain}".rstrip() + "\n" for indent, text in lines)
    from gcd.report.console import placed, rendered  # noqa: PLC0415 - Rich is for terminals

    return rendered((placed(indent, text) for indent, text in lines), width=width, colour=colour)
