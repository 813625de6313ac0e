"""
Putting single things into a root, the way the engine would have: same names, modes and bytes.

Each function writes one thing (a layer dir, a layer record, …) and knows nothing of the rest; the builder and the
planters of faults are made of them. Nothing needs root rights: no owner is set and no device node made, and
``work/work``, which the kernel makes at the first mount with mode 000, is left out (nobody else could list it).

Sources: moby ``daemon/graphdriver/overlay2/overlay.go`` create, ``layer/filestore.go``, ``image/fs.go``; the modes are
those of a root that Docker 20.10.24 wrote under umask 022.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

from gcd.demo.tarsplit import MTIME, Folder, HardLinkTo, SymlinkTo, with_folders
from gcd.model import layout
from gcd.model.ids import LinkId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from gcd.demo.tarsplit import Entry, PackedLayer
    from gcd.model.ids import ChainId, ImageId, LayerDirId, RwLayerName


def put_directory(path: Path, mode: int) -> None:
    """Make `path`, which must not be there, with exactly that mode."""
    path.mkdir()
    path.chmod(mode)


def put_file(path: Path, data: bytes | str, mode: int = 0o644) -> None:
    """Write `path` (over an older one too) with exactly that mode."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(fd, mode)
        os.write(fd, data.encode() if isinstance(data, str) else data)
    finally:
        os.close(fd)


def compact(value: object) -> str:
    """`value` as Go's ``encoding/json`` writes it: no spaces, and ``&``, ``<`` and ``>`` escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


# --- overlay2 -------------------------------------------------------------------------------------------------------


def put_layer_dir(
    root: Path, dir_id: LayerDirId, link: LinkId, lower: Iterable[LinkId], content: Mapping[str, Entry]
) -> None:
    """
    ``overlay2/<dir_id>`` with its symlink in the link farm.

    `lower` are the link ids of all layers below, nearest first; none makes a base layer. The ``committed`` of the
    parent is the caller's to write.
    """
    home = root / layout.layer_dir(dir_id)
    put_directory(home, 0o710)
    put_directory(home / layout.DIFF, 0o755)
    put_content(home / layout.DIFF, content)
    (root / layout.link_symlink(link)).symlink_to(layout.link_target(dir_id))
    put_file(home / layout.LINK, link)
    text = lower_text(lower)
    if text:
        put_directory(home / layout.WORK, 0o700)
        put_file(home / layout.LOWER, text)


def lower_text(links: Iterable[LinkId]) -> str:
    return ":".join(f"{layout.LINK_FARM}/{link}" for link in links)


def remove_layer_dir(root: Path, dir_id: LayerDirId) -> None:
    """Remove a layer dir and its symlink, as the engine does."""
    home = root / layout.layer_dir(dir_id)
    (root / layout.link_symlink(LinkId((home / layout.LINK).read_text()))).unlink()
    shutil.rmtree(home)


def put_committed(root: Path, dir_id: LayerDirId) -> None:
    """The marker of a layer dir that a child was made on."""
    put_file(root / layout.layer_dir(dir_id) / layout.COMMITTED, b"", 0o600)


def put_content(place: Path, content: Mapping[str, Entry]) -> None:
    """What the engine would have unpacked into a ``diff``, mtimes of files included."""
    for name, entry in with_folders(content).items():
        path = place / name
        match entry:
            case bytes():
                put_file(path, entry)
            case SymlinkTo(target):
                path.symlink_to(target)
            case HardLinkTo(target):
                path.hardlink_to(place / target)
            case Folder():
                put_directory(path, 0o755)
        if not isinstance(entry, Folder):
            os.utime(path, (MTIME, MTIME), follow_symlinks=False)


# --- layerdb --------------------------------------------------------------------------------------------------------


def put_layer_record(
    root: Path, chain: ChainId, packed: PackedLayer, cache_id: LayerDirId, parent: ChainId | None, size: int
) -> None:
    record = root / layout.layer_record(chain)
    put_directory(record, 0o700)
    put_file(record / layout.TAR_SPLIT, packed.tar_split)
    put_file(record / layout.DIFF, packed.diff_id)
    put_file(record / layout.SIZE, str(size))
    put_file(record / layout.CACHE_ID, cache_id)
    if parent is not None:
        put_file(record / layout.PARENT, parent)


def put_rw_layer_record(
    root: Path, name: RwLayerName, mount_id: LayerDirId, init_id: LayerDirId | None, parent: ChainId | None
) -> None:
    record = root / layout.rw_layer_record(name)
    folder = root / layout.rw_layer_records()
    for part in name.split("/"):
        folder /= part
        if not folder.exists():
            put_directory(folder, 0o755)
    put_file(record / layout.MOUNT_ID, mount_id)
    if init_id is not None:
        put_file(record / layout.INIT_ID, init_id)
    if parent is not None:
        put_file(record / layout.PARENT, parent)


# --- images ---------------------------------------------------------------------------------------------------------


def put_image(root: Path, image: ImageId, config: bytes, last_updated: str) -> None:
    """An image's config, and when it was last tagged ("": never)."""
    put_file(root / layout.image_config(image), config, 0o600)
    if last_updated:
        metadata = root / layout.image_metadata(image)
        put_directory(metadata, 0o700)
        put_file(metadata / layout.LAST_UPDATED, last_updated, 0o600)
