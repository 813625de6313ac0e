"""
GCD403, 404, 405: ``repositories.json`` (safety rule S16).

A lost file is that of the copy which was to take its place, else made of what is proven: names that all containers
agree upon. Every other image gets a name that says it was recovered, since a nightly prune takes what has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.repositories import parse_repositories, write_repositories
from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import not_lost, unread
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.inventory import Source
from gcd.model.plan import DropReference, SetAside, WriteFile
from gcd.model.reading import Present, value_of
from gcd.rules.references import proven_references

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.mends.mending import Case
    from gcd.model.ids import ImageId

HOLDING = "gcd-recovered"
"""The repository of the names that gcd gives to images whose own nobody knows."""

_FILE = layout.repositories()


def lost_references(case: Case) -> Mending | Unproven:
    """GCD403, 404: the newest valid copy, else the proven names and, unless the owner does without, held images."""
    if not isinstance(case.inventory.repositories, Present):
        doubt = not_lost(case.inventory.repositories)
        if doubt is not None:
            return doubt
    for path, content in case.witness.newer_copies(_FILE):
        if _has_references(content):
            return Mending((WriteFile(_FILE, content, path), SetAside(path)))
    lack = unread(case, Source.CONTAINERS, Source.IMAGES)
    if lack is not None:
        return lack
    proven = proven_references(case.inventory)
    held = _held(case, proven) if case.consent.hold else {}
    if not proven and not held:
        return Unproven("no name can be proven")
    foretold = f"The engine then lists {len(proven)} proven names"
    foretold += f", and as {HOLDING}/<id> what has none: {len(held)}." if held else "."
    return Mending((WriteFile(_FILE, write_repositories({**proven, **held}), _LIKE),), foretold)


def dangling(case: Case) -> Mending | Unproven:
    """GCD405: the references without this one."""
    repositories = value_of(case.inventory.repositories)
    name = case.finding.subject.id
    if repositories is None or name not in repositories.references:
        return Unproven("the references cannot be read")
    return Mending((DropReference(_FILE, name, repositories.references[name]),))


def _has_references(content: bytes) -> bool:
    try:
        return bool(parse_repositories(content).references)
    except FormatError:
        return False


def _held(case: Case, proven: Mapping[str, ImageId]) -> dict[str, ImageId]:
    """A name for each sound image that `proven` has none for; by the whole id where its beginning is taken."""
    named = set(proven.values())
    held: dict[str, ImageId] = {}
    for image in sorted(i.id for i in case.inventory.images.values() if i.is_sound and i.id not in named):
        digits = image.removeprefix("sha256:")
        short = f"{HOLDING}/{digits[:12]}:latest"
        held[f"{HOLDING}/{digits}:latest" if short in held else short] = image
    return held


_LIKE = layout.image_tree()
"""What a file is like that is not there at all: its directory's owner, and nobody else may read it."""
