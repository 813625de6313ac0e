"""
The pictures that the README shows: ``python bench/pictures.py``. Needs Chromium.

Both are of the root that ``gcd demo`` builds: the report is what ``gcd check`` prints of it, cut after the first
findings; the page is what ``gcd run`` would serve. The days before, which a new root does not have, are made up.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace
from rich.console import Console
from rich.text import Text

from gcd.commands.terminal import report
from gcd.demo.scene import build_scene
from gcd.model.audit import ActKind
from gcd.model.plan import Outcome
from gcd.model.published import BUCKETS_SECONDS, Durations, Holding, Point, Published, Scope, Tally
from gcd.run import check
from gcd.web.page import Shot, page

if TYPE_CHECKING:
    from gcd.model.result import RunResult

PROJECT = Path(__file__).resolve().parent.parent
IMAGES = PROJECT / "docs" / "images"
sys.path.append(str(PROJECT / "tests"))

from support.browser import Browser  # noqa: E402 - the browser of the tests

HOUR_NS = 3_600_000_000_000
COLUMNS = 108
LINES = 44
ROOT = "/var/lib/docker"
PAGE = (1180, 1560)
"""Pixels."""


def looked_at() -> RunResult:
    """What a check finds there two hours later, told as if it were the usual root."""
    with tempfile.TemporaryDirectory() as place:
        root = build_scene(Path(place) / "docker").root
        result = check(str(root), now_ns=time.time_ns() + 2 * HOUR_NS)
    return replace(result, root=ROOT)


def picture_of_report(result: RunResult) -> str:
    lines = report(result, width=COLUMNS, colour=True).splitlines()
    last = max(number for number, line in enumerate(lines[:LINES]) if not line)
    # The terminal of the picture is as wide as the text: what is copied, and so not wrapped, goes on in the next line.
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("\n".join([*lines[:last], "", "…"])))
    svg = console.export_svg(title="gcd check")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def picture_of_page(result: RunResult, file: Path) -> None:
    now_ns, size = result.checked_ns, result.summary.orphaned_bytes
    days = [int(size * (0.12 + 0.88 * ((n + 48) % 96 // 7 * 7) / 91)) for n in range(14 * 24)]
    history = tuple(Point(now_ns - (len(days) - n) * HOUR_NS, bytes_) for n, bytes_ in enumerate(days))
    none = (0,) * (len(BUCKETS_SECONDS) - 3)
    published = Published(
        result,
        Tally(
            acts={(ActKind.QUARANTINE, Outcome.DONE): 9, (ActKind.RELEASE, Outcome.DONE): 4},
            refusals={},
            durations={
                Scope.FULL: Durations((0, 1300, 44, 0, *none), 31.0),
                Scope.INCREMENTAL: Durations((5210, 12, 0, 0, *none), 9.0),
            },
            reclaimed_bytes=3 * size,
            watch_events=48_112,
        ),
        {Scope.FULL: now_ns - 4 * HOUR_NS // 60, Scope.INCREMENTAL: now_ns},
        reclaimable_bytes=result.summary.proven_bytes,
        holding=Holding(5 * size, 9, now_ns - 6 * 24 * HOUR_NS),
        history=(*history, Point(now_ns, size)),
    )
    with tempfile.TemporaryDirectory() as home:
        html = Path(home) / "page.html"
        html.write_bytes(page(Shot(published, "docker-17", now_ns + 12_000_000_000)))
        Browser(Path(home)).take_picture(f"file://{html}", file, width=PAGE[0], height=PAGE[1])


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    result = looked_at()
    (IMAGES / "check.svg").write_text(picture_of_report(result))
    picture_of_page(result, IMAGES / "page.png")


if __name__ == "__main__":
    main()
