"""Planters of faults of layer dirs and of the link farm (GCD101-116)."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from gcd.demo.faults.fault import dir_node, fresh_names, layer_dir, link_of, link_symlink, lower_links
from gcd.demo.placing import lower_text, put_committed, put_directory, put_file, put_layer_dir
from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import LayerDirId, LinkId, init_dir_of, is_layer_dir_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gcd.demo.tarsplit import Entry

_FILES: Mapping[str, Entry] = {"usr/share/leaked": b"nobody needs these bytes\n" * 400}

LOWER_OF_NOBODY = LinkId("ZZZZZZZZZZZZZZZZZZZZZZZZZZ")


# --- orphans --------------------------------------------------------------------------------------------------------


def add_layer_dir(root: Path, _target: str) -> Node:
    """F19: the dir of a layer whose extraction a crash ended: complete, and named by nothing."""
    return dir_node(_add_dir(root, fresh_names(root).layer_dir_id(), _FILES))


def add_layer_dir_upon(root: Path, dir_id: str) -> Node:
    """F19: the dir of a layer whose extraction a crash ended, on top of a layer that is in use."""
    put_committed(root, LayerDirId(dir_id))
    lower = (link_of(root, dir_id), *lower_links(root, dir_id))
    return dir_node(_add_dir(root, fresh_names(root).layer_dir_id(), _FILES, lower))


def add_layer_dir_without_symlink(root: Path, _target: str) -> Node:
    """F19: a dir whose removal was interrupted: its symlink is gone, and part of its files."""
    dir_id = _add_dir(root, fresh_names(root).layer_dir_id(), _FILES)
    link_symlink(root, dir_id).unlink()
    return dir_node(dir_id)


def add_nascent_dir(root: Path, _target: str) -> Node:
    """F19: a dir whose creation a crash ended at its first step: it is empty."""
    dir_id = fresh_names(root).layer_dir_id()
    put_directory(layer_dir(root, dir_id), 0o710)
    return dir_node(dir_id)


def add_empty_rw_pair(root: Path, _target: str) -> Node:
    """F19b: an unreferenced pair of init and rw dirs; the container wrote nothing."""
    return _add_pair(root, {})


def add_filled_rw_pair(root: Path, _target: str) -> Node:
    """F19b: an unreferenced pair of init and rw dirs; the container wrote files, and they may exist nowhere else."""
    return _add_pair(root, {"data/notes.txt": b"what a container wrote\n" * 100})


def add_init_dir_alone(root: Path, _target: str) -> Node:
    """F19b: an init dir whose rw dir is gone."""
    return dir_node(_add_dir(root, init_dir_of(fresh_names(root).layer_dir_id()), {"etc/hosts": b""}))


def add_build_dir(root: Path, _target: str) -> Node:
    """F19c: a dir of BuildKit's form that its databases do not mention."""
    return dir_node(_add_dir(root, fresh_names(root).build_id(), _FILES))


def add_build_dir_upon(root: Path, dir_id: str) -> Node:
    """F19c: a dir of BuildKit's form that its databases do not mention, on top of a layer that is in use."""
    put_committed(root, LayerDirId(dir_id))
    lower = (link_of(root, dir_id), *lower_links(root, dir_id))
    return dir_node(_add_dir(root, fresh_names(root).build_id(), _FILES, lower))


def _add_dir(
    root: Path, dir_id: LayerDirId, content: Mapping[str, Entry], lower: tuple[LinkId, ...] = ()
) -> LayerDirId:
    put_layer_dir(root, dir_id, fresh_names(root).link_id(), lower, content)
    return dir_id


def _add_pair(root: Path, content: Mapping[str, Entry]) -> Node:
    mount_id = fresh_names(root).layer_dir_id()
    init = _add_dir(root, init_dir_of(mount_id), {"etc/hosts": b""})
    put_committed(root, init)
    return dir_node(_add_dir(root, mount_id, content, (link_of(root, init),)))


# --- link farm ------------------------------------------------------------------------------------------------------


def drop_link_symlink(root: Path, dir_id: str) -> Node:
    """F11: a symlink of the link farm is missing."""
    link_symlink(root, dir_id).unlink()
    return dir_node(dir_id)


