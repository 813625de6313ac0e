"""
The plain loop: reads every file of a list and does nothing with it. Prints how many seconds the loop took.

The start of Python and the list itself are not in the time. ``readall.c`` is the same program in C.
"""

from __future__ import annotations

import gc
import os
import sys
import time

BUFFER = 16384


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as lines:  # noqa: PTH123
        items = [(line[0] == "l", line[2:-1]) for line in lines]
    gc.disable()
    started = time.perf_counter()
    for is_symlink, path in items:
        if is_symlink:
            os.readlink(path)  # noqa: PTH115
        else:
            fd = os.open(path, os.O_RDONLY)
            os.read(fd, BUFFER)
            os.close(fd)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
