"""What Rich makes of a report: a text, plain or with ANSI colours, wrapped or in whole lines."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from gcd.report import lines

_WHOLE_LINES = 1_000_000
_NARROWEST = 20
"""Of fewer columns than it indents Rich leaves out the text."""


def rendered(parts: Iterable[RenderableType], *, width: int | None, colour: bool) -> str:
    """
    `parts` below each other, wrapped to `width` columns if given, but for texts with `no_wrap`; with `colour` the text
    carries ANSI colours.
    """
    console = Console(
        file=io.StringIO(),
        width=max(width or _WHOLE_LINES, _NARROWEST),
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


def placed(indent: int, line: lines.Text) -> RenderableType:
    """`line` as a block with a margin; what somebody may copy stays one line, however long."""
    text = Text.assemble(*line.parts, no_wrap=line.no_wrap or None)
    if line.no_wrap:
        return Text(" " * indent, no_wrap=True).append_text(text)
    return Padding(text, (0, 0, 0, indent), expand=False) if text else text
