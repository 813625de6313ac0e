"""Planters of faults of images and of the references to them (GCD401-407)."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

from gcd.demo.faults.fault import fresh_names, layer_record
from gcd.demo.placing import compact, put_directory, put_file
from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ImageId, chain_ids

if TYPE_CHECKING:
    from pathlib import Path


_REPOSITORIES = Node(NodeKind.REPOSITORIES, layout.repositories())


def _image(image: str) -> Node:
    return Node(NodeKind.IMAGE, image)


def _config(root: Path, image: str) -> Path:
    return root / layout.image_config(ImageId(image))


def flip_bit_of_image_config(root: Path, image: str) -> Node:
    """F27: one bit of an image config is another: it parses, but is not what its name says."""
    path = _config(root, image)
    data = bytearray(path.read_bytes())
    at = data.index(b"created") + 1
    data[at] ^= 1
    put_file(path, bytes(data), path.stat().st_mode & 0o777)
    return _image(image)


def empty_image_config(root: Path, image: str) -> Node:
    """F27: an image config is empty."""
    os.truncate(_config(root, image), 0)
    return _image(image)


def drop_top_layer_record(root: Path, image: str) -> Node:
    """F28: the record of an image's top layer is missing, its layer dir is there."""
    diff_ids = json.loads(_config(root, image).read_bytes())["rootfs"]["diff_ids"]
    shutil.rmtree(layer_record(root, chain_ids(tuple(diff_ids))[-1]))
    return _image(image)


def empty_repositories(root: Path, _target: str) -> Node:
    """F25: `repositories.json` is empty: the engine does not start."""
    os.truncate(root / layout.repositories(), 0)
    return _REPOSITORIES


def cut_repositories(root: Path, _target: str) -> Node:
    """F25: `repositories.json` ends in the middle; a newer copy, which was to take its place, is whole."""
    path = root / layout.repositories()
    whole = path.read_bytes()
    put_file(path, whole[: len(whole) // 2], 0o600)
    copy = path.with_name(f"{layout.TEMPORARY_PREFIX}{path.name}481516234")
    while not copy.exists() or copy.stat().st_ctime_ns <= path.stat().st_ctime_ns:  # a tick of the clock later
        put_file(copy, whole, 0o600)
    return _REPOSITORIES


def drop_repositories(root: Path, _target: str) -> Node:
    """F25: `repositories.json` is missing: the engine starts, and no image has a name."""
    (root / layout.repositories()).unlink()
    return _REPOSITORIES


def clear_repositories(root: Path, _target: str) -> Node:
    """F25: `repositories.json` is valid and holds nothing: what the engine makes of a missing one."""
    put_file(root / layout.repositories(), compact({"Repositories": {}}), 0o600)
    return _REPOSITORIES


def name_missing_image(root: Path, _target: str) -> Node:
    """F26: a tag names an image that is not there."""
    return _add_reference(root, "gone", "gone:1")


def name_missing_image_by_digest(root: Path, _target: str) -> Node:
    """F26: a reference by digest names an image that is not there."""
    return _add_reference(root, "gone", f"gone@sha256:{fresh_names(root).hex64()}")


def _add_reference(root: Path, repository: str, reference: str) -> Node:
    path = root / layout.repositories()
    store = json.loads(path.read_bytes())
    store["Repositories"][repository] = {reference: f"sha256:{fresh_names(root).hex64()}"}
    put_file(path, compact(store), 0o600)
    return Node(NodeKind.REFERENCE, reference)


def add_metadata_without_image(root: Path, _target: str) -> Node:
    """F30: what is noted of an image that is gone."""
    image = ImageId(f"sha256:{fresh_names(root).hex64()}")
    put_directory(root / layout.image_metadata(image), 0o700)
    put_file(root / layout.image_metadata(image) / layout.LAST_UPDATED, "2023-05-01T10:00:00Z", 0o600)
    return _metadata(image)


def name_missing_parent(root: Path, image: str) -> Node:
    """F29: the parent that is noted of an image is an image that is not there."""
    return _note(root, image, layout.PARENT, f"sha256:{fresh_names(root).hex64()}")


def empty_last_updated(root: Path, image: str) -> Node:
    """F29: the time that is noted of an image is empty."""
    return _note(root, image, layout.LAST_UPDATED, "")


def _note(root: Path, image: str, name: str, text: str) -> Node:
    home = root / layout.image_metadata(ImageId(image))
    if not home.exists():
        put_directory(home, 0o700)
    put_file(home / name, text, 0o600)
    return _metadata(image)


def spoil_diff_id_of_archive(root: Path, _target: str) -> Node:
    """F32: what the engine knows of a layer's archive is no diff id."""
    return _remember(root, "diffid-by-digest", b"sha256:")


def empty_sources_of_layer(root: Path, _target: str) -> Node:
    """F32: where a layer came from is an empty file."""
    return _remember(root, "v2metadata-by-diffid", b"")


def _remember(root: Path, kind: str, data: bytes) -> Node:
    record = f"{kind}/sha256/{fresh_names(root).hex64()}"
    path = root / layout.distribution() / record
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    put_file(path, data)
    return Node(NodeKind.DISTRIBUTION_RECORD, record)


def _metadata(image: str) -> Node:
    return Node(NodeKind.IMAGE_METADATA, image)
