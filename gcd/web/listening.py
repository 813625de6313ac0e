"""
Where a server listens, and with which certificate.

Whatever is wrong with either is told before anything is served, in one sentence: `CannotListen`.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

from gcd.model.errors import GcdError
from gcd.report.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG = 1024
"""Connections that the kernel holds until they are let in; it has a limit of its own (net.core.somaxconn)."""

MAX_PORT = 65_535

_WHY = {
    errno.EADDRINUSE: "another program listens there",
    errno.EADDRNOTAVAIL: "this host does not have that address",
    errno.EACCES: "no right to listen there: ports below 1024 need root rights",
}


class CannotListen(GcdError):
    """Nothing can be served: the address, the certificate or a hash is not right."""


def listen(address: str) -> socket.socket:
    """
    A socket that listens at `address`, which is ``host:port``, ``[v6]:port`` or, for all addresses, ``:port``. Raises
    `CannotListen`.
    """
    said = address.rpartition(":")[2]
    if not said.isdecimal() or not (port := int(said)) <= MAX_PORT:
        raise _cannot(address, "it must end in a colon and a port")
    host = host_of(address)
    try:
        if not host:
            return _on_all(port)
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise _cannot(address, f"there is no such host ({error.strerror})") from error
    except OSError as error:
        raise _cannot(address, _WHY.get(error.errno or 0, str(error))) from error


def host_of(address: str) -> str:
    """The name or the address of `address` without its port, "" where that is all addresses."""
    return address.rpartition(":")[0].strip("[]")


def _on_all(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    return socket.create_server(("", port), backlog=BACKLOG)


def _cannot(address: str, why: str) -> CannotListen:
    return CannotListen(f"cannot listen on {printable(address)}: {why}; set web.listen_address to another one")


def address_of(listener: socket.socket) -> str:
    """Where `listener` listens, as a setting says it."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What serves with `certificate` and its `key`, by TLS 1.2 or later. Raises `CannotListen`."""
    for name, file in (("web.tls_cert", certificate), ("web.tls_key", key)):
        try:
            file.open("rb").close()
        except OSError as error:
            raise CannotListen(f"{name} {printable(str(file))} cannot be read: {error.strerror}") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a function of ours OpenSSL would ask for the password of a locked key on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        files = f"{printable(str(certificate))} and {printable(str(key))}"
        why = (error.reason or str(error)).replace("_", " ").lower()
        raise CannotListen(
            f"{files} are no certificate and its key, as PEM and without a password ({why}); "
            "set web.tls_cert and web.tls_key"
        ) from error
    return context
