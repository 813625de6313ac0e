"""
Image configs, image metadata and the references to images.

An image config's name is the digest of its bytes. Reading configs and making something of them are two steps: the
second needs no root. Names that are not 64 hex digits are nobody's, as for the engine; of them the names of its
temporary files are kept.

References are read after the configs, as the engine writes a config before its reference and removes it after that. An
image that a reference names and that was not there before is looked for once more: it may have come meanwhile. If it is
not there, the references are read once more: a removal takes them first, and may have taken them meanwhile.

Source: moby ``image/fs.go`` (content, metadata), ``reference/store.go`` (``repositories.json``).
"""

from __future__ import annotations

import hashlib
from functools import partial
from sys import intern
from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.formats.imageconfig import parse_image_config
from gcd.formats.repositories import parse_repositories
from gcd.formats.texts import parse_image_parent, parse_last_updated
from gcd.model import layout
from gcd.model.facts import FileType, Image, ImageMetadata, Repositories, RepositoriesCopy
from gcd.model.ids import ImageId, is_digest, is_hex64
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import Absent, Empty, Present, Reading
from gcd.root.progress import ALONE, Pace
from gcd.root.record import Wanted, read_pairs, read_small
from gcd.root.shares import in_threads
from gcd.root.tree import Directory, combined, in_place_of, listing_state, parsed_reading, source_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

CONFIG_LIMIT = 16 << 20
METADATA_LIMIT = 4096
REPOSITORIES_LIMIT = 64 << 20
MAX_COPIES = 16
"""Temporary copies of ``repositories.json`` that are read: a crash leaves one."""

MAX_READINGS = 5
"""How often the references are read again while they name images that are not there, and others each time."""

ConfigFile = tuple[Reading[bytes], int]
"""An image config as it stands, and its ctime."""

_COPY_PREFIX = f"{layout.TEMPORARY_PREFIX}repositories.json"


class ImageDb(Struct, frozen=True):
    """What there is beside the configs."""

    metadata: Mapping[ImageId, ImageMetadata]
    state: SourceState
    repositories: Reading[Repositories]
    repositories_state: SourceState
    repositories_ctime_ns: int = 0
    repositories_copies: tuple[RepositoriesCopy, ...] = ()
    temporaries: tuple[str, ...] = ()
    """The paths, relative to the root, of temporary files beside configs and references."""


def read_imagedb(root: Directory, driver: str, pace: Pace = ALONE) -> tuple[dict[ImageId, ConfigFile], ImageDb]:
    """All image configs, their metadata (of which there may be none) and ``repositories.json``."""
    configs, temporaries, configs_state = read_configs(root, driver, pace)
    metadata, metadata_state = read_metadata(root, driver, pace)
    references = read_references(root, driver)
    configs |= _read_latecomers(root, driver, references.repositories, configs)
    for _ in range(MAX_READINGS):
        dangling = _dangling(references.repositories, configs)
        if not dangling:
            break
        references = read_references(root, driver)
        configs |= _read_latecomers(root, driver, references.repositories, configs)
        if _dangling(references.repositories, configs) <= dangling:
            break
    return configs, ImageDb(
        metadata,
        combined(configs_state, metadata_state),
        references.repositories,
        source_state(layout.repositories(driver), references.repositories),
        references.ctime_ns,
        references.copies,
        (*temporaries, *references.temporaries),
    )


def read_configs(
    root: Directory, driver: str, pace: Pace = ALONE, only: Collection[str] | None = None
) -> tuple[dict[ImageId, ConfigFile], list[str], SourceState]:
    """The image configs, or `only` some, and the paths of the temporary files beside them."""
    path = layout.image_configs(driver)
    opened = root.open_path(path)
    if not isinstance(opened, Present):
        return {}, [], source_state(path, opened)
    with opened.value as directory:
        listing = directory.list_named(only)
        kinds = {name: kind for name, kind in listing.entries.items() if is_hex64(name)}
        files = [name for name, kind in kinds.items() if kind is FileType.FILE]
        configs = in_threads(partial(_read_configs, directory), files, Source.IMAGES, pace)
        configs |= {_image_id(name): _in_place_of(directory, name, kinds[name]) for name in kinds.keys() - files}
    temporaries = [f"{path}/{name}" for name in listing.entries if name.startswith(layout.TEMPORARY_PREFIX)]
    return configs, temporaries, listing_state(path, listing)


