from __future__ import annotations

import pytest
from support.results import NOON_NS, orphan

from gcd.model.audit import Act, ActKind, act_of
from gcd.model.entry import RunId
from gcd.model.ids import ChainId
from gcd.model.plan import Deed, Mend, Move, Outcome, Reason, Release

FINDING = orphan("a")
RUN = RunId("run-1")


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Move(FINDING, ()), ActKind.QUARANTINE),
        (Mend(FINDING, ()), ActKind.REPAIR),
        (Release(FINDING, ChainId("sha256:0")), ActKind.RELEASE),
    ],
)
def test_a_deed_is_kept_with_all_that_it_says(step, kind):
    deed = Deed(step, Outcome.DONE, entry="entry", disk_bytes=7)

    assert act_of(deed, RUN, NOON_NS) == Act(RUN, NOON_NS, kind, FINDING.id, Outcome.DONE, None, "", "entry", 7)


def test_a_refusal_moved_no_bytes():
    deed = Deed(Move(FINDING, ()), Outcome.REFUSED, Reason.IN_USE, "it is mounted", disk_bytes=7)

    assert act_of(deed, RUN, NOON_NS) == Act(
        RUN, NOON_NS, ActKind.QUARANTINE, FINDING.id, Outcome.REFUSED, Reason.IN_USE, "it is mounted"
    )