def drop_link_farm(root: Path, _target: str) -> Node:
    """F12: the link farm is missing as a whole. Each layer dir has its finding; the node is one of them."""
    shutil.rmtree(root / layout.link_farm())
    return _any_dir(root)


def empty_link_farm(root: Path, _target: str) -> Node:
    """F12: the link farm is there and holds nothing. Each layer dir has its finding; the node is one of them."""
    for symlink in (root / layout.link_farm()).iterdir():
        symlink.unlink()
    return _any_dir(root)


def _any_dir(root: Path) -> Node:
    return dir_node(min(path.name for path in (root / layout.OVERLAY2).iterdir() if is_layer_dir_id(path.name)))


def turn_link_farm_into_file(root: Path, _target: str) -> Node:
    """F12b: a file is in the link farm's place."""
    drop_link_farm(root, "")
    put_file(root / layout.link_farm(), b"")
    return Node(NodeKind.LINK_FARM, layout.link_farm())


def turn_link_farm_into_symlink(root: Path, _target: str) -> Node:
    """F12b: a symlink to itself is in the link farm's place (ELOOP)."""
    drop_link_farm(root, "")
    (root / layout.link_farm()).symlink_to(layout.LINK_FARM)
    return Node(NodeKind.LINK_FARM, layout.link_farm())


def empty_link_file(root: Path, dir_id: str) -> Node:
    """F13: a `link` file is empty; the symlink to its dir is there."""
    os.truncate(layer_dir(root, dir_id) / layout.LINK, 0)
    return dir_node(dir_id)


def drop_link_file(root: Path, dir_id: str) -> Node:
    """F13: a `link` file is missing; the symlink to its dir is there."""
    (layer_dir(root, dir_id) / layout.LINK).unlink()
    return dir_node(dir_id)


def garble_link_file(root: Path, dir_id: str) -> Node:
    """F13: a `link` file holds what is no link id."""
    put_file(layer_dir(root, dir_id) / layout.LINK, b"../../etc/passwd")
    return dir_node(dir_id)


def drop_link_file_and_symlink(root: Path, dir_id: str) -> Node:
    """F13b: `link` file and symlink are gone; only the `lower` of the dirs above says what the link id was."""
    link_symlink(root, dir_id).unlink()
    return drop_link_file(root, dir_id)


def add_dangling_symlink(root: Path, _target: str) -> Node:
    """F14: a symlink to a dir that is not there, cited by no `lower`."""
    return _add_symlink(root, layout.link_target(fresh_names(root).layer_dir_id()))


def add_stray_symlink(root: Path, _target: str) -> Node:
    """F14: a symlink that leads out of the root, cited by no `lower`."""
    return _add_symlink(root, "/etc")


def _add_symlink(root: Path, target: str) -> Node:
    link = fresh_names(root).link_id()
    (root / layout.link_symlink(link)).symlink_to(target)
    return Node(NodeKind.LINK, link)


def point_link_to_another_dir(root: Path, dir_id: str) -> Node:
    """F14b: a symlink leads to another layer's dir, the nearest below."""
    lower = lower_links(root, dir_id)
    return _point_link(root, dir_id, str((root / layout.link_symlink(lower[0])).readlink()))


def point_link_outside(root: Path, dir_id: str) -> Node:
    """F14b: a symlink leads out of the root."""
    return _point_link(root, dir_id, "/etc")


def point_link_absolutely(root: Path, dir_id: str) -> Node:
    """F14b: a symlink leads to its dir, but by an absolute path: a copied or moved root breaks it."""
    return _point_link(root, dir_id, str(layer_dir(root, dir_id).absolute() / layout.DIFF))


def point_link_to_itself(root: Path, dir_id: str) -> Node:
    """F14b: a symlink leads to itself (ELOOP)."""
    return _point_link(root, dir_id, link_of(root, dir_id))


def _point_link(root: Path, dir_id: str, target: str) -> Node:
    symlink = link_symlink(root, dir_id)
    symlink.unlink()
    symlink.symlink_to(target)
    return Node(NodeKind.LINK, symlink.name)


# --- lower, work, diff ----------------------------------------------------------------------------------------------


def drop_lower(root: Path, dir_id: str) -> Node:
    """F15: the `lower` of a dir that lies on others is missing."""
    (layer_dir(root, dir_id) / layout.LOWER).unlink()
    return dir_node(dir_id)


