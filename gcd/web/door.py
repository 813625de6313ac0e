"""
Who is let in, how many at once, and who has to go.

A connection is one request and its answer. It costs no thread: all are served by one event loop, so that slow clients
are merely waited for, each until its time is up. There is room for `ROOM` of them. When that is taken, new ones wait in
the kernel's queue until somebody leaves; and who has had a fair time then, and still has not asked or not taken the
answer, has to go. So many slow clients cost the others seconds, not the service; and the files that the daemon may have
open are never used up.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from uvicorn import Config
    from uvicorn.server import ServerState

ROOM = 256

REQUEST_SECONDS = 10.0
"""For the handshake and the whole request."""
ANSWER_SECONDS = 60.0
"""For making the answer and taking it."""

FAIR_SECONDS = 2.0
"""For either of them where others wait at the door."""

REQUEST_BYTES = 16 * 1024
"""The most that the line and the headers of a request may have."""


class Connection(H11Protocol):
    """From being let in until its socket is closed, which `gone` is told then, at least once."""

    def __init__(
        self,
        config: Config,
        state: ServerState,
        loop: asyncio.AbstractEventLoop,
        client: socket.socket,
        gone: Callable[[Connection], None],
    ) -> None:
        super().__init__(config, state, {}, loop)
        self._clock = loop.time
        self._since = loop.time()
        self._heard = 0
        self._client = client
        self._gone = gone
        self._link: asyncio.Transport | None = None
        self._is_over = False
        self._late = loop.call_later(REQUEST_SECONDS, self._no_request)

    @property
    def has_asked(self) -> bool:
        return self.conn.their_state is not h11.IDLE

    @property
    def fair_seconds_left(self) -> float:
        """How long it may stay though others wait."""
        return self._since + FAIR_SECONDS - self._clock()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        self._link = transport
        super().connection_made(transport)
        if self._is_over:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        had_asked = self.has_asked
        self._heard += len(data)
        if not had_asked and self._heard > REQUEST_BYTES:
            self.send_400_response("The request is too large.")
            return
        super().data_received(data)
        if self.has_asked and not had_asked:
            self._since = self._clock()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.closed()

    def _no_request(self) -> None:
        if self.has_asked:
            self._late = self.loop.call_later(ANSWER_SECONDS, self.over)
        else:
            self.over()

    def over(self) -> None:
        """End it now, whatever it is at; its socket is closed a moment later."""
        self._is_over = True
        if self._link is not None:
            self._link.abort()
        else:
            # A handshake under way ends, and closes the socket, where it reads the end.
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    def closed(self) -> None:
        """Its socket is closed, or just being closed."""
        self._late.cancel()
        self._gone(self)


class Door:
    """Lets in whoever comes to `listener`, a socket that does not block."""

    def __init__(self, listener: socket.socket, tls: ssl.SSLContext | None, config: Config, state: ServerState) -> None:
        self._listener = listener
        self._tls = tls
        self._config = config
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._inside: dict[Connection, None] = {}
        self._has_room = asyncio.Event()
        self._greetings: dict[asyncio.Task[None], socket.socket] = {}

    async def keep(self) -> None:
        """Let them in until it is cancelled."""
        while True:
            await self._room()
            await self._knock()
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                continue
            except OSError:
                # They left again, or the process has no file left to open: neither ends the service.
                await asyncio.sleep(0.1)
                continue
            client.setblocking(False)  # noqa: FBT003 - the standard library's own
            greeting = self._loop.create_task(self._greet(client))
            self._greetings[greeting] = client
            greeting.add_done_callback(self._greetings.pop)

    async def _knock(self) -> None:
        """Until somebody is there; loop.sock_accept could lose one whom it let in when it was cancelled."""
        knock = asyncio.Event()
        self._loop.add_reader(self._listener, knock.set)
        try:
            await knock.wait()
        finally:
            self._loop.remove_reader(self._listener)

    async def close(self) -> None:
        """Show everybody out."""
        for connection in tuple(self._inside):
            connection.over()
        greetings = dict(self._greetings)
        for greeting in greetings:
            greeting.cancel()
        await asyncio.gather(*greetings, return_exceptions=True)
        for client in greetings.values():
            client.close()

    async def _room(self) -> None:
        """Until there is room for one more, which is made where somebody has had a fair time."""
        while len(self._inside) >= ROOM:
            first = min(self._inside, key=lambda connection: connection.fair_seconds_left)
            left = first.fair_seconds_left
            if left <= 0:
                first.over()
            self._has_room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if left > 0 else None):
                    await self._has_room.wait()

    async def _greet(self, client: socket.socket) -> None:
        connection = Connection(self._config, self._state, self._loop, client, self._leave)
        self._inside[connection] = None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                client,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else REQUEST_SECONDS,
            )
        except OSError:
            # No handshake came about; the socket is closed.
            connection.closed()

    def _leave(self, connection: Connection) -> None:
        self._inside.pop(connection, None)
        self._has_room.set()
