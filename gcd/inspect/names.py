"""
What a word can mean: ids of every kind, whole or begun, names, references, and paths in the root.

As with the engine's own commands, a word that names something exactly is never taken for the beginning of an id, and
``web`` is ``web:latest`` only where nothing else is called ``web``, and a volume only where no image is. Beyond them,
``KIND:ID`` (as reports print subjects) and whole finding ids are understood. Ids that something names count even where
the thing itself is gone.

Sources: moby ``daemon/container.go`` GetContainer (id, name, beginning of an id), ``daemon/images/image.go``
GetImage, distribution ``reference/normalize.go`` ParseDockerRef, familiarizeName.
"""

from __future__ import annotations

import difflib
import re
from itertools import islice
from posixpath import normpath
from typing import TYPE_CHECKING

from gcd.inspect.picture import volumes_of
from gcd.inspect.view import Candidate, Form
from gcd.model import edges, layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import removing_chain
from gcd.model.reading import Present, value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

SHORTEST = 4
"""An id must be begun with at least this many characters."""

NEAREST = 3

_DIGEST_PREFIX = "sha256:"
_FINDING = re.compile(r"GCD\d{3}:(.*)", re.DOTALL)
_ID_CHARACTERS = re.compile(r"[0-9a-z-]+|[A-Z2-7]+")

_SAME_THING = {
    NodeKind.RW_LAYER: NodeKind.CONTAINER,
    NodeKind.BUILD_SNAPSHOT: NodeKind.LAYER_DIR,
}
"""Two kinds that carry one id where they belong together: the word means the second."""

_ABOUT: dict[str, str] = {NodeKind.IMAGE_METADATA: NodeKind.IMAGE}
"""Kinds that are parts of another."""

Name = tuple[str, Candidate]