def empty_lower(root: Path, dir_id: str) -> Node:
    """F16: a `lower` is empty."""
    os.truncate(layer_dir(root, dir_id) / layout.LOWER, 0)
    return dir_node(dir_id)


def begin_lower_with_bare_farm(root: Path, dir_id: str) -> Node:
    """F16b: the first element of a `lower` is ``l``: the parent's `link` was empty when the dir was made."""
    path = layer_dir(root, dir_id) / layout.LOWER
    first, colon, rest = path.read_text().partition(":")
    assert first.startswith(f"{layout.LINK_FARM}/")
    put_file(path, layout.LINK_FARM + colon + rest)
    return dir_node(dir_id)


def cut_lower(root: Path, dir_id: str) -> Node:
    """F16b: a `lower` ends in the middle of an element."""
    path = layer_dir(root, dir_id) / layout.LOWER
    put_file(path, path.read_bytes()[:-9])
    return dir_node(dir_id)


def reverse_lower(root: Path, dir_id: str) -> Node:
    """F16c: a `lower` names the right layers in the wrong order."""
    return _put_lower(root, dir_id, tuple(reversed(lower_links(root, dir_id))))


def shorten_lower(root: Path, dir_id: str) -> Node:
    """F16c: a `lower` lacks its last layer."""
    return _put_lower(root, dir_id, lower_links(root, dir_id)[:-1])


def cite_unknown_link(root: Path, dir_id: str) -> Node:
    """F13b: the last element of a `lower` is a link id that no dir and no symlink has; its dir is gone too."""
    _put_lower(root, dir_id, (*lower_links(root, dir_id)[:-1], LOWER_OF_NOBODY))
    return Node(NodeKind.LINK, LOWER_OF_NOBODY)


def _put_lower(root: Path, dir_id: str, links: tuple[LinkId, ...]) -> Node:
    put_file(layer_dir(root, dir_id) / layout.LOWER, lower_text(links))
    return dir_node(dir_id)


def drop_work_dir(root: Path, dir_id: str) -> Node:
    """F17: `work` is missing."""
    shutil.rmtree(layer_dir(root, dir_id) / layout.WORK)
    return dir_node(dir_id)


def drop_diff_dir(root: Path, dir_id: str) -> Node:
    """F18: `diff` is missing, and with it the layer's files."""
    shutil.rmtree(layer_dir(root, dir_id) / layout.DIFF)
    return dir_node(dir_id)


# --- leftovers and mounts -------------------------------------------------------------------------------------------


def add_probe_leftover(root: Path, _target: str) -> Node:
    """Reference 1.1: what a start that crashed left of its probe of the kernel's overlayfs."""
    home = root / layout.OVERLAY2 / "check-overlayfs-support2718281828"
    put_directory(home, 0o700)
    for name in ("lower1", "lower2", "upper", "work", "merged"):
        put_directory(home / name, 0o755)
    return dir_node(home.name)


def occupy_mountpoint(root: Path, dir_id: str) -> Node:
    """``merged`` is no mountpoint and holds a file that somebody wrote by mistake."""
    merged = layer_dir(root, dir_id) / layout.MERGED
    if not merged.exists():
        put_directory(merged, 0o700)
    put_file(merged / "written-by-mistake", b"this is under no mount\n")
    return dir_node(dir_id)


def leak_mount(root: Path, dir_id: str) -> Node:
    """F21: an overlay stays mounted at a dir whose container does not run. Needs root rights; see `unmount_leak`."""
    home = layer_dir(root, dir_id)
    merged = home / layout.MERGED
    if not merged.exists():
        put_directory(merged, 0o700)
    lower = ":".join(str(root / layout.link_symlink(link)) for link in lower_links(root, dir_id))
    options = f"lowerdir={lower},upperdir={home / layout.DIFF},workdir={home / layout.WORK}"
    command = ["/usr/bin/mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603  a fixed program, no shell
    return dir_node(dir_id)


def unmount_leak(root: Path, dir_id: str) -> None:
    merged = layer_dir(root, dir_id) / layout.MERGED
    subprocess.run(["/usr/bin/umount", "--lazy", str(merged)], check=True, capture_output=True)  # noqa: S603  as above
