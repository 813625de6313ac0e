"""
Image configs, image metadata and the references to images.

An image config's name is the digest of its bytes: they are hashed while they are at hand. Names that are not 64 hex
digits (the engine's own temporary files among them) are nobody's, as for the engine.

Source: moby ``image/fs.go`` (content, metadata), ``reference/store.go`` (``repositories.json``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcd.formats.imageconfig import parse_image_config
from gcd.formats.repositories import parse_repositories
from gcd.formats.texts import parse_image_parent, parse_last_updated
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.facts import FileType, Image, ImageConfig, ImageMetadata, Repositories
from gcd.model.ids import ImageId, is_hex64
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import Absent, Empty, Malformed, Present, Reading
from gcd.root.progress import Progress, counted
from gcd.root.record import open_record
from gcd.root.tree import Directory, combined, in_place_of, listing_state, source_state

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_LIMIT = 16 << 20
METADATA_LIMIT = 4096
REPOSITORIES_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class ImageDb:
    images: Mapping[ImageId, Image]
    metadata: Mapping[ImageId, ImageMetadata]
    state: SourceState
    repositories: Reading[Repositories]
    repositories_state: SourceState


def read_images(root: Directory, driver: str, progress: Progress | None = None) -> ImageDb:
    """All images, their metadata (of which there may be none) and ``repositories.json``."""
    images, images_state = _read_configs(root, layout.image_configs(driver), progress)
    metadata, metadata_state = _read_metadata(root, layout.image_metadata_records(driver))
    repositories = _read_repositories(root, driver)
    return ImageDb(
        images,
        metadata,
        combined(images_state, metadata_state),
        repositories,
        source_state(layout.repositories(driver), repositories),
    )


def _read_configs(root: Directory, path: str, progress: Progress | None) -> tuple[dict[ImageId, Image], SourceState]:
    opened = root.open_path(path)
    if not isinstance(opened, Present):
        return {}, source_state(path, opened)
    images: dict[ImageId, Image] = {}
    with opened.value as directory:
        listing = directory.list()
        for name, kind in counted(listing.entries.items(), Source.IMAGES, progress):
            image = _image(directory, name, kind) if is_hex64(name) else None
            if image is not None:
                images[image.id] = image
    return images, listing_state(path, listing)


def _image(directory: Directory, name: str, kind: FileType) -> Image | None:
    image_id = ImageId(f"sha256:{name}")
    if kind is not FileType.FILE:
        status = directory.lstat(name)
        ctime_ns = status.value.st_ctime_ns if isinstance(status, Present) else 0
        return Image(image_id, in_place_of(FileType.FILE, kind), None, ctime_ns)
    raw, ctime_ns = directory.read_stamped(name, CONFIG_LIMIT, bytes)
    match raw:
        case Absent():
            return None
        case Present(content):
            return Image(image_id, _config(content), _digest(content), ctime_ns)
        case Empty():
            return Image(image_id, raw, _digest(b""), ctime_ns)
        case _:
            return Image(image_id, raw, None, ctime_ns)


def _digest(content: bytes) -> ImageId:
    return ImageId(f"sha256:{hashlib.sha256(content).hexdigest()}")


def _config(content: bytes) -> Reading[ImageConfig]:
    try:
        return Present(parse_image_config(content))
    except FormatError as error:
        return Malformed(error.expected, error.found, error.offset)


def _read_metadata(root: Directory, path: str) -> tuple[dict[ImageId, ImageMetadata], SourceState]:
    opened = root.open_path(path)
    if isinstance(opened, Absent):
        return {}, SourceState(Coverage.OK)
    if not isinstance(opened, Present):
        return {}, source_state(path, opened)
    found: dict[ImageId, ImageMetadata] = {}
    with opened.value as directory:
        listing = directory.list()
        for name in listing.entries:
            record = open_record(directory, name) if is_hex64(name) else None
            if record is not None:
                with record:
                    image_id = ImageId(f"sha256:{name}")
                    parent = record.read(layout.PARENT, METADATA_LIMIT, _parent)
                    last_updated = record.read(layout.LAST_UPDATED, METADATA_LIMIT, parse_last_updated)
                    found[image_id] = ImageMetadata(image_id, parent, last_updated)
    return found, listing_state(path, listing)


def _parent(raw: bytes) -> ImageId:
    return ImageId(parse_image_parent(raw))


def _read_repositories(root: Directory, driver: str) -> Reading[Repositories]:
    directory_path, _, name = layout.repositories(driver).rpartition("/")
    opened = root.open_path(directory_path)
    if not isinstance(opened, Present):
        return opened
    with opened.value as directory:
        return directory.read(name, REPOSITORIES_LIMIT, parse_repositories)
