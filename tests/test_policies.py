"""The policies that are shipped: they load, and they do what their comments say."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from support.results import finding, hex64

from gcd.commands.wishes import policy_of
from gcd.model.finding import Code, Confidence, Node, NodeKind
from gcd.model.plan import LeftAlone
from gcd.policy.policy import BY_POLICY, DAY_NS, Policy, Verb
from gcd.policy.wanted import wanted
from gcd.rules.table import RULES
from gcd.settings import load
from gcd.settings.keys import leaves

FOLDER = Path(__file__).resolve().parent.parent / "config" / "policies"


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    (tmp_path / "conf.d").mkdir()

    def load_policy(name):
        shutil.copy(FOLDER / name, tmp_path / "conf.d")
        return load({}, directory=tmp_path).settings

    return load_policy


def wanted_codes(policy):
    """By code, the kinds of remedies that `policy` wants of a finding as its rule makes it."""
    found = {}
    for rule in RULES:
        subject = Node(NodeKind.LAYER_DIR, hex64("a"))
        made = finding(rule.code, rule.name, subject, kind=rule.kind, severity=rule.severity, remedies=rule.remedies)
        answer = wanted(made, policy, BY_POLICY)
        if not isinstance(answer, LeftAlone):
            found[rule.code.removeprefix("GCD")] = " ".join(dict.fromkeys(remedy.kind for remedy in answer))
    return found


def by_remedy(policy):
    found = {}
    for code, remedies in wanted_codes(policy).items():
        found.setdefault(remedies, []).append(code)
    return {remedies: " ".join(codes) for remedies, codes in found.items()}


def test_there_are_three():
    assert sorted(path.name for path in FOLDER.iterdir()) == ["ci-runner.toml", "edge.toml", "production.toml"]


def test_the_default_does_nothing():
    assert wanted_codes(Policy()) == {}


def test_ci_runner(loaded):
    settings = loaded("ci-runner.toml")
    policy = policy_of(settings)

    assert (policy.min_confidence, policy.grace_ns, policy.min_bytes) == (Confidence.SUSPECTED, DAY_NS, 1 << 20)
    assert settings.quarantine.retention.days == 2
    assert by_remedy(policy) == {
        "quarantine": "101 102 113 201 202 309 310 406 601 602 603 604",
        "release quarantine": "211",
        "repair": "103 105 106 107 108 110 203 204 205 208 405",
    }


def test_production(loaded):
    settings = loaded("production.toml")
    policy = policy_of(settings)

    assert (policy.min_confidence, policy.max_items, policy.max_bytes) == (Confidence.PROVEN, 20, 50 << 30)
    assert policy.protection.containers == ("*-db", "*-db-*")
    assert settings.quarantine.retention.days == 21
    assert by_remedy(policy) == {
        "quarantine": "101 102 113 601 603",
        "release": "211",
        "repair": "103 105 106",
    }


def test_edge(loaded):
    settings = loaded("edge.toml")
    policy = policy_of(settings)

    assert policy.is_offline
    assert settings.quarantine.retention.days == 7
    assert by_remedy(policy) == {
        "quarantine": "101 102 113 211 309 310 406 601 602 603 604",
        "repair": "103 105 106 107 108 110 112 203 204 205 206 208 403 404 405",
    }


def test_no_policy_takes_user_data():
    """S9: neither GCD116 nor GCD304, whatever verbs a policy has."""
    verbs = (Verb.REPAIR, Verb.RELEASE, Verb.QUARANTINE)
    greedy = Policy(codes={rule.code: verbs for rule in RULES})

    assert set(wanted_codes(greedy)) & {"116", "304"} == set()


PAGE = FOLDER.parent.parent / "docs" / "policy.md"
PAGE_OF_THE_DAEMON = FOLDER.parent.parent / "docs" / "daemon.md"


def test_the_pages_name_every_setting_of_their_tables():
    policy, daemon = PAGE.read_text(), PAGE_OF_THE_DAEMON.read_text()

    unnamed = [
        key
        for key in leaves()
        if "." in key
        and not re.search(rf"(?m)^(\[{re.escape(key)}\]|{key.partition('.')[2]} = )", policy)
        and not re.search(rf"(?m)^\|.*`{re.escape(key)}`.*\|", daemon)
    ]
    assert unnamed == []


def test_the_examples_of_the_page_load(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    (tmp_path / "conf.d").mkdir()
    examples = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for number, example in enumerate(examples):
        (tmp_path / "conf.d" / f"{number}.toml").write_text(example)

    policy = policy_of(load({}, directory=tmp_path).settings)

    assert len(examples) == 4
    assert policy.codes == {Code("GCD101"): (Verb.QUARANTINE,), Code("GCD211"): (Verb.RELEASE, Verb.QUARANTINE)}
    assert policy.protection.labels == ("com.example.keep", "tier=critical*")
    assert policy.max_bytes == 50 << 30
