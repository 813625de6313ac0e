"""What is said of a layer is the same with bundles and without; others are minded as without."""

from __future__ import annotations

import contextlib
import os
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.compiled import needs_compiled
from support.layers import CACHE_ID, Member, folder, verdict_on, written

from gcd.formats import bundle
from gcd.model.content import Damage, Depth, Soundness
from gcd.root.tree import open_root
from gcd.scrub import bundles, glance, members, recipe
from gcd.scrub.layer import Manner, verify
from gcd.scrub.pace import Pace, Stopped
from gcd.scrub.reading import Contents

QUICK = Manner(Depth.QUICK)
FILES = ["a", "d/a", "./d/b", "d/e/f", "d//a", "../x", "caf\udce9", "d/.wh.a", "d/.wh..wh..opq", ".wh.a", ".wh.s"]
MANY = [Member(f"d/{number}", b"%d" % number * 100) for number in range(500)]


def link(name, target):
    return Member(name, type=tarfile.SYMTYPE, link=target)


def hard_link(name, target):
    return Member(name, type=tarfile.LNKTYPE, link=target)


MEMBERS = st.lists(
    st.one_of(
        st.builds(Member, st.sampled_from(FILES), st.sampled_from([b"", b"1", b"x" * 700, b"y" * 70_000])),
        st.builds(folder, st.sampled_from(["d", "d/", "d/e", "./d/e/"])),
        st.builds(link, st.sampled_from(["s", "d/s"]), st.sampled_from(["a", "../d"])),
        st.builds(hard_link, st.sampled_from(["h", "d/h"]), st.sampled_from(["a", "d/a"])),
    ),
    max_size=8,
)
HARMS = st.lists(
    st.tuples(
        st.sampled_from(["a", "d", "d/a", "d/b", "d/e", "d/e/f", "s", "h", "other"]),
        st.sampled_from(["remove", "empty", "grow", "flip", "link", "folder"]),
    ),
    max_size=3,
)


def harm(path, how):
    content = path.read_bytes() if path.is_file() else b"new"
    match how:
        case "remove" if path.is_dir() and not path.is_symlink():
            path.rename(path.with_name("moved"))
        case "remove":
            path.unlink()
        case "link":
            path.unlink(missing_ok=True)
            path.symlink_to("a")
        case "folder":
            path.unlink(missing_ok=True)
            path.mkdir()
        case _:
            flipped = bytes([content[0] ^ 1]) + content[1:] if content else b""
            path.write_bytes({"empty": b"", "grow": content + b"x", "flip": flipped}[how])


def made(root, all_members):
    layer = written(root, all_members)
    for member in all_members:
        with contextlib.suppress(OSError):
            place = root / "overlay2" / CACHE_ID / "diff" / member.name
            if member.type == tarfile.SYMTYPE:
                place.symlink_to(member.link)
            elif member.type == tarfile.LNKTYPE:
                place.hardlink_to(root / "overlay2" / CACHE_ID / "diff" / member.link)
    return layer


@pytest.mark.parametrize("reader", [pytest.param("compiled", marks=needs_compiled), "python"])
@given(members=MEMBERS, harms=HARMS)
@example(members=[*MANY[:3], folder("d"), link("a", "d")], harms=[("d/2", "flip"), ("a", "remove")])
@example(members=[Member("d/a", b"1"), Member("d/a", b"2")], harms=[("d/a", "empty")])
def test_bundles_change_nothing_of_what_is_said(tmp_path_factory, reader, members, harms):
    root = tmp_path_factory.mktemp("root")
    layer = made(root, members)
    for path, how in harms:
        with contextlib.suppress(OSError):
            harm(root / "overlay2" / CACHE_ID / "diff" / path, how)

    with pytest.MonkeyPatch.context() as patch:
        if reader == "python":
            patch.setattr(bundles, "glance", glance.glance)
            patch.setattr(recipe, "take_bundle", bundle.take_bundle)
        found = verdict_on(root, layer, QUICK)
        patch.setattr(recipe, "take_bundle", lambda *_: None)
        assert found == verdict_on(root, layer, QUICK)


