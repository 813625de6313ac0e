"""What serves the board over HTTP, as the settings say: none at all where they name no address."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Self

import structlog

if TYPE_CHECKING:
    from types import TracebackType

    from gcd.daemon.board import Board
    from gcd.settings import Settings
    from gcd.settings.tables import WebTable
    from gcd.web import Server


class Serving:
    """A context manager that ends the server."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._table: WebTable | None = None
        self._server: Server | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def follow(self, settings: Settings) -> None:
        """
        Serve as `settings` say. Raises `GcdError` where that cannot be, and then serves as before; where not even that
        can be, nothing is served until the next call.

        Certificates and keys are read anew at each call.
        """
        before, table = self._table, settings.web
        if before == table and table.tls_cert is None:
            return
        if before is not None and before.listen_address != table.listen_address:
            server = self._begun(table)
            self._end()
        else:
            # Two servers cannot have one address: the old one goes first, and comes back if the new one cannot be.
            self._end()
            self._table = None
            try:
                server = self._begun(table)
            except BaseException:
                if before is not None:
                    self._server, self._table = self._begun(before), before
                raise
        self._server, self._table = server, table

    def _begun(self, table: WebTable) -> Server | None:
        if not table.listen_address:
            return None
        from gcd.web import serve  # noqa: PLC0415 - a third of a second, for whoever wants to be asked

        server = serve(
            lambda: self._board.latest,
            listen_address=table.listen_address,
            tls_cert=table.tls_cert,
            tls_key=table.tls_key,
            users={name: hashed.get_secret_value() for name, hashed in table.users.items()},
        )
        log = structlog.get_logger()
        log.info("listening", address=server.address)
        if not table.users and not _is_local(table.listen_address):
            log.warning("open_to_all", why="everybody who can connect may read what is found here: set web.users")
        return server

    def _end(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


def _is_local(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
