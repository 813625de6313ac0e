"""
A builder of synthetic Docker roots: one line a fact, and the ids of what was made come back.

::

    with DockerRoot(path) as root:
        base = root.image("base:1", layers=3)
        web = root.image("web:1", base=base, layers=1)
        api = root.container("api", image=web)
        step = root.build_step(root.build_step())

Everything is healthy unless asked for otherwise, and what the engine would compute is computed: tar streams with their
tar-split, diff ids, chain ids, image ids, `lower` files. The same seed and the same calls give the same ids. The root
must not be there before, and nothing outside of it is ever written. `write` (called at the end of the ``with``) writes
what the engine keeps in one file: ``repositories.json`` and BuildKit's databases.

Names, modes and bytes are those of Docker 20.10.24; a test compares them with a root that an engine wrote. Left out,
since they need root rights: owners, whiteouts, device nodes, ``work/work``.

Sources: moby ``layer/layer_store.go`` (layers, rw layers), ``builder/builder-next/adapters/snapshot/snapshot.go``
(build snapshots), ``daemon/create.go`` (containers).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from gcd.demo import configs
from gcd.demo.buildcache import BuildDatabases, database
from gcd.demo.names import Names
from gcd.demo.placing import (
    compact,
    put_committed,
    put_directory,
    put_file,
    put_image,
    put_layer_dir,
    put_layer_record,
    put_rw_layer_record,
    remove_layer_dir,
)
from gcd.demo.tarsplit import Entry, Folder, SymlinkTo, pack
from gcd.model import layout
from gcd.model.ids import ChainId, ContainerId, DiffId, ImageId, LayerDirId, LinkId, RwLayerName, chain_id, init_dir_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

ImageConfigOf = Callable[[str, Sequence[DiffId]], bytes]
"""From a title, which tells images of the same layers apart, and the layers' diff ids."""

MAX_LAYERS = 125
"""moby ``layer/layer_store.go`` maxLayerDepth."""

_INIT_CONTENT: Mapping[str, Entry] = {
    ".dockerenv": b"",
    "dev/console": b"",
    "dev/pts": Folder(),
    "dev/shm": Folder(),
    "etc/hostname": b"",
    "etc/hosts": b"",
    "etc/mtab": SymlinkTo("/proc/mounts"),
    "etc/resolv.conf": b"",
    "proc": Folder(),
    "sys": Folder(),
}
_DIRECTORIES = (
    ("containers", 0o710),
    ("image", 0o700),
    ("image/overlay2", 0o700),
    ("image/overlay2/distribution", 0o700),
    ("image/overlay2/imagedb", 0o700),
    ("image/overlay2/imagedb/content", 0o700),
    ("image/overlay2/imagedb/content/sha256", 0o700),
    ("image/overlay2/imagedb/metadata", 0o700),
    ("image/overlay2/imagedb/metadata/sha256", 0o700),
    ("image/overlay2/layerdb", 0o700),
    ("image/overlay2/layerdb/mounts", 0o755),
    ("image/overlay2/layerdb/sha256", 0o755),
    ("image/overlay2/layerdb/tmp", 0o755),
    ("overlay2", 0o710),
    ("overlay2/l", 0o700),
    ("plugins", 0o700),
    ("plugins/storage", 0o755),
    ("plugins/tmp", 0o700),
    ("runtimes", 0o700),
    ("swarm", 0o700),
    ("tmp", 0o700),
    ("trust", 0o700),
    ("volumes", 0o701),
)


class BuiltLayer(Struct, frozen=True):
    chain_id: ChainId
    diff_id: DiffId
    cache_id: LayerDirId
    link: LinkId
    parent: ChainId | None


class BuiltImage(Struct, frozen=True):
    """`reference` is "" for an image without a tag; `layers` are base first."""

    id: ImageId
    reference: str
    layers: tuple[BuiltLayer, ...]

    @property
    def top(self) -> BuiltLayer | None:
        return self.layers[-1] if self.layers else None


class BuiltRwLayer(Struct, frozen=True):
    """`init_id` and `init_link` are None for a rw layer made without an init layer."""

    name: RwLayerName
    mount_id: LayerDirId
    link: LinkId
    init_id: LayerDirId | None
    init_link: LinkId | None
    parent: ChainId | None


class BuiltContainer(Struct, frozen=True):
    id: ContainerId
    name: str
    image: BuiltImage
    rw: BuiltRwLayer


