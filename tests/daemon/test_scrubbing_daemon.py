"""``gcd run`` scrubs a root by itself: by its schedule, beside its other work, and to an end after it was stopped."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from support.daemons import Forked, orphan, wait_until, watching
from support.prometheus import free_port, is_ready
from support.seeds import own_seed

from gcd.daemon import scrubber, signals
from gcd.demo.dockerroot import DockerRoot
from gcd.model.content import Course
from gcd.model.errors import ExitBits
from gcd.planning import identity_of
from gcd.scrubs import known_of
from gcd.state import read_state

QUICK = '[daemon]\nreconcile_interval = "24h"\nsettle = "10ms"\n[scrub]\nevery = "1m"\n'
SLOWLY = QUICK + 'bandwidth = "8KiB"\n'
OFF = '[scrub]\nevery = "0s"\n'
LAYERS = 3
LAYER_BYTES = 1 << 20
"""Two minutes of one that goes slowly."""


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        for number in range(LAYERS):
            content = random.Random(number).randbytes(LAYER_BYTES)  # noqa: S311 - of a file
            built.image(f"web:{number}", layers=[{"srv/file": content}])
    return tmp_path / "docker"


@pytest.fixture
def begin(tmp_path, root, monkeypatch):
    """Begins daemons whose parts come twice a second, each of a third of all; they have ended when the test has."""
    monkeypatch.setattr(scrubber, "PARTS", 120)
    monkeypatch.setattr(scrubber, "SPARE", 40)
    monkeypatch.setattr(scrubber, "ASKED_EVERY_SECONDS", 0.1)
    monkeypatch.setattr(signals, "GRACE_SECONDS", 3600.0)
    begun = []

    def beginning(text, **how):
        address = f"127.0.0.1:{free_port()}"
        begun.append(Forked(tmp_path, root, text, "--web.listen-address", address, watchdog=0.8, **how))
        wait_until(lambda: is_ready(address), "a first look")
        return begun[-1], address

    yield beginning
    for daemon in begun:
        daemon.dispose()


LOOKED = 'last_check_timestamp_seconds{scope="incremental"}'
HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(3600)
"""


@contextlib.contextmanager
def engine(root):
    """What gcd takes for an engine that runs: a process that holds its lock."""
    (root / "volumes").mkdir(exist_ok=True)
    words = [sys.executable, "-c", HOLD, str(root / "volumes/metadata.db")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.kill()


def metrics_at(address):
    """What it says, without its prefix."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name[4:]: float(value) for name, value in (line.split(" ") for line in lines if line[:4] == "gcd_")}


def layers_at(address):
    found = metrics_at(address)
    return [found[f'scrub_layers{{state="{state}"}}'] for state in ("verified", "damaged", "unverifiable", "pending")]


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    """Also of one whose new parent does not ask what became of it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


def scrubbing_child(daemon, kept):
    """The process that scrubs, once it is at work."""
    wait_until(lambda: children(daemon.pid) and kept().sweep is not None, "a part is begun")
    [child] = children(daemon.pid)
    return child


@pytest.fixture
def kept(tmp_path, root):
    """What is in the state."""

    def known():
        with read_state(tmp_path / "state") as state:
            return known_of(state, identity_of(str(root)))

    return known


def scrub_by_hand(tmp_path, root, daemon):
    """The status; what `daemon` says meanwhile is heard, or there would be no room for more."""
    words = [sys.executable, "-m", "gcd.daemon.scrubchild", str(os.getpid()), "start", "--root", str(root)]
    environment = {**os.environ, "GCD_STATE_DIR": str(tmp_path / "state")}
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: daemon.systemd.heard and process.poll() is not None, "it ends")
    return process.returncode


