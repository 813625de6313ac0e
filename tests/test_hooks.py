from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from gcd import cli, settings
from gcd.commands.audit import Audit
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import overlay2
from gcd.hooks import tell
from gcd.model.audit import Act, ActKind
from gcd.model.errors import ExitBits
from gcd.model.plan import Identity, Outcome

EVENTS = ({"event": "x", "text": "\udcff\x1b"}, {"event": "y"})


@pytest.fixture
def keeper(tmp_path):
    """A command that appends what it gets to a file, and that file."""
    script, kept = tmp_path / "keep.py", tmp_path / "kept"
    script.write_text(f"import sys\nopen({str(kept)!r}, 'a').write(sys.stdin.read())\nprint('noise')\n")
    return (sys.executable, str(script)), kept


def lines(kept):
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def test_each_event_is_a_call_with_json_on_stdin(keeper, capfd):
    command, kept = keeper

    assert tell(command, EVENTS, seconds=30) == ""
    assert lines(kept) == list(EVENTS)
    assert capfd.readouterr() == ("", "")


def test_without_a_command_nothing_is_called():
    assert tell((), EVENTS, seconds=30) == ""


def test_there_is_no_shell(tmp_path):
    assert tell(("echo $HOME > x; touch " + str(tmp_path / "y"),), EVENTS, seconds=30).endswith(
        "cannot be run: No such file or directory"
    )
    assert list(tmp_path.iterdir()) == []


def test_one_that_fails_is_counted_and_the_others_are_told():
    assert tell((sys.executable, "-c", "raise SystemExit(3)"), EVENTS, seconds=30) == (
        f"{sys.executable} failed for 2 of 2 events"
    )


def test_one_that_does_not_read_is_no_trouble():
    huge = [{"event": "x" * 1_000_000}]

    assert tell(("true",), huge, seconds=30) == ""


def test_one_that_takes_too_long_is_killed_with_its_children_and_ends_it(tmp_path):
    pids = tmp_path / "pids"
    slow = f"sleep 1000 & echo $! >> {pids}; echo $$ >> {pids}; wait"
    began = time.monotonic()

    assert tell(("sh", "-c", slow), EVENTS, seconds=0.5) == "sh took longer than 0.5 s and was killed"

    assert time.monotonic() - began < 30
    child, shell = map(int, pids.read_text().split())
    while (is_running(child) or is_running(shell)) and time.monotonic() < began + 60:
        time.sleep(0.05)
    assert not is_running(child)
    assert not is_running(shell)


def is_running(pid):
    """A killed process may be a zombie until its new parent has seen it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


@pytest.fixture
def own_settings(tmp_path, monkeypatch, keeper):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "etc"
    folder.mkdir()
    words = json.dumps(keeper[0])
    (folder / "gcd.toml").write_text(
        f'state_dir = "{tmp_path / "state"}"\n[hooks]\non_finding = {words}\non_action = {words}\ntimeout = "30s"\n'
    )
    monkeypatch.setattr(settings, "CONFIG_DIR", folder)
    return folder


def test_a_recorded_check_tells_of_each_finding_once(tmp_path, own_settings, keeper, capsys):
    with DockerRoot(tmp_path / "docker") as built:
        built.image("web:1", layers=1)
    root = str(tmp_path / "docker")
    orphan = overlay2.add_layer_dir(tmp_path / "docker", "").id

    for _ in range(2):
        cli.run(["check", "--root", root, "--record"])

    [event] = lines(keeper[1])
    assert (event["event"], event["root"]) == ("finding", root)
    assert event["finding"]["id"] == f"GCD101:layer-dir:{orphan}"
    cli.run(["check", "--root", root])
    assert len(lines(keeper[1])) == 1
    assert "noise" not in capsys.readouterr().out
    assert own_settings


def test_a_hook_that_fails_changes_no_exit_status(tmp_path, own_settings, capsys):
    with DockerRoot(tmp_path / "docker") as built:
        built.image("web:1", layers=1)
    overlay2.add_layer_dir(tmp_path / "docker", "")
    (own_settings / "gcd.toml").write_text(f'state_dir = "{tmp_path / "state"}"\n[hooks]\non_finding = ["/no/such"]\n')

    assert cli.run(["check", "--root", str(tmp_path / "docker"), "--record"]) == ExitBits.CLEAN
    assert capsys.readouterr().err == "gcd: hooks.on_finding: /no/such cannot be run: No such file or directory\n"


ACT = {"at_ns": 0, "kind": ActKind.PURGE, "finding": "GCD101:layer-dir:a", "outcome": Outcome.DONE}


def test_acts_are_told_when_all_is_done(own_settings, keeper):
    assert own_settings
    with Audit(settings.load({}).settings, Identity(1, 2, ""), "/var/lib/docker") as audit:
        audit.note(Act(run=audit.run, entry="e1", disk_bytes=5, **ACT))
        assert lines(keeper[1]) == []

    [event] = lines(keeper[1])
    assert (event["event"], event["root"], event["run"]) == ("action", "/var/lib/docker", audit.run)
    assert (event["kind"], event["outcome"], event["entry"], event["disk_bytes"]) == ("purge", "done", "e1", 5)


def test_who_interrupts_does_not_wait_for_hooks(own_settings, keeper):
    assert own_settings
    audit = Audit(settings.load({}).settings, Identity(1, 2, ""), "/var/lib/docker")
    audit.note(Act(run=audit.run, **ACT))
    with pytest.raises(KeyboardInterrupt), audit:
        raise KeyboardInterrupt

    assert lines(keeper[1]) == []
