"""What is known of the layers that there are, counted: every state, with exact values."""

from __future__ import annotations

import pytest
from support.results import NOON_NS, hex64

from gcd.model.content import Course, Depth, Soundness, Sweep, Verdict
from gcd.model.facts import LayerRecord
from gcd.model.ids import ChainId, DiffId, LayerDirId
from gcd.model.plan import Identity
from gcd.model.published import LayerState, Scrubbing
from gcd.model.reading import ABSENT, EMPTY, Present
from gcd.scrubs import Extent, Glance, Known, Scrubs, extents, in_force, known_of, scrubbing_of
from gcd.state import open_state, read_state

HERE = Identity(device=2049, inode=12, engine_id="abc")
DAY_NS = 86_400_000_000_000
MONTH_SECONDS = 30 * 86_400


def chain(seed):
    return ChainId(f"sha256:{hex64(seed)}")


def glance(seed, soundness=Soundness.VERIFIED, days_ago=0.0, read_bytes=10):
    return Glance(LayerDirId(hex64(seed)), soundness, NOON_NS - int(days_ago * DAY_NS), read_bytes)


def there(*seeds, size=100):
    return {chain(seed): Extent(LayerDirId(hex64(seed)), size) for seed in seeds}


def known(sweep=None, **glances):
    return Known({chain(seed): one for seed, one in glances.items()}, sweep)


def sweep(*seeds, days_ago=0.0):
    began_ns = NOON_NS - int(days_ago * DAY_NS)
    return Sweep(Course.RUNNING, began_ns, Depth.QUICK, is_dressed=False, layers=tuple(map(chain, seeds)))


def counted(of, layers, period=MONTH_SECONDS):
    counts = scrubbing_of(of, layers, NOON_NS, period).layers
    return tuple(counts[state] for state in LayerState)


def test_each_layer_has_one_state():
    of = known(a=glance("a"), b=glance("b", Soundness.DAMAGED), c=glance("c", Soundness.UNVERIFIABLE))

    assert counted(of, there("a", "b", "c", "d", "e")) == (1, 1, 1, 2)


@pytest.mark.parametrize(
    ("soundness", "days_ago", "state"),
    [
        (Soundness.VERIFIED, 30, LayerState.VERIFIED),
        (Soundness.VERIFIED, 30.001, LayerState.PENDING),
        (Soundness.UNVERIFIABLE, 30, LayerState.UNVERIFIABLE),
        (Soundness.UNVERIFIABLE, 30.001, LayerState.PENDING),
        (Soundness.DAMAGED, 3000, LayerState.DAMAGED),
    ],
)
def test_what_was_looked_at_before_the_period_is_pending_but_damage_stays_damage(soundness, days_ago, state):
    found = scrubbing_of(known(a=glance("a", soundness, days_ago)), there("a"), NOON_NS, MONTH_SECONDS)

    assert found.layers == {**dict.fromkeys(LayerState, 0), state: 1}


def test_where_nobody_wants_scrubs_no_verdict_becomes_too_old():
    assert counted(known(a=glance("a", days_ago=4000)), there("a", "b"), period=0) == (1, 0, 0, 1)


def test_verdicts_of_layers_that_are_gone_or_were_pulled_again_count_nowhere():
    of = known(a=glance("a", days_ago=9), b=glance("b", Soundness.DAMAGED, 20), c=glance("c", Soundness.DAMAGED, 20))
    layers = {**there("a"), chain("c"): Extent(LayerDirId(hex64("f")), 5), chain("d"): Extent(None, 0)}

    assert in_force(of, layers).keys() == {chain("a")}
    assert counted(of, layers) == (1, 0, 0, 2)
    assert scrubbing_of(of, layers, NOON_NS, MONTH_SECONDS).oldest_ns == NOON_NS - 9 * DAY_NS


def test_the_oldest_look_is_that_of_layers_that_were_looked_at():
    of = known(a=glance("a", days_ago=2), b=glance("b", Soundness.DAMAGED, days_ago=40))

    assert scrubbing_of(of, there("a", "b", "c"), NOON_NS, MONTH_SECONDS).oldest_ns == NOON_NS - 40 * DAY_NS
    assert scrubbing_of(Known(), there("a"), NOON_NS, MONTH_SECONDS).oldest_ns is None


