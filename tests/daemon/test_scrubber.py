"""When the daemon scrubs, what it says of it, and what it knows: part by part, by a clock of the test's own."""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from support.daemons import settings_in, wait_until
from support.results import NOON_NS, hex64

from gcd.daemon import scrubber
from gcd.daemon.scrubber import DAY_SECONDS, Part, Portion, Scrubber, portion
from gcd.daemon.scrubregister import Register
from gcd.model.content import Course, Depth, Soundness, Sweep, Verdict
from gcd.model.facts import LayerRecord
from gcd.model.ids import ChainId, DiffId, LayerDirId
from gcd.model.plan import Identity
from gcd.model.published import LayerState
from gcd.model.reading import ABSENT, Present
from gcd.scrub.layer import Layer
from gcd.scrub.order import chosen
from gcd.scrubbing import alone
from gcd.scrubs import Scrubs
from gcd.state import FILE, open_state

HERE = Identity(device=2049, inode=12, engine_id="abc")
MONTH = 30 * DAY_SECONDS
DAY_NS = int(DAY_SECONDS * 1e9)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class FakePart:
    """Ends when the test says so."""

    begun: list[FakePart]

    def __init__(self, words, directory):
        self.words, self.directory = words, directory
        self.status = None
        self.said = ""
        self.was_ended = False
        self.begun.append(self)

    def ended(self):
        return self.status

    def end(self):
        self.was_ended = True


@pytest.fixture
def parts(monkeypatch):
    FakePart.begun = []
    monkeypatch.setattr(scrubber, "Part", FakePart)
    return FakePart.begun


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def beginning(tmp_path, clock, parts):
    """A scrubber by the settings in a text, without jitter."""
    assert parts == []

    def begin(text="", scrubs=None):
        scrubs = scrubs or Scrubber(clock=clock, jitter=lambda: 0.0)
        (tmp_path / "gcd.toml").write_text(text)
        scrubs.on("/docker", HERE, settings_in(tmp_path, None, tmp_path / "state"), NOON_NS)
        return scrubs

    return begin


def keep(tmp_path, *verdicts, sweep=None):
    with open_state(tmp_path / "state") as state:
        scrubs = Scrubs(state, HERE, "/docker")
        for verdict in verdicts:
            scrubs.keep(verdict)
        if sweep is not None:
            scrubs.begin(sweep)


def verdict(seed, soundness=Soundness.VERIFIED, *, hours_ago=0, read_bytes=10):
    checked_ns = NOON_NS - hours_ago * 3_600_000_000_000
    chain, layer_dir = ChainId(f"sha256:{hex64(seed)}"), LayerDirId(hex64(seed))
    return Verdict(chain, layer_dir, Depth.QUICK, soundness, checked_ns, read_bytes, 1)


def sweep(course, *, hours_ago):
    began_ns = NOON_NS - int(hours_ago * 3_600_000_000_000)
    return Sweep(course, began_ns, Depth.QUICK, is_dressed=False, layers=())


def records(*seeds):
    return {
        (chain := ChainId(f"sha256:{hex64(seed)}")): LayerRecord(
            chain,
            Present(DiffId(chain)),
            Present(100),
            Present(LayerDirId(hex64(seed))),
            ABSENT,
            ABSENT,
            ABSENT,
            0,
        )
        for seed in seeds
    }


# --- how much, and how often ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("every_days", "expected"),
    [
        (30, Portion(86_400, 4.0, 2_073_600)),
        (60, Portion(86_400, 2.0, 4_147_200)),
        (25, Portion(86_400, 4.8, 1_728_000)),
        (5, Portion(17_280, 4.8, 345_600)),
    ],
)
def test_a_part_a_day_or_a_twenty_fifth_with_a_fifth_to_spare(every_days, expected):
    found = portion(every_days * DAY_SECONDS)

    assert found.percent == pytest.approx(expected.percent)
    assert (found.interval_seconds, found.max_age_seconds) == (expected.interval_seconds, expected.max_age_seconds)


