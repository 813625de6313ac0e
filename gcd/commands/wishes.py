"""From settings, flags and words on the command line to what a plan is to be made of."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from gcd.commands.codes import rule_of
from gcd.commands.record import boot_time
from gcd.model.errors import UsageError
from gcd.model.finding import Applicability, FindingId
from gcd.planning import Wish, identity_of
from gcd.policy.policy import REMEDY_OF, History, Policy, Protection, Selection, Verb, Window
from gcd.rules import content
from gcd.scrubs import kept_verdicts
from gcd.settings.units import hours_of, nanoseconds, zone_of
from gcd.state import read_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gcd.model.content import Verdict
    from gcd.model.finding import Code, RemedyKind
    from gcd.model.ids import ChainId
    from gcd.model.result import RunResult
    from gcd.rules.rule import Rule
    from gcd.settings import Settings

SUGGESTIONS = 3


def wish_of(
    settings: Settings,
    root: str,
    words: Sequence[str] = (),
    *,
    remedy: RemedyKind | None = None,
    allow_empty: bool = False,
) -> Wish:
    """
    What is asked for: by the policy, or by name with `remedy`; of the codes and ids in `words`, of all without any.

    Reads the state of earlier runs, and makes none where there is none. Raises `UsageError` for a code that there is
    not, and for a policy that no rule can follow.
    """
    return Wish(
        policy=policy_of(settings),
        selection=selection_of(words, remedy),
        history=history_of(settings.state_dir, root),
        acceptances=settings.acceptances,
        allow_empty=allow_empty,
        contents=_contents_of(settings.state_dir, root, words),
    )


def _contents_of(directory: Path, root: str, words: Sequence[str]) -> Mapping[ChainId, Verdict]:
    """The verdicts of scrubs, where `words` ask for what only a scrub finds."""
    codes = {rule.code for rule in content.RULES}
    if not any(rule_of(word.partition(":")[0]).code in codes for word in words):
        return {}
    with read_state(directory) as state:
        return {} if state is None else kept_verdicts(state, identity_of(root))


def policy_of(settings: Settings) -> Policy:
    said, protect = settings.policy, settings.protect
    return Policy(
        codes=_verbs_by_code(said.codes),
        kinds=said.kinds,
        severities=said.severities,
        min_confidence=said.min_confidence,
        grace_ns=nanoseconds(said.grace),
        min_bytes=said.min_size,
        max_items=said.max_items,
        max_bytes=said.max_bytes,
        windows=tuple(Window(frozenset(w.days), *hours_of(w.hours), zone_of(w.zone)) for w in said.windows),
        protection=Protection(
            frozenset(rule_of(word).code for word in protect.codes),
            protect.findings,
            protect.images,
            protect.containers,
            protect.labels,
        ),
        is_offline=said.offline_node,
    )


def _verbs_by_code(said: Mapping[str, tuple[Verb, ...]]) -> dict[Code, tuple[Verb, ...]]:
    found = {}
    for word, verbs in said.items():
        rule = rule_of(word)
        for verb in verbs:
            _demand_doable(rule, verb)
        found[rule.code] = verbs
    return found


def _demand_doable(rule: Rule, verb: Verb) -> None:
    """A policy that could never be followed is a mistake of whoever wrote it."""
    if verb not in REMEDY_OF:
        return
    fitting = [remedy for remedy in rule.remedies if remedy.kind is REMEDY_OF[verb]]
    if not fitting:
        kinds = " or ".join(dict.fromkeys(remedy.kind for remedy in rule.remedies))
        has = f"its remedy is {kinds}" if kinds else "gcd has none at all, so report or ignore it"
        raise UsageError(f"policy.codes: {rule.code} {rule.name} has no {verb}: {has}")
    if all(remedy.applicability is Applicability.MANUAL for remedy in fitting):
        raise UsageError(
            f"policy.codes: {rule.code} {rule.name} is done by no policy: only gcd {verb} with its id does it"
        )


def selection_of(words: Sequence[str], remedy: RemedyKind | None = None) -> Selection:
    """`words` are codes or the names of codes, and ids of findings, which have colons."""
    return Selection(
        remedy,
        codes=frozenset(rule_of(word).code for word in words if ":" not in word),
        ids=frozenset(FindingId(word) for word in words if ":" in word),
    )


def demand_found(selection: Selection, result: RunResult) -> None:
    """A `UsageError` that names the nearest findings if one that is asked for by its id is not there."""
    there = {finding.id: finding for finding in result.findings}
    for wanted in sorted(selection.ids - there.keys()):
        begun = sorted(name for name in there if name.startswith(wanted))
        near = begun[:SUGGESTIONS] or difflib.get_close_matches(wanted, there, n=SUGGESTIONS, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "gcd check lists all findings"
        raise UsageError(f"there is no finding {wanted}; {hint}")


def history_of(directory: Path, root: str) -> History:
    """What earlier runs, of this boot and before, saw of `root`."""
    boot, identity = boot_time(), identity_of(root)
    with read_state(directory) as state:
        if state is None:
            return History()
        seen_ns = {
            FindingId(sighting.finding): boot.now_ns - sighting.boot_first_ns
            for sighting in state.sightings(identity)
            if sighting.boot_id == boot.boot_id
        }
        return History(seen_ns, state.last_run_ns(identity))
