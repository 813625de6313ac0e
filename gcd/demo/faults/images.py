"""Planters of faults of images (GCD401-402)."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

from gcd.demo.faults.fault import layer_record
from gcd.demo.placing import put_file
from gcd.model import layout
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ImageId, chain_ids

if TYPE_CHECKING:
    from pathlib import Path


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
