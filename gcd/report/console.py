"""What Rich makes of a report: a text, plain or with ANSI colours, wrapped or in whole lines."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from gcd.model.finding import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

STYLES = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}

_WHOLE_LINES = 1_000_000


def rendered(parts: Iterable[RenderableType], *, width: int | None, colour: bool) -> str:
    """
    `parts` below each other, wrapped to `width` columns if given, but for texts with `no_wrap`; with `colour` the text
    carries ANSI colours.
    """
    console = Console(
        file=io.StringIO(),
        width=width or _WHOLE_LINES,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))
    return "\n".join(line.rstrip() for line in capture.get().split("\n"))
