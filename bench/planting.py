"""Ten faults for the bench's root, each on an image or container of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gcd.demo.faults import containers, layers, overlay2
from gcd.demo.faults.fault import cache_id_of
from gcd.model import layout
from gcd.model.ids import chain_ids

if TYPE_CHECKING:
    from pathlib import Path


def plant_ten(root: Path) -> None:
    chains = sorted(
        {
            chain_ids(tuple(diff_ids))[-1]
            for config in (root / layout.image_configs()).iterdir()
            if (diff_ids := json.loads(config.read_bytes())["rootfs"].get("diff_ids"))
        }
    )
    container = min(path.name for path in (root / layout.CONTAINERS).iterdir())
    overlay2.add_layer_dir(root, "")
    overlay2.add_layer_dir_upon(root, cache_id_of(root, chains[0]))
    overlay2.add_filled_rw_pair(root, "")
    overlay2.add_dangling_symlink(root, "")
    overlay2.drop_link_symlink(root, cache_id_of(root, chains[1]))
    overlay2.empty_link_file(root, cache_id_of(root, chains[2]))
    layers.add_unused_layer(root, "")
    layers.empty_size(root, chains[3])
    layers.cut_tar_split(root, chains[4])
    containers.drop_init_id(root, container)
