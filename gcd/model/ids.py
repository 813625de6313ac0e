"""
Identifiers, as Docker spells them, and the chain id.

Each kind of id is a ``NewType`` over ``str``, so that a cache id cannot be passed for a chain id. Digests keep their
algorithm (``sha256:<64 hex>``), as they stand inside Docker's files. The ``is_…`` predicates are the only place that
knows the alphabets; whatever does not match them is never used to build a path.

Sources: moby ``daemon/graphdriver/overlayutils/randomid.go`` GenerateID (link ids), ``pkg/stringid`` (64 hex),
buildkit ``identity/randomid.go`` NewID (25 characters of base 36), moby ``layer/layer.go`` CreateChainID.
"""

from __future__ import annotations

import hashlib
import re
from itertools import repeat
from typing import TYPE_CHECKING, NewType, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ChainId = NewType("ChainId", str)
"""``sha256:<hex>`` of a stack of layers; for a base layer it equals the diff id."""

DiffId = NewType("DiffId", str)
"""``sha256:<hex>`` of one layer's uncompressed tar stream."""

ImageId = NewType("ImageId", str)
"""``sha256:<hex>`` of an image config's bytes."""

ContainerId = NewType("ContainerId", str)
"""64 hex digits; the name of a directory in ``containers/``."""

LayerDirId = NewType("LayerDirId", str)
"""The name of a directory in ``overlay2/``: what Docker calls cache id, mount id or init id."""

LinkId = NewType("LinkId", str)
"""26 characters of base 32: the name of a symlink in ``overlay2/l`` and the content of a ``link`` file."""

RwLayerName = NewType("RwLayerName", str)
"""
The path of a directory below ``layerdb/mounts/``: a container id, or one of the forms that builds and image mounts use.
"""

ImageChains = tuple[tuple[ChainId, DiffId], ...]
"""The chains that an image needs, base first, each with its diff id."""

KnownChains = dict[tuple["ChainId | None", str], tuple[ChainId, DiffId]]
"""By parent and diff id, the chains computed so far, each with its diff id."""

HEX64 = "[0-9a-f]{64}"
DIGEST = f"sha256:{HEX64}"
INIT_DIR = f"{HEX64}-init"
BUILD_ID = "[0-9a-z]{25}"
LAYER_DIR_ID = f"{HEX64}|{BUILD_ID}|{INIT_DIR}"
"""The forms of ids, as regular expressions."""

_PREFIX = "sha256:"
_HEX_DIGITS = b"0123456789abcdef"
_DIGEST_LENGTH = 71
_DIGEST = re.compile(DIGEST)
_HEX64 = re.compile(HEX64)
_INIT = re.compile(INIT_DIR)
_BUILD = re.compile(BUILD_ID)
_LAYER_DIR = re.compile(LAYER_DIR_ID)
_LINK = re.compile(r"[A-Z2-7]{26}")
_REMOVING = re.compile(r"([0-9a-f]{64})-[0-9a-f]{64}-removing")

INIT_SUFFIX = "-init"


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def are_digests(texts: tuple[str, ...]) -> bool:
    """Whether all of `texts` are digests, in a quarter of the time that it takes to ask for one after the other."""
    joined = "".join(texts)
    return (
        joined.isascii()
        and joined.encode().translate(None, _HEX_DIGITS) == _PREFIX.encode().translate(None, _HEX_DIGITS) * len(texts)
        and all(map(str.startswith, texts, repeat(_PREFIX)))
        and {_DIGEST_LENGTH}.issuperset(map(len, texts))
    )


def is_hex64(text: str) -> bool:
    """Whether `text` has the form of a container id, or of a layer dir made by pull, load, commit or create."""
    return _HEX64.fullmatch(text) is not None


def is_init_dir(text: str) -> TypeGuard[LayerDirId]:
    """Whether `text` names an init layer's dir: ``<64 hex>-init``."""
    return _INIT.fullmatch(text) is not None


def is_build_id(text: str) -> TypeGuard[LayerDirId]:
    """Whether `text` has the form of a BuildKit id; such an id can also be the cache id of a layer."""
    return _BUILD.fullmatch(text) is not None


def is_layer_dir_id(text: str) -> TypeGuard[LayerDirId]:
    return _LAYER_DIR.fullmatch(text) is not None


def is_link_id(text: str) -> TypeGuard[LinkId]:
    return _LINK.fullmatch(text) is not None


def removing_chain(name: str) -> ChainId | None:
    """
    The chain id in the name ``<chain>-<64 hex>-removing`` that the engine gives to a record it deletes, else None.
    """
    match = _REMOVING.fullmatch(name)
    return ChainId(f"sha256:{match[1]}") if match else None


def init_dir_of(mount_id: LayerDirId) -> LayerDirId:
    return LayerDirId(mount_id + INIT_SUFFIX)


def rw_dir_of(init_id: LayerDirId) -> LayerDirId:
    return LayerDirId(init_id.removesuffix(INIT_SUFFIX))


def chain_id(parent: ChainId | None, diff_id: DiffId) -> ChainId:
    """The chain id of a layer `diff_id` on top of `parent` (None: a base layer)."""
    if parent is None:
        return ChainId(diff_id)
    return ChainId("sha256:" + hashlib.sha256(f"{parent} {diff_id}".encode()).hexdigest())


def chain_ids(diff_ids: tuple[DiffId, ...]) -> tuple[ChainId, ...]:
    """The chain ids of an image's layers, base first, one for each diff id."""
    return tuple(chain for chain, _ in chains_of(diff_ids, {}))


def chains_of(diff_ids: Iterable[str], known: KnownChains, one: Callable[[str], str] = str) -> ImageChains:
    """
    The chains of an image's layers, base first. What is computed is kept in `known`: images share their lower layers,
    so most are asked for many times. `one` may give one object for all texts that are equal: records name them, too.
    """
    found: list[tuple[ChainId, DiffId]] = []
    parent: ChainId | None = None
    for diff_id in diff_ids:
        key = (parent, diff_id)
        link = known.get(key)
        if link is None:
            link = ChainId(one(chain_id(parent, DiffId(diff_id)))), DiffId(one(diff_id))
            known[key] = link
        found.append(link)
        parent = link[0]
    return tuple(found)


def repository_of(reference: str) -> str:
    """
    The repository in the text of a `reference` to an image; a colon before the last slash is that of a port.
    """
    name = reference.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]
