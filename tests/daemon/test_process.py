"""``gcd run`` as a process: signals, systemd, limits, and every kill."""

from __future__ import annotations

import ctypes
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import bcrypt
import pytest
from support.daemons import Forked, orphan, size_of_orphan, wait_until
from support.seeds import own_seed

from gcd import cli, settings
from gcd.daemon import pacing, signals, vigil
from gcd.daemon.board import Board
from gcd.demo.dockerroot import DockerRoot
from gcd.model.errors import ExitBits
from gcd.report.units import iec

QUICK = '[daemon]\nreconcile_interval = "1s"\nsettle = "10ms"\n'
ACTING = QUICK + 'act = true\n[policy.kinds]\norphan = "quarantine"\n'
DIGITS = "0123456789"
MOST_IN_PLACE = 6
GRACE_SECONDS = signals.GRACE_SECONDS
KILLS = 25
"""In each of four tests, which can run beside each other: a hundred in all."""


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        built.image("web:1")
    return tmp_path / "docker"


@pytest.fixture
def hours_later(monkeypatch):
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 2 * 3_600_000_000_000)


@pytest.fixture
def begin(tmp_path, root, monkeypatch):
    """
    Begins daemons, which have ended when the test has. What they have in hand is not abandoned: whichever ends did so
    by itself, however slow the machine is.
    """
    monkeypatch.setattr(signals, "GRACE_SECONDS", 3600.0)
    begun = []

    def beginning(text=QUICK, *arguments, home=tmp_path, **how):
        begun.append(Forked(home, root, text, *arguments, **how))
        return begun[-1]

    yield beginning
    for daemon in begun:
        daemon.dispose()


class Slow(vigil.Recheck):
    """A look of a minute, at least, that tells of its progress."""

    def full(self, now_ns):
        for _ in range(600):
            time.sleep(0.1)
            self._progress("layers", 1, 2)
        return super().full(now_ns)


class Hung(vigil.Recheck):
    """A look that comes to nothing, and says when it begins to."""

    def full(self, now_ns):
        sys.stdout.write("hung\n")
        time.sleep(3600)
        return super().full(now_ns)


def is_told(daemon, name):
    return any(event["event"] == name for event in daemon.events)


def signs_of_life(daemon):
    return daemon.systemd.heard.count("WATCHDOG=1")


def shown(daemon):
    return daemon.systemd.statuses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_though_it_has_nothing_to_do_for_an_hour(begin, number):
    daemon = begin('[daemon]\nreconcile_interval = "1h"\n')
    wait_until(lambda: shown(daemon), "a first look")
    daemon.signal(number)

    assert daemon.ended() == ExitBits.CLEAN
    assert daemon.systemd.heard[-1] == "STOPPING=1"
    assert daemon.events[-1]["event"] == "stopped"
    assert daemon.words == []


def test_a_long_look_is_left_between_its_parts(begin, monkeypatch):
    monkeypatch.setattr(vigil, "Recheck", Slow)
    daemon = begin()
    wait_until(lambda: is_told(daemon, "watching"), "it looks")
    daemon.signal(signal.SIGTERM)

    assert daemon.ended() == ExitBits.CLEAN
    assert daemon.events[-1]["event"] == "stopped"


def test_what_comes_to_no_end_is_abandoned_however_often_it_is_asked_to_end(begin, monkeypatch):
    assert GRACE_SECONDS < 5
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(vigil, "Recheck", Hung)
    daemon = begin()
    wait_until(lambda: daemon.words == ["hung"], "it looks")
    began = time.monotonic()

    def is_asked_and_has_ended():
        daemon.signal(signal.SIGTERM)
        return os.waitid(os.P_PID, daemon.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)

    wait_until(is_asked_and_has_ended, "it is abandoned")
    assert time.monotonic() - began >= 0.5
    assert daemon.ended() == ExitBits.CLEAN
    assert not is_told(daemon, "stopped")


