"""
Checks one root again and again: a full look now and then, and between them looks at what may have changed.

A refresh reads the changed subjects and their neighbours (`gcd.root.refresh`), mends the last graph where they touch it
(`gcd.model.succession`), and lets the rules judge that. What it says is what a full look would say of anything that an
engine does. It obeys the same safety rules:

- S1: what is changed is read in the order of a full reading. A finding that was not there before is reported only if a
  second look has it too. For that look the names in all directories are listed, so that an owner which nobody has heard
  of yet is seen, and the subjects of the findings are read again, owners included.
- S4, S5: an engine is known again by its lock, its start and its ``tmp``; where one of them is another, the look
  becomes a full one. The second look reads the engine's state before and after, as a full one does.
- S3, S6: mounts, and what processes have open, only keep alive what nothing else does. So they are read again by the
  second look, that is, as soon as a dir appears that nothing refers to; and when a dir that was mounted changes. Until
  then they are those of the last look that read them: a mount that came since keeps nothing that is in question, and a
  dir which was an orphan already shows anew at the next full look. Whoever acts reads all of it again.
- S5: where the clock was set back, or something changed in the future, the look becomes a full one.

Whoever looks at each event sees an engine at work: it mounts a container before it writes that it runs, and makes a dir
before the record that names it. Such a thing is a suspected finding, for a second or so. So a suspected finding whose
subject changed seconds ago is not told yet, unless the engine is stopped, and its subject stays young: a later look
tells of it if it is still there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from gcd.model.changed import NOTHING, Changed
from gcd.model.facts import EngineState
from gcd.model.finding import Confidence, NodeKind
from gcd.model.ids import LayerDirId
from gcd.model.inventory import Source
from gcd.model.storegraph import partner_of
from gcd.model.succession import Differing, succeed
from gcd.root.discover import detect_store
from gcd.root.engine import read_engine, sign_of
from gcd.root.mounts import read_mounts
from gcd.root.newborn import newborn
from gcd.root.openfiles import held_dirs
from gcd.root.progress import Pace
from gcd.root.read import compared, engine_state_of
from gcd.root.refresh import Outdated, refresh, stamps_of
from gcd.root.tree import open_root
from gcd.root.unheard import unheard
from gcd.run import ALL_CODES, CLOCK_TOLERANCE_NS, agreed, collecting_no_cycles, judged, result_of, see_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from gcd.model.finding import Acceptance, Code, Finding, FindingId, Node
    from gcd.model.inventory import Inventory
    from gcd.model.result import RunResult
    from gcd.model.storegraph import StoreGraph
    from gcd.root.progress import Progress
    from gcd.root.refresh import Stamps
    from gcd.root.tree import Directory
    from gcd.run import Sight

PASSING_NS: Final = 5_000_000_000
"""
How long after its subject changed a suspected finding may be the work of an engine that goes on. Between the mount and
the word that the container runs, up to 1.2 s were measured.
"""


class Recheck:
    """
    What was last seen of the root at `path`, and the ways to see it again: `full` and `refresh`.

    Both raise `CannotCheck` as `gcd.run.check` does; what was seen before is then forgotten, and the next look is a
    full one. Not for two threads at once. `progress` is called between the parts of a look, and may end it by raising.
    """

    def __init__(
        self,
        path: str,
        *,
        codes: Collection[Code] = ALL_CODES,
        acceptances: Sequence[Acceptance] = (),
        proc: str = "/proc",
        progress: Progress | None = None,
    ) -> None:
        self._path = path
        self._codes = codes
        self._acceptances = acceptances
        self._proc = proc
        self._progress = progress
        self._sight: Sight | None = None
        self._stamps: Stamps = {}
        self._sign: tuple[object, ...] = ()
        self._now_ns = 0
        self._measured: tuple[Finding, ...] = ()
        self._told: frozenset[FindingId] = frozenset()
        self._young = NOTHING
        self._was_full = False

    @property
    def sight(self) -> Sight | None:
        """What the last look saw and told of; None before the first one and after one that failed."""
        return self._sight

    @property
    def was_full(self) -> bool:
        """Whether the last look was a full one, as some refreshes become; False before the first one."""
        return self._was_full

    @property
    def young(self) -> Changed:
        """
        The subjects that were not complete yet when they were looked at, or of which nothing is told yet: to be looked
        at again until there are none.
        """
        return self._young

    @collecting_no_cycles()
    def full(self, now_ns: int) -> RunResult:
        """Read the whole root and check it; `now_ns` is the wall clock time in nanoseconds."""
        began_ns = time.monotonic_ns()
        self._sight, self._measured, self._young = None, (), NOTHING
        store = detect_store(self._path, proc=self._proc)
        with open_root(store.path) as root:
            self._stamps = stamps_of(root, store.driver)
            sign = sign_of(root, None, self._proc)
            sight = see_store(store, now_ns=now_ns, codes=self._codes, proc=self._proc, progress=self._progress)
            is_same = sign == sign_of(root, None, self._proc)
            self._sign = sign_of(root, sight.inventory.engine.pid, self._proc) if is_same else ()
        return self._result(sight, None, now_ns, began_ns)

    @collecting_no_cycles()
    def refresh(self, changed: Changed, now_ns: int) -> RunResult:
        """
        Check what `changed` says may have changed, and all that hangs on it; a full look where that is not certain to
        be enough. `now_ns` is as for `full`.
        """
        began_ns = time.monotonic_ns()
        last = self._sight
        if last is None or changed.everything or now_ns < self._now_ns:
            return self.full(now_ns)
        self._sight = None
        self._measured = tuple(finding for finding in self._measured if not _is_touched(finding, changed))
        try:
            sight = self._again(last, changed, now_ns)
        except Outdated:
            del last
            return self.full(now_ns)
        return self._result(sight, changed, now_ns, began_ns)

    def _result(self, sight: Sight, read: Changed | None, now_ns: int, began_ns: int) -> RunResult:
        """What is told of `sight`, which is the last one from now on; `read` was read for it, or all (None)."""
        engine = sight.inventory.engine
        is_at_rest = engine.state is EngineState.STOPPED and not engine.doubts
        untold = () if is_at_rest else (f for f in sight.findings if f.id not in self._told)
        latest_ns = now_ns + time.monotonic_ns() - began_ns + CLOCK_TOLERANCE_NS
        passing = {f.id: f.subject for f in untold if _may_pass(f, now_ns, latest_ns)}
        sight = replace(sight, findings=tuple(f for f in sight.findings if f.id not in passing))
        result = result_of(
            sight,
            now_ns=now_ns,
            began_ns=began_ns,
            codes=self._codes,
            acceptances=self._acceptances,
            progress=self._progress,
            measured=self._measured,
        )
        self._sight, self._measured, self._now_ns = sight, result.findings, now_ns
        self._was_full = read is None
        self._told = frozenset(finding.id for finding in result.findings)
        self._young = newborn(sight.inventory, read, now_ns, latest_ns) | _subjects(passing.values())
        return result

    def _again(self, last: Sight, changed: Changed, now_ns: int) -> Sight:
        inventory = last.inventory
        with open_root(inventory.root) as root:
            if sign_of(root, inventory.engine.pid, self._proc) != self._sign:
                raise Outdated
            look = _Look(root, self._stamps, now_ns, self._proc, self._progress)
            changed |= _subjects(f.subject for f in last.findings if _hangs_on_a_container(f.subject, last.graph))
            graph = look.at(last.graph, changed)
            sight = judged(graph, now_ns, self._codes)
            known = {finding.id for finding in last.findings}
            news = [finding for finding in sight.findings if finding.id not in known]
            is_unclear = bool(graph.unreferenced_dirs - last.graph.unreferenced_dirs) or look.is_about_a_mount
            if news or is_unclear:
                first, lacks = (*last.findings, *sight.findings), sight.not_checked
                graph = look.twice(graph, changed | _subjects(finding.subject for finding in news))
                sight = agreed(first, lacks, judged(graph, now_ns, self._codes))
            self._stamps = look.stamps
        return sight


class _Look:
    """One refresh of what is in `root`, whose `stamps` were those at its last reading, told to `progress`."""

    def __init__(self, root: Directory, stamps: Stamps, now_ns: int, proc: str, progress: Progress | None) -> None:
        self._root = root
        self.stamps = stamps
        self._now_ns = now_ns
        self._proc = proc
        self._pace = Pace(progress)
        self.is_about_a_mount = False
        """Whether a dir that some namespace has mounted was among what changed."""

    def at(self, before: StoreGraph, changed: Changed) -> StoreGraph:
        """The graph of what is there now, of which `changed` was read again."""
        stamps = stamps_of(self._root, before.inventory.store)
        refreshed = refresh(self._root, before, changed, (self.stamps, stamps), pace=self._pace)
        if refreshed.newest_ns > self._now_ns + CLOCK_TOLERANCE_NS:
            raise Outdated
        self.stamps = stamps
        dirs = refreshed.differing.layer_dirs
        if any(not mount.dirs.isdisjoint(dirs) for mount in before.inventory.mounts):
            self.is_about_a_mount = True
        return self._graph(before, refreshed.inventory, refreshed.differing)

    def twice(self, before: StoreGraph, changed: Changed) -> StoreGraph:
        """As `at`, a second time: with all that came unheard, and with engine, mounts and open files of now."""
        self._tell(Source.ENGINE)
        engine = read_engine(self._root, self._proc)
        graph = self.at(before, changed | unheard(self._root, before.inventory))
        self._tell(Source.MOUNTS)
        mounts, state = read_mounts(self._proc)
        inventory = graph.inventory
        moved = {m.merged_of for m in {*mounts} ^ {*inventory.mounts} if m.merged_of is not None}
        if mounts != inventory.mounts:
            sources = {**inventory.sources, Source.MOUNTS: state}
            graph = self._graph(graph, replace(inventory, mounts=mounts, sources=sources), Differing())
            graph = self.at(graph, replace(changed, layer_dirs=changed.layer_dirs | moved))
        self._tell(Source.ENGINE)
        engine = compared(engine, read_engine(self._root, self._proc))
        known = before.inventory.engine
        if (engine.state, engine.pid, engine.others) != (known.state, known.pid, known.others):
            raise Outdated
        self._tell(Source.OVERLAY2)
        held = held_dirs(graph.unreferenced_dirs, self._proc)
        sources = {**graph.inventory.sources, Source.ENGINE: engine_state_of(engine)}
        return self._graph(graph, replace(graph.inventory, engine=engine, held_dirs=held, sources=sources), Differing())

    def _tell(self, source: Source) -> None:
        """A part begins in which nothing is counted."""
        if self._pace.progress is not None:
            self._pace.progress(source, 0, 1)

    def _graph(self, before: StoreGraph, inventory: Inventory, differing: Differing) -> StoreGraph:
        return succeed(before, inventory, inventory.engine.proof_bound(self._now_ns), differing)


def _hangs_on_a_container(node: Node, graph: StoreGraph) -> bool:
    """Whether a finding about `node` may be another one once a container's config changes, which nobody hears of."""
    match node.kind:
        case NodeKind.CONTAINER | NodeKind.RW_LAYER:
            return True
        case NodeKind.LAYER_DIR:
            dir_id = LayerDirId(node.id)
            return dir_id in graph.rw_namers or partner_of(dir_id) in graph.rw_namers
        case _:
            return False


