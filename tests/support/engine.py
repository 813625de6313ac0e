"""
A real Docker engine of a test's own: private root, private socket, no network, no other state.

`Engine` starts dockerd below a directory, stops it, crashes it, freezes it, and leaves nothing behind: no process, no
mount. Everything is built ``FROM scratch`` with a static busybox, and pulled from a registry on the loopback address,
so no test needs a network. Facts about the flags: Docker 20.10 (``dockerd --help``); newer engines take them too.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOCKERD = "/usr/sbin/dockerd"
BUSYBOX = "/usr/bin/busybox"
REGISTRY = "/usr/bin/docker-registry"
SETTLE = 5.0
"""
Seconds of rest before a start that make all that was written earlier older than the epoch: the start minus 2 s, told to
about 1 s, and the kernel's word for its boot, from which it is reckoned, moves by 1 s when the clock is slewed.
"""

FILE_TIME = 1_000_000_000
"""The mtime of all files in build contexts, so that a step that makes no directory has one diff id whenever it runs."""

_FLAGS = ("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=overlay2")


def docker_cli() -> str | None:
    """The client that comes with dockerd's package: it has BuildKit's client built in, newer ones do not."""
    return "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else shutil.which("docker")


def engine_lack() -> str | None:
    """Why no engine can be started here, or None."""
    if os.geteuid() != 0:
        return "not root"
    missing = [path for path in (DOCKERD, BUSYBOX, REGISTRY) if not os.access(path, os.X_OK)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if docker_cli() is None:
        return "no docker command"
    if place() is None:
        return "no directory whose filesystem can be the upper side of an overlay mount"
    return None


_places: list[Path | None] = []


def place() -> Path | None:
    """A directory for engines: short (sockets), and good for overlay mounts. Looked for once."""
    if not _places:
        candidates = (Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/var/lib"))
        _places.append(next((path for path in candidates if _holds_overlay(path)), None))
    return _places[0]


def _holds_overlay(candidate: Path) -> bool:
    try:
        home = Path(tempfile.mkdtemp(prefix="gcd-probe-", dir=candidate))
    except OSError:
        return False
    try:
        for name in ("lower", "upper", "work", "merged"):
            (home / name).mkdir()
        options = f"lowerdir={home}/lower,upperdir={home}/upper,workdir={home}/work"
        mounted = subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", options, str(home / "merged")], check=False, capture_output=True
        )
        return mounted.returncode == 0
    finally:
        unmount_below(home)
        shutil.rmtree(home, ignore_errors=True)


def unmount_below(directory: Path) -> None:
    """Detach every mount at or below `directory`, deepest first; its path must be free of characters to escape."""
    prefix = str(directory)
    points = []
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            point = line.split(" ")[4]
            if point == prefix or point.startswith(prefix + "/"):
                points.append(point)
    for point in sorted(points, key=len, reverse=True):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


class EngineError(Exception):
    """A command, or the engine itself, failed; the text holds what it said."""


class _Socket(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Engine:
    """
    One dockerd on ``home/root``. `command` is put before dockerd, such as ``unshare``; `flags` are added to its own.

    Every method that waits has a time limit and raises `EngineError` past it. `dispose` may be called in any state and
    any number of times.
    """

    def __init__(self, home: Path, *, command: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> None:
        self.home = home
        self.root = home / "root"
        self.exec_root = home / "exec"
        self.socket = home / "s"
        self.log = home / "log"
        self._command = command
        self._flags = (*_FLAGS, *flags)
        self._process: subprocess.Popen[bytes] | None = None
        for path in (self.root, self.exec_root):
            path.mkdir(mode=0o711, parents=True, exist_ok=True)

    # --- life and death -------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The pid of dockerd itself, as this process sees it."""
        started = self._running().pid
        return next(pid for pid in (started, *_descendants(started)) if _command_line(pid)[:1] == [DOCKERD])

    def start(self, limit: float = 30.0) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL", *self._command, DOCKERD),
                    *("--data-root", str(self.root), "--exec-root", str(self.exec_root)),
                    *("--pidfile", str(self.home / "pid"), "-H", f"unix://{self.socket}", *self._flags),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/_ping") == b"OK":
                    return
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-2000:]
        self.dispose()
        raise EngineError(f"dockerd did not come up:\n{tail}")

    def has_ended(self, within: float = 0.0) -> bool:
        """Whether dockerd has ended by itself, or does so within so many seconds."""
        try:
            self._running().wait(within)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, limit: float = 40.0, *, keep_containers: bool = False) -> None:
        """The orderly end: dockerd gets SIGTERM, stops its containers (with live-restore: not) and cleans up."""
        process = self._running()
        os.kill(self.pid, signal.SIGTERM)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired as late:
            raise EngineError(f"dockerd did not stop within {limit} s") from late
        self._process = None
        if not keep_containers:
            self._clear()

    def crash(self) -> None:
        """The end of a power cut: dockerd, its containerd, shims and containers get SIGKILL at once."""
        process = self._running()
        for pid in {self.pid, process.pid, *self._others()}:
            _kill(pid)
        process.wait(10)
        self._process = None
        self._clear()

    def restart(self) -> None:
        """Stop and start, with a pause between that makes all that is there older than the new epoch."""
        self.stop()
        time.sleep(SETTLE)
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, dockerd is halted in the middle of what it does; its locks and mounts stay."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            while _state(pid) not in "Tt":
                time.sleep(0.001)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # it was killed meanwhile
                os.kill(pid, signal.SIGCONT)

    def dispose(self) -> None:
        """Kill all that is left and unmount; the directory stays for its owner to remove."""
        if self._process is not None:
            if self._process.poll() is None:
                os.kill(self._process.pid, signal.SIGCONT)
                self.crash()
            else:
                self._process = None
        self._clear()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EngineError("the engine is not running")
        return self._process

    def _clear(self) -> None:
        deadline = time.monotonic() + 10
        while (pids := self._others()) and time.monotonic() < deadline:
            for pid in pids:
                _kill(pid)
            time.sleep(0.02)
        unmount_below(self.home)
        (self.home / "pid").unlink(missing_ok=True)
        # After a power cut /run is empty. For a pid there that is another process's by now an engine waits in vain.
        (self.exec_root / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def _others(self) -> set[int]:
        """Pids of this engine's containerd, its shims and what runs below them: each names this exec root."""
        mark = str(self.exec_root)
        own = {pid for pid in _pids() if any(mark in word for word in _command_line(pid)[1:])}
        own -= {os.getpid(), self._process.pid if self._process else 0}
        return own | {child for pid in own for child in _descendants(pid)}

    # --- use ------------------------------------------------------------------------------------------------------

    def docker(self, *arguments: str, buildkit: bool = False, stdin: bytes | None = None, limit: float = 120.0) -> str:
        """What the docker command prints; EngineError with its complaint if it fails."""
        done = subprocess.run(
            [str(docker_cli()), *arguments],
            env=self.environment(buildkit=buildkit),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=limit,
            check=False,
        )
        if done.returncode != 0:
            raise EngineError(f"docker {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace").strip()

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A docker command left to run; its caller waits for it."""
        return subprocess.Popen(
            [str(docker_cli()), *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def environment(self, *, buildkit: bool = False) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.home),
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_BUILDKIT": "1" if buildkit else "0",
        }

    def request(self, method: str, path: str, body: object = None, timeout: float = 60.0) -> bytes:
        """One call of the engine's API; EngineError for a status of 400 and above."""
        connection = _Socket(self.socket, timeout)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise EngineError(f"{method} {path}: {response.status} {answer.decode(errors='replace').strip()}")
        return answer

    def build(
        self, tag: str, dockerfile: str, files: Mapping[str, bytes] | None = None, *options: str, buildkit: bool = False
    ) -> str:
        """Build `tag` and give its image id. The context holds busybox, `dockerfile` and `files` with fixed mtimes."""
        context = Path(tempfile.mkdtemp(prefix="context-", dir=self.home))
        try:
            shutil.copy(BUSYBOX, context / "busybox")
            os.utime(context / "busybox", (FILE_TIME, FILE_TIME))
            for name, content in {**(files or {}), "Dockerfile": dockerfile.encode()}.items():
                path = context / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                os.utime(path, (FILE_TIME, FILE_TIME))
            self.docker("build", "--network=none", "-q", *options, "-t", tag, str(context), buildkit=buildkit)
        finally:
            shutil.rmtree(context)
        return self.docker("image", "inspect", "-f", "{{.Id}}", tag) if not any("-o" in o for o in options) else ""

    def inspect(self, what: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", what))
        return found[0]

    # --- what is on disk ------------------------------------------------------------------------------------------

    @property
    def layerdb(self) -> Path:
        return self.root / "image/overlay2/layerdb"

    @property
    def overlay2(self) -> Path:
        return self.root / "overlay2"

    def layer_dirs(self) -> set[str]:
        return {name for name in _names(self.overlay2) if name != "l" and (self.overlay2 / name).is_dir()}

    def chains(self) -> dict[str, str]:
        """Chain id → cache-id of every layer record that has one."""
        found = {}
        for name in _names(self.layerdb / "sha256"):
            with contextlib.suppress(OSError):
                found[f"sha256:{name}"] = (self.layerdb / "sha256" / name / "cache-id").read_text()
        return found

    def cited_links(self) -> set[str]:
        """The link ids that some ``lower`` names."""
        lowers = [path.read_text() for path in self.overlay2.glob("*/lower")]
        return {element.removeprefix("l/") for lower in lowers for element in lower.split(":")}

    def write_sets(self) -> list[str]:
        return _names(self.layerdb / "tmp")

    @staticmethod
    def chain(diff_ids: list[str]) -> str:
        """The chain id of `diff_ids`, base first (written anew here: an oracle shares no code with what it judges)."""
        chain = diff_ids[0]
        for diff_id in diff_ids[1:]:
            chain = "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
        return chain


_ENTER = """
c=$1; home=$2; shift 2
mkdir -p "$c$home"; mount --bind "$c" "$c"; mount --rbind "$home" "$c$home"; cd "$c"
mount -t proc proc proc; mount --rbind /sys sys; mount --rbind /dev dev
mkdir -p old; pivot_root . old; umount -l /old
exec chroot . "$@"
"""


def inside(chroot: Path, home: Path) -> tuple[str, ...]:
    """
    A `command` for an `Engine` at `home` whose dockerd is that of a Debian in the directory `chroot`.

    It runs in a mount namespace of its own, in which `home` has the same path as outside.
    """
    return ("unshare", "--mount", "--propagation", "private", "bash", "-euc", _ENTER, "_", str(chroot), str(home))


class Registry:
    """A registry on the loopback address (which engines accept without TLS), its blobs in `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        config = directory / "config.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {directory / 'blobs'}}}}}\n"
            f"http: {{addr: '{self.address}'}}\n"
        )
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", REGISTRY, "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._await()

    def _await(self) -> None:
        host, port = self.address.split(":")
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            time.sleep(0.05)
        self.close()
        raise EngineError("the registry did not come up")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


def copy_root(source: Path, target: Path) -> None:
    """A copy of a stopped engine's root with modes, owners, xattrs and mtimes; all ctimes in it are of now."""
    subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)


def disk_usage(*paths: Path) -> int:
    """What ``du`` says of `paths`, in bytes of disk usage."""
    done = subprocess.run(["du", "-s", "-B1", "-c", "--", *map(str, paths)], check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1].split()[0])


# --- /proc ------------------------------------------------------------------------------------------------------------


def _pids() -> list[int]:
    return [int(name) for name in _names(Path("/proc")) if name.isdigit()]


def _names(directory: Path) -> list[str]:
    """The entries of `directory`; none if it is not there (yet)."""
    try:
        return [entry.name for entry in directory.iterdir()]
    except FileNotFoundError:
        return []


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _status(pid: int) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` from the state on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid: int) -> str:
    return next(iter(_status(pid)), "T")


def _descendants(pid: int) -> set[int]:
    parents = {child: int(status[1]) for child in _pids() if (status := _status(child))}
    found: set[int] = set()
    layer = {pid}
    while layer := {child for child, parent in parents.items() if parent in layer} - found:
        found |= layer
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
