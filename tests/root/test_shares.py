"""One stage in several processes: the same as in one, whatever becomes of them."""

import os
import signal
import threading
from pathlib import Path

import pytest
from support.offspring import offspring

from gcd.root import shares
from gcd.root.shares import in_shares

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
