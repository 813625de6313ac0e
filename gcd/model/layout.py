"""
The one place that spells the paths of a Docker root.

::

    <root>/
    ├── overlay2/                           the driver's home; also named after other drivers
    │   ├── <layer dir id>/                 64 hex digits, those with -init, or a BuildKit id
    │   │   ├── diff/                       the layer's own files
    │   │   ├── link                        its link id
    │   │   ├── lower                       l/<link id>:…, nearest first; none in a base layer
    │   │   ├── work/                       none in a base layer
    │   │   ├── merged/                     the mountpoint, while mounted
    │   │   └── committed                   once a child was made
    │   ├── l/<link id> -> ../<layer dir id>/diff
    │   └── backingFsBlockDev               a device node, on xfs
    ├── image/overlay2/
    │   ├── layerdb/
    │   │   ├── sha256/<chain>/             {diff,size,cache-id,parent,descriptor.json,tar-split.json.gz}
    │   │   ├── sha256/<chain>-<64 hex>-removing/
    │   │   ├── mounts/<rw layer name>/     {mount-id,init-id,parent}; the name may hold slashes
    │   │   └── tmp/write-set-<digits>/
    │   ├── imagedb/
    │   │   ├── content/sha256/<image>      the image config
    │   │   └── metadata/sha256/<image>/    {parent,lastUpdated}
    │   ├── distribution/               {diffid-by-digest,v2metadata-by-diffid}/sha256/<hex>
    │   └── repositories.json
    ├── containers/<container id>/          {config.v2.json,hostconfig.json}
    ├── buildkit/                           {snapshots,metadata_v2,containerdmeta}.db
    ├── plugins/<64 hex>/config.json
    ├── volumes/                            metadata.db, <volume>/{_data,opts.json}
    ├── tmp/                                made anew at each start of the engine
    ├── tmp-old/                            the tmp of the engine before, while it is being removed
    └── .gcd/                               gcd's own: what it took from the root (`gcd.actions.place`)

All paths are relative to the root, without a leading slash, and `driver` is the name of the graphdriver whose trees are
meant. Source: moby at v26, the files named in the modules that read each part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gcd.model.ids import ChainId, ContainerId, ImageId, LayerDirId, LinkId, RwLayerName

OVERLAY2: Final = "overlay2"

DIFF: Final = "diff"
LINK: Final = "link"
LOWER: Final = "lower"
WORK: Final = "work"
MERGED: Final = "merged"
COMMITTED: Final = "committed"
LINK_FARM: Final = "l"
BACKING_DEVICE: Final = "backingFsBlockDev"
PROBES: Final = ("check-overlayfs-support", "metacopy-check", "opaque-bug-check", "userxattr-check", "fsutils-dummy")
"""How the names of start-up probes begin beside layer dirs (moby ``overlayutils``, ``overlay2/check.go``)."""

CACHE_ID: Final = "cache-id"
SIZE: Final = "size"
PARENT: Final = "parent"
DESCRIPTOR: Final = "descriptor.json"
TAR_SPLIT: Final = "tar-split.json.gz"
MOUNT_ID: Final = "mount-id"
INIT_ID: Final = "init-id"

LAST_UPDATED: Final = "lastUpdated"

CONTAINERS: Final = "containers"
CONTAINER_CONFIG: Final = "config.v2.json"
HOST_CONFIG: Final = "hostconfig.json"
TEMPORARY_PREFIX: Final = ".tmp-"

BUILDKIT: Final = "buildkit"
BUILD_SNAPSHOTS: Final = "snapshots.db"
BUILD_RECORDS: Final = "metadata_v2.db"
BUILD_LEASES: Final = "containerdmeta.db"
OLD_BUILD_RECORDS: Final = "metadata.db"
"""The cache records of 18.09 and 19.03; later engines turn it into `BUILD_RECORDS` at their first start."""

PLUGINS: Final = "plugins"
PLUGIN_CONFIG: Final = "config.json"
REMOVING_SUFFIX: Final = "-removing"
"""How the names end that the engine gives to plugins which it removes."""
VOLUMES: Final = "volumes"
VOLUME_DATA: Final = "_data"
VOLUME_OPTIONS: Final = "opts.json"
VOLUME_DATABASE: Final = "metadata.db"
NETWORK_DATABASE: Final = "network/files/local-kv.db"
ENGINE_DATABASES: Final = (f"{VOLUMES}/{VOLUME_DATABASE}", NETWORK_DATABASE)
"""The engine's bolt databases besides BuildKit's: it does not start when one is damaged."""
TMP: Final = "tmp"
OLD_TMP: Final = "tmp-old"
ENGINE_TEMPORARIES: Final = ("GetImageBlob", "docker-builder", "docker-import", "docker-export-", "docker-tarsplit")
"""How the names begin that pulls, builds, loads and saves use in `TMP`."""

WRITE_SET_PREFIX: Final = "write-set-"

GCD: Final = ".gcd"
ENTRY_ITEMS: Final = "items"
ENTRY_MANIFEST: Final = "manifest.json"
ENTRY_NEW_MANIFEST: Final = "manifest.new"
"""What it is called while nothing of the entry is taken."""


def layer_dir(dir_id: LayerDirId, driver: str = OVERLAY2) -> str:
    return f"{driver}/{dir_id}"


def link_farm(driver: str = OVERLAY2) -> str:
    return f"{driver}/{LINK_FARM}"


def link_symlink(link: LinkId, driver: str = OVERLAY2) -> str:
    return f"{driver}/{LINK_FARM}/{link}"


def link_target(dir_id: LayerDirId) -> str:
    """The text of the symlink in the link farm that stands for `dir_id`."""
    return f"../{dir_id}/{DIFF}"


def image_tree(driver: str = OVERLAY2) -> str:
    return f"image/{driver}"


def layerdb(driver: str = OVERLAY2) -> str:
    return f"image/{driver}/layerdb"


def layer_records(driver: str = OVERLAY2) -> str:
    return f"{layerdb(driver)}/sha256"


def layer_record(chain: ChainId, driver: str = OVERLAY2) -> str:
    return f"{layer_records(driver)}/{_hex(chain)}"


def removing_record(name: str, driver: str = OVERLAY2) -> str:
    return f"{layer_records(driver)}/{name}"


def rw_layer_records(driver: str = OVERLAY2) -> str:
    return f"{layerdb(driver)}/mounts"


def rw_layer_record(name: RwLayerName, driver: str = OVERLAY2) -> str:
    return f"{rw_layer_records(driver)}/{name}"


def write_sets(driver: str = OVERLAY2) -> str:
    return f"{layerdb(driver)}/{TMP}"


def write_set(name: str, driver: str = OVERLAY2) -> str:
    return f"{write_sets(driver)}/{name}"


def imagedb(driver: str = OVERLAY2) -> str:
    return f"image/{driver}/imagedb"


def image_configs(driver: str = OVERLAY2) -> str:
    return f"{imagedb(driver)}/content/sha256"


def image_config(image: ImageId, driver: str = OVERLAY2) -> str:
    return f"{image_configs(driver)}/{_hex(image)}"


def image_metadata_records(driver: str = OVERLAY2) -> str:
    return f"{imagedb(driver)}/metadata/sha256"


def image_metadata(image: ImageId, driver: str = OVERLAY2) -> str:
    return f"{image_metadata_records(driver)}/{_hex(image)}"


def repositories(driver: str = OVERLAY2) -> str:
    return f"image/{driver}/repositories.json"


def distribution(driver: str = OVERLAY2) -> str:
    return f"image/{driver}/distribution"


def container(container_id: ContainerId) -> str:
    return f"{CONTAINERS}/{container_id}"


def build_database(name: str) -> str:
    return f"{BUILDKIT}/{name}"


def plugin(plugin_id: str) -> str:
    return f"{PLUGINS}/{plugin_id}"


def volume(name: str) -> str:
    return f"{VOLUMES}/{name}"


def _hex(digest: ChainId | ImageId) -> str:
    return digest.removeprefix("sha256:")
