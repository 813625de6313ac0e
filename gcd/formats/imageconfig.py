"""
``imagedb/content/sha256/<hex>``: an image's config, of which gcd needs the layers.

::

    { "rootfs": { "type": "layers", "diff_ids": ["sha256:…", …] },   required, diff_ids may be missing: no layers
      "os": "linux", "created": "<RFC 3339>", "history": […], "config": {…}, … }

Its bytes hash to its name; that is the reader's business. The engine reads it with ``json.Unmarshal`` and calls it
"invalid image" without a ``rootfs`` or with a field of the wrong kind. It looks at ``rootfs.type`` only on Windows. A
diff id that is no digest it finds out later, as a layer that it does not have: the image is lost either way, and gcd
refuses it here. The environment is not kept.

Sources: moby ``image/image.go`` NewFromJSON, V1Image, Image, OperatingSystem; ``image/rootfs.go``; ``image/store.go``
restore. The same from 18.09 to 29.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.escape import escaped
from gcd.formats.gostruct import GoStruct, Kind, Shape, struct_of_document
from gcd.formats.runconfig import RUN_CONFIG_SHAPE, labels_of
from gcd.model.errors import FormatError
from gcd.model.facts import ImageConfig
from gcd.model.ids import are_digests, chains_of, is_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcd.model.ids import KnownChains

_WHAT = "image config"

_HISTORY_SHAPE = Shape(
    {
        "created": Kind.TIME,
        "created_by": Kind.TEXT,
        "author": Kind.TEXT,
        "comment": Kind.TEXT,
        "empty_layer": Kind.FLAG,
    }
)

_ROOTFS_SHAPE = Shape({"type": Kind.TEXT}, asked={"diff_ids": Kind.TEXTS})

_SHAPE = Shape(
    {
        "id": Kind.TEXT,
        "parent": Kind.TEXT,
        "comment": Kind.TEXT,
        "container": Kind.TEXT,
        "docker_version": Kind.TEXT,
        "author": Kind.TEXT,
        "architecture": Kind.TEXT,
        "os.version": Kind.TEXT,
        "os.features": Kind.TEXTS,
        "Size": Kind.INTEGER,
        "history": Kind.ARRAY,
    },
    read={"created": Kind.TIME},
    asked={"config": Kind.OBJECT, "container_config": Kind.OBJECT, "rootfs": Kind.OBJECT, "os": Kind.TEXT},
    inner={
        "config": RUN_CONFIG_SHAPE,
        "container_config": RUN_CONFIG_SHAPE,
        "history": _HISTORY_SHAPE,
        "rootfs": _ROOTFS_SHAPE,
    },
)


def parse_image_config(raw: bytes, known: KnownChains | None = None, one: Callable[[str], str] = str) -> ImageConfig:
    """
    `os` is ``linux`` where the config names none, as the engine has it; `created` is "" where it says none. `known` are
    the chains that were computed for other configs; for both see `chains_of`.
    """
    image = struct_of_document(raw, _WHAT, _SHAPE) or GoStruct((), _WHAT, _SHAPE)
    image.check_items("history")
    stated = [name for name in ("config", "container_config") if image.has(name)]
    runs = {name: image.struct(name) for name in stated}
    rootfs = image.struct("rootfs")
    if rootfs is None:
        raise FormatError(_WHAT, expected="a rootfs", found="none")
    return ImageConfig(
        chains=chains_of(_digests(rootfs.texts("diff_ids")), {} if known is None else known, one),
        os=image.text("os") or "linux",
        created=image.text("created"),
        labels=labels_of(runs.get("config")),
    )


def _digests(texts: tuple[str, ...]) -> tuple[str, ...]:
    if are_digests(texts):
        return texts
    for position, text in enumerate(texts):
        if not is_digest(text):
            what = f"{_WHAT}: diff_ids[{position}]"
            raise FormatError(what, expected="sha256: and 64 hex digits", found=escaped(text) or "nothing")
    return texts
