"""``gcd apply`` and ``gcd repair`` from end to end on synthetic roots: what is shown, asked, done and returned."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.fingerprint import differences, fingerprint
from support.seeds import own_seed

from gcd import cli
from gcd.actions import apply
from gcd.commands import acting
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import layers, leftovers, overlay2
from gcd.demo.faults.targets import find_targets
from gcd.model.errors import ExitBits
from gcd.planning import identity_of
from gcd.state import open_state

DONE = ExitBits.MENDED
LEFT = ExitBits.FINDINGS_LEFT
NOT_DONE = ExitBits.NOT_DONE


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        image = built.image("web:1", layers=3)
        built.container("api", image=image)
    return tmp_path / "docker"


@pytest.fixture
def layer(root):
    """A layer whose ``size`` is empty."""
    return layers.empty_size(root, find_targets(root)["layer"])


def gcd(*arguments):
    return cli.run([*map(str, arguments)])


def finding(layer):
    return f"GCD204:{layer}"


def acts(tmp_path, root):
    with open_state(tmp_path / "state") as state:
        return [(str(act.kind), act.finding, str(act.outcome)) for act in state.acts(identity_of(str(root)), most=100)]


def test_repair_shows_its_plan_mends_and_says_so(root, layer, tmp_path, capsys):
    assert gcd("repair", "--root", root, "--yes") == DONE

    out = capsys.readouterr().out
    assert out.startswith(f"To be done in {root} (the engine is stopped): 1 repair.\n\n  1. repair {finding(layer)} ")
    [entry] = (root / ".gcd/entries").iterdir()
    assert out.endswith(
        f"repaired  {finding(layer)} unreadable-size, entry {entry.name}\n"
        "1 repaired.\n"
        "What was replaced is kept in .gcd: gcd quarantine list; restore undoes a repair.\n"
    )
    assert acts(tmp_path, root) == [("repair", finding(layer), "done")]
    assert gcd("check", "--root", root) == ExitBits.CLEAN
    capsys.readouterr()
    assert gcd("repair", "--root", root, "--yes") == ExitBits.CLEAN
    assert capsys.readouterr().out == f"Nothing is to be done in {root} (the engine is stopped).\n"


def test_dry_run_shows_the_plan_and_touches_nothing(root, layer, tmp_path, capsys):
    before = fingerprint(root)

    assert gcd("repair", "--root", root, "--dry-run") == LEFT

    assert finding(layer) in capsys.readouterr().out
    assert differences(before, fingerprint(root)) == []
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("layer")
def test_without_a_terminal_and_without_yes_nothing_is_begun(root, capsys):
    before = fingerprint(root)

    assert gcd("repair", "--root", root) == ExitBits.USAGE

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == (
        "gcd: gcd repair changes a Docker root, and there is no terminal to ask on: "
        "look at it with --dry-run, then say --yes\n"
    )
    assert differences(before, fingerprint(root)) == []


@contextmanager
def a_terminal(*arguments):
    """The command at a terminal of its own: where to answer, and the process."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
    command = [sys.executable, "-c", "from gcd.cli import main; main()", *map(str, arguments)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        yield ours, process
    os.close(ours)


def read_until(descriptor, text):
    told = ""
    deadline = time.monotonic() + 60
    while text not in told and time.monotonic() < deadline:
        try:
            told += os.read(descriptor, 4096).decode()
        except OSError:
            break
    return told


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "bits"), [("y", DONE), ("n", LEFT), ("", LEFT)])
def test_on_a_terminal_it_asks(root, layer, answer, bits):
    before = fingerprint(root)
    with a_terminal("repair", "--root", root) as (terminal, process):
        assert finding(layer) in read_until(terminal, "Do this? [y/N]: ")
        os.write(terminal, f"{answer}\n".encode())
        told = read_until(terminal, "\0")
        assert process.wait(30) == bits
    assert ("Nothing was changed." in told) is (answer != "y")
    assert (differences(before, fingerprint(root)) == []) is (answer != "y")


def test_by_code_and_by_id(root, layer, capsys):
    overlay2.drop_link_symlink(root, find_targets(root)["layer-dir"])

    assert gcd("repair", "--root", root, "--yes", "204") == DONE | LEFT
    assert "1 repaired." in capsys.readouterr().out
    assert gcd("repair", "--root", root, "--yes", finding(layer)) == ExitBits.USAGE
    assert capsys.readouterr().err.startswith(f"gcd: there is no finding {finding(layer)}; ")
    assert gcd("repair", "--root", root, "--yes", "missing-link-symlink") == DONE
    assert gcd("repair", "--root", root, "--yes") == ExitBits.CLEAN


@pytest.mark.parametrize("flags", [[], ["--yes"], ["--dry-run"]])
def test_a_code_that_there_is_not_names_the_nearest(root, flags, capsys):
    """Also where there is nobody to ask."""
    assert gcd("repair", "--root", root, *flags, "GCD294") == ExitBits.USAGE

    assert capsys.readouterr().err.startswith("gcd: there is no code 'GCD294'; did you mean GCD204 unreadable-size")


