"""Files of layers copied from others: what the new one holds, wears and is called, and that nothing half is done."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
import time
import tracemalloc

import pytest
from msgspec.structs import replace
from support.fingerprint import differences
from support.seeds import own_seed
from support.units import RUN, entries_of, finding_for, outside

from gcd.actions import copying, syscalls
from gcd.actions.place import open_place
from gcd.actions.purge import purge
from gcd.actions.recover import Recovered, Recovery, recover
from gcd.actions.repair import prepare, repair, takes_time
from gcd.actions.restore import restore
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.tarsplit import HardLinkTo
from gcd.model.content import Worn
from gcd.model.entry import EntryState
from gcd.model.facts import EngineState
from gcd.model.plan import CopyFile, LinkFile, Mend, Outcome, Reason, WriteFile
from gcd.root.tree import open_root

pytestmark = pytest.mark.root

TOOL = b"#!/bin/sh\n" + b"x" * 70_000
AT_NS = 1_600_000_000_250_000_000
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""cap_net_raw+ep, as setcap(8) writes it."""


@pytest.fixture
def layers(tmp_path):
    """The ``diff`` of a layer with a tool of three names, emptied, with attributes, and that of one with its twin."""
    names = {"bin/tool": HardLinkTo("bin/a"), "sbin/tool": HardLinkTo("bin/a")}
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        built.image("one:1", layers=[{"bin/a": TOOL, **names}])
        built.image("two:1", layers=[{"opt/tool": TOOL}])
    [tool] = built.path.glob("overlay2/*/diff/bin/a")
    [twin] = built.path.glob("overlay2/*/diff/opt/tool")
    os.truncate(tool, 0)
    os.chown(tool, 1000, 1001)
    tool.chmod(0o4755)
    os.setxattr(tool, "security.capability", CAPABILITY)
    os.setxattr(tool, "trusted.overlay.opaque", b"y")
    os.setxattr(tool, "trusted.odd\udcff", b"\0" * 1000)
    return tool.parents[1], twin.parents[1]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "docker"


def changes_of(layers, root, content=TOOL):
    first, *others = (str((layers[0] / name).relative_to(root)) for name in ("bin/a", "bin/tool", "sbin/tool"))
    source = str((layers[1] / "opt/tool").relative_to(root))
    copied = CopyFile(first, source, len(content), hashlib.sha256(content).hexdigest(), AT_NS)
    return copied, *(LinkFile(other, first) for other in others)


def in_place(root, do):
    with open_root(str(root)) as directory, open_place(directory, create=True) as place:
        return do(place)


def carry_out(root, *changes):
    mend = Mend(finding_for("x"), changes)
    return in_place(root, lambda place: repair(place, mend, run_id=RUN, now_ns=time.time_ns()))


def refused(root, *changes):
    """The reason and the words; nothing was changed and nothing is left."""
    before = outside(root)
    deed = carry_out(root, *changes)
    assert (deed.outcome, entries_of(root), differences(before, outside(root))) == (Outcome.REFUSED, {}, [])
    return deed.reason, deed.why


def worn(path):
    status = path.stat()
    names = os.listxattr(path)
    attributes = {name: os.getxattr(path, name) for name in names}
    return status.st_mode, status.st_uid, status.st_gid, status.st_nlink, attributes


def test_the_file_is_made_once_and_stands_under_all_its_names(layers, root):
    old = layers[0] / "bin/a"
    before, kept = worn(old), old.stat().st_ino

    deed = carry_out(root, *changes_of(layers, root))

    assert deed.outcome is Outcome.DONE, deed
    assert old.stat().st_mtime_ns == AT_NS
    files = [layers[0] / name for name in ("bin/a", "bin/tool", "sbin/tool")]
    assert [file.read_bytes() for file in files] == [TOOL] * 3
    assert len({file.stat().st_ino for file in files} - {kept}) == 1
    assert worn(old) == before
    assert before[0] == stat.S_IFREG | 0o4755
    assert sorted(before[4]) == ["security.capability", "trusted.odd\udcff", "trusted.overlay.opaque"]
    items = root / ".gcd/entries" / deed.entry / "items"
    assert [(items / name).stat().st_ino for name in "012"] == [kept] * 3


