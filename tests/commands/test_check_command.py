"""``gcd check`` from end to end on synthetic roots: what is printed, what is written, what is returned."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from gcd import cli
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import FAULTS
from gcd.demo.faults.targets import find_targets
from gcd.model.content import Course, Depth, Soundness, Sweep, Verdict
from gcd.model.errors import ExitBits
from gcd.model.ids import ChainId, LayerDirId
from gcd.planning import identity_of
from gcd.rules.table import RULES
from gcd.scrubs import Scrubs
from gcd.state import FILE, open_state

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "check.schema.json").read_text())


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker") as built:
        base = built.image("base:1", layers=3)
        web = built.image("web:1", base=base, layers=1)
        built.container("api", image=web)
        built.build_step(built.build_step())
    return tmp_path / "docker"


def plant(root, name):
    [fault] = [fault for fault in FAULTS if fault.name == name]
    return fault.plant(root, find_targets(root).get(fault.target, ""))


def check(root, *arguments):
    return cli.run(["check", "--root", str(root), *map(str, arguments)])


def state_of(folder):
    """Everything about a tree that a reader must leave alone."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        found[path] = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


@pytest.mark.parametrize(("form", "told"), [("text", "Healthy. Nothing to get back.\n"), ("json", '"findings": []')])
def test_where_nothing_is_set_and_no_terminal_is_neither_pydantic_nor_rich_is_imported(root, tmp_path, form, told):
    script = (
        "import pathlib, sys; from gcd import settings; settings.CONFIG_DIR = pathlib.Path(sys.argv[1]);"
        "from gcd.cli import run; run(sys.argv[2:]); print(*sorted(sys.modules), file=sys.stderr)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GCD_")}
    command = [sys.executable, "-c", script, tmp_path / "etc", "check", "--root", root, "--format", form]

    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    assert told in done.stdout
    modules = set(done.stderr.split())
    assert "gcd.rules.table" in modules
    assert modules & {"pydantic", "pydantic_settings", "rich", "tempfile", "gcd.formats.manifest"} == set()


def test_a_healthy_root(root, capsys):
    assert check(root) == ExitBits.CLEAN

    told = capsys.readouterr()
    assert told.out.startswith("Healthy. Nothing to get back.\n")
    assert told.err == ""


def test_damage_is_told_and_counted_in_the_exit_status(root, capsys):
    layer = plant(root, "empty_size")

    assert check(root) == ExitBits.FINDINGS_LEFT

    out = capsys.readouterr().out
    assert out.startswith("Not healthy: ")
    assert "GCD204 unreadable-size" in out
    assert layer.id in out
    assert "! Pull, load, remove or prune nothing until this is mended (GCD204)" in out
    assert "web:1" in out


@pytest.mark.parametrize(
    ("fail_on", "bits"),
    [("error", ExitBits.FINDINGS_LEFT), ("warning", ExitBits.FINDINGS_LEFT), ("never", ExitBits.CLEAN)],
)
def test_fail_on(root, fail_on, bits):
    plant(root, "empty_size")

    assert check(root, "--fail-on", fail_on) == bits


def test_json(root, capsys):
    plant(root, "empty_size")

    assert check(root, "--format", "json") == ExitBits.FINDINGS_LEFT

    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, SCHEMA)
    assert report["summary"]["by_code"]["GCD204"] == 1
    assert set(report["sources"].values()) == {"ok"}
    assert report["not_checked"] == []


def test_only_and_skip(root, capsys):
    plant(root, "empty_size")

    assert check(root, "--only", "gcd101", "--only", "orphaned-layer") == ExitBits.CLEAN
    assert check(root, "--skip", "204", "--skip", "402") == ExitBits.CLEAN
    assert "GCD" not in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--only", "--skip"])
def test_an_unknown_code_names_the_nearest(root, capsys, flag):
    assert check(root, flag, "GCD1O1") == ExitBits.USAGE

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("gcd: there is no code 'GCD1O1'; did you mean GCD101 orphaned-layer-dir")


def test_an_unknown_code_in_the_settings_is_usage_too(root, own_settings, capsys):
    (own_settings / "gcd.toml").write_text('skip = ["GCD999"]\n')

    assert check(root) == ExitBits.USAGE
    assert "GCD999" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--format", "json"), ("--output", "{tmp}/report")])
