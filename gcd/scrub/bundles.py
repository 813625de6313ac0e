"""
Members by the bundle: what is sound at a glance is counted, and the rest compared with care, one by one.

Of a layer that is as it shall be nearly all members are sound at a glance. What is said of a layer is the same with
bundles and without.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

from gcd.formats.bundle import DIRECTORY, FILE, NUMBERS, SYMLINK, Bundle
from gcd.formats.tarheader import Header, MemberType
from gcd.formats.tarsplit import Member

try:
    from gcd.scrub._glance import glance
except ImportError:  # not compiled where it was installed
    from gcd.scrub.glance import glance

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from gcd.scrub.members import Members, Seen
    from gcd.scrub.reading import Contents

_AHEAD: Final = 4
"""So many bundles wait for what is found at a glance."""
_TYPES: Final = {FILE: MemberType.FILE, SYMLINK: MemberType.SYMLINK, DIRECTORY: MemberType.DIRECTORY}


class Bundles:
    """Compares bundles of members of the layer whose dir is open at `diff`; `seen` and `members` are of that one."""

    def __init__(self, diff: int, contents: Contents, seen: Seen, members: Members) -> None:
        self._diff = diff
        self._contents = contents
        self._seen = seen
        self._members = members
        self._waiting: deque[tuple[Bundle, Future[bytes]]] = deque()

    def close(self) -> None:
        """Wait for the glances that are under way; what they give is lost."""
        for _, sound in self._waiting:
            sound.cancel() or sound.exception()
        self._waiting.clear()

    def settle(self) -> None:
        """Judge all that was given so far."""
        while self._waiting:
            self._judge_next()

    def compare(self, bundle: Bundle) -> None:
        """Some later, in the order in which they are given."""
        if not self._seen.expect_all(os.fsdecode(bundle.names[:-1]).split("\0")):
            self.settle()
            self._judge(bundle, bytes(len(bundle.kinds)))
            return
        self._contents.spend(bundle.size)
        given = self._contents.begin(glance, self._diff, bundle.names, bundle.kinds, bundle.numbers, bundle.links)
        self._waiting.append((bundle, given))
        if len(self._waiting) > _AHEAD:
            self._judge_next()

    def _judge_next(self) -> None:
        bundle, sound = self._waiting[0]
        self._judge(bundle, sound.result())
        self._waiting.popleft()

    def _judge(self, bundle: Bundle, sound: bytes) -> None:
        seen = self._seen
        if sound.count(1) == len(bundle.kinds):
            seen.files += bundle.kinds.count(FILE)
            seen.read_bytes += bundle.size
            return
        for number, (member, header) in enumerate(members_of(bundle)):
            if not sound[number]:
                self._members.compare(member, header)
            elif header.type is MemberType.FILE:
                seen.files += 1
                seen.read_bytes += member.size


def members_of(bundle: Bundle) -> Iterator[tuple[Member, Header]]:
    """What the bundle tells of its members, one by one; modes and owners are not among it, and given as 0."""
    names, links = bundle.names.split(b"\0"), bundle.links.split(b"\0")
    for name, kind, (size, crc), link in zip(
        names, bundle.kinds, NUMBERS.iter_unpack(bundle.numbers), links, strict=False
    ):
        yield Member(name, size, crc if size else None), Header(_TYPES[kind], link, 0, 0, 0, 0, 0)
