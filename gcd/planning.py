"""
Planning: from a root to a `Plan` that nobody has applied yet. Reads the root as a check does, and writes nothing.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from gcd.mends.mending import NOTHING_SAID, Unproven
from gcd.mends.table import mend
from gcd.model.facts import EngineState, Listed
from gcd.model.finding import Code, RemedyKind
from gcd.model.ids import ChainId
from gcd.model.inventory import Coverage, Source
from gcd.model.plan import Identity, LeftAlone, Mend, Move, Plan, Reason, Release
from gcd.model.reading import value_of
from gcd.model.records import short_digest
from gcd.model.storegraph import StoreGraph
from gcd.policy import releasing
from gcd.policy.acceptance import accept
from gcd.policy.case import Situation
from gcd.policy.decision import decide
from gcd.policy.labels import labelled
from gcd.policy.order import Standing, nodes_of
from gcd.policy.policy import BY_POLICY, DEFAULT, History, Selection
from gcd.policy.refusals import Outlook, leaves_nothing, refusal
from gcd.policy.releasing import Scene, prove
from gcd.root.tree import open_root
from gcd.root.witness import RootWitness
from gcd.rules.content import content_findings
from gcd.rules.needs import EVERY_REFERENCE
from gcd.run import ALL_CODES, collecting_no_cycles, result_of, see

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gcd.mends.mending import Consent
    from gcd.model.content import Twin, Verdict
    from gcd.model.facts import LayerRecord
    from gcd.model.finding import Acceptance, Finding, Remedy
    from gcd.model.inventory import Inventory
    from gcd.model.plan import Step
    from gcd.model.result import RunResult
    from gcd.policy.policy import Policy
    from gcd.root.progress import Progress
    from gcd.root.tree import Directory
    from gcd.run import Sight

_IN_PART = frozenset({Coverage.PARTIAL, Coverage.BUSY, Coverage.UNREADABLE})

ORPHANED_LAYER = Code("GCD211")

ENGINE_ID = "engine-id"
ENGINE_ID_LIMIT = 4096


def _ask_nobody() -> None:
    """What stands for an engine's API where it is not asked."""


class Wish(Struct, frozen=True):
    """
    What somebody wants, and what they know.

    `history` is what earlier runs saw. `consent` is what the owner allows repairs to do. Of findings whose code is not
    in `codes` nothing is said, though all rules run. `listing` asks the API of the engine, and gives None if none runs;
    it is called before and after the root is read. `allow_empty` is the word of somebody who knows that a root without
    images is not a damaged one (S22). `contents` are verdicts of scrubs, where something is asked about them.
    """

    policy: Policy = DEFAULT
    selection: Selection = BY_POLICY
    history: History = field(default_factory=History)
    consent: Consent = NOTHING_SAID
    acceptances: Sequence[Acceptance] = ()
    codes: Collection[Code] = ALL_CODES
    listing: Callable[[], Listed | None] = _ask_nobody
    allow_empty: bool = False
    contents: Mapping[ChainId, Verdict] = field(default_factory=dict)


ALL_BY_DEFAULT = Wish()


@collecting_no_cycles()
def plan(
    path: str, *, now_ns: int, wish: Wish = ALL_BY_DEFAULT, progress: Progress | None = None, proc: str = "/proc"
) -> tuple[RunResult, Plan]:
    """
    Check the Docker root at `path`, and say of every finding that is asked for what is to be done about it, or why it
    is left alone. `now_ns` is the wall clock time. `progress` hears of reading and of measuring.

    Raises `CannotCheck` where the run cannot begin; that nothing may be done is a `Plan` with a `refusal`.
    """
    began_ns = time.monotonic_ns()
    identity = identity_of(path)
    before = wish.listing()
    sight = _with_contents(see(path, now_ns=now_ns, codes=wish.codes, progress=progress, proc=proc), wish, now_ns)
    after = wish.listing()
    inventory = sight.inventory
    result = result_of(
        sight, now_ns=now_ns, began_ns=began_ns, codes=wish.codes, acceptances=wish.acceptances, progress=progress
    )
    outlook = Outlook(
        inventory, now_ns, wish.history, _is_read_only(path), _listed_all_along(before, after), wish.allow_empty
    )
    why = refusal(outlook)
    steps, left = decided(inventory, result.findings, outlook, wish)
    why = why or leaves_nothing(inventory, [n for s in steps if not isinstance(s, Mend) for n in nodes_of(s.finding)])
    if why:
        left = (*left, *(LeftAlone(step.finding, Reason.RUN_REFUSED, "nothing is done in this run") for step in steps))
        steps = ()
    made = Plan(inventory.root, identity, inventory.engine, now_ns, steps, left, why, sight.not_checked)
    return result, made


def _with_contents(sight: Sight, wish: Wish, now_ns: int) -> Sight:
    """`sight`, with what the verdicts in `wish` mean that are about the dirs which layers have now."""
    if not wish.contents:
        return sight
    layers = sight.inventory.layers
    known = {
        chain: verdict
        for chain, verdict in wish.contents.items()
        if chain in layers and value_of(layers[chain].cache_id) == verdict.layer_dir
    }
    inventory = replace(sight.inventory, contents=known)
    graph = StoreGraph(inventory, inventory.engine.proof_bound(now_ns))
    return replace(sight, inventory=inventory, findings=(*sight.findings, *content_findings(inventory, graph)))