def test_a_check_leaves_the_root_untouched(root, tmp_path, arguments):
    plant(root, "add_layer_dir")
    before = state_of(root)

    check(root, *(argument.format(tmp=tmp_path) for argument in arguments))

    assert state_of(root) == before
    assert not (tmp_path / "state").exists()


def test_a_check_by_few_rules_says_so(root, capsys):
    assert check(root, "--only", "GCD101") == ExitBits.CLEAN

    assert capsys.readouterr().out.startswith(f"Healthy by 1 of {len(RULES)} rules. ")


def test_output_goes_to_the_file(root, tmp_path, capsys):
    assert check(root, "--output", tmp_path / "report") == ExitBits.CLEAN

    assert capsys.readouterr().out == ""
    assert (tmp_path / "report").read_text().startswith("Healthy.")


def test_an_output_that_cannot_be_written_is_one_sentence(root, tmp_path, capsys):
    assert check(root, "--output", tmp_path / "missing" / "report") == ExitBits.NOT_DONE

    told = capsys.readouterr()
    assert told.out == ""
    assert "missing/report" in told.err
    assert "Traceback" not in told.err


def test_an_output_that_finds_no_room_leaves_the_report_that_is_there(root, tmp_path):
    (tmp_path / "report").write_text("yesterday")
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); from gcd.cli import main; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, "check", "--root", str(root), "--output", str(tmp_path / "report")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == ExitBits.NOT_DONE
    assert done.stderr == f"gcd: the report cannot be written to {tmp_path / 'report'}: File too large\n"
    assert (tmp_path / "report").read_text() == "yesterday"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docker", "report"]


def test_what_was_seen_is_left_to_the_end_of_a_process_that_ends_with_the_check(root):
    left = []
    assert cli.run(["check", "--root", str(root)], left=left) == ExitBits.CLEAN
    [sight] = left
    assert sight.inventory.root == str(root)


def test_with_stderr_closed_the_report_is_the_same(root):
    words = (sys.executable, "-c", "from gcd.cli import main; main()", "check", "--root", str(root))
    command = " ".join(map(shlex.quote, words))

    done = subprocess.run(["sh", "-c", f"{command} 2>&-"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.splitlines()[:1]) == (0, ["Healthy. Nothing to get back."])


def test_an_output_that_is_no_file_is_written_to_and_not_replaced(root, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    assert check(root, "--output", tmp_path / "pipe") == ExitBits.CLEAN

    assert os.read(reader, 100).startswith(b"Healthy.")
    os.close(reader)


def test_nothing_is_written_below_the_root_even_if_asked(root, monkeypatch, capsys):
    (root.parent / "alias").symlink_to(root)
    before = state_of(root)

    assert check(root, "--output", root.parent / "alias" / "report") == ExitBits.USAGE
    monkeypatch.setenv("GCD_STATE_DIR", str(root / "gcd"))
    assert check(root, "--record") == ExitBits.USAGE

    assert state_of(root) == before
    assert capsys.readouterr().err.count("where gcd check writes nothing") == 2


def test_record_keeps_sightings_and_figures(root, tmp_path):
    orphan = plant(root, "add_layer_dir")

    check(root, "--record")
    check(root, "--record")

    rows = sqlite3.connect(tmp_path / "state" / "state.db")
    kept = rows.execute("SELECT finding, first_ns < last_ns FROM sightings").fetchall()
    runs = rows.execute("SELECT count(*) FROM runs").fetchone()
    known = rows.execute("SELECT device, inode, path FROM roots").fetchall()
    rows.close()
    assert kept == [(f"GCD101:{orphan}", 1)]
    assert runs == (2,)
    assert known == [(root.stat().st_dev, root.stat().st_ino, str(root))]


def test_a_rule_that_could_not_run_ends_no_sighting(root, tmp_path, capsys):
    orphan = plant(root, "add_layer_dir")
    check(root, "--record")
    (root / "buildkit" / "snapshots.db").write_bytes(b"torn" * 5000)
    capsys.readouterr()

    assert check(root, "--record") & ExitBits.NOT_DONE

    assert "rules, GCD101 to" in capsys.readouterr().out.partition("NOT CHECKED")[2]
    rows = sqlite3.connect(tmp_path / "state" / "state.db")
    kept = rows.execute("SELECT finding FROM sightings WHERE finding LIKE 'GCD101:%'").fetchall()
    rows.close()
    assert kept == [(f"GCD101:{orphan}",)]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda _: None, "There is no directory"),
        (lambda path: path.mkdir(), "is not a Docker root"),
        (lambda path: path.write_text("x"), "docker"),
    ],
    ids=["missing", "not-a-root", "a-file"],
)
def test_a_root_that_is_none_is_one_sentence(tmp_path, capsys, make, told):
    make(tmp_path / "docker")

    assert check(tmp_path / "docker") == ExitBits.NOT_DONE

    err = capsys.readouterr().err
    assert err.startswith("gcd: ")
    assert told in err
    assert err.count("\n") == 1


