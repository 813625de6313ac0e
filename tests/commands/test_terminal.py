from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = "from support.results import damaged_host; from gcd.commands.terminal import show; show(damaged_host())"


def on_a_terminal(**environment):
    """What a terminal of 80 columns gets."""
    inherited = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "TERM", "COLUMNS"}}
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        stdout=follower,
        env={**inherited, "PYTHONPATH": path, "TERM": "xterm", "COLUMNS": "80", **environment},
    ) as process:
        os.close(follower)
        told = b""
        while chunk := read(leader):
            told += chunk
        assert process.wait(timeout=60) == 0
    os.close(leader)
    return told.decode()


def read(leader):
    """A pty whose other end is closed gives EIO where a pipe gives an end."""
    try:
        return os.read(leader, 65536)
    except OSError:
        return b""


def test_a_terminal_gets_colours_and_lines_that_fit():
    told = on_a_terminal()

    assert "\x1b[1;31mNot healthy" in told


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_none_are_wanted(environment):
    told = on_a_terminal(**environment)

    assert "Not healthy" in told
    assert "\x1b" not in told
    prose = [line for line in told.splitlines() if not re.search("[0-9a-f]{64}|^  #|^  systemctl", line)]
    assert max(map(len, prose)) <= 80
