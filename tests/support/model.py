"""
A reference model of dockerd's overlay2 store: what an engine does, what a crash leaves, and whose each directory is.

It shares no code with gcd but the writer of bolt files. Operations are generators that yield after each step that
reaches the disk, so an engine can be killed after any number of them; what one holds only in memory dies with it.
Losses (of power, of files) change what is written out and never the model's truth: a record whose file is gone still
owns its directory.

`write` makes the root, `ages` says when each path changed, `reasons` and `live_chains` what is alive and why,
`orphans` what an engine left behind, with the codes that a check must give.

Sources: moby ``layer/layer_store.go``, ``daemon/graphdriver/overlay2/overlay.go``, ``daemon/{create,delete}.go``,
``builder-next/adapters/snapshot/snapshot.go``.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from gcd.demo.boltfile import write_database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Stack = tuple[str, ...]
"""The contents of an image's layers, base first; each word stands for one layer's files."""

Steps: TypeAlias = "Iterator[None]"

SETTLED_S = 3600
RECORDS = "image/overlay2/layerdb/sha256"
MOUNTS = "image/overlay2/layerdb/mounts"
WRITE_SETS = "image/overlay2/layerdb/tmp"
IMAGES = "image/overlay2/imagedb/content/sha256"
DATABASES = ("snapshots.db", "metadata_v2.db", "containerdmeta.db")


def hex64(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def digest(text: str) -> str:
    return "sha256:" + hex64(text)


def chain_of(stack: Stack) -> str:
    chain = ""
    for word in stack:
        chain = digest(f"{chain} {digest(word)}") if chain else digest(word)
    return chain


def link_of(dir_id: str) -> str:
    return base64.b32encode(hashlib.sha256(dir_id.encode()).digest()).decode()[:26]


def config_of(name: str, stack: Stack) -> bytes:
    layers = {"type": "layers", "diff_ids": [digest(word) for word in stack]}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Label": name}, "rootfs": layers}).encode()


@dataclass
class Dir:
    link: str
    below: tuple[str, ...] = ()
    """The dirs that it is stacked on, nearest first."""
    parts: set[str] = field(default_factory=set)
    holds_files: bool = False


@dataclass
class Layer:
    dir: str


@dataclass
class RwLayer:
    mount: str
    init: str | None = None
    parent: Stack = ()


@dataclass
class Container:
    image: str
    running: bool = False
    dead: bool = False


@dataclass
class Step:
    """A finished step of a BuildKit build: the committed snapshot `name`, whose files are in `dir`."""

    name: str
    dir: str
    parent: str
    stack: Stack
    exported: bool = False


@dataclass
class Flight:
    """What an operation that has not ended holds in memory."""

    dirs: set[str] = field(default_factory=set)
    stacks: set[Stack] = field(default_factory=set)


class Model:
    def __init__(self) -> None:
        self.clock = 1_600_000_000
        self.epoch = self.clock
        self.is_up = True
        self.ledger: list[str] = []
        self.flights: list[Flight] = []
        self.dirs: dict[str, Dir] = {}
        self.symlinks: dict[str, str] = {}
        self.layers: dict[Stack, Layer] = {}
        self.removing: dict[str, tuple[Stack, str]] = {}
        self.write_sets: dict[str, str | None] = {}
        self.rw_layers: dict[str, RwLayer] = {}
        self.images: dict[str, tuple[str, Stack]] = {}
        self.tags: dict[str, str] = {}
        self.containers: dict[str, Container] = {}
        self.steps: dict[str, Step] = {}
        self.buckets: dict[str, dict[str, str]] = {}
        self.records: dict[str, dict[str, str]] = {}
        self.leases: set[str] = set()
        self.losses: list[tuple[str, str]] = []
        self.ages: dict[str, int] = {}
        self._numbers = 0

    # --- the engine -------------------------------------------------------------------------------------------------

    def run(self, steps: Steps, *, crash_after: int | None = None, pause_after: int | None = None) -> None:
        """
        Do all `steps`; or kill the engine after some, or stop looking while it is still at work.
        """
        if not self.is_up:
            self.restart()
        self.flights.append(Flight())
        limit = crash_after if pause_after is None else pause_after
        for done, _ in enumerate(steps):
            self.clock += 1
            if limit is not None and done >= limit:
                break
        else:
            self.flights.pop()
            return
        if pause_after is None:
            self.crash()

    def crash(self) -> None:
        self.flights.clear()
        self.is_up = False
        for container in self.containers.values():
            container.running = False

    def restart(self) -> None:
        self.crash()
        self.clock += 10
        self.epoch = self.clock
        self.clock += 10
        self.is_up = True

    def bound(self) -> int:
        """What is older than this belongs to nothing that is under way."""
        return self.epoch if self.is_up else self.clock - SETTLED_S

    def _new(self, kind: str) -> str:
        self._numbers += 1
        return hex64(f"{kind} {self._numbers}")

    def _touch(self, path: str) -> None:
        self.ages[path] = self.clock

    # --- layer dirs -------------------------------------------------------------------------------------------------

    def _make_dir(self, dir_id: str, parent: str | None) -> Steps:
        link = link_of(dir_id)
        made = self.dirs[dir_id] = Dir(link)
        self.flights[-1].dirs.add(dir_id)
        for part in ("", "diff", "symlink", "link", *(("work", "committed", "lower") if parent else ())):
            match part:
                case "symlink":
                    self.symlinks[link] = dir_id
                case "committed":
                    if parent in self.dirs:
                        self.dirs[parent].parts.add("committed")
                        self._touch(f"overlay2/{parent}")
                case "lower":
                    made.below = (parent, *self.dirs[parent].below) if parent in self.dirs else ()
            made.parts.add(part)
            self._touch(f"overlay2/{dir_id}")
            yield

    def _drop_dir(self, dir_id: str) -> Steps:
        if dir_id not in self.dirs:
            return
        self.symlinks.pop(self.dirs[dir_id].link, None)
        yield
        self.dirs[dir_id].parts -= {"work", "lower"}
        self._touch(f"overlay2/{dir_id}")
        yield
        del self.dirs[dir_id]
        yield

    # --- layers and images ------------------------------------------------------------------------------------------

    def _register(self, stack: Stack, dir_id: str) -> Steps:
        write_set = f"write-set-{int(self._new('write set')[:12], 16)}"
        self.write_sets[write_set] = None
        self._touch(f"{WRITE_SETS}/{write_set}")
        yield
        self.write_sets[write_set] = dir_id
        yield
        del self.write_sets[write_set]
        self.layers[stack] = Layer(dir_id)
        self.flights[-1].stacks.add(stack)
        self._touch(f"{RECORDS}/{chain_of(stack)[7:]}")
        yield

    def _add_layer(self, stack: Stack) -> Steps:
        """A new layer on top of one that is there; nothing if it is there already."""
        if stack not in self.layers:
            dir_id = self._new("layer dir")
            yield from self._make_dir(dir_id, self.layers[stack[:-1]].dir if len(stack) > 1 else None)
            self.dirs[dir_id].holds_files = True
            yield from self._register(stack, dir_id)
        self.flights[-1].stacks.add(stack)

    def _add_image(self, name: str, stack: Stack) -> Steps:
        image = "sha256:" + hashlib.sha256(config_of(name, stack)).hexdigest()
        self.images[image] = (name, stack)
        self._touch(f"{IMAGES}/{image[7:]}")
        yield
        self.tags[f"{name}:latest"] = image
        yield

    def pull(self, name: str, stack: Stack) -> Steps:
        for depth in range(1, len(stack) + 1):
            yield from self._add_layer(stack[:depth])
        yield from self._add_image(name, stack)

    def rmi(self, image: str) -> Steps:
        _, stack = self.images[image]
        self.tags = {tag: named for tag, named in self.tags.items() if named != image}
        yield
        del self.images[image]
        yield
        yield from self._release(stack)

    def _release(self, stack: Stack) -> Steps:
        while stack in self.layers and not self._is_held(stack):
            name = f"{chain_of(stack)[7:]}-{self._new('removing')}-removing"
            dir_id = self.layers.pop(stack).dir
            self.removing[name] = (stack, dir_id)
            self._touch(f"{RECORDS}/{name}")
            yield
            yield from self._drop_dir(dir_id)
            del self.removing[name]
            yield
            stack = stack[:-1]

    def _is_held(self, stack: Stack) -> bool:
        return (
            any(held == stack for _, held in self.images.values())
            or any(held[:-1] == stack for held in self.layers)
            or any(rw_layer.parent == stack for rw_layer in self.rw_layers.values())
            or any(step.exported and step.stack == stack for step in self.steps.values())
            or chain_of(stack) in self.buckets
            or any(stack in flight.stacks for flight in self.flights[:-1])
        )

    # --- containers and classic builds ------------------------------------------------------------------------------

    def _make_rw_layer(self, name: str, stack: Stack, *, with_init: bool) -> Steps:
        mount = self._new("rw dir")
        below = self.layers[stack].dir
        self.flights[-1].stacks.add(stack)
        if with_init:
            yield from self._make_dir(f"{mount}-init", below)
            self.dirs[f"{mount}-init"].holds_files = True
            below = f"{mount}-init"
        yield from self._make_dir(mount, below)
        rw_layer = self.rw_layers[name] = RwLayer(mount)
        self._touch(f"{MOUNTS}/{name}")
        yield
        if with_init:
            rw_layer.init = f"{mount}-init"
            yield
        rw_layer.parent = stack
        yield

    def _drop_rw_layer(self, name: str) -> Steps:
        if name in self.rw_layers:
            rw_layer = self.rw_layers[name]
            yield from self._drop_dir(rw_layer.mount)
            if rw_layer.init:
                yield from self._drop_dir(rw_layer.init)
            del self.rw_layers[name]
            yield
            yield from self._release(rw_layer.parent)

    def create(self, image: str) -> Steps:
        name = self._new("container")
        yield from self._make_rw_layer(name, self.images[image][1], with_init=True)
        self.containers[name] = Container(image)
        self._touch(f"containers/{name}")
        yield

    def start(self, name: str) -> Steps:
        """Start the container, which then writes a file into its own layer."""
        self.containers[name].running = True
        self.dirs[self.rw_layers[name].mount].holds_files = True
        self._touch(f"overlay2/{self.rw_layers[name].mount}")
        yield

    def stop(self, name: str) -> Steps:
        self.containers[name].running = False
        yield

    def rm(self, name: str) -> Steps:
        self.containers[name].running = False
        self.containers[name].dead = True
        self._touch(f"containers/{name}")
        yield
        yield from self._drop_rw_layer(name)
        del self.containers[name]
        yield

    def commit(self, name: str, image_name: str, word: str) -> Steps:
        stack = (*self.rw_layers[name].parent, word)
        yield from self._add_layer(stack)
        yield from self._add_image(image_name, stack)

    def classic_build(self, image: str, name: str, word: str) -> Steps:
        """COPY: an rw layer without init for one instruction, then a layer, then an image."""
        stack = self.images[image][1]
        transient = self._new("classic build")
        yield from self._make_rw_layer(transient, stack, with_init=False)
        self.dirs[self.rw_layers[transient].mount].holds_files = True
        yield from self._add_layer((*stack, word))
        yield from self._add_image(name, (*stack, word))
        yield from self._drop_rw_layer(transient)

    # --- BuildKit ---------------------------------------------------------------------------------------------------

    def build(self, base: Stack, words: Stack, name: str) -> Steps:
        """Steps on top of the layers `base`, exported as the image `name`; those done before come from the cache."""
        parent, below, stack = "", None, base
        if base:
            parent, below = chain_of(base), self.layers[base].dir
            self.buckets[parent] = {}
            yield
        done: list[Step] = []
        for word in words:
            stack = (*stack, word)
            cached = [s for s in self.steps.values() if (s.parent, s.stack) == (parent, stack)]
            if cached:
                step = cached[0]
            else:
                step = Step(self._new("snapshot")[:25], self._new("build dir")[:25], parent, stack)
                yield from self._build_step(step, below)
            done.append(step)
            parent, below = step.name, step.dir
        for step in done:
            if not step.exported and step.stack not in self.layers:
                yield from self._register(step.stack, step.dir)
            step.exported = True
            self.flights[-1].stacks.add(step.stack)
            self.buckets[step.name]["chainid"] = chain_of(step.stack)
            yield
        yield from self._add_image(name, stack)

    def _build_step(self, step: Step, below: str | None) -> Steps:
        self.leases.add(step.dir)
        yield
        yield from self._make_dir(step.dir, below)
        self.buckets[step.dir] = {"parent": step.parent}
        yield
        self.records[step.dir] = {"cache.recordType": json.dumps({"value": "regular"})}
        yield
        self.dirs[step.dir].holds_files = True
        self.leases.add(step.name)
        self.records[step.name] = {"cache.equalMutable": json.dumps({"value": step.dir})}
        yield
        self.buckets[step.name] = {"committed": step.dir, "parent": step.parent}
        self.buckets[step.dir]["iscommitted"] = ""
        self.steps[step.name] = step
        yield
        self.records[step.name] = {"cache.snapshot": json.dumps({"value": step.name})}
        del self.records[step.dir]
        self.leases.discard(step.dir)
        yield

    def prune(self) -> Steps:
        """
        Remove the build cache, newest step first; a layer is let go of, any other dir is removed. A dir whose record an
        engine did not live to write keeps what it stands on (in truth it does not, and its lower leads to nothing).
        """
        steps = list(self.steps.values())
        for dir_id in [d for d in self.records if d in self.dirs and d not in {step.dir for step in steps}]:
            del self.records[dir_id]
            yield
            self.leases.discard(dir_id)
            self.buckets.pop(dir_id, None)
            yield
            yield from self._drop_dir(dir_id)
        recordless = [d for d in self.buckets if d in self.dirs and d not in {step.dir for step in steps}]
        for step in reversed(steps):
            if any(step.dir in self.dirs[dir_id].below for dir_id in recordless):
                continue
            self.records.pop(step.name, None)
            yield
            self.leases.discard(step.name)
            self.buckets.pop(step.name)
            self.buckets.pop(step.dir, None)
            del self.steps[step.name]
            yield
            if step.exported:
                yield from self._release(step.stack)
            else:
                yield from self._drop_dir(step.dir)

    # --- hands and power --------------------------------------------------------------------------------------------

    def forget_image(self, image: str) -> None:
        """An image config is lost and leaves no trace."""
        del self.images[image]
        self.tags = {tag: named for tag, named in self.tags.items() if named != image}

    def forget_container(self, name: str) -> None:
        """Somebody deletes both records of a container by hand."""
        del self.containers[name]
        self.rw_layers.pop(name, None)

    def losable(self) -> dict[str, list[str]]:
        """By sort, the paths whose loss leaves a trace; of an image config only its content can be lost."""
        records = {f"{RECORDS}/{chain_of(stack)[7:]}": ("parent",) if stack[1:] else () for stack in self.layers}
        of_record = ("diff", "size", "cache-id", "tar-split.json.gz", "parent")
        rw_layers = {f"{MOUNTS}/{name}": rw_layer for name, rw_layer in self.rw_layers.items()}
        sorts = {
            **{p: [f"overlay2/{d}/{p}" for d, made in self.dirs.items() if p in made.parts] for p in ("link", "lower")},
            "symlink": [f"overlay2/l/{link}" for link in self.symlinks],
            "record": list(records),
            **{part: [f"{r}/{part}" for r in records if part != "parent" or records[r]] for part in of_record},
            "rw layer": list(rw_layers),
            "mount-id": [f"{name}/mount-id" for name in rw_layers],
            "init-id": [f"{name}/init-id" for name, rw_layer in rw_layers.items() if rw_layer.init],
            "rw parent": [f"{name}/parent" for name, rw_layer in rw_layers.items() if rw_layer.parent],
            "container": [f"containers/{name}/config.v2.json" for name in self.containers],
            "image": [f"{IMAGES}/{image[7:]}" for image in self.images],
            **{name: [f"buildkit/{name}"] for name in DATABASES},
            "repositories": ["image/overlay2/repositories.json"],
        }
        return {sort: paths for sort, paths in sorts.items() if paths}

    def lose(self, path: str, how: str) -> None:
        """`how` is gone, empty or garbage; the engine is down when the power fails."""
        self.crash()
        if path.startswith(IMAGES) and how == "gone":
            how = "empty"
        self.losses.append((path, how))
        for owner in self.ages:
            if path.startswith(f"{owner}/"):
                self._touch(owner)
        self.clock += 1

    def _is_lost(self, path: str) -> bool:
        return (path, "gone") in self.losses

    # --- truth ------------------------------------------------------------------------------------------------------

    def live_chains(self) -> set[Stack]:
        """The stacks whose top layer something on disk needs; what an engine holds only in memory is not among them."""
        live: set[Stack] = set()
        wanted = [stack for _, stack in self.images.values()]
        wanted += [rw.parent for name, rw in self.rw_layers.items() if not self._is_lost(f"{MOUNTS}/{name}")]
        wanted += [self._lost_parent(name) for name in self.containers]
        buckets, leases, records = self._known_to_builds()
        named = {*buckets, *(bucket.get("chainid", "") for bucket in buckets.values())}
        wanted += [s for s in self.layers if chain_of(s) in named and not self._is_lost(f"{RECORDS}/{chain_of(s)[7:]}")]
        by_dir = {layer.dir: stack for stack, layer in self.layers.items()}
        roots = {rw.mount for rw in self.rw_layers.values()} | {*buckets, *leases, *records}
        roots |= {dir_id for flight in self.flights for dir_id in flight.dirs if dir_id not in by_dir}
        while True:
            for stack in wanted:
                live |= {stack[:depth] for depth in range(1, len(stack) + 1)}
            dirs = self._closed(roots | {self.layers[stack].dir for stack in live if stack in self.layers})
            wanted = [by_dir[d] for d in dirs if d in by_dir and by_dir[d] not in live]
            if not wanted:
                return live

    def _known_to_builds(self) -> tuple[dict[str, dict[str, str]], set[str], dict[str, dict[str, str]]]:
        """Buckets, leases and records; an engine makes a database that is gone, or empty, anew."""
        gone = {path for path, how in self.losses if how != "garbage"}
        return (
            {} if "buildkit/snapshots.db" in gone else self.buckets,
            set() if "buildkit/containerdmeta.db" in gone else self.leases,
            {} if "buildkit/metadata_v2.db" in gone else self.records,
        )

    def _lost_parent(self, name: str) -> Stack:
        """What the container `name` stands on where only its own config can tell."""
        return self.rw_layers[name].parent if name in self.rw_layers and not self.containers[name].dead else ()

    def reasons(self) -> dict[str, str]:
        """By dir, who needs it; dirs that nobody needs are not there."""
        found: dict[str, str] = {}
        live = self.live_chains()
        for stack, layer in self.layers.items():
            if stack in live or not self._is_lost(f"{RECORDS}/{chain_of(stack)[7:]}"):
                found[layer.dir] = f"layer {'/'.join(stack)}"
        for name, (_, dir_id) in self.removing.items():
            found[dir_id] = f"removal {name[:12]}"
        found |= {named: write_set for write_set, named in self.write_sets.items() if named}
        for name, rw_layer in self.rw_layers.items():
            is_awaited = name in self.containers and not self.containers[name].dead
            if is_awaited or not self._is_lost(f"{MOUNTS}/{name}"):
                found |= dict.fromkeys((rw_layer.mount, f"{rw_layer.mount}-init"), f"rw layer {name[:12]}")
        _, leases, records = self._known_to_builds()
        found |= dict.fromkeys((*self.buckets, *leases, *records), "build")
        for flight in self.flights:
            found |= dict.fromkeys(flight.dirs, "an operation under way")
        for dir_id in self._closed(found.keys()) - found.keys():
            found[dir_id] = "a lower"
        return {dir_id: why for dir_id, why in found.items() if dir_id in self.dirs}

    def _closed(self, roots: Iterable[str]) -> set[str]:
        live = {dir_id for dir_id in roots if dir_id in self.dirs}
        return live | {below for dir_id in live for below in self.dirs[dir_id].below if below in self.dirs}

    def orphans(self) -> set[str]:
        """``GCD…:kind:id`` of all that no operation, record or living layer refers to."""
        live, chains = self.reasons(), self.live_chains()
        found = {self._code(dir_id) for dir_id in self.dirs if dir_id not in live} - {""}
        found |= {
            f"GCD211:layer:{chain_of(stack)}"
            for stack, layer in self.layers.items()
            if stack not in chains and layer.dir in self.dirs
        }
        found |= {
            f"GCD310:rw-layer:{name}"
            for name, rw_layer in self.rw_layers.items()
            if name not in self.containers and rw_layer.mount in self.dirs and f"{rw_layer.mount}-init" not in self.dirs
            and rw_layer.init is None
        }  # fmt: skip
        return found

    def _code(self, dir_id: str) -> str:
        if len(dir_id) == 25:
            return f"GCD102:layer-dir:{dir_id}"
        if dir_id.endswith("-init"):
            return "" if dir_id.removesuffix("-init") in self.dirs else f"GCD101:layer-dir:{dir_id}"
        is_user_data = f"{dir_id}-init" in self.dirs and self.dirs[dir_id].holds_files
        return f"{'GCD116' if is_user_data else 'GCD101'}:layer-dir:{dir_id}"

    # --- the disk ---------------------------------------------------------------------------------------------------

    def write(self, root: Path) -> None:
        """Make the whole root at `root`, which must not be there, losses included."""
        for folder in ("overlay2/l", RECORDS, MOUNTS, WRITE_SETS, IMAGES, "containers", "tmp", "buildkit"):
            (root / folder).mkdir(parents=True)
        for path, text in self._files():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())
        for dir_id, found in self.dirs.items():
            for part in found.parts & {"", "diff", "work"}:
                (root / "overlay2" / dir_id / part).mkdir(parents=True, exist_ok=True)
        for link, dir_id in self.symlinks.items():
            (root / "overlay2/l" / link).symlink_to(f"../{dir_id}/diff")
        for path, how in self.losses:
            _lose(root / path, how)

    def _files(self) -> Iterator[tuple[str, str | bytes]]:
        for dir_id, found in self.dirs.items():
            yield from self._dir_files(f"overlay2/{dir_id}", found)
        for stack, layer in self.layers.items():
            yield from self._record(f"{RECORDS}/{chain_of(stack)[7:]}", stack, layer.dir)
        for name, (stack, dir_id) in self.removing.items():
            yield from self._record(f"{RECORDS}/{name}", stack, dir_id)
        for name, named in self.write_sets.items():
            yield f"{WRITE_SETS}/{name}/tar-split.json.gz", _TAR_SPLIT
            if named:
                yield f"{WRITE_SETS}/{name}/cache-id", named
        for name, rw_layer in self.rw_layers.items():
            parent = chain_of(rw_layer.parent)
            parts = {"mount-id": rw_layer.mount, "init-id": rw_layer.init, "parent": parent}
            yield from ((f"{MOUNTS}/{name}/{part}", text) for part, text in parts.items() if text)
        for image, (name, stack) in self.images.items():
            yield f"{IMAGES}/{image[7:]}", config_of(name, stack)
        for name, container in self.containers.items():
            yield from self._container_files(name, container)
        repositories = {tag.partition(":")[0]: {tag: image} for tag, image in self.tags.items()}
        yield "image/overlay2/repositories.json", json.dumps({"Repositories": repositories})
        leases = {lease: {"snapshots": {"default": {lease: ""}}} for lease in self.leases}
        yield "buildkit/snapshots.db", write_database(self.buckets)
        yield "buildkit/metadata_v2.db", write_database({"_main": self.records})
        yield "buildkit/containerdmeta.db", write_database({"v1": {"buildkit": {"leases": leases}}})
        yield "volumes/metadata.db", write_database({})
        yield "network/files/local-kv.db", write_database({})

    def _dir_files(self, home: str, found: Dir) -> Iterator[tuple[str, str]]:
        if "link" in found.parts:
            yield f"{home}/link", found.link
        if "lower" in found.parts:
            yield f"{home}/lower", ":".join(f"l/{link_of(below)}" for below in found.below)
        if "committed" in found.parts:
            yield f"{home}/committed", ""
        if found.holds_files and "diff" in found.parts:
            yield f"{home}/diff/file", "a file"

    def _container_files(self, name: str, container: Container) -> Iterator[tuple[str, str]]:
        state = {"Running": container.running, "Dead": container.dead, "RemovalInProgress": False}
        config = {"ID": name, "Name": f"/{name[:6]}", "Image": container.image, "Driver": "overlay2", "State": state}
        yield f"containers/{name}/config.v2.json", json.dumps({**config, "Config": {"Image": "x"}})
        yield f"containers/{name}/hostconfig.json", '{"AutoRemove":false,"RestartPolicy":{"Name":"no"}}'

    def _record(self, home: str, stack: Stack, dir_id: str) -> Iterator[tuple[str, str | bytes]]:
        yield f"{home}/diff", digest(stack[-1])
        yield f"{home}/size", "1000"
        yield f"{home}/cache-id", dir_id
        yield f"{home}/tar-split.json.gz", _TAR_SPLIT
        if stack[1:]:
            yield f"{home}/parent", chain_of(stack[:-1])


_TAR_SPLIT = gzip.compress(b'{"type":2,"payload":"AAAA","position":0}\n', mtime=0)


def _lose(path: Path, how: str) -> None:
    """Power loss at one path: it is gone, or there without its bytes, or holds another file's."""
    if how == "gone" and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif how == "gone" or path.is_symlink():
        path.unlink(missing_ok=True)
    elif path.is_dir():
        for file in path.iterdir():
            file.write_bytes(b"")
    elif path.exists():
        path.write_bytes(b"" if how == "empty" else b"\0garbage\n")
