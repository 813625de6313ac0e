from msgspec.structs import replace
from support.results import orphan

from gcd.model.finding import Confidence, Severity
from gcd.policy.confidence import judge

BOUND = 1_000


def test_older_than_all_that_can_be_under_way_is_proven():
    found = orphan("a", since_ns=BOUND - 1)

    assert judge(found, BOUND) == found
    assert found.confidence is Confidence.PROVEN


def test_as_young_as_the_bound_is_suspected_and_shown_as_info():
    found = orphan("a", since_ns=BOUND)

    assert judge(found, BOUND) == replace(found, confidence=Confidence.SUSPECTED, severity=Severity.INFO)


def test_without_a_bound_nothing_is_proven():
    assert judge(orphan("a", since_ns=0), None).confidence is Confidence.SUSPECTED


def test_where_age_does_not_matter_neither_does_the_bound():
    found = orphan("a", since_ns=None)

    assert judge(found, None) == found


def test_what_a_process_has_open_is_suspected_whatever_its_age():
    found = orphan("a", since_ns=0, is_held=True)

    assert judge(found, BOUND) == replace(found, confidence=Confidence.SUSPECTED, severity=Severity.INFO)