def _may_pass(finding: Finding, now_ns: int, latest_ns: int) -> bool:
    """
    Whether `finding` may be of something that an engine is about, and a refresh can look at its subject again. What
    changed after `latest_ns` is as old as nobody knows.
    """
    is_new = finding.since_ns is not None and now_ns - PASSING_NS < finding.since_ns <= latest_ns
    return is_new and finding.confidence is Confidence.SUSPECTED and bool(_subjects([finding.subject]))


def _is_touched(finding: Finding, changed: Changed) -> bool:
    """Whether something that `finding` would free is among what changed, so that it may have another size."""
    heard = (changed.layer_dirs, changed.links, changed.layers, changed.rw_layers, changed.write_sets)
    others = (changed.images, changed.containers)
    return any(path.rpartition("/")[2] in names for path in finding.paths for names in (*heard, *others))


_NAMED_IN = {
    NodeKind.LAYER_DIR: "layer_dirs",
    NodeKind.LINK: "links",
    NodeKind.LAYER: "layers",
    NodeKind.REMOVING_LAYER: "layers",
    NodeKind.WRITE_SET: "write_sets",
    NodeKind.RW_LAYER: "rw_layers",
    NodeKind.CONTAINER: "containers",
    NodeKind.IMAGE: "images",
    NodeKind.IMAGE_METADATA: "images",
}
_OF_REPOSITORIES = {NodeKind.REFERENCE, NodeKind.REPOSITORIES}
_OF_BUILDS = {NodeKind.DATABASE, NodeKind.BUILD_SNAPSHOT, NodeKind.BUILD_LEASE}


def _subjects(nodes: Iterable[Node]) -> Changed:
    """What to read again of `nodes`; the others are read again in any case, or by a full look only."""
    found = NOTHING
    for node in nodes:
        if (name := _NAMED_IN.get(node.kind)) is not None:
            entry = node.id.removeprefix("sha256:")
            entry = entry.partition("/")[0] if node.kind is NodeKind.RW_LAYER else entry
            found = replace(found, **{name: getattr(found, name) | {entry}})
        elif node.kind in _OF_REPOSITORIES:
            found = replace(found, has_repositories=True)
        elif node.kind in _OF_BUILDS:
            found = replace(found, has_build_cache=True)
    return found
