"""One layer by hand: what cannot be compared is said and is no damage; nor is what changes while it is read."""

from __future__ import annotations

import errno
import gzip
import os
import socket
import sys
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.compiled import needs_compiled
from support.layers import CACHE_ID, Member, folder, verdict_on, written

from gcd.demo.tarsplit import crc64_iso
from gcd.formats import bundle
from gcd.model.content import Damage, Depth, Soundness
from gcd.root.tree import Directory, Listing
from gcd.scrub import bundles, glance, members, recipe
from gcd.scrub.layer import Manner


@pytest.fixture(params=[pytest.param("compiled", marks=needs_compiled), "python", "one by one"], autouse=True)
def way(request, monkeypatch):
    """How most members are looked at by a quick look."""
    if request.param != "compiled":
        monkeypatch.setattr(bundles, "glance", glance.glance)
        monkeypatch.setattr(recipe, "take_bundle", bundle.take_bundle)
    if request.param == "one by one":
        monkeypatch.setattr(recipe, "take_bundle", lambda *_: None)
    return request.param


QUICK, FULL = Manner(Depth.QUICK), Manner(Depth.FULL)
SOUND = (folder("d"), Member("d/a", b"content of a"), Member("d/b"), Member("big", b"b" * 700_000))


def told(verdict):
    return [(d.path, d.damage, d.found) for d in verdict.differences]


@pytest.mark.parametrize("manner", [QUICK, FULL], ids=["quick", "full"])
def test_a_sound_layer_is_verified(tmp_path, manner):
    verdict = verdict_on(tmp_path, written(tmp_path, SOUND), manner)

    assert (verdict.soundness, verdict.reasons, verdict.files) == (Soundness.VERIFIED, (), 3)
    assert verdict.read_bytes == 700_012
    assert verdict.checked_ns == 1


def test_what_is_expected_and_found_is_said(tmp_path):
    layer = written(tmp_path, SOUND)
    (tmp_path / "overlay2" / CACHE_ID / "diff/d/a").write_bytes(b"content of b")

    verdict = verdict_on(tmp_path, layer, QUICK)

    [difference] = verdict.differences
    assert difference.expected == f"12 bytes, CRC-64 {crc64_iso(b'content of a'):016x}"
    assert difference.found == f"12 bytes, CRC-64 {crc64_iso(b'content of b'):016x}"
    assert (difference.size, difference.crc) == (12, crc64_iso(b"content of a"))


def test_a_checksum_that_was_changed_with_its_file_is_found_by_the_digest_alone(tmp_path):
    layer = written(tmp_path, SOUND)
    other = written(tmp_path / "other", [*SOUND[:-1], Member("big", b"c" * 700_000)])
    record = "image/overlay2/layerdb/sha256/{}/tar-split.json.gz"
    split = (tmp_path / "other" / record.format(other.chain[7:])).read_bytes()
    (tmp_path / record.format(layer.chain[7:])).write_bytes(split)
    (tmp_path / "overlay2" / CACHE_ID / "diff/big").write_bytes(b"c" * 700_000)

    assert verdict_on(tmp_path, layer, QUICK).soundness is Soundness.VERIFIED
    verdict = verdict_on(tmp_path, layer, FULL)
    assert (verdict.soundness, verdict.digest, verdict.differences) == (Soundness.DAMAGED, other.diff_id, ())


def test_below_what_is_gone_nothing_more_is_said(tmp_path):
    layer = written(tmp_path, SOUND)
    diff = tmp_path / "overlay2" / CACHE_ID / "diff"
    (diff / "d").rename(tmp_path / "away")

    assert told(verdict_on(tmp_path, layer, FULL)) == [("d", Damage.MISSING, "absent")]


def test_a_symlink_in_place_of_a_directory_is_not_followed(tmp_path):
    layer = written(tmp_path, SOUND)
    diff = tmp_path / "overlay2" / CACHE_ID / "diff"
    (diff / "d").rename(tmp_path / "away")
    (diff / "d").symlink_to(tmp_path / "away")

    assert told(verdict_on(tmp_path, layer, FULL)) == [("d", Damage.RETYPED, "a symlink")]


def test_a_file_in_a_folder_that_no_member_names_is_found_all_the_same(tmp_path):
    layer = written(tmp_path, [Member("d/e/a", b"x")])
    assert verdict_on(tmp_path, layer, FULL).soundness is Soundness.VERIFIED
    (tmp_path / "overlay2" / CACHE_ID / "diff/d/f").mkdir()

    assert told(verdict_on(tmp_path, layer, FULL)) == [("d/f", Damage.EXTRA, "a directory")]


def test_a_socket_that_a_build_left_is_healthy(tmp_path, monkeypatch):
    layer = written(tmp_path, SOUND)
    monkeypatch.chdir(tmp_path / "overlay2" / CACHE_ID / "diff")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind("d/agent")

    assert verdict_on(tmp_path, layer, FULL).soundness is Soundness.VERIFIED


