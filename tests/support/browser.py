"""
A real browser without a window: what it makes of a page, what it complains of, and how the page looks.

Facts about its flags, of Debian's Chromium 156 (``--headless=new``): ``--dump-dom`` prints the document once it is
loaded, ``--enable-logging=stderr`` what the page's console says, each line with ``CONSOLE``.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Seen:
    dom: str
    console: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Browser:
    """`home` is a directory of its own, where it keeps what it wants to keep."""

    home: Path

    def see(self, address: str) -> Seen:
        done = self._run("--dump-dom", "--enable-logging=stderr", "--v=0", address)
        return Seen(done.stdout, tuple(re.findall(r"CONSOLE.*", done.stderr)))

    def take_picture(self, address: str, file: Path, *, width: int, height: int, dark: bool = False) -> None:
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        self._run(scheme, f"--window-size={width},{height}", f"--screenshot={file}", address)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # As root it has no sandbox; without --disable-gpu it looks for a screen first.
        common = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
        return subprocess.run(
            ["chromium", *common, "--allow-file-access-from-files", f"--user-data-dir={self.home}", *arguments],
            env={**os.environ, "HOME": str(self.home), "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_SECONDS,
        )
