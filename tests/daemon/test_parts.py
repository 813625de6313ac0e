"""What the daemon is made of, part by part."""

from __future__ import annotations

import contextlib
import threading

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs
from support.daemons import Systemd
from support.results import NOON_NS, damaged_host, result

from gcd.daemon.alone import Alone, AnotherWatches
from gcd.daemon.pacing import ClockWatch, Doubt, Patience, Rest, Schedule, Turn
from gcd.daemon.pulse import Pulse
from gcd.daemon.signals import Flags, Stopped
from gcd.daemon.tally import Counts
from gcd.daemon.telling import status_line, trouble_line
from gcd.model.audit import Act, ActKind
from gcd.model.entry import RunId
from gcd.model.errors import ExitBits
from gcd.model.plan import Outcome, Reason
from gcd.model.published import Durations, LayerState, Published, Scope, Scrubbing
from gcd.notify import Notifier


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_full_look_is_due_an_interval_later_or_a_tenth_sooner(clock):
    for jitter, wait in ((0.0, 900.0), (0.5, 855.0), (1.0, 810.0)):
        schedule = Schedule(900, clock=clock, jitter=lambda jitter=jitter: jitter)
        schedule.looked(2.0)

        assert schedule.seconds_left(is_watching=True) == pytest.approx(wait)
        clock.now += wait - 1
        assert schedule.seconds_left(is_watching=True) == pytest.approx(1)
        clock.now += 2
        assert schedule.seconds_left(is_watching=True) == 0


@pytest.mark.parametrize(("took", "wait"), [(0.1, 60), (1.2, 60), (6, 300), (100, 900)])
def test_what_cannot_be_watched_is_read_for_a_fiftieth_of_the_time_at_most(clock, took, wait):
    schedule = Schedule(900, clock=clock, jitter=lambda: 0)
    schedule.looked(took)

    assert schedule.seconds_left(is_watching=False) == pytest.approx(wait)


