"""
The engine's memory of what registries call its layers: ``image/<driver>/distribution``.

::

    diffid-by-digest/sha256/<digest of a layer's archive>    sha256:<diff id>
    v2metadata-by-diffid/sha256/<diff id>                    [ { "Digest", "SourceRepository", "HMAC" }, … ]

A cache: the engine takes what it cannot read for nothing known, and what a record names need not be there any more.

Sources: moby ``distribution/metadata/v2_metadata_service.go`` GetMetadata, GetDiffID, Add. The same from 18.09 to 29.
"""

from __future__ import annotations

from gcd.formats.gojson import decode_document, refuse
from gcd.formats.gostruct import Kind, Shape, struct_of
from gcd.formats.texts import parse_digest

_SOURCE = Shape({"Digest": Kind.TEXT, "SourceRepository": Kind.TEXT, "HMAC": Kind.TEXT})


def check_diff_id(raw: bytes) -> None:
    """Raise `FormatError` unless `raw` is the diff id of a layer."""
    parse_digest(raw, "diffid-by-digest")


def check_sources(raw: bytes) -> None:
    """Raise `FormatError` unless the engine would take `raw` for the sources of a layer."""
    what = "v2metadata-by-diffid"
    sources = decode_document(raw, what)
    if not isinstance(sources, list | None):
        refuse(what, Kind.ARRAY.value, sources)
    for source in sources or ():
        struct_of(source, what, _SOURCE)
