from __future__ import annotations

import pytest

from gcd.model.changed import EVERYTHING, NOTHING, Changed
from gcd.watch.gathering import MOST_NAMES, Gathering
from gcd.watch.places import places

PLACES = {place.path: place for place in places("overlay2")}
DIRS, CONTAINERS, TAGS = PLACES["overlay2"], PLACES["containers"], PLACES["image/overlay2"]


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rung():
    """One entry for each time that the first of a burst was heard."""
    return []


@pytest.fixture
def gathering(clock, rung):
    return Gathering(2.0, clock=clock, on_first=lambda: rung.append(clock.seconds))


def test_nothing_heard(gathering):
    assert gathering.seconds_left() is None
    assert gathering.take() == NOTHING


def test_a_name_settles(gathering, clock):
    gathering.hear(CONTAINERS, "c1")

    left = [gathering.seconds_left()]
    clock.seconds += 2.0
    left.append(gathering.seconds_left())
    assert left == [2.0, 0.0]


def test_each_further_name_puts_it_off(gathering, clock):
    gathering.hear(CONTAINERS, "c1")
    clock.seconds += 1.5
    gathering.hear(CONTAINERS, "c1")

    assert gathering.seconds_left() == 2.0


def test_but_not_for_ever(gathering, clock):
    left = []
    for _ in range(9):
        gathering.hear(CONTAINERS, "c1")
        left.append(gathering.seconds_left())
        clock.seconds += 1.25

    assert left == [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.25, 0.0]


def test_a_burst_is_taken_once(gathering):
    gathering.hear(CONTAINERS, "c1")
    gathering.hear(DIRS, "d1")
    gathering.hear(CONTAINERS, "c2")
    gathering.hear(CONTAINERS, "c1")

    assert [gathering.take(), gathering.seconds_left(), gathering.take()] == [
        Changed(containers=frozenset({"c1", "c2"}), layer_dirs=frozenset({"d1"})),
        None,
        NOTHING,
    ]
    assert (gathering.events, gathering.overflows) == (4, 0)


def test_a_place_within_a_place_is_no_subject(gathering):
    gathering.hear(DIRS, "l")
    gathering.hear(TAGS, "layerdb")

    assert gathering.take() == NOTHING


def test_only_the_first_of_a_burst_is_told(gathering, clock, rung):
    gathering.hear(CONTAINERS, "c1")
    clock.seconds += 1
    gathering.hear(CONTAINERS, "c2")
    gathering.miss()
    gathering.take()
    clock.seconds += 1
    gathering.miss()
    gathering.hear(CONTAINERS, "c1")

    assert rung == [100.0, 102.0]


def test_what_was_missed_is_everything(gathering):
    gathering.hear(CONTAINERS, "c1")
    gathering.miss()
    gathering.hear(CONTAINERS, "c2")

    assert [gathering.take(), gathering.take()] == [EVERYTHING, NOTHING]
    assert (gathering.events, gathering.overflows) == (2, 1)


def test_as_many_names_as_a_burst_may_have(gathering):
    names = [f"d{number}" for number in range(MOST_NAMES)]
    for name in [*names, *names]:
        gathering.hear(DIRS, name)

    assert gathering.take() == Changed(layer_dirs=frozenset(names))
    assert (gathering.events, gathering.overflows) == (2 * MOST_NAMES, 0)


def test_one_name_more_is_everything_and_remembers_none(gathering):
    for number in range(MOST_NAMES - 1):
        gathering.hear(DIRS, f"d{number}")
    for number in range(1000):
        gathering.hear(CONTAINERS, f"c{number}")

    assert gathering._names == {}
    assert [gathering.take(), gathering.take()] == [EVERYTHING, NOTHING]
    assert (gathering.events, gathering.overflows) == (MOST_NAMES + 999, 1)


def test_the_next_burst_has_names_again(gathering):
    for number in range(MOST_NAMES + 1):
        gathering.hear(DIRS, f"d{number}")
    gathering.take()
    gathering.hear(CONTAINERS, "c1")

    assert gathering.take() == Changed(containers=frozenset({"c1"}))
