"""Planters of faults of sources, stores, engines and volumes (GCD801-805)."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from gcd.demo.faults.fault import fresh_names
from gcd.demo.placing import put_directory, put_file
from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import LayerDirId
from gcd.model.inventory import Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HOLDER = """
import fcntl, sys
for path in sys.argv[1:]:
    file = open(path, "rb")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
open("/proc/self/comm", "w").write("dockerd")
print("held", flush=True)
sys.stdin.read()
"""


def _source(source: Source) -> Node:
    return Node(NodeKind.SOURCE, source)


def turn_rw_layers_into_file(root: Path, _target: str) -> Node:
    """A source that nobody can list: ``layerdb/mounts`` is a file."""
    return _replace(root / layout.rw_layer_records(), Source.RW_LAYERS)


def turn_layers_into_symlink(root: Path, _target: str) -> Node:
    """A source that nobody can list without following a symlink: ``layerdb/sha256`` leads elsewhere."""
    place = root / layout.layer_records()
    shutil.rmtree(place)
    place.symlink_to("/var/empty")
    return _source(Source.LAYERS)


def turn_containers_into_file(root: Path, _target: str) -> Node:
    """A source that nobody can list: ``containers`` is a file."""
    return _replace(root / layout.CONTAINERS, Source.CONTAINERS)


def turn_image_configs_into_file(root: Path, _target: str) -> Node:
    """A source that nobody can list: ``imagedb/content/sha256`` is a file."""
    return _replace(root / layout.image_configs(), Source.IMAGES)


def _replace(place: Path, source: Source) -> Node:
    shutil.rmtree(place)
    put_file(place, b"")
    return _source(source)


def add_dormant_driver(root: Path, _target: str) -> Node:
    """F41: the trees of an older driver, which the engine does not look at any more."""
    for place in ("aufs", "aufs/diff", "image/aufs", "image/aufs/layerdb"):
        put_directory(root / place, 0o700)
    put_file(root / "aufs/diff/file", b"from before the migration\n")
    return Node(NodeKind.STORE, "aufs")


def add_dormant_user_namespace(root: Path, _target: str) -> Node:
    """F41: the root of a user namespace inside of the root, from when the engine ran with another remapping."""
    home = root / "100000.100000"
    layer_dir = home / layout.layer_dir(LayerDirId(fresh_names(root).hex64()))
    for place in (home, home / layout.OVERLAY2, layer_dir, home / "image", home / "image/overlay2"):
        put_directory(place, 0o700)
    return Node(NodeKind.STORE, home.name)


def spoil_volume_database(root: Path, _target: str) -> Node:
    """F38: `volumes/metadata.db` is no bolt file: the engine does not start."""
    put_file(root / layout.VOLUMES / layout.VOLUME_DATABASE, b"\xff" * 4096, 0o600)
    return Node(NodeKind.DATABASE, f"{layout.VOLUMES}/{layout.VOLUME_DATABASE}")


def empty_volume_options(root: Path, _target: str) -> Node:
    """F36: a volume's `opts.json` is empty: the engine does not start."""
    return _add_volume(root, b"")


def garble_volume_options(root: Path, _target: str) -> Node:
    """F36: a volume's `opts.json` is no object: the engine does not start."""
    return _add_volume(root, b"[]")


def _add_volume(root: Path, options: bytes) -> Node:
    name = "mailqueue"
    put_directory(root / layout.volume(name), 0o701)
    put_directory(root / layout.volume(name) / layout.VOLUME_DATA, 0o755)
    put_file(root / layout.volume(name) / layout.VOLUME_DATA / "letter", b"dear\n")
    put_file(root / layout.volume(name) / layout.VOLUME_OPTIONS, options, 0o600)
    return Node(NodeKind.VOLUME, name)


@contextlib.contextmanager
def two_engines(root: Path) -> Iterator[tuple[int, int]]:
    """Two processes called dockerd hold databases of one root meanwhile (GCD804); gives their pids."""
    held = (root / layout.VOLUMES / layout.VOLUME_DATABASE, root / layout.build_database(layout.BUILD_SNAPSHOTS))
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(_holder(path)) for path in held)
        yield first, second


@contextlib.contextmanager
def _holder(path: Path) -> Iterator[int]:
    command = [sys.executable, "-c", _HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603  our own
        try:
            assert process.stdout is not None
            if process.stdout.readline() != b"held\n":
                raise RuntimeError(f"{path} is held by another process")
            yield process.pid
        finally:
            process.communicate(timeout=10)