def test_rests_grow_after_errors_and_are_short_again_when_all_is_well():
    rest = Rest(3600)

    assert [rest.after_an_error() for _ in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    rest.all_is_well()
    assert rest.after_an_error() == 1


def test_no_rest_is_longer_than_the_interval():
    rest = Rest(3)

    assert [rest.after_an_error() for _ in range(4)] == [1, 2, 3, 3]


def test_it_is_time_to_act_at_the_beginning_and_once_an_interval(clock):
    turn = Turn(100, clock=clock)

    assert [turn.comes(), turn.comes()] == [True, False]
    clock.now += 79
    assert not turn.comes()
    clock.now += 2
    assert [turn.comes(), turn.comes()] == [True, False]


def test_the_same_newborns_are_waited_for_longer_and_longer():
    patience = Patience()

    assert [patience.wait_for("a") for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert patience.wait_for("b") == 0.5


def test_a_doubt_is_looked_at_again_until_it_is_known_to_stay():
    doubt, forever = Doubt(), float("inf")

    assert [doubt.wait_for(()) for _ in range(3)] == [forever] * 3
    assert [doubt.wait_for(("a",)) for _ in range(8)] == [0.5, 1, 2, 4, 8, forever, forever, forever]
    assert [doubt.wait_for(("b",)), doubt.wait_for(()), doubt.wait_for(("b",))] == [0.5, forever, 0.5]


def test_a_clock_that_was_set_is_noticed_once(monkeypatch):
    moments = [(0, 0), (61, 61), (4000, 100), (4001, 101), (10, 110), (11, 111)]
    apart = iter([(wall - boot) * 10**9 for wall, boot in moments])
    monkeypatch.setattr("gcd.daemon.pacing._apart_ns", lambda: next(apart))
    watch = ClockWatch.begin()

    assert [watch.was_set() for _ in range(5)] == [False, True, False, True, False]


def test_a_pulse_is_given_no_more_often_than_is_needed(tmp_path, clock):
    systemd = Systemd(tmp_path)
    with Notifier(systemd.address, 20.0) as notifier, Flags() as flags:
        pulse = Pulse(notifier, flags, monotonic=clock)
        for _ in range(100):
            pulse("source", 1, 2)
            clock.now += 0.5

    assert systemd.heard == ["WATCHDOG=1"] * 10
    systemd.close()


def test_the_loop_waits_for_less_than_systemd_does(tmp_path):
    for limit, longest in ((None, 10), (8, 2), (60, 10)):
        with Flags() as flags, Notifier(str(tmp_path), limit) as notifier:
            assert Pulse(notifier, flags).longest_wait == longest


def test_a_pulse_ends_what_is_to_end():
    with Flags() as flags:
        pulse = Pulse(Notifier(), flags)
        pulse()
        flags.stop()
        pulse.beat()
        with pytest.raises(Stopped):
            pulse()


@pytest.mark.parametrize("ask", ["stop", "reload"])
def test_a_rest_ends_when_something_is_asked(ask):
    with Flags() as flags:
        asking = threading.Timer(0.1, getattr(flags, ask))
        asking.start()
        with contextlib.suppress(Stopped):
            flags.rest(3600, Pulse(Notifier(), flags))
        asking.join()

    assert (flags.is_stop, flags.is_reload) == (ask == "stop", ask == "reload")


def test_two_daemons_on_one_root_are_one_too_many(tmp_path):
    with Alone() as first, Alone() as second:
        first.on(tmp_path, "/srv/docker")
        first.on(tmp_path, "/srv/docker")
        second.on(tmp_path, "/srv/other")
        with pytest.raises(AnotherWatches) as caught:
            second.on(tmp_path, "/srv/docker")
        assert str(caught.value) == "Another gcd run watches /srv/docker: stop that one first."
        first.on(tmp_path, "/srv/other")
        second.on(tmp_path, "/srv/docker")

    assert caught.value.exit_bits == ExitBits.NOT_DONE


def test_a_lock_that_cannot_be_made_stops_nobody(tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    with capture_logs() as told, Alone() as alone:
        alone.on(place, "/srv/docker")
        alone.on(place, "/srv/docker")

    assert [(event["event"], event["log_level"]) for event in told] == [("not_known_to_be_alone", "warning")]


def act(kind, outcome, reason=None, disk_bytes=0):
    return Act(RunId("r"), NOON_NS, kind, "f", outcome, reason, disk_bytes=disk_bytes)


def test_what_is_counted():
    counts = Counts()
    counts.acted(act(ActKind.QUARANTINE, Outcome.DONE, disk_bytes=5))
    counts.acted(act(ActKind.QUARANTINE, Outcome.DONE, disk_bytes=7))
    counts.acted(act(ActKind.RELEASE, Outcome.DONE, disk_bytes=11))
    counts.acted(act(ActKind.PURGE, Outcome.FAILED, Reason.PLACE, disk_bytes=13))
    counts.acted(act(ActKind.REPAIR, Outcome.REFUSED, Reason.CHANGED))
    counts.refused()
    counts.failures += 2

    tally = counts.taken()

    assert tally.acts == {
        (ActKind.QUARANTINE, Outcome.DONE): 2,
        (ActKind.RELEASE, Outcome.DONE): 1,
        (ActKind.PURGE, Outcome.FAILED): 1,
        (ActKind.REPAIR, Outcome.REFUSED): 1,
    }
    assert tally.refusals == {Reason.CHANGED: 1, Reason.RUN_REFUSED: 1}
    assert (tally.reclaimed_bytes, tally.failures) == (11, 2)


def test_durations_are_counted_up_to_their_bounds():
    counts = Counts()
    for seconds in (0.001, 0.005, 0.0051, 60, 61, 1000):
        counts.checked(Scope.FULL, seconds)

    full = counts.taken().durations[Scope.FULL]

    assert full == Durations((2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2), 0.001 + 0.005 + 0.0051 + 60 + 61 + 1000)
    assert counts.taken().durations[Scope.INCREMENTAL] == Durations()


def published(outcome, **changes):
    shown = Published(outcome, Counts().taken(), {Scope.FULL: NOON_NS})
    return replace(shown, **changes)


def test_the_status_is_one_line_that_an_operator_understands():
    assert status_line(published(result())) == (
        "/var/lib/docker: healthy; 0 B orphaned; engine running; read in full at 2025-11-25T12:00:00Z"
    )
    assert status_line(published(damaged_host(), is_watching=False)) == (
        "/var/lib/docker: 2 error and 3 warning; 2 rules not checked; 1.3 GiB orphaned; engine running; "
        "read in full at 2025-11-25T12:00:00Z; looking by the clock, for it cannot be watched"
    )
    rotten = Scrubbing(layers={LayerState.VERIFIED: 3, LayerState.DAMAGED: 2})
    assert status_line(published(result(), scrubbing=rotten)).startswith("/var/lib/docker: 2 damaged layers; 0 B")
    assert status_line(published(damaged_host(), scrubbing=rotten)).startswith(
        "/var/lib/docker: 2 error, 3 warning and 2 damaged layers; 2 rules not checked; "
    )
    assert status_line(published(result(), trouble="no\x1b[31m root")).startswith("TROUBLE: no\\x1b[31m root; /var")
    assert trouble_line("why") == "TROUBLE: why"
