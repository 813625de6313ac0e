from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from support.results import NOON_NS

from gcd import cli
from gcd.commands.record import identity_of
from gcd.demo.dockerroot import DockerRoot
from gcd.model.audit import Act, ActKind
from gcd.model.entry import RunId
from gcd.model.errors import ExitBits
from gcd.model.plan import Outcome
from gcd.state import open_state

FIRST = Act(RunId("run-1"), NOON_NS, ActKind.QUARANTINE, "GCD101:layer-dir:abc", Outcome.DONE, entry="e-1")


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker") as built:
        built.image("base:1", layers=1)
    return tmp_path / "docker"


def history(root, *arguments):
    return cli.run(["history", "--root", str(root), *arguments])


def test_without_a_state_there_is_no_history_and_none_is_made(root, tmp_path, capsys):
    assert history(root) == ExitBits.CLEAN

    assert capsys.readouterr().out == "Nothing was done to this root, and nothing was refused.\n"
    assert not (tmp_path / "state").exists()


def test_the_last_acts_on_this_root(root, tmp_path, capsys):
    with open_state(tmp_path / "state") as state:
        state.record_acts(identity_of(str(root)), str(root), [FIRST, replace(FIRST, kind=ActKind.RESTORE)])
        state.record_acts(replace(identity_of(str(root)), inode=7), "/other", [FIRST])

    assert history(root, "-n", "1") == ExitBits.CLEAN
    assert capsys.readouterr().out == ("run run-1\n  2025-11-25T12:00:00Z  restored GCD101:layer-dir:abc, entry e-1\n")
    assert history(root, "--format", "json") == ExitBits.CLEAN
    told = json.loads(capsys.readouterr().out)
    assert [act["kind"] for act in told["acts"]] == ["quarantine", "restore"]
