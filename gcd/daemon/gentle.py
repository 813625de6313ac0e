"""The least urgent of all processes: idle class of I/O, and the highest nice value."""

from __future__ import annotations

import ctypes
import os
import platform

NICEST = 19

_IOPRIO_SET = {
    "x86_64": 251, "aarch64": 30, "armv7l": 314, "armv6l": 314, "i686": 289, "ppc64le": 273, "s390x": 282,
    "riscv64": 30,
}  # fmt: skip
"""The number of ioprio_set(2), which no library wraps."""

_WHO_PROCESS = 1
_IDLE_CLASS = 3 << 13


def be_gentle() -> None:
    """
    Let everybody else go first. What the service manager did already is not asked for again, and what is not allowed is
    let be: it is politeness, not safety.
    """
    if os.getpriority(os.PRIO_PROCESS, 0) < NICEST:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, NICEST)
        except OSError:
            return
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        ctypes.CDLL(None, use_errno=True).syscall(number, _WHO_PROCESS, 0, _IDLE_CLASS)
