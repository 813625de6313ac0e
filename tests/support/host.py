"""
A whole Docker host of a test's own: Debian with systemd as PID 1, docker.service, and no network but its own loopback.

A `Host` boots in about a second, in namespaces and a cgroup of its own, and all that it writes is in memory. Nothing of
it is left when it is disposed of, nor when the test is killed: its processes die with the test, and its memory and
mounts with them. Only its empty cgroups stay then, until the next `Host` sweeps them.

Facts: systemd's container interface (systemd.io/CONTAINER_INTERFACE) says what PID 1 wants to find and what it leaves
alone. In a container it leaves the propagation of mounts, which on a machine it makes shared (``mount-setup.c``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.debian import CHECKOUT, python_of, tree, wheels

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = ("apt-get", "mmdebstrap", "nsenter", "setpriv", "unshare")
_CGROUP_PREFIX = "gcd-host-"
_MEMORY = "2g"
# What the host is while it is off: its disk, an overlay on the tree, and its Docker root, which overlay2 needs not to
# be on an overlay. Both are memory that only the mount namespace of this process holds.
_KEEP = """
tree=$1 home=$2 memory=$3 checkout=$4 wheels=$5
mount -t tmpfs -o "size=$memory,mode=755" host "$home"
mkdir "$home/upper" "$home/work" "$home/docker" "$home/root" "$home/cgroup"
mount -t cgroup2 cgroup2 "$home/cgroup"
mount -t overlay -o "lowerdir=$tree,upperdir=$home/upper,workdir=$home/work" host "$home/root"
cd "$home/root"
mkdir -p var/lib/docker root/gcd root/wheels
mount --bind "$home/docker" var/lib/docker
mount --bind -o ro "$checkout" root/gcd
mount --bind -o ro "$wheels" root/wheels
echo kept
exec sleep infinity
"""

_POWER = """
home=$1 cgroup=$2
echo $$ >"$cgroup/cgroup.procs"
exec unshare --pid --uts --ipc --net --cgroup --mount --fork --kill-child bash -euc "$3" _ "$home/root"
"""

# What the firmware and the kernel do. /dev is the host's own, since journald puts a socket into it, and the settings of
# the kernel are the machine's, and not to be written.
_BOOT = """
cd "$1"
mount -t proc proc proc
mount --bind proc/sys/net proc/sys/net
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 dev dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . mnt
umount -l /mnt
mount --make-rshared /
cd /
exec env -i container=other PATH=/usr/sbin:/usr/bin /lib/systemd/systemd --system --unit=multi-user.target
"""


def host_lack() -> str | None:
    """Why no host can be built here, or None."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"needs a Debian host: no {', '.join(missing)} on the PATH" if missing else None


class HostError(Exception):
    """A host, or a command in it, failed; the text holds what it said."""


