"""
Release: the running engine itself deletes layers that nothing uses (safety rules S10, S11).

Layers that layerdb holds and nothing uses are in the engine's memory; their files are never touched while it runs. It
is given an archive that holds no layer, only an image config that names the chain; it finds each layer in its store
and makes an image of them. When that image is removed it deletes with it what nothing else holds, as
`gcd.policy.releasing` proves beforehand, right before each load and on a reading of its own.

The config carries a random label, so its id is new. A release that was cut short leaves such an image behind: `finish`
knows it by its label and its id, and removes it after the same checks.

Nothing here writes under the root. Any other outcome than the foretold one ends the run.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from gcd.actions.engineapi import EngineRefused, connect
from gcd.model import layout
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.model.finding import Code
from gcd.model.ids import ChainId, ImageId, LayerDirId, chain_ids
from gcd.model.plan import Deed, Outcome, Reason, Release
from gcd.model.reading import Present, value_of
from gcd.model.records import short_digest
from gcd.model.storegraph import StoreGraph
from gcd.policy.confidence import judge
from gcd.policy.releasing import Proof, Scene, Unproven, prove
from gcd.root.processes import PROC
from gcd.root.usage import measure
from gcd.rules.table import find

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from gcd.actions.engineapi import EngineApi, Impatience, LoadedImage
    from gcd.model.facts import Engine
    from gcd.model.finding import Finding
    from gcd.model.ids import DiffId
    from gcd.model.inventory import Inventory
    from gcd.root.tree import Directory

LABEL: Final = "gcd.release"
"""The label that an image has which exists only to be removed."""

ORPHANED_LAYER: Final = Code("GCD211")

Deeds = tuple[Deed, ...]
"""What was settled at one blow: the engine deletes a layer and those below it in one call."""

Objection = Callable[[Scene, "Sequence[Finding]"], Unproven | None]
"""What is against it that layers go now, beside what a proof asks: the findings are about them."""


def release(
    root: Directory,
    engine: Engine,
    steps: Sequence[Release],
    *,
    read: Callable[[], Inventory],
    now_ns: int,
    socket: str = "",
    impatience: Impatience | None = None,
    proc: str = PROC,
) -> Generator[Deeds, None, None]:
    """
    Have `engine` release the layers of `steps`, tips first; each step is in one of the deeds.

    `read` reads the root anew, `socket` is the API's socket where the user names it. Layers that would go with a tip
    without being in `steps` are a reason to refuse it. May be closed between two of its values.
    """
    pending = {step.chain: step for step in steps}
    try:
        api = connect(root, engine, socket=socket, impatience=impatience, proc=proc)
    except CannotAct as error:
        yield tuple(_refused(step, Unproven(Reason.ENGINE_REFUSED, str(error))) for step in steps)
        return
    with api:
        run = _Run(root, engine, api, read, now_ns)
        while pending:
            deeds = run.next(pending)
            for deed in deeds:
                del pending[_chain(deed)]
            yield deeds


def finish(
    root: Directory,
    engine: Engine,
    *,
    read: Callable[[], Inventory],
    objection: Objection,
    now_ns: int,
    socket: str = "",
    impatience: Impatience | None = None,
    proc: str = PROC,
) -> Generator[Deeds, None, None]:
    """
    Remove what a release that was cut short has left in `engine`, after the checks of a release and where there is no
    `objection`: settings and circumstances may be others than when it was begun.

    Raises `CannotAct` where the engine cannot be asked. What cannot be proven is left, and refused in a deed if it is
    an orphan but for that image; the image keeps its layers, and any prune of the engine's removes it.
    """
    with connect(root, engine, socket=socket, impatience=impatience, proc=proc) as api:
        run = _Run(root, engine, api, read, now_ns)
        try:
            left = unfinished(api)
        except EngineRefused as refusal:
            raise CannotAct(f"The engine does not say which images it has: {refusal}.") from None
        for image, diff_ids in left.items():
            if deeds := run.finish(image, diff_ids, objection):
                yield deeds


def unfinished(api: EngineApi) -> dict[ImageId, tuple[DiffId, ...]]:
    """
    The images that a release has loaded and not removed, with their layers: no more and no less than gcd makes, and
    without a name, so that nobody has made one of them his own.
    """
    return {image.id: image.diff_ids for image in api.images() if image.diff_ids and _is_ours(image)}


def _is_ours(image: LoadedImage) -> bool:
    nonce = image.labels.get(LABEL)
    return nonce is not None and not image.references and image.id == _Wrapping(image.diff_ids, nonce).id


class _Wrapping(Struct, frozen=True):
    """An image of layers that the engine has: a config, and an archive in which it is all that there is."""

    diff_ids: tuple[DiffId, ...]
    nonce: str

    @property
    def config(self) -> bytes:
        content = {
            "os": "linux",
            "config": {"Labels": {LABEL: self.nonce}},
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
        }
        return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()

    @property
    def id(self) -> ImageId:
        return ImageId(f"sha256:{hashlib.sha256(self.config).hexdigest()}")

    @property
    def archive(self) -> bytes:
        """As ``docker save`` writes them; the layers that it names are not in it, and are not looked for."""
        name = f"{self.id.removeprefix('sha256:')}.json"
        layers = [f"{depth}/layer.tar" for depth in range(len(self.diff_ids))]
        manifest = json.dumps([{"Config": name, "RepoTags": None, "Layers": layers}]).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for member, content in (("manifest.json", manifest), (name, self.config)):
                header = tarfile.TarInfo(member)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
        return buffer.getvalue()


class _Remains(Struct, frozen=True):
    """What is listed of a root after a release."""

    dirs: frozenset[str]
    chains: frozenset[str]
    failure: str = ""

    def is_without(self, chain: ChainId, layer_dir: LayerDirId) -> bool:
        return not self.failure and chain not in self.chains and layer_dir not in self.dirs


class _Run:
    """Releases one after the other; after one that ended otherwise than foretold it refuses all."""

    def __init__(
        self, root: Directory, engine: Engine, api: EngineApi, read: Callable[[], Inventory], now_ns: int
    ) -> None:
        self._root = root
        self._engine = engine
        self._api = api
        self._read = read
        self._now_ns = now_ns
        self._scene: Scene | Unproven | None = None
        self._trouble = ""

    def next(self, pending: dict[ChainId, Release]) -> Deeds:
        """Settle the first of `pending`, and with it those that go when it goes."""
        if self._trouble:
            why = f"a release before it did not end as foretold: {self._trouble}"
            return tuple(_refused(step, Unproven(Reason.RUN_REFUSED, why)) for step in pending.values())
        step = next(iter(pending.values()))
        if self._scene is None:
            self._scene = self._look()
        if isinstance(self._scene, Unproven):
            return (_refused(step, self._scene),)
        proof = _foretold(self._scene, step.chain, pending)
        if isinstance(proof, Unproven):
            return (_refused(step, proof),)
        return self._load_and_remove(self._scene, proof, [pending[chain] for chain in proof.goes])

    def finish(self, image: ImageId, diff_ids: tuple[DiffId, ...], objection: Objection) -> Deeds:
        """Remove `image`, which an earlier release has loaded; the deeds are about the layers that only it holds."""
        tip = chain_ids(diff_ids)[-1]
        scene = self._look(without=image)
        if isinstance(scene, Unproven):
            return ()
        proof = prove(scene, tip)
        if isinstance(proof, Unproven):
            finding = scene.findings.get(tip)
            return (_refused(Release(finding, tip), proof),) if finding is not None else ()
        findings = {chain: scene.findings[chain] for chain in proof.goes}
        usage = measure(self._root, {finding.id: finding.paths for finding in findings.values()}, pulse=self._api.pulse)
        steps = [
            Release(replace(finding, disk_bytes=usage[finding.id].disk_bytes), chain)
            for chain, finding in findings.items()
        ]
        doubt = objection(scene, [step.finding for step in steps])
        if doubt is not None:
            return tuple(_refused(step, doubt) for step in steps)
        return self._remove(image, scene, proof, steps)

    def _look(self, without: ImageId | None = None) -> Scene | Unproven:
        """The root as it is now, and what its engine lists; `without` an image that is there only to be removed."""
        inventory = self._read()
        found = inventory.engine
        if found.state is not EngineState.RUNNING or found.pid != self._engine.pid:
            return Unproven(Reason.CHANGED, "the engine of this root is another one than before, or is gone")
        try:
            listed = self._api.listed(without)
        except EngineRefused as refusal:
            return Unproven(Reason.ENGINE_REFUSED, f"the engine does not list what it has: {refusal}")
        images = {id_: image for id_, image in inventory.images.items() if id_ != without}
        inventory = replace(inventory, images=images)
        bound_ns = found.proof_bound(self._now_ns)
        graph = StoreGraph(inventory, bound_ns)
        findings, lacks = find(inventory, graph, {ORPHANED_LAYER})
        if lacks:
            return Unproven(Reason.NOT_CHECKED, f"{lacks[0].source} was not read completely: {lacks[0].why}")
        by_chain = {ChainId(finding.subject.id): judge(finding, bound_ns) for finding in findings}
        return Scene(inventory, graph, by_chain, listed)

    def _load_and_remove(self, scene: Scene, proof: Proof, steps: Sequence[Release]) -> Deeds:
        wrapping = _Wrapping(proof.diff_ids, secrets.token_hex(16))
        complaint = ""
        try:
            if wrapping.id in scene.inventory.images or self._api.has(wrapping.id):
                complaint = f"there is an image {short_digest(wrapping.id)} already"
        except EngineRefused as refusal:
            complaint = f"the engine does not say whether it has an image: {refusal}"
        if complaint:
            return (_refused(steps[0], Unproven(Reason.ENGINE_REFUSED, complaint)),)
        try:
            self._api.load(wrapping.archive)
        except EngineRefused as refusal:
            complaint = f"the engine refused the load: {refusal}"
        return self._remove(wrapping.id, scene, proof, steps, complaint)

    def _remove(
        self, image: ImageId, scene: Scene, proof: Proof, steps: Sequence[Release], complaint: str = ""
    ) -> Deeds:
        """Remove `image`, if it is there, and compare what went with what `proof` foretold."""
        self._scene = None
        deleted: frozenset[ChainId] = frozenset()
        try:
            deleted = self._api.remove(image) or deleted
        except EngineRefused as refusal:
            complaint = complaint or f"the engine refused to remove image {short_digest(image)}: {refusal}"
        remains = _remains(self._root)
        is_gone = {chain: remains.is_without(chain, layer_dir) for chain, layer_dir in proof.goes.items()}
        held = [f"the engine still holds layer {short_digest(chain)}" for chain in proof.goes if not is_gone[chain]]
        self._trouble = _harm(scene.inventory, proof, deleted, remains) or complaint or next(iter(held), "")
        return tuple(self._deed(step, is_gone[step.chain], is_tip=step is steps[0]) for step in steps)

    def _deed(self, step: Release, is_gone: bool, *, is_tip: bool) -> Deed:
        disk_bytes = (step.finding.disk_bytes or 0) if is_gone else 0
        if is_gone and not (is_tip and self._trouble):
            return Deed(step, Outcome.DONE, disk_bytes=disk_bytes)
        return Deed(step, Outcome.FAILED, Reason.ENGINE_REFUSED, self._trouble, disk_bytes=disk_bytes)


def _foretold(scene: Scene, tip: ChainId, pending: dict[ChainId, Release]) -> Proof | Unproven:
    """The proof for `tip`, if it goes, and with it nothing that is not `pending` too."""
    proof = prove(scene, tip)
    if isinstance(proof, Unproven):
        return proof
    if tip not in proof.goes:
        return Unproven(Reason.CHANGED, f"layer {short_digest(tip)} is in use")
    others = [chain for chain in proof.goes if chain not in pending]
    if others:
        return Unproven(Reason.POLICY, f"layer {short_digest(others[0])} would go with it, and is not to be released")
    return proof


def _harm(inventory: Inventory, proof: Proof, deleted: frozenset[ChainId], remains: _Remains) -> str:
    """In one clause, what went that `proof` did not foretell; "" if nothing did."""
    if remains.failure:
        return remains.failure
    if more := sorted(deleted - proof.goes.keys()):
        return f"the engine deleted layer {short_digest(more[0])} too"
    if lost := [chain for chain in proof.stays if chain not in remains.chains]:
        return f"layer {short_digest(lost[0])} went too"
    for record in inventory.layers.values():
        layer_dir = value_of(record.cache_id)
        if record.chain_id in remains.chains and layer_dir in inventory.layer_dirs and layer_dir not in remains.dirs:
            return f"the dir of layer {short_digest(record.chain_id)} went without its record"
    return ""


def _remains(root: Directory) -> _Remains:
    """Dirs are listed first: the engine renames a record before it deletes the dir, so whose record is left has one."""
    dirs, records = (_names(root, path) for path in (layout.OVERLAY2, layout.layer_records()))
    if dirs is None or records is None:
        return _Remains(frozenset(), frozenset(), "what is left cannot be listed")
    return _Remains(dirs, frozenset(f"sha256:{name}" for name in records))


def _names(root: Directory, path: str) -> frozenset[str] | None:
    folder = root.open_path(path)
    if not isinstance(folder, Present):
        return None
    with folder.value as opened:
        listing = opened.list()
    return None if listing.failure else frozenset(listing.entries)


def _refused(step: Release, doubt: Unproven) -> Deed:
    return Deed(step, Outcome.REFUSED, doubt.reason, doubt.why)


def _chain(deed: Deed) -> ChainId:
    return ChainId(deed.step.finding.subject.id)
