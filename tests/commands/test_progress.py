from __future__ import annotations

import io
import sys

import pytest

from gcd.commands import progress
from gcd.commands.progress import ProgressBar, ScrubBar
from gcd.model.inventory import Source


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def told_on(monkeypatch):
    """What a bar writes to a stream that is stderr meanwhile, which it can be only within the test itself."""

    def tell(stream):
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(sys, "stderr", stream)
        with ProgressBar() as bar:
            for done in range(3):
                bar(Source.LAYERS, done, 2)
        monkeypatch.undo()
        return stream.getvalue()

    return tell


def test_nothing_is_shown_in_the_first_second(told_on):
    assert told_on(Terminal()) == ""


def test_after_a_second_it_says_what_is_read(told_on, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)

    assert "reading layers" in told_on(Terminal())


def test_nothing_is_shown_where_nobody_sits(told_on, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)

    assert told_on(io.StringIO()) == ""


def test_that_of_a_scrub_tells_of_bytes_and_of_the_rate(monkeypatch):
    stream = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(progress, "PATIENCE_SECONDS", 0.0)
        patch.setenv("TERM", "xterm")
        patch.setattr(sys, "stderr", stream)
        with ScrubBar() as bar:
            bar(1024, 2048, 4096)

    assert "scrubbing" in stream.getvalue()
    assert "3.0/4.0 KiB" in stream.getvalue()
