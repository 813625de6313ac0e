"""
What the rules say of themselves: the entry of ``gcd explain``, the table of ``gcd rules``, the page docs/codes.md.

All of it is made of the table, so that no text about a code can be another one's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.inventory import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcd.model.finding import Remedy
    from gcd.rules.rule import Rule

REPORT_ONLY = "report only"

AREAS = {
    "GCD1": "overlay2 directories and links",
    "GCD2": "layer records",
    "GCD3": "rw layers and containers",
    "GCD4": "images, tags, distribution",
    "GCD5": "BuildKit",
    "GCD6": "leftovers of interrupted work",
    "GCD7": "content",
    "GCD8": "environment",
    "GCD9": "containerd store",
}

INTRODUCTION = """\
# Codes

Generated from the rules by `make docs`; a test holds it equal to them. `gcd explain CODE` prints the same.

A code never changes its meaning and is never used again.

Kinds: **orphan** (exists, nothing reachable refers to it), **dangling** (a reference whose target is missing),
**damaged** (unreadable, malformed, contradictory), **leftover** (remains of interrupted work), **hazard** (nobody's
fault yet).

Severity, by measured effect: **critical** (the engine will not start), **error** (images or containers lost, unusable
or silently wrong), **warning** (space lost, or a failure to come), **info** (harmless). The table gives the highest
that a code can have. A suspected finding is shown as info until it is proven.

Remedies: this version only reports them. **online** means also while the engine runs, **stopped** only with the engine
stopped; **auto** may be done by policy, **opt-in** only by a policy that names the code, **manual** only by name on the
command line.
"""


def entry(rule: Rule) -> str:
    """All about one code, as plain text."""
    facts = [
        f"{rule.code} {rule.name}",
        "",
        rule.text.strip(),
        "",
        f"Kind: {rule.kind}. Severity: up to {rule.severity}. Looks at: {rule.node}.",
        f"Remedies: {remedies(rule.remedies)}.",
        f"Not checked unless these were read completely: {', '.join(_in_order(rule)) or 'nothing'}.",
    ]
    return "\n".join(facts) + "\n"


def remedy_in_words(rule: Rule) -> str:
    """What the rule's text says of its remedy, in one line."""
    section = rule.text.partition("\nRemedy: ")[2].partition("\nNot this rule:")[0]
    words = " ".join(section.replace("``", "").split())
    return words.removeprefix("none by gcd: ").removeprefix("none by gcd; ").removesuffix(".")


def table(rules: Sequence[Rule]) -> str:
    """One line a code: code, name, kind, severity, remedies, in columns."""
    rows = [(r.code, r.name, r.kind, r.severity, remedies(r.remedies)) for r in rules]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "".join(
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[4]]) + "\n"
        for row in rows
    )


def page(rules: Sequence[Rule]) -> str:
    """docs/codes.md."""
    return "\n".join(_page(rules))


def _page(rules: Sequence[Rule]) -> Iterator[str]:
    yield INTRODUCTION
    yield "| code | name | kind | severity | remedies |"
    yield "|---|---|---|---|---|"
    for rule in rules:
        yield f"| {rule.code} | {rule.name} | {rule.kind} | {rule.severity} | {remedies(rule.remedies)} |"
    area = ""
    for rule in rules:
        if AREAS[rule.code[:4]] != area:
            area = AREAS[rule.code[:4]]
            yield f"\n## {rule.code[:4]}xx: {area}"
        yield f"\n### {rule.code} {rule.name}\n"
        yield rule.text.strip().replace("``", "`")
        yield f"\nNeeds: {', '.join(_in_order(rule)) or 'nothing'}."
    yield ""


def remedies(offered: Sequence[Remedy]) -> str:
    return "; ".join(f"{r.kind} ({r.moment}, {r.applicability})" for r in offered) or REPORT_ONLY


def _in_order(rule: Rule) -> list[str]:
    """The sources it needs, in the order of the report; sets have none."""
    return [source for source in Source if source in rule.needs]
