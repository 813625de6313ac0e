"""``gcd quarantine`` from end to end: what is printed, what is put back, what is deleted, what is returned."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import jsonschema
import pytest
from support.fingerprint import differences, fingerprint
from support.units import entries_of, leaked_root, outside, quarantined

from gcd import cli
from gcd.actions.fence import fence
from gcd.actions.place import open_place
from gcd.commands import purging, restoring
from gcd.model.entry import EntryState
from gcd.model.errors import ExitBits
from gcd.root.tree import open_root
from gcd.state import BootTime

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "quarantine.schema.json").read_text())
DAY_NS = 86_400 * 10**9
BASE_NS = 1_800_000_000 * 10**9


@pytest.fixture
def made(tmp_path):
    return leaked_root(tmp_path / "docker")


@pytest.fixture
def root(made):
    return made[0]


@pytest.fixture
def units(made):
    return made[1]


@pytest.fixture
def names(root, units):
    """Three entries of one run, the tip's first."""
    return [deed.entry for deed in quarantined(root, units, now_ns=BASE_NS)]


def quarantine(root, *words):
    return cli.run(["quarantine", *words, "--root", str(root)])


def test_an_empty_one(root, capsys):
    assert quarantine(root, "list") == ExitBits.CLEAN
    assert capsys.readouterr().out == f"The quarantine of {root} is empty.\n"
    assert not (root / ".gcd").exists()


def test_the_list_says_what_when_for_what_and_until_when(root, units, names, capsys):
    before = fingerprint(root)

    assert quarantine(root, "list") == ExitBits.CLEAN

    lines = capsys.readouterr().out.splitlines()
    subject = f"layer-dir:{units[0][0].rpartition('/')[2]}"
    assert lines[0].split() == ["entry", "when", "code", "bytes", "kept", "until", "subject"]
    assert lines[1].split() == [names[0], "2027-01-15T08:00Z", "GCD211", "88.0", "KiB", "2027-01-29T08:00Z", subject]
    assert [line.split()[0] for line in lines[1:4]] == names
    assert lines[-1] == "3 entries, 212.0 KiB, which a purge frees."
    assert differences(before, fingerprint(root)) == []


def test_the_list_as_json(root, units, names, capsys):
    assert quarantine(root, "list", "--format", "json") == ExitBits.CLEAN

    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, SCHEMA)
    first = told["entries"][0]
    assert (told["schema"], told["root"], len(told["entries"])) == (1, str(root), 3)
    assert (first["entry"], first["run"], first["state"]) == (names[0], "run-1", "closed")
    assert (first["made"], first["kept_until"]) == ("2027-01-15T08:00:00.000000Z", "2027-01-29T08:00:00.000000Z")
    assert first["finding"]["summary"] == "Nobody's, \\x1b[31m and not \\xff UTF-8."
    assert [item["path"] for item in first["items"]] == list(units[0])


def test_an_entry_whose_manifest_is_none(root, names, capsys):
    (root / ".gcd/entries" / names[1] / "manifest.json").write_bytes(b"{}")

    assert quarantine(root, "list") == ExitBits.CLEAN
    assert f"{names[1]}  ?" in capsys.readouterr().out
    assert quarantine(root, "show", names[1], "--format", "json") == ExitBits.CLEAN
    told = json.loads(capsys.readouterr().out)
    jsonschema.validate(told, SCHEMA)
    assert told["entries"][0]["trouble"] == "its manifest is malformed: none"
    assert quarantine(root, "purge", names[1], "--yes") == ExitBits.NOT_DONE
    assert "nobody knows what it holds" in capsys.readouterr().out


def test_an_entry_in_full(root, units, names, capsys):
    assert quarantine(root, "show", names[0]) == ExitBits.CLEAN

    out = capsys.readouterr().out
    assert f"entry {names[0]}\n" in out
    assert "Nobody's, \\x1b[31m and not \\xff UTF-8.\n" in out
    assert f"    {units[0][1]}: directory, mode 0710, owner {os.geteuid()}:{os.getegid()}\n" in out
    assert f"to put it back: gcd quarantine restore {names[0]}\n" in out


@pytest.mark.parametrize("verb", ["show", "restore", "purge"])
def test_an_unknown_one_is_told_with_the_nearest(root, names, verb, capsys):
    assert quarantine(root, verb, "20270115T080000-0009") == ExitBits.USAGE

    err = capsys.readouterr().err
    assert err.startswith("gcd: there is no entry or run '20270115T080000-0009' in the quarantine; did you mean ")
    assert names[0] in err


