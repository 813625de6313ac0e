"""
What systemd is told of a service of ``Type=notify``: sd_notify(3), over the datagram socket that it names.

Where there is no such socket nothing is told and nothing fails. The variables are taken out of the environment, so that
no child speaks for the service.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType


class Notifier:
    """
    A context manager; `address` is that of the socket, a path or ``@name``, or "".

    `watchdog_seconds` is within how long systemd must hear `alive` again, else it kills the service; None: never.
    """

    def __init__(self, address: str = "", watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds if address else None
        self._status = ""
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(0)
            self._address = f"\0{address[1:]}" if address.startswith("@") else address

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        address = environment.pop("NOTIFY_SOCKET", "")
        microseconds = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "")
        is_watched = microseconds.isdecimal() and int(microseconds) > 0 and pid in {"", str(os.getpid())}
        return cls(address, int(microseconds) / 1e6 if is_watched else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ready(self) -> None:
        """The service is up, or is up again after `reloading`."""
        self._send("READY=1")

    def status(self, line: str) -> None:
        """What ``systemctl status`` shows; sent only if it is another one than before."""
        if line != self._status and self._send("STATUS=" + line.replace("\n", " ")):
            self._status = line

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        """
        Whether it was sent. Nobody to hear it, or a full socket, is no reason to end: systemd itself sees to a service
        that is silent.
        """
        if self._socket is None:
            return False
        try:
            self._socket.sendto(message.encode("utf-8", "backslashreplace"), self._address)
        except OSError:
            return False
        return True
