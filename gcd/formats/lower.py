"""
``overlay2/<id>/lower``: the link ids of all layers below, nearest parent first.

::

    l/<26 characters>:l/<26 characters>:…      no newline, 29 n - 1 bytes

The engine writes it once, from the parent's ``link`` and ``lower``, and reads it raw at each mount. It never checks an
element: one that names no link (``l`` from an empty ``link`` file, a newline at the end) fails at the mount, so each is
kept with its position.

Source: moby ``daemon/graphdriver/overlay2/overlay.go`` getLower, Get.
"""

from __future__ import annotations

from functools import lru_cache

from gcd.formats.escape import escaped
from gcd.model.errors import FormatError
from gcd.model.facts import BadElement, Lower
from gcd.model.ids import LinkId, is_link_id

MOST_ELEMENTS = 1024
"""The engine stops at 128 and the kernel at 500; a file with more is no ``lower`` file, and not worth its memory."""

_PREFIX = "l/"
_LENGTH = len(_PREFIX) + 26


def parse_lower(raw: bytes) -> Lower:
    """
    Everything but an excess of elements is a `Lower`, if need be one of bad elements.

    Equal link ids of different files are one object; the texts of bad elements are escaped and cut.
    """
    count = raw.count(b":") + 1
    if count > MOST_ELEMENTS:
        raise FormatError("lower", expected=f"at most {MOST_ELEMENTS} elements", found=f"{count} elements")
    links: list[LinkId] = []
    bad: list[BadElement] = []
    for position, element in enumerate(raw.decode("utf-8", "surrogateescape").split(":")):
        link = _link(element) if len(element) == _LENGTH else None
        if link is None:
            bad.append(BadElement(position, escaped(element)))
        else:
            links.append(link)
    return Lower(tuple(links), tuple(bad))


@lru_cache(maxsize=1 << 16)
def _link(element: str) -> LinkId | None:
    """Kept for the next file: a link id stands in the ``lower`` of every layer above its own, a hundred times over."""
    link = element.removeprefix(_PREFIX)
    return link if element.startswith(_PREFIX) and is_link_id(link) else None
