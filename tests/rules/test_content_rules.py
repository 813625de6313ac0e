"""What GCD701 says about writing content back, where a verdict tells already that nothing will be."""

from __future__ import annotations

import pytest
from support.inventories import BASE_CHAIN, BASE_DIR, graph_of, healthy_inventory

from gcd.model.content import Damage, Depth, Difference, Soundness, Verdict
from gcd.rules.content import content_findings
from gcd.rules.remedies import REPAIR_STOPPED_MANUAL

EMPTIED = Difference("bin/sh", Damage.EMPTIED, "3 bytes, CRC-64 0000000000000007", "0 bytes", 3, 7)
LARGE = Difference("large", Damage.CHANGED, "x", "y", 64 << 30, 8)
RETARGETED = Difference("link", Damage.RETARGETED, "a symlink to x", "one to y")
LOST = Difference("lost", Damage.UNREADABLE, "4 bytes, CRC-64 0000000000000008", "EIO", 4, 8)
GONE = Difference("gone", Damage.MISSING, "4 bytes, CRC-64 0000000000000008", "absent", 4, 8)
DRESSED = Difference("bin", Damage.DRESSED, "mode 0755", "mode 0700")


def damaged_file(*differences, differing=0):
    verdict = Verdict(
        BASE_CHAIN, BASE_DIR, Depth.QUICK, Soundness.DAMAGED, 1, 0, 1, differences, differing or len(differences)
    )
    inventory = healthy_inventory(contents={BASE_CHAIN: verdict})
    [finding] = [f for f in content_findings(inventory, graph_of(inventory)) if f.code == "GCD701"]
    return finding


@pytest.mark.parametrize(
    "differences", [(EMPTIED,), (EMPTIED, LARGE), (EMPTIED, GONE), (EMPTIED, RETARGETED), (EMPTIED, DRESSED)]
)
def test_what_may_be_written_back(differences):
    finding = damaged_file(*differences)

    assert finding.remedies == (REPAIR_STOPPED_MANUAL,)
    assert "written back" not in finding.summary


@pytest.mark.parametrize(
    ("differences", "why"),
    [
        ((RETARGETED,), "only content of files is"),
        ((EMPTIED, LOST), "the content of lost is lost as well, without which nothing can be proven"),
    ],
)
def test_what_cannot_be_written_back_is_said_with_its_reason(differences, why):
    finding = damaged_file(*differences)

    assert finding.remedies == ()
    assert finding.summary.endswith(f". None of it can be written back: {why}.")


NOWHERE = Difference("none", Damage.MISSING, "an empty file", "absent")


def missing_file(*differences):
    verdict = Verdict(BASE_CHAIN, BASE_DIR, Depth.QUICK, Soundness.DAMAGED, 1, 0, 1, differences, len(differences))
    inventory = healthy_inventory(contents={BASE_CHAIN: verdict})
    [finding] = [f for f in content_findings(inventory, graph_of(inventory)) if f.code == "GCD702"]
    return finding


@pytest.mark.parametrize(
    ("differences", "why"),
    [
        ((GONE,), ""),
        ((GONE, NOWHERE, EMPTIED), ""),
        ((NOWHERE,), "only content of files is"),
        ((GONE, LOST), "the content of lost is lost as well, without which nothing can be proven"),
    ],
)
def test_what_is_missing_may_be_written_back(differences, why):
    finding = missing_file(*differences)

    assert finding.remedies == (() if why else (REPAIR_STOPPED_MANUAL,))
    said = f" None of it can be written back: {why}." if why else ""
    assert finding.summary.partition(" missing.")[2] == said


def test_of_more_than_a_verdict_keeps_nothing_is_written_back():
    finding = damaged_file(EMPTIED, differing=2)

    assert (finding.remedies, finding.summary.rpartition(": ")[2]) == ((), "more is damaged than is known.")


def test_other_rights_alone_are_nobodys_harm():
    assert damaged_file(DRESSED).summary == "One file is not what was unpacked: 1 of other rights."
