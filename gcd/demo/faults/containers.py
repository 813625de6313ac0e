"""Planters of faults of rw layers and containers (GCD301-310)."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from gcd.demo.faults.fault import (
    cache_id_of,
    fresh_names,
    link_of,
    lower_links,
    mount_id_of,
    rw_layer_record,
)
from gcd.demo.placing import compact, put_file, put_layer_dir, put_rw_layer_record, remove_layer_dir
from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ChainId, ContainerId, RwLayerName, init_dir_of

if TYPE_CHECKING:
    from pathlib import Path


def _rw_layer(name: str) -> Node:
    return Node(NodeKind.RW_LAYER, name)


def _container(container: str) -> Node:
    return Node(NodeKind.CONTAINER, container)


def _home(root: Path, container: str) -> Path:
    return root / layout.container(ContainerId(container))


# --- rw layer records -----------------------------------------------------------------------------------------------


def empty_mount_id(root: Path, container: str) -> Node:
    """F22: `mount-id` is empty."""
    return _empty(root, container, layout.MOUNT_ID)


def drop_mount_id(root: Path, container: str) -> Node:
    """F22: `mount-id` is missing."""
    return _drop(root, container, layout.MOUNT_ID)


def garble_mount_id(root: Path, container: str) -> Node:
    """F22: `mount-id` holds a path that leads out of ``overlay2/``."""
    put_file(rw_layer_record(root, container) / layout.MOUNT_ID, b"../../../etc")
    return _rw_layer(container)


def empty_init_id(root: Path, container: str) -> Node:
    """F23: `init-id` is empty."""
    return _empty(root, container, layout.INIT_ID)


def drop_init_id(root: Path, container: str) -> Node:
    """F23: `init-id` is missing though the init dir is there."""
    return _drop(root, container, layout.INIT_ID)


def drop_rw_parent(root: Path, container: str) -> Node:
    """F24: `parent` of a container on an image is missing: it loads, and its image's layers can be deleted under it."""
    return _drop(root, container, layout.PARENT)


def empty_rw_parent(root: Path, container: str) -> Node:
    """F24: `parent` is empty: the rw layer does not load."""
    return _empty(root, container, layout.PARENT)


def drop_rw_dirs(root: Path, container: str) -> Node:
    """F24b: the rw dir and the init dir are gone, as an interrupted removal leaves it."""
    remove_layer_dir(root, init_dir_of(mount_id_of(root, container)))
    return drop_rw_dir(root, container)


def drop_rw_dir(root: Path, container: str) -> Node:
    """F24b: the rw dir is gone, the init dir is there."""
    remove_layer_dir(root, mount_id_of(root, container))
    return _rw_layer(container)


def drop_rw_record(root: Path, container: str) -> Node:
    """F24d: the rw layer record of a container is missing; the container's files look like orphans."""
    shutil.rmtree(rw_layer_record(root, container))
    return _container(container)


def drop_container(root: Path, container: str) -> Node:
    """F24d: the container's directory is missing; its rw layer (a ghost) holds what it wrote."""
    shutil.rmtree(_home(root, container))
    return _rw_layer(container)


def add_build_view(root: Path, chain: str) -> Node:
    """F24c: a rw layer of a BuildKit view on the layer `chain`: 25 characters, no init layer."""
    return _add_transient(root, chain, fresh_names(root).build_id())


def add_build_rw_layer(root: Path, chain: str) -> Node:
    """F24c: a rw layer of a classic build's COPY on the layer `chain`: 64 hex digits, no init layer."""
    return _add_transient(root, chain, fresh_names(root).hex64())


def _add_transient(root: Path, chain: str, name: str) -> Node:
    names = fresh_names(root)
    link, mount_id = names.link_id(), names.layer_dir_id()
    below = cache_id_of(root, chain)
    put_layer_dir(root, mount_id, link, (link_of(root, below), *lower_links(root, below)), {})
    put_rw_layer_record(root, RwLayerName(name), mount_id, None, ChainId(chain))
    return _rw_layer(name)


def _empty(root: Path, container: str, name: str) -> Node:
    os.truncate(rw_layer_record(root, container) / name, 0)
    return _rw_layer(container)


def _drop(root: Path, container: str, name: str) -> Node:
    (rw_layer_record(root, container) / name).unlink()
    return _rw_layer(container)


# --- containers -----------------------------------------------------------------------------------------------------


def empty_container_config(root: Path, container: str) -> Node:
    """F24e: `config.v2.json` is empty."""
    os.truncate(_home(root, container) / layout.CONTAINER_CONFIG, 0)
    return _container(container)


def drop_container_config(root: Path, container: str) -> Node:
    """F24e: `config.v2.json` is missing."""
    (_home(root, container) / layout.CONTAINER_CONFIG).unlink()
    return _container(container)


def garble_container_config(root: Path, container: str) -> Node:
    """F24e: `config.v2.json` ends in the middle."""
    path = _home(root, container) / layout.CONTAINER_CONFIG
    os.truncate(path, path.stat().st_size // 2)
    return _container(container)


def nullify_process_config(root: Path, container: str) -> Node:
    """F24e: ``"Config": null``, at which the engine panics when it starts."""
    return _change(root, container, Config=None)


def empty_host_config(root: Path, container: str) -> Node:
    """F24e: `hostconfig.json` is empty: the container does not load (a missing one does no harm)."""
    os.truncate(_home(root, container) / layout.HOST_CONFIG, 0)
    return _container(container)


def change_container_id(root: Path, container: str) -> Node:
    """F24f: the `ID` in `config.v2.json` is not the directory's name."""
    return _change(root, container, ID=fresh_names(root).hex64())


def mark_dead(root: Path, container: str) -> Node:
    """A removal that a crash ended at its first step: the container is Dead, all of its files are there."""
    path = _home(root, container) / layout.CONTAINER_CONFIG
    state: dict[str, Any] = json.loads(path.read_bytes())["State"]
    return _change(root, container, State={**state, "Dead": True})


def mark_dead_and_drop_rw_layer(root: Path, container: str) -> Node:
    """A removal that a crash ended at its last step: the container is Dead, its rw layer is gone."""
    mount_id = mount_id_of(root, container)
    for dir_id in (mount_id, init_dir_of(mount_id)):
        remove_layer_dir(root, dir_id)
    shutil.rmtree(rw_layer_record(root, container))
    return mark_dead(root, container)


def _change(root: Path, container: str, **values: object) -> Node:
    path = _home(root, container) / layout.CONTAINER_CONFIG
    mode = path.stat().st_mode & 0o777
    put_file(path, compact({**json.loads(path.read_bytes()), **values}), mode)
    return _container(container)
