from __future__ import annotations

import os
import socket
import time

import pytest

from gcd.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def heard(request, tmp_path):
    """The socket of a systemd, and its address."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@gcd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address.replace("@", "\0"))
        systemd.settimeout(5)
        yield systemd, address


def test_each_thing_is_one_datagram(heard):
    systemd, address = heard
    with Notifier(address) as notifier:
        notifier.ready()
        notifier.status("3 findings\nno more")
        notifier.alive()
        notifier.stopping()

    assert [systemd.recv(200) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=3 findings no more",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_a_reload_says_when_it_began(heard):
    systemd, address = heard
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    with Notifier(address) as notifier:
        notifier.reloading()

    first, second = systemd.recv(200).decode().split("\n")
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= before + 60_000_000


def test_a_status_is_told_once(heard):
    systemd, address = heard
    with Notifier(address) as notifier:
        for line in ("a", "a", "b", "a"):
            notifier.status(line)
        notifier.alive()

    assert [systemd.recv(200) for _ in range(4)] == [b"STATUS=a", b"STATUS=b", b"STATUS=a", b"WATCHDOG=1"]


def test_a_status_that_nobody_could_hear_is_told_again(heard):
    systemd, address = heard
    with Notifier(address) as notifier:
        for _ in range(2000):
            notifier.alive()
        notifier.status("a")
        while systemd.recv(200) == b"WATCHDOG=1":
            notifier.status("a")

        assert notifier._status == "a"


def test_without_a_socket_nothing_is_told():
    with Notifier.of_environment({"WATCHDOG_USEC": "5000000"}) as notifier:
        notifier.ready()
        notifier.status("x")

        assert notifier.watchdog_seconds is None


def test_a_socket_that_is_gone_or_full_ends_nothing(tmp_path):
    address = str(tmp_path / "notify")
    with Notifier(address) as notifier:
        notifier.ready()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address)
            for _ in range(2000):
                notifier.alive()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "5000000"}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(environment, seconds):
    with Notifier.of_environment({"NOTIFY_SOCKET": "/run/x", **environment}) as notifier:
        assert notifier.watchdog_seconds == seconds


def test_no_child_speaks_for_the_service():
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "HOME": "/"}
    with Notifier.of_environment(environment):
        assert environment == {"HOME": "/"}
