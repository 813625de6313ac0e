"""A server of a test's own with what it shows, and those who ask it: HTTP as http.client speaks it, and bare bytes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gcd.web import serve

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

    from gcd.model.published import Published

PATIENCE_SECONDS = 20.0


@dataclass(slots=True)
class Shown:
    """What is the latest: changed by tests while it is served."""

    latest: Published | None

    def __call__(self) -> Published | None:
        return self.latest


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Site:
    """A server that runs, with what it shows."""

    shown: Shown
    address: str
    tls: ssl.SSLContext | None = None

    @property
    def place(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)

    def get(self, path: str = "/", method: str = "GET", **headers: str) -> Answer:
        connection = (
            http.client.HTTPConnection(*self.place, timeout=PATIENCE_SECONDS)
            if self.tls is None
            else http.client.HTTPSConnection(*self.place, timeout=PATIENCE_SECONDS, context=self.tls)
        )
        with contextlib.closing(connection):
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            response = connection.getresponse()
            said = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, said, response.read())

    def connected(self) -> socket.socket:
        return socket.create_connection(self.place, timeout=PATIENCE_SECONDS)

    def said_to(self, *pieces: bytes) -> bytes:
        """All that is answered to `pieces` until the server ends the connection."""
        with self.connected() as client:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    client.sendall(piece)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := client.recv(65536):
                    answer += piece
            return answer


@contextlib.contextmanager
def site(latest: Published | None, *, tls: ssl.SSLContext | None = None, **settings: Any) -> Iterator[Site]:
    """`tls` is what clients trust; `settings` are those of `serve`."""
    shown = Shown(latest)
    with serve(shown, **{"listen_address": "127.0.0.1:0", **settings}) as server:
        yield Site(shown, server.address, tls)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
