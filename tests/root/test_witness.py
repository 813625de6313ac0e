from __future__ import annotations

import os

import pytest

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.tarsplit import Folder, HardLinkTo, SymlinkTo
from gcd.root.tree import open_root
from gcd.root.witness import MAX_COPIES, RootWitness

CONTENT = {"a": b"x" * 5, "b": b"y" * 7, "c": SymlinkTo("a"), "d": HardLinkTo("a"), "e": Folder()}
SECOND = 1_000_000_000


@pytest.fixture
def built(tmp_path):
    root = DockerRoot(tmp_path / "docker")
    image = root.image("web:1", layers=[CONTENT])
    root.write()
    return root.path, image.layers[0]


def ask(root, question):
    with open_root(str(root)) as directory:
        return question(RootWitness(directory))


def test_the_size_of_a_layer_is_that_of_its_files(built):
    root, layer = built

    assert ask(root, lambda witness: witness.layer_size(layer.chain_id)) == 12


@pytest.mark.parametrize("spoil", ["cut", "drop", "directory"])
def test_a_layer_whose_tar_split_cannot_be_read_has_no_size(built, spoil):
    root, layer = built
    path = root / "image/overlay2/layerdb/sha256" / layer.chain_id.removeprefix("sha256:") / "tar-split.json.gz"
    if spoil == "cut":
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.unlink()
        if spoil == "directory":
            path.mkdir()

    assert ask(root, lambda witness: witness.layer_size(layer.chain_id)) is None


@pytest.mark.root
def test_what_a_dir_lacks(built):
    root, layer = built

    assert ask(root, lambda w: w.lacks(layer.cache_id, layer.chain_id, layer.diff_id)) == ""
    assert ask(root, lambda w: w.lacks("f" * 64, layer.chain_id, layer.diff_id)) == "its diff cannot be opened"
    assert ask(root, lambda w: w.lacks(layer.cache_id, "sha256:0", layer.diff_id)) == "the tar-split cannot be read"


def put(path, content, second):
    path.write_bytes(content)
    os.utime(path, ns=(second * SECOND, second * SECOND))


def copies(root, path="volumes/note"):
    return ask(root, lambda witness: witness.newer_copies(path))


def test_copies_that_were_written_later_newest_first(built):
    root, _ = built
    put(root / "volumes/note", b"damaged", 100)
    put(root / "volumes/.tmp-note1", b"older", 99)
    put(root / "volumes/.tmp-note2", b"as old", 100)
    put(root / "volumes/.tmp-note3", b"newer", 101)
    put(root / "volumes/.tmp-note4", b"newest", 102)
    put(root / "volumes/.tmp-other", b"another's", 103)

    assert copies(root) == (("volumes/.tmp-note4", b"newest"), ("volumes/.tmp-note3", b"newer"))


def test_all_copies_of_a_file_that_is_gone(built):
    root, _ = built
    put(root / "volumes/.tmp-note1", b"one", 1)

    assert copies(root) == (("volumes/.tmp-note1", b"one"),)


def test_what_is_no_file_is_no_copy(built):
    root, _ = built
    (root / "volumes/.tmp-note1").symlink_to("/etc/hostname")
    os.mkfifo(root / "volumes/.tmp-note2")
    (root / "volumes/.tmp-note3").mkdir()
    (root / "volumes/.tmp-note4").write_bytes(b"")

    assert copies(root) == ()
    assert copies(root, "nowhere/note") == ()


def test_copies_are_not_read_without_end(built):
    root, _ = built
    for number in range(MAX_COPIES + 5):
        put(root / f"volumes/.tmp-note{number:03}", b"x", 1)

    assert len(copies(root)) == MAX_COPIES
