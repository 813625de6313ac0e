"""
The root that ``gcd demo`` builds: a small host with images, containers and build cache, and what months of power cuts,
killed pulls and helping hands left in it.

The faults are chosen so that each can be told from the others: every one is about an image, container or dir of its
own, and only two of them (the layer records that lost their cache ids) keep an apparent orphan, their own dir, from
being one.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import builds, containers, host, layers, overlay2
from gcd.demo.faults.fault import layer_dir
from gcd.model import layout
from gcd.model.finding import Code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gcd.demo.faults.fault import Planter
    from gcd.demo.tarsplit import Entry
    from gcd.model.finding import Node

_LEAKS: Final = {Code("GCD101"): 6 << 20, Code("GCD102"): 2 << 20}
"""Bytes that the dirs of these faults get on top, so that there is something to win."""

_FAULT_NUMBER: Final = re.compile(r"F\d+[a-z]?: |Reference [\d.]+: ")


class Planted(Struct, frozen=True):
    """`story` says in one sentence what was done to the root."""

    code: Code
    node: Node
    story: str


class Scene(Struct, frozen=True):
    root: Path
    planted: tuple[Planted, ...]


def build_scene(path: Path | str) -> Scene:
    """Build the root at `path`, which must not exist; the same at each call but for the path in containers' configs."""
    with DockerRoot(path, seed="demo") as root:
        targets = _build_host(root)
    planted = tuple(_plant(root.path, targets))
    for finding in planted:
        if finding.code in _LEAKS:
            _fill(layer_dir(root.path, finding.node.id) / layout.DIFF, _LEAKS[finding.code])
    return Scene(root.path, planted)


def _build_host(root: DockerRoot) -> dict[str, str]:
    """Images, containers and build cache; the ids of those that a fault will hit."""
    base = root.image("debian:12-slim", layers=[_files("debian", 300), _files("apt", 40)])
    shared = root.image("registry.example.com/shop/base:2025.1", base=base, layers=[_files("runtime", 200)])
    web = root.image("registry.example.com/shop/web:2.3.1", base=base, layers=[_files("web", 90), _files("assets", 60)])
    api = root.image("registry.example.com/shop/api:1.9.0", base=base, layers=[_files("api", 120), _files("conf", 1)])
    worker = root.image("registry.example.com/shop/worker:1.9.0", base=api, layers=[_files("worker", 30)])
    database = root.image("postgres:16", layers=[_files(f"postgres{part}", 80) for part in range(4)])
    cache = root.image("redis:7", base=base, layers=[_files("redis", 70)])
    agent = root.image("prom/node-exporter:v1.8.2", layers=[_files("exporter", 110)])
    tools = root.image("busybox:1.36", layers=[_files("busybox", 50)])
    proxy = root.image("nginx:1.27", base=base, layers=[_files("nginx", 60), _files("site", 2)])
    root.image("hello-world:latest", layers=[{"hello": b"hello\n"}])
    root.container("web", image=web, content={"var/log/web.log": b"GET / 200\n" * 900}, restart_policy="always")
    root.container("api", image=api, content={"tmp/session": b"x" * 4000}, restart_policy="always")
    found = {
        "web": web.layers[-2].cache_id,
        "web top": web.layers[-1].cache_id,
        "database": database.layers[2].cache_id,
        "worker": worker.layers[-1].chain_id,
        "cache": cache.layers[-1].chain_id,
        "agent": agent.layers[-1].chain_id,
        "tools": tools.layers[-1].chain_id,
        "proxy": proxy.layers[-1].cache_id,
        "shared": shared.layers[-1].chain_id,
    }
    for name, image in (("db", database), ("report", database), ("cron", tools), ("shell", tools), ("batch", tools)):
        content: Mapping[str, Entry] = {f"data/{name}": f"written by {name}\n".encode() * 500}
        found[f"{name} container"] = root.container(name, image=image, content=content).id
    found["db dir"] = root.container("db-replica", image=database).rw.mount_id
    found["cron dir"] = root.container("cron-weekly", image=tools).rw.mount_id
    found["build"] = _build_cache(root)
    return found


def _build_cache(root: DockerRoot) -> str:
    """An image that was built here, with its steps; gives the record of a cache mount."""
    root.build_source(content=_files("context", 20))
    first = root.build_step(content=_files("go-modules", 90))
    second = root.build_step(first, content=_files("binary", 40))
    layer = root.build_export(first)
    root.image_of("shop/ci:41", (layer, root.build_export(second, parent=layer)))
    root.build_step(second, content=_files("tests", 30))
    root.build_source(record_type="exec.cachemount", content=_files("go-cache", 60))
    return root.build_source(record_type="exec.cachemount", content=_files("apt-cache", 60)).name


def _plant(root: Path, targets: Mapping[str, str]) -> Iterator[Planted]:
    faults: tuple[tuple[str, Planter, str], ...] = (
        ("GCD101", overlay2.add_layer_dir_upon, targets["web top"]),
        ("GCD211", layers.add_unused_layer, ""),
        ("GCD211", layers.add_unused_layer_upon, targets["cache"]),
        ("GCD102", overlay2.add_build_dir_upon, targets["web top"]),
        ("GCD116", overlay2.add_filled_rw_pair, ""),
        ("GCD103", overlay2.drop_link_symlink, targets["web"]),
        ("GCD106", overlay2.empty_link_file, targets["database"]),
        ("GCD104", overlay2.add_dangling_symlink, ""),
        ("GCD105", overlay2.point_link_outside, targets["proxy"]),
        ("GCD110", overlay2.drop_work_dir, targets["db dir"]),
        ("GCD113", overlay2.add_probe_leftover, ""),
        ("GCD115", overlay2.occupy_mountpoint, targets["cron dir"]),
        ("GCD202", layers.drop_record_files, targets["shared"]),
        ("GCD204", layers.empty_size, targets["agent"]),
        ("GCD206", layers.empty_cache_id, targets["worker"]),
        ("GCD209", layers.cut_tar_split, targets["tools"]),
        ("GCD302", containers.drop_init_id, targets["cron container"]),
        ("GCD304", containers.drop_container, targets["report container"]),
        ("GCD309", containers.mark_dead, targets["batch container"]),
        ("GCD503", builds.forget_build_record, targets["build"]),
        ("GCD802", host.add_dormant_driver, ""),
    )
    for code, plant, target in faults:
        node = plant(root, target)
        story = _FAULT_NUMBER.sub("", (plant.__doc__ or "").partition("\n")[0])
        yield Planted(Code(code), node, story.replace("`", ""))


def _files(name: str, kibibytes: int) -> dict[str, Entry]:
    """A few files of `kibibytes` in all that look like nothing else's."""
    block = hashlib.sha256(name.encode()).hexdigest().encode() * 16
    files: dict[str, Entry] = {f"usr/lib/{name}/part{part}": block * (kibibytes // 2) for part in range(2)}
    return files | {f"etc/{name}.conf": f"# {name}\n".encode()}


def _fill(place: Path, size: int) -> None:
    (place / "usr").mkdir(exist_ok=True)
    (place / "usr/half-extracted.bin").write_bytes(b"\xa5" * size)
