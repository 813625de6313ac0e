from __future__ import annotations

from pathlib import Path

import pytest
from support.golden import assert_golden

from gcd.rules.catalogue import EVERY_RULE
from gcd.rules.document import entry, page, remedy_in_words, table

DOCS = Path(__file__).resolve().parents[2] / "docs"
SECTIONS = ("Harm:", "Cause:", "Remedy:", "Not this rule:")


def test_the_page_is_the_one_that_the_rules_give():
    assert (DOCS / "codes.md").read_text() == page(EVERY_RULE), "run `make docs`"


def test_the_table_of_codes_changes_only_knowingly():
    assert_golden("rules.txt", table(EVERY_RULE))


@pytest.mark.parametrize("rule", EVERY_RULE, ids=lambda rule: rule.code)
def test_each_rule_says_harm_cause_remedy_and_what_it_is_not(rule):
    starts = [line.split(" ")[0] if not line.startswith("Not") else "Not this rule:" for line in rule.text.splitlines()]

    assert [section for section in SECTIONS if section in starts] == list(SECTIONS)


def test_an_entry_says_all():
    [rule] = [rule for rule in EVERY_RULE if rule.code == "GCD101"]
    lines = entry(rule).splitlines()

    assert lines[0] == "GCD101 orphaned-layer-dir"
    assert lines[-3] == "Kind: orphan. Severity: up to warning. Looks at: layer-dir."
    assert lines[-2] == "Remedies: quarantine (online, auto)."
    assert lines[-1].startswith("Not checked unless these were read completely: overlay2, links, layers,")


@pytest.mark.parametrize("rule", EVERY_RULE, ids=lambda rule: rule.code)
def test_the_advice_for_a_report_is_one_line_that_says_what_to_do(rule):
    advice = remedy_in_words(rule)
    assert advice
    assert not advice.startswith("none by gcd:")
    assert advice.isprintable()
    assert "``" not in advice
    assert "Not this rule" not in advice