def test_a_slow_loop_gives_signs_of_life_and_a_hung_one_none(begin, tmp_path, monkeypatch):
    for kind in (Slow, Hung):
        (tmp_path / kind.__name__).mkdir()
    monkeypatch.setattr(vigil, "Recheck", Slow)
    slow = begin(home=tmp_path / "Slow", watchdog=1.0)
    wait_until(lambda: is_told(slow, "watching"), "it looks")
    before = signs_of_life(slow)
    wait_until(lambda: signs_of_life(slow) >= before + 3, "signs of life")
    slow.kill()
    monkeypatch.setattr(vigil, "Recheck", Hung)
    hung = begin(home=tmp_path / "Hung", watchdog=1.0)
    wait_until(lambda: hung.words == ["hung"], "it looks")
    before = signs_of_life(hung)
    time.sleep(1.5)

    assert signs_of_life(hung) == before
    hung.kill()


def test_an_idle_loop_gives_signs_of_life(begin):
    daemon = begin("", watchdog=1.0)
    wait_until(lambda: shown(daemon), "a first look")
    before = signs_of_life(daemon)
    wait_until(lambda: signs_of_life(daemon) >= before + 3, "signs of life")
    daemon.kill()


def test_it_lets_everybody_else_go_first(begin):
    daemon = begin(is_gentle=True)
    wait_until(lambda: shown(daemon), "a first look")

    assert os.getpriority(os.PRIO_PROCESS, daemon.pid) == 19
    told = subprocess.run(["ionice", "-p", str(daemon.pid)], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "idle"
    daemon.kill()


def test_a_second_one_on_a_root_is_told_so(begin, root):
    first = begin()
    wait_until(lambda: shown(first), "a first look")
    first.log.unlink()
    second = begin()

    assert second.ended() == ExitBits.NOT_DONE
    assert second.words == [f"gcd: Another gcd run watches {root}: stop that one first."]
    assert "READY=1" not in second.systemd.heard
    first.kill()
    third = begin()
    wait_until(lambda: shown(third), "the lock of one that was killed holds nobody back")
    third.kill()


def test_a_reload_by_signal(begin):
    daemon = begin()
    wait_until(lambda: shown(daemon), "a first look")
    (daemon.etc / "gcd.toml").write_text("[web]\nlisten_adress = ''\n")
    daemon.signal(signal.SIGHUP)
    wait_until(
        lambda: any(event["event"] == "settings_kept" for event in daemon.events), "bad settings are not followed"
    )
    (daemon.etc / "gcd.toml").write_text(QUICK)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: is_told(daemon, "settings_reloaded"), "good ones are")
    daemon.signal(signal.SIGTERM)

    assert daemon.ended() == ExitBits.CLEAN