def test_a_run_is_put_back(root, units, capsys):
    before = outside(root)
    quarantined(root, units, now_ns=BASE_NS)

    assert quarantine(root, "restore", "run-1") == ExitBits.MENDED

    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in out] == [["restored", f"20270115T080000-000{n}"] for n in (3, 2, 1)]
    assert differences(before, outside(root)) == []
    assert cli.run(["history", "--root", str(root), "--format", "json"]) == ExitBits.CLEAN
    acts = json.loads(capsys.readouterr().out)["acts"]
    assert [(act["kind"], act["outcome"]) for act in acts] == [("restore", "done")] * 3


def test_a_place_that_is_taken(root, units, names, capsys):
    (root / units[0][1]).mkdir()

    assert quarantine(root, "restore", "run-1") == ExitBits.MENDED | ExitBits.NOT_DONE

    out = capsys.readouterr().out
    assert f"refused   {names[0]}: a directory is at {units[0][1]} again: move it away, or purge the entry\n" in out


@pytest.mark.parametrize("verb", ["restore", "purge"])
def test_a_dry_run_changes_nothing(root, names, verb, capsys):
    before = fingerprint(root)

    assert quarantine(root, verb, names[0], "--dry-run") == ExitBits.CLEAN

    assert names[0] in capsys.readouterr().out
    assert differences(before, fingerprint(root)) == []


def test_nobody_to_ask_deletes_nothing(root, names, capsys):
    assert quarantine(root, "purge", names[0]) == ExitBits.USAGE
    assert "there is no terminal to ask on" in capsys.readouterr().err
    assert list(entries_of(root)) == names


def test_a_named_run_is_purged(root, names, capsys):
    assert quarantine(root, "purge", "run-1", "--yes") == ExitBits.MENDED

    out = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0].split() for line in out[-4:-1]] == [["purged", name] for name in names]
    assert out[-1] == "212.0 KiB are free again."
    assert entries_of(root) == {}


def test_without_names_only_what_is_past_its_retention_goes(root, units, capsys, monkeypatch):
    monkeypatch.setattr(purging, "boot_time", lambda: BootTime("another boot", 0))
    (old,) = quarantined(root, units[:1], now_ns=time.time_ns() - 15 * DAY_NS)
    quarantined(root, units[1:2], now_ns=time.time_ns() - 13 * DAY_NS)

    assert quarantine(root, "purge", "--yes") == ExitBits.MENDED
    assert f"purged    {old.entry}, " in capsys.readouterr().out
    assert len(entries_of(root)) == 1
    assert quarantine(root, "purge", "--yes") == ExitBits.CLEAN
    assert capsys.readouterr().out == "No entry's retention is over: nothing to purge.\n"


def test_a_purge_that_was_cut_short_goes_on(root, names, capsys):
    (root / ".gcd/entries" / names[0]).rename(root / ".gcd/purging" / names[0])

    assert quarantine(root, "list") == ExitBits.CLEAN
    assert "(being purged)" in capsys.readouterr().out
    assert quarantine(root, "restore", names[0]) == ExitBits.USAGE
    assert quarantine(root, "purge", "--yes") == ExitBits.MENDED
    assert list(entries_of(root)) == names[1:]


def test_what_was_put_back_is_told_when_the_door_is_open_again(root, names, monkeypatch):
    heard = []

    def told(deed, verb):
        with open_root(str(root)) as directory, fence(directory):
            heard.append(deed.entry)
        return verb

    monkeypatch.setattr(restoring, "entry_deed_line", told)

    assert quarantine(root, "restore", "run-1") == ExitBits.MENDED
    assert heard == names[::-1]


@pytest.mark.parametrize("verb", ["restore", "purge"])
def test_what_an_earlier_run_left_open_is_settled_first_and_told(root, names, verb, capsys):
    (root / ".gcd/entries" / names[0]).rename(root / ".gcd/open" / names[0])

    quarantine(root, verb, names[2], *["--yes"] * (verb == "purge"))

    assert f"gcd: entry {names[0]}, which an earlier run left open, was completed\n" in capsys.readouterr().err
    assert entries_of(root)[names[0]][0] is EntryState.CLOSED


def test_another_gcd_at_work(root, names, capsys):
    with open_root(str(root)) as directory, open_place(directory, create=False):
        assert quarantine(root, "restore", names[0]) == ExitBits.NOT_DONE
    assert capsys.readouterr().err.endswith("gcd: Another gcd is writing to this root: wait until it is done.\n")


def test_without_a_command_it_moves(root, capsys):
    assert quarantine(root, "--dry-run", "GCD101") in {ExitBits.CLEAN, ExitBits.FINDINGS_LEFT}
    assert quarantine(root, "GCD999", "--dry-run") == ExitBits.USAGE
    assert "GCD999" in capsys.readouterr().err
