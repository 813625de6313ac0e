"""
A view as a tree for people.

First what was asked for and what keeps it alive, then images with their layers, containers with theirs, what no image
or container owns, builds, kernel mounts, and the findings on the way. Ids stand whole, so that they can be copied and
searched; names from the root are escaped. The asked thing is marked where it stands in the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from rich.tree import Tree

from gcd.inspect.view import Form
from gcd.model.finding import Confidence, Node, NodeKind
from gcd.model.reading import Absent, Present, describe, value_of
from gcd.report.console import rendered
from gcd.report.inspect_why import way
from gcd.report.lines import STYLES
from gcd.report.printable import printable
from gcd.report.units import counted, iec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.inspect.view import ContainerView, DirectoryView, ImageView, LayerView, Named, RwLayerView, View
    from gcd.model.facts import BuildSnapshot, KernelMount
    from gcd.model.finding import Finding
    from gcd.model.reading import Reading

WHOLE_IMAGES = 3
WHOLE_CONTAINERS = 5
"""Of more images or containers only the names are shown; each can be asked for, and JSON has them all."""

SHOWN = 20
KIBIBYTE = 1024

_WITH_ONE_DIRECTORY = {NodeKind.LAYER_DIR, NodeKind.LAYER, NodeKind.LINK}

_KINDS = {NodeKind.LAYER: "layer", NodeKind.LAYER_DIR: "directory", NodeKind.RW_LAYER: "rw layer record"}


def inspect_text(view: View, *, width: int | None = None, colour: bool = False) -> str:
    """The whole tree, wrapped to `width` columns if given; with `colour` it carries ANSI colours."""
    return rendered((_Drawing(view).tree(),), width=width, colour=colour)


class _Drawing:
    def __init__(self, view: View) -> None:
        self._view = view
        self._layers = {layer.chain_id: layer for layer in view.layers}
        self._directories = {directory.id: directory for directory in view.directories}
        self._rw_layers = {rw_layer.name: rw_layer for rw_layer in view.rw_layers}
        self._drawn: set[Node] = set()
        """What stands in the tree already; the rest gets sections of its own."""

    def tree(self) -> Tree:
        view = self._view
        tree = Tree(
            Text.assemble(
                (_title(view.asked.node), "bold"), ("" if view.exists else "  is not there, only named", "red")
            )
        )
        self._asked(tree)
        if len(view.images) <= WHOLE_IMAGES:
            for image in view.images:
                self._image(tree, image)
        else:
            for layer in filter(self._is_near, view.layers):
                self._layer(tree, layer, "layer")
            _list(tree, f"{len(view.images)} images", map(_image_line, view.images))
        if len(view.containers) <= WHOLE_CONTAINERS:
            for container in view.containers:
                self._container(tree, container)
        else:
            _list(tree, f"{len(view.containers)} containers", map(_container_line, view.containers))
        self._rest(tree)
        self._builds(tree)
        if view.mounts:
            _list(tree, "kernel mounts", map(_mount_line, view.mounts))
        if view.findings:
            found = tree.add(Text("findings"))
            for finding in view.findings:
                found.add(_finding_line(finding))
        return tree

    def _asked(self, tree: Tree) -> None:
        view = self._view
        if view.asked.form is not Form.PATH:
            tree.add(Text(f"asked by its {view.asked.form}", style="dim"))
        elif view.asked.inside:
            tree.add(Text(f"inside  {printable(view.asked.inside)}"))
        for source, state in view.incomplete.items():
            tree.add(Text(f"{source} was not read completely, and is missing here: {printable(state.why)}", "yellow"))
        if view.asked.node.kind in _WITH_ONE_DIRECTORY:
            for why in view.why:
                tree.add(Text(f"kept by  {way(why, view)}"))

    # --- images and layers ------------------------------------------------------------------------------------------

    def _image(self, tree: Tree, image: ImageView) -> None:
        config = image.fact.config if image.fact else None
        branch = tree.add(self._heading(NodeKind.IMAGE, image.id, "image ", missing=image.fact is None))
        if image.references:
            _list(branch, "tags", map(printable, image.references))
        elif image.fact is not None:
            branch.add(Text("no tags"))
        if config is not None and isinstance(config, Present):
            branch.add(Text(f"created {printable(config.value.created) or 'at no known time'}, {config.value.os}"))
        elif config is not None:
            branch.add(_trouble("config", config))
        if image.metadata is not None and not isinstance(image.metadata.parent, Absent):
            branch.add(_line("parent image", image.metadata.parent))
        if image.children:
            _list(branch, "child images", map(_name, image.children))
        for number, (chain, _) in enumerate(image.chains, start=1):
            if chain in self._layers:
                self._layer(branch, self._layers[chain], f"layer {number} of {len(image.chains)}", image)
        others = [c for c in image.containers if c.id not in {shown.id for shown in self._view.containers}]
        if others:
            _list(branch, "containers", map(_name, others))

    def _layer(self, tree: Tree, layer: LayerView, title: str, image: ImageView | None = None) -> None:
        node = Node(NodeKind.LAYER, layer.chain_id)
        again = node in self._drawn
        branch = tree.add(self._heading(node.kind, node.id, title, missing=layer.fact is None, show_id=False))
        branch.add(Text(f"diff id   {layer.diff_id or 'not known'}"))
        branch.add(Text(f"chain id  {layer.chain_id}"))
        if again:
            branch.add(Text("shown above", style="dim"))
            return
        fact = layer.fact
        if fact is None:
            branch.add(Text("no layer record", style="red"))
        else:
            branch.add(_line("cache-id ", fact.cache_id))
            directory = value_of(fact.cache_id)
            if directory is not None and directory in self._directories:
                self._directory(branch, self._directories[directory])
            branch.add(_size_line(fact.size))
            for name, reading in (("diff", fact.diff_id), ("parent", fact.parent)):
                if not isinstance(reading, (Present, Absent)):
                    branch.add(_trouble(name, reading))
        if layer.broken_at is not None:
            culprit = "" if layer.broken_at == layer.chain_id else f": {layer.broken_at} stops it"
            branch.add(Text(f"the engine cannot load it{culprit}", style="red"))
        self._users(branch, layer, image)

    def _users(self, branch: Tree, layer: LayerView, image: ImageView | None) -> None:
        """Who uses the layer besides what the picture shows around it."""
        shown = {container.id for container in self._view.containers}
        users = [
            *(f"image {_name(user)}" for user in layer.used_by.images if image is None or user.id != image.id),
            *(f"container {_name(user)}" for user in layer.used_by.containers if user.id not in shown),
            *(f"build snapshot {printable(name)}" for name in layer.used_by.builds),
        ]
        if users:
            _list(branch, "shared with" if image is not None else "used by", users)

    def _directory(self, tree: Tree, directory: DirectoryView, title: str = "directory") -> None:
        fact = directory.fact
        branch = tree.add(
            self._heading(
                NodeKind.LAYER_DIR, directory.id, f"{title} {printable(directory.path)}", fact is None, show_id=False
            )
        )
        if fact is None:
            return
        if fact.unreadable is not None:
            branch.add(Text(f"unreadable ({printable(fact.unreadable)})", style="red"))
            return
        link = value_of(fact.link)
        if link is None:
            branch.add(_trouble("link", fact.link))
        elif link in directory.symlinks:
            branch.add(Text(f"link      {link}, and l/{link} leads here{self._mark(NodeKind.LINK, link)}"))
        else:
            branch.add(Text(f"link      {link}, and l/{link} does not lead here", style="red"))
        for symlink in directory.symlinks:
            if symlink != link:
                branch.add(Text(f"l/{symlink} leads here, and its link file says otherwise", style="red"))
        disk = self._view.disk.get(directory.id)
        if disk is not None:
            least = "at least " if disk.is_lower_bound else ""
            branch.add(Text(f"on disk   {least}{iec(disk.disk_bytes)} in {counted(disk.inodes, 'inode')}"))
        if not isinstance(fact.lower, (Present, Absent)):
            branch.add(_trouble("lower", fact.lower))

    # --- containers -------------------------------------------------------------------------------------------------

    def _container(self, tree: Tree, container: ContainerView) -> None:
        name = f"container {printable(container.name)} " if container.name else "container "
        missing = container.fact is None
        branch = tree.add(self._heading(NodeKind.CONTAINER, container.id, name, missing=missing))
        reading = container.fact.config if container.fact else None
        config = reading.value if isinstance(reading, Present) else None
        if reading is not None and config is None:
            branch.add(_trouble("config.v2.json", reading))
        if config is not None:
            state = "dead" if config.dead else "running" if config.running else "not running"
            branch.add(Text(f"{state}{', its removal has begun' if config.removal_in_progress else ''}"))
            branch.add(Text(f"image {printable(config.image_reference)} ({printable(config.image) or 'none'})"))
        for rw_layer in container.rw_layers:
            if rw_layer in self._rw_layers:
                self._rw_layer(branch, self._rw_layers[rw_layer])
        points = config.mount_points if config is not None else ()
        if points:
            _list(
                branch,
                "mount points",
                (
                    f"{printable(p.destination)}: {printable(' '.join(w for w in (p.type, p.name) if w))} from "
                    f"{printable(p.source) or 'nowhere'}{'' if p.is_writable else ', read-only'}"
                    for p in points
                ),
            )

    def _rw_layer(self, tree: Tree, rw_layer: RwLayerView) -> None:
        fact = rw_layer.fact
        branch = tree.add(self._heading(NodeKind.RW_LAYER, rw_layer.name, "rw layer record ", missing=fact is None))
        if fact is None:
            return
        for directory, title in ((rw_layer.mount_id, "rw directory"), (rw_layer.init_id, "init directory")):
            if directory is not None and directory in self._directories:
                self._directory(branch, self._directories[directory], title)
        if rw_layer.mount_id is None:
            branch.add(_trouble("mount-id", fact.mount_id))
        if not isinstance(fact.init_id, (Present, Absent)):
            branch.add(_trouble("init-id", fact.init_id))
        if isinstance(fact.parent, Absent):
            branch.add(Text("on no layer"))
        else:
            branch.add(_line("on the layer with chain id", fact.parent))

    # --- what stands alone ------------------------------------------------------------------------------------------

    def _rest(self, tree: Tree) -> None:
        """Layers without an image here, rw layer records without a container, directories without a record."""
        view = self._view
        is_whole = len(view.images) <= WHOLE_IMAGES and len(view.containers) <= WHOLE_CONTAINERS
        for layer in view.layers:
            if Node(NodeKind.LAYER, layer.chain_id) not in self._drawn and (is_whole or self._is_near(layer)):
                self._layer(tree, layer, "layer")
        for rw_layer in view.rw_layers:
            if Node(NodeKind.RW_LAYER, rw_layer.name) not in self._drawn and (
                is_whole or rw_layer.mount_id in view.near
            ):
                self._rw_layer(tree, rw_layer)
        for node in view.others:
            tree.add(Text(_title(node)))
        for directory in view.directories:
            if Node(NodeKind.LAYER_DIR, directory.id) not in self._drawn and (is_whole or directory.id in view.near):
                self._directory(tree, directory)
                self._lower_and_owners(tree.children[-1], directory)

    def _is_near(self, layer: LayerView) -> bool:
        """Whether it is the asked layer, or one that the asked thing stands on."""
        directory = value_of(layer.fact.cache_id) if layer.fact else None
        return self._view.asked.node == Node(NodeKind.LAYER, layer.chain_id) or directory in self._view.near

    def _lower_and_owners(self, branch: Tree, directory: DirectoryView) -> None:
        owners = [printable(str(owner)) for owner in directory.owners if owner.kind is not NodeKind.DATABASE]
        mentioned = ["a word in BuildKit's databases"] if len(owners) < len(directory.owners) else []
        if owners or mentioned:
            _list(branch, "named by", (*owners, *mentioned))
        if directory.lower and directory.id in self._view.near:
            _list(branch, "lower", (f"overlay2/{lower}" for lower in directory.lower))

    def _builds(self, tree: Tree) -> None:
        view = self._view
        if not (view.snapshots or view.records or view.leases):
            return
        branch = tree.add(Text("build cache"))
        for snapshot in view.snapshots[:SHOWN]:
            branch.add(_snapshot_line(snapshot, self._mark(NodeKind.BUILD_SNAPSHOT, snapshot.name)))
        for record in view.records[:SHOWN]:
            of = printable(record.snapshot or record.id)
            kind = f", {printable(record.record_type)}" if record.record_type else ""
            branch.add(Text(f"record {printable(record.id)} of snapshot {of}{kind}"))
        for lease in view.leases[:SHOWN]:
            mark = self._mark(NodeKind.BUILD_LEASE, lease.id)
            temporary = "temporary " if lease.temporary else ""
            branch.add(
                Text(f"{temporary}lease {printable(lease.id)} of {counted(len(lease.snapshots), 'snapshot')}{mark}")
            )
        hidden = sum(max(0, len(items) - SHOWN) for items in (view.snapshots, view.records, view.leases))
        if hidden:
            branch.add(Text(f"… and {hidden} more; --format json lists all", style="dim"))

    # --- headings ---------------------------------------------------------------------------------------------------

    def _heading(self, kind: NodeKind, id_: str, title: str, missing: bool = False, *, show_id: bool = True) -> Text:
        self._drawn.add(Node(kind, id_))
        mark = self._mark(kind, id_)
        shown = f"{title}{printable(id_)}" if show_id else title
        return Text.assemble((shown, "bold" if mark else ""), ("  is not there" if missing else "", "red"), mark)

    def _mark(self, kind: NodeKind, id_: str) -> str:
        return "  ← this" if self._view.asked.node == Node(kind, id_) else ""


def _title(node: Node) -> str:
    return f"{_KINDS.get(node.kind, node.kind.replace('-', ' '))} {printable(node.id)}"


def _list(tree: Tree, title: str, items: Iterable[str]) -> None:
    branch = tree.add(Text(title))
    lines = list(items)
    for line in lines[:SHOWN]:
        branch.add(Text(line))
    if len(lines) > SHOWN:
        branch.add(Text(f"… and {len(lines) - SHOWN} more; --format json lists all", style="dim"))


def _line(name: str, reading: Reading[str]) -> Text:
    if isinstance(reading, Present):
        return Text(f"{name} {printable(reading.value)}")
    return _trouble(name.strip(), reading)


def _trouble(name: str, reading: Reading[object]) -> Text:
    return Text(f"{name} is {printable(describe(reading))}", style="red")


def _size_line(reading: Reading[int]) -> Text:
    if isinstance(reading, Present):
        exact = f" ({reading.value} bytes)" if reading.value >= KIBIBYTE else ""
        return Text(f"size      {iec(reading.value)}{exact} unpacked, as recorded")
    return _trouble("size", reading)


def _name(named: Named) -> str:
    """The names with the id, which can be asked for."""
    names = ", ".join(map(printable, named.names))
    return f"{names} ({printable(named.id)})" if names else printable(named.id)


def _image_line(image: ImageView) -> str:
    names = ", ".join(map(printable, image.references))
    return f"{names or 'no tags'} ({printable(image.id)}), {counted(len(image.chains), 'layer')}"


def _container_line(container: ContainerView) -> str:
    return f"{printable(container.name)} ({printable(container.id)})" if container.name else printable(container.id)


def _mount_line(mount: KernelMount) -> str:
    pids = ", ".join(map(str, mount.pids))
    holder = f" ({printable(mount.holder)})" if mount.holder else ""
    of = ""
    if mount.merged_of is None and mount.dirs:
        of = f" of {', '.join(f'overlay2/{printable(directory)}' for directory in sorted(mount.dirs)[:SHOWN])}"
    where = f"{printable(mount.fstype)}{of} on {printable(mount.mount_point)}"
    return f"{where}, pid {pids}{holder}, namespace {printable(mount.namespace)}"


def _snapshot_line(snapshot: BuildSnapshot, mark: str) -> Text:
    parts = [f"snapshot {printable(snapshot.name)}", str(snapshot.kind)]
    if snapshot.dir_id is not None and snapshot.dir_id != snapshot.name:
        parts.append(f"directory overlay2/{printable(snapshot.dir_id)}")
    if snapshot.chain_id is not None:
        parts.append(f"chain id {printable(snapshot.chain_id)}")
    if snapshot.parent:
        parts.append(f"on {printable(snapshot.parent)}")
    return Text(", ".join(parts) + mark)


def _finding_line(finding: Finding) -> Text:
    sure = ", suspected" if finding.confidence is Confidence.SUSPECTED else ""
    blocked = ", blocked" if finding.blocked_by else ""
    return Text.assemble(
        (str(finding.severity), STYLES[finding.severity]),
        f" {finding.code} {finding.name}{sure}{blocked}: "
        f"{printable(str(finding.subject))}: {printable(finding.summary)}",
    )
