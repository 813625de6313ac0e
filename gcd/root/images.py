"""
Image configs, image metadata and the references to images.

An image config's name is the digest of its bytes: they are hashed while they are at hand. Names that are not 64 hex
digits are nobody's, as for the engine; of them the names of its temporary files are kept.

References are read after the configs, as the engine writes a config before its reference and removes it after that. An
image that a reference names and that was not there before is looked for once more: it may have come meanwhile. If it is
not there, the references are read once more: a removal takes them first, and may have taken them meanwhile.

Source: moby ``image/fs.go`` (content, metadata), ``reference/store.go`` (``repositories.json``).
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from gcd.formats.imageconfig import parse_image_config
from gcd.formats.repositories import parse_repositories
from gcd.formats.texts import parse_image_parent, parse_last_updated
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.facts import FileType, Image, ImageConfig, ImageMetadata, Repositories, RepositoriesCopy
from gcd.model.ids import ImageId, is_digest, is_hex64
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import Absent, Empty, Malformed, Present, Reading
from gcd.root import parcels
from gcd.root.progress import ALONE, Pace, counted
from gcd.root.record import Wanted, read_pair, read_small
from gcd.root.shares import in_shares
from gcd.root.tree import Directory, combined, in_place_of, listing_state, source_state

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gcd.model.ids import DiffId

CONFIG_LIMIT = 16 << 20
METADATA_LIMIT = 4096
REPOSITORIES_LIMIT = 64 << 20
MAX_COPIES = 16
"""Temporary copies of ``repositories.json`` that are read: a crash leaves one."""

MAX_READINGS = 5
"""How often the references are read again while they name images that are not there, and others each time."""

_INTERNED = cast("Callable[[str], DiffId]", sys.intern)

_COPY_PREFIX = f"{layout.TEMPORARY_PREFIX}repositories.json"


@dataclass(frozen=True, slots=True)
class ImageDb:
    images: Mapping[ImageId, Image]
    metadata: Mapping[ImageId, ImageMetadata]
    state: SourceState
    repositories: Reading[Repositories]
    repositories_state: SourceState
    repositories_ctime_ns: int = 0
    repositories_copies: tuple[RepositoriesCopy, ...] = ()
    temporaries: tuple[str, ...] = ()
    """The paths, relative to the root, of temporary files beside configs and references."""


def read_images(root: Directory, driver: str, pace: Pace = ALONE) -> ImageDb:
    """All images, their metadata (of which there may be none) and ``repositories.json``."""
    configs = layout.image_configs(driver)
    images, temporaries, images_state = read_configs(root, driver, pace)
    metadata, metadata_state = read_metadata(root, driver)
    references = read_references(root, driver)
    images |= _read_latecomers(root, configs, references.repositories, images)
    for _ in range(MAX_READINGS):
        dangling = _dangling(references.repositories, images)
        if not dangling:
            break
        references = read_references(root, driver)
        images |= _read_latecomers(root, configs, references.repositories, images)
        if _dangling(references.repositories, images) <= dangling:
            break
    return ImageDb(
        images,
        metadata,
        combined(images_state, metadata_state),
        references.repositories,
        source_state(layout.repositories(driver), references.repositories),
        references.ctime_ns,
        references.copies,
        (*temporaries, *references.temporaries),
    )


def read_configs(
    root: Directory, driver: str, pace: Pace = ALONE, only: Collection[str] | None = None
) -> tuple[dict[ImageId, Image], list[str], SourceState]:
    """The image configs, or `only` some, and the paths of the temporary files beside them."""
    path = layout.image_configs(driver)
    opened = root.open_path(path)
    if not isinstance(opened, Present):
        return {}, [], source_state(path, opened)
    with opened.value as directory:
        listing = directory.list_named(only)
        kinds = [(name, kind) for name, kind in listing.entries.items() if is_hex64(name)]
        images = in_shares(partial(_images, directory, pace), kinds, pace.readers, parcels)
    temporaries = [f"{path}/{name}" for name in listing.entries if name.startswith(layout.TEMPORARY_PREFIX)]
    return images, temporaries, listing_state(path, listing)


def _images(
    directory: Directory, pace: Pace, kinds: Sequence[tuple[str, FileType]], shares: int
) -> dict[ImageId, Image]:
    read = (_image(directory, name, kind) for name, kind in counted(kinds, Source.IMAGES, pace, shares))
    return {image.id: image for image in read if image is not None}


def _dangling(repositories: Reading[Repositories], images: Mapping[ImageId, Image]) -> set[tuple[str, ImageId]]:
    """The references, each with its image, whose image is not there."""
    if not isinstance(repositories, Present):
        return set()
    return {(name, image) for name, image in repositories.value.references.items() if image not in images}


def _read_latecomers(
    root: Directory, path: str, repositories: Reading[Repositories], images: Mapping[ImageId, Image]
) -> dict[ImageId, Image]:
    """The images that `repositories` names and that came after the configs were listed."""
    if not isinstance(repositories, Present):
        return {}
    unknown = {image for image in repositories.value.references.values() if image not in images and is_digest(image)}
    opened = root.open_path(path) if unknown else None
    if not isinstance(opened, Present):
        return {}
    with opened.value as directory:
        read = (_image(directory, image.removeprefix("sha256:"), FileType.FILE) for image in unknown)
        return {image.id: image for image in read if image is not None}


def _image(directory: Directory, name: str, kind: FileType) -> Image | None:
    image_id = ImageId(f"sha256:{name}")
    if kind is not FileType.FILE:
        status = directory.lstat(name)
        ctime_ns = status.value.st_ctime_ns if isinstance(status, Present) else 0
        return Image(image_id, in_place_of(FileType.FILE, kind), None, ctime_ns)
    raw, ctime_ns = read_small(directory, name, CONFIG_LIMIT, bytes)
    match raw:
        case Present(content):
            return Image(image_id, _config(content), _digest(content), ctime_ns)
        case Absent():
            return None
        case Empty():
            return Image(image_id, raw, _digest(b""), ctime_ns)
        case _:
            return Image(image_id, raw, None, ctime_ns)


def _digest(content: bytes) -> ImageId:
    return ImageId(f"sha256:{hashlib.sha256(content).hexdigest()}")


def _config(content: bytes) -> Reading[ImageConfig]:
    try:
        return Present(parse_image_config(content, _INTERNED))
    except FormatError as error:
        return Malformed(error.expected, error.found, error.offset)


def read_metadata(
    root: Directory, driver: str, only: Collection[str] | None = None
) -> tuple[dict[ImageId, ImageMetadata], SourceState]:
    """What is noted of images, or of `only` some."""
    path = layout.image_metadata_records(driver)
    opened = root.open_path(path)
    if isinstance(opened, Absent):
        return {}, SourceState(Coverage.OK)
    if not isinstance(opened, Present):
        return {}, source_state(path, opened)
    found: dict[ImageId, ImageMetadata] = {}
    with opened.value as directory:
        listing = directory.list_named(only)
        for name in listing.entries:
            pair = read_pair(directory, name, _PARENT, _LAST_UPDATED) if is_hex64(name) else None
            if pair is not None:
                image_id = ImageId(f"sha256:{name}")
                found[image_id] = ImageMetadata(image_id, *pair)
    return found, listing_state(path, listing)


def _parent(raw: bytes) -> ImageId:
    return ImageId(parse_image_parent(raw))


_PARENT = Wanted(layout.PARENT, METADATA_LIMIT, _parent)
_LAST_UPDATED = Wanted(layout.LAST_UPDATED, METADATA_LIMIT, parse_last_updated)


@dataclass(frozen=True, slots=True)
class References:
    """``repositories.json``, its ctime, its temporary copies, oldest first, and the paths of those."""

    repositories: Reading[Repositories]
    ctime_ns: int = 0
    copies: tuple[RepositoriesCopy, ...] = ()
    temporaries: tuple[str, ...] = ()


def read_references(root: Directory, driver: str) -> References:
    path, _, name = layout.repositories(driver).rpartition("/")
    opened = root.open_path(path)
    if not isinstance(opened, Present):
        return References(opened)
    with opened.value as directory:
        repositories, ctime_ns = directory.read_stamped(name, REPOSITORIES_LIMIT, parse_repositories)
        names = sorted(n for n in directory.list().entries if n.startswith(_COPY_PREFIX))
        copies = (
            RepositoriesCopy(n, *directory.read_stamped(n, REPOSITORIES_LIMIT, parse_repositories))
            for n in names[:MAX_COPIES]
        )
        by_age = tuple(sorted(copies, key=lambda copy: copy.ctime_ns))
    return References(repositories, ctime_ns, by_age, tuple(f"{path}/{n}" for n in names))