def exhaust_inotify():
    """In a user namespace of this process's own, where there are no inotify instances."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(0x10000000) == 0, os.strerror(ctypes.get_errno())
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text("0 0 1")
    Path("/proc/self/gid_map").write_text("0 0 1")
    Path("/proc/sys/user/max_inotify_instances").write_text("0")


@pytest.mark.root
def test_without_inotify_the_root_is_read_by_the_clock_and_that_is_said_once(begin, root, monkeypatch):
    monkeypatch.setattr(pacing, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(pacing, "POLL_SHARE", 0)
    daemon = begin("", begin=exhaust_inotify)
    wait_until(lambda: shown(daemon), "a first look")
    orphan(root)
    wait_until(lambda: "0 B" not in shown(daemon)[-1], "the orphan is found by the clock")
    time.sleep(1)
    daemon.signal(signal.SIGTERM)

    assert daemon.ended() == ExitBits.CLEAN
    assert shown(daemon)[-1].endswith("; looking by the clock, for it cannot be watched")
    assert Counter(event["event"] for event in daemon.events)["not_watching"] == 1


def test_clients_that_mean_ill_do_not_hold_up_the_loop(begin, root):
    """Two hundred slow ones, and as many as four can send of what is too large or has a wrong password."""
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()
    users = f'[web.users]\nprometheus = "{hashed}"\n'
    daemon = begin('[daemon]\nsettle = "10ms"\n' + users, "--web.listen-address", "127.0.0.1:0", watchdog=1.0)
    wait_until(lambda: shown(daemon), "a first look")
    [address] = [event["address"] for event in daemon.events if event["event"] == "listening"]
    host, port = address.split(":")
    begun = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    requests = [
        begun + b"Authorization: Basic " + b64encode(b"prometheus:wrong") + b"\r\n\r\n",
        begun + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
    ]
    answers, ending = Counter(), threading.Event()

    def ask(request):
        while not ending.is_set():
            with socket.create_connection((host, int(port)), 20) as client, suppress(OSError):
                client.sendall(request)
                answers[client.recv(12)] += 1

    with ExitStack() as leaving:
        slow = [leaving.enter_context(socket.create_connection((host, int(port)))) for _ in range(200)]
        askers = [threading.Thread(target=ask, args=(request,)) for request in requests * 2]
        for asker in askers:
            asker.start()
        try:
            before = signs_of_life(daemon)
            for number in range(1, 6):
                for client in slow:
                    with suppress(OSError):
                        client.send(b"G")
                orphan(root, number)
                size = sum(size_of_orphan(root, n) for n in range(1, number + 1))
                wait_until(lambda: f"; {iec(size)} orphaned" in shown(daemon)[-1], "the orphan is found")  # noqa: B023 - asked within this turn of the loop
            wait_until(lambda: signs_of_life(daemon) >= before + 4, "signs of life")
        finally:
            ending.set()
            for asker in askers:
                asker.join()

    assert answers[b"HTTP/1.1 401"] + answers[b"HTTP/1.1 429"] > 10
    assert answers[b"HTTP/1.1 400"] + answers[b"HTTP/1.1 431"] + answers[b""] > 10
    daemon.signal(signal.SIGTERM)
    assert daemon.ended() == ExitBits.CLEAN


@pytest.mark.usefixtures("hours_later")
def test_who_is_stopped_in_the_middle_of_acting_leaves_no_step_open(begin, tmp_path, root):
    for number in range(200):
        orphan(root, number)
    daemon = begin(ACTING)
    wait_until(lambda: list(root.glob(".gcd/entries/*")), "it acts")
    daemon.signal(signal.SIGTERM)

    assert daemon.ended() == ExitBits.CLEAN
    assert daemon.events[-1]["event"] == "stopped"
    moved, left = len(list(root.glob(".gcd/entries/*"))), len(list(root.glob(f"overlay2/{'0' * 50}*")))
    assert list(root.glob(".gcd/open/*")) == []
    assert moved + left == 200
    assert acts_kept(tmp_path) == moved


def acts_kept(home):
    """How many acts the state has that were done, each with an entry of its own; the file is sound."""
    rows = sqlite3.connect(home / "state" / "state.db")
    try:
        assert rows.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        entries = [entry for (entry,) in rows.execute("SELECT entry FROM acts WHERE outcome = 'done'")]
    finally:
        rows.close()
    assert len(set(entries)) == len(entries)
    return len(entries)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("hours_later")
def test_killed_a_hundred_times_while_it_moves_orphans(begin, tmp_path, root, monkeypatch, seed):
    """
    After each kill every orphan is whole, in its place or in an entry; the next daemon settles what was open before it
    shows its first figures, and these are right: so are journal, state and figures right after each restart.
    """
    source, reports = random.Random(seed), tmp_path / "figures"  # noqa: S311 - moments, no secrets
    monkeypatch.setattr(Board, "show", reporting(Board.show, reports))
    planted = was_open = awaited = was_moving = 0
    for _ in range(KILLS):
        while len(in_place(root)) < MOST_IN_PLACE:
            orphan(root, planted)
            planted += 1
        reports.unlink(missing_ok=True)
        was_open += len(list(root.glob(".gcd/open/*")))
        moved, size = len(moved_away(root)), size_of_orphan(root, planted - 1)
        daemon = begin(ACTING)
        wait_until(lambda: len(lines_of(reports)) > 0, "its first figures")
        orphaned_bytes, entries = lines_of(reports)[0]
        assert orphaned_bytes // size + entries == planted
        moment = source.random()
        if moment < 0.65:
            awaited += 1
            wait_until(lambda: len(in_place(root)) < MOST_IN_PLACE, "something has moved")
        elif moment < 0.85:
            wait_until(lambda moved=moved: entries_in(root) > moved, "something is about to move")
        time.sleep(source.random() * 0.1)
        daemon.kill()
        assert sorted([*in_place(root), *moved_away(root)]) == [f"{number:064x}" for number in range(planted)]
        was_moving += len(moved_away(root)) > moved
        acts_kept(tmp_path)
    daemon = begin(ACTING)
    wait_until(lambda: in_place(root) == [], "the rest is moved")
    wait_until(lambda: lines_of(reports)[-1:] == [(0, planted)], "and shown")
    daemon.signal(signal.SIGTERM)

    assert daemon.ended() == ExitBits.CLEAN
    assert acts_kept(tmp_path) == planted
    assert was_moving >= awaited >= KILLS / 2
    assert was_open > 0


def entries_in(root):
    """How many entries there are, whole or not; cheap enough to be asked all the time."""
    places = [root / ".gcd/entries", root / ".gcd/open"]
    return sum(len(os.listdir(place)) for place in places if place.exists())  # noqa: PTH208 - ids alone


def in_place(root):
    return sorted(path.name for path in root.glob(f"overlay2/{'0' * 50}*"))


def moved_away(root):
    """The dirs in entries of the quarantine, by their ids, each with all that was in it."""
    found = []
    for path in root.glob(".gcd/*/*/items/*/diff/file"):
        home = path.parent.parent
        if path.read_bytes() == b"x" * 4096:
            digits = (home / "link").read_text().removeprefix("ORPHAN").translate(str.maketrans("ABCDEFGHIJ", DIGITS))
            found.append(f"{int(digits):064x}")
    return found


def lines_of(reports):
    """Orphaned bytes and entries, each time that they were shown."""
    lines = reports.read_text().split("\n")[:-1] if reports.exists() else []
    return [tuple(map(int, line.split())) for line in lines]


def reporting(show, path):
    def report(board, *arguments, **keywords):
        show(board, *arguments, **keywords)
        latest = board.latest
        with path.open("a") as file:
            file.write(f"{latest.result.summary.orphaned_bytes} {latest.holding.entries}\n")

    return report


@pytest.fixture
def etc(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "CONFIG_DIR", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[daemon]\nsettel = '1s'\n", "there is no setting 'daemon.settel'; did you mean settle?"),
        ("[daemon]\nreconcile_interval = '0s'\n", "does not fit: it must lie between 1s and 24h"),
        ("[web]\nlisten_address = 'nowhere'\n", "does not fit: it must be a host and a port"),
        ("skip = ['GCD999']\n", "there is no code 'GCD999'; did you mean"),
        ("[policy.codes]\nGCD103 = 'release'\n", "policy.codes: GCD103 missing-link-symlink has no release"),
        ("state_dir = '@ROOT@/gcd'\n", "lies below the Docker root @ROOT@, where gcd run writes nothing"),
    ],
)
def test_bad_settings_are_one_sentence(etc, root, text, told, capsys):
    (etc / "gcd.toml").write_text(text.replace("@ROOT@", str(root)))

    assert cli.run(["run", "--root", str(root)]) == ExitBits.USAGE
    err = capsys.readouterr().err
    assert told.replace("@ROOT@", str(root)) in err
    assert re.fullmatch(r"gcd: [^\n]+\n", err)
