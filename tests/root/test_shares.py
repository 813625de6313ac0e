"""One stage by several threads: the same as by one, whatever becomes of them."""

import ctypes
import errno
import os
import signal
import threading
import time

import pytest

from gcd.model.inventory import Source
from gcd.root import shares
from gcd.root.progress import ALONE, Pace
from gcd.root.shares import in_threads

MANY = tuple(range(1000))


def test_all_items_are_read_once_and_by_as_many_threads_as_may():
    beside = threading.Barrier(3, timeout=60)
    given = []

    def read(items):
        given.append(items)
        if len(given) <= 3:
            beside.wait()  # until three read at a time
        return {item: threading.get_ident() for item in items}

    found = in_threads(read, MANY, Source.LAYERS, Pace(readers=3))
    assert sorted(item for items in given for item in items) == list(MANY) == sorted(found)
    assert threading.get_ident() in found.values()
    assert threading.active_count() == 1


@pytest.mark.parametrize("is_alone", [True, False])
def test_who_helps_has_descriptors_of_its_own_where_no_other_thread_may_miss_them(tmp_path, is_alone):
    """Else what another thread closes, a connection, say, would stay open as long as somebody reads."""
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    if not is_alone:
        other.start()
    (tmp_path / "file").write_bytes(b"x")
    home = os.open(tmp_path, os.O_RDONLY)
    beside = threading.Barrier(2, timeout=60)
    own = threading.get_ident()
    opened, seen = [], []

    def read(items):
        is_aside = threading.get_ident() != own
        if len(seen) == 2:
            return dict.fromkeys(items)
        if is_aside:
            opened.append(os.open("file", os.O_RDONLY, dir_fd=home))
        beside.wait()
        seen.append((is_aside, errno_at(opened[0])))
        beside.wait()
        if is_aside:
            os.close(opened[0])
        return dict.fromkeys(items)

    try:
        assert in_threads(read, MANY, Source.LAYERS, Pace(readers=2)) == dict.fromkeys(MANY)
    finally:
        os.close(home)
        over.set()
        if not is_alone:
            other.join()
    assert sorted(seen) == [(False, errno.EBADF if is_alone else 0), (True, 0)]


def errno_at(descriptor):
    try:
        os.fstat(descriptor)
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.parametrize("lack", [OSError, AttributeError])
def test_where_descriptors_cannot_be_separate_all_is_read(monkeypatch, lack):
    asked = []

    def cdll(_name):
        asked.append(threading.get_ident())
        raise lack

    monkeypatch.setattr(ctypes, "CDLL", cdll)
    assert in_threads(dict.fromkeys, MANY, Source.LAYERS, Pace(readers=2)) == dict.fromkeys(MANY)
    assert len(asked) == 1
    assert asked != [threading.get_ident()]


@pytest.mark.parametrize(("items", "readers"), [((), 3), (MANY[:256], 3), (MANY, 1)])
def test_nobody_helps_where_there_is_nothing_to_share(items, readers):
    found = in_threads(
        lambda some: dict.fromkeys(some, threading.get_ident()), items, Source.LAYERS, Pace(None, readers)
    )
    assert found == dict.fromkeys(items, threading.get_ident())


def test_progress_is_told_by_who_asks_from_the_beginning_to_the_end():
    told = []
    pace = Pace(lambda *what: told.append((threading.get_ident(), *what)))
    in_threads(dict.fromkeys, MANY, Source.LINKS, pace)
    assert told == [(threading.get_ident(), Source.LINKS, done, 1000) for done in (0, 256, 512, 768, 1000)]

    told.clear()
    in_threads(dict.fromkeys, MANY, Source.LINKS, Pace(pace.progress, 3))
    assert {who for who, *_ in told} == {threading.get_ident()}
    assert told[-1][1:] == (Source.LINKS, 1000, 1000)


def test_what_is_quick_is_read_in_ever_more_batches_until_it_comes_to_the_end(monkeypatch):
    given = []

    def read(items):
        given.append(len(items))
        return dict.fromkeys(items)

    many = range(256 * 100)
    monkeypatch.setattr(shares, "QUICK_SECONDS", 600.0)
    assert in_threads(read, many, Source.LINKS, ALONE) == dict.fromkeys(many)
    batches = [1, 2, 4, *[8] * 10, 6, 3, 2, 1, 1]
    assert given == [256 * most for most in batches]

    given.clear()
    monkeypatch.setattr(shares, "QUICK_SECONDS", 0.0)
    in_threads(read, many, Source.LINKS, ALONE)
    assert given == [256] * 100


@pytest.mark.parametrize("is_aside", [True, False])
def test_what_one_thread_raises_ends_the_work_of_all_and_is_raised(is_aside):
    own = threading.get_ident()
    beside = threading.Barrier(2, timeout=60)
    given = []

    def read(items):
        given.append(items)
        if len(given) <= 2:
            beside.wait()
        if (threading.get_ident() == own) is not is_aside:
            raise KeyError(items[0])
        time.sleep(0.01)
        return dict.fromkeys(items)

    with pytest.raises(KeyError):
        in_threads(read, tuple(range(256 * 1000)), Source.LAYERS, Pace(readers=2))
    assert threading.active_count() == 1
    assert len(given) < 1000


def test_alone_one_is_read_after_the_other():
    assert list(in_threads(dict.fromkeys, MANY, Source.LAYERS, ALONE)) == list(MANY)


def test_where_no_thread_can_be_started_this_one_reads_all(monkeypatch):
    def no_room(_thread):
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", no_room)
    found = in_threads(lambda some: dict.fromkeys(some, threading.get_ident()), MANY, Source.LAYERS, Pace(readers=4))
    assert found == dict.fromkeys(MANY, threading.get_ident())


def test_a_signal_while_threads_are_started_comes_later_and_leaves_none_behind(monkeypatch):
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        signal.raise_signal(signal.SIGINT)

    def slowly(items):
        time.sleep(0.1)
        return dict.fromkeys(items)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_threads(slowly, MANY, Source.LAYERS, Pace(readers=3))
    assert threading.active_count() == 1


def test_what_is_to_be_done_meanwhile_is_done_once_and_by_who_asks_while_others_read():
    own, is_read, done = threading.get_ident(), threading.Event(), []

    def read(items):
        assert threading.get_ident() != own or done
        is_read.set()
        return dict.fromkeys(items)

    def meanwhile():
        assert is_read.wait(60)
        done.append(threading.get_ident())

    found = in_threads(read, MANY, Source.LAYERS, Pace(readers=2), meanwhile)
    assert (found, done) == (dict.fromkeys(MANY), [own])


@pytest.mark.parametrize(("items", "readers"), [((), 3), (MANY[:256], 3), (MANY, 1)])
def test_where_nobody_helps_it_is_done_before(items, readers):
    order = []

    def read(some):
        order.append("read")
        return dict.fromkeys(some)

    in_threads(read, items, Source.LAYERS, Pace(None, readers), lambda: order.append("done"))
    assert order == ["done", *["read"] * -(-len(items) // 256)]


def test_what_it_raises_ends_the_work_of_all_and_is_raised():
    is_read, given = threading.Event(), []

    def read(items):
        given.append(items)
        is_read.set()
        time.sleep(0.001)
        return dict.fromkeys(items)

    def meanwhile():
        assert is_read.wait(60)
        raise KeyError

    with pytest.raises(KeyError):
        in_threads(read, tuple(range(256 * 10_000)), Source.LAYERS, Pace(readers=2), meanwhile)
    assert threading.active_count() == 1
    assert len(given) < 10_000
