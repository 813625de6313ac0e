"""``containers/``: what gcd needs of the configurations (moby ``container/container.go``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from gcd.model.facts.images import UNLABELLED, Labels

if TYPE_CHECKING:
    from gcd.model.ids import ContainerId
    from gcd.model.reading import Reading


class ImageMountPoint(Struct, frozen=True):
    """
    An image mounted into a container (28 and later): `layer_name` is its rw layer record's name where one is said.
    """

    destination: str
    layer_name: str
    source: str


class MountPoint(Struct, frozen=True):
    """
    A volume, bind, tmpfs or image that the container has mounted at `destination` whenever it runs (moby
    ``volume/mounts/mounts.go`` MountPoint).

    `type` is Docker's word for it, "" in files of engines that had none; `name` that of a volume or image, `source` a
    path of the host. All are the engine's or the user's own texts.
    """

    destination: str
    type: str
    name: str
    source: str
    driver: str
    is_writable: bool


class ContainerConfig(Struct, frozen=True):
    """
    What gcd needs of a ``config.v2.json``.

    `image` may name an image that was removed by force, and is "" for none. `has_config` is False for
    ``"Config": null``, at which the engine panics. `running` is stale after a crash. `dead` and
    `removal_in_progress` mark a removal that has begun.
    """

    id: str
    name: str
    image: str
    image_reference: str
    driver: str
    running: bool
    dead: bool
    removal_in_progress: bool
    has_config: bool
    image_mounts: tuple[ImageMountPoint, ...] = ()
    mount_points: tuple[MountPoint, ...] = ()
    labels: Labels = UNLABELLED

    @property
    def is_being_removed(self) -> bool:
        return self.dead or self.removal_in_progress


class HostConfig(Struct, frozen=True):
    auto_remove: bool
    restart_policy: str


class Container(Struct, frozen=True):
    """
    ``containers/<id>``; `ctime_ns` is the newest of the directory and the two files. `temporaries`: ``.tmp-…`` names.
    """

    id: ContainerId
    config: Reading[ContainerConfig]
    host_config: Reading[HostConfig]
    ctime_ns: int
    temporaries: tuple[str, ...] = ()