@pytest.mark.parametrize(
    ("of", "progress"),
    [
        (known(), 0.0),
        (known(sweep("a", "b", "c", "d")), 0.0),
        (known(sweep("a", "b", "c", "d"), a=glance("a")), 0.25),
        (known(sweep("a", "b", "c", "d", days_ago=1), a=glance("a", days_ago=2)), 0.0),
        (known(sweep("a", "b", "x"), a=glance("a"), b=glance("b", Soundness.DAMAGED)), 1.0),
        (known(sweep("a", "b", "x"), a=glance("a")), 0.5),
        (known(sweep()), 1.0),
    ],
)
def test_progress_is_by_bytes_and_what_is_gone_is_done(of, progress):
    assert scrubbing_of(of, there("a", "b", "c", "d"), NOON_NS, MONTH_SECONDS).progress == progress


def test_a_layer_without_bytes_is_to_be_looked_at_too():
    assert scrubbing_of(known(sweep("a")), there("a", size=0), NOON_NS, MONTH_SECONDS).progress == 0.0


def record(seed, cache_id, size):
    return LayerRecord(chain(seed), Present(DiffId(f"sha256:{hex64(seed)}")), size, cache_id, ABSENT, ABSENT, ABSENT, 0)


def test_what_a_record_does_not_say():
    records = {
        chain("a"): record("a", Present(LayerDirId(hex64("a"))), Present(7)),
        chain("b"): record("b", EMPTY, EMPTY),
    }

    assert extents(records) == {chain("a"): Extent(LayerDirId(hex64("a")), 7), chain("b"): Extent(None, 0)}


def test_what_the_state_keeps_is_known_in_short(tmp_path):
    verdict = Verdict(chain("a"), LayerDirId(hex64("a")), Depth.FULL, Soundness.DAMAGED, NOON_NS, 11, 2)
    begun = sweep("a", "b")
    with open_state(tmp_path) as state:
        assert known_of(state, HERE) == Known()
        scrubs = Scrubs(state, HERE, "/docker")
        scrubs.keep(verdict)
        scrubs.begin(begun)
    with read_state(tmp_path) as state:
        found = known_of(state, HERE)
        assert (found.verdicts, found.sweep) == ({chain("a"): glance("a", Soundness.DAMAGED, read_bytes=11)}, begun)
        assert known_of(state, Identity(1, 1, "")) == Known()


def test_what_is_known_already_is_not_read_again_until_something_comes(tmp_path):
    def verdict(seed, days_ago):
        checked_ns = NOON_NS - days_ago * DAY_NS
        return Verdict(chain(seed), LayerDirId(hex64(seed)), Depth.FULL, Soundness.VERIFIED, checked_ns, 11, 2)

    with open_state(tmp_path) as state:
        scrubs = Scrubs(state, HERE, "/docker")
        scrubs.keep(verdict("a", 9))
        scrubs.keep(verdict("b", 2))
        before = known_of(state, HERE)
        assert known_of(state, HERE, before) is before
        changes = (
            lambda: scrubs.keep(verdict("a", 8)),
            lambda: scrubs.keep(verdict("c", 7)),
            lambda: scrubs.forget_others({chain("a"): None, chain("b"): None}),
            lambda: scrubs.begin(sweep("a")),
            lambda: scrubs.steer(Course.PAUSED),
        )
        for change in changes:
            change()
            after = known_of(state, HERE, before)
            assert after is not before
            assert after == known_of(state, HERE)
            before = after


def test_all_that_is_said_of_a_scrub():
    of = known(sweep("a", "b"), a=glance("a", days_ago=0))

    assert scrubbing_of(of, there("a", "b"), NOON_NS, 60.0) == Scrubbing(
        layers={
            LayerState.VERIFIED: 1,
            LayerState.DAMAGED: 0,
            LayerState.UNVERIFIABLE: 0,
            LayerState.PENDING: 1,
        },
        oldest_ns=NOON_NS,
        progress=0.5,
        period_seconds=60.0,
    )
