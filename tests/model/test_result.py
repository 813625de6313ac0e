"""What a result says to the shell, and whose bytes could come back."""

from __future__ import annotations

import pytest
from support.results import finding, orphan, result

from gcd.model.errors import ExitBits
from gcd.model.finding import Acceptance, Code, Confidence, FindingId, Kind, Node, NodeKind, NotChecked, Severity
from gcd.model.inventory import Source
from gcd.model.result import exit_bits, is_reclaimable

UNCHECKED = NotChecked(Code("GCD101"), "orphaned-layer-dir", Source.MOUNTS, "no rights")
ACCEPTED = Acceptance("GCD101:*", "known")


@pytest.mark.parametrize(
    ("severity", "fail_on", "bits"),
    [
        (Severity.INFO, Severity.WARNING, ExitBits.CLEAN),
        (Severity.WARNING, Severity.WARNING, ExitBits.FINDINGS_LEFT),
        (Severity.WARNING, Severity.ERROR, ExitBits.CLEAN),
        (Severity.ERROR, Severity.ERROR, ExitBits.FINDINGS_LEFT),
        (Severity.CRITICAL, Severity.ERROR, ExitBits.FINDINGS_LEFT),
        (Severity.CRITICAL, None, ExitBits.CLEAN),
    ],
)
def test_a_finding_counts_from_the_severity_that_was_asked_for(severity, fail_on, bits):
    assert exit_bits(result(orphan("a", severity=severity)), fail_on) == bits


def test_what_was_not_checked_counts_whatever_was_found():
    both = ExitBits.FINDINGS_LEFT | ExitBits.NOT_DONE

    assert exit_bits(result(not_checked=(UNCHECKED,)), None) == ExitBits.NOT_DONE
    assert exit_bits(result(orphan("a"), not_checked=(UNCHECKED,)), Severity.WARNING) == both


def test_an_accepted_finding_is_no_reason_and_no_illness():
    accepted = result(orphan("a", accepted=ACCEPTED))

    assert exit_bits(accepted, Severity.WARNING) == ExitBits.CLEAN
    assert accepted.is_healthy
    assert accepted.open_findings == ()


@pytest.mark.parametrize(
    ("changes", "healthy"), [({"severity": Severity.INFO}, True), ({"severity": Severity.WARNING}, False)]
)
def test_only_what_is_above_info_makes_a_host_ill(changes, healthy):
    assert result(orphan("a", **changes)).is_healthy is healthy


@pytest.mark.parametrize(
    ("changes", "reclaimable"),
    [
        ({}, True),
        ({"confidence": Confidence.SUSPECTED}, False),
        ({"blocked_by": (FindingId("GCD206:layer:x"),)}, False),
        ({"kind": Kind.LEFTOVER}, False),
    ],
)
def test_what_comes_back_is_a_proven_orphan_that_nothing_blocks(changes, reclaimable):
    found = finding("GCD101", "orphaned-layer-dir", Node(NodeKind.LAYER_DIR, "x"), **changes)

    assert is_reclaimable(found) is reclaimable