def test_what_was_named_and_is_left_alone_is_not_done(root, layer, capsys):
    assert gcd("release", "--root", root, "--yes", finding(layer)) == LEFT | NOT_DONE

    assert "its remedy is not release but repair" in capsys.readouterr().out


@pytest.mark.usefixtures("layer")
def test_without_rights_it_is_one_sentence(root, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: root.stat().st_uid + 1)

    assert gcd("repair", "--root", root, "--yes") == NOT_DONE

    assert capsys.readouterr().err == f"gcd: only root may change {root}: run gcd with sudo\n"


@pytest.mark.usefixtures("layer")
def test_a_run_that_is_refused(root, capsys):
    (root / "image/overlay2/imagedb").rename(root.parent / "imagedb")

    assert gcd("repair", "--root", root, "--yes", "204") & NOT_DONE

    assert capsys.readouterr().out.startswith(f"Nothing may be done in {root}: what keeps layer dirs alive ")
    assert not (root / ".gcd").exists()


def test_apply_does_what_the_policy_says(root, layer, own_settings, tmp_path, capsys):
    assert gcd("apply", "--root", root, "--yes") == LEFT
    assert "the policy only reports it; gcd repair GCD204 does it by name" in capsys.readouterr().out

    (own_settings / "gcd.toml").write_text('[policy.codes]\nGCD204 = "repair"\n')
    assert gcd("apply", "--root", root, "--yes") == DONE
    assert acts(tmp_path, root) == [("repair", finding(layer), "done")]


@pytest.fixture
def saved(root, layer, own_settings, tmp_path, capsys):  # noqa: ARG001 - it is there to be mended
    """A plan in a file that mends the layer."""
    (own_settings / "gcd.toml").write_text('[policy.codes]\nGCD204 = "repair"\n')
    assert gcd("plan", "--root", root, "-o", tmp_path / "plan.json") == LEFT
    capsys.readouterr()
    return tmp_path / "plan.json"


@pytest.mark.usefixtures("layer")
def test_a_saved_plan_is_applied_and_only_once(root, saved, capsys):
    overlay2.drop_link_symlink(root, find_targets(root)["layer-dir"])
    assert gcd("apply", "--yes", saved) == DONE | LEFT
    assert "1 repaired.\n" in capsys.readouterr().out

    layers.empty_size(root, find_targets(root)["layer"])
    assert gcd("apply", "--yes", saved) == LEFT | NOT_DONE
    assert capsys.readouterr().err == (
        "gcd: this plan was applied already, and a plan is applied once: make a new one\n"
    )


def test_a_saved_plan_that_does_not_fit_any_more_is_refused_step_by_step(root, layer, saved, capsys):
    (root / "image/overlay2/layerdb/sha256" / layer.id.removeprefix("sha256:") / "size").write_text("7")

    assert gcd("apply", "--yes", saved) == NOT_DONE
    assert f"refused   {finding(layer)} unreadable-size: it is not found any more\n" in capsys.readouterr().out


def test_a_saved_plan_is_good_for_an_hour(saved, monkeypatch, capsys):
    hour_later = time.time_ns() + 3_600_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: hour_later)

    assert gcd("apply", "--yes", saved) == NOT_DONE
    assert capsys.readouterr().err == (
        f"gcd: {saved} cannot be applied: it was made 60 minutes ago, and a plan is good for 60; make a new one\n"
    )


def test_a_plan_for_another_root_or_no_plan_at_all(saved, tmp_path, root, capsys):
    assert gcd("apply", "--root", tmp_path, "--yes", saved) == ExitBits.USAGE
    assert capsys.readouterr().err == f"gcd: the plan was made for {root}, not for {tmp_path}\n"
    saved.write_text(json.dumps({"schema": 1}))
    assert gcd("apply", "--yes", saved) == ExitBits.USAGE
    assert capsys.readouterr().err.startswith(f"gcd: {saved} is no plan of gcd plan -o: ")
    assert gcd("apply", "--yes", tmp_path / "none") == ExitBits.USAGE
    assert capsys.readouterr().err == f"gcd: {tmp_path}/none cannot be read: No such file or directory\n"


def test_a_plan_that_somebody_changed_is_no_plan(saved, capsys):
    saved.write_text(saved.read_text().replace('"size"', '"diff"').replace("/size", "/diff"))

    assert gcd("apply", "--yes", saved) == ExitBits.USAGE
    assert "it was changed" in capsys.readouterr().err


@pytest.mark.usefixtures("layer")
def test_what_ends_it_halfway_does_not_hide_what_was_done(root, tmp_path, monkeypatch, capsys):
    overlay2.drop_link_symlink(root, find_targets(root)["layer-dir"])
    repair, begun = apply.repair, []

    def interrupted(*arguments, **said):
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return repair(*arguments, **said)

    monkeypatch.setattr(apply, "repair", interrupted)

    assert gcd("repair", "--root", root, "--yes") == ExitBits.INTERRUPTED | DONE | LEFT
    told = capsys.readouterr()
    assert told.err == "gcd: interrupted; a step that was begun is finished or undone at the next start\n"
    assert "1 repaired.\n" in told.out
    assert len(acts(tmp_path, root)) == 1


