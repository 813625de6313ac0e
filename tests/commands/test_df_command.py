"""``gcd df`` from end to end on a synthetic root: what is printed, what is written, what is returned."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from support.offspring import offspring

from gcd import cli
from gcd.demo.dockerroot import DockerRoot
from gcd.model.errors import ExitBits

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "df.schema.json").read_text())


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker") as built:
        image = built.image("web:1", layers=2)
        built.container("api", image=image)
    return tmp_path / "docker"


def df(root, *arguments):
    return cli.run(["df", "--root", str(root), *map(str, arguments)])


def du(root):
    return {
        member: int(
            subprocess.run(["du", "-x", flag, "-s", root], check=True, capture_output=True, text=True).stdout.split()[0]
        )
        for member, flag in (("disk_bytes", "--block-size=1"), ("inodes", "--inodes"))
    }


def state_of(folder):
    """Everything about a tree that a reader must leave alone."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        found[path] = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def test_the_text(root, capsys):
    assert df(root) == ExitBits.CLEAN

    told = capsys.readouterr()
    assert told.out.startswith(f"{root} (overlay2, engine stopped): ")
    assert "\nweb:1 " in told.out
    assert "\napi " in told.out
    assert told.err == ""


def test_json_is_what_du_says_and_fits_the_schema(root, capsys):
    assert df(root, "--format", "json") == ExitBits.CLEAN

    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, SCHEMA)
    assert told["total"] == du(root)


def test_settings_say_what_the_flags_leave_open(root, capsys, monkeypatch):
    monkeypatch.setenv("GCD_ROOT", str(root))
    monkeypatch.setenv("GCD_FORMAT", "json")

    assert cli.run(["df"]) == ExitBits.CLEAN
    assert json.loads(capsys.readouterr().out)["root"] == str(root)


def test_the_report_can_be_written_to_a_file(root, tmp_path, capsys):
    assert df(root, "--format", "json", "--output", tmp_path / "report") == ExitBits.CLEAN

    assert capsys.readouterr().out == ""
    assert json.loads((tmp_path / "report").read_text())["complete"] is True


def test_nothing_is_written_below_the_root(root, capsys):
    before = state_of(root)

    assert df(root) == ExitBits.CLEAN
    assert df(root, "--output", root / "report") == ExitBits.USAGE
    assert "lies below the Docker root" in capsys.readouterr().err
    assert state_of(root) == before


def test_a_report_that_cannot_be_written_is_told(root, tmp_path, capsys):
    assert df(root, "--output", tmp_path / "no/such/report") == ExitBits.NOT_DONE
    assert "the report cannot be written to" in capsys.readouterr().err


def test_what_could_not_be_looked_for_is_in_the_exit_status(root, capsys):
    (root / "buildkit").mkdir(exist_ok=True)
    (root / "buildkit/snapshots.db").write_bytes(b"no database")

    assert df(root) == ExitBits.NOT_DONE
    assert "\n! Orphans of GCD101" in capsys.readouterr().out


def test_no_root(tmp_path, capsys):
    assert df(tmp_path / "none") == ExitBits.NOT_DONE
    assert "There is no directory" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--format", "text"]])
def test_a_root_that_names_nothing_is_not_the_working_directory(more, capsys):
    assert cli.run(["df", "--root", "", *more]) == ExitBits.USAGE

    assert capsys.readouterr().err == (
        "gcd: flag: root = '' does not fit: it must be a path, as a text that is not empty\n"
    )


def test_a_live_store_in_a_sub_root_is_measured_there(root, tmp_path, capsys):
    (tmp_path / "outer").mkdir()
    (tmp_path / "outer/beside").write_bytes(b"x" * 9_000)
    sub = root.rename(tmp_path / "outer/231072.231072")

    assert df(tmp_path / "outer", "--format", "json") == ExitBits.CLEAN

    told = json.loads(capsys.readouterr().out)
    assert (told["root"], told["total"]) == (str(sub), du(sub))


def test_a_root_that_is_none_leaves_no_process(tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    before = offspring()

    assert df(tmp_path / "folder") == ExitBits.NOT_DONE
    assert "folder" in capsys.readouterr().err
    assert offspring() == before


def test_cycles_are_looked_for_again_after_it(root, capsys):
    assert df(root) == ExitBits.CLEAN
    assert gc.isenabled()
    assert capsys.readouterr().err == ""


def test_the_walk_begins_before_what_reads_a_root_is_imported():
    names = "import sys, gcd.commands.df; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", names], check=True, capture_output=True, text=True)

    imported = set(done.stdout.split())
    assert "gcd.root.walk" in imported
    assert {"gcd.model.facts", "gcd.model.space", "gcd.root.tree", "gcd.settings"}.isdisjoint(imported)
