"""
``image/overlay2/repositories.json``: all references and the images they name.

::

    { "Repositories": { "<name>": { "<name>:<tag>" | "<name>@sha256:<hex>": "sha256:<image id>", … }, … } }

The engine reads it with ``json.Decoder`` at its start and will not start on what does not decode. It validates neither
references nor image ids: a reference that it cannot parse it skips, an id that is no image it shows nowhere. Both are
kept here as they stand.

Source: moby ``reference/store.go`` NewReferenceStore, reload, save. The same from 18.09 to 29.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gcd.formats.escape import escaped
from gcd.formats.gostruct import Kind, Shape, struct_of_first, text_map
from gcd.model.errors import FormatError
from gcd.model.facts import Repositories
from gcd.model.ids import ImageId, repository_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.formats.gojson import Json

_WHAT = "repositories.json"
_SHAPE = Shape(asked={"Repositories": Kind.OBJECT})


def parse_repositories(raw: bytes) -> Repositories:
    """The image ids are texts of the file: one that is no digest names no image and must not be made a path."""
    store = struct_of_first(raw, _WHAT, _SHAPE)
    if store is None:
        # Decoding null leaves the engine without a store, at which it panics.
        raise FormatError(_WHAT, expected=Kind.OBJECT.value, found="null")
    repositories = {name: _references(name, images) for name, images in store.entries("Repositories")}
    return Repositories({reference: image for images in repositories.values() for reference, image in images.items()})


def write_repositories(references: Mapping[str, ImageId]) -> bytes:
    """The file that says `references`, byte by byte as the engine writes it: keys sorted, no spaces, no newline."""
    repositories: dict[str, dict[str, ImageId]] = {}
    for reference, image in sorted(references.items()):
        repositories.setdefault(repository_of(reference), {})[reference] = image
    text = json.dumps({"Repositories": dict(sorted(repositories.items()))}, separators=(",", ":"), ensure_ascii=False)
    for character in "&<>\u2028\u2029":  # Go's encoder escapes them, for texts that end up in a web page
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def _references(name: str, repository: Json) -> dict[str, ImageId]:
    images = text_map(repository, f"{_WHAT}: {escaped(name)}")
    return {reference: ImageId(image) for reference, image in images.items()}
