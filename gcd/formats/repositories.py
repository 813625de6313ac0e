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

from gcd.formats.escape import escaped
from gcd.formats.gojson import Json, Kind, cleaned, decode_first, mapping_of, refuse, struct_of
from gcd.model.errors import FormatError
from gcd.model.facts import Repositories
from gcd.model.ids import ImageId

_WHAT = "repositories.json"


def parse_repositories(raw: bytes) -> Repositories:
    """The image ids are texts of the file: one that is no digest names no image and must not be made a path."""
    store = struct_of(decode_first(raw, _WHAT), _WHAT)
    if store is None:
        # Decoding null leaves the engine without a store, at which it panics.
        raise FormatError(_WHAT, expected=Kind.OBJECT.value, found="null")
    references: dict[str, ImageId] = {}
    for name, repository in store.mapping("Repositories").items():
        references.update(_references(name, repository))
    return Repositories(references)


def _references(name: str, repository: Json) -> dict[str, ImageId]:
    what = f"{_WHAT}: {escaped(name)}"
    images: dict[str, ImageId] = {}
    for reference, image in mapping_of(repository, what).items():
        if image is not None and not isinstance(image, str):
            refuse(what, Kind.TEXT.value, image)
        images[reference] = ImageId(cleaned(image or ""))
    return images