@pytest.mark.parametrize("seed", range(3))
def test_every_layer_is_looked_at_within_the_period_a_little_each_day_though_each_tenth_day_is_lost(seed):
    source = random.Random(seed)  # noqa: S311 - sizes and days, no secrets
    layers = {
        (chain := ChainId(f"{n:03}")): Layer(chain, DiffId(""), LayerDirId(""), source.randrange(1, 1000))
        for n in range(400)
    }
    total, largest = sum(layer.size for layer in layers.values()), max(layer.size for layer in layers.values())
    part, verdicts, read = portion(MONTH), {}, []
    for day in range(1, 200):
        now_ns = day * DAY_NS
        if source.random() > 0.1:
            since_ns = now_ns - part.max_age_seconds * 10**9
            some = chosen(layers, verdicts, Depth.QUICK, older_than_ns=since_ns, percent=part.percent)
            read.append(sum(layers[chain].size for chain in some))
            verdicts |= {chain: Verdict(chain, "", Depth.QUICK, Soundness.VERIFIED, now_ns, 0, 0) for chain in some}
        if day > 30:
            assert verdicts.keys() == layers.keys()
            assert min(one.checked_ns for one in verdicts.values()) >= now_ns - 30 * DAY_NS

    assert max(read) <= total * 0.04 + largest
    assert sum(read) / len(read) < total * 0.043


def test_the_first_part_comes_within_the_hour_and_not_at_once(beginning, parts, clock):
    scrubs = beginning()

    clock.now += 1799
    scrubs.tend(is_engine_stopped=False)
    assert parts == []
    clock.now += 1
    scrubs.tend(is_engine_stopped=False)

    assert [part.words for part in parts] == [
        [
            *("start", "--root", "/docker", "--quick", "--fail-on", "never", "--subset", "4%"),
            *("--max-age", "2073600s", "--max-duration", "21600s"),
        ]
    ]


def test_what_the_settings_say_of_a_part(beginning, parts, clock, tmp_path):
    scrubs = beginning('[scrub]\nevery = "7d"\ndepth = "full"\nmax_duration = "90m"\nbandwidth = "50MiB"\n')
    clock.now += 3600
    scrubs.tend(is_engine_stopped=False)

    [part] = parts
    assert part.words == [
        *("start", "--root", "/docker", "--full", "--fail-on", "never", "--subset", "4.8%"),
        *("--max-age", "483840s", "--max-duration", "5400s", "--bandwidth", "52428800"),
    ]
    assert part.directory == tmp_path / "state"


@pytest.mark.parametrize(
    ("course", "hours_ago", "wait_hours"),
    [
        (Course.FINISHED, 2, 22),
        (Course.STOPPED, 2, 22),
        (Course.PAUSED, 2, 22),
        (Course.FINISHED, 23.75, 0.5),
        (Course.FINISHED, 500, 0.5),
        (Course.RUNNING, 2, 0.5),
        (Course.FINISHED, -5, 0.5),
    ],
)
def test_after_a_start_the_next_part_is_due_a_day_after_the_last_or_soon_if_that_was_cut_short(
    beginning, parts, clock, tmp_path, course, hours_ago, wait_hours
):
    keep(tmp_path, sweep=sweep(course, hours_ago=hours_ago))
    scrubs = beginning()

    clock.now += wait_hours * 3600 - 1
    scrubs.tend(is_engine_stopped=False)
    assert parts == []
    clock.now += 1
    scrubs.tend(is_engine_stopped=False)
    assert len(parts) == 1


def test_one_at_a_time_and_the_next_a_day_after_the_last_began(beginning, parts, clock):
    scrubs = beginning()
    clock.now += 3600
    with capture_logs() as told:
        for _ in range(5):
            scrubs.tend(is_engine_stopped=False)
            clock.now += DAY_SECONDS / 2
        assert len(parts) == 1
        parts[0].status = 0
        scrubs.tend(is_engine_stopped=False)

    assert len(parts) == 2
    assert [event["event"] for event in told] == ["scrub_begun", "scrub_ended", "scrub_begun"]