def test_what_was_unpacked_through_a_symlink_of_the_layer_is_no_extra_file(tmp_path):
    diff = tmp_path / "overlay2" / CACHE_ID / "diff"
    through = [folder("usr/bin"), Member("bin", type=tarfile.SYMTYPE, link="usr/bin"), Member("bin/tool", b"x")]
    layer = written(tmp_path, through)
    (diff / "bin").rename(diff / "usr/bin/moved")
    (diff / "usr/bin/moved/tool").rename(diff / "usr/bin/tool")
    (diff / "usr/bin/moved").rmdir()
    (diff / "bin").symlink_to("usr/bin")

    verdict = verdict_on(tmp_path, layer, FULL)

    assert (verdict.soundness, verdict.differences) == (Soundness.UNVERIFIABLE, ())
    assert verdict.reasons == ("bin/tool is reached through a symlink or lies in what is no directory",)


def test_of_two_members_at_one_place_the_last_one_stays(tmp_path):
    layer = written(tmp_path, [Member(".wh.x"), Member("x", b"after it")])

    assert verdict_on(tmp_path, layer, FULL).soundness is Soundness.VERIFIED


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (Member("l", type=tarfile.LNKTYPE, link="d/a", says=12, crc=0), "its tar-split gives l, a hard link, a size"),
        (Member("d/.wh.gone", b"x"), "its tar-split gives d/gone, a whiteout, a size"),
        (
            Member("s", b"x", records=(("GNU.sparse.map", "0,1"),)),
            "s was sparse in its archive, whose stream cannot be",
        ),
        (Member("odd", type=b"7"), "its tar-split has odd, which the engine does not unpack"),
        (Member("../out", b"x"), "its tar-split has ../out, which the engine does not unpack"),
    ],
)
def test_what_cannot_be_compared_is_no_damage(tmp_path, member, reason):
    layer = written(tmp_path / "root", (*SOUND, member))
    if member.type == tarfile.LNKTYPE:
        os.link(tmp_path / "root/overlay2" / CACHE_ID / "diff/d/a", tmp_path / "root/overlay2" / CACHE_ID / "diff/l")

    verdict = verdict_on(tmp_path / "root", layer, FULL)

    assert (verdict.soundness, verdict.differences, verdict.digest) == (Soundness.UNVERIFIABLE, (), "")
    assert verdict.reasons[0].startswith(reason)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.unlink(), "it has no tar-split"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "its tar-split cannot be read: tar-split at offset 0"),
        (lambda path: (path.unlink(), path.mkdir()), "its tar-split cannot be read: tar-split at offset 0"),
        (lambda path: path.write_bytes(b""), "its tar-split cannot be read: tar-split at offset 0"),
    ],
)
def test_without_a_tar_split_nothing_is_said(tmp_path, harm, reason):
    layer = written(tmp_path, SOUND)
    harm(tmp_path / "image/overlay2/layerdb/sha256" / layer.chain[7:] / "tar-split.json.gz")

    verdict = verdict_on(tmp_path, layer, FULL)

    assert (verdict.soundness, verdict.differences) == (Soundness.UNVERIFIABLE, ())
    assert verdict.reasons[0].startswith(reason)


def test_of_a_layer_that_is_gone_by_then_nothing_is_said(tmp_path):
    layer = written(tmp_path, SOUND)
    (tmp_path / "image/overlay2/layerdb/sha256" / layer.chain[7:] / "cache-id").write_text("d" * 64)

    assert verdict_on(tmp_path, layer, QUICK) is None


