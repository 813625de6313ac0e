"""Carrying out the changes of a mend in the simplest way, and a whole root as a value to compare."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from gcd.formats.repositories import parse_repositories, write_repositories
from gcd.model.plan import CopyFile, DropReference, LinkFile, MakeDirectory, MakeSymlink, SetAside, WriteFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.model.plan import Change


def carry_out(root: Path, changes: Iterable[Change]) -> None:
    """What `changes` say, with nothing kept: what stood in their place is gone."""
    for change in changes:
        path = root / change.path
        match change:
            case WriteFile(_, content, like):
                model = path if path.exists() and path.is_file() else root / like
                mode = stat.S_IMODE(model.stat().st_mode) & ~0o111
                _clear(path)
                path.write_bytes(content)
                path.chmod(mode)
            case CopyFile(_, source, _, _, modified_ns):
                path.write_bytes((root / source).read_bytes())
                os.utime(path, ns=(modified_ns, modified_ns))
            case LinkFile(_, to):
                assert path.samefile(root / to)
            case MakeSymlink(_, target):
                _clear(path)
                path.symlink_to(target)
            case MakeDirectory(_, mode, _):
                if not path.is_dir() or path.is_symlink():
                    _clear(path)
                    path.mkdir()
                    path.chmod(mode)
            case DropReference(_, reference, image):
                references = dict(parse_repositories(path.read_bytes()).references)
                assert references.pop(reference) == image
                path.write_bytes(write_repositories(references))
            case SetAside():
                assert path.is_symlink() or path.exists(), change
                _clear(path)
            case _:
                assert_never(change)


def _clear(path: Path) -> None:
    if path.is_symlink() or path.exists():
        path.unlink()


def whole(root: Path) -> dict[str, tuple[int, bytes | Path]]:
    """Mode with type, and content or target, of everything below `root`, by relative path."""
    found: dict[str, tuple[int, bytes | Path]] = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            held = path.readlink() if path.is_symlink() else path.read_bytes() if stat.S_ISREG(mode) else b""
            found[str(path.relative_to(root))] = (mode, held)
    return found


def difference(one: Path, other: Path) -> dict[str, tuple[object, object]]:
    """By relative path, what differs between two roots: as it is in `one`, and in `other`."""
    first, second = whole(one), whole(other)
    paths = sorted(first.keys() | second.keys())
    return {path: (first.get(path), second.get(path)) for path in paths if first.get(path) != second.get(path)}


# --- faults that leave something to mend from -------------------------------------------------------------------------


def lose_config_that_was_being_written(root: Path, container: str) -> None:
    """``config.v2.json`` is empty, and the copy that was to take its place is whole."""
    _lose(root / "containers" / container / "config.v2.json")


def lose_host_config_that_was_being_written(root: Path, container: str) -> None:
    _lose(root / "containers" / container / "hostconfig.json")


def _lose(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(b"")
    copy = path.with_name(f".tmp-{path.name}481516234")
    while not copy.exists() or copy.stat().st_mtime_ns <= path.stat().st_mtime_ns:  # a tick of the clock later
        copy.write_bytes(content)
        copy.chmod(path.stat().st_mode & 0o777)


NOTHING_LEFT = {
    "cite_unknown_link": "no layer dir says that it is the one",
    "empty_container_config": "no newer valid copy of {container}/config.v2.json is beside it",
    "drop_container_config": "no newer valid copy of {container}/config.v2.json is beside it",
    "garble_container_config": "no newer valid copy of {container}/config.v2.json is beside it",
    "nullify_process_config": "no newer valid copy of {container}/config.v2.json is beside it",
    "empty_host_config": "no newer valid copy of {container}/hostconfig.json is beside it",
}
"""Planters of the catalogue that leave nothing to mend from, each with what is said then."""

NAMES_LOST = {"empty_repositories", "drop_repositories", "clear_repositories"}
"""Planters after which only the names come back that containers prove."""