def test_who_scrubs_by_hand_is_waited_for(beginning, parts, clock, tmp_path):
    scrubs = beginning()
    clock.now += 3600
    with alone(tmp_path / "state", HERE):
        scrubs.tend(is_engine_stopped=False)
        clock.now += 59
        scrubs.tend(is_engine_stopped=False)
    scrubs.tend(is_engine_stopped=False)
    assert parts == []
    clock.now += 1
    scrubs.tend(is_engine_stopped=False)

    assert len(parts) == 1


def test_while_the_engine_is_stopped_nobody_scrubs(beginning, parts, clock):
    scrubs = beginning()
    clock.now += 7200
    scrubs.tend(is_engine_stopped=True)
    assert parts == []
    scrubs.tend(is_engine_stopped=False)
    assert not parts[0].was_ended
    with capture_logs() as told:
        scrubs.tend(is_engine_stopped=True)
    assert parts[0].was_ended
    assert [event["event"] for event in told] == ["scrub_cut_short"]

    scrubs.tend(is_engine_stopped=False)
    clock.now += 3599
    scrubs.tend(is_engine_stopped=False)
    assert len(parts) == 1
    clock.now += 1
    scrubs.tend(is_engine_stopped=False)
    assert len(parts) == 2


def test_where_nobody_wants_it_nothing_is_begun(beginning, parts, clock):
    scrubs = beginning('[scrub]\nevery = "0s"\n')
    clock.now += 100 * DAY_SECONDS

    scrubs.tend(is_engine_stopped=False)

    assert parts == []
    assert scrubs.scrubbing(records("a"), NOON_NS, is_anew=True).period_seconds == 0


def test_a_failure_is_said_once_and_tried_again_within_the_hour(beginning, parts, clock):
    scrubs = beginning()
    clock.now += 3600
    with capture_logs() as told:
        for _ in range(3):
            scrubs.tend(is_engine_stopped=False)
            parts[-1].status, parts[-1].said = 8, "gcd: the layers of /docker cannot be listed: EIO"
            scrubs.tend(is_engine_stopped=False)
            clock.now += 3600
        scrubs.tend(is_engine_stopped=False)
        parts[-1].status = 0
        scrubs.tend(is_engine_stopped=False)
        for status, said in ((8, "gcd: the layers of /docker cannot be listed: EIO"), (-9, "")):
            clock.now += DAY_SECONDS
            scrubs.tend(is_engine_stopped=False)
            parts[-1].status, parts[-1].said = status, said
            scrubs.tend(is_engine_stopped=False)

    assert [event["why"] for event in told if event["event"] == "scrub_failed"] == [
        "gcd: the layers of /docker cannot be listed: EIO",
        "gcd: the layers of /docker cannot be listed: EIO",
        "it ended with status -9",
    ]
    assert len(parts) == 6


def test_a_reload_ends_what_is_under_way_only_if_it_is_about_scrubs(beginning, parts, clock):
    scrubs = beginning()
    clock.now += 3600
    scrubs.tend(is_engine_stopped=False)

    beginning('[daemon]\nsettle = "1s"\n', scrubs)
    assert not parts[0].was_ended
    beginning('[scrub]\nbandwidth = "1MiB"\n', scrubs)
    assert parts[0].was_ended

    clock.now += 3600
    scrubs.tend(is_engine_stopped=False)
    assert parts[1].words[-2:] == ["--bandwidth", "1048576"]
    scrubs.end()
    assert parts[1].was_ended


def test_another_root_ends_what_is_under_way(beginning, parts, clock, tmp_path):
    scrubs = beginning()
    clock.now += 3600
    scrubs.tend(is_engine_stopped=False)

    scrubs.on("/docker", Identity(1, 2, ""), settings_in(tmp_path, None, tmp_path / "state"), NOON_NS)

    assert parts[0].was_ended


# --- the process ----------------------------------------------------------------------------------------------------


