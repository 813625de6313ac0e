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

from typing import TYPE_CHECKING, cast

from gcd.formats.escape import escaped
from gcd.model.errors import FormatError
from gcd.model.facts import BadElement, Lower
from gcd.model.ids import LinkId, is_link_id

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_ELEMENTS = 1024
"""The engine stops at 128 and the kernel at 500; a file with more is no ``lower`` file, and not worth its memory."""

_PREFIX = "l/"
_ELEMENT = 29
"""Bytes of an element with its colon."""

_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def parse_lower(raw: bytes, shared: Callable[[str], str] = str) -> Lower:
    """
    Everything but an excess of elements is a `Lower`, if need be one of bad elements.

    `shared` gives one object for equal texts: a link id stands in the ``lower`` of every layer above its own. The texts
    of bad elements are escaped and cut.
    """
    count = raw.count(b":") + 1
    if count > MOST_ELEMENTS:
        raise FormatError("lower", expected=f"at most {MOST_ELEMENTS} elements", found=f"{count} elements")
    if is_sound_lower(raw):
        texts = raw.decode("ascii").removeprefix(_PREFIX).split(":l/")
        return Lower(cast("tuple[LinkId, ...]", tuple(map(shared, texts))))
    return _one_by_one(raw.decode("utf-8", "surrogateescape").split(":"), shared)


def is_sound_lower(raw: bytes) -> bool:
    """
    Whether `raw` is nothing but well-formed elements, told all at once: up to 125 a layer dir are most of what a root's
    metadata says.
    """
    count = (len(raw) + 1) // _ELEMENT
    return (
        len(raw) == _ELEMENT * count - 1
        and raw.translate(None, _BASE32) == b"l/" + b":l/" * (count - 1)
        and raw[::_ELEMENT] == b"l" * count
        and raw[1::_ELEMENT] == b"/" * count
    )


def _one_by_one(elements: list[str], shared: Callable[[str], str]) -> Lower:
    links: list[LinkId] = []
    bad: list[BadElement] = []
    for position, element in enumerate(elements):
        link = element.removeprefix(_PREFIX)
        if element.startswith(_PREFIX) and is_link_id(link):
            links.append(LinkId(shared(link)))
        else:
            bad.append(BadElement(position, escaped(element)))
    return Lower(tuple(links), tuple(bad))