def test_logs_go_to_stderr_as_json_lines(root, capsys):
    check(root, "-v")

    told = capsys.readouterr()
    [event] = [json.loads(line) for line in told.err.splitlines()]
    assert event["event"] == "checked"
    assert event["not_checked"] == 0
    assert "checked" not in told.out


def test_the_settings_are_heard(root, own_settings, capsys):
    (own_settings / "gcd.toml").write_text(f'root = "{root}"\nformat = "json"\n')

    assert cli.run(["check"]) == ExitBits.CLEAN
    assert json.loads(capsys.readouterr().out)["root"] == str(root)


def accept(folder, entry):
    folder.mkdir(exist_ok=True)
    (folder / "gcd.toml").write_text(f"[accept]\n{entry}\n")


def test_an_accepted_finding_is_shown_apart_and_counts_nowhere(root, own_settings, capsys):
    layer = plant(root, "cut_tar_split")
    accept(own_settings, f'"GCD209:{layer}" = {{ reason = "pulled again on Sunday" }}')

    assert check(root) == ExitBits.CLEAN

    told = capsys.readouterr().out
    assert told.startswith("Healthy. Nothing to get back.\n")
    assert "ACCEPTED 1 finding, counted in no figure above\n" in told
    assert f"  warning GCD209:{layer}: pulled again on Sunday\n" in told


def test_an_acceptance_that_ran_out_says_so(root, own_settings, capsys):
    layer = plant(root, "cut_tar_split")
    accept(own_settings, '"GCD209:*" = { reason = "pulled again on Sunday", until = 2020-02-01 }')

    assert check(root) == ExitBits.FINDINGS_LEFT

    told = capsys.readouterr().out
    assert told.startswith("Not healthy: 1 warning; ")
    assert "! The acceptance of GCD209:* ran out (2020-02-01; pulled again on Sunday)" in told
    assert f"  {layer}\n" in told


def test_acceptance_in_json(root, own_settings, capsys):
    plant(root, "cut_tar_split")
    accept(own_settings, '"GCD209:*" = { reason = "known", until = 2999-12-31 }')

    check(root, "--format", "json")

    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, SCHEMA)
    [found] = report["findings"]
    assert found["accepted"] == {"finding": "GCD209:*", "reason": "known", "until": "3000-01-01T00:00:00.000000Z"}
    assert (report["healthy"], report["summary"]["accepted"], report["summary"]["by_code"]) == (True, 1, {})


def test_acceptances_of_several_files_add_up(root, own_settings, capsys):
    plant(root, "cut_tar_split")
    accept(own_settings, '"GCD209:*" = { reason = "first" }')
    (own_settings / "conf.d").mkdir()
    (own_settings / "conf.d/10.toml").write_text('[accept]\n"GCD210:*" = { reason = "second" }\n')

    assert check(root) == ExitBits.CLEAN
    assert ": first\n" in capsys.readouterr().out


def test_an_acceptance_needs_a_reason(root, own_settings, capsys):
    accept(own_settings, '"GCD209:*" = {}')

    assert check(root) == ExitBits.USAGE
    assert "accept" in capsys.readouterr().err


# --- metrics for node_exporter --------------------------------------------------------------------------------------


