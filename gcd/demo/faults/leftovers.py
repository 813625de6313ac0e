"""Planters of leftovers of interrupted work (GCD601-605)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.demo.faults.fault import cache_id_of, fresh_names
from gcd.demo.placing import put_directory, put_file, put_layer_dir
from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ContainerId, LayerDirId, LinkId

if TYPE_CHECKING:
    from pathlib import Path

    from gcd.demo.names import Names

_GZIP_HEADER = bytes.fromhex("1f8b08000000000000ff")
"""What the engine has written of a ``tar-split.json.gz`` while it still unpacks the layer."""


def add_write_set(root: Path, _target: str) -> Node:
    """F10c: a layer whose unpacking was cut off; the write set names no dir."""
    return _add_write_set(root, None)


def add_write_set_with_dir(root: Path, _target: str) -> Node:
    """F10c: a layer whose registration was cut off at its very end; the write set names the dir."""
    return _add_write_set(root, _add_dir(root, fresh_names(root)))


def _add_write_set(root: Path, cache_id: LayerDirId | None) -> Node:
    name = f"{layout.WRITE_SET_PREFIX}{fresh_names(root).digits()}"
    path = root / layout.write_set(name)
    put_directory(path, 0o700)
    put_file(path / layout.TAR_SPLIT, _GZIP_HEADER)
    if cache_id is not None:
        put_file(path / layout.CACHE_ID, cache_id)
    return Node(NodeKind.WRITE_SET, name)


def add_removing_record(root: Path, _target: str) -> Node:
    """F4: a layer whose removal was cut off before its dir was gone."""
    return _add_removing(root, _add_dir(root, fresh_names(root)))


def add_removing_record_without_dir(root: Path, _target: str) -> Node:
    """F4: a layer whose removal was cut off after its dir was gone."""
    return _add_removing(root, LayerDirId(fresh_names(root).hex64()))


def add_removing_record_without_cache_id(root: Path, _target: str) -> Node:
    """F4: a record being removed that names no dir; the engine never removes it."""
    return _add_removing(root, None)


def add_removing_record_of_live_dir(root: Path, chain: str) -> Node:
    """F4: a record being removed whose dir has become a living layer's; the engine's next orderly stop deletes it."""
    return _add_removing(root, cache_id_of(root, chain))


def _add_removing(root: Path, cache_id: LayerDirId | None) -> Node:
    names = fresh_names(root)
    name = f"{names.hex64()}-{names.hex64()}-removing"
    path = root / layout.removing_record(name)
    put_directory(path, 0o700)
    put_file(path / layout.DIFF, f"sha256:{names.hex64()}")
    put_file(path / layout.SIZE, "6")
    if cache_id is not None:
        put_file(path / layout.CACHE_ID, cache_id)
    return Node(NodeKind.REMOVING_LAYER, name)


def _add_dir(root: Path, names: Names) -> LayerDirId:
    dir_id = LayerDirId(names.hex64())
    put_layer_dir(root, dir_id, LinkId(names.link_id()), (), {"file": b"half\n"})
    return dir_id


def leave_temporary_link(root: Path, dir_id: str) -> Node:
    """F20: the file that was to become a layer dir's `link`."""
    return _leave(root, f"{layout.layer_dir(LayerDirId(dir_id))}/.tmp-link481516234")


def leave_temporary_lower(root: Path, dir_id: str) -> Node:
    """F20: the file that was to become a layer dir's `lower`."""
    return _leave(root, f"{layout.layer_dir(LayerDirId(dir_id))}/.tmp-lower481516234")


def leave_temporary_image_config(root: Path, _target: str) -> Node:
    """F20: half of an image config."""
    return _leave(root, f"{layout.image_configs()}/.tmp-{fresh_names(root).hex64()}481516234")


def leave_temporary_repositories(root: Path, _target: str) -> Node:
    """F20: half of `repositories.json`."""
    return _leave(root, f"{layout.image_tree()}/.tmp-repositories.json481516234")


def leave_temporary_container_config(root: Path, container: str) -> Node:
    """F20: half of a container's configuration."""
    return _leave(root, f"{layout.container(ContainerId(container))}/.tmp-config.v2.json481516234")


def leave_temporary_host_config(root: Path, container: str) -> Node:
    """F20: half of a container's host configuration."""
    return _leave(root, f"{layout.container(ContainerId(container))}/.tmp-hostconfig.json481516234")


def _leave(root: Path, path: str) -> Node:
    put_file(root / path, b"{", 0o600)
    return Node(NodeKind.TEMPORARY_FILE, path)


def leave_download(root: Path, _target: str) -> Node:
    """F39: a half of a layer's archive, from a pull."""
    return _leave(root, f"{layout.TMP}/GetImageBlob481516234")


def leave_load(root: Path, _target: str) -> Node:
    """F39: an archive that a load had unpacked, in the `tmp` of the engine before."""
    path = f"{layout.OLD_TMP}/docker-import-481516234"
    (root / layout.OLD_TMP).mkdir(mode=0o700, exist_ok=True)
    put_directory(root / path, 0o700)
    put_file(root / path / "manifest.json", b"[]")
    return Node(NodeKind.TEMPORARY_FILE, path)


def add_removing_plugin(root: Path, _target: str) -> Node:
    """F34: a plugin whose removal was cut off."""
    return _add_plugin(root, "-removing")


def add_plugin_without_config(root: Path, _target: str) -> Node:
    """F35: a plugin without its `config.json`."""
    return _add_plugin(root, "")


def _add_plugin(root: Path, suffix: str) -> Node:
    name = fresh_names(root).hex64() + suffix
    put_directory(root / layout.plugin(name), 0o700)
    put_directory(root / layout.plugin(name) / "rootfs", 0o755)
    put_file(root / layout.plugin(name) / "rootfs/plugin", b"#!\n", 0o755)
    return Node(NodeKind.PLUGIN, name)
