from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.trees import DIRECTORY, FIFO, Link, change_after, place, plant, within, without_rights

from gcd.model.facts import BadElement, FileType, LinkFarm, Lower
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.model.shelf import folded
from gcd.root import overlay2, record, tree
from gcd.root.overlay2 import list_names, probe, read_layer_dirs, read_link_farm
from gcd.root.progress import Pace
from gcd.root.tree import Directory, open_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = "b" * 64
TOP = "c" * 64
INIT = f"{TOP}-init"
BUILD = "z" * 25
LINK_A = "A" * 26
LINK_B = "B" * 26
OK = SourceState(Coverage.OK)
TYPE_OF_FIFO = "a FIFO, socket or device"

SOUND = {
    f"{BASE}/diff/file": b"x",
    f"{BASE}/link": LINK_A.encode(),
    f"{BASE}/committed": b"",
    f"{TOP}/diff": DIRECTORY,
    f"{TOP}/work": DIRECTORY,
    f"{TOP}/merged": DIRECTORY,
    f"{TOP}/link": LINK_B.encode(),
    f"{TOP}/lower": f"l/{LINK_A}".encode(),
    f"l/{LINK_A}": Link(f"../{BASE}/diff"),
    f"l/{LINK_B}": Link(f"../{TOP}/diff"),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return plant(tmp_path / "overlay2", SOUND)


@pytest.fixture
def root(tmp_path: Path, home: Path) -> Iterator[Directory]:
    assert home.is_dir()
    with open_root(str(tmp_path)) as directory:
        yield directory


def test_sound_dirs_are_read_whole(root):
    dirs, state = read_layer_dirs(root, "overlay2")
    assert state == OK
    assert dirs.keys() == {BASE, TOP}
    base, top = dirs[BASE], dirs[TOP]
    assert (base.link, base.lower) == (Present(LINK_A), ABSENT)
    assert (base.diff, base.work, base.merged) == (FileType.DIRECTORY, None, None)
    assert (top.link, top.lower) == (Present(LINK_B), Present(Lower((LINK_A,))))
    assert (top.diff, top.work, top.merged) == (FileType.DIRECTORY,) * 3
    assert (base.unreadable, base.diff_is_empty, base.merged_is_empty) == (None, None, None)


def test_candidates_are_names_of_layer_dirs_only(root, home):
    plant(
        home, {f"{INIT}/diff": DIRECTORY, f"{BUILD}/diff": DIRECTORY, "check-overlayfs-support1": DIRECTORY, "x": b""}
    )
    assert list_names(root, "overlay2") == (frozenset({BASE, TOP, INIT, BUILD}), OK)


def test_names_that_fit_no_form_are_read_too_but_not_the_farm_and_the_quota_device(root, home):
    plant(home, {"metacopy-check7/l1": DIRECTORY, "backingFsBlockDev": FIFO, "fsutils-dummy3": b""})
    dirs, state = read_layer_dirs(root, "overlay2")
    assert state == OK
    assert dirs.keys() == {BASE, TOP, "metacopy-check7", "fsutils-dummy3"}
    assert dirs["metacopy-check7"].unreadable is None
    assert dirs["fsutils-dummy3"].unreadable == ("malformed: a regular file")


@pytest.mark.parametrize(
    ("planted", "link", "lower"),
    [
        (b"", EMPTY, EMPTY),
        (
            b"l\n",
            Malformed("26 characters of A-Z and 2-7", "l\\n"),
            Present(Lower((), (BadElement(0, "l\\n"),))),
        ),
        (FIFO, Malformed("a regular file", TYPE_OF_FIFO), Malformed("a regular file", TYPE_OF_FIFO)),
        (DIRECTORY, Malformed("a regular file", "a directory"), Malformed("a regular file", "a directory")),
        (Link("/etc/passwd"), Malformed("a regular file", "a symlink"), Malformed("a regular file", "a symlink")),
        (b"x" * 70000, Malformed("at most 1024 bytes", "more", 1024), Malformed("at most 65536 bytes", "more", 65536)),
    ],
)
def test_what_stands_in_the_place_of_link_and_lower(root, home, planted, link, lower):
    place(home / TOP / "link", planted)
    place(home / TOP / "lower", planted)
    with within(5):
        dirs, state = read_layer_dirs(root, "overlay2")
    assert (dirs[TOP].link, dirs[TOP].lower, state) == (link, lower, OK)
    assert dirs[BASE].link == Present(LINK_A)


@pytest.mark.parametrize(
    ("planted", "kind"),
    [(b"", FileType.FILE), (FIFO, FileType.OTHER), (Link("/etc"), FileType.SYMLINK)],
)
def test_entries_have_the_types_that_stand_there(root, home, planted, kind):
    for name in ("diff", "work", "merged"):
        (home / TOP / name).rmdir()
        place(home / TOP / name, planted)
    top = read_layer_dirs(root, "overlay2")[0][TOP]
    assert (top.diff, top.work, top.merged) == (kind, kind, kind)


@pytest.mark.parametrize("name", [".", "diff", "link", "lower"])
def test_the_ctime_is_the_newest_of_dir_diff_link_and_lower(root, home, name):
    before = read_layer_dirs(root, "overlay2")[0][TOP].ctime_ns
    changed = change_after(home / TOP / name, before)
    assert read_layer_dirs(root, "overlay2")[0][TOP].ctime_ns == changed


def test_what_happens_in_a_lower_layer_file_does_not_make_a_dir_young(root, home):
    before = read_layer_dirs(root, "overlay2")[0][BASE].ctime_ns
    change_after(home / BASE / "diff" / "file", before)
    change_after(home / BASE / "committed", before)
    assert read_layer_dirs(root, "overlay2")[0][BASE].ctime_ns == before


def test_a_dir_closed_to_us_says_so_and_the_rest_is_read(tmp_path, root, home):
    tmp_path.chmod(0o755)
    (home / TOP).chmod(0)
    with without_rights():
        dirs, state = read_layer_dirs(root, "overlay2")
    (home / TOP).chmod(0o755)
    assert state == OK
    assert dirs[TOP].unreadable == "unreadable (EACCES)"
    assert (dirs[TOP].link, dirs[TOP].lower, dirs[TOP].diff) == (Unreadable("EACCES"), Unreadable("EACCES"), None)
    assert dirs[BASE].link == Present(LINK_A)


def test_a_symlink_in_a_dirs_place_is_not_followed(root, home):
    (home / TOP).rename(home.parent / "aside")
    (home / TOP).symlink_to(home.parent / "aside")
    top = read_layer_dirs(root, "overlay2")[0][TOP]
    assert top.link == Malformed("a directory", "a symlink")
    assert (top.diff, top.unreadable) == (None, "malformed: a symlink")


@pytest.mark.parametrize("step", ["dir_rows", "open_record"])
def test_a_dir_that_vanishes_between_listing_and_reading_is_not_there(root, home, monkeypatch, step):
    read = getattr(overlay2, step)

    def removed_first(parent: Directory | int, name: str | list[str], **manner: bool) -> object:
        if TOP in name and (home / TOP).exists():
            (home / TOP).rename(home.parent / "gone")
        return read(parent, name, **manner)

    monkeypatch.setattr(overlay2, "dir_rows", without_rows)
    monkeypatch.setattr(overlay2, step, removed_first)
    dirs, state = read_layer_dirs(root, "overlay2")
    assert (dirs.keys(), state) == ({BASE}, OK)


def test_a_dir_that_vanishes_between_opening_and_listing_is_not_there_rather_than_empty(root, home, monkeypatch):
    whole = Directory.list
    plant(home, {"f" * 64: DIRECTORY})

    def remove_then_list(self, limit=1_000_000):
        going = home / ("f" * 64)
        if going.exists() and self.stat().st_ino == going.stat().st_ino:
            going.rmdir()
        return whole(self, limit)

    monkeypatch.setattr(Directory, "list", remove_then_list)
    dirs, state = read_layer_dirs(root, "overlay2")
    assert (dirs.keys(), state) == ({BASE, TOP}, OK)


def test_a_file_that_vanishes_between_listing_and_reading_is_absent(root, home, monkeypatch):
    def removed_first(parent: Directory, name: str) -> record.Record | None:
        opened = record.open_record(parent, name)
        if name == TOP:
            (home / TOP / "lower").unlink()
        return opened

    monkeypatch.setattr(overlay2, "dir_rows", without_rows)
    monkeypatch.setattr(overlay2, "open_record", removed_first)
    assert read_layer_dirs(root, "overlay2")[0][TOP].lower == ABSENT


def without_rows(_home, _names):
    """As if nothing were sound, so that every dir is read with care."""
    return {}


def test_a_dir_with_too_many_entries_is_unreadable_not_damaged(root, home, monkeypatch):
    monkeypatch.setattr(record, "MAX_FILES", 2)
    plant(home, {f"{BASE}/.tmp-{n}": b"" for n in range(20)})
    (home / BASE / "link").unlink()
    base = read_layer_dirs(root, "overlay2")[0][BASE]
    assert base.unreadable == "more than 2 entries"
    assert base.link == Unreadable("more than 2 entries")


@pytest.mark.parametrize(
    ("planted", "coverage", "why"),
    [
        (None, Coverage.ABSENT, "overlay2 is not there"),
        (b"", Coverage.UNREADABLE, "overlay2 is not a directory but a regular file"),
        (Link("/etc"), Coverage.UNREADABLE, "overlay2 is not a directory but a symlink"),
    ],
)
def test_a_home_that_cannot_be_opened(tmp_path, planted, coverage, why):
    if planted is not None:
        plant(tmp_path, {"overlay2": planted})
    with open_root(str(tmp_path)) as root:
        state = SourceState(coverage, why)
        assert list_names(root, "overlay2") == (frozenset(), state)
        assert read_layer_dirs(root, "overlay2") == ({}, state)
        assert read_link_farm(root, "overlay2") == (LinkFarm(None, {}), state)


def test_a_home_listed_in_part_is_partial(root, monkeypatch):
    monkeypatch.setattr(overlay2, "open_record", lambda _parent, _name: None)
    monkeypatch.setattr(tree, "MAX_ENTRIES", 1)
    assert list_names(root, "overlay2")[1] == SourceState(
        Coverage.PARTIAL, "overlay2 cannot be listed whole (more than 1 entries)"
    )
    assert read_layer_dirs(root, "overlay2")[1].coverage is Coverage.PARTIAL
    assert read_link_farm(root, "overlay2")[1].coverage is Coverage.PARTIAL


def test_the_farm(root, home):
    strange = "C" * 26
    plant(
        home,
        {
            f"l/{strange}": Link(f"../{BASE}"),
            "l/" + "D" * 26: b"",
            "l/" + "E" * 26: DIRECTORY,
            "l/" + "F" * 26: FIFO,
            "l/" + "G" * 26: Link(f"/x/{BASE}/diff"),
            "l/stray": Link("x"),
            "l/l": b"",
        },
    )
    farm, state = read_link_farm(root, "overlay2")
    assert (farm.type, state) == (FileType.DIRECTORY, OK)
    assert {link: symlink.target for link, symlink in farm.symlinks.items()} == {
        LINK_A: Present(BASE),
        LINK_B: Present(TOP),
        strange: Malformed("../<layer dir>/diff", f"../{BASE}"),
        "D" * 26: Malformed("a symlink", "a regular file"),
        "E" * 26: Malformed("a symlink", "a directory"),
        "F" * 26: Malformed("a symlink", TYPE_OF_FIFO),
        "G" * 26: Malformed("../<layer dir>/diff", f"/x/{BASE}/diff"),
    }
    assert farm.symlinks[LINK_A].ctime_ns == (home / "l" / LINK_A).lstat().st_ctime_ns


@pytest.mark.parametrize(
    ("planted", "kind"), [(None, None), (b"", FileType.FILE), (Link("/etc"), FileType.SYMLINK), (FIFO, FileType.OTHER)]
)
def test_a_farm_that_is_none_is_a_fact_about_it(tmp_path, planted, kind):
    plant(tmp_path, {"overlay2": DIRECTORY})
    if planted is not None:
        plant(tmp_path, {"overlay2/l": planted})
    with open_root(str(tmp_path)) as root:
        assert read_link_farm(root, "overlay2") == (LinkFarm(kind, {}), OK)


def test_a_farm_closed_to_us_is_unreadable(tmp_path, root, home):
    tmp_path.chmod(0o755)
    (home / "l").chmod(0)
    with without_rights():
        farm, state = read_link_farm(root, "overlay2")
    (home / "l").chmod(0o755)
    assert (farm.symlinks, state) == (
        {},
        SourceState(Coverage.UNREADABLE, "overlay2/l cannot be read (EACCES)"),
    )


def test_probe_looks_only_where_it_must(root, home):
    dirs = read_layer_dirs(root, "overlay2")[0]
    probed = probe(root, "overlay2", dirs, {TOP}, frozenset())
    assert (probed[TOP].diff_is_empty, probed[TOP].merged_is_empty) == (True, True)
    assert (probed[BASE].diff_is_empty, probed[BASE].merged_is_empty) == (None, None)
    assert probe(root, "overlay2", dirs, {BASE}, frozenset({TOP}))[BASE].diff_is_empty is False
    assert probe(root, "overlay2", dirs, set(), frozenset({TOP}))[TOP].merged_is_empty is None
    plant(home, {f"{TOP}/merged/lost": b""})
    assert probe(root, "overlay2", dirs, set(), frozenset())[TOP].merged_is_empty is False


def test_a_mounted_dir_is_as_young_as_its_mount(root, home):
    """The engine may mount an old container's dir for an export; the kernel then makes ``work`` anew."""
    dirs = read_layer_dirs(root, "overlay2")[0]
    mounted_ns = change_after(home / TOP / "work", dirs[TOP].ctime_ns)
    assert read_layer_dirs(root, "overlay2")[0] == dirs
    probed = probe(root, "overlay2", dirs, set(), frozenset({TOP, BASE, "d" * 64}))
    assert (probed[TOP].ctime_ns, probed[BASE].ctime_ns) == (mounted_ns, dirs[BASE].ctime_ns)
    (home / TOP / "work").rename(home / TOP / "aside")
    assert probe(root, "overlay2", dirs, set(), frozenset({TOP}))[TOP].ctime_ns == dirs[TOP].ctime_ns


@pytest.mark.parametrize(("unnamed", "mounted"), [({BASE}, ()), ({TOP}, ()), ({BASE, TOP}, (BASE,)), ((), (BASE, TOP))])
def test_folded_dirs_are_probed_as_spelled_ones_are(root, home, unnamed, mounted):
    """Also one on which another lies, whose `lower` was told by it."""
    (home / TOP / "merged").rmdir()  # else that one is always looked at, too
    dirs, _ = read_layer_dirs(root, "overlay2")
    assert folded(dirs).rows[TOP][1] == BASE

    probed = probe(root, "overlay2", folded(dirs), unnamed, frozenset(mounted))
    assert dict(probed) == dict(probe(root, "overlay2", dirs, unnamed, frozenset(mounted)))
    assert probed[TOP].lower == Present(Lower((LINK_A,)))


def test_probe_tells_nothing_of_what_it_cannot_open(root, home):
    dirs = read_layer_dirs(root, "overlay2")[0]
    (home / TOP / "diff").rmdir()
    (home / TOP / "merged").rmdir()
    (home / TOP / "merged").symlink_to("/etc")
    probed = probe(root, "overlay2", dirs, {TOP, "d" * 64}, frozenset())
    assert (probed[TOP].diff_is_empty, probed[TOP].merged_is_empty) == (None, None)
    assert probed.keys() == dirs.keys()


def test_the_home_of_another_driver_is_read_alike(tmp_path):
    plant(tmp_path / "fuse-overlayfs", SOUND)
    with open_root(str(tmp_path)) as root:
        assert list_names(root, "fuse-overlayfs")[0] == {BASE, TOP}
        assert read_layer_dirs(root, "fuse-overlayfs")[0].keys() == {BASE, TOP}
        assert read_link_farm(root, "fuse-overlayfs")[0].symlinks.keys() == {LINK_A, LINK_B}


def test_progress_counts_to_the_end(root):
    seen: list[tuple[str, int, int]] = []
    read_layer_dirs(root, "overlay2", Pace(lambda source, done, total: seen.append((source, done, total))))
    assert seen == [("overlay2", 0, 2), ("overlay2", 2, 2)]
