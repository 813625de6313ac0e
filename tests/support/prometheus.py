"""
A real Prometheus of a test's own, on loopback addresses: what it scrapes, what it is asked, and what it raises.

Facts about the flags and the API: Prometheus 2.42 (``prometheus --help``, /api/v1/query, /api/v1/rules).
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must come, on a machine that does much else."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def is_ready(address: str) -> bool:
    """Whether what listens at `address`, Prometheus or gcd, says that it has something to say."""
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=PATIENCE_SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def exposed(exposition: Callable[[], bytes]) -> Iterator[str]:
    """The address at which every GET is answered by `exposition`, one after the other."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - same
            """Nothing: a scrape is no news."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Mapping[str, str]
    value: float


class Prometheus:
    def __init__(self, address: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._address = address
        self._process = process
        self._log = log

    def _get(self, path: str, **query: str) -> Any:
        url = f"http://{self._address}{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None

    def query(self, expression: str) -> list[Sample]:
        """The instant vector of `expression` now, without the names of metrics."""
        found = self._get("/api/v1/query", query=expression)
        assert found["resultType"] == "vector", expression
        return [
            Sample({k: v for k, v in one["metric"].items() if k != "__name__"}, float(one["value"][1]))
            for one in found["result"]
        ]

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, each with its instance ("" without)."""
        groups = self._get("/api/v1/rules", type="alert")["groups"]
        alerts = [alert for group in groups for rule in group["rules"] for alert in rule["alerts"]]
        return {(a["labels"]["alertname"], a["labels"].get("instance", "")) for a in alerts if a["state"] == "firing"}

    def rules(self) -> list[dict[str, Any]]:
        """All rules, with what their last evaluation came to."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, f"not within {PATIENCE_SECONDS:g} s: {what}"
            time.sleep(0.1)


@contextlib.contextmanager
def running(config: Path) -> Iterator[Prometheus]:
    """Prometheus with the configuration `config`, its data beside it; it has ended when this ends."""
    address, log = f"127.0.0.1:{free_port()}", config.parent / "log"
    with log.open("wb") as written:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={config.parent / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=written,
            stderr=written,
        )
    try:
        prometheus = Prometheus(address, process, log)
        prometheus.wait_until(lambda: is_ready(address), "a Prometheus that is ready")
        yield prometheus
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