def test_restored_the_old_file_has_its_names_and_a_purge_frees_the_old_bytes_once(layers, root):
    old = layers[0] / "bin/a"
    old.write_bytes(b"y" * 8192)
    before = outside(root)
    deed = carry_out(root, *changes_of(layers, root))
    [put_back] = in_place(root, lambda place: list(restore(place, [deed.entry], engine=EngineState.STOPPED)))
    assert (put_back.outcome, entries_of(root), differences(before, outside(root))) == (Outcome.DONE, {}, [])

    deed = carry_out(root, *changes_of(layers, root))
    [gone] = in_place(root, lambda place: list(purge(place, [deed.entry])))

    assert (gone.outcome, entries_of(root)) == (Outcome.DONE, {})
    assert 8192 <= gone.disk_bytes < 3 * 8192 + 4096
    assert [(layers[0] / name).stat().st_nlink for name in ("bin/a", "bin/tool")] == [3, 3]


def test_a_restore_is_refused_where_one_of_the_names_is_another_file(layers, root):
    deed = carry_out(root, *changes_of(layers, root))
    (layers[0] / "sbin/tool").unlink()
    (layers[0] / "sbin/tool").write_bytes(b"somebody's")

    [back] = in_place(root, lambda place: list(restore(place, [deed.entry], engine=EngineState.STOPPED)))

    assert (back.outcome, back.reason) == (Outcome.REFUSED, Reason.CHANGED)
    assert "sbin/tool has changed since the repair" in back.why
    assert (layers[0] / "bin/a").read_bytes() == TOOL


def large(layers, root, size=40 << 20):
    """The twin holds `size` bytes, and the changes say so; the digest of them."""
    block = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    with (layers[1] / "opt/tool").open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
            digest.update(block)
    copied, *others = changes_of(layers, root)
    return replace(copied, size=size, sha256=digest.hexdigest()), *others


