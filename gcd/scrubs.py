"""
What scrubs keep in ``state.db``: the last verdict on each layer, and the sweep that is under way.

A verdict is written when its layer is done, so that a scrub that is killed loses the layer in hand and no more. Whoever
pauses or stops a scrub writes that into the sweep, and the process that works on it reads it there.

`known_of` and `scrubbing_of` are for those who count: what is known in short, and what that says of the layers.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, field
from msgspec.structs import astuple

from gcd.model.content import Course, Damage, Depth, Difference, Soundness, Sweep, Verdict
from gcd.model.ids import ChainId, LayerDirId
from gcd.model.published import LayerState, Scrubbing
from gcd.model.reading import value_of
from gcd.model.shelf import shelved_layers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from gcd.model.facts import LayerRecord
    from gcd.model.plan import Identity
    from gcd.state import State


_SOUNDNESS = {str(soundness): soundness for soundness in Soundness}


class Scrubs:
    """Those of one root, the one that lies at `path` now, in the open `state`."""

    def __init__(self, state: State, identity: Identity, path: str) -> None:
        self._connection = state.connection
        self._root = state.number(identity, path)

    def verdicts(self) -> dict[ChainId, Verdict]:
        return _verdicts(self._connection, self._root)

    def keep(self, verdict: Verdict) -> None:
        """It replaces the one before on the same layer."""
        differences = json.dumps([astuple(difference) for difference in verdict.differences])
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO verdicts (root, chain, layer_dir, depth, soundness, checked_ns, read_bytes,"
                " files, differences, differing, reasons, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    self._root,
                    verdict.chain,
                    verdict.layer_dir,
                    verdict.depth,
                    verdict.soundness,
                    verdict.checked_ns,
                    verdict.read_bytes,
                    verdict.files,
                    differences,
                    verdict.differing,
                    json.dumps(verdict.reasons),
                    verdict.digest,
                ),
            )

    def forget_others(self, dirs: Mapping[ChainId, LayerDirId | None]) -> None:
        """Drop the verdicts on layers that are not in `dirs`, or have another dir by now; None: nobody knows which."""
        stale = [
            chain
            for chain, verdict in self.verdicts().items()
            if chain not in dirs or dirs[chain] not in {None, verdict.layer_dir}
        ]
        with self._connection:
            self._connection.executemany(
                "DELETE FROM verdicts WHERE root = ? AND chain = ?", [(self._root, chain) for chain in stale]
            )

    def sweep(self) -> Sweep | None:
        """The last one; None if there was none."""
        return _sweep(self._connection, self._root)

    def begin(self, sweep: Sweep) -> None:
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO sweeps VALUES (?, ?, ?, ?, ?, ?)",
                (
                    self._root,
                    sweep.course,
                    sweep.began_ns,
                    sweep.depth,
                    int(sweep.is_dressed),
                    json.dumps(sweep.layers),
                ),
            )

    def course(self) -> Course | None:
        row = self._connection.execute("SELECT course FROM sweeps WHERE root = ?", (self._root,)).fetchone()
        return None if row is None else Course(row[0])

    def steer(self, course: Course) -> None:
        with self._connection:
            self._connection.execute("UPDATE sweeps SET course = ? WHERE root = ?", (course, self._root))

    def finish(self) -> None:
        """The sweep is finished, unless somebody said meanwhile that it is to be something else."""
        with self._connection:
            self._connection.execute(
                "UPDATE sweeps SET course = ? WHERE root = ? AND course = ?",
                (Course.FINISHED, self._root, Course.RUNNING),
            )


def kept_verdicts(state: State, identity: Identity) -> dict[ChainId, Verdict]:
    """Those on the layers of a root, by a state that may be open for reading alone."""
    root = state.known_number(identity)
    return {} if root is None else _verdicts(state.connection, root)


class Glance(NamedTuple):
    """A verdict in short; a tuple, for there are as many as layers."""

    layer_dir: LayerDirId
    soundness: Soundness
    checked_ns: int
    read_bytes: int


class Known(Struct, frozen=True):
    """
    The verdicts on the layers of a root, and its last sweep; nothing of a root that was never scrubbed. `mark` is
    another one as soon as the state holds anything else.
    """

    verdicts: Mapping[ChainId, Glance] = field(default_factory=dict)
    sweep: Sweep | None = None
    mark: tuple[object, ...] = ()


class Extent(NamedTuple):
    """Of a layer: its dir, None where its record does not say, and the bytes that were unpacked into it."""

    layer_dir: LayerDirId | None
    size: int


def extents(layers: Mapping[ChainId, LayerRecord]) -> dict[ChainId, Extent]:
    shelf = shelved_layers(layers)
    found = {chain: Extent(layer_dir, size) for chain, (_, size, layer_dir, *_) in shelf.rows.items()}
    for chain, record in shelf.odd.items():
        found[chain] = Extent(value_of(record.cache_id), value_of(record.size) or 0)
    return found


def known_of(state: State, identity: Identity, before: Known | None = None) -> Known:
    """
    What is known of a root, by a state that may be open for reading alone: `before`, which was it the last time, where
    nothing came since.
    """
    root = state.known_number(identity)
    if root is None:
        return Known()
    mark = _mark(state.connection, root)
    if before is not None and before.mark == mark:
        return before
    rows = state.connection.execute(
        "SELECT chain, layer_dir, soundness, checked_ns, read_bytes FROM verdicts WHERE root = ?", (root,)
    )
    verdicts = {
        ChainId(chain): Glance(LayerDirId(layer_dir), _SOUNDNESS[soundness], checked_ns, read_bytes)
        for chain, layer_dir, soundness, checked_ns, read_bytes in rows
    }
    return Known(verdicts, _sweep(state.connection, root), mark)


def _mark(connection: sqlite3.Connection, root: int) -> tuple[object, ...]:
    verdicts = connection.execute(
        "SELECT count(*), max(checked_ns), total(checked_ns) FROM verdicts WHERE root = ?", (root,)
    ).fetchone()
    sweep = connection.execute("SELECT course, began_ns FROM sweeps WHERE root = ?", (root,)).fetchone()
    return (*verdicts, sweep)


def in_force(known: Known, layers: Mapping[ChainId, Extent]) -> dict[ChainId, Glance]:
    """The verdicts on `layers`: not those on layers that are gone, or have another dir by now."""
    return {
        chain: glance
        for chain, glance in known.verdicts.items()
        if (extent := layers.get(chain)) is not None and extent.layer_dir == glance.layer_dir
    }


def scrubbing_of(known: Known, layers: Mapping[ChainId, Extent], now_ns: int, period_seconds: float) -> Scrubbing:
    """What is `known` of `layers`, which are all that there are, at the wall clock time `now_ns`."""
    verdicts = in_force(known, layers)
    since_ns = now_ns - int(period_seconds * 1e9) if period_seconds else 0
    told = Counter((glance.soundness, glance.checked_ns < since_ns) for glance in verdicts.values())
    counts = Counter({LayerState.PENDING: len(layers) - len(verdicts)})
    for (soundness, is_old), number in told.items():
        is_pending = is_old and soundness is not Soundness.DAMAGED
        counts[LayerState.PENDING if is_pending else LayerState(soundness)] += number
    return Scrubbing(
        layers={state: counts[state] for state in LayerState},
        oldest_ns=min((glance.checked_ns for glance in verdicts.values()), default=None),
        progress=0.0 if known.sweep is None else _progress(known.sweep, verdicts, layers),
        period_seconds=period_seconds,
    )


def _progress(sweep: Sweep, verdicts: Mapping[ChainId, Glance], layers: Mapping[ChainId, Extent]) -> float:
    """By bytes, where a layer without any counts as one byte: it is looked at, too. What is gone is done."""
    left = [c for c in sweep.layers if c in layers and (c not in verdicts or verdicts[c].checked_ns < sweep.began_ns)]
    if not left:
        return 1.0
    total = sum(max(layers[chain].size, 1) for chain in sweep.layers if chain in layers)
    return 1.0 - sum(max(layers[chain].size, 1) for chain in left) / total


def _sweep(connection: sqlite3.Connection, root: int) -> Sweep | None:
    row = connection.execute(
        "SELECT course, began_ns, depth, is_dressed, layers FROM sweeps WHERE root = ?", (root,)
    ).fetchone()
    if row is None:
        return None
    course, began_ns, depth, is_dressed, layers = row
    chains = tuple(map(ChainId, json.loads(layers)))
    return Sweep(Course(course), began_ns, Depth(depth), bool(is_dressed), chains)


def _verdicts(connection: sqlite3.Connection, root: int) -> dict[ChainId, Verdict]:
    rows = connection.execute(
        "SELECT chain, layer_dir, depth, soundness, checked_ns, read_bytes, files, differences, differing, reasons,"
        " digest FROM verdicts WHERE root = ? ORDER BY chain",
        (root,),
    )
    return {ChainId(row[0]): _verdict(row) for row in rows}


def _verdict(row: tuple[Any, ...]) -> Verdict:
    chain, layer_dir, depth, soundness, checked_ns, read_bytes, files, differences, differing, reasons, digest = row
    return Verdict(
        chain=ChainId(chain),
        layer_dir=LayerDirId(layer_dir),
        depth=Depth(depth),
        soundness=Soundness(soundness),
        checked_ns=checked_ns,
        read_bytes=read_bytes,
        files=files,
        differences=tuple(Difference(path, Damage(kind), *rest) for path, kind, *rest in json.loads(differences)),
        differing=differing,
        reasons=tuple(json.loads(reasons)),
        digest=digest,
    )
