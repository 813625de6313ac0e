from __future__ import annotations

from msgspec.structs import replace
from support.results import finding, orphan

from gcd.model.finding import Node, NodeKind, Severity
from gcd.report.grouping import explains, groups


def layer(code, name, **fields):
    return finding(code, "x", Node(NodeKind.LAYER, name), **fields)


def test_the_worst_come_first_then_the_codes_then_the_bytes():
    small, big = orphan("a", disk_bytes=1), orphan("b", disk_bytes=2)
    error = layer("GCD301", "c", severity=Severity.ERROR)
    note = layer("GCD100", "d", severity=Severity.INFO)

    assert [group.findings for group in groups([note, small, big, error])] == [(error,), (big, small), (note,)]


def test_what_a_chain_of_causes_explains_stands_below_the_first():
    first = layer("GCD206", "a")
    second = layer("GCD212", "b", cause=first.id)
    third = layer("GCD402", "c", cause=second.id)

    assert explains([third, first, second]) == {first.id: (third, second)}
    assert [group.findings for group in groups([third, first, second])] == [(first,)]


def test_a_cause_that_is_not_there_explains_nothing():
    alone = layer("GCD402", "c", cause="GCD206:layer:gone")

    assert explains([alone]) == {}
    assert [group.findings for group in groups([alone])] == [(alone,)]


def test_causes_in_a_circle_hide_nobody():
    first = layer("GCD206", "a", cause="GCD212:layer:b")
    second = layer("GCD212", "b", cause=first.id)

    assert {found.id for group in groups([first, second]) for found in group.findings} == {first.id, second.id}


def test_a_finding_that_is_its_own_cause_stands_for_itself():
    alone = layer("GCD206", "a")
    alone = replace(alone, cause=alone.id)

    assert [group.findings for group in groups([alone])] == [(alone,)]