class Names:
    """Everything that has a name in one inventory."""

    def __init__(self, inventory: Inventory, graph: StoreGraph) -> None:
        self._inventory = inventory
        self._graph = graph
        self._ids: tuple[Name, ...] = tuple(dict.fromkeys((*self._record_ids(), *self._dir_ids(), *self._build_ids())))
        self._volumes = {
            *inventory.volumes,
            *(volume for container in inventory.containers.values() for volume in volumes_of(container)),
        }
        self._words: tuple[Name, ...] = tuple(dict.fromkeys((*self._references(), *self._container_names())))

    def meant_by(self, word: str, roots: Sequence[str] = (), place: str | None = None) -> tuple[Candidate, ...]:
        """
        What `word` can mean, in a steady order: nothing if it is unknown, several if it is ambiguous.

        `roots` are the absolute paths by which the root is known; `place` is where `word` leads as a relative path from
        the working directory, if that is below the root.
        """
        exact = (*self._exactly(word), *self._qualified(word), *self._at_paths(word, roots, place))
        for found in (exact, self._completed(word), self._volume(word), self._begun(word)):
            if found:
                return _told_apart(found)
        return ()

    def nearest(self, word: str) -> tuple[str, ...]:
        """
        What an unknown `word` may have been meant for: names that look alike, then ids with a long common beginning.
        """
        names: dict[str, str] = {}
        for text, _ in self._words:
            names.setdefault(text, text)
            names.setdefault(text.rpartition(":")[0] or text, text)
        alike = (names[name] for name in difflib.get_close_matches(word, names, n=NEAREST, cutoff=0.6))
        bare = _bare(word)
        shared = sorted(
            (-length, str(candidate.node))
            for text, candidate in self._ids
            if (length := _common(bare, text)) >= SHORTEST
        )
        return tuple(dict.fromkeys((*alike, *(text for _, text in shared))))[:NEAREST]

    # --- the ways to name a thing -----------------------------------------------------------------------------------

    def _exactly(self, word: str, kind: NodeKind | None = None) -> tuple[Candidate, ...]:
        name = word.removeprefix("/")
        ids = tuple(candidate for text, candidate in self._ids if text == _bare(word) and _may_be(candidate, word))
        words = tuple(candidate for text, candidate in self._words if text == name)
        return tuple(candidate for candidate in (*ids, *words) if kind in (None, candidate.node.kind))

    def _qualified(self, word: str) -> tuple[Candidate, ...]:
        """``layer-dir:<id>`` and ``GCD101:layer-dir:<id>``; the id whole, or the beginning of one."""
        finding = _FINDING.fullmatch(word)
        prefix, _, rest = (finding[1] if finding else word).partition(":")
        prefix = _ABOUT.get(prefix, prefix)
        if prefix not in set(NodeKind) or not rest:
            return ()
        if prefix == NodeKind.REFERENCE:
            return tuple(c for text, c in self._words if text == rest and c.form is Form.REFERENCE)
        if prefix == NodeKind.VOLUME:
            return self._volume(rest)
        kind = NodeKind(prefix)
        # A layer's own id is its chain id: the way out where a digest is the diff id of other layers as well.
        found = self._exactly(rest, kind) or self._begun(rest, kind)
        chains = tuple(c for c in found if c.form is Form.CHAIN_ID)
        return chains if kind is NodeKind.LAYER and chains else found

    def _volume(self, name: str, form: Form = Form.VOLUME, inside: Sequence[str] = ()) -> tuple[Candidate, ...]:
        """A volume that is there, or that a container has as one of its mount points."""
        return (Candidate(Node(NodeKind.VOLUME, name), form, "/".join(inside)),) if name in self._volumes else ()

    def _completed(self, word: str) -> tuple[Candidate, ...]:
        """References as the engine completes them: the default registry left out, ``:latest`` added."""
        familiar = word
        for host in ("docker.io/", "index.docker.io/"):
            familiar = familiar.removeprefix(host)
        familiar = familiar.removeprefix("library/") if familiar != word else familiar
        name, at, digest = familiar.partition("@")
        last = name.rpartition("/")[2]
        if at:
            wanted = f"{name[: len(name) - len(last)]}{last.partition(':')[0]}@{digest}"
        else:
            wanted = name if ":" in last else f"{name}:latest"
        return tuple(c for text, c in self._words if text == wanted and c.form is Form.REFERENCE)

    def _begun(self, word: str, kind: NodeKind | None = None) -> tuple[Candidate, ...]:
        """Ids that `word` is the beginning of; those that go on after an id of 64 digits only where no other fits."""
        bare = _bare(word)
        if len(bare) < SHORTEST or not _ID_CHARACTERS.fullmatch(bare):
            return ()
        found = [
            (text, candidate)
            for text, candidate in self._ids
            if text.startswith(bare) and kind in (None, candidate.node.kind) and _may_be(candidate, word)
        ]
        plain = tuple(candidate for text, candidate in found if "-" not in text)
        return plain or tuple(candidate for _, candidate in found)

    def _at_paths(self, word: str, roots: Sequence[str], place: str | None) -> tuple[Candidate, ...]:
        found: dict[Candidate, None] = {}
        for path in (*_below(word, roots), *((place,) if place is not None else ())):
            found.update(dict.fromkeys(self._at(normpath(path))))
        return tuple(found)

    def _at(self, path: str) -> Iterator[Candidate]:
        """What the file or directory at `path`, relative to the root, belongs to."""
        driver = self._inventory.store
        match path.split("/"):
            case [first, layout.LINK_FARM, link, *rest] if first == driver:
                yield from self._known(NodeKind.LINK, link, rest)
            case [first, directory, *rest] if first == driver:
                yield from self._known(NodeKind.LAYER_DIR, directory, rest)
            case [layout.CONTAINERS, container, *rest]:
                yield from self._known(NodeKind.CONTAINER, container, rest)
            case [layout.VOLUMES, volume, *rest]:
                yield from self._volume(volume, Form.PATH, rest)
            case ["image", tree, *rest] if tree == driver:
                yield from self._in_image_tree(rest)

    def _in_image_tree(self, parts: Sequence[str]) -> Iterator[Candidate]:
        match parts:
            case ["layerdb", "sha256", record, *rest]:
                kind = NodeKind.REMOVING_LAYER if removing_chain(record) else NodeKind.LAYER
                name = record if kind is NodeKind.REMOVING_LAYER else _DIGEST_PREFIX + record
                yield from self._known(kind, name, rest)
            case ["layerdb", "mounts", *names]:
                lengths = (n for n in range(len(names), 0, -1) if "/".join(names[:n]) in self._inventory.rw_layers)
                for length in islice(lengths, 1):
                    yield from self._known(NodeKind.RW_LAYER, "/".join(names[:length]), names[length:])
            case ["layerdb", layout.TMP, write_set, *rest]:
                yield from self._known(NodeKind.WRITE_SET, write_set, rest)
            case ["imagedb", _, "sha256", image, *rest]:
                yield from self._known(NodeKind.IMAGE, _DIGEST_PREFIX + image, rest)
            case ["distribution", "v2metadata-by-diffid", "sha256", diff_id]:
                yield from self._exactly(_DIGEST_PREFIX + diff_id, NodeKind.LAYER)

    def _known(self, kind: NodeKind, id_: str, inside: Sequence[str]) -> Iterator[Candidate]:
        node = Node(kind, id_)
        if any(candidate.node == node for _, candidate in self._ids):
            yield Candidate(node, Form.PATH, "/".join(inside))

    # --- what has a name --------------------------------------------------------------------------------------------

    def _record_ids(self) -> Iterator[Name]:
        inv, graph = self._inventory, self._graph
        repositories = value_of(inv.repositories)
        images: set[str] = {
            *inv.images,
            *inv.image_metadata,
            *(repositories.references.values() if repositories else ()),
        }
        for container in inv.containers.values():
            images.update(target.id for target in edges.container_edges(container) if target.kind is NodeKind.IMAGE)
            yield container.id, Candidate(Node(NodeKind.CONTAINER, container.id), Form.CONTAINER_ID)
        for image in sorted(images):
            yield _bare(image), Candidate(Node(NodeKind.IMAGE, image), Form.IMAGE_ID)
        for reference, image in (repositories.references if repositories else {}).items():
            _, at, digest = reference.partition("@")
            if at:
                yield _bare(digest), Candidate(Node(NodeKind.IMAGE, image), Form.MANIFEST)
        parents = (*(r.parent for r in inv.layers.values()), *(r.parent for r in inv.rw_layers.values()))
        chains = {*inv.layers, *graph.computed_parents, *(p.value for p in parents if isinstance(p, Present))}
        for chain in sorted(chains):
            yield _bare(chain), Candidate(edges.layer_node(chain), Form.CHAIN_ID)
            record = inv.layers.get(chain)
            said = value_of(record.diff_id) if record else None
            for diff_id in {said, graph.computed_diff_ids.get(chain)} - {None, chain}:
                yield _bare(str(diff_id)), Candidate(edges.layer_node(chain), Form.DIFF_ID)
        for name in inv.rw_layers:
            yield name, Candidate(Node(NodeKind.RW_LAYER, name), Form.RW_LAYER)
        for work in inv.removing:
            yield work, Candidate(Node(NodeKind.REMOVING_LAYER, work), Form.WORK)
        for work in inv.write_sets:
            yield work, Candidate(Node(NodeKind.WRITE_SET, work), Form.WORK)

    def _dir_ids(self) -> Iterator[Name]:
        inv, graph = self._inventory, self._graph
        dirs: set[str] = {*inv.layer_dirs, *graph.named_dirs, *graph.symlinks_to}
        for directory in sorted(dirs):
            yield directory, Candidate(edges.dir_node(directory), Form.LAYER_DIR)
        for link in sorted({*inv.link_farm.symlinks, *graph.claimants, *graph.cited_links}):
            yield link, Candidate(Node(NodeKind.LINK, link), Form.LINK_ID)

    def _build_ids(self) -> Iterator[Name]:
        cache = self._inventory.build_cache
        for name in cache.snapshots:
            if not name.startswith(_DIGEST_PREFIX):
                yield name, Candidate(Node(NodeKind.BUILD_SNAPSHOT, name), Form.BUILD_ID)
        for record in cache.records.values():
            if not record.snapshot.startswith(_DIGEST_PREFIX):
                yield record.id, Candidate(Node(NodeKind.BUILD_SNAPSHOT, record.snapshot or record.id), Form.BUILD_ID)
            else:
                yield record.id, Candidate(edges.layer_node(record.snapshot), Form.BUILD_ID)
        for lease in cache.leases:
            yield lease, Candidate(Node(NodeKind.BUILD_LEASE, lease), Form.BUILD_ID)

    def _references(self) -> Iterator[Name]:
        repositories = value_of(self._inventory.repositories)
        for reference, image in (repositories.references if repositories else {}).items():
            yield reference, Candidate(Node(NodeKind.IMAGE, image), Form.REFERENCE)

    def _container_names(self) -> Iterator[Name]:
        for container in self._inventory.containers.values():
            config = value_of(container.config)
            if config is not None and config.name.removeprefix("/"):
                node = Node(NodeKind.CONTAINER, container.id)
                yield config.name.removeprefix("/"), Candidate(node, Form.CONTAINER_NAME)


