"""A unit moves whole or not at all, and what must never move is refused."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fingerprint import differences, fingerprint
from support.killing import run
from support.trees import FIFO, SOCKET, place
from support.units import RUN, entries_of, finding_for, held_by, leaked_root, outside, quarantined, together

from gcd.actions import taking as taking_module
from gcd.actions.place import open_place
from gcd.actions.quarantine import is_structure, move
from gcd.actions.restore import restore
from gcd.model.entry import EntryState, RunId, order_of
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.model.plan import Move, Outcome, Reason
from gcd.root.tree import open_root

root_only = pytest.mark.root


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
def held(root, *, create=True):
    with open_root(str(root)) as directory, open_place(directory, create=create) as place:
        yield place


def moved(root, *paths):
    with held(root) as place:
        return move(place, Move(finding_for(*paths), paths), run_id=RUN, now_ns=time.time_ns())


def expect_refusal(root, paths, reason, why):
    """Nothing is changed, and nothing of an entry is left."""
    before = outside(root)
    deed = moved(root, *paths)
    assert (deed.outcome, deed.reason, deed.entry) == (Outcome.REFUSED, reason, "")
    assert why in deed.why
    assert entries_of(root) == {}
    assert differences(before, outside(root)) == []


@contextlib.contextmanager
def mounted(point, *arguments):
    subprocess.run(["mount", *arguments, str(point)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_a_unit_is_taken_whole_and_its_entry_says_all(root, units):
    before = fingerprint(root)

    deed = moved(root, *units[0])

    assert (deed.outcome, deed.disk_bytes) == (Outcome.DONE, 4096)
    state, manifest = entries_of(root)[deed.entry]
    assert state is EntryState.CLOSED
    assert tuple(item.path for item in manifest.items) == units[0]
    assert manifest.finding == finding_for(*units[0])
    assert (manifest.run, manifest.engine_id) == (RUN, "")
    assert manifest.store_inode == (root / "overlay2").stat().st_ino
    assert [item.taken.inode for item in manifest.items] == [before[path].inode for path in units[0]]
    assert differences(before, together(root)) == []
    assert [(root / path).exists() for path in units[0]] == [False] * 3


def test_the_ground_is_what_the_unit_stood_on(root, units):
    moved(root, *units[0])

    (_, manifest) = next(iter(entries_of(root).values()))
    parent, base = (Path(unit[0]).name for unit in units[1:])
    dirs = [Path(unit[1]).name for unit in units[1:]]
    links = [Path(unit[2]).name for unit in units[1:]]
    assert manifest.ground.parents == {f"sha256:{parent}": dirs[0], f"sha256:{base}": dirs[1]}
    assert manifest.ground.links == dict(zip(links, dirs, strict=True))


def test_parents_that_name_one_another_end(root, units):
    """What a record says is not to be trusted: its chain may be a circle."""
    parent, base = (Path(unit[0]).name for unit in units[1:])
    (root / units[2][0] / "parent").write_text(f"sha256:{parent}")
    moved(root, *units[0])

    (_, manifest) = next(iter(entries_of(root).values()))
    assert set(manifest.ground.parents) == {f"sha256:{parent}", f"sha256:{base}"}


def test_entries_of_one_run_are_in_order_also_within_a_second(root, units):
    deeds = quarantined(root, units, now_ns=1_800_000_000 * 10**9)
    again = [moved(root, f"tmp/{name}") for name in ("x",)]

    names = [deed.entry for deed in deeds]
    assert names == ["20270115T080000-0001", "20270115T080000-0002", "20270115T080000-0003"]
    assert sorted(names, key=order_of) == names
    assert again[0].outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    "path",
    [
        "overlay2", "overlay2/l", "image", "image/overlay2", "image/overlay2/layerdb", "image/overlay2/layerdb/sha256",
        "image/overlay2/layerdb/mounts", "image/overlay2/imagedb/content/sha256", "image/overlay2/imagedb/content",
        "containers", "volumes", "volumes/metadata.db", "volumes/data/_data", "buildkit/snapshots.db", "buildkit",
        "tmp", "engine-id",
    ],
)  # fmt: skip
def test_what_a_store_stands_on_never_moves(root, path):
    place(root / "volumes/data/_data/file", b"theirs")

    assert is_structure(path, "overlay2")
    expect_refusal(root, [path], Reason.PLACE, f"{path} is never moved")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "overlay2/../../x", ".gcd/lock", ".gcd", "", "overlay2//x"])
def test_a_path_that_leads_elsewhere_never_moves(root, path):
    expect_refusal(root, [path], Reason.PLACE, "is never moved")


def test_no_path_at_all_is_no_unit(root):
    expect_refusal(root, [""][1:] or ["overlay2"], Reason.PLACE, "never moved")
    with held(root) as opened:
        deed = move(opened, Move(finding_for("x"), ()), run_id=RUN, now_ns=0)
    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.NO_REMEDY)


@pytest.mark.parametrize("number", [0, 2])
def test_a_place_that_is_replaced_meanwhile_fails_the_step_with_nothing_lost(root, units, monkeypatch, number):
    before = outside(root)
    taken = []
    take = taking_module.take

    def take_and_replace(*arguments):
        take(*arguments)
        taken.append(arguments)
        if len(taken) == number + 1:
            (root / ".gcd").rename(root / "aside")
            (root / ".gcd").mkdir(0o700)

    monkeypatch.setattr(taking_module, "take", take_and_replace)
    with held(root) as place:
        deed = move(place, Move(finding_for(*units[0]), units[0]), run_id=RUN, now_ns=time.time_ns())

    assert (deed.outcome, deed.reason, deed.why) == (
        Outcome.FAILED,
        Reason.PLACE,
        ".gcd was replaced while it was in use",
    )
    (root / ".gcd").rmdir()
    (root / "aside").rename(root / ".gcd")
    assert differences(before, outside(root)) == []


def test_more_than_an_entry_holds_is_refused_before_anything_moves(root):
    paths = tuple(f"tmp/{number}" for number in range(10_001))

    expect_refusal(root, paths, Reason.PLACE, "10001 things would have to be moved, and an entry holds 10000")


def test_what_could_not_be_read_again_is_not_begun(root, units):
    before = outside(root)
    with held(root) as place:
        deed = move(place, Move(finding_for(*units[0]), units[0]), run_id=RunId("a b"), now_ns=time.time_ns())

    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.PLACE)
    assert deed.why.startswith("its manifest could not be read again: manifest: run")
    assert differences(before, outside(root)) == []
    assert entries_of(root) == {}


def test_paths_within_one_another_are_no_unit(root, units):
    expect_refusal(root, [units[0][1], f"{units[0][1]}/diff"], Reason.PLACE, "within one another")


def test_what_is_not_there_any_more_is_not_taken_in_parts(root, units):
    (root / units[0][2]).unlink()

    expect_refusal(root, units[0], Reason.CHANGED, f"{units[0][2]} is not there any more")


def test_the_drivers_home_is_never_emptied(tmp_path):
    root = tmp_path / "docker"
    place(root / "overlay2" / ("a" * 64) / "link", b"A" * 26)

    expect_refusal(root, [f"overlay2/{'a' * 64}"], Reason.PLACE, "overlay2 would be left empty")

    (root / "overlay2/l").mkdir()
    assert moved(root, f"overlay2/{'a' * 64}").outcome is Outcome.DONE


def test_a_symlink_on_the_way_is_not_followed(root, units, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(root / "overlay2", elsewhere)
    (root / "overlay2").symlink_to(elsewhere)
    before = fingerprint(elsewhere)

    assert moved(root, units[0][1]).reason is Reason.CHANGED
    assert differences(before, fingerprint(elsewhere)) == []


def test_a_symlink_in_the_place_of_a_dir_moves_itself(root, units, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(root / units[0][1], elsewhere)
    (root / units[0][1]).symlink_to(elsewhere)

    deed = moved(root, units[0][1])

    assert deed.outcome is Outcome.DONE
    assert elsewhere.is_dir()
    assert (root / ".gcd/entries" / deed.entry / "items/0").is_symlink()


@root_only
@pytest.mark.parametrize("what", [FIFO, SOCKET, b"a file"], ids=["fifo", "socket", "file"])
def test_what_stands_in_a_records_place_moves_as_it_is(root, units, what):
    shutil.rmtree(root / units[0][0])
    place(root / units[0][0], what)

    before = together(root)
    assert moved(root, *units[0]).outcome is Outcome.DONE
    assert differences(before, together(root)) == []


@root_only
def test_a_device_and_a_closed_directory_move_as_they_are(root, units):
    os.mknod(root / "overlay2" / ("b" * 64), 0o020600, os.makedev(0, 0))
    (root / units[0][1]).chmod(0)

    before = together(root)
    assert moved(root, *units[0], "overlay2/" + "b" * 64).outcome is Outcome.DONE
    assert differences(before, together(root)) == []


@root_only
@pytest.mark.parametrize("flag", ["i", "a"])
def test_an_immutable_item_refuses_the_whole_unit(root, units, flag):
    subprocess.run(["chattr", f"+{flag}", str(root / units[0][1])], check=True)
    try:
        before = outside(root)
        deed = moved(root, *units[0])
        assert (deed.outcome, deed.reason) == (Outcome.FAILED, Reason.PLACE)
        assert "lsattr(1)" in deed.why
        assert entries_of(root) == {}
        assert differences(before, outside(root)) == []
    finally:
        subprocess.run(["chattr", f"-{flag}", str(root / units[0][1])], check=True)


@root_only
@pytest.mark.parametrize("below", ["", "diff", "diff/odd"])
def test_a_mount_at_or_below_an_item_refuses_it(root, units, below):
    point = root / units[0][1] / below
    with mounted(point, "-t", "tmpfs", "tmpfs"):
        deed = moved(root, *units[0])
        assert (deed.outcome, deed.reason, deed.why) == (
            Outcome.REFUSED,
            Reason.IN_USE,
            f"something is mounted at {point}",
        )
    assert entries_of(root) == {}


@root_only
def test_a_bind_mount_of_the_same_device_refuses_it_too(root, units, tmp_path):
    (tmp_path / "theirs").mkdir()
    with mounted(root / units[0][1] / "diff", "--bind", str(tmp_path / "theirs")):
        assert moved(root, *units[0]).reason is Reason.IN_USE


@root_only
def test_a_driver_home_on_another_device_is_refused(root, units):
    with mounted(root / "overlay2", "-t", "tmpfs", "tmpfs"):
        place(root / units[0][1] / "link", b"A" * 26)
        (root / "overlay2/l").mkdir()
        expect_refusal(root, units[0][:2], Reason.PLACE, "lies on another device than the root")


@root_only
def test_a_driver_home_that_is_a_bind_mount_is_refused_and_nothing_copied(root, units):
    with mounted(root / "overlay2", "--bind", str(root / "overlay2")):
        before = outside(root)
        deed = moved(root, *units[0])
        assert (deed.outcome, deed.reason) == (Outcome.FAILED, Reason.PLACE)
        assert "lies on another device or mount" in deed.why
        assert differences(before, outside(root)) == []
    assert entries_of(root) == {}


PROJECT_7 = "ioctl:poke_exit=@arg3=" + "00" * 12 + "07000000"
"""For strace: ``FS_IOC_FSGETXATTR`` then says that the file has the quota project 7, whatever this kernel can do."""


@root_only
@pytest.mark.parametrize(("asked", "who"), [(1, "The root"), (2, ".gcd"), (3, ""), (4, "")])
def test_a_quota_project_is_refused(root, units, asked, who):
    """Asked are the root when the place is made, the place at each use, and each directory among the items."""
    before = outside(root)
    path = units[0][asked - 3] if asked > 2 else ""

    def act():
        if path:
            deed = moved(root, *units[0])
            assert (deed.outcome, deed.why) == (Outcome.REFUSED, f"{path} has the quota project 7")
        else:
            with pytest.raises(CannotAct, match=f"^{who} has the quota project 7"):
                moved(root, *units[0])

    ending = run(act, "--inject", f"{PROJECT_7}:when={asked}", calls=["ioctl"])

    assert (ending.signal, ending.status) == (0, 0), ending
    assert "fsx_projid=0x7" in ending.trace
    assert differences(before, outside(root)) == []
    assert entries_of(root) == {}


def test_a_full_disk_refuses_before_anything_moves(root, units):
    """See also every mutating call failing with ENOSPC, in test_killed."""
    with held(root) as opened:
        # As small a limit on files as a disk with no room left: the manifest does not fit.
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        try:
            deed = move(opened, Move(finding_for(*units[0]), units[0]), run_id=RUN, now_ns=0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
    assert (deed.outcome, deed.reason) == (Outcome.REFUSED, Reason.PLACE)
    assert entries_of(root) == {}


# --- the law: restore undoes quarantine ------------------------------------------------------------------------------

NAMES = st.binary(min_size=1, max_size=20).map(lambda raw: b"n" + raw.replace(b"/", b"").replace(b"\0", b""))
FILES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map(b"/".join),
    st.tuples(st.sampled_from(["file", "symlink", "fifo", "directory", "hard link"]), st.integers(0, 0o7777)),
    max_size=8,
)


def grow(top, files):
    """Whatever of `files` can be made: a name may be taken as a directory already."""
    made = []
    for path, (kind, mode) in files.items():
        full = top / os.fsdecode(path)
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            full.parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "file":
                    full.touch(exist_ok=False)
                    made.append(full)
                case "symlink":
                    full.symlink_to("../" + os.fsdecode(path))
                    continue
                case "fifo":
                    os.mkfifo(full)
                case "directory":
                    full.mkdir()
                case "hard link" if made:
                    full.hardlink_to(made[-1])
                case _:
                    continue
            full.chmod(mode)


@root_only
@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES, order=st.permutations(range(3)))
def test_restore_undoes_quarantine(tmp_path_factory, files, order):
    top = tmp_path_factory.mktemp("law")
    try:
        root, units = leaked_root(top / "docker")
        for unit in units:
            grow(root / unit[1] / "diff", files)
        before = fingerprint(root)

        deeds = quarantined(root, [units[number] for number in order])
        with held(root) as opened:
            back = list(restore(opened, [deed.entry for deed in deeds], engine=EngineState.STOPPED))

        assert {(deed.outcome, deed.why) for deed in (*deeds, *back)} == {(Outcome.DONE, "")}
        assert differences(before, outside(root)) == []
        assert entries_of(root) == {}
    finally:
        shutil.rmtree(top, ignore_errors=True)


def test_held_by_tells_what_an_entry_holds(root, units):
    before = outside(root)
    deed = moved(root, *units[0])

    assert held_by(root, deed.entry).keys() == before.keys() - outside(root).keys()


SWAP = """
until ls "$1"/.gcd/open/*/manifest.json >/dev/null 2>&1; do :; done
mv "$1/$2" "$1/aside" && ln -s /etc "$1/$2"
"""


@root_only
@pytest.mark.parametrize("number", range(3))
def test_what_is_swapped_between_look_and_act_goes_back(root, units, number):
    """The rename of the item waits for three seconds, in which a symlink is put in its place."""
    with held(root):
        pass
    before = outside(root)
    path = units[0][number]

    def act():
        deed = moved(root, *units[0])
        assert deed.reason is Reason.CHANGED
        assert deed.why == f"something else stood at {path} than a moment before"

    delay = f"renameat2:delay_enter=3000000:when={number + 2}"
    with subprocess.Popen(["sh", "-c", SWAP, "sh", str(root), path]) as swap:
        ending = run(act, "--inject", delay, calls=["renameat2"])
        assert swap.wait(timeout=60) == 0

    assert (ending.signal, ending.status) == (0, 0), ending
    assert (root / path).readlink() == Path("/etc")
    (root / path).unlink()
    (root / "aside").rename(root / path)
    assert differences(before, outside(root)) == []
    assert entries_of(root) == {}
