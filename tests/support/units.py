"""Units of a root that move into the quarantine, and what is in root and quarantine together."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.fingerprint import fingerprint
from support.seeds import own_seed

from gcd.actions.place import open_place
from gcd.actions.quarantine import move
from gcd.demo.dockerroot import DockerRoot
from gcd.formats.manifest import parse_manifest
from gcd.model import layout
from gcd.model.entry import FOLDERS, EntryId, EntryState, RunId
from gcd.model.finding import Code, Confidence, Finding, Kind, Node, NodeKind, Severity
from gcd.model.plan import Move
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from support.fingerprint import Mark

    from gcd.model.entry import Manifest
    from gcd.model.plan import Deed

RUN = RunId("run-1")
Unit = tuple[str, ...]


def finding_for(*paths: str, code: str = "GCD211", name: str = "orphaned-layer") -> Finding:
    """A finding that is about `paths`, with texts that no report would like."""
    return Finding(
        code=Code(code),
        name=name,
        kind=Kind.ORPHAN,
        severity=Severity.WARNING,
        confidence=Confidence.PROVEN,
        subject=Node(NodeKind.LAYER_DIR, paths[0].rpartition("/")[2]),
        summary="Nobody's, \x1b[31m and not \udcff UTF-8.",
        evidence=(),
        paths=paths,
        remedies=(),
        disk_bytes=4096,
    )


def leaked_root(path: Path, *, layers: int = 3) -> tuple[Path, list[Unit]]:
    """
    A root with one image and its container, and the leaked layers of another image: units, the tip's first.

    In the tip's diff is what moving must keep: see `plant_oddities`.
    """
    # Mounts are told by the ids in their paths: a root of a run beside this one has others.
    with DockerRoot(path, seed=own_seed()) as made:
        made.container("web", image=made.image("web:1", layers=2))
        leaked = made.image("gone:1", layers=layers)
    (path / layout.image_config(leaked.id)).unlink()
    units: list[Unit] = [
        (layout.layer_record(layer.chain_id), layout.layer_dir(layer.cache_id), layout.link_symlink(layer.link))
        for layer in reversed(leaked.layers)
    ]
    plant_oddities(path / units[0][1] / layout.DIFF)
    return path, units


def plant_oddities(folder: Path) -> None:
    """
    Hard links, odd modes, names of any bytes and of 255, a FIFO; as root a whiteout, an opaque directory, other owners.
    """
    below = folder / "odd"
    below.mkdir()
    (below / "file").write_bytes(b"content\n" * 100)
    os.link(below / "file", below / "again")
    (below / "setuid").write_bytes(b"#!")
    if os.geteuid() == 0:
        os.chown(below / "setuid", 1000, 1001)
        os.mknod(below / "whiteout", stat.S_IFCHR | 0o600, os.makedev(0, 0))
        os.setxattr(below, "trusted.overlay.opaque", b"y")
        os.setxattr(below / "file", "trusted.note", b"kept")
    (below / "setuid").chmod(0o6755)
    (below / "closed").mkdir(0o000)
    (below / ("n" * 255)).write_bytes(b"")
    Path(os.fsdecode(os.fsencode(below) + b"/\xff\xfe\n")).write_bytes(b"bytes")
    (below / "elsewhere").symlink_to("/etc/passwd")
    os.mkfifo(below / "fifo")


def quarantined(root: Path, units: Sequence[Unit], *, now_ns: int | None = None) -> list[Deed]:
    """The deeds of moving `units`, in their order."""
    with open_root(str(root)) as directory, open_place(directory, create=True) as place:
        return [
            move(place, Move(finding_for(*unit), unit), run_id=RUN, now_ns=now_ns or time.time_ns()) for unit in units
        ]


def entries_of(root: Path) -> dict[EntryId, tuple[EntryState, Manifest | None]]:
    """All entries, with their manifest where it is there."""
    return {
        EntryId(folder.name): (state, _manifest(folder))
        for state, name in FOLDERS.items()
        for folder in sorted((root / layout.GCD / name).glob("*"))
    }


def outside(root: Path) -> dict[str, Mark]:
    """The marks of all of the root but what is gcd's own."""
    return fingerprint(root, leave_out=(layout.GCD,))


def together(root: Path) -> dict[str, Mark]:
    """The marks of the root, and of what its entries hold as if it were in its place; nothing may be there twice."""
    found = outside(root)
    for entry, (state, _) in entries_of(root).items():
        assert state is not EntryState.PURGING, entry
        held = held_by(root, entry)
        assert found.keys().isdisjoint(held), f"{min(found.keys() & held)} is in its place and in {entry}"
        found |= held
    return found


def held_by(root: Path, entry: EntryId) -> dict[str, Mark]:
    """The marks of what the entry holds, by the paths where it was."""
    state, manifest = entries_of(root)[entry]
    return dict(_in_place(root / layout.GCD / FOLDERS[state] / entry, manifest))


def _manifest(folder: Path) -> Manifest | None:
    file = folder / layout.ENTRY_MANIFEST
    return parse_manifest(file.read_bytes()) if file.exists() else None


def _in_place(folder: Path, manifest: Manifest | None) -> Iterator[tuple[str, Mark]]:
    items = folder / layout.ENTRY_ITEMS
    for path, mark in fingerprint(items).items() if items.is_dir() else ():
        index, slash, rest = path.partition("/")
        assert manifest is not None, f"{folder} holds items and has no manifest"
        yield manifest.items[int(index)].path + slash + rest, mark