def images_of(configs: Mapping[ImageId, ConfigFile]) -> dict[ImageId, Image]:
    """The images that `configs` describe."""
    parse = partial(parse_image_config, known={}, one=intern)
    return {
        image_id: Image(image_id, parsed_reading(content, parse), _digest(content), ctime_ns)
        for image_id, (content, ctime_ns) in configs.items()
    }


def _read_configs(directory: Directory, names: Sequence[str]) -> dict[ImageId, ConfigFile]:
    read = zip(names, read_small(directory, names, CONFIG_LIMIT), strict=True)
    return {_image_id(name): config for name, config in read if not isinstance(config[0], Absent)}


def _dangling(repositories: Reading[Repositories], images: Collection[ImageId]) -> set[tuple[str, ImageId]]:
    """The references, each with its image, whose image is not there."""
    if not isinstance(repositories, Present):
        return set()
    return {(name, image) for name, image in repositories.value.references.items() if image not in images}


def _read_latecomers(
    root: Directory, driver: str, repositories: Reading[Repositories], images: Collection[ImageId]
) -> dict[ImageId, ConfigFile]:
    """The configs of images that `repositories` names and that came after the configs were listed."""
    if not isinstance(repositories, Present):
        return {}
    unknown = {image for image in repositories.value.references.values() if image not in images and is_digest(image)}
    opened = root.open_path(layout.image_configs(driver)) if unknown else None
    if not isinstance(opened, Present):
        return {}
    with opened.value as directory:
        return _read_configs(directory, [image.removeprefix("sha256:") for image in unknown])


def _image_id(name: str) -> ImageId:
    return ImageId(f"sha256:{name}")


def _in_place_of(directory: Directory, name: str, kind: FileType) -> ConfigFile:
    status = directory.lstat(name)
    return in_place_of(FileType.FILE, kind), status.value.st_ctime_ns if isinstance(status, Present) else 0


def _digest(content: Reading[bytes]) -> ImageId | None:
    """What the config should be named after; None where it was not read."""
    match content:
        case Present(raw):
            return ImageId(f"sha256:{hashlib.sha256(raw).hexdigest()}")
        case Empty():
            return ImageId(f"sha256:{hashlib.sha256().hexdigest()}")
        case _:
            return None


def read_metadata(
    root: Directory, driver: str, pace: Pace = ALONE, only: Collection[str] | None = None
) -> tuple[dict[ImageId, ImageMetadata], SourceState]:
    """What is noted of images, or of `only` some."""
    path = layout.image_metadata_records(driver)
    opened = root.open_path(path)
    if isinstance(opened, Absent):
        return {}, SourceState(Coverage.OK)
    if not isinstance(opened, Present):
        return {}, source_state(path, opened)
    with opened.value as directory:
        listing = directory.list_named(only)
        names = [name for name in listing.entries if is_hex64(name)]
        found = in_threads(partial(_read_metadata, directory), names, Source.IMAGES, pace)
    return found, listing_state(path, listing)


def _read_metadata(directory: Directory, names: Sequence[str]) -> dict[ImageId, ImageMetadata]:
    return {
        _image_id(name): ImageMetadata(_image_id(name), *pair)
        for name, pair in read_pairs(directory, names, _PARENT, _LAST_UPDATED)
    }


def _parent(raw: bytes) -> ImageId:
    return ImageId(parse_image_parent(raw))


_PARENT = Wanted(layout.PARENT, METADATA_LIMIT, _parent)
_LAST_UPDATED = Wanted(layout.LAST_UPDATED, METADATA_LIMIT, parse_last_updated)


class References(Struct, frozen=True):
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
