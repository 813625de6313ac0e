"""
What a running engine deletes when it is made to release a layer, and that this harms nobody (safety rule S10).

The engine is given an image of one chain, and told to remove it. For that it takes each layer of the chain from the
base up, and lets each go again, the topmost first: what nothing in its memory holds by then is deleted. Something on
disk may need a layer that the engine does not hold for it: a record that did not load and can be mended, an image on
it, a container whose ``parent`` was lost. And a load that fails has let go, so deleted, all the same. So all is proven
beforehand, for every layer of the chain:

- the record is whole, older than the engine's epoch, and hashes to its name, so the engine has it in memory as it is;
- from the top down, either nothing at all refers to the layer: it goes; or something does that certainly holds it in
  the engine's memory, an image that the engine itself lists or another such record on top of it: then it stays, and
  with it all below;
- what goes is an orphan by its rule, proven and blocked by nothing, and its dir is named by this one record, mounted
  nowhere, and in the ``lower`` of nothing that is alive;
- no record in the quarantine stood on what goes: it could never be put back (S3).

Sources: moby ``image/tarexport/load.go`` Load, ``layer/layer_store.go`` Register, Release and releaseLayer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gcd.model import edges
from gcd.model.entry import EntryState
from gcd.model.finding import Confidence, Node, NodeKind
from gcd.model.ids import ChainId, ImageId, LayerDirId, chain_id
from gcd.model.plan import Reason
from gcd.model.reading import Absent, Present, value_of
from gcd.model.records import short_digest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from gcd.model.facts import LayerRecord, Listed
    from gcd.model.finding import Finding
    from gcd.model.ids import DiffId
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


class Scene(Struct, frozen=True):
    """
    One reading of a root: `findings` are the orphaned layers in it, `listed` is what its engine lists.
    """

    inventory: Inventory
    graph: StoreGraph
    findings: Mapping[ChainId, Finding]
    listed: Listed


class Proof(Struct, frozen=True):
    """
    What will happen: `goes` are the layers that are deleted with their dirs, the topmost first, `stays` the rest of the
    chain. `diff_ids` are those of the whole chain, base first.
    """

    diff_ids: tuple[DiffId, ...]
    goes: Mapping[ChainId, LayerDirId]
    stays: tuple[ChainId, ...]


class Gone(Struct, frozen=True):
    """What earlier releases of a run have taken with them."""

    nodes: set[Node] = field(default_factory=set)
    dirs: set[LayerDirId] = field(default_factory=set)

    def add(self, proof: Proof) -> None:
        self.nodes.update(map(edges.layer_node, proof.goes))
        self.dirs.update(proof.goes.values())


class Unproven(Struct, frozen=True):
    reason: Reason
    why: str
    """One clause for people."""


class _Case(Struct, frozen=True):
    """The record of one layer of the chain; the dirs that go with it, and those that went before."""

    scene: Scene
    record: LayerRecord
    going: AbstractSet[LayerDirId] = frozenset()
    gone: AbstractSet[LayerDirId] = frozenset()

    @property
    def name(self) -> str:
        return f"layer {short_digest(self.record.chain_id)}"


def prove(scene: Scene, tip: ChainId, gone: Gone | None = None) -> Proof | Unproven:
    """
    What becomes of the layers of `tip`'s chain when an image of it comes and goes, or why nobody can tell; as if what
    is `gone` had been released before.
    """
    gone = gone or Gone()
    layers = scene.inventory.layers
    chain = tuple(scene.graph.ancestors(tip))
    missing = [name for name in chain if name not in layers]
    if missing:
        return Unproven(Reason.CHANGED, f"layer {short_digest(missing[0])} has no record")
    records = [layers[name] for name in chain]
    if (doubt := _first_doubt(SOUND, [_Case(scene, record) for record in records])) is not None:
        return doubt
    going = _going(scene, chain, gone)
    if isinstance(going, Unproven):
        return going
    goes = {name: cache_id for name in going if (cache_id := value_of(layers[name].cache_id)) is not None}
    dirs = frozenset(goes.values())
    if (doubt := _first_doubt(FREE, [_Case(scene, layers[name], dirs, gone.dirs) for name in going])) is not None:
        return doubt
    return Proof(
        diff_ids=tuple(record.diff_id.value for record in reversed(records) if isinstance(record.diff_id, Present)),
        goes=goes,
        stays=chain[len(going) :],
    )


def _going(scene: Scene, chain: tuple[ChainId, ...], gone: Gone) -> tuple[ChainId, ...] | Unproven:
    """The layers of `chain`, from its top on, to which nothing refers that stays; what is `gone` refers to nothing."""
    above: Node | None = None
    for depth, name in enumerate(chain):
        here = edges.layer_node(name)
        others = [node for node in scene.graph.graph.referrers(here) if node != above and node not in gone.nodes]
        if any(_holds(scene, node) for node in others):
            return chain[:depth]
        if others:
            why = f"{min(others)} names layer {short_digest(name)}, and the engine may not hold it for that"
            return Unproven(Reason.BLOCKED, why)
        above = here
    return chain


def _holds(scene: Scene, node: Node) -> bool:
    """Whether it is certain that the engine holds, in its memory, the layers to which `node` refers."""
    match node.kind:
        case NodeKind.IMAGE:
            return ImageId(node.id) in scene.listed.images and scene.inventory.images[ImageId(node.id)].is_sound
        case NodeKind.LAYER:
            record = scene.inventory.layers[ChainId(node.id)]
            return scene.graph.is_loadable(record.chain_id) and _first_doubt(SOUND, [_Case(scene, record)]) is None
        case _:
            return False


# --- of every layer of the chain ----------------------------------------------------------------------------------


def is_whole(case: _Case) -> Unproven | None:
    """The engine has loaded it."""
    if case.scene.graph.is_loadable(case.record.chain_id):
        return None
    return Unproven(Reason.BLOCKED, f"{case.name} is damaged, or stands on one that is")


def is_settled(case: _Case) -> Unproven | None:
    """It is now as it was when the engine started."""
    if case.scene.graph.is_settled(case.record.ctime_ns):
        return None
    return Unproven(Reason.SUSPECTED, f"{case.name} changed after the engine started")


def hashes_to_its_name(case: _Case) -> Unproven | None:
    """Its parent is the one that holds the layers below, as its name says."""
    diff_id = value_of(case.record.diff_id)
    if diff_id is not None and chain_id(value_of(case.record.parent), diff_id) == case.record.chain_id:
        return None
    return Unproven(Reason.BLOCKED, f"the diff id and the parent of {case.name} do not hash to its name")


# --- of every layer that goes -------------------------------------------------------------------------------------


def is_orphaned(case: _Case) -> Unproven | None:
    """Its rule says so (GCD211), and says it with certainty."""
    finding = case.scene.findings.get(case.record.chain_id)
    if finding is None:
        return Unproven(Reason.CHANGED, f"{case.name} is not found to be an orphan any more")
    if finding.blocked_by:
        return Unproven(Reason.BLOCKED, f"{case.name} may belong to what {finding.blocked_by[0]} has lost")
    if finding.confidence is not Confidence.PROVEN:
        return Unproven(Reason.SUSPECTED, f"{case.name} may belong to work under way")
    return None


def is_not_below_what_is_being_removed(case: _Case) -> Unproven | None:
    """Of a record that is being removed, and does not say on what it stands, nobody knows that it is not this one."""
    for removing in case.scene.inventory.removing.values():
        if not isinstance(removing.parent, (Present, Absent)):
            name = short_digest(removing.chain_id)
            return Unproven(Reason.BLOCKED, f"on what layer {name} stands, which is being removed, cannot be read")
    return None


def has_a_dir_of_its_own(case: _Case) -> Unproven | None:
    """Its dir is there, and no other record, no build, no mount and, as the engine says, nothing else uses it."""
    cache_id = value_of(case.record.cache_id)
    if cache_id is None or cache_id not in case.scene.inventory.layer_dirs:
        return Unproven(Reason.CHANGED, f"the dir of {case.name} is not there")
    others = [node for node in case.scene.graph.owners(cache_id) if node != edges.layer_node(case.record.chain_id)]
    if others:
        reason = Reason.IN_USE if others[0].kind is NodeKind.MOUNT else Reason.BLOCKED
        return Unproven(reason, f"{others[0]} uses the dir of {case.name} too")
    if cache_id in case.scene.listed.dirs:
        return Unproven(Reason.IN_USE, f"the engine says that an image or a container uses the dir of {case.name}")
    return None


def is_below_nothing_alive(case: _Case) -> Unproven | None:
    """No ``lower`` names its dir, but those of layers that go as well and of dirs that are orphans themselves."""
    scene, cache_id = case.scene, value_of(case.record.cache_id)
    for citer in scene.graph.citers_of(cache_id) if cache_id is not None else ():
        if citer in scene.graph.live_dirs and citer not in case.going and citer not in case.gone:
            return Unproven(Reason.BLOCKED, f"layer dir {citer[:12]} stands on the dir of {case.name}")
    return None


def is_no_ground_of_the_quarantine(case: _Case) -> Unproven | None:
    """
    No record in the quarantine has it in its parent chain. A dir without a record, as killed pulls leave them on leaked
    layers, holds nothing back: what it was to become, only another pull can make.
    """
    chain = case.record.chain_id
    for entry in case.scene.inventory.quarantine.values():
        if entry.state is EntryState.PURGING:
            continue
        if not isinstance(entry.manifest, Present):
            return Unproven(Reason.BLOCKED, f"what entry {entry.id} of the quarantine stood on cannot be read")
        if chain in entry.manifest.value.ground.parents:
            return Unproven(Reason.BLOCKED, f"entry {entry.id} of the quarantine stood on {case.name}: purge it first")
    return None


Check = Callable[[_Case], Unproven | None]

SOUND: tuple[Check, ...] = (is_whole, is_settled, hashes_to_its_name)
FREE: tuple[Check, ...] = (
    has_a_dir_of_its_own,
    is_below_nothing_alive,
    is_no_ground_of_the_quarantine,
    is_not_below_what_is_being_removed,
    is_orphaned,
)


def _first_doubt(checks: tuple[Check, ...], cases: list[_Case]) -> Unproven | None:
    return next((doubt for case in cases for check in checks if (doubt := check(case)) is not None), None)