def test_what_is_whole_at_the_second_look_is_no_damage(tmp_path):
    layer = written(tmp_path, SOUND)
    path = tmp_path / "overlay2" / CACHE_ID / "diff/d/a"
    path.write_bytes(b"half")
    looks = []

    def told_of(read):
        """By the end of the first look the file is whole."""
        looks.append(read)
        if read == 700_000:
            path.write_bytes(b"content of a")

    verdict = verdict_on(tmp_path, layer, Manner(Depth.QUICK, told=told_of))

    assert (verdict.soundness, verdict.differences) == (Soundness.VERIFIED, ())
    assert (looks[len(looks) // 2 - 1], looks[-1]) == (700_000, 700_012)


def test_what_never_stands_still_is_unverifiable(tmp_path):
    layer = written(tmp_path, SOUND)
    path = tmp_path / "overlay2" / CACHE_ID / "diff/d/a"
    path.write_bytes(b"half")
    numbers = iter(range(100))

    verdict = verdict_on(
        tmp_path, layer, Manner(Depth.QUICK, told=lambda _: path.write_bytes(b"x" * (20 + next(numbers))) and None)
    )

    assert (verdict.soundness, verdict.reasons) == (Soundness.UNVERIFIABLE, ("d/a changes while it is read",))


@pytest.mark.parametrize("attribute", ["trusted.overlay.redirect", "user.overlay.metacopy"])
def test_what_the_kernel_kept_below_is_no_damage(tmp_path, attribute):
    layer = written(tmp_path, SOUND)
    diff = tmp_path / "overlay2" / CACHE_ID / "diff"
    os.setxattr(diff / "d", attribute, b"/elsewhere")
    (diff / "d/a").unlink()

    verdict = verdict_on(tmp_path, layer, FULL)

    assert verdict.soundness is Soundness.UNVERIFIABLE
    assert verdict.reasons == (
        "d tells only with the layers below it (trusted.overlay.redirect, trusted.overlay.metacopy)",
    )


@pytest.mark.parametrize("number", [errno.EIO, errno.EUCLEAN, errno.EBADMSG])
@pytest.mark.parametrize(
    ("call", "at", "where", "expected"),
    [
        ("open", "a", "d/a", f"12 bytes, CRC-64 {crc64_iso(b'content of a'):016x}"),
        ("open", "d", "d", "a directory"),
        ("stat", "b", "d/b", "an empty file"),
    ],
)
def test_what_the_disk_does_not_give_is_damage(tmp_path, monkeypatch, number, call, at, where, expected):
    layer = written(tmp_path, SOUND)
    real = getattr(os, call)

    def failing(name, *args, **kwargs):
        if name == at and kwargs.get("dir_fd") is not None:
            raise OSError(number, "fails")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(os, call, failing)

    verdict = verdict_on(tmp_path, layer, FULL)

    assert (verdict.soundness, verdict.digest) == (Soundness.DAMAGED, "")
    [difference] = [d for d in verdict.differences if d.path == where]
    assert (difference.damage, difference.expected) == (Damage.UNREADABLE, expected)
    assert difference.found == errno.errorcode[number]


def test_a_directory_that_the_disk_does_not_list_is_damage(tmp_path, monkeypatch):
    layer = written(tmp_path, SOUND)
    monkeypatch.setattr(Directory, "list", lambda _: Listing({}, "EIO"))

    assert told(verdict_on(tmp_path, layer, QUICK)) == [(".", Damage.UNREADABLE, "unreadable (EIO)")]


def test_a_tar_split_that_the_disk_does_not_give_says_so(tmp_path, monkeypatch):
    layer = written(tmp_path, SOUND)

    def failing(_):
        raise OSError(errno.EIO, "fails")
        yield

    monkeypatch.setattr(recipe, "pieces_of", failing)

    verdict = verdict_on(tmp_path, layer, QUICK)

    assert (verdict.soundness, verdict.differences) == (Soundness.UNVERIFIABLE, ())
    assert verdict.reasons == ("the disk fails: its tar-split cannot be read (EIO)",)


def test_of_more_names_than_can_be_remembered_nothing_is_said(tmp_path, monkeypatch):
    layer = written(tmp_path, SOUND)
    diff = tmp_path / "overlay2" / CACHE_ID / "diff"
    (diff / "d/a").write_bytes(b"content of b")
    (diff / "big").unlink()
    (diff / "extra").mkdir()
    monkeypatch.setattr(members, "MOST_NAME_BYTES", sum(map(sys.getsizeof, ("d", "d/a"))))

    verdict = verdict_on(tmp_path, layer, FULL)

    assert told(verdict) == [("d/a", Damage.CHANGED, verdict.differences[0].found)]
    assert (verdict.reasons, verdict.digest) == (("its members have names of more than 0 MiB",), "")


def test_past_the_differences_that_are_kept_nothing_more_is_looked_at(tmp_path, monkeypatch):
    layer = written(tmp_path, [Member(name, b"x") for name in "abc"])
    for name in "abc":
        (tmp_path / "overlay2" / CACHE_ID / "diff" / name).unlink()
    monkeypatch.setattr(members, "MOST_DIFFERENCES", 1)
    asked = []
    monkeypatch.setattr(members.Members, "_moved", lambda _, path: asked.append(path) or "")

    assert verdict_on(tmp_path, layer, QUICK).differing == 3
    assert asked == ["a", "a"]


@given(st.integers(0, 3000), st.integers(0, 40), st.binary(max_size=20))
def test_any_tar_split_gives_a_verdict(tmp_path_factory, at, cut, instead):
    root = tmp_path_factory.mktemp("fuzz")
    layer = written(root, [folder("d"), Member("d/a", b"x" * 300), Member("l", type=tarfile.LNKTYPE, link="d/a")])
    path = root / "image/overlay2/layerdb/sha256" / layer.chain[7:] / "tar-split.json.gz"
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw[:at] + instead + raw[at + cut :]))

    assert verdict_on(root, layer, FULL) is not None
