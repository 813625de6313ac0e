"""
What the daemon starts to scrub: ``gcd scrub`` in a process that ends when the daemon ends, however that comes about.

``python -P -m gcd.daemon.scrubchild PARENT WORD...``, where PARENT is the daemon's process id.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

from gcd import cli
from gcd.model.errors import ExitBits

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
"""prctl(2), which no library wraps: the signal that the kernel sends when the thread that started this one is gone."""


def main(parent: int, words: Sequence[str]) -> ExitBits:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before anybody was asked to tell of it
        return ExitBits.INTERRUPTED
    return cli.run(["scrub", *words])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
