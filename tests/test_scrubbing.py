"""How a scrub that is at work hears that it is to pause, in the middle of a large file too."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest
from support.layers import Member, written

from gcd import scrubbing
from gcd.model.content import Course, Depth, Sweep
from gcd.planning import identity_of
from gcd.root.tree import open_root
from gcd.scrub import reading
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents
from gcd.scrubbing import work
from gcd.scrubs import Scrubs
from gcd.state import open_state


@pytest.fixture
def opening(tmp_path):
    (tmp_path / "root").mkdir()

    @contextmanager
    def opened():
        with open_state(tmp_path / "state") as state:
            yield Scrubs(state, identity_of(str(tmp_path / "root")), str(tmp_path / "root"))

    return opened


def scrub(tmp_path, opening, size, **pace):
    layer = written(tmp_path / "root", [Member("large", bytes(size))])
    with opening() as scrubs, open_root(str(tmp_path / "root")) as root, Contents(Pace(**pace)) as contents:
        sweep = Sweep(Course.RUNNING, 1, Depth.QUICK, is_dressed=False, layers=(layer.chain,))
        scrubs.begin(sweep)
        yield
        yield work(root, {layer.chain: layer}, scrubs, opening, sweep, contents, lambda *_: None)


@pytest.mark.parametrize("size", [reading.CHUNK, 4 * reading.CHUNK])
def test_a_pause_is_heard_within_a_file(tmp_path, opening, monkeypatch, size):
    monkeypatch.setattr(scrubbing, "ASKED_EVERY_SECONDS", 0.05)
    going = scrub(tmp_path, opening, size, rate=1000)
    next(going)

    def pause():
        with opening() as scrubs:
            scrubs.steer(Course.PAUSED)

    asking = threading.Timer(0.3, pause)
    asking.start()

    assert next(going) is Course.PAUSED
    going.close()
    asking.join()


def test_a_pause_in_the_last_moment_is_not_written_over(tmp_path, opening, monkeypatch):
    going = scrub(tmp_path, opening, 10)
    next(going)
    verify = scrubbing.verify

    def paused(*arguments, **named):
        with opening() as scrubs:
            scrubs.steer(Course.PAUSED)
        return verify(*arguments, **named)

    monkeypatch.setattr(scrubbing, "verify", paused)
    assert next(going) is Course.PAUSED
