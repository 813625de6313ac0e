"""
The paths that findings name: where in a Docker root a thing lies.

Relative to the root, without a leading slash, for roots of the overlay2 driver. `gcd.root.layout` spells the same
places for those that read them, and a test holds the two equal. An id is taken as it is: it must come from an inventory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gcd.model.ids import ChainId, ContainerId, ImageId, LayerDirId, LinkId, RwLayerName

LINK_FARM: Final = "overlay2/l"
REPOSITORIES: Final = "image/overlay2/repositories.json"

_LAYERDB: Final = "image/overlay2/layerdb"
_WRITE_SETS: Final = _LAYERDB + "/tmp"
_IMAGEDB: Final = "image/overlay2/imagedb"


def layer_dir_path(layer_dir: LayerDirId) -> str:
    return f"overlay2/{layer_dir}"


def link_path(link: LinkId) -> str:
    return f"{LINK_FARM}/{link}"


def link_target(layer_dir: LayerDirId) -> str:
    """The text of the symlink in the link farm that stands for `layer_dir`."""
    return f"../{layer_dir}/diff"


def layer_record_path(chain: ChainId) -> str:
    return f"{_LAYERDB}/sha256/{_hex(chain)}"


def removing_record_path(name: str) -> str:
    return f"{_LAYERDB}/sha256/{name}"


def write_set_path(name: str) -> str:
    return f"{_WRITE_SETS}/{name}"


def rw_layer_path(name: RwLayerName) -> str:
    return f"{_LAYERDB}/mounts/{name}"


def image_config_path(image: ImageId) -> str:
    return f"{_IMAGEDB}/content/sha256/{_hex(image)}"


def image_metadata_path(image: ImageId) -> str:
    return f"{_IMAGEDB}/metadata/sha256/{_hex(image)}"


def container_path(container: ContainerId) -> str:
    return f"containers/{container}"


def build_database_path(name: str) -> str:
    return f"buildkit/{name}"


def _hex(digest: ChainId | ImageId) -> str:
    return digest.removeprefix("sha256:")
