"""The table of menders, and the question of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gcd.mends.mending import NOTHING_SAID, Case, Mender, Mending, Unproven

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.mends.mending import Consent, Witness
    from gcd.model.finding import Code, Finding
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

MENDS: Final[Mapping[Code, Mender]] = {}


def mend(
    inventory: Inventory, graph: StoreGraph, finding: Finding, witness: Witness, consent: Consent = NOTHING_SAID
) -> Mending | Unproven:
    """
    What to write so that `finding` is no more, or why that cannot be said.

    `graph` is that of `inventory`, and `finding` one of it. Whether it may be done now is said as well, as far as it
    depends on whose the damaged thing is (S15): everything else is for the policy.
    """
    mender = MENDS.get(finding.code)
    if mender is None:
        return Unproven(f"gcd cannot mend {finding.code}")
    return mender(Case(inventory, graph, finding, witness, consent))
