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
from support.offspring import offspring

from gcd.formats import tarsplit
from gcd.formats.bundle import Bundle
from gcd.formats.tarheader import MemberType
from gcd.model.errors import FormatError
from gcd.scrub import recipe
from gcd.scrub.bundles import members_of
from gcd.scrub.recipe import Asked, Clerk, entries

ODD = (
    folder("d"),
    Member("d/caf\udce9", b"x", records=(("SCHILY.xattr.user.x", "y"), ("SCHILY.xattr.user.z", ""))),
    Member("link", type=tarfile.SYMTYPE, link="d" * 200),
    Member("sparse", b"x", records=(("GNU.sparse.map", "0,1"),)),
)
MANY = tuple(Member(f"d/{number}", b"%d" % number) for number in range(300))


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


@pytest.mark.parametrize("asked", Asked)
def test_it_tells_what_is_there(opened, clerk, asked):
    for members in ((), MANY):
        fd = opened(*members)
        here = list(entries(fd, asked))

        assert list(clerk.entries(again(fd), asked)) == here
        assert sum(isinstance(entry, bytes) for entry in here) == (
            len(ODD + members) + 1 if asked is Asked.WHOLE else 0
        )
    assert clerk._pid is not None
    link, sparse = here[5 if asked is Asked.WHOLE else 2], here[7 if asked is Asked.WHOLE else 3]
    assert (link[1].type, link[1].link, sparse[1].is_sparse) == (MemberType.SYMLINK, b"d" * 200, True)


@pytest.mark.parametrize(("chunk", "sizes"), [(1 << 22, [1, 128, 128, 44]), (2_000, None), (7, None)])
def test_in_bundles_are_all_that_are_as_most_are_wherever_the_text_is_cut(opened, monkeypatch, chunk, sizes):
    fd = opened(*MANY)
    members = list(entries(fd, Asked.MEMBERS))
    monkeypatch.setattr(tarsplit, "_CHUNK", chunk)

    found = list(entries(again(fd), Asked.BUNDLES))

    bundles = [entry for entry in found if isinstance(entry, Bundle)]
    assert sizes is None or [len(bundle.kinds) for bundle in bundles] == sizes
    assert len(found) - len(bundles) == len(ODD) - 1
    said = [told for entry in found for told in (members_of(entry) if isinstance(entry, Bundle) else [entry])]
    assert [(member.name.rstrip(b"/"), member[1:], header[:2]) for member, header in said] == [
        (member.name.rstrip(b"/"), member[1:], header[:2]) for member, header in members
    ]


def test_what_it_cannot_read_is_said_after_all_before(opened, clerk):
    fd, sound = opened(*MANY, cut=30_000), opened()
    told = []

    with pytest.raises(FormatError) as caught:
        told.extend(clerk.entries(fd, Asked.MEMBERS))

    assert (caught.value.what, caught.value.expected, caught.value.found) == ("tar-split", "a newline", "the end")
    assert len(told) > 10
    assert len(list(clerk.entries(sound, Asked.MEMBERS))) == len(ODD)


def test_what_the_disk_does_not_give_is_told(tmp_path, clerk):
    fd = os.open(tmp_path, os.O_RDONLY)

    with pytest.raises(IsADirectoryError) as caught:
        list(clerk.entries(fd, Asked.MEMBERS))

    assert caught.value.errno == errno.EISDIR
    os.close(fd)


@pytest.mark.parametrize("after", [0, 1, 5, 20])
@pytest.mark.parametrize("asked", Asked)
def test_if_it_dies_nothing_is_lost_or_doubled(opened, after, asked):
    fd = opened(*MANY)
    here = list(entries(fd, asked))
    with Clerk() as clerk:
        pid = clerk._pid
        told = []
        for entry in clerk.entries(again(fd), asked):
            if len(told) == after:
                os.kill(pid, signal.SIGKILL)
            told.append(entry)

        assert told == here
        assert list(clerk.entries(again(fd), asked)) == here


def test_one_that_is_not_heard_to_the_end_ends(opened):
    fd = opened(*MANY)
    with Clerk() as clerk:
        pid = clerk._pid
        heard = clerk.entries(fd, Asked.WHOLE)
        next(heard)
        heard.close()

        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert len(list(clerk.entries(again(fd), Asked.MEMBERS))) == len(ODD + MANY)


LONG = "/".join(["n" * 200] * 15)


@pytest.mark.parametrize(
    ("members", "asked"),
    [
        ([Member(f"{number}/{LONG}") for number in range(8)], Asked.MEMBERS),
        ([Member(f"{number}", type=tarfile.SYMTYPE, link=LONG) for number in range(8)], Asked.MEMBERS),
        ([Member(f"{number}", records=(("SCHILY.xattr.user.x", LONG),)) for number in range(8)], Asked.MEMBERS),
        ([Member(f"{number}") for number in range(60)], Asked.WHOLE),
        ([Member(f"{number:x}") for number in range(1500)], Asked.BUNDLES),
    ],
    ids=["names", "links", "attributes", "segments", "bundles"],
)
def test_no_batch_fills_the_memory(tmp_path, monkeypatch, members, asked):
    monkeypatch.setattr(recipe, "BATCH", 1000)
    monkeypatch.setattr(recipe, "BATCH_BYTES", 5000)
    layer = written(tmp_path, members)
    record = tmp_path / "image/overlay2/layerdb/sha256" / layer.chain[7:] / "tar-split.json.gz"
    sent = []
    monkeypatch.setattr(recipe, "_send", lambda _, value: sent.append(len(marshal.dumps(value))))

    recipe._tell(None, os.open(record, os.O_RDONLY), asked)

    assert len(sent) > 5
    assert max(sent) < 8000


def test_it_has_nothing_open_but_its_socket(opened, clerk):
    list(clerk.entries(opened(), Asked.MEMBERS))

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


def test_a_signal_while_it_is_made_comes_later_and_leaves_nothing_behind(monkeypatch):
    fork = os.fork

    def interrupted():
        pid = fork()
        signal.raise_signal(signal.SIGINT)  # in both
        return pid

    before = set(Path("/proc/self/fd").iterdir()), offspring()
    monkeypatch.setattr(os, "fork", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Clerk()
    assert (set(Path("/proc/self/fd").iterdir()), offspring()) == before


@pytest.mark.parametrize(("module", "call"), [(os, "fork"), (socket, "socketpair")])
def test_where_there_is_no_room_for_one_it_is_read_here(opened, monkeypatch, module, call):
    def refused():
        raise BlockingIOError(errno.EAGAIN, "no room")

    monkeypatch.setattr(module, call, refused)

    with Clerk() as clerk:
        assert clerk._pid is None
        assert len(list(clerk.entries(opened(), Asked.MEMBERS))) == len(ODD)


def test_where_another_thread_runs_none_is_forked(opened):
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with Clerk() as clerk:
            assert clerk._pid is None
            assert len(list(clerk.entries(opened(), Asked.MEMBERS))) == len(ODD)
    finally:
        over.set()
        thread.join()
