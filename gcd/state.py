"""
What outlives a run: when each finding was first and last seen, the figures of past runs, and what was done.

One SQLite file, ``state.db``, in a directory of gcd's own, never below a Docker root. Everything is keyed by the root's
identity, so that a root restored elsewhere, or another one mounted in its place, starts a history of its own. Losing
the file loses history and nothing else. ``gcd run`` and ``gcd check --record`` write here, and every command that
changes a root.

::

    roots      device, inode and engine id of a root, and the path it was last seen at
    runs       one row a recorded run: its time and figures
    sightings  one row a finding that is there: first and last seen, by the wall clock and by the boot's own clock
    acts       one row for each thing that was done to a root, or refused
    verdicts   the last verdict of a scrub on each layer (`gcd.scrubs`)
    sweeps     the last scrub of each root, and how far it was to go

A sighting ends when a run whose rules looked for it did not find it. Patience is counted by the boot's clock, which
nobody can set, within one boot (safety rule S5): after a reboot it counts anew.

The daemon forgets old figures: of those older than a month one a day is kept, the last, and of those older than a year
none; the last thousand stay, whatever the clock says. Acts are never forgotten.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gcd.model.audit import Act, ActKind
from gcd.model.entry import RunId
from gcd.model.errors import CannotCheck
from gcd.model.plan import Outcome, Reason
from gcd.model.published import Point

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from gcd.model.plan import Identity
    from gcd.model.result import RunResult

FILE = "state.db"
SCHEMA = 4
BUSY_SECONDS = 10.0

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
THINNED_AFTER_NS = 30 * DAY_NS
FORGOTTEN_AFTER_NS = 365 * DAY_NS
LAST_RUNS = 1000
"""Figures that are kept, however old they seem: a clock that jumped ahead must not make all of them old."""

_ACTS = """
CREATE TABLE acts (
    id INTEGER PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES roots (id),
    run TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    finding TEXT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    why TEXT NOT NULL,
    entry TEXT NOT NULL,
    disk_bytes INTEGER NOT NULL
) STRICT;
CREATE INDEX acts_of_a_root ON acts (root, at_ns);
"""

_SCRUBS = """
CREATE TABLE verdicts (
    root INTEGER NOT NULL REFERENCES roots (id),
    chain TEXT NOT NULL,
    layer_dir TEXT NOT NULL,
    depth TEXT NOT NULL,
    soundness TEXT NOT NULL,
    checked_ns INTEGER NOT NULL,
    read_bytes INTEGER NOT NULL,
    files INTEGER NOT NULL,
    differing INTEGER NOT NULL,
    differences TEXT NOT NULL,
    reasons TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (root, chain)
) STRICT, WITHOUT ROWID;
CREATE TABLE sweeps (
    root INTEGER PRIMARY KEY REFERENCES roots (id),
    course TEXT NOT NULL,
    began_ns INTEGER NOT NULL,
    depth TEXT NOT NULL,
    is_dressed INTEGER NOT NULL,
    layers TEXT NOT NULL
) STRICT;
"""

_TABLES = f"""
CREATE TABLE roots (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    engine_id TEXT NOT NULL,
    path TEXT NOT NULL,
    UNIQUE (device, inode, engine_id)
) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    root INTEGER NOT NULL REFERENCES roots (id),
    checked_ns INTEGER NOT NULL,
    duration_ns INTEGER NOT NULL,
    not_checked INTEGER NOT NULL,
    by_code TEXT NOT NULL,
    orphaned_bytes INTEGER NOT NULL,
    proven_bytes INTEGER NOT NULL,
    blocked_bytes INTEGER NOT NULL,
    layer_dirs INTEGER NOT NULL,
    layers INTEGER NOT NULL,
    images INTEGER NOT NULL,
    containers INTEGER NOT NULL,
    accepted INTEGER NOT NULL DEFAULT 0,
    accepted_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE sightings (
    root INTEGER NOT NULL REFERENCES roots (id),
    finding TEXT NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    boot_first_ns INTEGER NOT NULL,
    boot_last_ns INTEGER NOT NULL,
    PRIMARY KEY (root, finding)
) STRICT, WITHOUT ROWID;
{_ACTS}
{_SCRUBS}
"""

_MIGRATIONS = {
    1: """
    ALTER TABLE runs ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN accepted_bytes INTEGER NOT NULL DEFAULT 0;
    """,
    2: _ACTS,
    3: _SCRUBS,
}
"""By schema, what makes the next one of it; all steps of an upgrade are one transaction."""


class BootTime(Struct, frozen=True):
    """The kernel's id of this boot, and CLOCK_BOOTTIME in nanoseconds."""

    boot_id: str
    now_ns: int


