"""
The small text files of the layer store and of overlay2, accepted exactly where the engine accepts them.

::

    layerdb/sha256/<chain>/diff, parent     digest                          whitespace around it is trimmed
    layerdb/sha256/<chain>/cache-id         name of a layer dir             trimmed
    layerdb/sha256/<chain>/size             strconv.ParseInt(…, 10, 64)     raw: a newline makes the layer unloadable
    layerdb/mounts/<name>/mount-id, init-id [a-f0-9]{64}(-init)?            trimmed
    layerdb/mounts/<name>/parent            digest                          trimmed
    overlay2/<id>/link                      26 characters of base 32        raw: a newline would be part of the name
    overlay2/l/<link id>                    symlink to ../<id>/diff
    imagedb/metadata/…/parent               digest                          raw
    imagedb/metadata/…/lastUpdated          RFC 3339                        raw

Two forms that the engine would take are refused, because nothing good can come of them: digests of other algorithms
than sha256 (the layer store lists no others, so nothing is ever found by them), and cache ids that no engine makes
(they would become paths).

Sources: moby ``layer/filestore.go`` GetSize, GetParent, GetDiffID, GetCacheID, GetMountID, GetInitID, GetMountParent;
``daemon/graphdriver/overlay2/overlay.go`` create, getLower, Remove; ``image/store.go`` GetParent, GetLastUpdated;
go-digest ``digest.go`` Validate, ``algorithm.go``. The same from 18.09 to 29.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gcd.formats.escape import escaped
from gcd.formats.gotime import is_rfc3339
from gcd.model.errors import FormatError
from gcd.model.ids import LayerDirId, LinkId, is_digest, is_layer_dir_id, is_link_id

if TYPE_CHECKING:
    from typing import NoReturn

_GO_SPACE = "\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What Go's strings.TrimSpace trims; str.strip() would also take the separators 0x1c to 0x1f."""

_INTEGER = re.compile(rb"([+-]?)0*([0-9]*)")
_MOUNT_ID = re.compile(r"[a-f0-9]{64}(-init)?")
_LINK_TARGET = re.compile(r"\.\./([^/]+)/diff")


def parse_digest(raw: bytes, what: str) -> str:
    """The digest in the file named by `what`; to be wrapped by the caller as the id that its place makes it."""
    text = _trimmed(raw)
    if not is_digest(text):
        _refuse(what, "sha256: and 64 hex digits", raw)
    return text


def parse_size(raw: bytes, what: str = "size") -> int:
    """Bytes; the engine also loads negative and zero-padded numbers, so they are values."""
    match = _INTEGER.fullmatch(raw)
    digits = match[2] if match and raw[-1:].isdigit() else None
    # 19 digits hold every 64-bit number; int() must not see a longer one, for its cost and for its own limit.
    if match is None or digits is None or len(digits) > 19:
        _refuse(what, "a decimal number", raw)
    number = int(digits or b"0")
    if match[1] == b"-":
        number = -number
    if not -(2**63) <= number < 2**63:
        _refuse(what, "a number of 64 bits", raw)
    return number


def parse_layer_dir_id(raw: bytes, what: str) -> LayerDirId:
    text = _trimmed(raw)
    if not is_layer_dir_id(text):
        _refuse(what, "the name of a layer dir", raw)
    return text


def parse_mount_id(raw: bytes) -> LayerDirId:
    return _mount_id(raw, "mount-id")


def parse_init_id(raw: bytes) -> LayerDirId:
    return _mount_id(raw, "init-id")


def parse_link(raw: bytes) -> LinkId:
    """A ``link`` file's content. The engine checks nothing, but what is no link id here breaks every layer above."""
    text = raw.decode("utf-8", "surrogateescape")
    if not is_link_id(text):
        _refuse("link", "26 characters of A-Z and 2-7", raw)
    return text


def parse_link_target(text: str) -> LayerDirId:
    """The layer dir that a symlink in ``overlay2/l`` names; `text` is what readlink gave."""
    match = _LINK_TARGET.fullmatch(text)
    if match is None or not is_layer_dir_id(match[1]):
        _refuse("link symlink", "../<layer dir>/diff", text)
    return match[1]


def parse_image_parent(raw: bytes) -> str:
    """The parent image's digest, which the engine compares untrimmed: with a newline it names no image."""
    text = raw.decode("utf-8", "surrogateescape")
    if not is_digest(text):
        _refuse("parent", "sha256: and 64 hex digits", raw)
    return text


def parse_last_updated(raw: bytes) -> str:
    text = raw.decode("utf-8", "surrogateescape")
    if not is_rfc3339(text):
        _refuse("lastUpdated", "a time as in RFC 3339", raw)
    return text


def _mount_id(raw: bytes, what: str) -> LayerDirId:
    text = _trimmed(raw)
    if _MOUNT_ID.fullmatch(text) is None:
        _refuse(what, "64 hex digits, or these and -init", raw)
    return LayerDirId(text)


def _trimmed(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape").strip(_GO_SPACE)


def _refuse(what: str, expected: str, found: str | bytes) -> NoReturn:
    raise FormatError(what, expected=expected, found=escaped(found) or "nothing")
