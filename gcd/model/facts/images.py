"""Image configs, their metadata and names, and what registries have (moby ``image/fs.go``, ``reference/store.go``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model.reading import Present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.model.ids import DiffId, ImageChains, ImageId
    from gcd.model.reading import Reading


class Labels(tuple[tuple[str, str], ...]):
    """
    What an image or a container is labelled with: keys and values, sorted. Some hold what is nobody's business: they
    are printed nowhere.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} labels>"


UNLABELLED = Labels()


class ImageConfig(Struct, frozen=True):
    """What gcd needs of an image config; an image without layers has no `chains`."""

    chains: ImageChains
    os: str
    created: str = ""
    labels: Labels = UNLABELLED

    @property
    def diff_ids(self) -> tuple[DiffId, ...]:
        """Base first."""
        return tuple(diff_id for _, diff_id in self.chains)


class Image(Struct, frozen=True):
    """``imagedb/content/sha256/<hex>``; `digest` is that of the bytes found (None if they could not be read)."""

    id: ImageId
    config: Reading[ImageConfig]
    digest: ImageId | None
    ctime_ns: int

    @property
    def chains(self) -> ImageChains:
        """The chains that the config implies; none where it cannot be read."""
        return self.config.value.chains if isinstance(self.config, Present) else ()

    @property
    def is_sound(self) -> bool:
        """Whether the engine takes the config for valid: it parses, and its bytes hash to its name."""
        return isinstance(self.config, Present) and self.digest == self.id


class ImageMetadata(Struct, frozen=True):
    """
    ``imagedb/metadata/sha256/<hex>``: the parent image of a classic build, and when it was last tagged.

    `ctime_ns` is the newest of the directory and the two files. `temporaries`: ``.tmp-…`` names.
    """

    id: ImageId
    parent: Reading[ImageId]
    last_updated: Reading[str]
    ctime_ns: int = 0
    temporaries: tuple[str, ...] = ()


class Repositories(Struct, frozen=True):
    """``repositories.json``: every reference (``name:tag`` or ``name@sha256:…``) with the image it names."""

    references: Mapping[str, ImageId]


class RepositoriesCopy(Struct, frozen=True):
    """``.tmp-repositories.json<digits>``: what the engine was about to put in the place of ``repositories.json``."""

    name: str
    content: Reading[Repositories]
    ctime_ns: int


class DistributionRecord(Struct, frozen=True):
    """
    A file of ``distribution/``, the engine's memory of which layer a registry knows by which digest.

    `path` is relative to ``distribution/``. `content` says whether it can be read, never what it names: an entry about
    a layer that is gone is normal.
    """

    path: str
    content: Reading[None]
    ctime_ns: int
