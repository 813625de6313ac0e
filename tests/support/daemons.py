"""
``gcd run`` for tests: in a thread of this process, where everything can be looked at, or in a fork of it, where it can
be sent signals and be killed. A fork of a warm process is there at once.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcd import cli, logs, settings
from gcd.daemon import gentle
from gcd.daemon.alone import Alone
from gcd.daemon.board import Board
from gcd.daemon.loop import Daemon
from gcd.daemon.signals import Flags
from gcd.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcd.model.published import Published

PATIENCE_SECONDS = 30.0
"""How long a test waits for what must come, on a machine that does much else."""


def link_of(number: int) -> str:
    """A link id of its own for each number."""
    return "ORPHAN" + f"{number:020d}".translate(str.maketrans("0123456789", "ABCDEFGHIJ"))


def orphan(root: Path, number: int = 0) -> str:
    """A layer dir that nothing refers to, with a file of a page; its id."""
    name = f"{number:064x}"
    home = root / "overlay2" / name
    (home / "diff").mkdir(parents=True)
    (home / "diff" / "file").write_bytes(b"x" * 4096)
    (home / "link").write_text(link_of(number))
    (root / "overlay2/l" / link_of(number)).symlink_to(f"../{name}/diff")
    return name


def remove(root: Path, number: int = 0) -> None:
    """What `orphan` made."""
    shutil.rmtree(root / "overlay2" / f"{number:064x}")
    (root / "overlay2/l" / link_of(number)).unlink()


def size_of_orphan(root: Path, number: int = 0) -> int:
    """What gcd says that moving it would take away: the dir and its symlink in the link farm."""
    home, symlink = root / "overlay2" / f"{number:064x}", root / "overlay2/l" / link_of(number)
    return disk_usage(home) + 512 * symlink.lstat().st_blocks


def disk_usage(path: Path) -> int:
    """Bytes of the tree at `path`, as ``du`` counts them."""
    return 512 * sum(os.lstat(found).st_blocks for found in [path, *path.rglob("*")])


def wait_until(holds: Callable[[], object], what: str, *, seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)


class Systemd:
    """The other end of a service's notify socket. The kernel keeps ten datagrams; further ones are lost."""

    def __init__(self, home: Path) -> None:
        self.address = str(home / "notify")
        Path(self.address).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._heard: list[str] = []
        self._one_hears = threading.Lock()

    @property
    def heard(self) -> list[str]:
        """Everything so far, one entry a datagram."""
        with self._one_hears:
            while self._socket.fileno() >= 0 and select.select([self._socket], [], [], 0)[0]:
                self._heard.append(self._socket.recv(65536).decode())
        return self._heard

    def hear_until(self, ended: threading.Event) -> None:
        """Lose nothing, however long the test looks elsewhere."""
        while not ended.wait(0.1):
            assert self.heard is not None

    @property
    def statuses(self) -> list[str]:
        return [said.removeprefix("STATUS=") for said in self.heard if said.startswith("STATUS=")]

    def close(self) -> None:
        """What was heard until then can still be asked for."""
        assert self.heard is not None
        self._socket.close()


@dataclass
class Watching:
    """A daemon in a thread."""

    board: Board
    flags: Flags
    systemd: Systemd
    log: io.StringIO
    etc: Path
    raised: list[BaseException] = field(default_factory=list)

    @property
    def latest(self) -> Published:
        """What is shown; waits for the first."""
        wait_until(lambda: self.board.latest is not None or self.raised, "a first look")
        assert self.raised == []
        assert self.board.latest is not None
        return self.board.latest

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def named(self, event: str) -> list[dict[str, Any]]:
        return [said for said in self.events if said["event"] == event]

    def say(self, text: str) -> None:
        """Settings, which a reload reads."""
        (self.etc / "gcd.toml").write_text(text)


def settings_in(etc: Path, root: Path | None, state: Path) -> settings.Settings:
    said = {"state_dir": str(state), "web": {"listen_address": ""}}
    return settings.load({**said, **({"root": str(root)} if root else {})}, directory=etc).settings


@contextlib.contextmanager
def watching(home: Path, root: Path | None, text: str = "", *, state: Path | None = None) -> Iterator[Watching]:
    """A daemon that watches `root` by the settings in `text`; it has ended when this ends."""
    etc = home / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "gcd.toml").write_text(text)
    place = home / "state" if state is None else state
    systemd, log = Systemd(home), io.StringIO()
    logs.configure("info", json=True, stream=log, is_journal=False)
    with Notifier(systemd.address, 1.0) as notifier, Flags() as flags, Alone() as alone:
        board = Board(notifier)
        watched = Watching(board, flags, systemd, log, etc)
        daemon = Daemon(
            settings_in(etc, root, place),
            board=board,
            alone=alone,
            reread=lambda: settings_in(etc, root, place),
            notifier=notifier,
            flags=flags,
        )

        def run() -> None:
            try:
                daemon.run()
            except BaseException as error:  # noqa: BLE001 - the test must hear of it
                watched.raised.append(error)

        thread, ended = threading.Thread(target=run), threading.Event()
        hearing = threading.Thread(target=systemd.hear_until, args=[ended])
        thread.start()
        hearing.start()
        try:
            yield watched
        finally:
            flags.stop()
            thread.join(PATIENCE_SECONDS)
            ended.set()
            hearing.join()
            systemd.close()
        assert not thread.is_alive(), "the daemon did not end"


class Forked:
    """
    ``gcd run`` as a process of its own, a fork of this one, with `arguments` after the command's name; `begin` is
    called in it first. Unless it `is_gentle` it is no more patient than the tests that run beside it.
    """

    def __init__(
        self,
        home: Path,
        root: Path,
        text: str = "",
        *arguments: str,
        watchdog: float | None = None,
        is_gentle: bool = False,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self.home = home
        self.log = home / "log"
        etc = home / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        (etc / "gcd.toml").write_text(text)
        self.etc = etc
        self.systemd = Systemd(home)
        environment = {"NOTIFY_SOCKET": self.systemd.address, "GCD_STATE_DIR": str(home / "state")}
        if watchdog is not None:
            environment["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
        words = ["run", "--root", str(root), *(arguments or ("--web.listen-address", ""))]
        self._has_ended = False
        self.pid = os.fork()
        if self.pid == 0:
            if not is_gentle:
                gentle.be_gentle = lambda: None
            self._be_the_daemon(words, environment, begin)

    def _be_the_daemon(self, words: list[str], environment: dict[str, str], begin: Callable[[], None]) -> None:
        status = 99
        try:
            for name in [name for name in os.environ if name.startswith("GCD_")]:
                del os.environ[name]
            os.environ.update(environment)
            settings.CONFIG_DIR = self.etc
            log = self.log.open("a", buffering=1)
            sys.stdout = sys.stderr = log
            begin()
            status = int(cli.run(words))
        except BaseException:  # noqa: BLE001 - whatever it is, it belongs into the log
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(status)

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    @property
    def words(self) -> list[str]:
        """What it said in plain text, one sentence a line."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if not line.startswith("{")]

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit status, or minus the signal that killed it."""
        end = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._has_ended = True
                self.systemd.close()
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < end, f"the daemon did not end within {seconds:g} s"
            time.sleep(0.01)

    def dispose(self) -> None:
        """It has ended, whatever became of the test."""
        if not self._has_ended:
            self.signal(signal.SIGKILL)
            self.ended()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL
