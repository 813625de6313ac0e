"""Codes as users write them: ``GCD101``, ``gcd101``, ``101`` or ``orphaned-layer-dir``."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from gcd.model.errors import UsageError
from gcd.rules.catalogue import EVERY_RULE
from gcd.rules.table import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.model.finding import Code
    from gcd.rules.rule import Rule

SUGGESTIONS = 3


def rule_of(word: str) -> Rule:
    """The rule that `word` names; a `UsageError` that names the nearest ones if none."""
    wanted = word.strip().upper()
    wanted = f"GCD{wanted}" if wanted[:1].isdigit() else wanted
    for rule in EVERY_RULE:
        if wanted in {rule.code, rule.name.upper()}:
            return rule
    nearest = _nearest_codes(wanted) if wanted.startswith("GCD") else _nearest_names(wanted)
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "gcd rules lists all codes"
    raise UsageError(f"there is no code {word!r}; {hint}")


def _nearest_codes(wanted: str) -> list[str]:
    """Codes that differ from `wanted` in the fewest places, at most two."""
    differences = {rule: sum(a != b for a, b in zip_longest(rule.code, wanted)) for rule in EVERY_RULE}
    near = sorted(
        (rule for rule in EVERY_RULE if differences[rule] <= 2), key=lambda rule: (differences[rule], rule.code)
    )
    return [f"{rule.code} {rule.name}" for rule in near[:SUGGESTIONS]]


def _nearest_names(wanted: str) -> list[str]:
    import difflib  # noqa: PLC0415 - for those who mistype

    names = {rule.name.upper(): f"{rule.code} {rule.name}" for rule in EVERY_RULE}
    return [names[name] for name in difflib.get_close_matches(wanted, names, n=SUGGESTIONS, cutoff=0.5)]


def selected(only: Iterable[str], skip: Iterable[str]) -> frozenset[Code]:
    """The codes whose rules are to run: those of `only`, all if it is empty, less those of `skip`."""
    checked = frozenset(rule.code for rule in RULES)
    wanted = frozenset(rule_of(word).code for word in only)
    if scrubbed := sorted(wanted - checked):
        raise UsageError(f"{', '.join(scrubbed)}: a check looks at no content, gcd scrub does")
    return (wanted or checked) - {rule_of(word).code for word in skip}
