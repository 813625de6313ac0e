"""One stage by several, threads or processes: the same as by one, whatever becomes of them."""

import errno
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from support.offspring import offspring

from gcd.model.inventory import Source
from gcd.root import shares
from gcd.root.progress import ALONE, Pace
from gcd.root.shares import in_shares, in_threads

ITEMS = tuple(str(number) for number in range(30))


@pytest.fixture(autouse=True)
def few_are_worth_a_fork(monkeypatch):
    monkeypatch.setattr(shares, "WORTH_A_FORK", 5)


def by_pid(items, _shares):
    return {item: os.getpid() for item in items}


def pids(readers, items=ITEMS):
    found = in_shares(by_pid, items, readers)
    assert found.keys() == set(items)
    return set(found.values())


@pytest.mark.parametrize(("readers", "processes"), [(1, 1), (2, 2), (3, 3), (6, 6), (9, 6)])
def test_each_reader_has_a_share(readers, processes):
    found = pids(readers)
    assert (len(found), os.getpid() in found) == (processes, True)


def test_few_items_are_read_by_this_process():
    assert pids(4, ITEMS[:9]) == {os.getpid()}


def test_beside_another_thread_nothing_is_forked():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert pids(2) == {os.getpid()}
    finally:
        stop.set()
        thread.join()


def test_where_no_process_can_be_made_this_one_reads_all(monkeypatch):
    def no_room():
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", no_room)
    assert pids(3) == {os.getpid()}


@pytest.mark.parametrize(
    "end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: 1 // 0], ids=["killed", "raises"]
)
def test_the_share_of_a_reader_that_dies_is_read_again(end):
    own = os.getpid()

    def read(items, _shares):
        if os.getpid() != own:
            end()
        return {item: item for item in items}

    assert in_shares(read, ITEMS, 2) == {item: item for item in ITEMS}


@pytest.mark.parametrize("call", ["pipe", "fork"])
@pytest.mark.parametrize("after", [0, 1])
def test_where_no_more_can_be_made_this_one_reads_the_rest(monkeypatch, call, after):
    done, real = [], getattr(os, call)

    def no_more():
        if len(done) == after:
            raise OSError(errno.EMFILE, "no more")
        done.append(None)
        return real()

    before = set(Path("/proc/self/fd").iterdir()), offspring()
    monkeypatch.setattr(os, call, no_more)
    found = pids(3)
    assert (len(found), os.getpid() in found) == (after + 1, True)
    assert (set(Path("/proc/self/fd").iterdir()), offspring()) == before


def test_a_reader_that_somebody_else_waited_for_leaves_its_share_to_this_one(monkeypatch):
    """As the kernel does, too, where SIGCHLD is ignored."""
    wait = os.waitpid

    def too_late(pid, options):
        wait(pid, options)
        return wait(pid, options)

    monkeypatch.setattr(os, "waitpid", too_late)
    assert pids(3) == {os.getpid()}


def test_a_signal_while_readers_are_made_comes_later_and_leaves_none_behind(monkeypatch):
    fork, own = os.fork, os.getpid()

    def interrupted():
        pid = fork()
        signal.raise_signal(signal.SIGINT)  # in both
        return pid

    def read(items, _shares):
        assert os.getpid() == own, "a fork goes on in what its parent was in the middle of"
        return dict.fromkeys(items)

    before = set(Path("/proc/self/fd").iterdir()), offspring()
    monkeypatch.setattr(os, "fork", interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_shares(read, ITEMS, 3)
    assert os.getpid() == own
    assert (set(Path("/proc/self/fd").iterdir()), offspring()) == before


def test_an_error_of_this_process_leaves_no_other_behind():
    own = os.getpid()

    def read(_items, _shares):
        if os.getpid() == own:
            raise KeyError
        signal.pause()

    before = set(Path("/proc/self/fd").iterdir()), offspring()
    with pytest.raises(KeyError):
        in_shares(read, ITEMS, 2)
    assert (set(Path("/proc/self/fd").iterdir()), offspring()) == before


def test_shares_are_told_how_many_there_are():
    assert set(in_shares(dict.fromkeys, ITEMS, 3).values()) == {3}


MANY = tuple(range(1000))


def test_all_items_are_read_once_and_by_as_many_threads_as_may():
    beside = threading.Barrier(3, timeout=10)
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


@pytest.mark.parametrize("is_aside", [True, False])
def test_what_one_thread_raises_ends_the_work_of_all_and_is_raised(is_aside):
    own = threading.get_ident()
    beside = threading.Barrier(2, timeout=10)
    given = []

    def read(items):
        given.append(items)
        if len(given) <= 2:
            beside.wait()
        if (threading.get_ident() == own) is not is_aside:
            raise KeyError(items[0])
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