def test_a_large_file_is_copied_piece_by_piece(layers, root):
    changes = large(layers, root)

    tracemalloc.start()
    try:
        deed = carry_out(root, *changes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert deed.outcome is Outcome.DONE, deed
    assert (layers[0] / "sbin/tool").read_bytes() == (layers[1] / "opt/tool").read_bytes()
    assert peak < 8 << 20
    [back] = in_place(root, lambda place: list(restore(place, [deed.entry], engine=EngineState.STOPPED)))
    assert (back.outcome, (layers[0] / "bin/a").read_bytes()) == (Outcome.DONE, b"")


def test_a_file_of_more_than_64_mib_can_be_restored(layers, root):
    """So long an entry of an older gcd may have a file, which does not say how long it is."""
    deed = carry_out(root, *large(layers, root, 65 << 20))

    [back] = in_place(root, lambda place: list(restore(place, [deed.entry], engine=EngineState.STOPPED)))

    assert (back.outcome, (layers[0] / "bin/a").read_bytes(), entries_of(root)) == (Outcome.DONE, b"", {})


CHANGED_TWIN = "opt/tool does not hold any more what was to be copied"


@pytest.mark.parametrize("content", [TOOL.swapcase(), TOOL[:-1], TOOL + b"x", b""])
def test_a_twin_that_has_changed_is_refused(layers, root, content):
    (layers[1] / "opt/tool").write_bytes(content)

    reason, why = refused(root, *changes_of(layers, root))

    assert (reason, why.partition("/diff/")[2]) == (Reason.CHANGED, CHANGED_TWIN)


def test_a_twin_that_is_gone_or_no_file_any_more_is_refused(layers, root):
    twin, changes = layers[1] / "opt/tool", changes_of(layers, root)
    twin.unlink()
    assert refused(root, *changes)[1].endswith("opt/tool is not there any more")
    os.mkfifo(twin)
    assert refused(root, *changes)[1].endswith("opt/tool is no file any more")
    twin.unlink()
    twin.symlink_to(layers[0] / "bin/a")
    assert refused(root, *changes)[1].endswith("ELOOP")


@pytest.mark.parametrize("source", ["../outside", "/etc/passwd", ".gcd/lock", "a/../b", ""])
def test_nothing_is_copied_from_outside_the_root_or_from_the_place(layers, root, source):
    copied, *others = changes_of(layers, root)

    said = refused(root, replace(copied, source=source), *others)

    assert said == (Reason.PLACE, f"{source} is not copied by a repair")


def test_what_stands_there_must_be_one_file_with_just_these_names(layers, root):
    changes = changes_of(layers, root)
    os.link(layers[0] / "bin/a", layers[0] / "more")
    assert refused(root, *changes)[1].endswith("bin/a has other names by now than the 3 that are known")
    (layers[0] / "sbin/tool").unlink()
    (layers[0] / "sbin/tool").write_bytes(b"")
    assert "sbin/tool is not the same file as overlay2/" in refused(root, *changes)[1]
    (layers[0] / "sbin/tool").unlink()
    assert refused(root, *changes)[1].endswith("sbin/tool is not there any more")
    (layers[0] / "bin/a").unlink()
    (layers[0] / "bin/a").symlink_to("tool")
    assert refused(root, *changes)[1].endswith("bin/a is no file any more")


def test_a_name_alone_is_not_made(layers, root):
    copied, other, _ = changes_of(layers, root)
    (layers[0] / "sbin/tool").unlink()
    (layers[0] / "note").write_bytes(b"")

    assert refused(root, other) == (Reason.PLACE, f"{other.path} is not made together with {copied.path}")
    written = WriteFile(copied.path, b"x", copied.path)
    assert refused(root, written, other) == (Reason.PLACE, f"{other.path} is not made together with {copied.path}")


def test_an_attribute_that_cannot_be_set_refuses_all(layers, root, monkeypatch):
    set_attribute = syscalls.set_attribute

    def fails(fd, name, value):
        if name == "trusted.overlay.opaque":
            raise OSError(errno.EPERM, "no")
        set_attribute(fd, name, value)

    monkeypatch.setattr(syscalls, "set_attribute", fails)

    reason, why = refused(root, *changes_of(layers, root))

    assert reason is Reason.PLACE
    assert why.endswith("bin/a cannot have the attribute trusted.overlay.opaque (EPERM)")


@pytest.mark.parametrize("odd", ["changed", "dropped", "added"])
def test_an_attribute_that_would_not_be_the_same_refuses_all(layers, root, monkeypatch, odd):
    """As a file system may do that keeps such things in its own way."""
    set_attribute = syscalls.set_attribute

    def otherwise(fd, name, value):
        if name != "trusted.overlay.opaque" or odd == "added":
            set_attribute(fd, name, value)
        if name == "trusted.overlay.opaque" and odd != "dropped":
            set_attribute(fd, "trusted.more" if odd == "added" else name, value + b"!")

    monkeypatch.setattr(syscalls, "set_attribute", otherwise)

    reason, why = refused(root, *changes_of(layers, root))

    name = "trusted.more" if odd == "added" else "trusted.overlay.opaque"
    assert (reason, why.partition("would ")[2]) == (Reason.PLACE, f"differ in the attribute {name}")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_for_the_copy_refuses_all(layers, root, monkeypatch, error):
    write_all = syscalls.write_all

    def full(fd, content):
        if content == TOOL:
            write_all(fd, content[:5000])
            raise OSError(error, "full")
        write_all(fd, content)

    monkeypatch.setattr(syscalls, "write_all", full)

    reason, why = refused(root, *changes_of(layers, root))

    assert (reason, why.partition(" of overlay2/")[0]) == (Reason.PLACE, "the disk has no room for the 70010 bytes")


def test_a_twin_that_the_disk_does_not_give_refuses_all(layers, root, monkeypatch):
    read = os.read

    def fails(fd, size):
        if size == len(TOOL):
            raise OSError(errno.EIO, "no")
        return read(fd, size)

    monkeypatch.setattr(os, "read", fails)

    reason, why = refused(root, *changes_of(layers, root))

    assert (reason, why.partition("opt/tool")[2]) == (Reason.PLACE, ": EIO")


WORN = Worn(0o4750, 1000, 1001, (("security.capability", CAPABILITY), ("user.note", b"kept")))


@pytest.fixture
def missing(layers, root):
    """The changes that make the tool anew, of which no name is left."""
    copied, *others = changes_of(layers, root)
    for change in (copied, *others):
        (root / change.path).unlink()
    return replace(copied, worn=WORN), *others


def test_a_missing_file_is_made_as_the_stream_says(layers, root, missing):
    before = outside(root)

    deed = carry_out(root, *missing)

    assert deed.outcome is Outcome.DONE, deed
    files = [layers[0] / name for name in ("bin/a", "bin/tool", "sbin/tool")]
    assert [(file.read_bytes(), worn(file)) for file in files] == [
        (TOOL, (stat.S_IFREG | 0o4750, 1000, 1001, 3, dict(WORN.attributes)))
    ] * 3
    assert files[2].stat().st_mtime_ns == AT_NS
    assert list((root / ".gcd/entries" / deed.entry / "items").iterdir()) == []
    [back] = in_place(root, lambda place: list(restore(place, [deed.entry], engine=EngineState.STOPPED)))
    assert (back.outcome, entries_of(root), differences(before, outside(root))) == (Outcome.DONE, {}, [])


ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 7, 0xFFFF_FFFF if tag != 2 else 1234) for tag in (1, 2, 4, 0x10, 0x20)
)
"""All that there are may do everything, and user 1234 too, as the kernel writes it."""