@pytest.mark.slow
def test_a_root_is_scrubbed_by_the_clock_though_it_is_stopped_in_the_middle(begin, kept, root, tmp_path):
    with engine(root):
        daemon, address = begin(SLOWLY)
        assert layers_at(address) == [0, 0, 0, LAYERS]
        child = scrubbing_child(daemon, kept)

        # It goes last, and takes nothing from the loop.
        assert os.getpriority(os.PRIO_PROCESS, child) == 19
        told = subprocess.run(["ionice", "-p", str(child)], capture_output=True, text=True, check=True)
        assert told.stdout.strip() == "idle"
        before = daemon.systemd.heard.count("WATCHDOG=1")
        looked_at = metrics_at(address)[LOOKED]
        orphan(root)
        wait_until(lambda: metrics_at(address)[LOOKED] != looked_at, "a change is looked at")
        wait_until(lambda: daemon.systemd.heard.count("WATCHDOG=1") >= before + 3, "signs of life")
        assert is_alive(child)

        daemon.signal(signal.SIGTERM)
        assert daemon.ended() == ExitBits.CLEAN
        assert daemon.events[-1]["event"] == "stopped"
        assert not is_alive(child)
        assert daemon.words == []
        assert (kept().sweep.course, len(kept().verdicts)) == (Course.RUNNING, 0)

        daemon, address = begin(QUICK)
        wait_until(lambda: layers_at(address) == [LAYERS, 0, 0, 0], "all layers are verified")
        found = metrics_at(address)
        assert found["scrub_bytes_total"] == LAYERS * LAYER_BYTES
        assert found["scrub_oldest_verified_timestamp_seconds"] == pytest.approx(
            min(glance.checked_ns for glance in kept().verdicts.values()) / 1e9
        )
        assert (found["scrub_period_seconds"], found["scrub_readable"]) == (60, 1)
        begun = [event for event in daemon.events if event["event"] == "scrub_begun"]
        assert len(begun) >= 3
        assert [
            event for event in daemon.events if event["event"] in {"scrub_failed", "trouble", "layer_damaged"}
        ] == []
        daemon.signal(signal.SIGTERM)
        assert daemon.ended() == ExitBits.CLEAN

    # Whoever else scrubs is seen, too.
    daemon, address = begin(OFF)
    os.truncate(next(root.glob("overlay2/*/diff/srv/file")), 0)
    assert scrub_by_hand(tmp_path, root, daemon) == ExitBits.FINDINGS_LEFT
    wait_until(lambda: layers_at(address) == [LAYERS - 1, 1, 0, 0], "the damaged layer is shown")
    found = metrics_at(address)
    assert (found["scrub_progress_ratio"], found["scrub_period_seconds"]) == (1, 0)
    assert [event["event"] for event in daemon.events if "layer" in event] == ["layer_damaged"]
    wait_until(lambda: "docker: 1 damaged layer; " in daemon.systemd.statuses[-1], "so does the status")
    daemon.kill()


class Endless:
    """A part that ends when it is told to."""

    begun: list[Endless]

    def __init__(self, *_):
        self.was_ended = False
        self.begun.append(self)

    def ended(self):
        return None

    def end(self):
        self.was_ended = True


def test_a_daemon_that_ends_has_ended_its_scrub(root, tmp_path, monkeypatch):
    Endless.begun = []
    monkeypatch.setattr(scrubber, "Part", Endless)
    monkeypatch.setattr(scrubber, "PARTS", 6000)
    with engine(root), watching(tmp_path, root, QUICK) as watched:
        wait_until(lambda: watched.named("scrub_begun"), "it scrubs")
        assert not Endless.begun[0].was_ended

    assert [part.was_ended for part in Endless.begun] == [True]


@pytest.mark.slow
def test_a_scrub_ends_with_an_engine_that_stops_and_with_a_daemon_that_is_killed(begin, kept, root):
    with engine(root):
        daemon, _ = begin(SLOWLY)
        child = scrubbing_child(daemon, kept)
    wait_until(lambda: not is_alive(child), "who repairs is alone in the root")
    wait_until(lambda: daemon.events[-1]["event"] == "scrub_cut_short", "that is said")

    with engine(root):
        child = scrubbing_child(daemon, kept)
        daemon.kill()
        wait_until(lambda: not is_alive(child), "nothing of it is left")
