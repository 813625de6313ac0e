"""
The paths, and what each answers.

::

    /                    the page for people
    /metrics             all metrics, in the text format of Prometheus
    /api/v1/findings     what ``gcd check --format json`` prints, of the last check
    /-/healthy           200 as long as anything is served
    /-/ready             200 once there is a result, 503 before

With passwords health is told to everybody all the same, since those who ask for it have none and learn nothing else.
Without, who asks by a name that is not of this host is answered nothing else than that. Only GET and HEAD are
answered, bodies are not read, and each answer ends its connection.
"""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

import structlog
from msgspec import Struct

from gcd.metrics import CONTENT_TYPE, exposition
from gcd.report.json import json_report
from gcd.web.access import Verdict
from gcd.web.hosts import Hosts
from gcd.web.page import POLICY, Shot, first_page, page
from gcd.web.rendering import Renderer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from concurrent.futures import Executor

    from gcd.model.published import Published
    from gcd.web.access import Access
    from gcd.web.rendering import Rendered

    Scope = Mapping[str, Any]
    Send = Callable[[Mapping[str, Any]], Awaitable[None]]

PIECE = 64 * 1024
"""Answers go out in pieces of so many bytes, each when the client has taken most of the one before."""

PAGE_AGE_NS = 5_000_000_000
"""The page says how long ago things were; it is made anew after so long, at the latest."""

PLAIN = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
JSON = "application/json"

_ALWAYS = {
    "connection": "close",
    "cache-control": "no-store",
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}

_OPEN = frozenset({"/-/healthy", "/-/ready"})
"""The paths for which nobody needs a password."""


class Reply(Struct, frozen=True):
    status: int
    body: bytes
    content_type: str = PLAIN
    headers: tuple[tuple[str, str], ...] = ()


NOT_YET = Reply(503, b"the first check has not come to its end yet\n", headers=(("retry-after", "5"),))
NO_SUCH_PATH = Reply(404, b"there is no such path; / lists those that are there\n")
NO_SUCH_METHOD = Reply(405, b"only GET and HEAD\n", headers=(("allow", "GET, HEAD"),))
WHO_ARE_YOU = Reply(
    401, b"a name and a password are needed\n", headers=(("www-authenticate", 'Basic realm="gcd", charset="UTF-8"'),)
)
TOO_MANY = Reply(429, b"too many logins at once; come again\n", headers=(("retry-after", "2"),))
NOT_OUR_NAME = Reply(
    421, b"ask by an address or a name of this host; other names are only answered where web.users are set\n"
)
FAULT = Reply(500, b"this is a fault of gcd itself; the log says more\n")


class App:
    """An ASGI application. What takes long is done by `workers`; `keeper` says who may read."""

    def __init__(self, latest: Callable[[], Published | None], keeper: Access | Hosts, workers: Executor) -> None:
        self._latest = latest
        self._keeper = keeper
        self._renderer = Renderer(workers)
        self._host = platform.node()
        self._shot: Shot | None = None
        self._routes: Mapping[str, Callable[[Scope], Awaitable[Reply]]] = {
            "/": self._page,
            "/metrics": self._metrics,
            "/api/v1/findings": self._findings,
            "/-/healthy": self._healthy,
            "/-/ready": self._ready,
        }

    async def __call__(self, scope: Scope, _receive: object, send: Send) -> None:
        try:
            reply = await self._reply(scope)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next client is served
            structlog.get_logger().error("web_fault", path=scope["path"], exc_info=error)
            reply = FAULT
        headers = {**_ALWAYS, "content-type": reply.content_type, "content-length": str(len(reply.body))}
        pairs = [*headers.items(), *reply.headers]
        await send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [(name.encode(), value.encode()) for name, value in pairs],
            }
        )
        for piece, is_last in _pieces(reply.body):
            await send({"type": "http.response.body", "body": piece, "more_body": not is_last})

    async def _reply(self, scope: Scope) -> Reply:
        refusal = await self._refusal(scope)
        if refusal is not None:
            return refusal
        answer = self._routes.get(scope["path"])
        if answer is None:
            return NO_SUCH_PATH
        if scope["method"] not in {"GET", "HEAD"}:
            return NO_SUCH_METHOD
        return await answer(scope)

    async def _refusal(self, scope: Scope) -> Reply | None:
        if isinstance(self._keeper, Hosts):
            return None if await self._keeper.has(_header(scope, b"host")) else NOT_OUR_NAME
        if scope["path"] in _OPEN:
            return None
        client = scope["client"]
        match await self._keeper.verdict(_header(scope, b"authorization"), client[0] if client else ""):
            case Verdict.ADMITTED:
                return None
            case Verdict.DENIED:
                return WHO_ARE_YOU
            case Verdict.TOO_MANY:
                return TOO_MANY

    async def _page(self, scope: Scope) -> Reply:
        published = self._latest()
        if published is None:
            return Reply(503, first_page(self._host), HTML, NOT_YET.headers)
        now_ns = time.time_ns()
        if self._shot is None or self._shot.published is not published or now_ns - self._shot.now_ns > PAGE_AGE_NS:
            self._shot = Shot(published, self._host, now_ns)
        return _shown(scope, await self._renderer.rendered("page", self._shot, page), HTML)

    async def _metrics(self, scope: Scope) -> Reply:
        published = self._latest()
        if published is None:
            return Reply(200, exposition(None), CONTENT_TYPE)
        return _shown(scope, await self._renderer.rendered("metrics", published, exposition), CONTENT_TYPE)

    async def _findings(self, scope: Scope) -> Reply:
        published = self._latest()
        if published is None:
            return NOT_YET
        rendered = await self._renderer.rendered("findings", published.result, lambda r: json_report(r).encode())
        return _shown(scope, rendered, JSON)

    async def _healthy(self, _scope: Scope) -> Reply:
        return Reply(200, b"healthy\n")

    async def _ready(self, _scope: Scope) -> Reply:
        return NOT_YET if self._latest() is None else Reply(200, b"ready\n")


def _shown(scope: Scope, rendered: Rendered, content_type: str) -> Reply:
    """`rendered`, packed for those who can unpack it."""
    vary = ("vary", "accept-encoding")
    if _takes_gzip(_header(scope, b"accept-encoding")):
        return Reply(200, rendered.packed, content_type, (vary, ("content-encoding", "gzip")))
    return Reply(200, rendered.plain, content_type, (vary,))


def _takes_gzip(accepted: str) -> bool:
    for item in accepted.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _header(scope: Scope, name: bytes) -> str:
    """The first header of that name, "" without any."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _pieces(body: bytes) -> Iterator[tuple[bytes, bool]]:
    for start in range(0, max(len(body), 1), PIECE):
        yield body[start : start + PIECE], start + PIECE >= len(body)