def decided(
    inventory: Inventory, findings: Sequence[Finding], outlook: Outlook, wish: Wish
) -> tuple[tuple[Step, ...], tuple[LeftAlone, ...]]:
    """The steps about `findings` of `inventory`, and what is left alone, as if nothing were against the whole run."""
    graph = StoreGraph(inventory, inventory.engine.proof_bound(outlook.now_ns))
    situation = Situation(
        engine=inventory.engine,
        now_ns=outlook.now_ns,
        policy=wish.policy,
        selection=wish.selection,
        history=wish.history,
        is_writing=_is_writing(inventory),
        listed_dirs=outlook.listed.dirs if outlook.listed else frozenset(),
        silent=outlook.listed.silent if outlook.listed else frozenset(),
        labelled=labelled(inventory, graph, wish.policy.protection.labels),
        unread=tuple(s for s in Source if s in EVERY_REFERENCE and inventory.sources[s].coverage in _IN_PART),
    )
    with open_root(inventory.root) as root:
        scene = None if outlook.listed is None else Scene(inventory, graph, _leaked(findings), outlook.listed)
        make = _maker(inventory, graph, root, wish.consent, _Releases(scene))
        return decide(findings, situation, Standing(inventory, graph, findings), make)


def objection(scene: Scene, findings: Sequence[Finding], wish: Wish, *, now_ns: int) -> releasing.Unproven | None:
    """
    What is against it that the engine deletes the layers of `findings` now, by all that a plan obeys but the selection:
    a release that was begun was asked for then.
    """
    inventory = scene.inventory
    read_only = _is_read_only(inventory.root)
    outlook = Outlook(inventory, now_ns, wish.history, read_only, scene.listed, wish.allow_empty)
    if why := refusal(outlook):
        return releasing.Unproven(Reason.RUN_REFUSED, why)
    asked = replace(wish, selection=Selection(RemedyKind.RELEASE))
    _, left = decided(inventory, accept(findings, wish.acceptances, now_ns), outlook, asked)
    return releasing.Unproven(left[0].reason, left[0].why) if left else None


def _leaked(findings: Sequence[Finding]) -> dict[ChainId, Finding]:
    return {ChainId(finding.subject.id): finding for finding in findings if finding.code == ORPHANED_LAYER}


class _Releases:
    """
    Proves releases in their order, each as if those before it had gone. Without a `scene`, of an engine that was not
    asked, all stand: nothing can be proven, and nothing is done in such a run.
    """

    def __init__(self, scene: Scene | None) -> None:
        self._scene = scene
        self._gone = releasing.Gone()

    def of(self, finding: Finding) -> Release | LeftAlone:
        chain = ChainId(finding.subject.id)
        if self._scene is not None and finding.subject not in self._gone.nodes:
            proof = prove(self._scene, chain, self._gone)
            if isinstance(proof, releasing.Unproven):
                return LeftAlone(finding, proof.reason, proof.why)
            if chain not in proof.goes:
                return LeftAlone(finding, Reason.IN_USE, f"something that stays stands on layer {short_digest(chain)}")
            self._gone.add(proof)
        return Release(finding, chain)


class _Witness(RootWitness):
    def twins(self, chain: ChainId, layers: Mapping[ChainId, LayerRecord]) -> tuple[Twin, ...] | str:
        """See `gcd.mends.mending.Witness`."""
        from gcd.scrub.order import layers_of  # noqa: PLC0415 - most plans look at no content
        from gcd.scrub.twins import twins_of  # noqa: PLC0415

        known = layers_of(layers)
        layer = known.pop(chain, None)
        return "its record cannot be read" if layer is None else twins_of(self._root, layer, known.values())


def _maker(
    inventory: Inventory, graph: StoreGraph, root: Directory, consent: Consent, releases: _Releases
) -> Callable[[Finding, Remedy], Step | LeftAlone]:
    witness = _Witness(root)

    def make(finding: Finding, remedy: Remedy) -> Step | LeftAlone:
        match remedy.kind:
            case RemedyKind.REPAIR:
                mending = mend(inventory, graph, finding, witness, consent)
                if isinstance(mending, Unproven):
                    return LeftAlone(finding, mending.reason, mending.why)
                return Mend(finding, mending.changes, mending.foretold)
            case RemedyKind.RELEASE:
                return releases.of(finding)
            case RemedyKind.QUARANTINE:
                if not finding.paths:
                    return LeftAlone(finding, Reason.NO_REMEDY, "what would have to be moved is not known")
                return Move(finding, finding.paths)
            case _:
                assert_never(remedy.kind)

    return make


def _is_writing(inventory: Inventory) -> bool:
    """Whether the running engine is making a layer, as far as write sets tell (S6)."""
    engine = inventory.engine
    if engine.state is EngineState.STOPPED:
        return False
    return any(engine.epoch_ns is None or w.ctime_ns >= engine.epoch_ns for w in inventory.write_sets.values())


def _is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _listed_all_along(before: Listed | None, after: Listed | None) -> Listed | None:
    """What was there before and after; the dirs and the silent of either, for what is in use is kept."""
    if before is None or after is None:
        return None
    return Listed(
        before.images & after.images,
        before.containers & after.containers,
        before.dirs | after.dirs,
        before.silent | after.silent,
    )


def identity_of(path: str) -> Identity:
    """Newer engines keep an id of their own in ``engine-id``; a root of an older one is known by its inode alone."""
    with open_root(path) as directory:
        status = directory.stat()
        engine_id = value_of(directory.read(ENGINE_ID, ENGINE_ID_LIMIT, _text))
    return Identity(status.st_dev, status.st_ino, engine_id or "")


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace").strip()
