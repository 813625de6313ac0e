"""Whiteouts and opaque directories: only what changes what is seen is damage, in whichever way the engine made them."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest
from support.layers import CACHE_ID, Member, folder, verdict_on, written

from gcd.model.content import Damage, Depth, Soundness
from gcd.model.ids import LayerDirId
from gcd.scrub.layer import Manner

FULL = Manner(Depth.FULL)
LOWER = LayerDirId("b" * 64)
BELOW = (folder("d"), folder("d/e"), Member("d/e/f", b"below"), Member("d/x", b"below"), Member("x", b"below"))


@pytest.fixture
def stacked(tmp_path):
    """Writes a layer on top of one with `BELOW`, and gives it with its ``diff``."""
    lower = written(tmp_path, BELOW, LOWER)

    def write(*members):
        layer = written(tmp_path, members)
        record = tmp_path / "image/overlay2/layerdb/sha256" / layer.chain[7:]
        (record / "parent").write_text(lower.chain)
        return layer, tmp_path / "overlay2" / CACHE_ID / "diff"

    return write


def whiteout(path):
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def told(verdict):
    return verdict.soundness, [(d.path, d.damage) for d in verdict.differences]


@pytest.mark.parametrize("name", ["x", "d/x", "d/e"])
def test_a_whiteout_that_is_lost_shows_what_it_hid(tmp_path, stacked, name):
    layer, diff = stacked(folder("d"), Member(str(Path(name).with_name(f".wh.{Path(name).name}"))))

    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.DAMAGED, [(name, Damage.MISSING)])
    whiteout(diff / name)
    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.VERIFIED, [])


def test_a_whiteout_of_what_is_not_below_may_be_left_out(tmp_path, stacked):
    layer, _ = stacked(folder("d"), Member("d/.wh.never"), Member("away/.wh.never"))

    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.UNVERIFIABLE, [])


def test_in_an_opaque_directory_no_whiteout_is_needed(tmp_path, stacked):
    layer, diff = stacked(folder("d"), Member("d/.wh.x"))
    os.setxattr(diff / "d", "trusted.overlay.opaque", b"y")

    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.UNVERIFIABLE, [])


def test_a_directory_that_is_opaque_by_whiteouts_alone(tmp_path, stacked):
    layer, diff = stacked(folder("d"), Member("d/.wh..wh..opq"), Member("d/new", b"new"))
    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.DAMAGED, [("d", Damage.TRANSPARENT)])

    whiteout(diff / "d/x")
    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.DAMAGED, [("d", Damage.TRANSPARENT)])
    whiteout(diff / "d/e")
    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.UNVERIFIABLE, [])


def test_an_opaque_directory_with_nothing_below(tmp_path, stacked):
    layer, _ = stacked(folder("n"), Member("n/.wh..wh..opq"), Member("away/.wh..wh..opq"))

    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.UNVERIFIABLE, [])


def test_a_whiteout_that_the_stream_does_not_have(tmp_path, stacked):
    layer, diff = stacked(folder("d"))

    whiteout(diff / "d/never")
    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.UNVERIFIABLE, [])
    whiteout(diff / "d/x")
    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.DAMAGED, [("d/x", Damage.EXTRA)])


def test_a_link_to_what_is_below_brings_it_up(tmp_path, stacked):
    layer, diff = stacked(Member("l", type=tarfile.LNKTYPE, link="x"))
    (diff / "x").write_bytes(b"below")
    os.link(diff / "x", diff / "l")

    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.UNVERIFIABLE, [])


def test_what_is_hidden_below_already_is_not_shown(tmp_path, stacked):
    layer, _ = stacked(folder("d"), Member("d/.wh.x"))
    lower = tmp_path / "overlay2" / LOWER / "diff/d/x"
    lower.unlink()
    whiteout(lower)

    assert told(verdict_on(tmp_path, layer, FULL)) == (Soundness.UNVERIFIABLE, [])
