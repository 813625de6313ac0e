"""
What ``gcd run`` takes while nothing happens, and what a hundred thousand events leave behind in it.

::

    python bench/daemon.py [--idle-seconds 60] [--events 100000]

A daemon of its own, with a state and a root of its own below a temporary directory, and no HTTP. First it is left alone
for a while: the processor time that it took, as a part of the time. Then orphans come and go, a
hundred at a time, four events each, and each time until its figures say so: its memory (the resident set) every tenth
of the way, and how long after the last event of a burst the figures were right, by its status. It lets everybody else
go first (nice 19), so that this says most about what else the machine does: tell the load with it.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gcd.demo.dockerroot import DockerRoot
from gcd.report.units import iec

GCD = str(Path(sys.executable).with_name("gcd"))
BURST = 100
EVENTS = 4
"""Of each orphan: a dir and a link come, and both go."""
IMAGES = 40
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_mib(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


class Daemon:
    """``gcd run`` on a root of `IMAGES` images, with this as its systemd."""

    def __init__(self, home: Path) -> None:
        self.root = home / "docker"
        with DockerRoot(self.root) as built:
            for number in range(IMAGES):
                image = built.image(f"image{number}:1", layers=5)
                built.container(f"container{number}", image=image)
        address = str(home / "notify")
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(address)
        environment = {**os.environ, "GCD_STATE_DIR": str(home / "state"), "NOTIFY_SOCKET": address}
        command = (GCD, "run", "--root", str(self.root), "--web.listen-address", "")
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        self.pid = self._process.pid
        self.wait_for("; read in full")

    def wait_for(self, words: str) -> None:
        """Until its status has `words`."""
        self._systemd.settimeout(60)
        while words not in self._systemd.recv(65536).decode():
            pass

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(10) == 0
        self._systemd.close()


def burst(daemon: Daemon, number: int) -> float:
    """`BURST` orphans come, and the same go; the seconds until the figures were right, the longer of both times."""
    names = [f"{number * BURST + index:064x}" for index in range(BURST)]
    size = sum(add(daemon.root, name) for name in names)
    began = time.perf_counter()
    daemon.wait_for(f"; {iec(size)} orphaned;")
    came = time.perf_counter() - began
    for name in names:
        remove(daemon.root, name)
    began = time.perf_counter()
    daemon.wait_for("; 0 B orphaned;")
    return max(came, time.perf_counter() - began)


def link_of(name: str) -> str:
    return name[-26:].translate(str.maketrans("0123456789abcdef", "ABCDEFGHIJKLMNOP"))


def add(root: Path, name: str) -> int:
    """A layer dir that nothing refers to; its size on disk."""
    home, symlink = root / "overlay2" / name, root / "overlay2/l" / link_of(name)
    (home / "diff").mkdir(parents=True)
    (home / "link").write_text(link_of(name))
    symlink.symlink_to(f"../{name}/diff")
    return 512 * sum(path.lstat().st_blocks for path in (home, home / "diff", home / "link", symlink))


def remove(root: Path, name: str) -> None:
    home = root / "overlay2" / name
    (root / "overlay2/l" / link_of(name)).unlink()
    (home / "link").unlink()
    (home / "diff").rmdir()
    home.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(description="What gcd run takes.")
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--events", type=int, default=100_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        daemon = Daemon(Path(home))
        time.sleep(2)
        before, began = cpu_seconds(daemon.pid), time.perf_counter()
        time.sleep(wanted.idle_seconds)
        taken, passed = cpu_seconds(daemon.pid) - before, time.perf_counter() - began
        print(f"idle: {taken:.2f} s of CPU in {passed:.0f} s: {100 * taken / passed:.3f} %")
        bursts = wanted.events // (EVENTS * BURST)
        waits = []
        print(f"{0:8} events: {resident_mib(daemon.pid):6.1f} MiB")
        for number in range(bursts):
            waits.append(burst(daemon, number))
            if (number + 1) % max(1, bursts // 10) == 0:
                print(f"{(number + 1) * EVENTS * BURST:8} events: {resident_mib(daemon.pid):6.1f} MiB", flush=True)
        print(f"figures after a burst: {statistics.median(waits):.2f} s (median), {max(waits):.2f} s (worst)")
        daemon.end()


if __name__ == "__main__":
    main()