def test_an_attribute_that_changes_the_mode_refuses_all(root, missing):
    changed = replace(missing[0], worn=replace(WORN, attributes=(("system.posix_acl_access", ACL),)))

    reason, why = refused(root, changed, *missing[1:])

    assert (reason, why.partition("bin/a ")[2]) == (Reason.PLACE, "would have another mode or owner than it shall")


def test_a_copy_for_which_there_is_no_room_is_not_begun(layers, root, monkeypatch):
    fstatvfs, poured = os.fstatvfs, []

    def nearly_full(fd):
        found = list(fstatvfs(fd))
        found[4] = (len(TOOL) - 1) // found[1]  # f_bavail, in blocks of f_frsize
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "fstatvfs", nearly_full)
    monkeypatch.setattr(copying, "_pour", lambda *args: poured.append(args))

    reason, why = refused(root, *changes_of(layers, root))

    assert (reason, why.partition(" of overlay2/")[0]) == (Reason.PLACE, "the disk has no room for the 70010 bytes")
    assert poured == []


def test_what_is_there_again_is_not_replaced(layers, root, missing):
    """Nor is anything copied for it: that the twin is gone is not seen."""
    (layers[1] / "opt/tool").unlink()
    (layers[0] / "sbin/tool").symlink_to("x")
    assert refused(root, *missing) == (Reason.CHANGED, f"something new stands at {missing[2].path}")
    (layers[0] / "sbin/tool").unlink()
    (layers[0] / "bin/a").mkdir()
    assert refused(root, *missing) == (Reason.CHANGED, f"something new stands at {missing[0].path}")


def test_a_missing_file_of_a_missing_directory_is_not_made(layers, root, missing):
    (layers[0] / "sbin").rmdir()

    assert refused(root, *missing) == (Reason.CHANGED, f"{missing[2].path} is not there any more")


def test_what_is_prepared_changes_nothing_yet_and_a_start_leaves_nothing_of_it(layers, root):
    before = outside(root)
    mend = Mend(finding_for("x"), changes_of(layers, root))
    assert takes_time(mend)

    def do(place):
        with prepare(place, mend, run_id=RUN, now_ns=time.time_ns()) as entry:
            assert entry.state is EntryState.OPEN
            assert differences(before, outside(root)) == []
            return entry.id

    name = in_place(root, do)

    assert in_place(root, recover) == (Recovered(name, Recovery.RETURNED),)
    assert (entries_of(root), differences(before, outside(root))) == ({}, [])


def test_who_interrupts_a_copy_leaves_nothing_of_it(layers, root, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(syscalls, "set_modified", interrupted)
    before = outside(root)

    with pytest.raises(KeyboardInterrupt):
        carry_out(root, *changes_of(layers, root))

    assert (entries_of(root), differences(before, outside(root))) == ({}, [])


def test_only_copies_take_time(layers, root):
    assert not takes_time(Mend(finding_for("x"), (WriteFile("a", b"", "b"),)))
    assert takes_time(Mend(finding_for("x"), changes_of(layers, root)[:1]))
