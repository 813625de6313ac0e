"""The table of menders, and the question of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gcd.mends import cacheid, containers, content, layerdirs, layers, linkfarm, lowers, references, rwlayers
from gcd.mends.mending import NOTHING_SAID, Case, Mender, Mending, Unproven
from gcd.model.finding import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcd.mends.mending import Consent, Witness
    from gcd.model.finding import Finding
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

MENDS: Final[Mapping[Code, Mender]] = {
    Code("GCD103"): linkfarm.missing_symlink,
    Code("GCD105"): linkfarm.wrong_target,
    Code("GCD106"): layerdirs.lost_link,
    Code("GCD107"): lowers.lost_lower,
    Code("GCD108"): lowers.lost_lower,
    Code("GCD110"): layerdirs.missing_work,
    Code("GCD112"): linkfarm.damaged_farm,
    Code("GCD203"): layers.lost_diff_id,
    Code("GCD204"): layers.lost_size,
    Code("GCD205"): layers.lost_parent,
    Code("GCD206"): cacheid.lost_cache_id,
    Code("GCD208"): layers.bad_descriptor,
    Code("GCD301"): rwlayers.lost_mount_id,
    Code("GCD302"): rwlayers.lost_init_id,
    Code("GCD303"): rwlayers.lost_parent,
    Code("GCD307"): containers.lost_config,
    Code("GCD403"): references.lost_references,
    Code("GCD404"): references.lost_references,
    Code("GCD405"): references.dangling,
    Code("GCD701"): content.damaged_file,
    Code("GCD702"): content.missing_file,
}


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