class Host:
    """
    One machine; `boot` turns it on, `crash` is a power cut, `dispose` takes it to pieces. Its disk outlives a crash.

    Every command has a time limit, and HostError when it fails.
    """

    def __init__(self) -> None:
        debian = tree()
        fetched = wheels(python_of(debian))
        self._home = debian.parent / "mnt"
        self._home.mkdir(exist_ok=True)
        self._power: subprocess.Popen[bytes] | None = None
        self.pid = 0
        """Of its PID 1, as this process sees it; 0 while it is off."""
        self._disk = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private"),
                *("bash", "-euc", _KEEP, "_", str(debian), str(self._home), _MEMORY, str(CHECKOUT), str(fetched)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._disk.stdout is not None
        if self._disk.stdout.readline() != b"kept\n":
            self.dispose()
            raise HostError("the disk of the host could not be made")
        self._sweep()

    @property
    def disk(self) -> Path:
        """Its root directory, as this process sees it, on or off."""
        return self._seen / "root"

    @property
    def _seen(self) -> Path:
        """What only the mount namespace of the disk holds."""
        return Path(f"/proc/{self._disk.pid}/root{self._home}")

    def boot(self, limit: float = 60.0) -> None:
        """Turn it on and wait until all is started that is to start, or has failed to."""
        name = f"{_CGROUP_PREFIX}{self._disk.pid}"
        (self._seen / "cgroup" / name).mkdir(exist_ok=True)
        self._power = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "nsenter", "-t", str(self._disk.pid), "--mount"),
                *("bash", "-euc", _POWER, "_", str(self._home), f"{self._home}/cgroup/{name}", _BOOT),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + limit
        state = ""
        while time.monotonic() < deadline and self._power.poll() is None:
            self.pid = self.pid or _systemd_below(self._power.pid)
            if self.pid:
                state = self.run("systemctl", "is-system-running", limit=limit).stdout.strip()
                if state in {"running", "degraded"}:
                    return
            time.sleep(0.05)
        self.crash()
        raise HostError(f"the host did not come up: {state or 'no systemd'}")

    def crash(self) -> None:
        """A power cut: all its processes are gone at once."""
        if self._power is not None:
            if self.pid:
                _kill(self.pid)
            else:
                self._power.kill()
            self._power.wait(10)
        self._power, self.pid = None, 0
        self._sweep()

    def dispose(self) -> None:
        """Nothing of it is left. May be called in any state and any number of times."""
        if self._disk.poll() is None:
            self.crash()
            self._disk.kill()
            self._disk.wait(10)
        if self._disk.stdout is not None:
            self._disk.stdout.close()

    def command(self, *arguments: str, limit: float = 60.0) -> str:
        """What a command in the running host says; HostError with its complaint if it fails."""
        done = self.run(*arguments, limit=limit)
        if done.returncode != 0:
            raise HostError(f"{' '.join(arguments)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def shell(self, script: str, limit: float = 60.0) -> str:
        """What a shell script says; it ends at the first command that fails."""
        return self.command("sh", "-euc", script, limit=limit)

    def property(self, unit: str, name: str) -> str:
        """What ``systemctl show`` says of `unit`."""
        return self.command("systemctl", "show", "--value", "--property", name, unit)

    def journal(self, unit: str, *options: str) -> list[str]:
        """What `unit`, and systemd about it, said since the host was turned on."""
        return self.command("journalctl", "--boot", "--no-pager", "--output=cat", "--unit", unit, *options).splitlines()

    def run(self, *arguments: str, limit: float = 60.0) -> subprocess.CompletedProcess[str]:
        """A command in the running host that may fail."""
        try:
            return subprocess.run(
                [
                    *("nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w"),
                    *("env", "-i", "PATH=/usr/sbin:/usr/bin", "HOME=/root", *arguments),
                ],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit,
            )
        except subprocess.TimeoutExpired as late:
            raise HostError(f"{' '.join(arguments)}: not done within {limit} s") from late

    def _sweep(self) -> None:
        """Remove the cgroups of this host, which is off, and of hosts whose tests were killed."""
        for cgroup in (self._seen / "cgroup").glob(f"{_CGROUP_PREFIX}*"):
            owner = cgroup.name.removeprefix(_CGROUP_PREFIX)
            if owner == str(self._disk.pid) or not Path(f"/proc/{owner}").exists():
                for folder, _, _ in os.walk(cgroup, topdown=False):
                    with contextlib.suppress(OSError):
                        Path(folder).rmdir()


def wait_for(what: Callable[[], object], limit: float = 30.0) -> None:
    """Until `what` is so; HostError past the limit."""
    deadline = time.monotonic() + limit
    while not what():
        if time.monotonic() > deadline:
            raise HostError(f"waited {limit} s in vain")
        time.sleep(0.05)


def _systemd_below(power: int) -> int:
    """The pid of the host's PID 1 once it is systemd; 0 before."""
    try:
        children = Path(f"/proc/{power}/task/{power}/children").read_text().split()
        pid = int(children[0]) if children else 0
        return pid if pid and Path(f"/proc/{pid}/comm").read_text() == "systemd\n" else 0
    except OSError:
        return 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