_DIGESTS = {Form.IMAGE_ID, Form.CHAIN_ID, Form.DIFF_ID, Form.MANIFEST}
"""The forms that ``sha256:`` can stand before."""


def _may_be(candidate: Candidate, word: str) -> bool:
    return candidate.form in _DIGESTS or not word.startswith(_DIGEST_PREFIX)


def _bare(digest: str) -> str:
    return digest.removeprefix(_DIGEST_PREFIX)


def _below(word: str, roots: Sequence[str]) -> Iterator[str]:
    """`word` as a path relative to the root, if it is a path and can lead there."""
    if not word.startswith("/"):
        if "/" in word:
            yield word
        return
    path = normpath("/" + word.lstrip("/"))
    for root in dict.fromkeys(roots):
        if path.startswith(f"{root.rstrip('/')}/"):
            yield path.removeprefix(f"{root.rstrip('/')}/")


def _told_apart(found: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Each node once; of two that carry one id because they belong together only the one that people mean."""
    nodes: dict[Node, Candidate] = {}
    for candidate in found:
        nodes.setdefault(candidate.node, candidate)
    return tuple(
        candidate
        for node, candidate in nodes.items()
        if node.kind not in _SAME_THING or Node(_SAME_THING[node.kind], node.id) not in nodes
    )


def _common(one: str, other: str) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