class Sighting(Struct, frozen=True):
    """`boot_first_ns` is the earliest sighting in the boot `boot_id`, the last one that saw it."""

    finding: str
    first_ns: int
    last_ns: int
    boot_id: str
    boot_first_ns: int
    boot_last_ns: int


class State:
    """An open ``state.db``; get one from `open_state`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> sqlite3.Connection:
        """For those who keep tables of their own in the same file."""
        return self._connection

    def number(self, identity: Identity, path: str) -> int:
        """That of the root at `path` in all tables; it is given one if it has none."""
        with self._connection:
            return self._root(identity, path)

    def known_number(self, identity: Identity) -> int | None:
        """As `number`; None for a root that the state does not know, or if it is one of a gcd without scrubs."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        row = self._connection.execute(
            "SELECT id FROM roots WHERE device = ? AND inode = ? AND engine_id = ?",
            (_signed(identity.device), _signed(identity.inode), identity.engine_id),
        ).fetchone()
        return None if row is None or version < SCHEMA else int(row[0])

    def record(self, identity: Identity, result: RunResult, boot: BootTime, ran: AbstractSet[str]) -> None:
        """Keep `result`, all or nothing; `ran` are the codes of the rules that looked."""
        with self._connection:
            root = self._root(identity, result.root)
            self._keep_figures(root, result)
            self._keep_sightings(root, result, boot, ran)

    def sightings(self, identity: Identity) -> tuple[Sighting, ...]:
        """The findings that the last runs saw on this root, by id."""
        rows = self._connection.execute(
            "SELECT finding, first_ns, last_ns, boot_id, boot_first_ns, boot_last_ns FROM sightings"
            " JOIN roots ON roots.id = sightings.root"
            " WHERE device = ? AND inode = ? AND engine_id = ? ORDER BY finding",
            (_signed(identity.device), _signed(identity.inode), identity.engine_id),
        )
        return tuple(Sighting(*row) for row in rows)

    def last_run_ns(self, identity: Identity) -> int:
        """The wall clock time of the latest run on this root, by its own account; 0 if there was none."""
        (latest,) = self._connection.execute(
            "SELECT max(checked_ns) FROM runs JOIN roots ON roots.id = runs.root"
            " WHERE device = ? AND inode = ? AND engine_id = ?",
            (_signed(identity.device), _signed(identity.inode), identity.engine_id),
        ).fetchone()
        return int(latest or 0)

    def record_acts(self, identity: Identity, path: str, acts: Iterable[Act]) -> None:
        """Keep `acts`, which were done to the root at `path` or refused, all or nothing."""
        with self._connection:
            root = self._root(identity, path)
            self._connection.executemany(
                "INSERT INTO acts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [_row(root, act) for act in acts]
            )

    def acts(self, identity: Identity, *, most: int) -> tuple[Act, ...]:
        """The last `most` acts on this root, oldest first."""
        rows = self._connection.execute(
            "SELECT run, at_ns, kind, finding, outcome, reason, why, entry, disk_bytes FROM acts"
            " JOIN roots ON roots.id = acts.root"
            " WHERE device = ? AND inode = ? AND engine_id = ? ORDER BY acts.id DESC LIMIT ?",
            (_signed(identity.device), _signed(identity.inode), identity.engine_id, most),
        )
        return tuple(_act(row) for row in rows)[::-1]

    def history(self, identity: Identity, *, most: int) -> tuple[Point, ...]:
        """The orphaned bytes that the last run of each hour saw, of the last `most` hours with any; oldest first."""
        rows = self._connection.execute(
            "SELECT max(checked_ns), orphaned_bytes FROM runs JOIN roots ON roots.id = runs.root"
            " WHERE device = ? AND inode = ? AND engine_id = ? GROUP BY checked_ns / ? ORDER BY 1 DESC LIMIT ?",
            (_signed(identity.device), _signed(identity.inode), identity.engine_id, HOUR_NS, most),
        )
        return tuple(Point(*row) for row in rows)[::-1]

    def entries_told(self, identity: Identity) -> frozenset[str]:
        """The entries of the quarantine that an act on this root made, as far as acts were kept."""
        rows = self._connection.execute(
            "SELECT DISTINCT entry FROM acts JOIN roots ON roots.id = acts.root"
            " WHERE device = ? AND inode = ? AND engine_id = ? AND entry <> ''",
            (_signed(identity.device), _signed(identity.inode), identity.engine_id),
        )
        return frozenset(entry for (entry,) in rows)

    def forget(self, now_ns: int) -> int:
        """Drop the figures that are too old at the wall clock time `now_ns`; how many."""
        with self._connection:
            dropped = self._connection.execute(
                "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ? AND (checked_ns < ? OR (checked_ns < ?"
                " AND id NOT IN (SELECT last FROM (SELECT id AS last, max(checked_ns) FROM runs GROUP BY root,"
                " checked_ns / ?))))",
                (LAST_RUNS, now_ns - FORGOTTEN_AFTER_NS, now_ns - THINNED_AFTER_NS, DAY_NS),
            )
        return dropped.rowcount

    def _root(self, identity: Identity, path: str) -> int:
        (number,) = self._connection.execute(
            "INSERT INTO roots (device, inode, engine_id, path) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (device, inode, engine_id) DO UPDATE SET path = excluded.path RETURNING id",
            (_signed(identity.device), _signed(identity.inode), identity.engine_id, stored(path)),
        ).fetchone()
        return int(number)

    def _keep_figures(self, root: int, result: RunResult) -> None:
        summary = result.summary
        figures = (
            root,
            result.checked_ns,
            result.duration_ns,
            len(result.not_checked),
            json.dumps(dict(summary.by_code), sort_keys=True),
            summary.orphaned_bytes,
            summary.proven_bytes,
            summary.blocked_bytes,
            summary.layer_dirs,
            summary.layers,
            summary.images,
            summary.containers,
            summary.accepted,
            summary.accepted_bytes,
        )
        self._connection.execute("INSERT INTO runs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", figures)

    def _keep_sightings(self, root: int, result: RunResult, boot: BootTime, ran: AbstractSet[str]) -> None:
        now = result.checked_ns
        seen = {stored(finding.id) for finding in result.findings}
        known = [row[0] for row in self._connection.execute("SELECT finding FROM sightings WHERE root = ?", (root,))]
        ended = [name for name in known if name not in seen and name.partition(":")[0] in ran]
        self._connection.executemany(
            "DELETE FROM sightings WHERE root = ? AND finding = ?", [(root, name) for name in ended]
        )
        self._connection.executemany(
            "INSERT INTO sightings VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (root, finding) DO UPDATE SET"
            " boot_first_ns = CASE boot_id WHEN excluded.boot_id THEN boot_first_ns ELSE excluded.boot_first_ns END,"
            " last_ns = excluded.last_ns, boot_id = excluded.boot_id, boot_last_ns = excluded.boot_last_ns",
            [(root, name, now, now, boot.boot_id, boot.now_ns, boot.now_ns) for name in sorted(seen)],
        )


