"""The fixture of the article's root against what the article computes on its own page."""

import hashlib

from support.article import CONFIG, CONTAINER, IMAGE, INIT_ID, LAYERS, MOUNT_ID, write_article

from gcd.formats.imageconfig import parse_image_config


def test_image_config_is_the_original_byte_for_byte():
    assert "sha256:" + hashlib.sha256(CONFIG.read_bytes()).hexdigest() == IMAGE
    assert parse_image_config(CONFIG.read_bytes()).diff_ids == tuple(layer.diff_id for layer in LAYERS)


def test_chain_ids_are_those_that_the_article_computes():
    chain = LAYERS[0].diff_id
    assert chain == LAYERS[0].chain_id
    for layer in LAYERS[1:]:
        chain = "sha256:" + hashlib.sha256(f"{chain} {layer.diff_id}".encode()).hexdigest()
        assert chain == layer.chain_id


def test_layer_dirs_and_links_are_those_that_the_article_lists(tmp_path):
    overlay2 = write_article(tmp_path / "docker") / "overlay2"

    entries = {path.name: sorted(inner.name for inner in path.iterdir()) for path in overlay2.iterdir()}
    del entries["l"]
    layer = ["committed", "diff", "link", "lower", "work"]
    assert entries == {
        LAYERS[0].cache_id: ["committed", "diff", "link"],
        LAYERS[1].cache_id: layer,
        LAYERS[2].cache_id: layer,
        LAYERS[3].cache_id: layer,
        INIT_ID: layer,
        MOUNT_ID: ["diff", "link", "lower", "merged", "work"],
    }
    assert (overlay2 / LAYERS[3].cache_id / "lower").read_text() == (
        "l/HG76ICE67NTXFL7AYXCMI3EK4Y:l/33RV26M4VMX3ZUISOG26USXBKR:l/MUHXHRXFSGNCBKQ2AUXDFOUDLF"
    )
    assert {path.name: str(path.readlink()) for path in (overlay2 / "l").iterdir()} == {
        (overlay2 / name / "link").read_text(): f"../{name}/diff" for name in entries
    }


def test_container_is_on_the_image(tmp_path):
    mounts = write_article(tmp_path / "docker") / "image/overlay2/layerdb/mounts" / CONTAINER

    assert {path.name: path.read_text() for path in mounts.iterdir()} == {
        "mount-id": "b04b728c94b5a269e9d102329c930e3781212717e830e1941e1008088d823cdc",
        "init-id": "b04b728c94b5a269e9d102329c930e3781212717e830e1941e1008088d823cdc-init",
        "parent": "sha256:228fb92e31891f472e9857ee11d13c404ff7c88e808b05ce4ebdc80d785d71f3",
    }
