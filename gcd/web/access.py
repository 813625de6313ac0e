"""
Names and passwords (RFC 7617), held against bcrypt hashes.

A hash takes a large part of a second on purpose, so nobody may have many of them computed: one is computed at a time,
with a rest three times as long after each, which leaves three quarters of a processor free whatever clients send; one
client has one computed at a time, and `MOST_WAITING` all together. Who comes beyond that is told to come again. What
was computed is kept, good and bad apart, so that a Prometheus that comes every few seconds costs one hash in all.
Passwords are kept only as a digest with a key that this process drew.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import TYPE_CHECKING

import bcrypt

from gcd.report.printable import printable
from gcd.web.listening import CannotListen

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_WAITING = 16
REST = 3
HIGHEST_COST = 14
"""One hash of this cost takes about a second."""
KEPT = 256
PASSWORD_BYTES = 72
"""All that bcrypt looks at; htpasswd cuts longer ones there, too."""


class Verdict(Enum):
    ADMITTED = auto()
    DENIED = auto()
    TOO_MANY = auto()
    """Nothing is known yet: come again."""


class Access:
    """`users` has a bcrypt hash by name. Raises `CannotListen` for one that is none, or would take minutes."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._hashes = {name.encode(): hashed.encode() for name, hashed in users.items()}
        for name, hashed in users.items():
            _probe(name, hashed)
        # Names that nobody has take as long as others, and have a password that nobody knows.
        costs = max(int(hashed[4:6]) for hashed in users.values())
        self._nobody = bcrypt.hashpw(secrets.token_hex(16).encode(), bcrypt.gensalt(min(costs, HIGHEST_COST)))
        self._key = secrets.token_bytes(32)
        self._known: dict[bool, OrderedDict[bytes, None]] = {True: OrderedDict(), False: OrderedDict()}
        self._pending: dict[bytes, asyncio.Task[bool]] = {}
        self._waiting: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._rested = 0.0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="gcd-web-hash")

    async def verdict(self, authorization: str, client: str) -> Verdict:
        """What is to be done with somebody who comes from `client` with this header ("" without any)."""
        said = _credentials(authorization)
        if said is None:
            return Verdict.DENIED
        digest = hashlib.blake2b(b"\0".join(said), key=self._key).digest()
        for is_right, known in self._known.items():
            if digest in known:
                known.move_to_end(digest)
                return Verdict.ADMITTED if is_right else Verdict.DENIED
        task = self._pending.get(digest)
        if task is None:
            if self._waiting[client] or len(self._pending) >= MOST_WAITING:
                return Verdict.TOO_MANY
            task = asyncio.get_running_loop().create_task(self._computed(digest, *said, client))
            self._pending[digest] = task
        return Verdict.ADMITTED if await asyncio.shield(task) else Verdict.DENIED

    async def _computed(self, digest: bytes, name: bytes, password: bytes, client: str) -> bool:
        self._waiting[client] += 1
        try:
            is_right = await self._matches(name, password)
        finally:
            self._waiting -= Counter([client])
            del self._pending[digest]
        known = self._known[is_right]
        known[digest] = None
        if len(known) > KEPT:
            known.popitem(last=False)
        return is_right

    async def _matches(self, name: bytes, password: bytes) -> bool:
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(self._rested - loop.time())
            began = loop.time()
            hashed = self._hashes.get(name, self._nobody)
            is_right = await loop.run_in_executor(self._worker, bcrypt.checkpw, password[:PASSWORD_BYTES], hashed)
            self._rested = loop.time() + REST * (loop.time() - began)
        return is_right

    def close(self) -> None:
        self._worker.shutdown(cancel_futures=True)


def _probe(name: str, hashed: str) -> None:
    cost = hashed[4:6]
    if cost.isdigit() and int(cost) > HIGHEST_COST:
        raise CannotListen(
            f"The hash of user {printable(name)} has the cost {cost}, which takes too long at each login: "
            f"make one of at most {HIGHEST_COST} with htpasswd -nB -C 10"
        )
    try:
        bcrypt.checkpw(b"", hashed.encode())
    except ValueError as error:
        raise CannotListen(
            f"The hash of user {printable(name)} is none of bcrypt: make one with htpasswd -nB -C 10"
        ) from error


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon and b"\0" not in name + password else None
