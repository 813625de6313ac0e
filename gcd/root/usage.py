"""
How many bytes of disk trees below a root take.

Disk usage is what the file system has allocated (``st_blocks`` of 512 bytes), as ``du`` counts it: sparse files count
for what they hold, a file counts once in a group however many names it has there, symlinks count themselves and are
never followed, and a mounted file system is not entered (its mountpoint counts nothing, as it is another device).

Names come and go while gcd walks: what vanished is not counted, what cannot be read is (`gcd.root.descent`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from gcd.model.reading import Absent, Present
from gcd.root.descent import BLOCK, Descent
from gcd.root.shares import signals_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from gcd.root.tree import Directory

K = TypeVar("K")

WORKERS = 4

PULSE_SECONDS = 0.5


class Usage(Struct, frozen=True):
    """
    What a group of trees takes: bytes on disk and inodes.

    `unreadable` counts what could not be read, so that the figures are lower bounds when it is not 0.
    """

    disk_bytes: int
    inodes: int
    unreadable: int = 0


def measure(
    root: Directory,
    groups: Mapping[K, Sequence[str]],
    *,
    workers: int = WORKERS,
    pulse: Callable[[], None] | None = None,
) -> dict[K, Usage]:
    """
    The usage of each group of paths, which are relative to `root`.

    Paths of a group may lie within one another; a path that is not there counts nothing. Groups are measured apart from
    each other, `workers` at a time: what two of them share counts in both. `pulse` is called now and then as long as
    anything is counted. What it raises ends the measuring, after the trees in hand, as what a signal raises does.
    """
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - takes longer than the run of a small root

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="gcd-usage") as pool:
        descents: list[Descent] = []
        try:
            with signals_held():
                futures = {key: pool.submit(_usage_of, root, tuple(paths), descents) for key, paths in groups.items()}
            if pulse is not None:
                _wait(futures.values(), descents, pulse)
            return {key: future.result() for key, future in futures.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _wait(futures: Iterable[Future[Usage]], descents: Sequence[Descent], pulse: Callable[[], None]) -> None:
    """Wait for all of `futures`, with a pulse whenever some tree got on: one that hangs has none."""
    from concurrent.futures import wait  # noqa: PLC0415 - as above

    pending, before = set(futures), (0, 0)
    while pending:
        _, pending = wait(pending, timeout=PULSE_SECONDS)
        counted = sum(descent.sums()[1] + len(descent.links) for descent in tuple(descents))
        if (counted, len(pending)) != before:
            pulse()
        before = (counted, len(pending))


def _usage_of(root: Directory, paths: tuple[str, ...], under_way: list[Descent]) -> Usage:
    descents: dict[int, Descent] = {}
    unreadable = 0
    for path in _outermost(paths):
        *parents, name = path.split("/")
        here = root.open_path("/".join(parents)) if parents else Present(root)
        if not isinstance(here, Present):
            unreadable += not isinstance(here, Absent)
            continue
        try:
            device = here.value.stat().st_dev
            if device not in descents:
                descents[device] = Descent(device)
                under_way.append(descents[device])
            descents[device].count(here.value.fd, name)
        finally:
            if here.value is not root:
                here.value.close()
    blocks = inodes = 0
    for descent in descents.values():
        own_blocks, own_inodes, _ = descent.sums()
        blocks += own_blocks + sum(shared for shared, _ in descent.links.values())
        inodes += own_inodes + len(descent.links)
        unreadable += descent.unreadable
    return Usage(blocks * BLOCK, inodes, unreadable)


def _outermost(paths: tuple[str, ...]) -> list[str]:
    """The paths that do not lie within another, each once."""
    outermost: list[str] = []
    for path in sorted(paths, key=lambda path: path.split("/")):
        if not outermost or not f"{path}/".startswith(f"{outermost[-1]}/"):
            outermost.append(path)
    return outermost
