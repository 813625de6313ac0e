"""
The example root of the article that this project grew from, with the article's own ids.

An Alibaba Cloud host with Docker 18.06 to 19.03 (no ``metadata_v2.db``, layer dirs of mode 0700), image
``russellgao/openresty:1.17.8.2-5-alpine``, container ``openresty-app-1``, as the article shows them after the container
was made anew: four layers, a rw dir with its init dir, six symlinks. Every id, digest, size, `lower` and the whole
image config are the article's (the config is byte for byte the original: its SHA-256 is the image id). What the article
does not show is invented: the files of the layers (so nothing here has the diff id that it claims) and the containers'
JSON beyond the keys that matter.

BuildKit's cache of that engine is in ``metadata.db``, which gcd does not read; `write_article` leaves it out unless
asked and writes the empty databases of 20.10 instead, as that engine's next version would have at its first start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gcd.demo.boltfile import write_database
from gcd.demo.buildcache import BuildDatabases
from gcd.demo.configs import container_config, host_config, state
from gcd.demo.placing import (
    compact,
    put_committed,
    put_directory,
    put_file,
    put_image,
    put_layer_dir,
    put_layer_record,
    put_rw_layer_record,
)
from gcd.demo.tarsplit import PackedLayer, pack
from gcd.model import layout
from gcd.model.ids import ChainId, ContainerId, DiffId, ImageId, LayerDirId, LinkId, RwLayerName

IMAGE: Final = ImageId("sha256:1ddc7a18ba0bcc20c61447f391bfff98ac559eea590e7ac59b5b5f588f1f47ed")
CONTAINER: Final = ContainerId("4ec800c3ec10654a6ea2b2317ac198514748464a217ef63bb58ef67874a79ae0")
MOUNT_ID: Final = LayerDirId("b04b728c94b5a269e9d102329c930e3781212717e830e1941e1008088d823cdc")
INIT_ID: Final = LayerDirId("b04b728c94b5a269e9d102329c930e3781212717e830e1941e1008088d823cdc-init")
RW_LINK: Final = LinkId("2NFRHNZBFYCUAPMTFCKUR5R4DS")
INIT_LINK: Final = LinkId("BGEYC7V6ULKFOOIITWCEKITQEU")
CONFIG: Final = Path(__file__).parent.parent / "data/article/image-config.json"


@dataclass(frozen=True, slots=True)
class ArticleLayer:
    diff_id: DiffId
    chain_id: ChainId
    cache_id: LayerDirId
    link: LinkId
    size: int


LAYERS: Final = (
    ArticleLayer(
        DiffId("sha256:50644c29ef5a27c9a40c393a73ece2479de78325cae7d762ef3cdc19bf42dd0a"),
        ChainId("sha256:50644c29ef5a27c9a40c393a73ece2479de78325cae7d762ef3cdc19bf42dd0a"),
        LayerDirId("8cbfb8b74c887e780747c8e6f4b3b9223a513ff6d69770bac16abb76da4e314f"),
        LinkId("MUHXHRXFSGNCBKQ2AUXDFOUDLF"),
        5574537,
    ),
    ArticleLayer(
        DiffId("sha256:9c572ba82b91e3ac35c7351bdacc6876c67f5d9bc69c5e51e8b2deeafae95e4f"),
        ChainId("sha256:fe267088885017d5e9a4621e68617a7f35e58dc2d0d747927882da21059854e3"),
        LayerDirId("f1cf8b173467c98e08f3d276d7ccd8f9892c7c71dec2c4b335c39c6f175ae744"),
        LinkId("33RV26M4VMX3ZUISOG26USXBKR"),
        98318464,
    ),
    ArticleLayer(
        DiffId("sha256:1680a9f16b18732726d0656b6d6ff9611a3c4460ca870827b537a87bbe10cc22"),
        ChainId("sha256:5f72760956a669e4c9b33aa3f2f04baa84b0f4cf1e11676049981bafcbba74da"),
        LayerDirId("00b65b9c288df8c0ae7cdacba531a7dc5cb006e6c768e19ee36055717b782acc"),
        LinkId("HG76ICE67NTXFL7AYXCMI3EK4Y"),
        1762,
    ),
    ArticleLayer(
        DiffId("sha256:8521b614863046bf4bb604e3586feeca8b7ce1372f1d6664a5545e85ad9ca472"),
        ChainId("sha256:228fb92e31891f472e9857ee11d13c404ff7c88e808b05ce4ebdc80d785d71f3"),
        LayerDirId("5da215c4f218cbb1d9825fa111c21bf381dc35a9e6c7c6cd5c3ea952316031e4"),
        LinkId("L5XCYQVZ6DOSLJNP6HXCZQZ7A5"),
        1591,
    ),
)

REFERENCES: Final = (
    "openresty/openresty:1.17.8.2-5-alpine",
    "openresty/openresty@sha256:224ced85b5f8b679a8664a39b69c1b8feb09f8ba4343d834bd5b69433081389e",
    "russellgao/openresty:1.17.8.2-5-alpine",
    "russellgao/openresty@sha256:84f53dc7517e9b6695fc8fd74916a1eb5970a92fc24a984f99bfb81508f3d261",
)

BLOBS: Final = {
    "df20fa9351a15782c64e6dddb2d4a6f50bf6d3688060a34c4014b0d9a752eb4c": LAYERS[0],
    "5682af42731d652bd98d2456ed3da4f0595ed5d9e5b13ac8bb9590bb74f72eb8": LAYERS[1],
    "7c6cb2b54a9d9d40c4a03dd6615b1c8e791feb5d81464a7702a9bb921f7a73e9": LAYERS[2],
    "aa74dc3450985aee599c181d650da8f8880ca1d6e2bc01a43831ca59b6e2a7b6": LAYERS[3],
}
"""The blobs in ``distribution/``, with the layer each is of (one pair is shown, the others follow the pull's order)."""

_DIRECTORIES = (
    ("builder", 0o700),
    ("buildkit", 0o711),
    ("buildkit/content", 0o755),
    ("buildkit/executor", 0o711),
    ("containers", 0o700),
    ("image", 0o700),
    ("image/overlay2", 0o700),
    ("image/overlay2/distribution", 0o700),
    ("image/overlay2/distribution/diffid-by-digest", 0o755),
    ("image/overlay2/distribution/diffid-by-digest/sha256", 0o755),
    ("image/overlay2/distribution/v2metadata-by-diffid", 0o755),
    ("image/overlay2/distribution/v2metadata-by-diffid/sha256", 0o755),
    ("image/overlay2/imagedb", 0o700),
    ("image/overlay2/imagedb/content", 0o700),
    ("image/overlay2/imagedb/content/sha256", 0o700),
    ("image/overlay2/imagedb/metadata", 0o700),
    ("image/overlay2/imagedb/metadata/sha256", 0o700),
    ("image/overlay2/layerdb", 0o700),
    ("image/overlay2/layerdb/mounts", 0o755),
    ("image/overlay2/layerdb/sha256", 0o755),
    ("image/overlay2/layerdb/tmp", 0o755),
    ("network", 0o750),
    ("network/files", 0o750),
    ("overlay2", 0o700),
    ("overlay2/l", 0o700),
    ("plugins", 0o700),
    ("plugins/storage", 0o755),
    ("plugins/tmp", 0o700),
    ("runtimes", 0o700),
    ("swarm", 0o700),
    ("tmp", 0o700),
    ("trust", 0o700),
    ("volumes", 0o700),
)


def write_article(root: Path, *, with_old_build_records: bool = False) -> Path:
    """Write the article's root to `root`, which must not exist, and give it back."""
    put_directory(root, 0o711)
    for name, mode in _DIRECTORIES:
        put_directory(root / name, mode)
    put_file(root / "builder/fscache.db", write_database({}), 0o600)
    put_file(root / "volumes/metadata.db", write_database({"volumes": {}}), 0o600)
    _write_builds(root, with_old_build_records=with_old_build_records)
    _write_layers(root)
    _write_image(root)
    _write_container(root)
    return root


def _write_builds(root: Path, *, with_old_build_records: bool) -> None:
    if with_old_build_records:
        for name in ("cache.db", "metadata.db", "snapshots.db"):
            put_file(root / layout.BUILDKIT / name, write_database({}), 0o600)
    else:
        BuildDatabases().write(root)


def _write_layers(root: Path) -> None:
    lower: tuple[LinkId, ...] = ()
    parent: ChainId | None = None
    for number, layer in enumerate(LAYERS):
        content = {f"invented/{number}": f"the article does not show layer {number}\n".encode()}
        _put_dir(root, layer.cache_id, layer.link, lower, content)
        put_committed(root, layer.cache_id)
        packed = pack(content)
        claimed = PackedLayer(layer.diff_id, packed.stream, packed.tar_split, layer.size, layer.size)
        put_layer_record(root, layer.chain_id, claimed, layer.cache_id, parent, layer.size)
        lower, parent = (layer.link, *lower), layer.chain_id


def _write_image(root: Path) -> None:
    put_image(root, IMAGE, CONFIG.read_bytes(), "2020-11-11T13:35:12.051705855+08:00")
    repositories: dict[str, dict[str, str]] = {}
    for reference in REFERENCES:
        repositories.setdefault(reference.partition(":")[0].partition("@")[0], {})[reference] = IMAGE
    put_file(root / layout.repositories(), compact({"Repositories": repositories}), 0o600)
    distribution = root / layout.image_tree() / "distribution"
    for blob, layer in BLOBS.items():
        diff_hex = layer.diff_id.removeprefix("sha256:")
        put_file(distribution / "diffid-by-digest/sha256" / blob, layer.diff_id)
        source = [{"Digest": f"sha256:{blob}", "SourceRepository": "docker.io/russellgao/openresty", "HMAC": ""}]
        put_file(distribution / "v2metadata-by-diffid/sha256" / diff_hex, compact(source))


def _write_container(root: Path) -> None:
    below = tuple(layer.link for layer in reversed(LAYERS))
    _put_dir(root, INIT_ID, INIT_LINK, below, {".dockerenv": b"", "etc/hosts": b""})
    put_committed(root, INIT_ID)
    written = {"test-layer.20201209.txt": "测试容器的读写层-20201209\n".encode()}
    _put_dir(root, MOUNT_ID, RW_LINK, (INIT_LINK, *below), written)
    put_directory(root / layout.layer_dir(MOUNT_ID) / layout.MERGED, 0o700)
    put_rw_layer_record(root, RwLayerName(CONTAINER), MOUNT_ID, INIT_ID, LAYERS[-1].chain_id)
    home = root / layout.container(CONTAINER)
    put_directory(home, 0o700)
    put_directory(home / "checkpoints", 0o700)
    put_directory(home / "mounts", 0o700)
    config = container_config(
        CONTAINER,
        "openresty-app-1",
        IMAGE,
        REFERENCES[2],
        state(running=True),
        f"/var/lib/docker/containers/{CONTAINER}",
    )
    put_file(home / layout.CONTAINER_CONFIG, compact(config), 0o600)
    put_file(home / layout.HOST_CONFIG, compact(host_config()))
    put_file(home / f"{CONTAINER}-json.log", b"", 0o640)
    for name in ("hostname", "hosts", "resolv.conf", "resolv.conf.hash"):
        put_file(home / name, b"the article does not show this\n")


def _put_dir(
    root: Path, dir_id: LayerDirId, link: LinkId, lower: tuple[LinkId, ...], content: dict[str, bytes]
) -> None:
    put_layer_dir(root, dir_id, link, lower, content)
    (root / layout.layer_dir(dir_id)).chmod(0o700)
