"""
By which names this host is asked, where nobody needs a password.

A page of a stranger may have its own name lead to this host (DNS rebinding), and then read what is shown with the
browser of somebody who can connect. The browser says that name as Host. So a request must say an address, localhost,
a name of this host, or the one that it listens by.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Executor

FRESH_SECONDS = 10.0
"""The full name, for which the resolver may have to ask others, is asked for anew after so long, at the earliest."""


class Hosts:
    """`listening` is the name or address in ``web.listen_address``; `workers` wait for the resolver."""

    def __init__(self, listening: str, workers: Executor) -> None:
        self._listening = listening.lower()
        self._workers = workers
        self._full: asyncio.Future[str] | None = None
        self._asked = 0.0

    async def has(self, said: str) -> bool:
        """Whether the Host header `said` is one of them. Without any, which no browser leaves out, it is."""
        name = _name(said)
        if not name or _is_address(name):
            return True
        if name in {"localhost", self._listening, socket.gethostname().lower()}:
            return True
        return name == (await self._full_name()).lower()

    async def _full_name(self) -> str:
        loop = asyncio.get_running_loop()
        if self._full is None or (self._full.done() and loop.time() - self._asked > FRESH_SECONDS):
            self._full = loop.run_in_executor(self._workers, socket.getfqdn)
            self._asked = loop.time()
        await asyncio.wait({self._full})
        return self._full.result()


def _name(said: str) -> str:
    """Without the port, and without the dot at the end that a full name may have."""
    bracketed, bracket, _ = said.strip().lower().partition("]")
    if bracket:
        return bracketed.removeprefix("[")
    return bracketed.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
