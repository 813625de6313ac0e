"""Putting back exactly, or saying what is in the way; deleting what was asked for, and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from support.daemons import wait_until
from support.fingerprint import differences, fingerprint
from support.units import RUN, entries_of, finding_for, leaked_root, outside, quarantined, together

from gcd.actions import restore as restore_module
from gcd.actions.place import open_place
from gcd.actions.purge import is_expired, purge
from gcd.actions.quarantine import move
from gcd.actions.recover import Recovery, recover
from gcd.actions.repair import repair
from gcd.actions.restore import restore
from gcd.model.entry import EntryId, EntryState
from gcd.model.facts import EngineState
from gcd.model.plan import MakeDirectory, MakeSymlink, Mend, Move, Outcome, Reason, WriteFile
from gcd.root.tree import open_root

root_only = pytest.mark.root

STOPPED, RUNNING, UNKNOWN = EngineState.STOPPED, EngineState.RUNNING, EngineState.UNKNOWN
DAY_NS = 86_400 * 10**9


@pytest.fixture
def made(tmp_path):
    return leaked_root(tmp_path / "docker")


@pytest.fixture
def root(made):
    return made[0]


@pytest.fixture
def units(made):
    return made[1]


@contextlib.contextmanager
def held(root):
    with open_root(str(root)) as directory, open_place(directory, create=True) as place:
        yield place


@contextlib.contextmanager
def mounted(point, *arguments):
    subprocess.run(["mount", *arguments, str(point)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(point)], check=True)


def moved(root, *paths):
    with held(root) as place:
        deed = move(place, Move(finding_for(*paths), paths), run_id=RUN, now_ns=time.time_ns())
    assert deed.outcome is Outcome.DONE, deed
    return deed.entry


def restored(root, *entries, engine=STOPPED):
    with held(root) as place:
        return list(restore(place, entries, engine=engine))


def purged(root, *entries, **arguments):
    with held(root) as place:
        return list(purge(place, entries, **arguments))


def expect_refusal(root, entry, reason, why, *, engine=STOPPED):
    """Nothing moves, and the entry stays as it is."""
    before = fingerprint(root)
    (deed,) = restored(root, entry, engine=engine)
    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, reason)
    assert why in deed.why
    assert differences(before, fingerprint(root)) == []


def items(root, entry, state="entries"):
    return root / ".gcd" / state / entry / "items"


# --- restore --------------------------------------------------------------------------------------------------------


def test_a_run_is_put_back_parents_first(root, units):
    before = fingerprint(root)
    names = [deed.entry for deed in quarantined(root, units)]

    deeds = restored(root, *names)

    assert [(deed.entry, deed.outcome, deed.why) for deed in deeds] == [
        (name, Outcome.DONE, "") for name in reversed(names)
    ]
    assert differences(before, outside(root)) == []
    assert entries_of(root) == {}


@pytest.mark.parametrize("engine", [RUNNING, UNKNOWN])
def test_a_running_engine_keeps_records_out(root, units, engine):
    entry = moved(root, *units[0])

    expect_refusal(
        root, entry, Reason.ENGINE_RUNS, f"has {units[0][0]} in its memory: stop docker.socket", engine=engine
    )


def test_a_running_engine_minds_no_dir_that_no_record_names(root, units):
    shutil.rmtree(root / units[0][0])
    before = fingerprint(root)
    entry = moved(root, *units[0][1:])

    (deed,) = restored(root, entry, engine=RUNNING)

    assert deed.outcome is Outcome.DONE
    assert differences(before, outside(root)) == []


def test_a_running_engine_keeps_a_dir_out_that_a_record_names(root, units):
    entry = moved(root, units[0][1])

    expect_refusal(root, entry, Reason.ENGINE_RUNS, "a record names the layer dir", engine=RUNNING)


@pytest.mark.parametrize("number", range(3))
def test_a_place_that_is_taken_is_said_and_left_alone(root, units, number):
    entry = moved(root, *units[0])
    (root / units[0][number]).mkdir()

    expect_refusal(
        root, entry, Reason.CHANGED, f"a directory is at {units[0][number]} again: move it away, or purge the entry"
    )


def test_another_store_is_not_the_one_it_was_taken_from(root, units):
    entry = moved(root, *units[0])
    shutil.copytree(root / "overlay2", root / "copy", symlinks=True, ignore_dangling_symlinks=True)
    shutil.rmtree(root / "overlay2")
    (root / "copy").rename(root / "overlay2")

    expect_refusal(root, entry, Reason.CHANGED, "overlay2 is another directory than it was")


def test_the_drivers_home_is_never_made(root, units):
    entry = moved(root, *units[0])
    shutil.rmtree(root / "overlay2")

    expect_refusal(root, entry, Reason.CHANGED, "overlay2 is not there: somebody made this root anew")


def test_another_engine_id_is_another_root(root, units):
    entry = moved(root, *units[0])
    (root / "engine-id").write_text("another")

    expect_refusal(root, entry, Reason.CHANGED, "another engine-id")


def test_a_directory_that_it_lay_in_is_not_made(root, units):
    entry = moved(root, *units[0])
    shutil.rmtree(root / "image/overlay2/layerdb/sha256")

    expect_refusal(root, entry, Reason.CHANGED, "image/overlay2/layerdb/sha256, in which it was, is not there")


def test_a_record_comes_back_only_upon_its_parent(root, units):
    above, below = moved(root, *units[0]), moved(root, *units[1])

    expect_refusal(root, above, Reason.CHANGED, f"{units[1][0]}, on which it stood, is not as it was: restore {below}")


@pytest.mark.parametrize("depth", [1, 2])
def test_a_parent_with_another_cache_id_is_another_parent(root, units, depth):
    entry = moved(root, *units[0])
    (root / units[depth][0] / "cache-id").write_text("c" * 64)

    expect_refusal(root, entry, Reason.CHANGED, f"{units[depth][0]}, on which it stood, is not as it was: and no entry")


def test_a_record_comes_back_only_if_all_below_it_is_there(root, units):
    above, lowest = moved(root, *units[0]), moved(root, *units[2])

    expect_refusal(root, above, Reason.CHANGED, f"{units[2][0]}, on which it stood, is not as it was: restore {lowest}")


@pytest.mark.parametrize("number", [1, 2])
def test_a_lower_that_leads_nowhere_keeps_a_record_out(root, units, number):
    entry = moved(root, *units[0])
    gone = root / units[2][number]
    gone.rename(root / "gone")

    expect_refusal(root, entry, Reason.CHANGED, f"{units[2][number]}, on which it stood")


def test_what_was_damaged_when_it_was_taken_goes_back_damaged(root, units):
    (root / units[1][0] / "cache-id").write_bytes(b"")
    before = fingerprint(root)

    entry = moved(root, *units[0])

    assert [deed.outcome for deed in restored(root, entry)] == [Outcome.DONE]
    assert differences(before, outside(root)) == []


def test_a_copy_of_a_quarantine_is_not_what_was_taken(root, units):
    entry = moved(root, *units[0])
    kept = items(root, entry)
    (kept / "1").rename(root / "aside")
    (kept / "1").mkdir()

    expect_refusal(root, entry, Reason.CHANGED, f"{units[0][1]} is not in the entry any more")


def test_what_no_manifest_names_is_not_lost(root, units):
    entry = moved(root, *units[0])
    (items(root, entry) / "stray").write_bytes(b"whose?")

    expect_refusal(root, entry, Reason.CHANGED, "the entry holds stray, which its manifest does not name")


@pytest.mark.parametrize("raw", [b"", b"{}", b"[" * 1000, b"\0" * 64])
def test_a_manifest_that_is_none_is_never_followed(root, units, raw):
    entry = moved(root, *units[0])
    (root / ".gcd/entries" / entry / "manifest.json").write_bytes(raw)

    expect_refusal(root, entry, Reason.CHANGED, "its manifest or its items are ")
    assert [deed.outcome for deed in purged(root, entry)] == [Outcome.REFUSED]


def test_the_manifest_of_another_entry_is_never_followed(root, units):
    one, other = moved(root, *units[0]), moved(root, *units[1])
    for name in (one, other):
        (root / ".gcd/entries" / name / "manifest.json").rename(root / f"{name}.json")
    (root / f"{other}.json").rename(root / ".gcd/entries" / one / "manifest.json")

    expect_refusal(root, one, Reason.CHANGED, "malformed: another's")


def test_an_entry_that_is_not_there(root):
    (deed,) = restored(root, EntryId("20261128T091236-0001"))

    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.CHANGED)


@root_only
def test_what_is_mounted_stays(root, units):
    entry = moved(root, *units[0])
    with mounted(items(root, entry) / "1/diff", "-t", "tmpfs", "tmpfs"):
        (deed,) = restored(root, entry)
    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.IN_USE)
    assert together(root).keys() >= {units[0][1]}


@root_only
def test_a_changed_label_is_told(root, units):
    entry = moved(root, *units[0])
    os.setxattr(items(root, entry) / "1", "security.selinux", b"system_u:object_r:other_t:s0\0")

    (deed,) = restored(root, entry)

    assert deed.outcome is Outcome.DONE
    assert deed.why == f"{units[0][1]} has another SELinux label than it had: see restorecon(8)"


# --- restoring repairs ----------------------------------------------------------------------------------------------


@pytest.fixture
def mended(root, units):
    record, layer_dir, link = units[0]
    changes = (
        WriteFile(f"{record}/size", b"12", like=record),
        WriteFile(f"{record}/new", b"new", like=f"{record}/diff"),
        MakeSymlink(link, "../elsewhere/diff"),
        MakeDirectory(f"{layer_dir}/made", 0o711, like=f"{layer_dir}/diff"),
        MakeSymlink(f"{layer_dir}/made/within", "text"),
    )
    before = outside(root)
    with held(root) as place:
        deed = repair(place, Mend(finding_for(record), changes), run_id=RUN, now_ns=time.time_ns())
    assert deed.outcome is Outcome.DONE, deed
    return deed.entry, before


def test_a_repair_is_undone(root, mended):
    entry, before = mended

    assert [deed.outcome for deed in restored(root, entry)] == [Outcome.DONE]
    assert differences(before, outside(root)) == []
    assert entries_of(root) == {}


def mended_by(root, *changes):
    with held(root) as place:
        return repair(place, Mend(finding_for(changes[0].path), changes), run_id=RUN, now_ns=time.time_ns()).entry


def test_a_running_engine_keeps_the_link_farm_that_a_repair_made(root):
    shutil.rmtree(root / "overlay2/l")
    (root / "overlay2/l").write_bytes(b"")
    entry = mended_by(root, MakeDirectory("overlay2/l", 0o710, "overlay2"))

    expect_refusal(root, entry, Reason.ENGINE_RUNS, "the engine finds layers by overlay2/l", engine=RUNNING)
    assert restored(root, entry)[0].outcome is Outcome.DONE


def test_a_running_engine_keeps_a_link_symlink_that_a_repair_made(root, units):
    link = units[0][2]
    entry = mended_by(root, MakeSymlink(link, "../elsewhere/diff"))

    expect_refusal(root, entry, Reason.ENGINE_RUNS, f"the engine finds layers by {link}", engine=RUNNING)


@pytest.mark.parametrize("name", ["link", "lower"])
def test_a_running_engine_keeps_what_a_repair_wrote_into_a_dir_that_a_record_names(root, units, name):
    layer_dir = units[0][1]
    entry = mended_by(root, WriteFile(f"{layer_dir}/{name}", b"new", like=layer_dir))
    why = f"a record names the layer dir {layer_dir.rpartition('/')[2]}"

    expect_refusal(root, entry, Reason.ENGINE_RUNS, why, engine=RUNNING)
    shutil.rmtree(root / units[0][0])
    assert restored(root, entry, engine=RUNNING)[0].outcome is Outcome.DONE


def test_a_running_engine_minds_nothing_that_was_moved_out_of_a_dir_that_a_record_names(root, units):
    path = f"{units[0][1]}/.tmp-link1"
    (root / path).write_bytes(b"")

    assert restored(root, moved(root, path), engine=RUNNING)[0].outcome is Outcome.DONE


def test_a_repaired_file_that_has_changed_since_is_left_alone(root, units, mended):
    (root / units[0][0] / "new").write_bytes(b"newer")

    expect_refusal(root, mended[0], Reason.CHANGED, f"{units[0][0]}/new has changed since the repair")


def test_a_made_directory_that_holds_more_by_now_is_left_alone(root, units, mended):
    (root / units[0][1] / "made/theirs").write_bytes(b"")

    expect_refusal(root, mended[0], Reason.CHANGED, "made holds theirs, which the repair did not make")


@root_only
def test_a_lower_is_not_undone_below_a_mount_but_its_old_file_may_go(root, units, tmp_path):
    (tmp_path / "point").mkdir()
    (tmp_path / "empty").mkdir()
    layer_dir = units[0][1]
    with held(root) as place:
        mend = Mend(finding_for(layer_dir), (WriteFile(f"{layer_dir}/lower", b"l/" + b"A" * 26, like=layer_dir),))
        entry = repair(place, mend, run_id=RUN, now_ns=time.time_ns()).entry
    lower = f"lowerdir={root}/{layer_dir}/diff:{tmp_path}/empty"
    with mounted(tmp_path / "point", "-t", "overlay", "overlay", "-o", lower):
        expect_refusal(root, entry, Reason.IN_USE, str(tmp_path / "point"))
        assert [deed.outcome for deed in purged(root, entry)] == [Outcome.DONE]


# --- repairs that were cut short -----------------------------------------------------------------------------------


def half_mended(root, entry, *indexes):
    """The repair as if gcd had been killed: open, and these of its changes not made yet."""
    manifest = entries_of(root)[entry][1]
    opened = (root / ".gcd/entries" / entry).rename(root / ".gcd/open" / entry)
    for index in indexes:
        item, kept = manifest.items[index], opened / "items" / str(index)
        made = (root / item.path).rename(opened / "made")
        if item.taken is not None:
            kept.rename(root / item.path)
        made.rename(kept)


def replaced(path, content):
    """As engines write: beside, and then renamed."""
    path.with_name("their.tmp").write_bytes(content)
    path.with_name("their.tmp").rename(path)


def test_a_half_done_repair_is_not_undone_over_what_was_written_since(root, units, mended):
    entry = mended[0]
    size = root / units[0][0] / "size"
    old = (items(root, entry) / "0").read_bytes()
    half_mended(root, entry, 4, 3, 2, 1)
    replaced(size, b"newer")

    done = recovered(root, STOPPED)

    assert (done.recovery, done.why) == (
        Recovery.CLOSED,
        f"{units[0][0]}/size has changed since the repair: put it right by hand",
    )
    assert size.read_bytes() == b"newer"
    assert (items(root, entry) / "0").read_bytes() == old


def test_a_half_done_directory_is_not_taken_away_with_what_was_put_into_it(root, units, mended):
    half_mended(root, mended[0], 4)
    theirs = root / units[0][1] / "made/theirs"
    theirs.write_bytes(b"")

    done = recovered(root, STOPPED)

    assert done.recovery is Recovery.CLOSED
    assert "made holds theirs, which the repair did not make" in done.why
    assert theirs.exists()


def test_a_half_done_repair_is_undone(root, mended):
    half_mended(root, mended[0], 4, 3)

    assert recovered(root, STOPPED).recovery is Recovery.RETURNED
    assert differences(mended[1], outside(root)) == []


def test_what_was_swapped_in_and_taken_for_the_old_file_is_not_discarded(root, mended):
    entry = mended[0]
    half_mended(root, entry, 4, 3, 2, 1)
    kept = items(root, entry, "open") / "0"
    replaced(kept, b"theirs")

    done = recovered(root, STOPPED)

    assert done.recovery is Recovery.LEFT_OPEN
    assert kept.read_bytes() == b"theirs"


def test_what_is_swapped_in_while_a_repair_is_undone_stays(root, units, mended, monkeypatch):
    entry = mended[0]
    size = root / units[0][0] / "size"
    reopen = restore_module.reopen

    def swapped_after_the_look(opened):
        replaced(size, b"newer")
        reopen(opened)

    monkeypatch.setattr(restore_module, "reopen", swapped_after_the_look)
    (deed,) = restored(root, entry)

    assert deed.outcome is Outcome.FAILED
    assert size.read_bytes() == b"newer"
    assert entries_of(root)[entry][0] is EntryState.CLOSED


# --- recovery while the engine runs ---------------------------------------------------------------------------------


def half_open(root, entry, *indexes):
    """The entry as if gcd had been killed: open, and these of its items back in their places."""
    manifest = entries_of(root)[entry][1]
    opened = (root / ".gcd/entries" / entry).rename(root / ".gcd/open" / entry)
    for index in indexes:
        (opened / "items" / str(index)).rename(root / manifest.items[index].path)


def recovered(root, engine):
    with held(root) as place:
        (done,) = recover(place, engine=engine)
    return done


def test_records_are_not_put_back_under_a_running_engine_and_the_rest_follows_them(root, units):
    before = together(root)
    entry = moved(root, *units[0])
    half_open(root, entry, 1, 2)

    assert recovered(root, RUNNING).recovery is Recovery.CLOSED
    assert differences(before, together(root)) == []
    assert [(root / path).exists() for path in units[0]] == [False] * 3


def test_a_record_does_not_follow_under_a_running_engine(root, units):
    entry = moved(root, *units[0], *units[1])
    half_open(root, entry, 3)

    done = recovered(root, RUNNING)

    assert done.recovery is Recovery.LEFT_OPEN
    assert "stop docker.socket and docker.service" in done.why
    assert recovered(root, STOPPED).recovery is Recovery.RETURNED


def test_dirs_that_nothing_names_are_put_back_under_a_running_engine(root, units):
    shutil.rmtree(root / units[0][0])
    before = outside(root)
    half_open(root, moved(root, *units[0][1:]), 1)

    assert recovered(root, RUNNING).recovery is Recovery.RETURNED
    assert differences(before, outside(root)) == []


def test_what_somebody_else_removed_meanwhile_is_told(root, units):
    entry = moved(root, *units[0])
    half_open(root, entry, 2)
    (root / units[0][2]).unlink()

    done = recovered(root, STOPPED)

    assert done.recovery is Recovery.CLOSED
    assert done.why == f"{units[0][2]} was removed or replaced by somebody else"


# --- purge ----------------------------------------------------------------------------------------------------------


def test_a_purge_frees_what_the_disk_held(root, units):
    entry = moved(root, *units[0])
    others = outside(root)
    told = subprocess.run(["du", "-s", "-B1", items(root, entry).parent], check=True, capture_output=True).stdout
    used = int(told.split()[0])

    (deed,) = purged(root, entry)

    assert (deed.outcome, deed.disk_bytes) == (Outcome.DONE, used)
    assert entries_of(root) == {}
    assert differences(others, outside(root)) == []


def test_a_symlink_in_an_entry_is_not_followed(root, units, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_bytes(b"kept")
    (root / units[0][1] / "diff/way").symlink_to(tmp_path / "theirs")

    assert [deed.outcome for deed in purged(root, moved(root, *units[0]))] == [Outcome.DONE]
    assert (tmp_path / "theirs/file").read_bytes() == b"kept"


def test_deeper_than_any_path_is_long(root, units, memory):
    subprocess.run(["cp", "-a", str(root), str(memory / "docker")], check=True)
    root = memory / "docker"
    here = os.open(root / units[0][1] / "diff", os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    assert [deed.outcome for deed in purged(root, moved(root, *units[0]))] == [Outcome.DONE]


@pytest.mark.parametrize("number", [0, 1])
def test_what_another_entry_stands_on_is_not_purged_before_it(root, units, number):
    above, below = moved(root, *units[0]), moved(root, *units[1])
    if number:
        (deed,) = purged(root, below)
        assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.IN_USE)
        assert deed.why == f"{above} stands on it, and could not be restored: restore or purge that too"
    else:
        assert [(deed.entry, deed.outcome) for deed in purged(root, below, above)] == [
            (above, Outcome.DONE),
            (below, Outcome.DONE),
        ]


@root_only
def test_what_a_refused_entry_stands_on_is_not_purged_either(root, units):
    above, below = (deed.entry for deed in quarantined(root, units[:2]))
    with mounted(items(root, above) / "1", "-t", "tmpfs", "tmpfs"):
        deeds = purged(root, below, above)

    assert [(deed.entry, deed.outcome, deed.reason) for deed in deeds] == [
        (above, Outcome.REFUSED, Reason.IN_USE),
        (below, Outcome.REFUSED, Reason.IN_USE),
    ]
    assert deeds[1].why.startswith(f"{above} stands on it")


@root_only
@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
@pytest.mark.parametrize("below", ["1", "1/diff", "1/diff/odd"])
def test_what_is_mounted_in_an_entry_keeps_it(root, units, tmp_path, kind, below):
    entry = moved(root, *units[0])
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/file").write_bytes(b"kept")
    arguments = ("-t", "tmpfs", "tmpfs") if kind == "tmpfs" else ("--bind", str(tmp_path / "theirs"))
    with mounted(items(root, entry) / below, *arguments):
        (deed,) = purged(root, entry)
        assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.IN_USE)
    assert (tmp_path / "theirs/file").read_bytes() == b"kept"
    assert entries_of(root)[entry][0] is EntryState.CLOSED


@root_only
def test_what_of_an_entry_is_mounted_elsewhere_keeps_it(root, units, tmp_path):
    entry = moved(root, *units[0])
    (tmp_path / "point").mkdir()
    with mounted(tmp_path / "point", "--bind", str(items(root, entry) / "1/diff")):
        (deed,) = purged(root, entry)
    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.IN_USE)
    assert str(tmp_path / "point") in deed.why


@root_only
@pytest.mark.parametrize("by", ["id", "link"])
def test_a_mount_made_before_the_move_keeps_it_by_its_old_names(root, units, tmp_path, by):
    (tmp_path / "point").mkdir()
    (tmp_path / "empty").mkdir()
    lower = f"{root}/{units[0][1]}/diff" if by == "id" else f"{root}/overlay2/l/{Path(units[0][2]).name}"
    with mounted(tmp_path / "point", "-t", "overlay", "overlay", "-o", f"lowerdir={lower}:{tmp_path}/empty"):
        entry = moved(root, *units[0])
        (deed,) = purged(root, entry)
        assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.IN_USE)
        assert str(tmp_path / "point") in deed.why
    # Whoever made a mount namespace meanwhile, as each engine that another test starts, has the mount for a while yet.
    wait_until(lambda: purged(root, entry)[0].outcome is Outcome.DONE, "it is purged", seconds=120)


@root_only
@pytest.mark.parametrize(("flag", "word"), [("i", "immutable"), ("a", "append-only")])
def test_what_a_flag_protects_stays_and_is_told(root, units, flag, word):
    entry = moved(root, *units[0])
    kept = items(root, entry, "purging") / "1/diff/odd/setuid"
    subprocess.run(["chattr", f"+{flag}", str(items(root, entry) / "1/diff/odd/setuid")], check=True)

    (deed,) = purged(root, entry)

    assert (deed.outcome, deed.reason) == (Outcome.FAILED, Reason.PLACE)
    assert deed.why == f"1 could not be deleted: setuid: it is {word}"
    assert entries_of(root)[entry][0] is EntryState.PURGING
    subprocess.run(["chattr", f"-{flag}", str(kept)], check=True)
    assert [deed.outcome for deed in purged(root, entry)] == [Outcome.DONE]
    assert entries_of(root) == {}


@root_only
def test_a_directory_with_a_flag_is_told_for_what_is_in_it(root, units):
    entry = moved(root, *units[0])
    folder = items(root, entry) / "1/diff/odd/closed"
    (folder / "x").write_bytes(b"")
    subprocess.run(["chattr", "+i", str(folder)], check=True)

    (deed,) = purged(root, entry)

    assert deed.why == "2 could not be deleted: x: the directory around it is immutable; closed: it is immutable"
    subprocess.run(["chattr", "-i", str(items(root, entry, "purging") / "1/diff/odd/closed")], check=True)


def test_an_entry_that_is_being_purged_is_never_restored(root, units):
    entry = moved(root, *units[0])
    (root / ".gcd/entries" / entry).rename(root / ".gcd/purging" / entry)

    (deed,) = restored(root, entry)

    assert deed.outcome is Outcome.REFUSED


def test_the_retention_counts_from_the_making(root, units):
    entry = moved(root, *units[0])
    manifest = entries_of(root)[entry][1]

    told = [
        is_expired(manifest, 14 * DAY_NS, manifest.made_ns + ns, boot_id="another", uptime_ns=0)
        for ns in (-1, 0, 14 * DAY_NS - 1, 14 * DAY_NS)
    ]

    assert told == [False, False, False, True]


def test_a_clock_that_was_set_ends_no_retention(root, units):
    entry = moved(root, *units[0])
    manifest = entries_of(root)[entry][1]

    told = [
        is_expired(manifest, 14 * DAY_NS, manifest.made_ns + 30 * DAY_NS, boot_id=manifest.boot_id, uptime_ns=uptime)
        for uptime in (0, 14 * DAY_NS - 1, 14 * DAY_NS)
    ]

    assert told == [False, False, True]


def test_progress_is_told(root, units):
    folder = root / units[0][1] / "diff/many"
    folder.mkdir()
    for number in range(3000):
        (folder / str(number)).touch()
    heard = []

    purged(root, moved(root, *units[0]), progress=lambda _, inodes: heard.append(inodes))

    assert heard == [1024, 2048, 3072][: len(heard)]
    assert len(heard) >= 2
