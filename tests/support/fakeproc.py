"""A ``/proc`` made of plain files, for tests of what gcd reads from it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

BOOT_SECONDS: Final = 1_700_000_000
"""When the fake machine started, by the wall clock."""


class FakeProc:
    """
    A tree like ``/proc`` at `path`. Every process lives in gcd's own mount namespace unless `namespace` says otherwise.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "self" / "ns").mkdir(parents=True)
        (path / "self" / "ns" / "mnt").symlink_to("mnt:[1]")
        (path / "stat").write_text(f"cpu  1 2 3\nbtime {BOOT_SECONDS}\nprocesses 5\n")
        (path / "locks").write_text("")

    def __str__(self) -> str:
        return str(self.path)

    def process(
        self,
        pid: int,
        comm: str = "sleep",
        *,
        arguments: tuple[str, ...] | None = None,
        started: int = 100,
        namespace: str = "mnt:[1]",
        top: str = "/",
        cwd: str = "/",
        files: tuple[str, ...] = (),
        mountinfo: str = "",
        depth: int = 1,
        environment: tuple[str, ...] = (),
    ) -> Path:
        """A process that began `started` seconds after the machine, in `depth` pid namespaces."""
        folder = self.path / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "fd").mkdir()
        (folder / "comm").write_text(f"{comm}\n")
        argv = (f"/usr/bin/{comm}",) if arguments is None else arguments
        (folder / "cmdline").write_bytes(b"".join(os.fsencode(argument) + b"\0" for argument in argv))
        (folder / "environ").write_bytes(b"".join(os.fsencode(entry) + b"\0" for entry in environment))
        ticks = started * os.sysconf("SC_CLK_TCK")
        (folder / "stat").write_text(f"{pid} ({comm}) S 1 " + "0 " * 17 + f"{ticks} 0 0\n")
        (folder / "status").write_text("Name:\tx\nNSpid:\t" + "\t".join(["7"] * depth) + "\n")
        (folder / "ns" / "mnt").symlink_to(namespace)
        (folder / "root").symlink_to(top)
        (folder / "cwd").symlink_to(cwd)
        (folder / "mountinfo").write_text(mountinfo)
        for number, file in enumerate(files):
            (folder / "fd" / str(number)).symlink_to(file)
        return folder

    def lock(self, pid: int, file: Path) -> None:
        """A lock of `pid` on `file`, by the device that ``stat`` gives (right but on btrfs)."""
        status = file.stat()
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
        with (self.path / "locks").open("a") as locks:
            locks.write(f"1: FLOCK  ADVISORY  WRITE {pid} {device}:{status.st_ino} 0 EOF\n")
