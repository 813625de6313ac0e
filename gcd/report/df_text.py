"""
Disk usage as text for people: whose the bytes are, what Docker says and why, then the images and containers.

Plain lines, the same on a terminal and in a file. Names from the root are escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.space import Category
from gcd.report.df_words import engine_rows, reasons, uncounted
from gcd.report.printable import printable
from gcd.report.units import counted, iec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcd.model.space import ContainerSpace, DiskUsage, ImageSpace, Space

SHOWN = 20
"""Rows of a table; JSON has all."""
NAMES_SHOWN = 3
"""Of an image, which may have hundreds."""

_ENGINE = {"running": "engine running", "stopped": "engine stopped", "unknown": "state of the engine unknown"}
_DOCKER_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

Row = tuple[str, ...]


def df_text(usage: DiskUsage) -> str:
    return "\n".join(line.rstrip() for line in _lines(usage)) + "\n"


def docker_size(size: int) -> str:
    """``12.34MB``, as Docker's commands print it: four digits, units of 1000."""
    value, power = float(size), 0
    while value >= 1000 and power < len(_DOCKER_UNITS) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.4g}{_DOCKER_UNITS[power]}"


def _lines(usage: DiskUsage) -> Iterator[str]:
    where = f"{printable(usage.root)} ({printable(usage.store)}, {_ENGINE[usage.engine]})"
    yield f"{where}: {iec(usage.total.disk_bytes)} in {counted(usage.total.inodes, 'inode')}, as du -x counts."
    yield from _warnings(usage)
    yield ""
    yield from _table(("WHAT FOR", "ON DISK", "INODES"), list(_shares(usage)))
    yield ""
    yield "What docker system df would say:"
    yield ""
    yield from _table(("", "COUNT", "IT SAYS", "ON DISK"), list(_engine(usage)))
    yield ""
    for category, reason in reasons(usage).items():
        yield f"{category}: {reason}"
    if left_out := uncounted(usage):
        yield left_out
    if usage.images:
        yield ""
        head: Row = ("IMAGE", "UNIQUE", "SHARED", "LAYERS", "DOCKER SAYS", "OF IT SHARED")
        yield from _table(head, [_image(image) for image in usage.images[:SHOWN]])
        yield from _rest(len(usage.images))
    if usage.containers:
        yield ""
        head = ("CONTAINER", "RW LAYER", "LOGS", "FILES", "DOCKER SAYS")
        yield from _table(head, [_container(container) for container in usage.containers[:SHOWN]])
        yield from _rest(len(usage.containers))


def _warnings(usage: DiskUsage) -> Iterator[str]:
    if usage.unreadable:
        what = (
            f"{counted(usage.unreadable, 'directory or file')}"
            if usage.unreadable == 1
            else (f"{usage.unreadable} directories or files")
        )
        yield f"! {what} could not be read: the figures are lower bounds. Run gcd as root."
    if usage.not_checked:
        codes = ", ".join(dict.fromkeys(item.code for item in usage.not_checked))
        why = "; ".join(dict.fromkeys(printable(item.why) for item in usage.not_checked if item.why))
        yield f"! Orphans of {codes} were not looked for, and count elsewhere{': ' + why if why else ''}."


def _shares(usage: DiskUsage) -> Iterator[Row]:
    for category in Category:
        parts = {part: space for (found, part), space in usage.shares.items() if found is category}
        yield _row(str(category), usage.of(category))
        if any(parts):
            yield from (_row(f"  {printable(part)}", space) for part, space in parts.items())
    yield _row("total", usage.total)


def _row(name: str, space: Space) -> Row:
    return (name, iec(space.disk_bytes), str(space.inodes))


def _engine(usage: DiskUsage) -> Iterator[Row]:
    for category, row in engine_rows(usage).items():
        yield (str(category), str(row.count), docker_size(row.size_bytes), iec(usage.of(category).disk_bytes))


def _image(image: ImageSpace) -> Row:
    says, shared = (
        "?" if size is None else docker_size(size) for size in (image.engine_bytes, image.engine_shared_bytes)
    )
    name = ", ".join(map(printable, image.references[:NAMES_SHOWN]))
    if len(image.references) > NAMES_SHOWN:
        name += f" and {len(image.references) - NAMES_SHOWN} more"
    return (name, iec(image.unique.disk_bytes), iec(image.shared.disk_bytes), str(image.layers), says, shared)


def _container(container: ContainerSpace) -> Row:
    sizes = (container.rw, container.logs, container.files)
    return (
        printable(container.name),
        *(iec(space.disk_bytes) for space in sizes),
        docker_size(container.engine_bytes),
    )


def _rest(count: int) -> Iterator[str]:
    if count > SHOWN:
        yield f"… and {count - SHOWN} more; --format json lists all"


def _table(head: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Columns as wide as their widest cell, the first to the left and figures to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join((row[0].ljust(widths[0]), *cells))
