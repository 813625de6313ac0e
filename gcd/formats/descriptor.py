"""
JSON files of which only the soundness matters.

::

    layerdb/sha256/<chain>/descriptor.json    { "mediaType", "size", "digest", "urls", "annotations", "platform" }
    plugins/<id>/config.json                  { "plugin": { "Id", "Name", "Enabled", … }, "Rootfs", … }
    volumes/<name>/opts.json                  { "MountType", "MountOpts", "MountDevice", "Quota" }

The engine reads all with ``json.Unmarshal``. A descriptor exists only for layers that came from elsewhere than a
registry (on Linux hardly ever), but a broken one makes its layer unloadable.

Sources: moby ``layer/filestore.go`` GetDescriptor; docker distribution ``blobs.go`` Descriptor;
``plugin/manager.go`` loadPlugin; ``volume/local/local.go``.
"""

from __future__ import annotations

from gcd.formats.gostruct import Kind, Shape, struct_of_document

_DESCRIPTOR_SHAPE = Shape(
    {
        "mediaType": Kind.TEXT,
        "size": Kind.INTEGER,
        "digest": Kind.TEXT,
        "urls": Kind.TEXTS,
        "annotations": Kind.OBJECT,
        "platform": Kind.OBJECT,
    }
)

_VOLUME_OPTIONS_SHAPE = Shape(
    {"MountType": Kind.TEXT, "MountOpts": Kind.TEXT, "MountDevice": Kind.TEXT, "Quota": Kind.OBJECT}
)


def check_descriptor(raw: bytes) -> None:
    """Raise `FormatError` unless the engine would take `raw` for a layer's ``descriptor.json``."""
    struct_of_document(raw, "descriptor.json", _DESCRIPTOR_SHAPE)


def check_plugin_config(raw: bytes) -> None:
    """Raise `FormatError` unless `raw` is one JSON object, or null."""
    struct_of_document(raw, "plugin config", Shape())


def check_volume_options(raw: bytes) -> None:
    """Raise `FormatError` unless the engine would take `raw` for a volume's ``opts.json``."""
    struct_of_document(raw, "opts.json", _VOLUME_OPTIONS_SHAPE)
