"""Codes as users write them: ``GCD101``, ``gcd101``, ``101`` or ``orphaned-layer-dir``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from gcd.model.errors import UsageError
from gcd.rules.table import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.model.finding import Code
    from gcd.rules.rule import Rule


def rule_of(word: str) -> Rule:
    """The rule that `word` names; a `UsageError` that names the nearest ones if none."""
    wanted = word.strip().upper()
    wanted = f"GCD{wanted}" if wanted.isdigit() else wanted
    for rule in RULES:
        if wanted in {rule.code, rule.name.upper()}:
            return rule
    words = [rule.code for rule in RULES] if wanted.startswith("GCD") else [rule.name.upper() for rule in RULES]
    near = difflib.get_close_matches(wanted, words, n=3, cutoff=0.5)
    nearest = [f"{rule.code} {rule.name}" for rule in RULES if {rule.code, rule.name.upper()} & set(near)]
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "gcd rules lists all codes"
    raise UsageError(f"there is no code {word!r}; {hint}")


def selected(only: Iterable[str], skip: Iterable[str]) -> frozenset[Code]:
    """The codes whose rules are to run: those of `only`, all if it is empty, less those of `skip`."""
    wanted = frozenset(rule_of(word).code for word in only) or frozenset(rule.code for rule in RULES)
    return wanted - {rule_of(word).code for word in skip}