@pytest.mark.usefixtures("layer")
def test_what_interrupts_the_telling_does_not_hide_what_was_done(root, tmp_path, monkeypatch, capsys):
    overlay2.drop_link_symlink(root, find_targets(root)["layer-dir"])

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(acting, "deed_line", interrupted)

    assert gcd("repair", "--root", root, "--yes") == ExitBits.INTERRUPTED | DONE
    assert "2 repaired.\n" in capsys.readouterr().out
    assert len(acts(tmp_path, root)) == 2


@pytest.mark.usefixtures("layer")
def test_a_state_that_cannot_be_written_stops_nothing(root, tmp_path, capsys):
    (tmp_path / "state").write_text("in the way")

    assert gcd("repair", "--root", root, "--yes") == DONE
    assert capsys.readouterr().err.startswith("gcd: history does not keep this run: the state in ")


def test_events_are_logged_with_run_and_finding(root, layer, capsys):
    assert gcd("repair", "--root", root, "--yes", "-v") == DONE

    [event] = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "repair" in line]
    assert (event["event"], event["finding"], event["level"]) == ("repair_done", finding(layer), "info")
    assert len(event["run"]) == len("20251125T120000-a1b2c3")


@pytest.mark.usefixtures("layer")
def test_another_gcd_at_work_is_one_sentence(root, capsys):
    from gcd.actions.place import open_place  # noqa: PLC0415
    from gcd.root.tree import open_root  # noqa: PLC0415

    with open_root(str(root)) as directory, open_place(directory, create=True):
        assert gcd("repair", "--root", root, "--yes") == LEFT | NOT_DONE

    assert capsys.readouterr().err == "gcd: Another gcd is writing to this root: wait until it is done.\n"


@pytest.mark.usefixtures("layer")
def test_what_an_earlier_run_left_open_is_undone_first(root, capsys):
    leftovers.add_write_set(root, "")
    (root / ".gcd").mkdir(mode=0o700)
    (root / ".gcd/open").mkdir(mode=0o700)
    (root / ".gcd/open/20251125T120000-000001").mkdir(mode=0o700)

    assert gcd("repair", "--root", root, "--yes") & DONE
    assert capsys.readouterr().err == (
        "gcd: entry 20251125T120000-000001, which an earlier run left open, was put back\n"
    )


# --- the quarantine ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two_hours_later(monkeypatch):
    """With the engine stopped all that is there has settled."""
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 2 * 3_600_000_000_000)


class Typed(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def type_in(monkeypatch):
    def type_in(text):
        monkeypatch.setattr(sys, "stdin", Typed(text))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("TERM", "dumb")

    return type_in


@pytest.mark.usefixtures("two_hours_later")
def test_an_orphan_is_moved(root, tmp_path, capsys):
    orphan = overlay2.add_layer_dir(root, "")

    assert gcd("quarantine", "--root", root, "--yes") == DONE

    out = capsys.readouterr().out
    [entry] = (root / ".gcd/entries").iterdir()
    assert f"moved     GCD101:{orphan} orphaned-layer-dir, 36.0 KiB, entry {entry.name}\n1 moved (36.0 KiB).\n" in out
    assert out.endswith("What was moved is in .gcd and frees nothing until it is purged: gcd quarantine list.\n")
    assert not (root / "overlay2" / orphan.id).exists()
    assert acts(tmp_path, root) == [("quarantine", f"GCD101:{orphan}", "done")]


@pytest.mark.usefixtures("two_hours_later")
def test_on_a_full_disk_orphans_are_deleted_at_once_if_somebody_types_that(root, tmp_path, type_in, capsys):
    orphan = overlay2.add_layer_dir(root, "")
    overlay2.add_filled_rw_pair(root, "")
    leftovers.add_write_set(root, "")
    type_in("delete for good\n")

    assert gcd("quarantine", "--root", root, "--purge") == DONE | LEFT

    told = capsys.readouterr()
    assert "This deletes 1 orphan (36.0 KiB) for good; nothing brings them back." in told.out
    assert told.err == "Type 'delete for good' to do it: "
    assert list((root / ".gcd/entries").iterdir()) == []
    assert acts(tmp_path, root) == [("quarantine", f"GCD101:{orphan}", "done"), ("purge", f"GCD101:{orphan}", "done")]


@pytest.mark.usefixtures("two_hours_later")
def test_whoever_types_anything_else_deletes_nothing(root, type_in, capsys):
    overlay2.add_layer_dir(root, "")
    before = fingerprint(root)
    type_in("yes\n")

    assert gcd("quarantine", "--root", root, "--purge", "--yes") == LEFT

    assert capsys.readouterr().out.endswith("Nothing was changed.\n")
    assert differences(before, fingerprint(root)) == []


def test_nothing_is_deleted_where_nobody_can_type(root, capsys):
    assert gcd("quarantine", "--root", root, "--purge", "--yes") == ExitBits.USAGE

    assert capsys.readouterr().err == (
        "gcd: gcd quarantine --purge deletes for good: it asks to type that, on a terminal\n"
    )
