"""
Names and passwords (RFC 7617), held against bcrypt hashes.

A hash takes a large part of a second on purpose, so nobody may have many of them computed: one is computed at a time,
with a rest three times as long after each, which leaves three quarters of a processor free whatever clients send; one
client has one computed at a time, and `MOST_WAITING` all together. Who comes beyond that is told to come again; but
where another network has more of them waiting, the last of those goes instead, so a network that guesses keeps no other
out. What was computed is kept, good and bad apart, so that a Prometheus that comes every few seconds costs one hash in
all. Passwords are kept only as a digest with a key that this process drew.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import secrets
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from typing import TYPE_CHECKING

import bcrypt
from msgspec import Struct

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


class _Origin(Struct, frozen=True):
    """Where somebody comes from, as far as it can be told apart who has many addresses."""

    client: str
    """An IPv4 address, or the 64 bits of IPv6 that one link has."""
    network: str
    """What one owner easily has: 24 bits of IPv4, 48 of IPv6."""


class _Login(Struct, eq=False):
    """Whose password waits for being hashed."""

    origin: _Origin
    task: asyncio.Task[bool]


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
        self._pending: dict[bytes, _Login] = {}
        self._hashing: bytes | None = None
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
        login = self._pending.get(digest)
        if login is None:
            origin = _origin(client)
            if not self._has_room(origin):
                return Verdict.TOO_MANY
            login = _Login(origin, asyncio.get_running_loop().create_task(self._computed(digest, *said)))
            self._pending[digest] = login
        await asyncio.wait({login.task})
        if login.task.cancelled():
            return Verdict.TOO_MANY
        return Verdict.ADMITTED if login.task.result() else Verdict.DENIED

    def _has_room(self, comer: _Origin) -> bool:
        """Whether one more may wait, for whom another one goes if need be."""
        origins = [login.origin for login in self._pending.values()]
        if any(origin.client == comer.client for origin in origins):
            return False
        if len(origins) < MOST_WAITING:
            return True
        waiting = Counter(origin.network for origin in origins)
        [(largest, number)] = waiting.most_common(1)
        if waiting[comer.network] + 1 >= number:
            return False
        # Not the one that is being hashed: its work is paid for.
        last = next(
            digest
            for digest, login in reversed(self._pending.items())
            if login.origin.network == largest and digest != self._hashing
        )
        self._pending.pop(last).task.cancel()
        return True

    async def _computed(self, digest: bytes, name: bytes, password: bytes) -> bool:
        """Whether it is right, which is known from then on."""
        async with self._turn:
            self._hashing = digest
            try:
                is_right = await self._matches(name, password)
            finally:
                self._hashing = None
                del self._pending[digest]
        known = self._known[is_right]
        known[digest] = None
        if len(known) > KEPT:
            known.popitem(last=False)
        return is_right

    async def _matches(self, name: bytes, password: bytes) -> bool:
        loop = asyncio.get_running_loop()
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


def _origin(said: str) -> _Origin:
    """Of the address `said` by the socket, "" where it is gone already."""
    try:
        address = ipaddress.ip_address(said)
    except ValueError:
        return _Origin(said, said)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return _Origin(_prefix(address, 64), _prefix(address, 48))
        # A socket for all addresses says IPv4 so.
        address = address.ipv4_mapped
    return _Origin(str(address), _prefix(address, 24))


def _prefix(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> str:
    return str(ipaddress.ip_network((int(address), bits), strict=False))


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon and b"\0" not in name + password else None
