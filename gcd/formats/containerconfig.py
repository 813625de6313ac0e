"""
``containers/<id>/config.v2.json`` and ``hostconfig.json``.

::

    config.v2.json    { "ID", "Name", "Image": "sha256:…", "Driver", "State": {…}, "Config": {…}, "MountPoints": {…} … }
    hostconfig.json   { "AutoRemove": bool, "RestartPolicy": { "Name": … }, … }

Both are read with ``json.Decoder``: bytes after the object do not matter, one field of the wrong kind makes the
container unloadable. The kinds checked here are those that every engine from 18.09 to 29 checks. Environment,
arguments and network settings are not kept.

An image mount (28 and later) looks like this after the engine has set it up: `Name` is the image reference as the user
gave it, ``Spec.Source`` the image id, ``Source`` the directory it was mounted on, ``ID`` the rw layer record's name.

Sources: moby ``container/container.go`` Container, FromDisk, readHostConfig; ``container/state.go`` State;
``daemon/container.go`` load; ``volume/mounts/mounts.go`` MountPoint; ``daemon/volumes.go`` registerMountPoints;
``layer/mounted_layer.go`` Metadata; ``api/types/container/hostconfig.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.gostruct import GoStruct, Kind, Shape, struct_of, struct_of_first
from gcd.formats.runconfig import RUN_CONFIG_SHAPE, labels_of
from gcd.model.errors import FormatError
from gcd.model.facts import ContainerConfig, HostConfig, ImageMountPoint, MountPoint

if TYPE_CHECKING:
    from gcd.formats.gojson import Json

_CONFIG = "config.v2.json"
_HOST_CONFIG = "hostconfig.json"

_STATE_SHAPE = Shape(
    {
        "Paused": Kind.FLAG,
        "Restarting": Kind.FLAG,
        "OOMKilled": Kind.FLAG,
        "Pid": Kind.INTEGER,
        "ExitCode": Kind.INTEGER,
        "Error": Kind.TEXT,
        "StartedAt": Kind.TIME,
        "FinishedAt": Kind.TIME,
        "Health": Kind.OBJECT,
    },
    asked={"Running": Kind.FLAG, "Dead": Kind.FLAG, "RemovalInProgress": Kind.FLAG},
)

_SHAPE = Shape(
    {
        "Created": Kind.TIME,
        "Managed": Kind.FLAG,
        "Path": Kind.TEXT,
        "Args": Kind.TEXTS,
        "NetworkSettings": Kind.OBJECT,
        "LogPath": Kind.TEXT,
        "OS": Kind.TEXT,
        "MountLabel": Kind.TEXT,
        "ProcessLabel": Kind.TEXT,
        "RestartCount": Kind.INTEGER,
        "HasBeenStartedBefore": Kind.FLAG,
        "HasBeenManuallyStopped": Kind.FLAG,
        "SecretReferences": Kind.ARRAY,
        "ConfigReferences": Kind.ARRAY,
        "AppArmorProfile": Kind.TEXT,
        "HostnamePath": Kind.TEXT,
        "HostsPath": Kind.TEXT,
        "ShmPath": Kind.TEXT,
        "ResolvConfPath": Kind.TEXT,
        "SeccompProfile": Kind.TEXT,
        "NoNewPrivileges": Kind.FLAG,
    },
    asked={
        "ID": Kind.TEXT,
        "State": Kind.OBJECT,
        "Config": Kind.OBJECT,
        "MountPoints": Kind.OBJECT,
        "Name": Kind.TEXT,
        "Image": Kind.TEXT,
        "Driver": Kind.TEXT,
    },
    inner={"State": _STATE_SHAPE, "Config": RUN_CONFIG_SHAPE},
)

_SPEC_SHAPE = Shape(
    {
        "Type": Kind.TEXT,
        "Target": Kind.TEXT,
        "ReadOnly": Kind.FLAG,
        "Consistency": Kind.TEXT,
    },
    read={"Source": Kind.TEXT},
)

_MOUNT_POINT_SHAPE = Shape(
    {
        "Relabel": Kind.TEXT,
        "Propagation": Kind.TEXT,
        "SkipMountpointCreation": Kind.FLAG,
    },
    read={
        "Type": Kind.TEXT,
        "Name": Kind.TEXT,
        "Source": Kind.TEXT,
        "Destination": Kind.TEXT,
        "ID": Kind.TEXT,
        "RW": Kind.FLAG,
        "Driver": Kind.TEXT,
    },
    asked={"Spec": Kind.OBJECT},
    inner={"Spec": _SPEC_SHAPE},
)

_RESTART_POLICY_SHAPE = Shape({"MaximumRetryCount": Kind.INTEGER}, asked={"Name": Kind.TEXT})

_HOST_CONFIG_SHAPE = Shape(
    {
        "Binds": Kind.TEXTS,
        "CapAdd": Kind.WORDS,
        "CapDrop": Kind.WORDS,
        "ContainerIDFile": Kind.TEXT,
        "LogConfig": Kind.OBJECT,
        "NetworkMode": Kind.TEXT,
        "PortBindings": Kind.OBJECT,
        "VolumeDriver": Kind.TEXT,
        "VolumesFrom": Kind.TEXTS,
        "Dns": Kind.TEXTS,
        "DnsOptions": Kind.TEXTS,
        "DnsSearch": Kind.TEXTS,
        "ExtraHosts": Kind.TEXTS,
        "GroupAdd": Kind.TEXTS,
        "IpcMode": Kind.TEXT,
        "Cgroup": Kind.TEXT,
        "Links": Kind.TEXTS,
        "OomScoreAdj": Kind.INTEGER,
        "PidMode": Kind.TEXT,
        "Privileged": Kind.FLAG,
        "PublishAllPorts": Kind.FLAG,
        "ReadonlyRootfs": Kind.FLAG,
        "SecurityOpt": Kind.TEXTS,
        "StorageOpt": Kind.TEXT_MAP,
        "Tmpfs": Kind.TEXT_MAP,
        "UTSMode": Kind.TEXT,
        "UsernsMode": Kind.TEXT,
        "ShmSize": Kind.INTEGER,
        "Sysctls": Kind.TEXT_MAP,
        "Runtime": Kind.TEXT,
        "Isolation": Kind.TEXT,
        "Mounts": Kind.ARRAY,
        "MaskedPaths": Kind.TEXTS,
        "ReadonlyPaths": Kind.TEXTS,
        "Init": Kind.FLAG,
    },
    asked={"RestartPolicy": Kind.OBJECT, "AutoRemove": Kind.FLAG},
    inner={"RestartPolicy": _RESTART_POLICY_SHAPE},
)

_IMAGE_MOUNT = "image"


def parse_container_config(raw: bytes) -> ContainerConfig:
    """
    `id` is "" where the file has none, at which the engine takes the directory's name; an ``"ID": ""`` it refuses.

    ``"State": null`` crashes the engine, and is refused here.
    """
    container = struct_of_first(raw, _CONFIG, _SHAPE) or GoStruct((), _CONFIG, _SHAPE)
    identity = container.stated_text("ID")
    if identity == "":
        raise FormatError(f"{_CONFIG}: ID", expected="the directory's name", found="nothing")
    state = container.struct("State")
    if state is None:
        if container.has("State"):
            raise FormatError(f"{_CONFIG}: State", expected=Kind.OBJECT.value, found="null")
        state = GoStruct((), _CONFIG, _STATE_SHAPE)
    config = container.struct("Config")
    points = _mount_points(container)
    return ContainerConfig(
        id=identity or "",
        name=container.text("Name"),
        image=container.text("Image"),
        image_reference=config.text("Image") if config else "",
        driver=container.text("Driver"),
        running=state.flag("Running"),
        dead=state.flag("Dead"),
        removal_in_progress=state.flag("RemovalInProgress"),
        has_config=config is not None,
        labels=labels_of(config),
        image_mounts=tuple(_image_mount(*point) for point in points if point[0].type == _IMAGE_MOUNT),
        mount_points=tuple(mount_point for mount_point, _ in points),
    )


def parse_host_config(raw: bytes) -> HostConfig:
    """``null`` is refused: the engine panics at it."""
    host = struct_of_first(raw, _HOST_CONFIG, _HOST_CONFIG_SHAPE)
    if host is None:
        raise FormatError(_HOST_CONFIG, expected=Kind.OBJECT.value, found="null")
    policy = host.struct("RestartPolicy")
    return HostConfig(auto_remove=host.flag("AutoRemove"), restart_policy=policy.text("Name") if policy else "")


def _mount_points(container: GoStruct) -> tuple[tuple[MountPoint, GoStruct], ...]:
    """Each mount point with all that the file says of it; of entries for one destination the last counts, as in Go."""
    points = {destination: _mount_point(destination, value) for destination, value in container.entries("MountPoints")}
    return tuple(point for point in points.values() if point is not None)


def _mount_point(destination: str, value: Json) -> tuple[MountPoint, GoStruct] | None:
    what = f"{_CONFIG}: MountPoints"
    point = struct_of(value, what, _MOUNT_POINT_SHAPE)
    if point is None:
        return None
    point.struct("Spec")  # for what it refuses
    mount_point = MountPoint(
        destination=point.text("Destination") or destination,
        type=point.text("Type"),
        name=point.text("Name"),
        source=point.text("Source"),
        driver=point.text("Driver"),
        is_writable=point.flag("RW"),
    )
    return mount_point, point


def _image_mount(mount_point: MountPoint, point: GoStruct) -> ImageMountPoint:
    """`source` is the best that the file says of the image: reference, id, or path."""
    spec = point.struct("Spec")
    source = mount_point.name or (spec.text("Source") if spec else "") or mount_point.source
    return ImageMountPoint(mount_point.destination, point.text("ID"), source)