def scripted(monkeypatch, tmp_path, text):
    """What is started instead of Python."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def test_the_last_thing_that_it_said_is_why_it_failed(monkeypatch, tmp_path):
    scripted(monkeypatch, tmp_path, "head -c 200000 /dev/zero >&2; echo >&2; echo gcd: no >&2; echo >&2; exit 8")
    part, statuses = Part(["start"], tmp_path), []

    wait_until(lambda: statuses.append(part.ended()) or statuses[-1] is not None, "it ends, however much it says")

    assert (statuses[-1], part.said) == (8, "gcd: no")


def test_what_does_not_end_is_killed(monkeypatch, tmp_path):
    scripted(monkeypatch, tmp_path, f"trap '' TERM; echo > {tmp_path}/trapped; while :; do sleep 0.1; done")
    part = Part(["start"], tmp_path)
    wait_until((tmp_path / "trapped").exists, "it listens to nobody")
    began = time.monotonic()

    part.end()

    assert time.monotonic() - began >= scrubber.ENDS_WITHIN_SECONDS
    assert part._process.returncode == -9


# --- what is known --------------------------------------------------------------------------------------------------


@pytest.fixture
def register(tmp_path):
    keep(tmp_path, verdict("a", hours_ago=2, read_bytes=100))
    found = Register()
    found.on(tmp_path / "state", HERE)
    return found


def states(register, layers, *, is_anew=False):
    found = register.scrubbing(layers, NOON_NS, MONTH, is_anew=is_anew)
    return [found.layers[state] for state in LayerState], found.is_readable


def test_what_others_keep_is_seen_and_counted_once(register, tmp_path):
    layers = records("a", "b")
    assert states(register, layers) == ([1, 0, 0, 1], True)
    assert not register.ask()

    keep(tmp_path, verdict("b", read_bytes=7))
    assert register.ask()
    assert states(register, layers) == ([2, 0, 0, 0], True)
    keep(tmp_path, verdict("a", read_bytes=100))
    assert register.ask()

    assert register.read_bytes == 107
    assert not register.ask()


def test_layers_that_came_since_are_pending(register):
    assert states(register, records("a")) == ([1, 0, 0, 0], True)
    assert states(register, records("a", "b")) == ([1, 0, 0, 1], True)


def test_verdicts_become_old_as_time_goes_by(register):
    layers = records("a")
    later_ns = NOON_NS + 30 * DAY_NS

    assert register.scrubbing(layers, NOON_NS, MONTH, is_anew=True).layers[LayerState.PENDING] == 0
    assert register.scrubbing(layers, later_ns, MONTH, is_anew=True).layers[LayerState.PENDING] == 1


def test_damage_is_said_when_it_comes_and_when_it_goes(register, tmp_path):
    layers = records("a", "b")
    with capture_logs() as told:
        states(register, layers)
        for hours, soundness in enumerate((Soundness.DAMAGED, Soundness.DAMAGED, Soundness.VERIFIED)):
            keep(tmp_path, verdict("b", soundness, hours_ago=9 - hours))
            register.ask()
            states(register, layers)
            states(register, layers, is_anew=True)

    name = f"sha256:{hex64('b')}"
    assert [(event["event"], event["log_level"], event["layer"]) for event in told] == [
        ("layer_damaged", "error", name),
        ("layer_not_damaged", "info", name),
    ]


def test_a_state_that_cannot_be_read_takes_nothing_from_what_was_read(register, tmp_path):
    layers = records("a", "b")
    states(register, layers)
    (tmp_path / "state" / FILE).write_bytes(b"no database, but long enough to be taken for one" * 100)

    assert register.ask()
    assert states(register, layers) == ([1, 0, 0, 1], False)
    assert register.read_bytes == 0


def test_without_any_state_nothing_is_known(tmp_path):
    register = Register()
    register.on(tmp_path / "none", HERE)

    assert states(register, records("a", "b")) == ([0, 0, 0, 2], True)
    keep(tmp_path, verdict("a"))
    os.rename(tmp_path / "state", tmp_path / "none")  # noqa: PTH104 - of a directory
    assert register.ask()
    assert states(register, records("a", "b")) == ([1, 0, 0, 1], True)


def test_the_period_is_that_of_the_settings(beginning):
    scrubs = beginning('[scrub]\nevery = "2d"\n')

    assert scrubs.scrubbing({}, NOON_NS, is_anew=True).period_seconds == timedelta(days=2).total_seconds()