class BuiltSnapshot(Struct, frozen=True):
    """A build snapshot. `name` is its record's id; it equals `dir_id` only where nothing was committed."""

    name: str
    dir_id: LayerDirId
    link: LinkId
    content: Mapping[str, Entry]


class BuiltRemoval(Struct, frozen=True):
    """A ``-removing`` record: its directory's `name`, the layer it was, and whether the layer dir is still there."""

    name: str
    chain_id: ChainId
    cache_id: LayerDirId


class DockerRoot:
    """A root under construction at `path`, which must not exist (its parent must)."""

    def __init__(self, path: Path | str, *, seed: int | str = 0) -> None:
        self.path = Path(path)
        self.names = Names(seed)
        self.layers: dict[ChainId, BuiltLayer] = {}
        self.references: dict[str, dict[str, ImageId]] = {}
        self.builds = BuildDatabases()
        self._chains: dict[LayerDirId, tuple[LinkId, ...]] = {}
        self._contents: dict[ChainId, Mapping[str, Entry]] = {}
        self._counted = 0
        put_directory(self.path, 0o710)
        for name, mode in _DIRECTORIES:
            put_directory(self.path / name, mode)
        put_file(self.path / layout.VOLUMES / layout.VOLUME_DATABASE, database({"volumes": {}}), 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.write()

    def write(self) -> Path:
        """Write ``repositories.json`` and BuildKit's databases as of now, over older ones. Gives the root's path."""
        repositories = {name: dict(sorted(refs.items())) for name, refs in sorted(self.references.items())}
        put_file(self.path / layout.repositories(), compact({"Repositories": repositories}), 0o600)
        self.builds.write(self.path)
        return self.path

    # --- layers and images ------------------------------------------------------------------------------------------

    def layer_dir(
        self,
        dir_id: LayerDirId | None = None,
        *,
        parent: LayerDirId | None = None,
        content: Mapping[str, Entry] | None = None,
    ) -> LayerDirId:
        """A layer dir above the layer dir `parent`, named by no record."""
        made = dir_id or self.names.layer_dir_id()
        link = self.names.link_id()
        lower = self._chains[parent] if parent else ()
        put_layer_dir(self.path, made, link, lower, self._content() if content is None else content)
        if parent:
            put_committed(self.path, parent)
        self._chains[made] = (link, *lower)
        return made

    def link_of(self, dir_id: LayerDirId) -> LinkId:
        return self._chains[dir_id][0]

    def layer(
        self,
        parent: BuiltLayer | None = None,
        *,
        content: Mapping[str, Entry] | None = None,
        cache_id: LayerDirId | None = None,
        above: LayerDirId | None = None,
    ) -> BuiltLayer:
        """
        A layer on `parent`, record and layer dir, in no image.

        A chain that is there already comes back as it is. `cache_id` names a layer dir that is there already; `above`
        is the layer dir that the new one lies on where that is not the parent's own (the duplicate-dir case).
        """
        held = self._content() if content is None else content
        packed = pack(held)
        chain = chain_id(parent.chain_id if parent else None, packed.diff_id)
        if chain in self.layers:
            return self.layers[chain]
        lies_on = above or (parent.cache_id if parent else None)
        made = cache_id or self.layer_dir(parent=lies_on, content=held)
        size = packed.payload if cache_id else packed.size
        put_layer_record(self.path, chain, packed, made, parent.chain_id if parent else None, size)
        layer = BuiltLayer(chain, packed.diff_id, made, self.link_of(made), parent.chain_id if parent else None)
        self.layers[chain] = layer
        self._contents[chain] = held
        return layer

    def image(
        self,
        reference: str = "",
        *,
        layers: int | Sequence[Mapping[str, Entry]] = 1,
        base: BuiltImage | None = None,
        above: LayerDirId | None = None,
    ) -> BuiltImage:
        """
        An image of `base`'s layers and new ones: a number of them, or their contents.

        `reference` is ``name:tag`` or ``name@sha256:…``. `above` goes to the first new layer, see `layer`.
        """
        contents: Sequence[Mapping[str, Entry] | None] = [None] * layers if isinstance(layers, int) else layers
        stack = list(base.layers) if base else []
        if len(stack) + len(contents) > MAX_LAYERS:
            raise ValueError(f"an image has at most {MAX_LAYERS} layers")
        for number, content in enumerate(contents):
            parent = stack[-1] if stack else None
            stack.append(self.layer(parent, content=content, above=above if number == 0 else None))
        return self.image_of(reference, tuple(stack))

    def image_of(
        self, reference: str, layers: tuple[BuiltLayer, ...], *, config_of: ImageConfigOf = configs.image_config
    ) -> BuiltImage:
        """An image of layers that are there; `config_of` says in which form its config is written."""
        self._counted += 1
        title = reference or f"untagged {self._counted}"
        config = config_of(title, [layer.diff_id for layer in layers])
        image = ImageId("sha256:" + hashlib.sha256(config).hexdigest())
        put_image(self.path, image, config, configs.CREATED if reference else "")
        if reference:
            self.tag(image, reference)
        return BuiltImage(image, reference, layers)

    def tag(self, image: ImageId, reference: str) -> None:
        name = reference.partition("@")[0] if "@" in reference else reference.rpartition(":")[0]
        self.references.setdefault(name, {})[reference] = image

    def duplicate_dirs(self, image: BuiltImage) -> LayerDirId:
        """
        The layers of `image` once more as build dirs that no database names; gives the uppermost.

        With ``image(…, base=image, above=…)`` this is what builds and prunes leave: the record of the new layer has
        the old parent, its `lower` names the dirs made here, and nothing but that keeps them.
        """
        lies_on: LayerDirId | None = None
        for layer in image.layers:
            content = self._contents[layer.chain_id]
            lies_on = self.layer_dir(self.names.build_id(), parent=lies_on, content=content)
        if lies_on is None:
            raise ValueError("an image without layers has no dirs to duplicate")
        return lies_on

    # --- rw layers and containers -----------------------------------------------------------------------------------

    def rw_layer(
        self,
        name: str | None = None,
        *,
        parent: BuiltLayer | None = None,
        with_init: bool = True,
        content: Mapping[str, Entry] | None = None,
    ) -> BuiltRwLayer:
        """
        A rw layer record with its dirs, without a container; `name` may hold slashes, as image mounts' names do.

        Classic builds and BuildKit's views make theirs without an init layer.
        """
        mount_id = self.names.layer_dir_id()
        below = parent.cache_id if parent else None
        init_id = init_dir_of(mount_id) if with_init else None
        if init_id:
            below = self.layer_dir(init_id, parent=below, content=_INIT_CONTENT)
        self.layer_dir(mount_id, parent=below, content={} if content is None else content)
        rw_name = RwLayerName(name or self.names.hex64())
        chain = parent.chain_id if parent else None
        put_rw_layer_record(self.path, rw_name, mount_id, init_id, chain)
        link = self.link_of(mount_id)
        return BuiltRwLayer(rw_name, mount_id, link, init_id, self.link_of(init_id) if init_id else None, chain)

    def container(
        self,
        name: str,
        *,
        image: BuiltImage,
        content: Mapping[str, Entry] | None = None,
        running: bool = False,
        dead: bool = False,
        auto_remove: bool = False,
        restart_policy: str = "no",
    ) -> BuiltContainer:
        """A container that ran once (or claims to be running); `content` is what it wrote into its rw layer."""
        container = ContainerId(self.names.hex64())
        rw = self.rw_layer(container, parent=image.top, content=content)
        home = self.path / layout.container(container)
        put_directory(home, 0o710)
        put_directory(home / "checkpoints", 0o700)
        put_directory(home / "mounts", 0o710)
        state = configs.state(running=running, dead=dead)
        config = configs.container_config(container, name, image.id, image.reference, state, str(home.absolute()))
        put_file(home / layout.CONTAINER_CONFIG, compact(config), 0o600)
        host = configs.host_config(auto_remove=auto_remove, restart_policy=restart_policy)
        put_file(home / layout.HOST_CONFIG, compact(host))
        put_file(home / "hostname", f"{container[:12]}\n")
        put_file(home / "hosts", "127.0.0.1\tlocalhost\n")
        put_file(home / "resolv.conf", "nameserver 192.0.2.1\n")
        put_file(home / f"{container}-json.log", b"", 0o640)
        return BuiltContainer(container, name, image, rw)

    def image_mount(self, container: BuiltContainer, image: BuiltImage, destination: str) -> BuiltRwLayer:
        """`image` mounted into `container` as 28 does it: a rw layer without init, its name below the container's."""
        name = f"{container.id}-{image.reference}"
        rw = self.rw_layer(name, parent=image.top, with_init=False)
        path = self.path / layout.container(container.id) / layout.CONTAINER_CONFIG
        config = json.loads(path.read_bytes())
        merged = f"{(self.path / layout.layer_dir(rw.mount_id)).absolute()}/{layout.MERGED}"
        config["MountPoints"][destination] = configs.image_mount_point(
            destination, name=name, image=image.id, reference=image.reference, merged=merged
        )
        put_file(path, compact(config), 0o600)
        return rw

    # --- BuildKit ---------------------------------------------------------------------------------------------------

    def build_source(
        self, *, record_type: str = "source.local", content: Mapping[str, Entry] | None = None
    ) -> BuiltSnapshot:
        """
        An active snapshot: a build context, or (``exec.cachemount``) a cache mount; its record and its lease.

        A context has a second record, of its content when a step last used it, which has no lease.
        """
        snapshot = self._build_dir(None, content)
        dir_id = snapshot.dir_id
        self.builds.active(dir_id, "")
        self.builds.record(dir_id, committed=False, description="local source for context", recordType=record_type)
        self.builds.lease(dir_id, [dir_id])
        if record_type == "source.local":
            self.builds.record(self.names.build_id(), committed=True, equalMutable=dir_id)
        return snapshot

    def build_step(
        self, parent: BuiltSnapshot | BuiltLayer | None = None, *, content: Mapping[str, Entry] | None = None
    ) -> BuiltSnapshot:
        """
        A finished step: its dir's bucket is superseded by a committed one, which has the record and the lease.

        `parent` is the step below, or the layer that the build started from.
        """
        step = self._build_dir(parent, content)
        name = self.names.build_id()
        below = parent.chain_id if isinstance(parent, BuiltLayer) else parent.name if parent else ""
        self.builds.superseded(step.dir_id, below, name)
        values: dict[str, object] = {"parent": parent.name} if isinstance(parent, BuiltSnapshot) else {}
        self.builds.record(name, committed=True, description="fileop target", equalMutable=None, **values)
        self.builds.lease(name, [name])
        return BuiltSnapshot(name, step.dir_id, step.link, step.content)

    def build_export(self, step: BuiltSnapshot, *, parent: BuiltLayer | None = None) -> BuiltLayer:
        """The layer that `step` becomes when its image is exported; `parent` is the layer of the step below."""
        layer = self.layer(parent, content=step.content, cache_id=step.dir_id)
        self.builds.exported(step.name, layer.chain_id)
        return layer

    def build_on_layer(self, layer: BuiltLayer) -> str:
        """A record for a layer that a build started from (``FROM image``), with its lease's bucket; gives its id."""
        record = self.names.build_id()
        self.builds.layer(layer.chain_id)
        self.builds.lease_bucket(record, layer.chain_id)
        self.builds.record(record, committed=True, description="pulled from an image", snapshot=layer.chain_id)
        self.builds.lease(record, [layer.chain_id])
        return record

    def _build_dir(
        self, parent: BuiltSnapshot | BuiltLayer | None, content: Mapping[str, Entry] | None
    ) -> BuiltSnapshot:
        held = self._content() if content is None else content
        below = parent.cache_id if isinstance(parent, BuiltLayer) else parent.dir_id if parent else None
        dir_id = self.layer_dir(self.names.build_id(), parent=below, content=held)
        return BuiltSnapshot(dir_id, dir_id, self.link_of(dir_id), held)

    # --- work under way ---------------------------------------------------------------------------------------------

    def removal(self, layer: BuiltLayer, *, keep_dir: bool = True) -> BuiltRemoval:
        """`layer` (which nothing else should need) as the engine leaves it while it removes it."""
        chain_hex = layer.chain_id.removeprefix("sha256:")
        name = f"{chain_hex}-{self.names.hex64()}-removing"
        (self.path / layout.layer_record(layer.chain_id)).rename(self.path / layout.removing_record(name))
        del self.layers[layer.chain_id]
        if not keep_dir:
            remove_layer_dir(self.path, layer.cache_id)
        return BuiltRemoval(name, layer.chain_id, layer.cache_id)

    def write_set(self, *, cache_id: LayerDirId | None = None) -> str:
        """A layer being registered: an empty tar-split, and at its very end the `cache_id`. Gives its name."""
        name = layout.WRITE_SET_PREFIX + self.names.digits()
        home = self.path / layout.write_set(name)
        put_directory(home, 0o700)
        put_file(home / layout.TAR_SPLIT, b"\x1f\x8b\x08\0\0\0\0\0\0\xff")
        if cache_id:
            put_file(home / layout.CACHE_ID, cache_id)
        return name

    def _content(self) -> Mapping[str, Entry]:
        self._counted += 1
        return {f"layer/{self._counted}": f"content of layer {self._counted}\n".encode()}
