"""What is rendered once and shown to many: kept for as long as what it was made of is the latest."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

GZIP_LEVEL = 5

Source = TypeVar("Source")


class Rendered(Struct, frozen=True):
    plain: bytes
    packed: bytes
    """The same, by gzip."""


class Renderer:
    """Renders in `workers`, where it holds up no other client. However many ask at once, it is done once."""

    def __init__(self, workers: Executor) -> None:
        self._workers = workers
        self._kept: dict[str, tuple[object, asyncio.Future[Rendered]]] = {}

    async def rendered(self, name: str, source: Source, render: Callable[[Source], bytes]) -> Rendered:
        """`source`, rendered; what was kept as `name` is given if it was made of the very same object."""
        of, future = self._kept.get(name, (None, None))
        if future is None or of is not source or (future.done() and future.exception() is not None):
            future = asyncio.get_running_loop().run_in_executor(self._workers, _render, source, render)
            self._kept[name] = (source, future)
        return await asyncio.shield(future)


def _render(source: Source, render: Callable[[Source], bytes]) -> Rendered:
    plain = render(source)
    return Rendered(plain, gzip.compress(plain, GZIP_LEVEL, mtime=0))
