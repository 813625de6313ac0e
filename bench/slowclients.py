"""
Why `gcd run` serves with an event loop: how long one client waits beside many that send a byte of their request now and
then, in turns with the WSGI servers that could be kept instead.

::

    pip install cheroot waitress
    python bench/slowclients.py [--clients 150] [--patience 15]

Each server runs in a process of its own, with what it does by default, and gives one short text. The clients connect
and send a byte every half second; two seconds later somebody asks in earnest.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib.metadata
import multiprocessing
import socket
import threading
import time
from typing import TYPE_CHECKING

from gcd.web import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

DRIP_SECONDS = 0.5
SETTLE_SECONDS = 2.0


def answer(_environ: object, start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]


def by_gcd(port: int) -> None:
    serve(lambda: None, listen_address=f"127.0.0.1:{port}")
    threading.Event().wait()


def by_cheroot(port: int) -> None:
    from cheroot.wsgi import Server  # noqa: PLC0415 - may not be there

    Server(("127.0.0.1", port), answer).start()


def by_waitress(port: int) -> None:
    import waitress  # noqa: PLC0415 - may not be there

    waitress.serve(answer, host="127.0.0.1", port=port, _quiet=True)


SERVERS: dict[str, Callable[[int], None]] = {"uvicorn": by_gcd, "cheroot": by_cheroot, "waitress": by_waitress}
"""By the distribution whose version is told."""


def asked(port: int, patience: float) -> str:
    """What somebody gets who asks, and after how long."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", "/-/healthy")
        status = connection.getresponse().status
    except OSError:
        return f"no answer within {patience:g} s"
    finally:
        connection.close()
    return f"{status} after {time.perf_counter() - began:.3f} s"


@contextlib.contextmanager
def crowd(port: int, number: int) -> Iterator[None]:
    """So many clients that never come to their point."""
    ending = threading.Event()
    with contextlib.ExitStack() as leaving:
        clients = [leaving.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(number)]

        def drip() -> None:
            while not ending.wait(DRIP_SECONDS):
                for client in clients:
                    with contextlib.suppress(OSError):
                        client.send(b"x")

        for client in clients:
            client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            time.sleep(SETTLE_SECONDS)
            yield
        finally:
            ending.set()
            dripping.join()


def measure(run: Callable[[int], None], clients: int, patience: float) -> tuple[str, str]:
    """What is got alone, and beside the crowd."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = multiprocessing.Process(target=run, args=[port], daemon=True)
    server.start()
    while "no answer" in (alone := asked(port, patience)):
        time.sleep(0.1)
    with crowd(port, clients):
        beside = asked(port, patience)
    server.kill()
    server.join()
    return alone, beside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--clients", type=int, default=150)
    parser.add_argument("--patience", type=float, default=15)
    wanted = parser.parse_args()
    for name, run in SERVERS.items():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name}: not installed")
            continue
        alone, beside = measure(run, wanted.clients, wanted.patience)
        print(f"{name} {version}: alone {alone}; beside {wanted.clients} slow clients {beside}", flush=True)


if __name__ == "__main__":
    main()
