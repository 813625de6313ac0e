import base64
import gzip
import hashlib
import io
import json
import stat
import tarfile

import pytest

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.tarsplit import HardLinkTo, SymlinkTo, crc64_iso, pack
from gcd.formats.bolt import parse_database

RICH = {
    "bin/tool": b"#!/bin/sh\n" * 200,
    "bin/alias": SymlinkTo("tool"),
    "bin/tool2": HardLinkTo("bin/tool"),
    "etc/" + "x" * 150: b"a name that needs a PAX header",
    "etc/empty": b"",
}


def hex_of(digest):
    return digest.removeprefix("sha256:")


def record_of(root, layer):
    home = root.path / "image/overlay2/layerdb/sha256" / hex_of(layer.chain_id)
    return {path.name: path.read_bytes() for path in home.iterdir()}


def rebuilt(tar_split, diff):
    """The stream that a tar-split and a layer's files give, checking each CRC."""
    stream = b""
    for line in gzip.decompress(tar_split).splitlines():
        entry = json.loads(line)
        if entry["type"] == 2:
            stream += base64.b64decode(entry["payload"])
        elif entry.get("size"):
            data = (diff / entry["name"]).read_bytes()
            assert base64.b64decode(entry["payload"]) == crc64_iso(data).to_bytes(8)
            stream += data
    return stream


def modes(path):
    return {entry.name: oct(stat.S_IMODE(entry.lstat().st_mode)) for entry in path.iterdir()}


@pytest.fixture
def root(tmp_path):
    return DockerRoot(tmp_path / "docker")


def test_crc_is_the_one_that_an_engine_stored():
    assert base64.b64encode(crc64_iso(b"a\n").to_bytes(8)) == b"YUQgAAAAAAA="


def test_stream_of_a_layer_is_a_tar_of_its_content():
    with tarfile.open(fileobj=io.BytesIO(pack(RICH).stream)) as tar:
        names = tar.getnames()
        assert names == ["bin", "bin/alias", "bin/tool", "bin/tool2", "etc", "etc/empty", "etc/" + "x" * 150]
        assert tar.extractfile("bin/tool2").read() == RICH["bin/tool"]


def test_diff_id_comes_back_from_the_tar_split_and_the_files_of_the_layer(root):
    image = root.image("rich:1", layers=[RICH])

    record = record_of(root, image.top)
    stream = rebuilt(record["tar-split.json.gz"], root.path / "overlay2" / image.top.cache_id / "diff")

    assert "sha256:" + hashlib.sha256(stream).hexdigest() == record["diff"].decode() == image.top.diff_id
    assert int(record["size"]) == 2000 + 30 + len("tool")


def test_chain_ids_are_computed_and_recorded(root):
    base, middle, top = root.image("web:1", layers=3).layers

    assert base.chain_id == base.diff_id
    expected = hashlib.sha256(f"{base.chain_id} {middle.diff_id}".encode()).hexdigest()
    assert hex_of(middle.chain_id) == expected
    assert set(record_of(root, base)) == {"diff", "size", "cache-id", "tar-split.json.gz"}
    assert record_of(root, top)["parent"].decode() == middle.chain_id
    assert record_of(root, top)["cache-id"].decode() == top.cache_id


def test_lower_names_all_layers_below_nearest_first(root):
    base, middle, top = root.image("web:1", layers=3).layers
    overlay2 = root.path / "overlay2"

    assert not (overlay2 / base.cache_id / "lower").exists()
    assert not (overlay2 / base.cache_id / "work").exists()
    assert (overlay2 / middle.cache_id / "lower").read_text() == f"l/{base.link}"
    assert (overlay2 / top.cache_id / "lower").read_text() == f"l/{middle.link}:l/{base.link}"
    assert [(overlay2 / layer.cache_id / "committed").exists() for layer in (base, middle, top)] == [True, True, False]
    assert str((overlay2 / "l" / top.link).readlink()) == f"../{top.cache_id}/diff"


