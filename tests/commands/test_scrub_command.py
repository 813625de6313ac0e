"""``gcd scrub`` on roots without an engine: what it keeps, what it tells, how it is steered."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from support.fingerprint import fingerprint
from support.seeds import own_seed

from gcd import cli
from gcd.demo.dockerroot import DockerRoot
from gcd.model.errors import ExitBits
from gcd.planning import identity_of
from gcd.scrub import recipe
from gcd.scrubbing import alone

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/scrub.schema.json").read_text())
SHARED = b"the same in two layers\n" * 40


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        image = built.image("base:1", layers=3)
        built.image("other:1", layers=2)
        built.container("web", image=image)
    return tmp_path / "docker"


def scrub(capsys, command, root, *words):
    bits = cli.run(["scrub", command, "--root", str(root), *words])
    return bits, capsys.readouterr().out


def told(capsys, command, root, *words):
    bits, out = scrub(capsys, command, root, "--format", "json", *words)
    report = json.loads(out)
    Draft202012Validator(SCHEMA).validate(report)
    return bits, report


def files(root):
    return sorted(path for path in root.glob("overlay2/*/diff/**/*") if path.is_file() and path.stat().st_size)


def test_a_healthy_root(root, capsys):
    before = fingerprint(root)

    bits, report = told(capsys, "start", root)

    assert bits == ExitBits.CLEAN
    assert report["layers"] == {"verified": 5, "damaged": 0, "unverifiable": 0, "pending": 0}
    assert report["sweep"]["course"] == "finished"
    assert report["findings"] == []
    assert fingerprint(root) == before
    assert scrub(capsys, "status", root)[1].startswith("All of 5 layers as they were unpacked\n")


def test_before_any_scrub_nothing_is_known(root, capsys):
    bits, report = told(capsys, "status", root)

    assert (bits, report["sweep"], report["layers"]["pending"]) == (ExitBits.CLEAN, None, 5)
    assert report["oldest_verified_at"] is None


def test_damage_is_told_with_what_it_costs_and_how_it_is_healed(root, capsys):
    path = files(root)[0]
    os.truncate(path, 0)

    bits, report = told(capsys, "start", root, "--full")

    assert bits == ExitBits.FINDINGS_LEFT
    [finding] = report["findings"]
    assert (finding["code"], finding["severity"]) == ("GCD701", "error")
    assert finding["summary"] == "One file is not what was unpacked: 1 emptied."
    assert [read["where"] for read in finding["evidence"]] == [str(path.relative_to(root))]
    assert finding["evidence"][0]["found"] == "0 bytes"
    assert finding["impact"]["images"]
    assert finding["again"]["commands"][-1].startswith("docker rmi -- ")
    assert finding["again"]["made"] == [
        command.split()[-1] for command in finding["again"]["commands"] if "rmi" in command
    ]
    assert scrub(capsys, "status", root, "--fail-on", "never")[0] == ExitBits.CLEAN


def test_a_layer_that_a_container_stands_on(root, capsys):
    for path in files(root):
        os.truncate(path, 0)

    _, report = told(capsys, "start", root)

    commands = {tuple(finding["again"]["commands"]) for finding in report["findings"]}
    assert ("docker rm -f -- web", "docker rmi -- base:1") in commands


def test_no_report_looks_for_whole_copies_and_each_says_what_does(root, capsys):
    os.truncate(files(root)[0], 0)

    _, report = told(capsys, "start", root)

    [finding] = report["findings"]
    assert [remedy["moment"] for remedy in finding["remedies"]] == ["stopped"]
    assert f"\n      gcd repair {finding['id']} --dry-run\n" in scrub(capsys, "status", root)[1]


def test_what_is_lost_is_said_before_the_commands_that_lose_it(root, capsys):
    for path in files(root):
        os.truncate(path, 0)

    _, out = scrub(capsys, "start", root)

    lines = [line.strip() for line in out.splitlines()]
    at = lines.index("docker rm -f -- web &&")
    assert lines[at + 1] == "docker rmi -- base:1"
    assert lines[at - 4 : at] == [
        "To have it fetched again, all that needs the layer must go first.",
        "What these containers wrote goes with them, unless you save it: web",
        "No registry is known to have these images, which go too; build, load or import them again: base:1",
        "In this order; where one fails, as where a registry has the image no more, the rest is not done:",
    ]


def test_oldest_first_and_only_a_part(root, capsys):
    _, report = told(capsys, "start", root, "--subset", "1%")
    assert report["layers"] == {"verified": 1, "damaged": 0, "unverifiable": 0, "pending": 4}
    [first] = [verdict["layer"] for verdict in report["verdicts"]]

    _, report = told(capsys, "start", root, "--max-age", "1h")
    assert report["sweep"]["layers"] == 4
    checked = {verdict["layer"]: verdict["checked_at"] for verdict in report["verdicts"]}
    assert min(checked, key=checked.__getitem__) == first

    _, report = told(capsys, "start", root, "--max-age", "1h", "--full")
    assert report["sweep"]["layers"] == 5


def test_when_the_time_is_over_no_layer_is_begun(root, capsys):
    _, report = told(capsys, "start", root, "--max-duration", "0s")

    assert (report["sweep"]["layers_left"], report["layers"]["pending"]) == (5, 5)
    _, report = told(capsys, "resume", root)
    assert (report["sweep"]["layers_left"], report["layers"]["pending"]) == (0, 0)


def test_a_layer_that_was_pulled_again_has_no_verdict(root, capsys):
    told(capsys, "start", root)
    record = next((root / "image/overlay2/layerdb/sha256").iterdir())
    old = (record / "cache-id").read_text()
    new = "f" * 64
    (root / "overlay2" / old).rename(root / "overlay2" / new)
    (record / "cache-id").write_text(new)

    assert told(capsys, "status", root)[1]["layers"]["pending"] == 1


@pytest.mark.parametrize("command", ["start", "resume", "status"])
def test_layers_that_cannot_be_listed_are_not_sound_and_nothing_is_forgotten(root, capsys, command):
    os.truncate(files(root)[0], 0)
    told(capsys, "start", root)
    records = root / "image/overlay2/layerdb/sha256"
    records.rename(records.with_name("away"))
    records.write_text("")

    assert cli.run(["scrub", command, "--root", str(root)]) == ExitBits.NOT_DONE
    assert f"the layers of {root} cannot be listed: " in capsys.readouterr().err

    records.unlink()
    records.with_name("away").rename(records)
    assert told(capsys, "status", root)[1]["layers"]["damaged"] == 1


def test_a_record_that_cannot_be_read_was_never_looked_at_and_its_verdict_stays(root, capsys):
    os.truncate(files(root)[0], 0)
    [damaged] = [v["layer"] for v in told(capsys, "start", root)[1]["verdicts"] if v["verdict"] == "damaged"]
    cache_id = root / "image/overlay2/layerdb/sha256" / damaged[7:] / "cache-id"
    raw = cache_id.read_text()
    cache_id.write_text("")

    assert told(capsys, "start", root)[1]["layers"] == {"verified": 4, "damaged": 0, "unverifiable": 0, "pending": 1}

    cache_id.write_text(raw)
    assert told(capsys, "status", root)[1]["layers"]["damaged"] == 1


def test_a_disk_that_fails_is_a_warning(root, capsys, monkeypatch):
    def failing(_):
        raise OSError(errno.EIO, "fails")

    monkeypatch.setattr(recipe, "pieces_of", failing)

    bits, report = told(capsys, "start", root)

    assert bits == ExitBits.FINDINGS_LEFT
    assert {(f["code"], f["severity"]) for f in report["findings"]} == {("GCD705", "warning")}


def test_what_is_finished_is_not_paused(root, capsys):
    told(capsys, "start", root, "--max-duration", "0s")
    assert cli.run(["scrub", "pause", "--root", str(root)]) == ExitBits.USAGE
    assert "no scrub to be paused" in capsys.readouterr().err


def test_two_at_a_time_are_one_too_many(root, capsys, tmp_path):
    with alone(tmp_path / "state", identity_of(str(root))):
        assert cli.run(["scrub", "start", "--root", str(root)]) == ExitBits.NOT_DONE

    assert "a scrub of this root is under way" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--quick", "--full"), "not both"),
        (("--subset", "0%"), "no part of all"),
        (("--subset", "x"), "no part of all"),
        (("--max-age", "soon"), "such as 90s"),
        (("--bandwidth", "0"), "would never end"),
    ],
)
def test_what_makes_no_sense_is_refused(root, capsys, words, complaint):
    assert cli.run(["scrub", "start", "--root", str(root), *words]) == ExitBits.USAGE
    assert complaint in capsys.readouterr().err


def test_resuming_nothing_is_refused(root, capsys):
    assert cli.run(["scrub", "resume", "--root", str(root)]) == ExitBits.USAGE
    assert "there is no scrub to go on with" in capsys.readouterr().err


def test_a_check_says_that_it_looks_at_no_content(root, capsys):
    assert cli.run(["check", "--root", str(root), "--only", "GCD701"]) == ExitBits.USAGE
    assert "gcd scrub does" in capsys.readouterr().err


def test_a_file_is_written_back_from_another_layer(tmp_path, capsys):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        built.image("one:1", layers=[{"bin/tool": SHARED, "one": b"1"}])
        built.image("two:1", layers=[{"two": b"2", "opt/tool": SHARED}])
    root = tmp_path / "docker"
    [path] = root.glob("overlay2/*/diff/bin/tool")
    path.chmod(0o4755)
    whole = path.read_bytes()
    os.truncate(path, 0)
    assert path.stat().st_mode & 0o7777 == 0o4755
    _, report = told(capsys, "start", root)
    [finding] = report["findings"]
    assert [remedy["moment"] for remedy in finding["remedies"]] == ["stopped"]

    assert cli.run(["repair", "--root", str(root), "--yes", finding["id"]]) == ExitBits.MENDED

    assert (path.read_bytes(), path.stat().st_mode & 0o7777) == (whole, 0o4755)
    capsys.readouterr()
    assert told(capsys, "status", root)[1]["layers"]["verified"] == 2
