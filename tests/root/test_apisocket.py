"""Which socket is the engine's: sockets are real, ``/proc`` is made of files."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from support.fakeproc import FakeProc

from gcd.model.errors import CannotAct
from gcd.root import apisocket
from gcd.root.apisocket import api_socket
from gcd.root.dockerd import Settings, parse_daemon_json, parse_flags, running_engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PID = 500
FOUND = "was found where its flags and its configuration say: name it with --socket"


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    home = tmp_path_factory.mktemp("h")  # the path of a socket has 107 characters at most
    monkeypatch.setattr(apisocket, "DEFAULT_SOCKET", str(home / "run/docker.sock"))
    made = Host(home)
    yield made
    for bound in made.sockets:
        bound.close()


class Host:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.proc = FakeProc(home / "proc")
        self.sockets: list[socket.socket] = []
        self.lines = ["Num RefCount Protocol Flags Type St Inode Path"]
        self.inodes: list[int] = []
        (home / "run").mkdir()
        (home / "root").mkdir()

    def bind(self, name: str, *, told_as: str = "", is_the_engines: bool = True) -> Path:
        """A socket at `name`, whose listener the engine has open or not."""
        path = self.home / name
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))
        self.sockets.append(bound)
        inode = 7000 + len(self.sockets)
        self.lines.append(f"0000: 00000002 00000000 00010000 0001 01 {inode} {told_as or path}")
        if is_the_engines:
            self.inodes.append(inode)
        return path

    def engine(self, *flags: str, top: str = "/", **how: object) -> Callable[[str], str]:
        """What `api_socket` says of the engine with these flags, asked with what the user names."""
        files = ("/dev/null", "anon_inode:[eventpoll]", *(f"socket:[{inode}]" for inode in (1, *self.inodes)))
        arguments = ("/usr/bin/dockerd", "--data-root", str(self.home / "root"), *flags)
        folder = self.proc.process(PID, "dockerd", arguments=arguments, files=files, top=top, **how)
        (folder / "net").mkdir()
        (folder / "net/unix").write_text("\n".join(self.lines) + "\n")
        (engine,) = running_engines(str(self.proc))
        return lambda named="": api_socket(engine, named, str(self.proc))


def test_where_the_flags_say(host: Host):
    path = host.bind("s")
    host.bind("other", is_the_engines=False)
    assert host.engine("-H", "tcp://127.0.0.1:2375", f"--host=unix://{path}")() == str(path)


def test_where_the_configuration_says(host: Host):
    path = host.bind("s")
    file = host.home / "daemon.json"
    file.write_text(json.dumps({"hosts": [f"unix://{path}"]}))
    assert host.engine("--config-file", str(file))() == str(path)


@pytest.mark.parametrize("flags", [(), ("-H", "unix://"), ("-H", "fd://"), ("-H", "fd://docker.socket")])
def test_where_engines_listen_by_default(host: Host, flags: tuple[str, ...]):
    path = host.bind("run/docker.sock")
    assert host.engine(*flags)() == str(path)


def test_the_default_of_a_rootless_engine(host: Host):
    path = host.bind("docker.sock")
    environment = (f"XDG_RUNTIME_DIR={host.home}", "ROOTLESSKIT_STATE_DIR=/run/x", "HOME=/home/x")
    assert host.engine(environment=environment)() == str(path)


def test_a_directory_of_the_user_alone_makes_no_rootless_engine(host: Host):
    path = host.bind("run/docker.sock")
    assert host.engine(environment=(f"XDG_RUNTIME_DIR={host.home}",))() == str(path)


def test_one_that_a_dead_engine_left_is_passed_over(host: Host):
    left = host.bind("left", is_the_engines=False)
    path = host.bind("s")
    assert host.engine("-H", f"unix://{left}", "-H", f"unix://{path}")() == str(path)


def test_a_symlink_on_the_way_is_the_engines(host: Host):
    path = host.bind("run/docker.sock")
    (host.home / "var").symlink_to(host.home / "run")
    assert host.engine("-H", f"unix://{host.home}/var/docker.sock")() == str(path)


def test_an_engine_in_a_mount_namespace_of_its_own(host: Host):
    """The paths are its own; an absolute symlink on the way leads into its root, not into gcd's."""
    inner = host.home / "inner"
    (inner / "run").mkdir(parents=True)
    (inner / "var").mkdir()
    (inner / "var/run").symlink_to("/run")
    (inner / "data").mkdir()
    path = host.bind("inner/run/docker.sock", told_as="/run/docker.sock")
    found = host.engine(
        "--data-root", "/data", "-H", "unix:///var/run/docker.sock", top=str(inner), namespace="mnt:[2]"
    )
    assert found() == f"{host.proc}/{PID}/root/run/docker.sock"
    assert found(str(path)) == str(path)


def test_named_by_the_user(host: Host):
    path = host.bind("s")
    (host.home / "link").symlink_to(path)
    found = host.engine("-H", "tcp://127.0.0.1:2375")
    assert found(str(path)) == str(path)
    assert found(str(host.home / "link")) == str(host.home / "link")


@pytest.mark.parametrize("named", ["other", "root", "nowhere"])
def test_named_one_on_which_the_engine_does_not_listen(host: Host, named: str):
    host.bind("s")
    host.bind("other", is_the_engines=False)
    with pytest.raises(CannotAct, match=rf"dockerd \(pid {PID}\), whose root this is, does not listen on {host.home}"):
        host.engine()(str(host.home / named))


@pytest.mark.parametrize("flags", [("-H", "tcp://127.0.0.1:2375"), ("-H", "unix://relative"), ("-H", "npipe:////x")])
def test_no_unix_socket(host: Host, flags: tuple[str, ...]):
    host.bind("s")
    with pytest.raises(CannotAct, match=FOUND):
        host.engine(*flags)()


def test_files_that_may_not_be_seen(host: Host, monkeypatch: pytest.MonkeyPatch):
    host.bind("run/docker.sock")
    found = host.engine()

    def refused(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(apisocket.os, "scandir", refused)
    with pytest.raises(
        CannotAct, match=rf"The files of dockerd \(pid {PID}\) cannot be seen \(EACCES\): run gcd as root"
    ):
        found()


def test_an_engine_that_ended_meanwhile(host: Host):
    host.bind("run/docker.sock")
    found = host.engine()
    (host.proc.path / str(PID) / "net/unix").unlink()
    with pytest.raises(CannotAct, match=FOUND):
        found()


@pytest.mark.parametrize(
    ("flags", "hosts"),
    [
        (("-H", "fd://", "--host", "unix:///a"), ("fd://", "unix:///a")),
        (("-Hunix:///a", "-H=fd://"), ("unix:///a", "fd://")),
        (("--host=tcp://0.0.0.0:2376", "-D"), ("tcp://0.0.0.0:2376",)),
        (("--debug",), ()),
    ],
)
def test_hosts_in_flags(flags: tuple[str, ...], hosts: tuple[str, ...]):
    assert parse_flags(["dockerd", *flags])[0].hosts == hosts


def test_hosts_in_the_configuration():
    assert parse_daemon_json(b'{"hosts": ["fd://", 1, "unix:///a"]}').hosts == ("fd://", "unix:///a")
    assert parse_daemon_json(b'{"hosts": "fd://"}').hosts == ()
    assert Settings(hosts=("a",)).over(Settings(hosts=("b",))).hosts == ("a",)
    assert Settings().over(Settings(hosts=("b",))).hosts == ("b",)
