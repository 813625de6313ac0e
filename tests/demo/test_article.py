"""The fixture of the article's root against what the article computes on its own page."""

import hashlib
import time

from support.article import CONFIG, CONTAINER, IMAGE, INIT_ID, LAYERS, MOUNT_ID, write_article

from gcd.demo.faults.overlay2 import add_build_dir
from gcd.formats.imageconfig import parse_image_config
from gcd.model.finding import Kind
from gcd.run import check

HOURS_AHEAD_NS = 2 * 3_600_000_000_000


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


def test_gcd_finds_the_articles_root_whole(tmp_path):
    result = check(str(write_article(tmp_path / "docker")), now_ns=time.time_ns() + HOURS_AHEAD_NS)

    assert result.findings == ()
    assert result.not_checked == ()
    assert (result.summary.layers, result.summary.layer_dirs) == (4, 6)
    assert (result.summary.images, result.summary.containers) == (1, 1)


def test_with_the_cache_records_of_its_own_engine_no_orphan_is_claimed(tmp_path):
    """An orphan put there is not reported: ``metadata.db`` of 19.03, which gcd does not read, might name it."""
    root = write_article(tmp_path / "docker", with_old_build_records=True)
    add_build_dir(root, "")

    result = check(str(root), now_ns=time.time_ns() + HOURS_AHEAD_NS)

    assert [finding.code for finding in result.findings if finding.kind is Kind.ORPHAN] == []
    assert {"GCD101", "GCD102"} <= {rule.code for rule in result.not_checked}
