"""``gcd plan`` and ``gcd check --dry-run`` from end to end on a synthetic root."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import jsonschema
import pytest
from support.seeds import own_seed

from gcd import cli, settings
from gcd.commands import listing, plan
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import containers, layers, overlay2
from gcd.formats.planfile import parse_plan
from gcd.model.errors import CannotAct, ExitBits
from gcd.model.facts import Listed
from gcd.model.plan import WriteFile

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = json.loads((DOCS / "check.schema.json").read_text())
PLAN_SCHEMA = json.loads((DOCS / "plan.schema.json").read_text())
POLICY = '[policy.kinds]\norphan = "quarantine"\ndamaged = "repair"\n'


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """Neither the machine's settings nor its environment have a say."""
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "gcd.toml").write_text(f'state_dir = "{tmp_path / "state"}"\n')
    monkeypatch.setattr(settings, "CONFIG_DIR", folder)
    return folder


@pytest.fixture(autouse=True)
def later(monkeypatch):
    """Two hours later, when everything has settled."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 2 * 3600 * 10**9)


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        image = built.image("web:1", layers=2)
        built.container("api", image=image)
    return tmp_path / "docker"


@pytest.fixture
def orphan(root):
    return overlay2.add_layer_dir(root, "").id


def run(command, root, *words):
    return cli.run([command, "--root", str(root), *map(str, words)])


def under(own_settings, policy=POLICY):
    (own_settings / "gcd.toml").write_text((own_settings / "gcd.toml").read_text() + policy)


def test_a_healthy_root(root, capsys):
    assert run("plan", root) == ExitBits.CLEAN
    assert capsys.readouterr().out == f"Nothing is to be done in {root} (the engine is stopped).\n"


def test_without_a_policy_it_says_which_command_does_it(root, orphan, capsys):
    assert run("plan", root) == ExitBits.CLEAN
    out = capsys.readouterr().out
    assert "the policy only reports it; gcd quarantine GCD101 does it by name" in out
    assert f"GCD101:layer-dir:{orphan} orphaned-layer-dir" in out


def test_with_a_policy_it_says_what_would_be_done(root, orphan, own_settings, capsys):
    under(own_settings)

    assert run("plan", root) == ExitBits.FINDINGS_LEFT
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"To be done in {root} (the engine is stopped): 1 move (")
    assert lines[2].startswith(f"  1. quarantine GCD101:layer-dir:{orphan} orphaned-layer-dir, ")


def test_what_a_file_gets_reads_back_and_is_printed(root, orphan, own_settings, tmp_path, capsys):
    under(own_settings)
    file = tmp_path / "plan.json"

    assert run("plan", root, "--format", "json", "-o", file) == ExitBits.FINDINGS_LEFT
    assert file.stat().st_mode & 0o777 == 0o600
    out = capsys.readouterr().out
    assert out == file.read_text()
    [step] = parse_plan(out.encode()).steps
    assert step.finding.subject.id == orphan
    jsonschema.validate(json.loads(out), PLAN_SCHEMA)


def test_the_content_of_files_is_saved_and_not_printed(root, own_settings, tmp_path, capsys):
    """Configs of containers hold their environment, and that secrets."""
    [home] = (root / "containers").iterdir()
    config = f"containers/{home.name}/config.v2.json"
    whole = (home / "config.v2.json").read_bytes()
    containers.empty_container_config(root, home.name)
    (home / ".tmp-config.v2.json1").write_bytes(whole)
    under(own_settings, '[policy.codes]\nGCD307 = "repair"\n')
    file = tmp_path / "plan.json"

    assert run("plan", root, "--format", "json", "-o", file) == ExitBits.FINDINGS_LEFT
    shown = json.loads(capsys.readouterr().out)
    [step] = parse_plan(file.read_bytes()).steps
    [change] = [change for change in step.changes if isinstance(change, WriteFile)]
    [told] = [change["write"] for change in shown["steps"][0]["repair"]["changes"] if "write" in change]
    digest = hashlib.sha256(change.content).hexdigest()
    assert told == {"path": config, "like": change.like, "bytes": len(change.content), "sha256": digest}
    assert shown["digest"] == json.loads(file.read_text())["digest"]
    jsonschema.validate(shown, PLAN_SCHEMA)
    assert run("check", root, "--dry-run", "--format", "json") & ExitBits.FINDINGS_LEFT
    assert json.loads(capsys.readouterr().out)["plan"]["steps"][0]["repair"] == shown["steps"][0]["repair"]


def test_what_is_printed_is_no_plan_to_apply(root, own_settings, tmp_path, capsys):
    record = next((root / "image/overlay2/layerdb/sha256").iterdir())
    (record / "size").write_text("")
    under(own_settings)
    run("plan", root, "--format", "json")
    (tmp_path / "plan.json").write_text(capsys.readouterr().out)

    assert cli.run(["apply", str(tmp_path / "plan.json"), "--yes"]) == ExitBits.USAGE
    assert "is no plan of gcd plan -o" in capsys.readouterr().err


def test_codes_and_ids_narrow_it(root, orphan, own_settings, capsys):
    layers.add_unused_layer(root, "")
    under(own_settings)

    assert run("plan", root, "orphaned-layer") == ExitBits.FINDINGS_LEFT
    out = capsys.readouterr().out
    assert "GCD211" in out
    assert "GCD101" not in out

    assert run("plan", root, f"GCD101:layer-dir:{orphan}") == ExitBits.FINDINGS_LEFT
    out = capsys.readouterr().out
    assert "GCD101" in out
    assert "GCD211" not in out


def test_an_unknown_code_names_the_nearest(root, capsys):
    assert run("plan", root, "GCD219") == ExitBits.USAGE
    assert capsys.readouterr().err.startswith("gcd: there is no code 'GCD219'; did you mean GCD209")


def test_an_unknown_finding_names_those_that_begin_like_it(root, orphan, capsys):
    assert run("plan", root, f"GCD101:layer-dir:{orphan[:6]}") == ExitBits.USAGE
    assert capsys.readouterr().err == (
        f"gcd: there is no finding GCD101:layer-dir:{orphan[:6]}; did you mean GCD101:layer-dir:{orphan}?\n"
    )


def test_an_unknown_finding_on_a_healthy_root(root, capsys):
    assert run("plan", root, "GCD101:layer-dir:x") == ExitBits.USAGE
    assert capsys.readouterr().err == "gcd: there is no finding GCD101:layer-dir:x; gcd check lists all findings\n"


def test_a_plan_that_apply_would_not_read_is_not_saved(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(plan, "MOST_BYTES", 100)

    assert run("plan", root, "-o", tmp_path / "plan.json") == ExitBits.NOT_DONE

    assert "name fewer findings, or let gcd apply make the plan itself" in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()


def test_nothing_is_written_below_the_root(root, capsys):
    assert run("plan", root, "-o", root / "plan.json") == ExitBits.USAGE
    assert "lies below the Docker root" in capsys.readouterr().err


def test_no_state_is_made_where_there_is_none(root, orphan, tmp_path):
    assert run("plan", root) == ExitBits.CLEAN
    assert not (tmp_path / "state").exists()
    assert orphan


def test_a_refused_run_is_said_first_and_exits_with_8(root, orphan, own_settings, capsys):
    for config in (root / "image/overlay2/imagedb/content/sha256").iterdir():
        config.unlink()
    under(own_settings)

    assert run("plan", root) == ExitBits.NOT_DONE
    assert capsys.readouterr().out.startswith(f"Nothing may be done in {root}: there are ")
    assert run("plan", root, "--allow-empty") & ExitBits.NOT_DONE == 0
    assert orphan


def test_a_policy_that_cannot_be_followed_is_a_mistake(root, own_settings, capsys):
    for text, told in (
        ('GCD101 = "release"', "GCD101 orphaned-layer-dir has no release: its remedy is quarantine"),
        (
            'GCD207 = "repair"',
            "GCD207 shared-cache-id has no repair: gcd has none at all, so report or ignore it",
        ),
        (
            'GCD116 = "quarantine"',
            "GCD116 orphaned-rw-dir is done by no policy: only gcd quarantine with its id does it",
        ),
        ('GCD1010 = "quarantine"', "there is no code 'GCD1010'; did you mean GCD101 orphaned-layer-dir"),
    ):
        (own_settings / "gcd.toml").write_text(f"[policy.codes]\n{text}\n")

        assert run("plan", root) == ExitBits.USAGE
        assert told in capsys.readouterr().err


def test_an_engine_that_does_not_answer_ends_a_plan_but_no_check(root, orphan, own_settings, monkeypatch, capsys):
    def silent(_path, _socket=""):
        raise CannotAct("the engine does not answer")

    monkeypatch.setattr(plan, "listed", silent)
    under(own_settings)

    assert run("plan", root) == ExitBits.NOT_DONE
    assert capsys.readouterr().err == "gcd: the engine does not answer\n"
    assert run("check", root, "--dry-run") == ExitBits.FINDINGS_LEFT
    assert f"1. quarantine GCD101:layer-dir:{orphan}" in capsys.readouterr().out


def test_what_the_engine_lists_is_heeded(root, orphan, own_settings, monkeypatch, capsys):
    monkeypatch.setattr(plan, "listed", lambda _path, _socket="": Listed(dirs=frozenset({orphan})))
    under(own_settings)

    assert run("plan", root) == ExitBits.CLEAN
    assert f"the engine says that layer-dir:{orphan} is in use" in capsys.readouterr().out


def test_where_no_engine_runs_none_is_asked(root):
    assert listing.listed(str(root)) is None


def test_a_check_with_a_dry_run_shows_the_plan_behind_its_report(root, orphan, own_settings, capsys):
    under(own_settings)
    run("check", root)
    alone = capsys.readouterr().out

    assert run("check", root, "--dry-run") == ExitBits.FINDINGS_LEFT
    both = capsys.readouterr().out
    report, plan_text = both.split("\nTo be done in ")
    assert report.splitlines()[2:] == alone.splitlines()[2:]
    assert f"  1. quarantine GCD101:layer-dir:{orphan}" in plan_text


def test_a_check_with_a_dry_run_as_json(root, orphan, own_settings, tmp_path, capsys):
    under(own_settings)

    assert run("check", root, "--dry-run", "--format", "json") == ExitBits.FINDINGS_LEFT
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, SCHEMA)
    [step] = report["plan"]["steps"]
    assert step["finding"]["subject"]["id"] == orphan
    assert run("check", root, "--dry-run", "--output", tmp_path / "out.txt") == ExitBits.FINDINGS_LEFT
    assert "To be done in" in (tmp_path / "out.txt").read_text()


def test_a_check_of_some_rules_plans_for_their_findings_alone(root, orphan, own_settings, capsys):
    layers.add_unused_layer(root, "")
    under(own_settings)

    run("check", root, "--dry-run", "--only", "GCD211", "--format", "json")
    report = json.loads(capsys.readouterr().out)
    assert [step["finding"]["code"] for step in report["plan"]["steps"]] == ["GCD211"]
    assert orphan


def test_the_grace_is_counted_from_what_was_recorded(root, orphan, own_settings, monkeypatch, capsys):
    """Seen a minute ago, by a run that kept it; the grace is an hour."""
    under(own_settings, '[policy]\nmin_confidence = "suspected"\ngrace = "1h"\n[policy.kinds]\norphan = "quarantine"\n')
    monkeypatch.setattr(time, "time_ns", lambda: root.stat().st_ctime_ns + 30 * 60 * 10**9)
    boot = time.clock_gettime_ns

    assert run("check", root, "--record") == ExitBits.CLEAN
    run("plan", root)
    assert "it changed within the last 1.0 h" in capsys.readouterr().out

    under(own_settings, "")
    (own_settings / "gcd.toml").write_text((own_settings / "gcd.toml").read_text().replace('"1h"', '"10m"'))
    run("plan", root)
    assert "it has been seen for 0.0 h: gcd check --record must have seen it for 0.2 h" in capsys.readouterr().out

    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: boot(clock) + 11 * 60 * 10**9)
    assert run("plan", root) == ExitBits.FINDINGS_LEFT
    assert f"1. quarantine GCD101:layer-dir:{orphan}" in capsys.readouterr().out


def test_a_run_recorded_in_the_future_refuses(root, orphan, own_settings, monkeypatch, capsys):
    under(own_settings)
    assert run("check", root, "--record") == ExitBits.FINDINGS_LEFT
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * 10**9)

    assert run("plan", root) == ExitBits.NOT_DONE
    assert "the clock went back: an earlier run was recorded 3" in capsys.readouterr().out
    assert orphan
