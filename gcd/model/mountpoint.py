"""What a container has mounted into it, as ``config.v2.json`` says (moby ``volume/mounts/mounts.go`` MountPoint)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MountPoint:
    """
    A volume, bind, tmpfs or image that the container has mounted at `destination` whenever it runs.

    `type` is Docker's word for it, "" in files of engines that had none; `name` that of a volume or image, `source` a
    path of the host. All are the engine's or the user's own texts.
    """

    destination: str
    type: str
    name: str
    source: str
    driver: str
    is_writable: bool