def test_image_id_is_the_digest_of_the_config(root):
    image = root.image("web:1", layers=2)

    config = (root.path / "image/overlay2/imagedb/content/sha256" / hex_of(image.id)).read_bytes()

    assert hashlib.sha256(config).hexdigest() == hex_of(image.id)
    assert json.loads(config)["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]


def test_images_share_the_layers_of_their_base(root):
    base = root.image("base:1", layers=2)
    web = root.image("web:1", base=base, layers=1)
    api = root.image("api:1", base=base, layers=1)

    assert web.layers[:2] == api.layers[:2] == base.layers
    assert web.top != api.top
    assert len(list((root.path / "image/overlay2/layerdb/sha256").iterdir())) == 4


def test_image_without_layers_has_no_diff_ids_and_its_container_no_parent(root):
    image = root.image("empty:1", layers=0)
    container = root.container("c", image=image)

    config = (root.path / "image/overlay2/imagedb/content/sha256" / hex_of(image.id)).read_bytes()
    mounts = root.path / "image/overlay2/layerdb/mounts" / container.id

    assert json.loads(config)["rootfs"] == {"type": "layers"}
    assert modes(mounts) == {"mount-id": "0o644", "init-id": "0o644"}
    assert not (root.path / "overlay2" / container.rw.init_id / "lower").exists()


def test_deepest_image_is_of_125_layers(root):
    image = root.image("deep:1", layers=125)

    lower = (root.path / "overlay2" / image.top.cache_id / "lower").read_text()

    assert len(lower) == 29 * 124 - 1
    with pytest.raises(ValueError, match="125"):
        root.image("deeper:1", base=image, layers=1)


def test_container_lies_on_its_init_layer_and_that_on_the_image(root):
    image = root.image("web:1", layers=2)
    container = root.container("web", image=image, content={"data/x": b"written"})
    overlay2, rw = root.path / "overlay2", container.rw

    assert (overlay2 / rw.init_id / "lower").read_text() == f"l/{image.layers[1].link}:l/{image.layers[0].link}"
    assert (overlay2 / rw.mount_id / "lower").read_text() == (
        f"l/{rw.init_link}:l/{image.layers[1].link}:l/{image.layers[0].link}"
    )
    assert (overlay2 / rw.mount_id / "diff/data/x").read_bytes() == b"written"
    assert not (overlay2 / rw.mount_id / "committed").exists()
    mounts = root.path / "image/overlay2/layerdb/mounts" / container.id
    assert (mounts / "init-id").read_text() == rw.mount_id + "-init"
    assert (mounts / "parent").read_text() == image.top.chain_id
    config = json.loads((root.path / "containers" / container.id / "config.v2.json").read_text())
    assert (config["ID"], config["Image"], config["Name"]) == (container.id, image.id, "/web")


def test_image_mount_has_a_record_below_its_container_and_no_init_layer(root):
    container = root.container("web", image=root.image("web:1"))
    rw = root.image_mount(container, root.image("docker.example/lib/tools:1"), "/tools")

    assert rw.name == f"{container.id}-docker.example/lib/tools:1"
    assert modes(root.path / "image/overlay2/layerdb/mounts" / rw.name) == {"mount-id": "0o644", "parent": "0o644"}
    config = json.loads((root.path / "containers" / container.id / "config.v2.json").read_text())
    assert config["MountPoints"]["/tools"]["ID"] == rw.name


def test_build_snapshots_of_all_five_kinds(root):
    base = root.image("base:1")
    source = root.build_source()
    first = root.build_step(base.top)
    second = root.build_step(first)
    exported = root.build_export(first, parent=base.top)
    lease = root.build_on_layer(base.top)
    root.write()

    found = parse_database((root.path / "buildkit/snapshots.db").read_bytes()).root.buckets
    assert {name.decode(): dict(bucket.values) for name, bucket in found.items()} == {
        source.dir_id: {b"parent": b""},
        first.dir_id: {b"parent": base.top.chain_id.encode(), b"iscommitted": b""},
        first.name: {b"committed": first.dir_id.encode(), b"chainid": exported.chain_id.encode()},
        second.dir_id: {b"parent": first.name.encode(), b"iscommitted": b""},
        second.name: {b"committed": second.dir_id.encode()},
        base.top.chain_id: {},
        lease: {b"chainid": base.top.chain_id.encode()},
    }
    leases = parse_database((root.path / "buildkit/containerdmeta.db").read_bytes()).root.find(
        b"v1", b"buildkit", b"leases"
    )
    records = parse_database((root.path / "buildkit/metadata_v2.db").read_bytes()).root.find(b"_main")
    named = {name.encode() for name in (source.name, first.name, second.name, lease)}
    assert set(leases.buckets) == named
    (of_content,) = set(records.buckets) - named
    assert records.buckets[of_content].values[b"cache.equalMutable"] == f'{{"value":"{source.name}"}}'.encode()
    assert exported.cache_id == first.dir_id
    assert len(exported.cache_id) == 25


def test_duplicate_dirs_are_named_by_nothing_but_a_lower(root):
    base = root.image("base:1", layers=2)
    upper = root.duplicate_dirs(base)
    image = root.image("web:1", base=base, layers=1, above=upper)

    lower = (root.path / "overlay2" / image.top.cache_id / "lower").read_text()
    assert lower.split(":")[0] == f"l/{root.link_of(upper)}"
    assert record_of(root, image.top)["parent"].decode() == base.top.chain_id
    named = {record_of(root, layer)["cache-id"].decode() for layer in root.layers.values()}
    assert upper not in named


def test_removal_renames_the_record_as_the_engine_does(root):
    layer = root.layer()
    removal = root.removal(layer, keep_dir=False)

    assert removal.name.startswith(hex_of(layer.chain_id) + "-")
    assert [path.name for path in (root.path / "image/overlay2/layerdb/sha256").iterdir()] == [removal.name]
    assert not (root.path / "overlay2" / layer.cache_id).exists()
    assert list((root.path / "overlay2/l").iterdir()) == []


def test_references_are_sorted_into_their_repositories(root):
    image = root.image("registry.example:5000/lib/web:1")
    root.tag(image.id, "web@sha256:" + "0" * 64)
    root.write()

    assert json.loads((root.path / "image/overlay2/repositories.json").read_text()) == {
        "Repositories": {
            "registry.example:5000/lib/web": {"registry.example:5000/lib/web:1": image.id},
            "web": {"web@sha256:" + "0" * 64: image.id},
        }
    }


def test_same_seed_gives_the_same_root_and_another_seed_other_ids(tmp_path):
    def build(name, seed):
        with DockerRoot(tmp_path / name, seed=seed) as root:
            return root.container("c", image=root.image("web:1", layers=2)), root.build_step()

    assert build("a", 1) == build("b", 1)
    assert build("c", 2)[0].rw != build("d", 1)[0].rw


def test_root_that_is_there_is_never_written_to(tmp_path):
    with pytest.raises(FileExistsError):
        DockerRoot(tmp_path)
    assert list(tmp_path.iterdir()) == []