@contextlib.contextmanager
def open_state(directory: Path) -> Iterator[State]:
    """
    The state in `directory`, both made with rights for their owner alone if missing.

    One of an older gcd is brought up to date. Raises `CannotCheck` if it cannot be opened or written, or was written by
    a newer gcd.
    """
    path = directory / FILE
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            _prepare(connection, path)
            yield State(connection)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error


def lock_file(directory: Path, name: str) -> int:
    """A descriptor of the file `name` in `directory`, both made with rights for their owner alone if missing."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


@contextlib.contextmanager
def read_state(directory: Path) -> Iterator[State | None]:
    """The state in `directory` for reading alone, None where there is none; errors are those of `open_state`."""
    path = directory / FILE
    try:
        if not path.exists():
            yield None
            return
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            _demand_not_newer(connection, path)
            yield State(connection)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    if _demand_not_newer(connection, path) == SCHEMA:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have been faster: what was read before the lock does not count.
        version = _demand_not_newer(connection, path)
        steps = _TABLES if version == 0 else "".join(_MIGRATIONS[older] for older in range(version, SCHEMA))
        for statement in steps.split(";"):  # executescript would commit first
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _row(root: int, act: Act) -> tuple[int | str, ...]:
    reason = "" if act.reason is None else str(act.reason)
    texts = (stored(act.finding), str(act.outcome), reason, stored(act.why), act.entry)
    return (root, act.run, act.at_ns, str(act.kind), *texts, act.disk_bytes)


def _act(row: tuple[Any, ...]) -> Act:
    run, at_ns, kind, finding, outcome, reason, why, entry, disk_bytes = row
    known = Reason(reason) if reason else None
    return Act(RunId(run), at_ns, ActKind(kind), finding, Outcome(outcome), known, why, entry, disk_bytes)


def _demand_not_newer(connection: sqlite3.Connection, path: Path) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise CannotCheck(f"{path} has schema {version}, written by a newer gcd; this one knows {SCHEMA}")
    return int(version)


def _unusable(path: Path, error: OSError | sqlite3.Error) -> CannotCheck:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return CannotCheck(f"the state in {path} cannot be used ({reason}); name another directory by state_dir")


def _signed(number: int) -> int:
    """SQLite's integers are signed; device and inode numbers are not."""
    return number - 2**64 if number >= 2**63 else number


def stored(name: str) -> str:
    """`name` as the state keeps it: SQLite takes no surrogate escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
