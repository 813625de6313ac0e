"""Rules, alerts and scrape configurations: what promtool says of them, and what it does not look at."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from gcd.cli import cli

ALERTS = (
    "GcdDown",
    "GcdCheckStale",
    "GcdEngineWillNotStart",
    "GcdContainerLost",
    "GcdImageUnloadable",
    "GcdLayerDamaged",
    "GcdSourceUnreadable",
    "GcdOrphanedBytesHigh",
    "GcdOrphanedBytesGrowing",
    "GcdScrubStale",
    "GcdQuarantineExpiring",
    "GcdRefusing",
    "GcdWatchOverflow",
)


@pytest.fixture(scope="module")
def folder(deploy):
    return deploy / "prometheus"


@pytest.fixture(scope="module")
def alerts(folder):
    (group,) = yaml.safe_load((folder / "gcd.alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def promtool(*arguments, cwd):
    done = subprocess.run(["promtool", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.prometheus
def test_rules_are_right(folder):
    status, said = promtool("check", "rules", "gcd.rules.yml", "gcd.alerts.yml", cwd=folder)

    assert status == 0, said
    assert "duplicate" not in said


@pytest.mark.prometheus
@pytest.mark.slow
@pytest.mark.parametrize("name", ["gcd.rules.test.yml", "gcd.alerts.test.yml", "gcd.alerts.long.test.yml"])
def test_rules_do_what_they_say(folder, name):
    status, said = promtool("test", "rules", f"tests/{name}", cwd=folder)

    assert status == 0, said


def test_every_file_of_tests_is_run(folder):
    assert sorted(path.name for path in (folder / "tests").iterdir()) == [
        "gcd.alerts.long.test.yml",
        "gcd.alerts.test.yml",
        "gcd.rules.test.yml",
    ]


def test_the_alerts_are_these(alerts):
    assert tuple(alerts) == ALERTS


def test_each_alert_has_cases_that_fire_and_cases_that_must_not(folder):
    """Those that must not: no alert at some time, or a host in the same series of which nothing is said."""
    fires, rests = set(), set()
    for path in (folder / "tests").glob("*alerts*"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", ()):
                (fires if case["exp_alerts"] else rests).add(case["alertname"])

    assert fires == set(ALERTS)
    assert rests == set(ALERTS)


def test_each_recording_rule_has_a_case(folder):
    groups = yaml.safe_load((folder / "gcd.rules.yml").read_text())["groups"]
    said = (folder / "tests" / "gcd.rules.test.yml").read_text()

    assert [rule["record"] for group in groups for rule in group["rules"] if rule["record"] not in said] == []


@pytest.fixture
def configured(folder, tmp_path):
    """A copy of the folder with the files that an operator has: a certificate and a password."""
    copy = tmp_path / "prometheus"
    shutil.copytree(folder, copy)
    for name in ("gcd-ca.crt", "gcd-password"):
        (copy / name).touch()
    return copy


@pytest.mark.prometheus
@pytest.mark.parametrize("name", ["prometheus.file.yml", "prometheus.dns.yml"])
def test_scrape_configurations_are_right(configured, name):
    status, said = promtool("check", "config", name, cwd=configured)

    assert status == 0, said
    assert "2 rule files found" in said


@pytest.mark.prometheus
def test_the_one_for_kubernetes_is_right_but_for_the_discovery(configured):
    """Debian's Prometheus is built without Kubernetes: of that the shape alone is looked at."""
    path = configured / "prometheus.kubernetes.yml"
    config = yaml.safe_load(path.read_text())
    (job,) = config["scrape_configs"]
    assert job.pop("kubernetes_sd_configs") == [{"role": "pod", "namespaces": {"names": ["gcd"]}}]
    job["file_sd_configs"] = [{"files": ["targets/*.yml"]}]
    path.write_text(yaml.safe_dump(config))

    status, said = promtool("check", "config", path.name, cwd=configured)

    assert status == 0, said


def test_all_scrape_the_job_that_the_alerts_are_about(folder):
    for path in folder.glob("prometheus.*.yml"):
        config = yaml.safe_load(path.read_text())
        assert [job["job_name"] for job in config["scrape_configs"]] == ["gcd"], path.name
        assert config["rule_files"] == ["gcd.rules.yml", "gcd.alerts.yml"], path.name


def sections():
    text = (Path(__file__).resolve().parent.parent.parent / "docs" / "alerts.md").read_text()
    parts = re.split(r"^## (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_alert_has_its_page(alerts):
    assert tuple(sections()) == ALERTS
    for name, alert in alerts.items():
        assert alert["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"


def test_the_links_become_addresses_by_the_command_on_the_page(folder):
    page = (Path(__file__).resolve().parent.parent.parent / "docs" / "alerts.md").read_text()
    (command,) = re.findall(r"^sed .+$", page, re.MULTILINE)
    words = shlex.split(command)

    done = subprocess.run(words[: words.index(">")], cwd=folder, capture_output=True, text=True, check=True)

    (group,) = yaml.safe_load(done.stdout)["groups"]
    links = [rule["annotations"]["runbook_url"] for rule in group["rules"]]
    assert links == [f"https://wiki.example.com/gcd/docs/alerts.md#{name.lower()}" for name in ALERTS]


@pytest.mark.parametrize("name", ALERTS)
def test_a_page_says_all_that_is_to_be_known(name):
    told = re.findall(r"^\*\*(.+?)\.\*\*", sections()[name], re.MULTILINE)

    assert told == ["Meaning", "What it costs", "What to look at", "What to do", "When it is false"]


def test_a_page_says_the_expression_that_is_in_force(alerts):
    """So that nobody reads of a threshold that was changed."""
    for name, alert in alerts.items():
        (told,) = re.findall(r"^```\n(.+?)```$", sections()[name], re.MULTILINE | re.DOTALL)
        expression, _, lasting = told.strip().rpartition("\n")
        assert expression.split() == alert["expr"].split(), name
        assert lasting == f"for: {alert['for']}", name


def commands(text):
    """The commands of gcd in backticks and in blocks, as words."""
    quoted = re.findall(r"`(gcd [a-z][^`]*)`", " ".join(text.split()))
    return [shlex.split(command) for command in quoted]


def leads_somewhere(words):
    """Whether gcd has this command with these flags; arguments are not looked at."""
    command, rest = cli, words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            break
        command, rest = found, rest[1:]
    if command is cli:
        return False
    if isinstance(command, click.Group):
        command = command.get_command(click.Context(command), "move") or command
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    return all(word in flags for word in rest if word.startswith("-"))


def test_what_an_alert_says_to_type_is_there(alerts):
    for name, alert in alerts.items():
        description = alert["annotations"]["description"]
        assert re.search(r"`[a-z]+[^`]*`", description), name
        assert [words for words in commands(description) if not leads_somewhere(words)] == [], name


def test_what_a_page_says_to_type_is_there():
    for name, text in sections().items():
        assert [words for words in commands(text) if not leads_somewhere(words)] == [], name


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ("gcd quarantine --purge GCD101", True),
        ("gcd quarantine list", True),
        ("gcd check --only GCD402", True),
        ("gcd chek", False),
        ("gcd check --onlyy GCD402", False),
        ("gcd quarantine list --purge", False),
    ],
)
def test_a_command_that_is_not_there_is_seen(words, known):
    assert leads_somewhere(words.split()) is known
