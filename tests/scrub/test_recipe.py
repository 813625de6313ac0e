"""The recipe of a layer is the same whether a process of its own reads it, or none, or one that dies meanwhile."""

from __future__ import annotations

import errno
import gzip
import marshal
import os
import select
import signal
import socket
import tarfile
import threading
from pathlib import Path

import pytest
from support.layers import Member, folder, written

from gcd.formats.tarheader import MemberType
from gcd.model.errors import FormatError
from gcd.scrub import recipe
from gcd.scrub.recipe import Clerk, entries

ODD = (
    folder("d"),
    Member("d/caf\udce9", b"x", records=(("SCHILY.xattr.user.x", "y"), ("SCHILY.xattr.user.z", ""))),
    Member("link", type=tarfile.SYMTYPE, link="d" * 200),
    Member("sparse", b"x", records=(("GNU.sparse.map", "0,1"),)),
)
MANY = tuple(Member(f"d/{number}", b"%d" % number) for number in range(35))


@pytest.fixture(autouse=True)
def short_batches(monkeypatch):
    monkeypatch.setattr(recipe, "BATCH", 10)


@pytest.fixture
def opened(tmp_path):
    """The tar-split of a layer of so many members, open."""
    fds = []

    def open_one(*members, cut=None):
        layer = written(tmp_path / str(len(fds)), (*ODD, *members))
        path = tmp_path / str(len(fds)) / "image/overlay2/layerdb/sha256" / layer.chain[7:] / "tar-split.json.gz"
        if cut is not None:
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:cut]))
        fds.append(os.open(path, os.O_RDONLY))
        return fds[-1]

    yield open_one
    for fd in fds:
        os.close(fd)


def again(fd):
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@pytest.fixture
def clerk():
    with Clerk() as one:
        yield one


@pytest.mark.parametrize("has_segments", [True, False])
def test_it_tells_what_is_there(opened, clerk, has_segments):
    for members in ((), MANY):
        fd = opened(*members)
        here = list(entries(fd, has_segments=has_segments))

        assert list(clerk.entries(again(fd), has_segments=has_segments)) == here
        assert sum(isinstance(entry, bytes) for entry in here) == (len(ODD + members) + 1 if has_segments else 0)
    assert clerk._pid is not None
    link, sparse = here[5 if has_segments else 2], here[7 if has_segments else 3]
    assert (link[1].type, link[1].link, sparse[1].is_sparse) == (MemberType.SYMLINK, b"d" * 200, True)


def test_what_it_cannot_read_is_said_after_all_before(opened, clerk):
    fd, sound = opened(*MANY, cut=30_000), opened()
    told = []

    with pytest.raises(FormatError) as caught:
        told.extend(clerk.entries(fd, has_segments=False))

    assert (caught.value.what, caught.value.expected, caught.value.found) == ("tar-split", "a newline", "the end")
    assert len(told) > 10
    assert len(list(clerk.entries(sound, has_segments=False))) == len(ODD)


def test_what_the_disk_does_not_give_is_told(tmp_path, clerk):
    fd = os.open(tmp_path, os.O_RDONLY)

    with pytest.raises(IsADirectoryError) as caught:
        list(clerk.entries(fd, has_segments=False))

    assert caught.value.errno == errno.EISDIR
    os.close(fd)


@pytest.mark.parametrize("after", [0, 1, 20])
@pytest.mark.parametrize("has_segments", [True, False])
def test_if_it_dies_nothing_is_lost_or_doubled(opened, after, has_segments):
    fd = opened(*MANY)
    here = list(entries(fd, has_segments=has_segments))
    with Clerk() as clerk:
        pid = clerk._pid
        told = []
        for entry in clerk.entries(again(fd), has_segments=has_segments):
            if len(told) == after:
                os.kill(pid, signal.SIGKILL)
            told.append(entry)

        assert told == here
        assert list(clerk.entries(again(fd), has_segments=has_segments)) == here


def test_one_that_is_not_heard_to_the_end_ends(opened):
    fd = opened(*MANY)
    with Clerk() as clerk:
        pid = clerk._pid
        heard = clerk.entries(fd, has_segments=True)
        next(heard)
        heard.close()

        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert len(list(clerk.entries(again(fd), has_segments=False))) == len(ODD + MANY)


LONG = "/".join(["n" * 200] * 15)


@pytest.mark.parametrize(
    ("members", "has_segments"),
    [
        ([Member(f"{number}/{LONG}") for number in range(8)], False),
        ([Member(f"{number}", type=tarfile.SYMTYPE, link=LONG) for number in range(8)], False),
        ([Member(f"{number}", records=(("SCHILY.xattr.user.x", LONG),)) for number in range(8)], False),
        ([Member(f"{number}") for number in range(60)], True),
    ],
    ids=["names", "links", "attributes", "segments"],
)
def test_no_batch_fills_the_memory(tmp_path, monkeypatch, members, has_segments):
    monkeypatch.setattr(recipe, "BATCH", 1000)
    monkeypatch.setattr(recipe, "BATCH_BYTES", 5000)
    layer = written(tmp_path, members)
    record = tmp_path / "image/overlay2/layerdb/sha256" / layer.chain[7:] / "tar-split.json.gz"
    sent = []
    monkeypatch.setattr(recipe, "_send", lambda _, value: sent.append(len(marshal.dumps(value))))

    recipe._tell(None, os.open(record, os.O_RDONLY), has_segments=has_segments)

    assert len(sent) > 5
    assert max(sent) < 8000


def test_it_has_nothing_open_but_its_socket(opened, clerk):
    list(clerk.entries(opened(), has_segments=False))

    there = Path(f"/proc/{clerk._pid}/fd")
    links = sorted(str(link.readlink()) for link in there.iterdir())

    assert (links[:3], [link[:7] for link in links[3:]]) == (["/dev/null"] * 3, ["socket:"])


def test_it_ends_with_whoever_asks_it():
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        with Clerk() as one:
            os.write(opener, str(one._pid).encode())
            signal.pause()
    clerk = os.pidfd_open(int(os.read(gate, 20)))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert select.select([clerk], [], [], 10) == ([clerk], [], [])
    for fd in (gate, opener, clerk):
        os.close(fd)


@pytest.mark.parametrize(("module", "call"), [(os, "fork"), (socket, "socketpair")])
def test_where_there_is_no_room_for_one_it_is_read_here(opened, monkeypatch, module, call):
    def refused():
        raise BlockingIOError(errno.EAGAIN, "no room")

    monkeypatch.setattr(module, call, refused)

    with Clerk() as clerk:
        assert clerk._pid is None
        assert len(list(clerk.entries(opened(), has_segments=False))) == len(ODD)


def test_where_another_thread_runs_none_is_forked(opened):
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with Clerk() as clerk:
            assert clerk._pid is None
            assert len(list(clerk.entries(opened(), has_segments=False))) == len(ODD)
    finally:
        over.set()
        thread.join()
