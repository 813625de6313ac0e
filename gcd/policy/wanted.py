"""
Which remedies of a finding are wanted: those that a command names, else those that the policy has a verb for.

`auto` remedies are done by any verb that names them, `opt-in` ones only where the policy names the code or somebody
asks for them by name, `manual` ones only for one finding by its id, whatever a policy says (S9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from gcd.model.finding import Applicability, RemedyKind
from gcd.model.plan import LeftAlone, Reason
from gcd.policy.policy import REMEDY_OF, Verb

if TYPE_CHECKING:
    from gcd.model.finding import Finding, Remedy
    from gcd.policy.policy import Policy, Selection


def is_asked_for(finding: Finding, selection: Selection) -> bool:
    """
    Whether a plan has to say anything of `finding`. Who asks for one kind of remedy and names no finding hears nothing
    of those that have none of that kind.
    """
    if not selection.includes(finding):
        return False
    is_open = not (selection.codes or selection.ids)
    return not (is_open and selection.remedy) or any(r.kind is selection.remedy for r in finding.remedies)


def wanted(finding: Finding, policy: Policy, selection: Selection) -> tuple[Remedy, ...] | LeftAlone:
    """The remedies of `finding` that are wanted, the preferred one first; or why none is."""
    if not finding.remedies:
        return LeftAlone(finding, Reason.NO_REMEDY, f"gcd has no remedy for it; see gcd explain {finding.code}")
    if selection.remedy is not None:
        return _by_name(finding, selection.remedy, selection)
    return _by_policy(finding, policy)


def _by_name(finding: Finding, kind: RemedyKind, selection: Selection) -> tuple[Remedy, ...] | LeftAlone:
    fitting = tuple(remedy for remedy in finding.remedies if remedy.kind is kind)
    if not fitting:
        kinds = " or ".join(dict.fromkeys(remedy.kind for remedy in finding.remedies))
        return LeftAlone(finding, Reason.NO_REMEDY, f"its remedy is not {kind} but {kinds}")
    allowed = tuple(r for r in fitting if r.applicability is not Applicability.MANUAL or finding.id in selection.ids)
    return allowed or LeftAlone(finding, Reason.POLICY, _only_by_id(kind))


def _by_policy(finding: Finding, policy: Policy) -> tuple[Remedy, ...] | LeftAlone:
    verbs = policy.verbs_of(finding)
    if Verb.IGNORE in verbs:
        return LeftAlone(finding, Reason.IGNORED, "the policy says to ignore it")
    kinds = {REMEDY_OF[verb] for verb in verbs if verb in REMEDY_OF}
    fitting = tuple(remedy for remedy in finding.remedies if remedy.kind in kinds)
    if not kinds:
        return LeftAlone(finding, Reason.POLICY, f"the policy only reports it; {_by_hand(finding)}")
    if not fitting:
        said = " or ".join(sorted(kinds))
        return LeftAlone(finding, Reason.POLICY, f"the policy says {said}, which is no remedy for it")
    allowed = tuple(remedy for remedy in fitting if _may(remedy, is_code_named=finding.code in policy.codes))
    return allowed or LeftAlone(
        finding, Reason.POLICY, f"its remedy is {fitting[0].applicability}: {_by_hand(finding)}"
    )


def _may(remedy: Remedy, *, is_code_named: bool) -> bool:
    match remedy.applicability:
        case Applicability.AUTO:
            return True
        case Applicability.OPT_IN:
            return is_code_named
        case Applicability.MANUAL:
            return False
        case _:
            assert_never(remedy.applicability)


def _by_hand(finding: Finding) -> str:
    """Which command does it by name."""
    remedy = finding.remedies[0]
    if remedy.applicability is Applicability.MANUAL:
        return _only_by_id(remedy.kind)
    return f"gcd {remedy.kind} {finding.code} does it by name"


def _only_by_id(kind: RemedyKind) -> str:
    return f"only gcd {kind} with its own id does it"