def test_metrics_are_written_for_node_exporter(root, tmp_path, capsys):
    plant(root, "add_layer_dir")
    before = state_of(root)
    target = tmp_path / "gcd.prom"
    target.write_text("old")
    target.chmod(0o600)
    old_umask = os.umask(0o077)
    try:
        assert check(root, "--textfile", target, "--format", "json") == ExitBits.CLEAN  # it is young, and so suspected
    finally:
        os.umask(old_umask)

    report = json.loads(capsys.readouterr().out)
    lines = target.read_text().splitlines()
    assert 'gcd_findings{code="GCD101",severity="info"} 1.0' in lines
    assert f'gcd_orphaned_inodes{{code="GCD101"}} {float(report["summary"]["orphaned_inodes"])}' in lines
    assert "gcd_up 1.0" in lines
    assert target.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["gcd.prom"]
    assert state_of(root) == before


def test_metrics_of_one_check_say_nothing_of_a_daemon_and_carry_no_times(root, tmp_path):
    target = tmp_path / "gcd.prom"

    check(root, "--textfile", target)

    samples = [line for line in target.read_text().splitlines() if not line.startswith("#")]
    assert {line.count(" ") for line in samples} == {1}
    assert not any(word in line for line in samples for word in ("_total", "watch", "quarantine", "duration"))


def told_of_scrubs(root, target):
    """What the metrics of a check say of scrubs, without their prefix."""
    check(root, "--textfile", target)
    lines = [line for line in target.read_text().splitlines() if line.startswith("gcd_scrub")]
    return {name[10:]: float(value) for name, value in (line.split(" ") for line in lines)}


def verdict_on(root, soundness, checked_ns):
    """Keep one on the first layer."""
    record = min((root / "image/overlay2/layerdb/sha256").iterdir())
    chain, layer_dir = ChainId(f"sha256:{record.name}"), LayerDirId((record / "cache-id").read_text())
    with open_state(Path(os.environ["GCD_STATE_DIR"])) as state:
        scrubs = Scrubs(state, identity_of(str(root)), str(root))
        scrubs.keep(Verdict(chain, layer_dir, Depth.QUICK, soundness, checked_ns, 1, 1))
        scrubs.begin(Sweep(Course.FINISHED, checked_ns, Depth.QUICK, is_dressed=False, layers=(chain,)))


def test_metrics_say_what_scrubs_found_before(root, tmp_path):
    target, now_ns = tmp_path / "gcd.prom", time.time_ns() // 10**9 * 10**9  # a float holds whole seconds exactly
    nothing = {
        'layers{state="verified"}': 0,
        'layers{state="damaged"}': 0,
        'layers{state="unverifiable"}': 0,
        'layers{state="pending"}': 4,
        "progress_ratio": 0,
        "oldest_verified_timestamp_seconds": 0,
        "period_seconds": 0,
        "readable": 1,
    }

    assert told_of_scrubs(root, target) == nothing
    assert not (tmp_path / "state").exists()

    known = {"progress_ratio": 1, "oldest_verified_timestamp_seconds": now_ns / 1e9, "period_seconds": 2_592_000}
    verdict_on(root, Soundness.VERIFIED, now_ns)
    assert told_of_scrubs(root, target) == {
        **nothing,
        'layers{state="verified"}': 1,
        'layers{state="pending"}': 3,
        **known,
    }
    verdict_on(root, Soundness.DAMAGED, now_ns)
    assert told_of_scrubs(root, target) == {
        **nothing,
        'layers{state="damaged"}': 1,
        'layers{state="pending"}': 3,
        **known,
    }


def test_metrics_say_that_what_scrubs_found_cannot_be_read(root, tmp_path):
    verdict_on(root, Soundness.DAMAGED, time.time_ns())
    (tmp_path / "state" / FILE).write_bytes(b"no database at all, but as long as one" * 100)

    told = told_of_scrubs(root, tmp_path / "gcd.prom")

    assert (told["readable"], told['layers{state="pending"}'], told['layers{state="damaged"}']) == (0, 4, 0)
    assert told["period_seconds"] == 0


def test_metrics_are_not_written_below_the_root(root, capsys):
    assert check(root, "--textfile", root / "gcd.prom") == ExitBits.USAGE

    assert capsys.readouterr().err == (
        f"gcd: --textfile {root}/gcd.prom lies below the Docker root {root}, where gcd check writes nothing\n"
    )


def test_metrics_that_cannot_be_written_are_told(root, tmp_path, capsys):
    assert check(root, "--textfile", tmp_path / "none" / "gcd.prom") == ExitBits.NOT_DONE

    assert capsys.readouterr().err == (
        f"gcd: the report cannot be written to {tmp_path}/none/gcd.prom: No such file or directory\n"
    )
