"""
The JSON files of images and containers, with the keys and defaults that Docker 20.10.24 writes.

Sources: moby ``image/image.go``, ``container/container.go`` toDisk, ``api/types/container/hostconfig.go``; files that
an engine wrote for ``docker create`` and ``docker run``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from gcd.demo.placing import compact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gcd.model.ids import ContainerId, DiffId, ImageId

CREATED = "2020-09-13T12:26:40Z"
_CREATED_EXACTLY = "2020-09-13T12:26:40.123456789Z"
_NEVER = "0001-01-01T00:00:00Z"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MASKED = "asound acpi kcore keys latency_stats timer_list timer_stats sched_debug scsi"
_READ_ONLY = "bus fs irq sys sysrq-trigger"
_NO_LIMITS: Mapping[str, Any] = {
    "CpuShares": 0,
    "Memory": 0,
    "NanoCpus": 0,
    "CgroupParent": "",
    "BlkioWeight": 0,
    "BlkioWeightDevice": [],
    "BlkioDeviceReadBps": None,
    "BlkioDeviceWriteBps": None,
    "BlkioDeviceReadIOps": None,
    "BlkioDeviceWriteIOps": None,
    "CpuPeriod": 0,
    "CpuQuota": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "CpusetCpus": "",
    "CpusetMems": "",
    "Devices": [],
    "DeviceCgroupRules": None,
    "DeviceRequests": None,
    "MemoryReservation": 0,
    "MemorySwap": 0,
    "MemorySwappiness": None,
    "OomKillDisable": False,
    "PidsLimit": None,
    "Ulimits": None,
    "CpuCount": 0,
    "CpuPercent": 0,
    "IOMaximumIOps": 0,
    "IOMaximumBandwidth": 0,
}


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


def classic_image_config(title: str, diff_ids: Sequence[DiffId]) -> bytes:
    """
    As `image_config`, in the longer form: that of the classic builder, which has done one ``COPY`` for each layer, and
    keeps beside the history what the last of them ran in.
    """
    steps = [f"#(nop) COPY file:{diff_id.rpartition(':')[2]} in /app " for diff_id in diff_ids]
    below = f"sha256:{hashlib.sha256(title.encode()).hexdigest()}" if len(diff_ids) > 1 else ""
    process = _process_config("", below) | {"Cmd": None, "WorkingDir": "", "Labels": {"title": title}}
    config = {
        "architecture": "amd64",
        "config": process,
        "container_config": process | {"Cmd": ["/bin/sh", "-c", *steps[-1:]]},
        "created": _CREATED_EXACTLY,
        "docker_version": "20.10.24+dfsg1",
        "history": [{"created": _CREATED_EXACTLY, "created_by": f"/bin/sh -c {step}"} for step in steps],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
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


def _process_config(container: str, reference: str) -> dict[str, Any]:
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
    """What ``hostconfig.json`` holds, but for the limits of kernel memory, which newer engines do not know."""
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
        "CapAdd": None,
        "CapDrop": None,
        "CgroupnsMode": "host",
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": None,
        "GroupAdd": None,
        "IpcMode": "private",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": 0,
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": False,
        "ReadonlyRootfs": False,
        "SecurityOpt": None,
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": 67108864,
        "Runtime": "runc",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        **_NO_LIMITS,
        "MaskedPaths": [f"/proc/{name}" for name in _MASKED.split()] + ["/sys/firmware"],
        "ReadonlyPaths": [f"/proc/{name}" for name in _READ_ONLY.split()],
    }
