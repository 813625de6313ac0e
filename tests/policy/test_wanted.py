from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.cases import QUARANTINE, QUARANTINE_STOPPED, RELEASE, leaked, missing_link
from support.results import orphan

from gcd.model.finding import Applicability, Code, Kind, RemedyKind, Severity
from gcd.model.plan import LeftAlone, Reason
from gcd.policy.policy import BY_POLICY, Policy, Selection, Verb
from gcd.policy.wanted import is_asked_for, wanted

QUARANTINES = (Verb.QUARANTINE,)
OPT_IN = replace(QUARANTINE, applicability=Applicability.OPT_IN)
MANUAL = replace(QUARANTINE, applicability=Applicability.MANUAL)
ORPHAN = Code("GCD101")


def by_policy(found, **said):
    answer = wanted(found, Policy(**said), BY_POLICY)
    return (answer.reason, answer.why) if isinstance(answer, LeftAlone) else answer


def by_name(found, kind, *, ids=(), codes=()):
    answer = wanted(found, Policy(), Selection(kind, codes=frozenset(codes), ids=frozenset(ids)))
    return (answer.reason, answer.why) if isinstance(answer, LeftAlone) else answer


def test_without_a_verb_a_finding_is_only_reported():
    only = (Reason.POLICY, "the policy only reports it; gcd quarantine GCD101 does it by name")

    assert by_policy(orphan("a")) == only
    assert by_policy(orphan("a"), codes={ORPHAN: (Verb.REPORT,)}) == only


def test_what_is_ignored_says_so():
    assert by_policy(orphan("a"), kinds={Kind.ORPHAN: (Verb.IGNORE,)}) == (
        Reason.IGNORED,
        "the policy says to ignore it",
    )


@pytest.mark.parametrize(
    "said",
    [
        {"codes": {ORPHAN: QUARANTINES}, "kinds": {Kind.ORPHAN: (Verb.REPORT,)}},
        {"kinds": {Kind.ORPHAN: QUARANTINES}, "severities": {Severity.WARNING: (Verb.REPORT,)}},
        {"severities": {Severity.WARNING: QUARANTINES}},
    ],
)
def test_the_code_goes_before_the_kind_and_that_before_the_severity(said):
    assert by_policy(orphan("a"), **said) == (QUARANTINE,)


def test_a_verb_that_is_no_remedy_of_it_does_nothing():
    assert by_policy(orphan("a"), kinds={Kind.ORPHAN: (Verb.RELEASE, Verb.REPAIR)}) == (
        Reason.POLICY,
        "the policy says release or repair, which is no remedy for it",
    )


def test_of_several_remedies_those_with_a_verb_are_wanted_in_their_own_order():
    assert by_policy(leaked("b"), kinds={Kind.ORPHAN: QUARANTINES}) == (QUARANTINE_STOPPED,)
    assert by_policy(leaked("b"), kinds={Kind.ORPHAN: (Verb.QUARANTINE, Verb.RELEASE)}) == (RELEASE, QUARANTINE_STOPPED)


def test_what_is_opt_in_needs_a_policy_that_names_its_code():
    found = orphan("a", remedies=(OPT_IN,))
    left = (Reason.POLICY, "its remedy is opt-in: gcd quarantine GCD101 does it by name")

    assert by_policy(found, kinds={Kind.ORPHAN: QUARANTINES}) == left
    assert by_policy(found, severities={Severity.WARNING: QUARANTINES}) == left
    assert by_policy(found, codes={Code("GCD102"): QUARANTINES}, kinds={Kind.ORPHAN: QUARANTINES}) == left
    assert by_policy(found, codes={ORPHAN: QUARANTINES}) == (OPT_IN,)


def test_user_data_is_moved_by_no_policy():
    """S9: GCD116, and all that is manual."""
    found = replace(orphan("a", remedies=(MANUAL,)), code=Code("GCD116"))
    left = (Reason.POLICY, "its remedy is manual: only gcd quarantine with its own id does it")

    assert by_policy(found, codes={Code("GCD116"): QUARANTINES}) == left
    assert by_policy(found, kinds={Kind.ORPHAN: QUARANTINES}) == left
    assert by_policy(found, severities={Severity.WARNING: QUARANTINES}) == left
    assert by_policy(found) == (
        Reason.POLICY,
        "the policy only reports it; only gcd quarantine with its own id does it",
    )


def test_what_has_no_remedy_says_where_to_read_on():
    left = (Reason.NO_REMEDY, "gcd has no remedy for it; see gcd explain GCD101")

    assert by_policy(orphan("a", remedies=()), codes={ORPHAN: QUARANTINES}) == left
    assert by_name(orphan("a", remedies=()), RemedyKind.QUARANTINE) == left


def test_by_name_a_remedy_needs_no_verb():
    assert by_name(orphan("a"), RemedyKind.QUARANTINE) == (QUARANTINE,)
    assert by_name(orphan("a", remedies=(OPT_IN,)), RemedyKind.QUARANTINE) == (OPT_IN,)
    assert by_name(leaked("b"), RemedyKind.RELEASE) == (RELEASE,)
    assert by_name(leaked("b"), RemedyKind.REPAIR) == (
        Reason.NO_REMEDY,
        "its remedy is not repair but release or quarantine",
    )


def test_what_is_manual_is_done_only_by_its_id():
    found = orphan("a", remedies=(MANUAL,))
    left = (Reason.POLICY, "only gcd quarantine with its own id does it")

    assert by_name(found, RemedyKind.QUARANTINE) == left
    assert by_name(found, RemedyKind.QUARANTINE, codes=[ORPHAN]) == left
    assert by_name(found, RemedyKind.QUARANTINE, ids=[orphan("b").id]) == left
    assert by_name(found, RemedyKind.QUARANTINE, ids=[found.id]) == (MANUAL,)


@pytest.mark.parametrize(
    ("selection", "asked"),
    [
        (BY_POLICY, {"orphan", "link"}),
        (Selection(codes=frozenset({ORPHAN})), {"orphan"}),
        (Selection(ids=frozenset({missing_link().id})), {"link"}),
        (Selection(codes=frozenset({ORPHAN}), ids=frozenset({missing_link().id})), {"orphan", "link"}),
        (Selection(RemedyKind.REPAIR), {"link"}),
        (Selection(RemedyKind.RELEASE), set()),
        (Selection(RemedyKind.RELEASE, codes=frozenset({ORPHAN})), {"orphan"}),
    ],
)
def test_what_is_asked_for(selection, asked):
    findings = {"orphan": orphan("a"), "link": missing_link()}

    assert {name for name, found in findings.items() if is_asked_for(found, selection)} == asked
