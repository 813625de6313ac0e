"""A damaged file is taken from another layer only if the whole stream proves it (S17)."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tracemalloc

import pytest
from fastcrc.crc64 import go_iso
from msgspec.structs import replace
from support.layers import Member, folder, written

from gcd.model.content import Twin, Worn
from gcd.model.ids import LayerDirId
from gcd.root.tree import open_root
from gcd.scrub import twins
from gcd.scrub.twins import twins_of

CONTENT = b"content of a\n" * 100
SOUND = (folder("d"), Member("d/a", CONTENT, records=(("mtime", "1111.25"),)), Member("big", b"b" * 700_000))
OTHER = LayerDirId("d" * 64)
TWIN = Twin(
    ("d/a",),
    f"overlay2/{OTHER}/diff/elsewhere",
    len(CONTENT),
    hashlib.sha256(CONTENT).hexdigest(),
    1_111_250_000_000,
)


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
        return twins_of(directory, layer, others)


def test_the_copy_is_found_and_nothing_is_written(damaged, tmp_path):
    layer, other = damaged

    assert asked(tmp_path, layer, other) == (TWIN,)
    assert (diff_of(tmp_path, layer) / "d/a").read_bytes() == b""


def test_a_copy_that_is_damaged_itself_is_none(damaged, tmp_path):
    layer, other = damaged
    (diff_of(tmp_path, other) / "elsewhere").write_bytes(CONTENT.swapcase())

    assert asked(tmp_path, layer, other) == "no other layer holds d/a whole"


def test_a_copy_with_more_behind_it_is_none(damaged, tmp_path):
    layer, other = damaged
    (diff_of(tmp_path, other) / "elsewhere").write_bytes(CONTENT + b"more")

    assert asked(tmp_path, layer, other) == "no other layer holds d/a whole"


def test_a_copy_that_is_a_symlink_is_not_followed(damaged, tmp_path):
    layer, other = damaged
    (diff_of(tmp_path, other) / "elsewhere").rename(tmp_path / "outside")
    (diff_of(tmp_path, other) / "elsewhere").symlink_to(tmp_path / "outside")

    assert asked(tmp_path, layer, other) == "no other layer holds d/a whole"


def test_a_checksum_is_no_proof(damaged, tmp_path, monkeypatch):
    """Another content of the same size and CRC-64: the stream tells."""
    layer, other = damaged
    (diff_of(tmp_path, other) / "elsewhere").write_bytes(CONTENT.swapcase())
    monkeypatch.setattr(twins, "_is_whole", lambda *_: True)

    assert asked(tmp_path, layer, other) == "with the copies that were found its stream does not give its diff id"


def test_other_damage_that_no_copy_mends_stops_it(damaged, tmp_path):
    layer, other = damaged
    (diff_of(tmp_path, layer) / "big").unlink()
    assert asked(tmp_path, layer, other) == "no other layer holds big whole"

    (diff_of(tmp_path, layer) / "big").mkdir()
    assert asked(tmp_path, layer, other) == "its files cannot be read (EISDIR)"


def test_of_a_sound_layer_nothing_is_to_be_written(damaged, tmp_path):
    _, other = damaged

    assert asked(tmp_path, other) == "no file in it has other content than it should, or is missing with it"


def test_an_empty_file_is_the_copy_of_what_shall_be_empty(tmp_path):
    layer = written(tmp_path, [Member("note")])
    other = written(tmp_path, [folder("d"), Member("d/none")], OTHER)
    (diff_of(tmp_path, layer) / "note").write_bytes(b"something")

    [twin] = asked(tmp_path, layer, other)

    assert (twin.source, twin.size, twin.sha256) == (f"overlay2/{OTHER}/diff/d/none", 0, hashlib.sha256().hexdigest())


def hard_link(name, target):
    return Member(name, type=tarfile.LNKTYPE, link=target)


RECORDS = (("mtime", "1111.25"), ("SCHILY.xattr.user.b", "\x01"), ("SCHILY.xattr.user.a", "2"))


def test_of_a_file_that_is_missing_it_is_told_what_the_stream_says_that_it_wears(tmp_path):
    gone = Member("d/a", CONTENT, records=RECORDS)
    layer = written(tmp_path, [folder("d"), gone, Member("d/none"), folder("e"), Member("f", CONTENT[1:])])
    other = written(tmp_path, [Member("elsewhere", CONTENT), Member("f", CONTENT[1:]), Member("empty")], OTHER)
    diff = diff_of(tmp_path, layer)
    for name in ("d/a", "d/none"):
        (diff / name).unlink()
    (diff / "e").rmdir()
    (diff / "f").write_bytes(b"")

    worn = Worn(0o644, 0, 0, (("user.a", b"2"), ("user.b", b"\x01")))
    plain = Worn(0o644, 0, 0, ())
    found = asked(tmp_path, layer, other)

    assert [(twin.names, twin.source.rpartition("/")[2], twin.worn) for twin in found] == [
        (("d/a",), "elsewhere", worn),
        (("d/none",), "empty", plain),
        (("f",), "f", None),
    ]


def test_what_is_only_missing_without_content_is_not_asked_for(tmp_path):
    layer = written(tmp_path, [Member("none"), folder("e")])
    other = written(tmp_path, [Member("empty"), Member("x")], OTHER)
    (diff_of(tmp_path, layer) / "none").unlink()

    assert asked(tmp_path, layer, other) == "no file in it has other content than it should, or is missing with it"


@pytest.mark.parametrize(
    ("place", "owner"),
    [
        pytest.param(".", (0, 100_000), id="as an engine with remapped namespaces makes the dir"),
        pytest.param(".", (100_000, 0), id="a dir of somebody else"),
        pytest.param("diff", (100_000, 0), id="as such an engine makes its diff"),
        pytest.param("diff", (0, 100_000), id="a diff of another group"),
    ],
)
def test_what_is_missing_from_the_dir_of_another_user_namespace_is_left(tmp_path, place, owner):
    layer = written(tmp_path, [Member("a", CONTENT)])
    other = written(tmp_path, [Member("elsewhere", CONTENT)], OTHER)
    (diff_of(tmp_path, layer) / "a").unlink()
    os.chown(diff_of(tmp_path, layer).parent / place, *owner)

    said = "its dir is not root's own, and what is missing in it may have been somebody else's"
    assert asked(tmp_path, layer, other) == said


def test_what_is_missing_together_with_its_directory_is_left(tmp_path):
    """Whose the directory was, a stream without a member for it does not say."""
    layer = written(tmp_path, [Member("bin/a", CONTENT)])
    other = written(tmp_path, [Member("elsewhere", CONTENT)], OTHER)
    shutil.rmtree(diff_of(tmp_path, layer) / "bin")

    assert asked(tmp_path, layer, other) == "bin/a is missing together with the directory that it lay in"


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ((("SCHILY.xattr.user.a\0b", "x"),), "a has an attribute of a name that there cannot be"),
        ((("SCHILY.xattr.", "x"),), "a has an attribute of a name that there cannot be"),
        ((("SCHILY.xattr.user.a", "x" * (64 << 10)),), "a has more attributes than fit a file"),
        ((("uid", str(1 << 32)),), "a has an owner that there cannot be"),
        ((("gid", str((1 << 32) - 1)),), "a has an owner that there cannot be"),
    ],
)
def test_what_no_file_can_wear_is_refused(tmp_path, records, said):
    layer = written(tmp_path, [Member("a", CONTENT, records=records)])
    other = written(tmp_path, [Member("elsewhere", CONTENT)], OTHER)
    (diff_of(tmp_path, layer) / "a").unlink()

    assert asked(tmp_path, layer, other) == said


def test_a_missing_file_that_is_there_under_another_name_is_left(tmp_path):
    layer = written(tmp_path, [Member("a", CONTENT), hard_link("b", "a")])
    other = written(tmp_path, [Member("elsewhere", CONTENT)], OTHER)
    diff = diff_of(tmp_path, layer)
    (diff / "a").rename(diff / "b")

    assert asked(tmp_path, layer, other) == "a is missing, and b is not, which is the same file"
    (diff / "b").unlink()
    assert [twin.names for twin in asked(tmp_path, layer, other)] == [("a", "b")]


def test_a_file_that_a_whiteout_of_the_same_stream_takes_away_is_not_made(tmp_path):
    """What is missing there is the whiteout."""
    layer = written(tmp_path, [Member("a"), Member(".wh.a")])
    written(tmp_path, [Member("elsewhere")], OTHER)
    found = twins._Found("a", TWIN.source, is_missing=True)

    with open_root(str(tmp_path)) as root, root.open_path(f"overlay2/{layer.layer_dir}/diff").value as diff:
        stream = twins._Stream(root, diff, [found])
        assert stream.digest_of(layer) == layer.diff_id

    assert (list(stream.twins()), found.names) == ([], {})


@pytest.fixture
def linked(tmp_path):
    """A layer with a file of three names, the third of which is told as one of the second; and another as above."""
    names = (hard_link("b", "./d/a"), hard_link("d/c", "b"))
    layer = written(tmp_path, [*SOUND, *names, Member("also", CONTENT[::-1]), hard_link("not", "also")])
    other = written(tmp_path, [Member("elsewhere", CONTENT)], OTHER)
    diff = diff_of(tmp_path, layer)
    for name in ("b", "d/c"):
        os.link(diff / "d/a", diff / name)
    os.link(diff / "also", diff / "not")
    os.truncate(diff / "b", 0)
    return layer, other


def test_a_file_is_told_with_all_its_names(linked, tmp_path):
    layer, other = linked

    assert asked(tmp_path, layer, other) == (replace(TWIN, names=("d/a", "b", "d/c")),)


def test_a_name_that_is_no_longer_the_same_file_stops_it(linked, tmp_path):
    layer, other = linked
    (diff_of(tmp_path, layer) / "b").unlink()
    (diff_of(tmp_path, layer) / "b").write_bytes(CONTENT)

    assert asked(tmp_path, layer, other) == "b is another file by now than d/a"


def test_a_name_that_the_stream_does_not_tell_stops_it(linked, tmp_path):
    layer, other = linked
    os.link(diff_of(tmp_path, layer) / "d/a", tmp_path / "name")

    assert asked(tmp_path, layer, other) == "d/a has more names than its layer says, and would stay damaged under them"


def test_a_name_that_was_given_to_another_file_later_in_the_stream_is_none_of_it(tmp_path):
    members = [Member("a", CONTENT), hard_link("b", "a"), hard_link("c", "a"), Member("b", b"its own")]
    layer = written(tmp_path, members)
    other = written(tmp_path, [Member("elsewhere", CONTENT)], OTHER)
    os.link(diff_of(tmp_path, layer) / "a", diff_of(tmp_path, layer) / "c")
    os.truncate(diff_of(tmp_path, layer) / "a", 0)

    [twin] = asked(tmp_path, layer, other)

    assert twin.names == ("a", "c")


def test_many_names_are_left_alone(linked, tmp_path, monkeypatch):
    layer, other = linked
    monkeypatch.setattr(twins, "MOST_NAMES", 2)

    assert asked(tmp_path, layer, other) == "its damaged files have more than 2 names"


def test_what_is_found_is_not_held_in_memory(tmp_path):
    """24 MiB, and a few pieces of them at a time."""
    content = bytes(range(256)) * (96 << 10)
    crc = go_iso(content)
    layer = written(tmp_path, [Member("large", content, crc=crc)])
    other = written(tmp_path, [Member("elsewhere", content, crc=crc), Member("more")], OTHER)
    (diff_of(tmp_path, layer) / "large").write_bytes(b"")

    tracemalloc.start()
    try:
        [twin] = asked(tmp_path, layer, other)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (twin.source, twin.size) == (f"overlay2/{OTHER}/diff/elsewhere", len(content))
    assert peak < 8 << 20
