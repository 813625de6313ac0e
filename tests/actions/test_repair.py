"""Repairs carried out: what they make and wear, what the entry keeps, and that it can be undone."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path

import pytest
from support.mending import whole
from support.seeds import own_seed

from gcd.actions.manifest import discard, open_entry, put_all_back, reopen
from gcd.actions.place import open_place
from gcd.actions.repair import repair
from gcd.demo.dockerroot import DockerRoot
from gcd.model.entry import EntryState, RunId
from gcd.model.finding import Code, Confidence, Finding, Kind, Node, NodeKind, Severity
from gcd.model.ids import ImageId
from gcd.model.plan import (
    DropReference,
    MakeDirectory,
    MakeSymlink,
    Mend,
    Outcome,
    Reason,
    SetAside,
    WriteFile,
)
from gcd.root.tree import open_root

FINDING = Finding(
    Code("GCD106"),
    "unreadable-link-file",
    Kind.DAMAGED,
    Severity.ERROR,
    Confidence.PROVEN,
    Node(NodeKind.LAYER_DIR, "a" * 64),
    "",
    (),
    (),
    (),
)


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as made:
        made.container("web", image=made.image("web:1", layers=2))
    return made.path


def carry_out(root, *changes, expect=Outcome.DONE):
    with open_root(str(root)) as directory, open_place(directory, create=True) as place:
        deed = repair(place, Mend(FINDING, changes), run_id=RunId("run"), now_ns=time.time_ns())
    assert deed.outcome is expect, deed
    return deed


def undo(root, entry):
    with (
        open_root(str(root)) as directory,
        open_place(directory, create=False) as place,
        open_entry(place, EntryState.CLOSED, entry).value as opened,
    ):
        reopen(opened)
        put_all_back(opened)
        discard(opened)


def outside_the_place(root):
    return {path: found for path, found in whole(root).items() if path.partition("/")[0] != ".gcd"}


def entries(root):
    return sorted(str(p.relative_to(root / ".gcd")) for p in (root / ".gcd").glob("*/*"))


def identity(path):
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns


@pytest.mark.parametrize("odd", [0o000, 0o640, 0o777, 0o4755])
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("size", 0o644),
        ("link", 0o644),
        ("repositories.json", 0o600),
        ("config.v2.json", 0o600),
        ("hostconfig.json", 0o600),
    ],
)
def test_a_file_is_replaced_and_wears_what_the_old_one_wore_but_the_engines_own_mode(root, name, mode, odd):
    """The modes are those on roots that engines of 20.10, 26.1 and 28.5 wrote."""
    path = root / "volumes" / name
    path.write_bytes(b"old")
    if os.geteuid() == 0:
        os.chown(path, 7, 8)
    path.chmod(odd)
    old = identity(path)

    deed = carry_out(root, WriteFile(f"volumes/{name}", b"new", "volumes"))

    status = path.stat()
    assert path.read_bytes() == b"new"
    assert status.st_ino != old[0]
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (mode, *old[2:4])
    kept = root / ".gcd/entries" / deed.entry / "items/0"
    assert identity(kept) == old

    undo(root, deed.entry)

    assert identity(path) == old
    assert path.read_bytes() == b"old"
    assert entries(root) == []


def test_a_new_file_wears_what_its_model_wears_but_the_engines_own_mode(root):
    (root / "volumes").chmod(0o751)
    if os.geteuid() == 0:
        os.chown(root / "volumes", 7, 8)

    deed = carry_out(root, WriteFile("volumes/note", b"new", "volumes"))

    status = (root / "volumes/note").stat()
    assert stat.S_IMODE(status.st_mode) == 0o644
    assert (status.st_uid, status.st_gid) == ((7, 8) if os.geteuid() == 0 else (os.geteuid(), os.getegid()))
    undo(root, deed.entry)
    assert not (root / "volumes/note").exists()


@pytest.mark.parametrize("there", ["directory", "symlink", "fifo"])
def test_what_is_no_file_is_kept_whole_when_a_file_takes_its_place(root, there):
    path = root / "volumes/note"
    if there == "directory":
        path.mkdir()
        (path / "within").write_bytes(b"kept")
    elif there == "symlink":
        path.symlink_to("/etc/passwd")
    else:
        os.mkfifo(path)
    before = outside_the_place(root)

    deed = carry_out(root, WriteFile("volumes/note", b"new", "volumes/metadata.db"))

    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    undo(root, deed.entry)
    assert outside_the_place(root) == before


def test_a_symlink_is_made_and_one_that_is_wrong_is_kept(root):
    (root / "overlay2/l/WRONG").symlink_to("nowhere")
    before = outside_the_place(root)

    deed = carry_out(root, MakeSymlink("overlay2/l/NEW", "../abc/diff"), MakeSymlink("overlay2/l/WRONG", "../abc/diff"))

    assert (root / "overlay2/l/NEW").readlink() == Path("../abc/diff")
    assert (root / "overlay2/l/WRONG").readlink() == Path("../abc/diff")
    undo(root, deed.entry)
    assert outside_the_place(root) == before


def test_a_directory_is_made_and_with_it_the_symlinks_in_it(root):
    farm = root / "overlay2/l"
    shutil.rmtree(farm)
    farm.write_bytes(b"a file in its place")
    before = outside_the_place(root)

    deed = carry_out(root, MakeDirectory("overlay2/l", 0o700, "overlay2"), MakeSymlink("overlay2/l/ONE", "../abc/diff"))

    assert stat.S_IMODE(farm.stat().st_mode) == 0o700
    assert (farm / "ONE").readlink() == Path("../abc/diff")
    undo(root, deed.entry)
    assert outside_the_place(root) == before


def test_what_is_as_it_shall_be_is_left_and_needs_no_entry(root):
    (root / "overlay2/l/ONE").symlink_to("../abc/diff")
    (root / "volumes/note").write_bytes(b"as it is")
    before = outside_the_place(root)

    deed = carry_out(
        root,
        MakeDirectory("overlay2/l", 0o755, "overlay2"),
        MakeSymlink("overlay2/l/ONE", "../abc/diff"),
        WriteFile("volumes/note", b"as it is", "volumes"),
        DropReference("image/overlay2/repositories.json", "not:there", ImageId("sha256:" + "0" * 64)),
    )

    assert deed.entry == ""
    assert outside_the_place(root) == before
    assert entries(root) == []


def test_what_is_set_aside_is_in_the_entry(root):
    (root / "volumes/note").write_bytes(b"aside")
    old = identity(root / "volumes/note")

    deed = carry_out(root, SetAside("volumes/note"))

    assert not (root / "volumes/note").exists()
    assert identity(root / ".gcd/entries" / deed.entry / "items/0") == old
    undo(root, deed.entry)
    assert identity(root / "volumes/note") == old


def test_references_are_dropped_one_after_the_other(root):
    path = root / "image/overlay2/repositories.json"
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    path.write_text(f'{{"Repositories":{{"a":{{"a:1":"{one}","a:2":"{two}"}},"b":{{"b:1":"{one}"}}}}}}')

    carry_out(root, DropReference("image/overlay2/repositories.json", "a:1", ImageId(one)))
    carry_out(root, DropReference("image/overlay2/repositories.json", "b:1", ImageId(one)))

    assert path.read_text() == f'{{"Repositories":{{"a":{{"a:2":"{two}"}}}}}}'


def test_a_reference_that_names_another_image_by_now_is_not_dropped(root):
    path = root / "image/overlay2/repositories.json"
    before = path.read_bytes()

    deed = carry_out(
        root,
        DropReference("image/overlay2/repositories.json", "web:1", ImageId("sha256:" + "0" * 64)),
        expect=Outcome.REFUSED,
    )

    assert (deed.reason, deed.why) == (Reason.CHANGED, "web:1 names another image by now")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (SetAside("volumes/gone"), "volumes/gone is not there any more"),
        (WriteFile("gone/note", b"new", "volumes"), "gone/note is not there any more"),
        (WriteFile("../outside", b"new", "volumes"), "../outside is not changed by a repair"),
        (WriteFile(".gcd/lock", b"new", "volumes"), ".gcd/lock is not changed by a repair"),
        (MakeSymlink("volumes/../../x", "y"), "volumes/../../x is not changed by a repair"),
    ],
)
def test_refused_with_nothing_changed(root, change, why):
    (root / "volumes/note").write_bytes(b"as it is")
    before = outside_the_place(root)

    deed = carry_out(root, WriteFile("volumes/note", b"new", "volumes"), change, expect=Outcome.REFUSED)

    assert deed.why == why
    assert outside_the_place(root) == before
    assert entries(root) == []


def test_a_symlink_on_the_way_is_not_followed(root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "volumes/way").symlink_to(outside)

    deed = carry_out(root, WriteFile("volumes/way/note", b"new", "volumes"), expect=Outcome.REFUSED)

    assert deed.reason is Reason.CHANGED
    assert list(outside.iterdir()) == []


def test_what_fails_half_way_is_undone(root, monkeypatch):
    from gcd.actions import items  # noqa: PLC0415  one of its calls is made to fail

    (root / "volumes/one").write_bytes(b"one")
    (root / "volumes/two").write_bytes(b"two")
    before = {name: identity(root / "volumes" / name) for name in ("one", "two")}
    real, calls = items.syscalls.exchange, []

    def fail_at_the_second(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(5, "EIO")
        real(*args)

    monkeypatch.setattr(items.syscalls, "exchange", fail_at_the_second)

    deed = carry_out(
        root,
        WriteFile("volumes/one", b"new", "volumes"),
        WriteFile("volumes/two", b"new", "volumes"),
        expect=Outcome.FAILED,
    )

    assert deed.why == "volumes/two: EIO"
    assert {name: identity(root / "volumes" / name) for name in ("one", "two")} == before
    assert entries(root) == []
