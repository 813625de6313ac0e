"""
The JSON files of images and containers, with the keys and defaults that Docker 20.10.24 writes.

Sources: moby ``image/image.go``, ``container/container.go`` toDisk, ``api/types/container/hostconfig.go``; files that
an engine wrote for ``docker create`` and ``docker run``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gcd.demo.placing import compact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.model.ids import ContainerId, DiffId, ImageId

CREATED = "2020-09-13T12:26:40Z"
_NEVER = "0001-01-01T00:00:00Z"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED = "asound acpi kcore keys latency_stats timer_list timer_stats sched_debug scsi"
_READ_ONLY = "bus fs irq sys sysrq-trigger"


def image_config(title: str, diff_ids: Sequence[DiffId]) -> bytes:
    """The config of an image of these layers; another `title` gives another image."""
    history: list[dict[str, Any]] = [
        {"created": CREATED, "created_by": f"COPY layer{number} / # {title}"} for number in range(len(diff_ids))
    ]
    history.append({"created": CREATED, "created_by": f"LABEL title={title}", "empty_layer": True})
    rootfs: dict[str, Any] = {"type": "layers"}
    if diff_ids:
        rootfs["diff_ids"] = list(diff_ids)
    config = {
        "architecture": "amd64",
        "config": {"Env": [_PATH], "Cmd": ["/bin/sh"], "WorkingDir": "/", "Labels": {"title": title}, "OnBuild": None},
        "created": CREATED,
        "history": history,
        "os": "linux",
        "rootfs": rootfs,
    }
    return compact(config).encode()


def state(*, running: bool = False, dead: bool = False, started: bool = True) -> dict[str, Any]:
    return {
        "Running": running,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "RemovalInProgress": False,
        "Dead": dead,
        "Pid": 4242 if running else 0,
        "ExitCode": 0,
        "Error": "",
        "StartedAt": CREATED if started else _NEVER,
        "FinishedAt": CREATED if started and not running else _NEVER,
        "Health": None,
    }


def container_config(
    container: ContainerId, name: str, image: ImageId | None, reference: str, state_now: dict[str, Any], home: str
) -> dict[str, Any]:
    """What ``config.v2.json`` of a container holds; `home` is the absolute path of its directory."""
    return {
        "StreamConfig": {},
        "State": state_now,
        "ID": container,
        "Created": CREATED,
        "Managed": False,
        "Path": "/bin/sh",
        "Args": [],
        "Config": _process_config(container, reference),
        "Image": image or "",
        "NetworkSettings": {"Bridge": "", "SandboxID": "", "Networks": {"none": {}}, "Service": None, "Ports": None},
        "LogPath": f"{home}/{container}-json.log",
        "Name": f"/{name}",
        "Driver": "overlay2",
        "OS": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "RestartCount": 0,
        "HasBeenStartedBefore": True,
        "HasBeenManuallyStopped": False,
        "MountPoints": {},
        "SecretReferences": None,
        "ConfigReferences": None,
        "AppArmorProfile": "",
        "HostnamePath": f"{home}/hostname",
        "HostsPath": f"{home}/hosts",
        "ShmPath": "",
        "ResolvConfPath": f"{home}/resolv.conf",
        "SeccompProfile": "",
        "NoNewPrivileges": False,
        "LocalLogCacheMeta": {"HaveNotifyEnabled": False},
    }


def image_mount_point(destination: str, *, name: str, image: ImageId, reference: str, merged: str) -> dict[str, Any]:
    """An entry of ``MountPoints`` as 28.5 writes it: `name` is that of the image mount's rw layer record."""
    return {
        "Source": merged,
        "Destination": destination,
        "RW": False,
        "Name": reference,
        "Driver": "",
        "Type": "image",
        "Propagation": "rprivate",
        "ID": name,
        "Spec": {"Type": "image", "Source": image, "Target": destination},
        "SkipMountpointCreation": False,
    }


def _process_config(container: ContainerId, reference: str) -> dict[str, Any]:
    return {
        "Hostname": container[:12],
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": [_PATH],
        "Cmd": ["/bin/sh"],
        "Image": reference,
        "Volumes": None,
        "WorkingDir": "/",
        "Entrypoint": None,
        "OnBuild": None,
        "Labels": {},
    }


def host_config(*, auto_remove: bool = False, restart_policy: str = "no") -> dict[str, Any]:
    """What ``hostconfig.json`` holds, but for resource limits that are all at their zero."""
    return {
        "Binds": None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": "none",
        "PortBindings": {},
        "RestartPolicy": {"Name": restart_policy, "MaximumRetryCount": 0},
        "AutoRemove": auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CgroupnsMode": "host",
        "IpcMode": "private",
        "Privileged": False,
        "ReadonlyRootfs": False,
        "ShmSize": 67108864,
        "Runtime": "runc",
        "MaskedPaths": [f"/proc/{name}" for name in _MASKED.split()] + ["/sys/firmware"],
        "ReadonlyPaths": [f"/proc/{name}" for name in _READ_ONLY.split()],
    }
