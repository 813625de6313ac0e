"""
BuildKit's databases inside dockerd: copied without a lock, then parsed.

Each of the three is a source of its own. What a database names (any id in any key or value) is kept even where gcd does
not understand its records. ``metadata.db``, which 18.09 and 19.03 have in the place of ``metadata_v2.db``, is not read:
its cache records count as unreadable.

Source: moby ``builder/builder-next/controller.go`` newGraphDriverController; formats in `gcd.formats.buildkit`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from gcd.formats.bolt import Database, parse_database
from gcd.formats.buildkit import read_leases, read_records, read_snapshots, read_words
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.facts import BuildCache
from gcd.model.inventory import BUILD_DATABASES, Coverage, Source, SourceState
from gcd.model.reading import Absent, Empty, Malformed, Present, Reading, Unreadable
from gcd.root.databases import Busy, copy_database
from gcd.root.tree import source_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gcd.root.tree import Directory

T = TypeVar("T")

_SOURCES = {name: source for source, name in BUILD_DATABASES.items()}


def read_build_cache(
    root: Directory, *, sleep: Callable[[float], None] = time.sleep
) -> tuple[BuildCache, dict[Source, SourceState]]:
    """All three databases; `sleep` is called between attempts to copy one that is being written."""
    opened = root.open(layout.BUILDKIT)
    if not isinstance(opened, Present):
        state = source_state(layout.BUILDKIT, opened)
        databases: dict[str, Reading[int]] = dict.fromkeys(_SOURCES, opened)
        return BuildCache({}, {}, {}, frozenset(), frozenset(), databases), dict.fromkeys(_SOURCES.values(), state)
    with opened.value as directory:
        reader = _Reader(directory, sleep)
        leases = reader.read(layout.BUILD_LEASES, read_leases)
        records = reader.read(layout.BUILD_RECORDS, read_records)
        snapshots = reader.read(layout.BUILD_SNAPSHOTS, read_snapshots)
        reader.notice_old_records()
    named, chains = frozenset(reader.named), frozenset(reader.chains)
    return BuildCache(snapshots, records, leases, named, chains, reader.databases), reader.states


def read_databases(
    root: Directory, paths: Iterable[str], *, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Reading[int]]:
    """The transaction ids of bolt databases that gcd needs no more of than that they are whole, by path."""
    found: dict[str, Reading[int]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        opened = root.open_path(folder)
        if not isinstance(opened, Present):
            found[path] = opened
            continue
        with opened.value as directory:
            copied = copy_database(directory.fd, name, sleep=sleep)
        match copied:
            case Busy():
                continue  # it changed at each attempt, so an engine is at work in it: sound enough
            case Present(raw):
                found[path] = _txid(raw)
            case _:
                found[path] = copied
    return found


def _txid(raw: bytes) -> Reading[int]:
    try:
        return Present(parse_database(raw).txid)
    except FormatError as error:
        return Malformed(error.expected, error.found, error.offset)


class _Reader:
    """Reads one database after the other, and gathers what all of them name."""

    def __init__(self, directory: Directory, sleep: Callable[[float], None]) -> None:
        self._directory = directory
        self._sleep = sleep
        self.named: set[str] = set()
        self.chains: set[str] = set()
        self.databases: dict[str, Reading[int]] = {}
        self.states: dict[Source, SourceState] = {}

    def read(self, name: str, parse: Callable[[Database], Mapping[str, T]]) -> Mapping[str, T]:
        """What `parse` makes of the database `name`; else nothing, with the reason in `databases` and `states`."""
        path = layout.build_database(name)
        copied = copy_database(self._directory.fd, name, sleep=self._sleep)
        if isinstance(copied, Busy):
            why = f"{path} changed during each of {copied.attempts} attempts to read it"
            self.databases[name] = Unreadable("EBUSY")
            self.states[_SOURCES[name]] = SourceState(Coverage.BUSY, why)
            return {}
        if not isinstance(copied, Present):
            self.databases[name] = copied
            self.states[_SOURCES[name]] = source_state(path, copied)
            if isinstance(copied, Empty):  # bbolt makes a new database of a file without bytes: nothing is left to read
                self.states[_SOURCES[name]] = SourceState(Coverage.ABSENT, f"{path} is empty")
            return {}
        try:
            database = parse_database(copied.value)
            ids, digests = read_words(database)
            self.named |= ids
            self.chains |= digests
            records = parse(database)
        except FormatError as error:
            self.databases[name] = Malformed(error.expected, error.found, error.offset)
            self.states[_SOURCES[name]] = SourceState(Coverage.UNREADABLE, f"{path} is damaged: {error}")
            return {}
        self.databases[name] = Present(database.txid)
        self.states[_SOURCES[name]] = SourceState(Coverage.OK)
        return records

    def notice_old_records(self) -> None:
        """Records that only an old engine's database holds are not absent, but not understood."""
        if not isinstance(self.databases[layout.BUILD_RECORDS], Absent):
            return
        if isinstance(self._directory.lstat(layout.OLD_BUILD_RECORDS), Absent):
            return
        path = layout.build_database(layout.OLD_BUILD_RECORDS)
        why = f"{path} was written by Docker 18.09 or 19.03, whose cache records gcd does not read"
        self.states[Source.BUILD_RECORDS] = SourceState(Coverage.UNREADABLE, why)