def test_most_members_are_never_compared_one_by_one(tmp_path, monkeypatch):
    layer = written(tmp_path, [folder("d"), *MANY])
    (tmp_path / "overlay2" / CACHE_ID / "diff/d/70").write_bytes(b"70" * 99 + b"71")
    compared = []
    compare = members.Members.compare
    monkeypatch.setattr(
        members.Members,
        "compare",
        lambda self, member, *rest: compared.append(member.name) or compare(self, member, *rest),
    )

    verdict = verdict_on(tmp_path, layer, QUICK)

    assert [(d.path, d.damage) for d in verdict.differences] == [("d/70", Damage.CHANGED)]
    assert (verdict.files, verdict.read_bytes) == (500, sum(len(member.content) for member in MANY))
    assert compared == [b"d/70"] * 2


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def verdict_at(pace, root, layer, manner=QUICK):
    with open_root(str(root)) as directory, Contents(pace) as contents:
        return verify(directory, layer, contents, manner, now_ns=1)


class Spending(Pace):
    """Notes what it is told of; stops after so many bytes."""

    def __init__(self, most=1 << 60):
        super().__init__()
        self.spent = []
        self.most = most

    def spend(self, size):
        self.spent.append(size)
        if sum(self.spent) > self.most:
            self.stop()
        super().spend(size)


def test_all_bytes_are_told_before_they_are_read(tmp_path):
    layer = written(tmp_path, [folder("d"), *MANY])
    size = sum(len(member.content) for member in MANY)
    pace = Spending()

    assert verdict_at(pace, tmp_path, layer).soundness is Soundness.VERIFIED
    assert (sum(pace.spent), max(pace.spent) < 50_000) == (size, True)


def test_a_scrub_that_is_stopped_reads_nothing_more(tmp_path, monkeypatch):
    layer = written(tmp_path, [folder("d"), *MANY])
    glances = []
    real = bundles.glance
    monkeypatch.setattr(bundles, "glance", lambda *asked: glances.append(asked[2]) or real(*asked))
    before = open_files()

    with pytest.raises(Stopped):
        verdict_at(Spending(40_000), tmp_path, layer)

    assert len(glances) == 1
    assert open_files() == before


def test_what_ends_a_look_waits_for_the_glances_that_are_under_way(tmp_path, monkeypatch):
    """They need the layer's directory open."""
    layer = written(tmp_path, [folder("d"), *MANY])
    begun, may_go_on, seen = threading.Event(), threading.Event(), []
    going_on = threading.Timer(0.05, may_go_on.set)

    def slow(diff, *_):
        begun.set()
        may_go_on.wait()
        seen.append(os.fstat(diff).st_ino)
        return b""

    def told(_):
        begun.wait()
        going_on.start()
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles, "glance", slow)
    with pytest.raises(KeyboardInterrupt):
        verdict_at(Pace(), tmp_path, layer, Manner(Depth.QUICK, told=told))
    going_on.join()

    assert seen == [(tmp_path / "overlay2" / CACHE_ID / "diff").stat().st_ino]


def test_what_a_later_bundle_replaces_is_judged_before(tmp_path):
    layer = written(tmp_path, [folder("d"), *MANY, Member("d/5", b"another")])

    verdict = verdict_on(tmp_path, layer, QUICK)

    assert (verdict.soundness, verdict.differences) == (Soundness.VERIFIED, ())


def test_of_a_hard_link_to_what_differs_nothing_is_said(tmp_path):
    layer = made(tmp_path, [folder("d"), *MANY, hard_link("h", "d/5")])
    path = tmp_path / "overlay2" / CACHE_ID / "diff/d/5"
    path.unlink()
    path.write_bytes(b"6")

    verdict = verdict_on(tmp_path, layer, QUICK)

    assert [(d.path, d.damage) for d in verdict.differences] == [("d/5", Damage.RESIZED)]


def test_modes_and_owners_are_compared_one_by_one(tmp_path):
    layer = written(tmp_path, [folder("d"), *MANY[:3]])
    (tmp_path / "overlay2" / CACHE_ID / "diff/d/1").chmod(0o600)

    verdict = verdict_on(tmp_path, layer, Manner(Depth.QUICK, is_dressed=True))

    assert ("d/1", Damage.DRESSED) in [(d.path, d.damage) for d in verdict.differences]


def test_where_there_is_no_room_for_all_names_of_a_bundle_some_are_compared(tmp_path, monkeypatch):
    layer = written(tmp_path, [Member(name, b"x") for name in "abc"])
    monkeypatch.setattr(members, "MOST_NAME_BYTES", 101)

    verdict = verdict_on(tmp_path, layer, QUICK)

    assert (verdict.soundness, verdict.files) == (Soundness.UNVERIFIABLE, 2)
    assert verdict.reasons == ("its members have names of more than 0 MiB",)
