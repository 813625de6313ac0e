"""
Temporary files, of which only the age is read: those beside others, and those in ``tmp`` and ``tmp-old``.

Source: moby ``daemon/daemon.go`` prepareTempDir.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.facts import TemporaryFile
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import Present
from gcd.root.tree import combined, listing_state, source_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.root.tree import Directory


def read_engine_temporaries(root: Directory) -> tuple[dict[str, TemporaryFile], SourceState]:
    """
    What pulls, builds and loads left in ``tmp`` and ``tmp-old``.

    The engine empties ``tmp-old`` while it runs: what is in it is as young as the directory.
    """
    found: dict[str, TemporaryFile] = {}
    states = []
    for home in (layout.TMP, layout.OLD_TMP):
        opened = root.open(home)
        if not isinstance(opened, Present):
            states.append(source_state(home, opened))
            continue
        with opened.value as directory:
            listing = directory.list()
            least = directory.stat().st_ctime_ns if home == layout.OLD_TMP else 0
            names = [name for name in listing.entries if name.startswith(layout.ENGINE_TEMPORARIES)]
            for name in names:
                status = directory.lstat(name)
                if isinstance(status, Present):
                    path = f"{home}/{name}"
                    found[path] = TemporaryFile(path, max(least, status.value.st_ctime_ns))
            states.append(listing_state(home, listing))
    present = [state for state in states if state.coverage is not Coverage.ABSENT]
    return found, combined(*(present or states))


def read_temporaries(root: Directory, paths: Iterable[str]) -> dict[str, TemporaryFile]:
    """The files at `paths` that are still there, by path."""
    found: dict[str, TemporaryFile] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        opened = root.open_path(folder)
        if isinstance(opened, Present):
            with opened.value as directory:
                status = directory.lstat(name)
            if isinstance(status, Present):
                found[path] = TemporaryFile(path, status.value.st_ctime_ns)
    return found
