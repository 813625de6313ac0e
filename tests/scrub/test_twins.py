"""A damaged file is taken from another layer only if the whole stream proves it (S17)."""

from __future__ import annotations

import os

import pytest
from support.layers import Member, folder, written

from gcd.model.ids import LayerDirId
from gcd.root.tree import open_root
from gcd.scrub import twins
from gcd.scrub.twins import whole_content

CONTENT = b"content of a\n" * 100
SOUND = (folder("d"), Member("d/a", CONTENT), Member("big", b"b" * 700_000))
OTHER = LayerDirId("d" * 64)


@pytest.fixture
def damaged(tmp_path):
    """A layer whose file ``d/a`` is empty, and another one that holds its content elsewhere."""
    layer = written(tmp_path, SOUND)
    other = written(tmp_path, [Member("elsewhere", CONTENT)], OTHER)
    (diff_of(tmp_path, layer) / "d/a").write_bytes(b"")
    return layer, other


def diff_of(root, layer):
    return root / "overlay2" / layer.layer_dir / "diff"


def asked(root, layer, *others):
    with open_root(str(root)) as directory:
        return whole_content(directory, layer, others)


def test_the_copy_is_found_and_nothing_is_written(damaged, tmp_path):
    layer, other = damaged

    assert asked(tmp_path, layer, other) == {"d/a": CONTENT}
    assert (diff_of(tmp_path, layer) / "d/a").read_bytes() == b""


def test_a_copy_that_is_damaged_itself_is_none(damaged, tmp_path):
    layer, other = damaged
    (diff_of(tmp_path, other) / "elsewhere").write_bytes(CONTENT.swapcase())

    assert asked(tmp_path, layer, other) == "no other layer holds d/a whole"


def test_a_copy_that_is_a_symlink_is_not_followed(damaged, tmp_path):
    layer, other = damaged
    (diff_of(tmp_path, other) / "elsewhere").rename(tmp_path / "outside")
    (diff_of(tmp_path, other) / "elsewhere").symlink_to(tmp_path / "outside")

    assert asked(tmp_path, layer, other) == "no other layer holds d/a whole"


def test_a_checksum_is_no_proof(damaged, tmp_path, monkeypatch):
    """Another content of the same size and CRC-64: the stream tells."""
    layer, other = damaged
    monkeypatch.setattr(twins, "_content", lambda *_: CONTENT.swapcase())

    assert asked(tmp_path, layer, other) == "with the copies that were found its stream does not give its diff id"


def test_other_damage_that_no_copy_mends_stops_it(damaged, tmp_path):
    layer, other = damaged
    (diff_of(tmp_path, layer) / "big").unlink()

    assert asked(tmp_path, layer, other) == "its files cannot be read (ENOENT)"


def test_a_file_with_other_names_is_left_alone(damaged, tmp_path):
    layer, other = damaged
    os.link(diff_of(tmp_path, layer) / "d/a", tmp_path / "name")

    assert asked(tmp_path, layer, other) == "d/a has other names, which would keep what is damaged"


def test_a_file_with_attributes_is_left_alone(damaged, tmp_path):
    layer, other = damaged
    os.setxattr(diff_of(tmp_path, layer) / "d/a", "user.x", b"y")

    assert asked(tmp_path, layer, other) == "d/a has attributes, which a new file would not have"


def test_much_is_left_alone(damaged, tmp_path, monkeypatch):
    layer, other = damaged
    monkeypatch.setattr(twins, "MOST_BYTES", len(CONTENT) - 1)

    assert asked(tmp_path, layer, other) == "its damaged files have more than 0 MiB"


def test_of_a_sound_layer_nothing_is_to_be_written(damaged, tmp_path):
    _, other = damaged

    assert asked(tmp_path, other) == "no file in it has other content than it should"
