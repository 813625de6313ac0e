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

from gcd.formats.escape import escaped
from gcd.formats.gojson import Kind, Shape, Struct, decode_document, struct_of
from gcd.formats.runconfig import RUN_CONFIG_SHAPE, labels_of
from gcd.model.errors import FormatError
from gcd.model.facts import ImageConfig
from gcd.model.ids import DiffId, is_digest

_WHAT = "image config"

_SHAPE = Shape(
    {
        "id": Kind.TEXT,
        "parent": Kind.TEXT,
        "comment": Kind.TEXT,
        "created": Kind.TIME,
        "container": Kind.TEXT,
        "docker_version": Kind.TEXT,
        "author": Kind.TEXT,
        "architecture": Kind.TEXT,
        "history": Kind.ARRAY,
        "os.version": Kind.TEXT,
        "os.features": Kind.TEXTS,
        "Size": Kind.INTEGER,
    }
)

_HISTORY_SHAPE = Shape(
    {
        "created": Kind.TIME,
        "created_by": Kind.TEXT,
        "author": Kind.TEXT,
        "comment": Kind.TEXT,
        "empty_layer": Kind.FLAG,
    }
)

_ROOTFS_SHAPE = Shape({"type": Kind.TEXT})


def parse_image_config(raw: bytes) -> ImageConfig:
    """`os` is ``linux`` where the config names none, as the engine has it; `created` is "" where it says none."""
    image = struct_of(decode_document(raw, _WHAT), _WHAT) or Struct((), _WHAT)
    image.require(_SHAPE)
    for entry in image.items("history"):
        if not _HISTORY_SHAPE.fits(entry) and (step := struct_of(entry, f"{_WHAT}: history")):
            step.require(_HISTORY_SHAPE)
    runs = {name: image.struct(name) for name in ("config", "container_config")}
    for run in runs.values():
        if run:
            run.require(RUN_CONFIG_SHAPE)
    rootfs = image.struct("rootfs")
    if rootfs is None:
        raise FormatError(_WHAT, expected="a rootfs", found="none")
    rootfs.require(_ROOTFS_SHAPE)
    return ImageConfig(
        diff_ids=tuple(_diff_id(text, position) for position, text in enumerate(rootfs.texts("diff_ids"))),
        os=image.text("os") or "linux",
        created=image.text("created"),
        labels=labels_of(runs["config"]),
    )


def _diff_id(text: str, position: int) -> DiffId:
    if not is_digest(text):
        what = f"{_WHAT}: diff_ids[{position}]"
        raise FormatError(what, expected="sha256: and 64 hex digits", found=escaped(text) or "nothing")
    return DiffId(text)
