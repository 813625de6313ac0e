"""The place of the quarantine: whose it is, who holds it, and what else may stand under its name."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess

import pytest
from support.trees import FIFO, SOCKET, Link, place
from support.units import leaked_root, quarantined

from gcd.actions.place import RESERVED_BYTES, open_place
from gcd.actions.purge import purge
from gcd.model.errors import CannotAct
from gcd.model.plan import Outcome
from gcd.root.tree import open_root

root_only = pytest.mark.root


@contextlib.contextmanager
def held(root, *, create=True):
    with open_root(str(root)) as directory, open_place(directory, create=create) as opened:
        yield opened


def refused(root, why, *, create=True):
    with pytest.raises(CannotAct, match=why), held(root, create=create):
        pass


def test_it_is_closed_to_others_and_made_once(tmp_path):
    for _ in range(2):
        with held(tmp_path):
            pass

    made = {str(path.relative_to(tmp_path)): stat.filemode(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert made == {
        ".gcd": "drwx------",
        ".gcd/lock": "-rw-------",
        ".gcd/reserve": "-rw-------",
        ".gcd/open": "drwx------",
        ".gcd/entries": "drwx------",
        ".gcd/purging": "drwx------",
    }


@root_only
def test_it_belongs_to_the_roots_owner(tmp_path):
    os.chown(tmp_path, 1000, 1001)
    with held(tmp_path):
        pass

    assert {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.rglob("*")} == {(1000, 1001)}


def test_where_there_is_none_none_is_made_to_be_read(tmp_path):
    refused(tmp_path, "There is no quarantine on this root", create=False)
    assert list(tmp_path.iterdir()) == []


def test_another_gcd_holds_it(tmp_path):
    with held(tmp_path):
        refused(tmp_path, "Another gcd is writing to this root: wait until it is done")
    with held(tmp_path):
        pass


@pytest.mark.parametrize("what", [b"", FIFO, SOCKET, Link("/tmp")], ids=["file", "fifo", "socket", "symlink"])
@pytest.mark.parametrize("name", [".gcd", ".gcd/open", ".gcd/entries", ".gcd/purging"])
def test_what_is_no_directory_is_not_used(tmp_path, name, what):
    (tmp_path / name).parent.mkdir(mode=0o700, exist_ok=True)
    place(tmp_path / name, what)

    refused(tmp_path, f"^{name} is no")


@pytest.mark.parametrize("what", [FIFO, SOCKET, Link("/dev/null")], ids=["fifo", "socket", "symlink"])
def test_a_lock_that_is_no_file_is_not_used(tmp_path, what):
    (tmp_path / ".gcd").mkdir(mode=0o700)
    place(tmp_path / ".gcd/lock", what)

    refused(tmp_path, r"\.gcd/lock ")


@pytest.mark.parametrize("mode", [0o711, 0o750, 0o777])
def test_a_place_that_is_open_to_others_is_not_used(tmp_path, mode):
    (tmp_path / ".gcd").mkdir()
    (tmp_path / ".gcd").chmod(mode)

    refused(tmp_path, "does not belong to the root.s owner alone")


@root_only
def test_a_place_of_somebody_else_is_not_used(tmp_path):
    (tmp_path / ".gcd").mkdir(mode=0o700)
    os.chown(tmp_path / ".gcd", 1000, 1000)

    refused(tmp_path, "does not belong to the root.s owner alone")


@root_only
@pytest.mark.parametrize("name", [".gcd", ".gcd/open", ".gcd/entries"])
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
def test_a_mountpoint_is_not_used(tmp_path, name, kind):
    with held(tmp_path):
        pass
    point = tmp_path / name
    arguments = ["-t", "tmpfs", "-o", "mode=0700", "tmpfs"] if kind == "tmpfs" else ["--bind", str(point)]
    subprocess.run(["mount", *arguments, str(point)], check=True)
    try:
        refused(tmp_path, f"^{name} is a mountpoint")
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_it_is_itself_at_each_use(tmp_path):
    with held(tmp_path) as opened:
        opened.check()
        (tmp_path / ".gcd").rename(tmp_path / "moved")
        (tmp_path / ".gcd").mkdir(mode=0o700)
        with pytest.raises(CannotAct, match="was replaced while it was in use"):
            opened.check()


@root_only
def test_a_file_system_that_is_mounted_read_only(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(tmp_path)], check=True)
    try:
        refused(tmp_path, "cannot be opened for writing: Read-only file system")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_half_made_one_is_made_again(tmp_path):
    (tmp_path / ".gcd.new").mkdir()

    with held(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gcd"]


@root_only
@pytest.mark.parametrize("left", [0, 4096])
def test_a_full_disk_has_room_for_an_entry(tmp_path, left):
    """What the place reserved is let go of; the next opening reserves again, where there is room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
    try:
        root, units = leaked_root(tmp_path / "docker")
        with held(root):
            pass
        status = os.statvfs(tmp_path)
        (tmp_path / "filler").write_bytes(bytes(status.f_bavail * status.f_frsize - left))
        assert os.statvfs(tmp_path).f_bavail * status.f_frsize == left

        deeds = quarantined(root, units)
        assert [deed.outcome for deed in deeds] == [Outcome.DONE] * 3

        (tmp_path / "filler").unlink()
        with held(root) as opened:
            assert (root / ".gcd/reserve").stat().st_blocks * 512 == RESERVED_BYTES
            assert [d.outcome for d in purge(opened, [deed.entry for deed in deeds])] == [Outcome.DONE] * 3
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("what", [Link("/etc/passwd"), FIFO, b"short"], ids=["symlink", "fifo", "short"])
def test_a_reserve_that_is_none_is_made_anew(tmp_path, what):
    (tmp_path / ".gcd").mkdir(mode=0o700)
    place(tmp_path / ".gcd/reserve", what)

    with held(tmp_path):
        pass
    assert (tmp_path / ".gcd/reserve").lstat().st_size == RESERVED_BYTES
