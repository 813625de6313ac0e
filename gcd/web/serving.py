"""
A server that shows what is latest, in a thread of its own.

uvicorn's protocol, h11 below it, reads requests and frames answers; asyncio listens and does TLS. WSGI servers were
tried first: with 150 clients that send a byte now and then, cheroot 11.1 (a thread a request) and waitress 3.0 (a limit
of connections) answered nobody else within 15 s; an event loop answers at once (bench/slowclients.py).
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from uvicorn import Config
from uvicorn.server import ServerState

from gcd.web.access import Access
from gcd.web.app import App
from gcd.web.door import REQUEST_BYTES, Door
from gcd.web.hosts import Hosts
from gcd.web.listening import address_of, host_of, listen, tls_context

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gcd.model.published import Published

_LAST_WORDS_SECONDS = 0.3
"""What answers under way have when a server ends."""


def serve(
    latest: Callable[[], Published | None],
    *,
    listen_address: str,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    users: Mapping[str, str] | None = None,
) -> Server:
    """
    Serve what is `latest` at `listen_address`, with TLS if there is a certificate with its key, to `users` (a bcrypt
    hash by name) or, without any, to everybody who asks this host by a name of its own. Raises `CannotListen`, and then
    nothing has begun.
    """
    access = Access(users) if users else None
    tls = tls_context(tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    return Server(latest, listen(listen_address), tls, access, host_of(listen_address))


class Server:
    """It has begun when it is made; the latest result is asked for from its own threads."""

    def __init__(
        self,
        latest: Callable[[], Published | None],
        listener: socket.socket,
        tls: ssl.SSLContext | None,
        access: Access | None,
        listening: str,
    ) -> None:
        self.address = address_of(listener)
        """``host:port``, with the port that was found where 0 was asked for."""
        self._latest = latest
        self._listener = listener
        self._tls = tls
        self._access = access
        self._listening = listening
        self._has_begun = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name="gcd-web", daemon=True)
        self._thread.start()
        self._has_begun.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more, let answers under way go out if they are quick, and end. At most some seconds."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(5)

    def _live(self) -> None:
        try:
            asyncio.run(self._run())
        finally:
            # Whatever ended it: nobody waits for its beginning any more.
            self._has_begun.set()

    async def _run(self) -> None:
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's own
        with ThreadPoolExecutor(2, thread_name_prefix="gcd-web-work") as workers, self._listener:
            app = App(self._latest, self._access or Hosts(self._listening, workers), workers)
            config = Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="critical",  # of what clients do wrong nothing is logged; App logs what is wrong here
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                h11_max_incomplete_event_size=REQUEST_BYTES,
            )
            config.load()
            state = ServerState()
            door = Door(self._listener, self._tls, config, state)
            self._loop = asyncio.get_running_loop()
            keeping = self._loop.create_task(door.keep())
            ending = self._loop.create_task(self._ending.wait())
            self._has_begun.set()
            await asyncio.wait((keeping, ending), return_when=asyncio.FIRST_COMPLETED)
            keeping.cancel()
            self._listener.close()
            if state.tasks:
                await asyncio.wait(state.tasks, timeout=_LAST_WORDS_SECONDS)
            await door.close()
        if self._access is not None:
            self._access.close()
