"""All codes: those of the rules that a check runs, and those that only a scrub finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.rules import content
from gcd.rules.table import RULES

if TYPE_CHECKING:
    from gcd.rules.rule import Rule

EVERY_RULE: tuple[Rule, ...] = tuple(sorted((*RULES, *content.RULES), key=lambda rule: rule.code))
