"""GCD101 to GCD116: layer dirs, the link farm, and what lies in a layer dir."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIR,
    BASE_LINK,
    BOUND_NS,
    CONTAINER,
    INIT_DIR,
    INIT_LINK,
    OLD_NS,
    RW_DIR,
    RW_LAYER,
    RW_LINK,
    TOP_CHAIN,
    TOP_DIFF,
    TOP_DIR,
    TOP_LINK,
    YOUNG_NS,
    build_id,
    container,
    container_config,
    dir_id,
    faults,
    graph_of,
    healthy_inventory,
    init_id,
    layer,
    layer_dir,
    link_id,
    rw_layer,
    symlink,
    with_records,
    without,
)

from gcd.model import layout
from gcd.model.facts import (
    BadElement,
    BuildLease,
    BuildSnapshot,
    FileType,
    KernelMount,
    LinkFarm,
    Lower,
    RemovingRecord,
    SnapshotKind,
    WriteSet,
)
from gcd.model.finding import Node, NodeKind, Severity
from gcd.model.ids import LayerDirId
from gcd.model.inventory import Source
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import layerdirs, linkfarm, lowers, orphans

LEAKED, LEAKED_LINK = dir_id("leaked"), link_id("leaked")
BUILD, BUILD_LINK = build_id("build"), link_id("build")
PAIR, PAIR_INIT = dir_id("pair"), init_id("pair")
TOP_NODE, RW_NODE = Node(NodeKind.LAYER_DIR, TOP_DIR), Node(NodeKind.LAYER_DIR, RW_DIR)
BAD_LINK = Malformed("26 characters of base 32", "'x'")
READABLE_DAMAGE = [ABSENT, EMPTY, BAD_LINK, Unreadable("EIO")]
ORPHAN_CODES = (orphans.orphaned_layer_dir, orphans.orphaned_build_dir, orphans.orphaned_rw_dir)


def leaked(**changes):
    """A layer dir on the healthy image's top layer that nothing names."""
    return replace(layer_dir(LEAKED, LEAKED_LINK, (TOP_LINK, BASE_LINK)), **changes)


def pair(*, diff_is_empty=True, **changes):
    """A pair of dirs that nothing names; `changes` are made to the rw dir."""
    init_link, rw_link = link_id("pair init"), link_id("pair rw")
    below = (TOP_LINK, BASE_LINK)
    return (
        layer_dir(PAIR_INIT, init_link, below, diff_is_empty=False),
        layer_dir(PAIR, rw_link, (init_link, *below), diff_is_empty=diff_is_empty, **changes),
    )


def with_dir(dir_id_: LayerDirId, **changes):
    """The healthy root with one of its own dirs changed."""
    inventory = healthy_inventory()
    return with_records(inventory, replace(inventory.layer_dirs[dir_id_], **changes))


def mount(dir_id_=RW_DIR, **changes):
    made = KernelMount(
        f"/r/overlay2/{dir_id_}/merged",
        "overlay",
        "mnt:[1]",
        (7, 8),
        "sleep",
        frozenset({dir_id_}),
        frozenset(),
        dir_id_,
    )
    return replace(made, **changes)


def said(check, inventory):
    """The subjects of all faults that `check` sees at any layer dir."""
    return [fault.subject.id for id_ in inventory.layer_dirs for fault in faults(check, inventory, id_)]


ALL = (*orphans.RULES, *linkfarm.RULES, *lowers.RULES, *layerdirs.RULES)


@pytest.mark.parametrize("check", ALL, ids=lambda rule: rule.code)
class TestEveryRule:
    def test_silent_on_a_healthy_root(self, check):
        inventory = healthy_inventory()
        ids = (*inventory.layer_dirs, *inventory.link_farm.symlinks, "overlay2/l")
        assert [fault for id_ in ids for fault in faults(check, inventory, id_)] == []

    def test_silent_on_a_dir_that_vanished(self, check):
        assert faults(check, healthy_inventory(), LEAKED) == []


@pytest.mark.parametrize("check", ORPHAN_CODES, ids=lambda rule: rule.code)
class TestEveryOrphan:
    def test_needs_every_source_that_may_name_a_dir(self, check):
        silent = {
            Source.REPOSITORIES,
            Source.DISTRIBUTION,
            Source.PLUGINS,
            Source.VOLUMES,
            Source.TEMPORARIES,
        }
        assert check.needs == set(Source) - silent

    def test_silent_on_what_was_made_while_the_root_was_read(self, check):
        """S1: only what was there before the references were read may be an orphan."""
        inventory = with_records(healthy_inventory(), leaked(), *pair(), layer_dir(BUILD, BUILD_LINK))
        inventory = replace(inventory, candidates=healthy_inventory().candidates)
        assert said(check, inventory) == []

    def test_silent_on_a_name_that_is_no_layer_dirs(self, check):
        assert said(check, with_records(healthy_inventory(), layer_dir(LayerDirId("lost+found"), ABSENT))) == []


class TestOrphanedLayerDir:
    check = orphans.orphaned_layer_dir

    def test_finds_a_dir_that_nothing_names(self):
        inventory = with_records(healthy_inventory(), leaked(), symlink(LEAKED_LINK, LEAKED))
        (fault,) = faults(self.check, inventory, LEAKED)
        assert fault.subject == Node(NodeKind.LAYER_DIR, LEAKED)
        assert fault.paths == (f"overlay2/{LEAKED}", f"overlay2/l/{LEAKED_LINK}")
        assert (fault.since_ns, fault.is_held) == (OLD_NS, False)
        assert said(self.check, inventory) == [LEAKED]

    def test_frees_every_symlink_that_leads_to_it(self):
        other = link_id("other")
        inventory = with_records(healthy_inventory(), leaked(), symlink(other, LEAKED), symlink(LEAKED_LINK, LEAKED))
        (fault,) = faults(self.check, inventory, LEAKED)
        assert fault.paths == (f"overlay2/{LEAKED}", *(f"overlay2/l/{x}" for x in sorted((other, LEAKED_LINK))))

    def test_a_young_one_is_found_and_keeps_its_age(self):
        inventory = with_records(healthy_inventory(), leaked(ctime_ns=YOUNG_NS))
        assert [fault.since_ns for fault in faults(self.check, inventory, LEAKED)] == [YOUNG_NS]

    def test_one_that_a_process_has_open_is_held(self):
        inventory = replace(with_records(healthy_inventory(), leaked()), held_dirs=frozenset({LEAKED}))
        assert [fault.is_held for fault in faults(self.check, inventory, LEAKED)] == [True]

    @pytest.mark.parametrize(
        "owner",
        [
            layer(TOP_DIFF, LEAKED, BASE_CHAIN),
            RemovingRecord("x-removing", TOP_CHAIN, Present(LEAKED), ABSENT, OLD_NS),
            WriteSet("write-set-1", Present(LEAKED), OLD_NS),
            rw_layer("other", LEAKED),
            BuildSnapshot("n", SnapshotKind.COMMITTED, LEAKED, "", None),
        ],
        ids=lambda record: type(record).__name__,
    )
    def test_silent_on_a_dir_that_a_record_names(self, owner):
        assert faults(self.check, with_records(healthy_inventory(), leaked(), owner), LEAKED) == []

    @pytest.mark.parametrize(
        "user",
        [
            mount(LEAKED),
            mount(LEAKED, dirs=frozenset({LEAKED}), merged_of=None, fstype="ext4"),
            mount(RW_DIR, links=frozenset({LEAKED_LINK})),
        ],
        ids=["merged", "bind mount", "lower of an overlay"],
    )
    def test_silent_on_a_dir_that_a_mount_uses(self, user):
        inventory = replace(with_records(healthy_inventory(), leaked()), mounts=(user,))
        assert faults(self.check, inventory, LEAKED) == []

    @pytest.mark.parametrize("by", ["link file", "symlink"])
    def test_silent_on_a_dir_that_a_live_lower_names_by_either_identity(self, by):
        """S3: a dir named by no database but in a live lower is alive."""
        identity = [leaked()] if by == "link file" else [leaked(link=EMPTY), symlink(LEAKED_LINK, LEAKED)]
        child = layer_dir(TOP_DIR, TOP_LINK, (LEAKED_LINK, BASE_LINK))
        assert faults(self.check, with_records(healthy_inventory(), *identity, child), LEAKED) == []

    def test_silent_on_what_lies_below_a_young_dir_that_nothing_names(self):
        """What is only suspected keeps what it stands on."""
        young = layer_dir(dir_id("young"), link_id("young"), (LEAKED_LINK,), ctime_ns=YOUNG_NS)
        inventory = with_records(healthy_inventory(), leaked(), young)
        assert said(self.check, inventory) == [young.id]

    def test_finds_what_lies_below_an_old_dir_that_nothing_names(self):
        old = layer_dir(dir_id("old"), link_id("old"), (LEAKED_LINK,), ctime_ns=BOUND_NS - 1)
        assert said(self.check, with_records(healthy_inventory(), leaked(), old)) == [LEAKED, old.id]

    @pytest.mark.parametrize("empty", [{"diff_is_empty": True}, {"diff_is_empty": None, "diff": None}])
    def test_a_pair_with_nothing_in_it_is_one_finding(self, empty):
        inventory = with_records(healthy_inventory(), *pair(**empty, ctime_ns=OLD_NS + 5))
        assert said(self.check, inventory) == [PAIR]
        (fault,) = faults(self.check, inventory, PAIR)
        assert fault.paths == (f"overlay2/{PAIR}", f"overlay2/{PAIR_INIT}")
        assert fault.since_ns == OLD_NS + 5
        assert len(fault.evidence) == 2

    def test_an_init_dir_with_nothing_in_it_is_none_of_its_own(self):
        init, rw = pair()
        inventory = with_records(healthy_inventory(), replace(init, diff_is_empty=True), rw)
        assert said(self.check, inventory) == [PAIR]

    @pytest.mark.parametrize("diff_is_empty", [False, None])
    def test_silent_on_a_pair_that_may_hold_files(self, diff_is_empty):
        assert said(self.check, with_records(healthy_inventory(), *pair(diff_is_empty=diff_is_empty))) == []

    @pytest.mark.parametrize("half", [PAIR, PAIR_INIT])
    def test_half_a_pair_is_found_by_itself(self, half):
        inventory = without(with_records(healthy_inventory(), *pair()), Node(NodeKind.LAYER_DIR, half))
        assert said(self.check, inventory) == [PAIR if half == PAIR_INIT else PAIR_INIT]

    def test_silent_on_a_pair_of_which_one_half_is_named(self):
        snapshot = BuildSnapshot(PAIR_INIT, SnapshotKind.ACTIVE, PAIR_INIT, "", None)
        assert said(self.check, with_records(healthy_inventory(), *pair(), snapshot)) == []

    @pytest.mark.parametrize("half", [0, 1])
    def test_a_pair_is_as_young_as_its_younger_half(self, half):
        dirs = list(pair())
        dirs[half] = replace(dirs[half], ctime_ns=YOUNG_NS)
        inventory = with_records(healthy_inventory(), *dirs)
        assert [fault.since_ns for fault in faults(self.check, inventory, PAIR)] == [YOUNG_NS]

    def test_a_pair_is_as_held_as_either_half(self):
        inventory = with_records(healthy_inventory(), *pair())
        held = replace(inventory, held_dirs=frozenset({PAIR_INIT}))
        assert [fault.is_held for fault in faults(self.check, held, PAIR)] == [True]

    def test_silent_on_build_dirs(self):
        assert said(self.check, with_records(healthy_inventory(), layer_dir(BUILD, BUILD_LINK))) == []


class TestOrphanedBuildDir:
    check = orphans.orphaned_build_dir

    def test_finds_a_build_dir_that_no_database_mentions(self):
        inventory = with_records(
            healthy_inventory(), layer_dir(BUILD, BUILD_LINK), symlink(BUILD_LINK, BUILD), leaked()
        )
        (fault,) = faults(self.check, inventory, BUILD)
        assert fault.paths == (f"overlay2/{BUILD}", f"overlay2/l/{BUILD_LINK}")
        assert said(self.check, inventory) == [BUILD]

    def test_silent_on_one_that_is_named_anywhere_in_the_databases(self):
        inventory = with_records(healthy_inventory(), layer_dir(BUILD, BUILD_LINK))
        cache = replace(inventory.build_cache, named=frozenset({BUILD}))
        assert said(self.check, replace(inventory, build_cache=cache)) == []


class TestOrphanedRwDir:
    check = orphans.orphaned_rw_dir

    @pytest.mark.parametrize("diff_is_empty", [False, None])
    def test_finds_a_pair_that_may_hold_files(self, diff_is_empty):
        inventory = with_records(healthy_inventory(), *pair(diff_is_empty=diff_is_empty))
        assert said(self.check, inventory) == [PAIR]
        (fault,) = faults(self.check, inventory, PAIR)
        assert fault.paths == (f"overlay2/{PAIR}", f"overlay2/{PAIR_INIT}")
        assert [remedy.applicability for remedy in self.check.remedies] == ["manual"]

    @pytest.mark.parametrize("empty", [{"diff_is_empty": True}, {"diff_is_empty": None, "diff": None}])
    def test_silent_on_a_pair_with_nothing_in_it(self, empty):
        assert said(self.check, with_records(healthy_inventory(), *pair(**empty))) == []

    def test_silent_on_a_dir_that_has_no_init_beside_it(self):
        assert said(self.check, with_records(healthy_inventory(), leaked(diff_is_empty=False))) == []


def pending(**changes):
    """A young build dir that only BuildKit names: a part of it may be missing because it is not finished."""
    made = layer_dir(BUILD, BUILD_LINK, (TOP_LINK, BASE_LINK), **{"ctime_ns": YOUNG_NS, **changes})
    return made, BuildSnapshot(BUILD, SnapshotKind.ACTIVE, BUILD, TOP_CHAIN, None)


DAMAGES = [
    (linkfarm.missing_link_symlink, {}, True),
    (layerdirs.unreadable_link_file, {"link": EMPTY}, False),
    (lowers.missing_lower, {"lower": ABSENT}, False),
    (lowers.malformed_lower, {"lower": EMPTY}, False),
    (layerdirs.missing_work_dir, {"work": None}, False),
    (layerdirs.missing_diff_dir, {"diff": None}, False),
]


@pytest.mark.parametrize(("check", "change", "loses_symlink"), DAMAGES, ids=lambda value: getattr(value, "code", ""))
class TestStatesInPassing:
    """S8: what an engine leaves half-done for minutes is no damage."""

    def damaged(self, dir_id_, link, change, loses_symlink, *records):
        inventory = with_records(healthy_inventory(), *records)
        inventory = with_records(inventory, replace(inventory.layer_dirs[dir_id_], **change))
        return without(inventory, Node(NodeKind.LINK, link)) if loses_symlink else inventory

    def found(self, check, inventory, dir_id_, link):
        return faults(check, inventory, link if check.node is NodeKind.LINK else dir_id_)

    def test_a_container_that_is_there_has_lost_something(self, check, change, loses_symlink):
        inventory = self.damaged(RW_DIR, RW_LINK, change, loses_symlink)
        assert len(self.found(check, inventory, RW_DIR, RW_LINK)) == 1

    @pytest.mark.parametrize("flag", ["dead", "removal_in_progress"])
    def test_a_container_that_is_being_removed_has_not(self, check, change, loses_symlink, flag):
        going = container(config=Present(container_config(**{flag: True})))
        inventory = self.damaged(RW_DIR, RW_LINK, change, loses_symlink, going)
        assert self.found(check, inventory, RW_DIR, RW_LINK) == []

    @pytest.mark.parametrize("ctime_ns", [OLD_NS, YOUNG_NS])
    def test_a_transient_rw_layer_has_not(self, check, change, loses_symlink, ctime_ns):
        """The engine was killed when it had begun to remove it; it is only in the way (GCD310)."""
        records = (
            layer_dir(LEAKED, LEAKED_LINK, (TOP_LINK, BASE_LINK), ctime_ns=ctime_ns),
            symlink(LEAKED_LINK, LEAKED),
            rw_layer(dir_id("transient"), LEAKED, init_id=ABSENT),
        )
        inventory = self.damaged(LEAKED, LEAKED_LINK, change, loses_symlink, *records)
        assert self.found(check, inventory, LEAKED, LEAKED_LINK) == []

    @pytest.mark.parametrize(("ctime_ns", "count"), [(OLD_NS, 1), (YOUNG_NS, 0)])
    def test_what_was_a_containers_once_it_is_old(self, check, change, loses_symlink, ctime_ns, count):
        """Its files may be somebody's (GCD304)."""
        changed = layer_dir(RW_DIR, RW_LINK, (INIT_LINK, TOP_LINK, BASE_LINK), ctime_ns=ctime_ns)
        inventory = self.damaged(RW_DIR, RW_LINK, change, loses_symlink, changed)
        inventory = without(inventory, Node(NodeKind.CONTAINER, CONTAINER))
        assert len(self.found(check, inventory, RW_DIR, RW_LINK)) == count

    @pytest.mark.parametrize(("ctime_ns", "count"), [(OLD_NS, 1), (YOUNG_NS, 0)])
    def test_a_build_dir_once_it_is_old(self, check, change, loses_symlink, ctime_ns, count):
        records = (*pending(ctime_ns=ctime_ns), symlink(BUILD_LINK, BUILD))
        inventory = self.damaged(BUILD, BUILD_LINK, change, loses_symlink, *records)
        assert len(self.found(check, inventory, BUILD, BUILD_LINK)) == count

    def test_a_young_layer_of_an_image_has_lost_something(self, check, change, loses_symlink):
        records = (layer_dir(TOP_DIR, TOP_LINK, (BASE_LINK,), ctime_ns=YOUNG_NS),)
        inventory = self.damaged(TOP_DIR, TOP_LINK, change, loses_symlink, *records)
        assert len(self.found(check, inventory, TOP_DIR, TOP_LINK)) == 1

    def test_a_young_dir_of_a_container_has_lost_something(self, check, change, loses_symlink):
        records = (layer_dir(RW_DIR, RW_LINK, (INIT_LINK, TOP_LINK, BASE_LINK), ctime_ns=YOUNG_NS),)
        inventory = self.damaged(RW_DIR, RW_LINK, change, loses_symlink, *records)
        assert len(self.found(check, inventory, RW_DIR, RW_LINK)) == 1

    @pytest.mark.parametrize(
        "owner",
        [
            BuildLease("lease", (LEAKED,), temporary=False),
            WriteSet("write-set-1", Present(LEAKED), OLD_NS),
        ],
        ids=lambda record: type(record).__name__,
    )
    def test_what_was_never_finished_has_not(self, check, change, loses_symlink, owner):
        """The engine died before it made a record of the dir, and will not use it again."""
        records = (layer_dir(LEAKED, LEAKED_LINK, (TOP_LINK, BASE_LINK)), symlink(LEAKED_LINK, LEAKED), owner)
        inventory = self.damaged(LEAKED, LEAKED_LINK, change, loses_symlink, *records)
        assert self.found(check, inventory, LEAKED, LEAKED_LINK) == []

    def test_a_layer_that_is_being_deleted_has_not(self, check, change, loses_symlink):
        records = (
            layer_dir(LEAKED, LEAKED_LINK, (TOP_LINK, BASE_LINK)),
            symlink(LEAKED_LINK, LEAKED),
            RemovingRecord("x-removing", TOP_CHAIN, Present(LEAKED), ABSENT, OLD_NS),
        )
        inventory = self.damaged(LEAKED, LEAKED_LINK, change, loses_symlink, *records)
        assert self.found(check, inventory, LEAKED, LEAKED_LINK) == []

    def test_an_orphan_has_not(self, check, change, loses_symlink):
        records = (layer_dir(LEAKED, LEAKED_LINK, (TOP_LINK, BASE_LINK)), symlink(LEAKED_LINK, LEAKED))
        inventory = self.damaged(LEAKED, LEAKED_LINK, change, loses_symlink, *records)
        assert self.found(check, inventory, LEAKED, LEAKED_LINK) == []

    def test_a_newborn_dir_has_not(self, check, change, loses_symlink):
        inventory = self.damaged(TOP_DIR, TOP_LINK, change, loses_symlink)
        inventory = replace(inventory, candidates=inventory.candidates - {TOP_DIR})
        assert self.found(check, inventory, TOP_DIR, TOP_LINK) == []


@pytest.mark.parametrize(
    "check", [layerdirs.unreadable_link_file, layerdirs.missing_diff_dir], ids=lambda rule: rule.code
)
def test_a_dir_that_only_a_live_lower_names_is_whole(check):
    damaged = layer_dir(LEAKED, EMPTY, diff=None)
    child = layer_dir(TOP_DIR, TOP_LINK, (LEAKED_LINK,))
    inventory = with_records(healthy_inventory(), damaged, symlink(LEAKED_LINK, LEAKED), child)
    assert len(faults(check, inventory, LEAKED)) == 1


class TestMissingLinkSymlink:
    check = linkfarm.missing_link_symlink

    def test_is_about_the_dir_and_says_what_to_make(self):
        (fault,) = faults(self.check, without(healthy_inventory(), Node(NodeKind.LINK, TOP_LINK)), TOP_LINK)
        assert fault.subject == TOP_NODE
        assert [remedy.action for remedy in fault.remedies] == [f"ln -s ../{TOP_DIR}/diff overlay2/l/{TOP_LINK}"]

    def test_a_cited_link_that_nothing_has_is_about_the_link(self):
        lost = link_id("lost")
        inventory = with_records(healthy_inventory(), layer_dir(TOP_DIR, TOP_LINK, (lost, BASE_LINK)))
        (fault,) = faults(self.check, inventory, lost)
        assert (fault.subject, fault.remedies) == (Node(NodeKind.LINK, lost), ())
        assert fault.evidence[0].where == f"overlay2/{TOP_DIR}/lower"

    def test_silent_where_only_an_orphan_cites_it(self):
        """A pair that a killed engine left behind, say, whose image was removed since."""
        inventory = with_records(healthy_inventory(), layer_dir(LEAKED, LEAKED_LINK, (link_id("lost"),)))
        assert faults(self.check, inventory, link_id("lost")) == []

    def test_found_where_records_do_not_say_what_was_there(self):
        lost = link_id("lost")
        inventory = with_records(healthy_inventory(), layer_dir(TOP_DIR, TOP_LINK, (BASE_LINK, lost)))
        assert [fault.subject.id for fault in faults(self.check, inventory, lost)] == [lost]

    @pytest.mark.parametrize("link", [EMPTY, ABSENT])
    def test_silent_where_the_dir_at_its_place_lost_its_link_file(self, link):
        """GCD106 speaks for it."""
        inventory = without(with_dir(BASE_DIR, link=link), Node(NodeKind.LINK, BASE_LINK))
        assert faults(self.check, inventory, BASE_LINK) == []

    def test_silent_where_the_dir_at_its_place_is_gone(self):
        """GCD201 speaks for it."""
        inventory = without(healthy_inventory(), Node(NodeKind.LINK, BASE_LINK), Node(NodeKind.LAYER_DIR, BASE_DIR))
        assert faults(self.check, inventory, BASE_LINK) == []

    def test_silent_where_the_farm_is_no_directory(self):
        """GCD112 speaks for all of them."""
        inventory = healthy_inventory(link_farm=LinkFarm(FileType.FILE, {}))
        assert faults(self.check, inventory, TOP_LINK) == []

    def test_found_where_the_farm_is_missing(self):
        inventory = healthy_inventory(link_farm=LinkFarm(None, {}))
        assert [fault.subject for fault in faults(self.check, inventory, TOP_LINK)] == [TOP_NODE]


class TestDanglingLinkSymlink:
    check = linkfarm.dangling_link_symlink

    @pytest.mark.parametrize("target", [LEAKED, Malformed("../<layer dir>/diff", "'/etc'")])
    def test_finds_a_symlink_to_no_dir_that_nothing_cites(self, target):
        inventory = with_records(healthy_inventory(), symlink(LEAKED_LINK, target, ctime_ns=5))
        (fault,) = faults(self.check, inventory, LEAKED_LINK)
        assert (fault.subject, fault.since_ns) == (Node(NodeKind.LINK, LEAKED_LINK), 5)
        assert fault.paths == (f"overlay2/l/{LEAKED_LINK}",)
        assert fault.causes == ()

    def test_its_cause_is_the_record_whose_dir_is_gone(self):
        inventory = without(healthy_inventory(), Node(NodeKind.LAYER_DIR, RW_DIR))
        (fault,) = faults(self.check, inventory, RW_LINK)
        assert fault.causes == (Node(NodeKind.RW_LAYER, RW_LAYER),)

    def test_silent_on_a_symlink_that_a_lower_cites(self):
        inventory = without(healthy_inventory(), Node(NodeKind.LAYER_DIR, BASE_DIR))
        assert faults(self.check, inventory, BASE_LINK) == []

    def test_silent_on_a_symlink_whose_name_a_link_file_says(self):
        inventory = with_records(healthy_inventory(), leaked(), symlink(LEAKED_LINK, dir_id("gone")))
        assert faults(self.check, inventory, LEAKED_LINK) == []

    def test_silent_on_a_second_symlink_to_a_dir_that_exists(self):
        assert faults(self.check, with_records(healthy_inventory(), symlink(LEAKED_LINK, TOP_DIR)), LEAKED_LINK) == []


class TestWrongLinkTarget:
    check = linkfarm.wrong_link_target

    @pytest.mark.parametrize("target", [BASE_DIR, LEAKED, Malformed("../<layer dir>/diff", "'/etc'")])
    def test_finds_a_symlink_that_leads_elsewhere(self, target):
        (fault,) = faults(self.check, with_records(healthy_inventory(), symlink(TOP_LINK, target)), TOP_LINK)
        assert fault.subject == Node(NodeKind.LINK, TOP_LINK)
        assert [remedy.action for remedy in fault.remedies] == [f"ln -sfT ../{TOP_DIR}/diff overlay2/l/{TOP_LINK}"]

    def test_two_dirs_that_say_the_same_link_leave_nothing_to_do(self):
        inventory = with_records(with_dir(BASE_DIR, link=Present(TOP_LINK)), symlink(TOP_LINK, LEAKED))
        assert [fault.remedies for fault in faults(self.check, inventory, TOP_LINK)] == [()]

    def test_silent_if_it_leads_to_one_of_two_that_say_so(self):
        assert faults(self.check, with_dir(BASE_DIR, link=Present(TOP_LINK)), TOP_LINK) == []

    def test_silent_if_only_an_orphan_says_so(self):
        inventory = with_records(healthy_inventory(), leaked(), symlink(LEAKED_LINK, TOP_DIR))
        assert faults(self.check, inventory, LEAKED_LINK) == []


class TestDamagedLinkFarm:
    check = linkfarm.damaged_link_farm

    @pytest.mark.parametrize("found", [FileType.FILE, FileType.SYMLINK, FileType.OTHER])
    def test_finds_what_is_no_directory(self, found):
        (fault,) = faults(self.check, healthy_inventory(link_farm=LinkFarm(found, {})), "overlay2/l")
        assert (fault.evidence[0].found, fault.remedies) == (found, None)

    def test_leaves_nothing_to_do_if_a_dir_in_use_has_no_link(self):
        inventory = replace(with_dir(BASE_DIR, link=EMPTY), link_farm=LinkFarm(FileType.FILE, {}))
        assert [fault.remedies for fault in faults(self.check, inventory, "overlay2/l")] == [()]

    def test_an_orphan_without_link_does_not_matter(self):
        inventory = with_records(healthy_inventory(), leaked(link=EMPTY))
        inventory = replace(inventory, link_farm=LinkFarm(FileType.FILE, {}))
        assert [fault.remedies for fault in faults(self.check, inventory, "overlay2/l")] == [None]

    def test_silent_on_a_farm_that_is_missing(self):
        assert faults(self.check, healthy_inventory(link_farm=LinkFarm(None, {})), "overlay2/l") == []


class TestMissingLower:
    check = lowers.missing_lower

    @pytest.mark.parametrize(
        ("dir_id_", "below"),
        [(TOP_DIR, BASE_DIR), (INIT_DIR, TOP_DIR), (RW_DIR, INIT_DIR)],
        ids=["layer", "init", "rw"],
    )
    def test_says_what_lies_below(self, dir_id_, below):
        (fault,) = faults(self.check, with_dir(dir_id_, lower=ABSENT), dir_id_)
        assert fault.evidence[0].expected == f"l/<link of {below}> and its lower"
        assert fault.remedies is None

    def test_where_records_do_not_tell_the_work_dir_does(self):
        inventory = without(with_dir(TOP_DIR, lower=ABSENT), Node(NodeKind.LAYER, BASE_CHAIN))
        (fault,) = faults(self.check, inventory, TOP_DIR)
        assert (fault.evidence[0].expected, fault.remedies) == ("its lowers", ())
        assert (
            faults(self.check, with_records(inventory, replace(inventory.layer_dirs[TOP_DIR], work=None)), TOP_DIR)
            == []
        )

    @pytest.mark.parametrize("work", [None, FileType.DIRECTORY])
    def test_silent_on_a_base_layer(self, work):
        assert faults(self.check, with_dir(BASE_DIR, work=work), BASE_DIR) == []

    @pytest.mark.parametrize("lower", [EMPTY, Unreadable("EIO")])
    def test_silent_on_one_that_is_there(self, lower):
        assert faults(self.check, with_dir(TOP_DIR, lower=lower), TOP_DIR) == []


class TestMalformedLower:
    check = lowers.malformed_lower

    @pytest.mark.parametrize(
        ("lower", "found"),
        [
            (EMPTY, "empty"),
            (Unreadable("EIO"), "unreadable (EIO)"),
            (Present(Lower((BASE_LINK,), (BadElement(0, "l"),))), "element 0 is 'l'"),
        ],
    )
    def test_finds_what_cannot_be_used(self, lower, found):
        (fault,) = faults(self.check, with_dir(TOP_DIR, lower=lower), TOP_DIR)
        assert (fault.subject, fault.evidence[0].found) == (TOP_NODE, found)

    def test_silent_on_a_missing_one(self):
        assert faults(self.check, with_dir(TOP_DIR, lower=ABSENT), TOP_DIR) == []


class TestForeignLower:
    check = lowers.foreign_lower

    def other_layer(self):
        """A layer of another image, with a diff id of its own."""
        return (layer_dir(LEAKED, LEAKED_LINK), symlink(LEAKED_LINK, LEAKED), layer(TOP_DIFF, LEAKED))

    def test_finds_a_layer_that_the_chain_does_not_have(self):
        changed = layer_dir(TOP_DIR, TOP_LINK, (LEAKED_LINK,))
        (fault,) = faults(self.check, with_records(healthy_inventory(), *self.other_layer(), changed), TOP_DIR)
        assert fault.subject == TOP_NODE
        assert fault.evidence[0].expected.startswith("element 0 to have diff id sha256:")
        assert fault.evidence[0].found == f"{LEAKED_LINK} with {TOP_DIFF}"

    @pytest.mark.parametrize(
        ("links", "expected", "found"),
        [((BASE_LINK, link_id("x")), "1 layers below", "2"), ((INIT_LINK, TOP_LINK), "2 layers below", "1")],
        ids=["too many", "too few"],
    )
    def test_finds_too_many_and_too_few(self, links, expected, found):
        changed = layer_dir(TOP_DIR, TOP_LINK, links) if found == "2" else layer_dir(RW_DIR, RW_LINK, links)
        (fault,) = faults(self.check, with_records(healthy_inventory(), changed), changed.id)
        assert (fault.evidence[0].expected, fault.evidence[0].found) == (expected, found)

    def test_finds_a_container_that_skips_its_init_layer(self):
        changed = layer_dir(RW_DIR, RW_LINK, (TOP_LINK, BASE_LINK))
        (fault,) = faults(self.check, with_records(healthy_inventory(), changed), RW_DIR)
        assert (fault.subject, fault.evidence[0].expected) == (RW_NODE, f"element 0 to be the link of {INIT_DIR}")

    def test_finds_it_though_the_record_lost_its_init_id(self):
        changed = layer_dir(RW_DIR, RW_LINK, (TOP_LINK, BASE_LINK))
        inventory = with_records(healthy_inventory(), changed, rw_layer(init_id=EMPTY))
        assert len(faults(self.check, inventory, RW_DIR)) == 1

    @pytest.mark.parametrize("init", [Present(INIT_DIR), EMPTY])
    def test_silent_if_its_init_dir_is_gone(self, init):
        """GCD306 speaks for it; where no record tells of an init layer none is missed."""
        inventory = with_records(healthy_inventory(), rw_layer(init_id=init))
        links = (INIT_LINK, TOP_LINK, BASE_LINK) if isinstance(init, Present) else (TOP_LINK, BASE_LINK)
        inventory = with_records(inventory, layer_dir(RW_DIR, RW_LINK, links))
        assert faults(self.check, without(inventory, Node(NodeKind.LAYER_DIR, INIT_DIR)), RW_DIR) == []

    def test_silent_on_an_init_layer_above_a_duplicate_dir(self):
        twin = (layer_dir(BUILD, BUILD_LINK, (BASE_LINK,)), symlink(BUILD_LINK, BUILD))
        changed = layer_dir(INIT_DIR, INIT_LINK, (BUILD_LINK, BASE_LINK))
        assert faults(self.check, with_records(healthy_inventory(), *twin, changed), INIT_DIR) == []

    def test_silent_on_a_duplicate_dir_of_the_same_content(self):
        """Docker-storage 5.2: no record names it, or one with the same diff id."""
        changed = layer_dir(TOP_DIR, TOP_LINK, (BUILD_LINK,))
        inventory = with_records(healthy_inventory(), changed, layer_dir(BUILD, BUILD_LINK), symlink(BUILD_LINK, BUILD))
        assert faults(self.check, inventory, TOP_DIR) == []

    @pytest.mark.parametrize(
        "lower", [ABSENT, EMPTY, Present(Lower((LEAKED_LINK,), (BadElement(0, "l"),)))], ids=["absent", "empty", "bad"]
    )
    def test_silent_on_what_other_codes_are_about(self, lower):
        changed = layer_dir(TOP_DIR, TOP_LINK, lower)
        assert faults(self.check, with_records(healthy_inventory(), *self.other_layer(), changed), TOP_DIR) == []

    def test_silent_where_records_do_not_tell(self):
        changed = layer_dir(TOP_DIR, TOP_LINK, (LEAKED_LINK,))
        inventory = with_records(
            healthy_inventory(), *self.other_layer(), changed, layer(TOP_DIFF, TOP_DIR, BASE_CHAIN)
        )
        inventory = without(
            inventory, Node(NodeKind.LAYER, BASE_CHAIN), Node(NodeKind.IMAGE, next(iter(inventory.images)))
        )
        assert faults(self.check, inventory, TOP_DIR) == []

    def test_silent_on_an_orphan_and_on_a_container_that_is_being_removed(self):
        changed = layer_dir(RW_DIR, RW_LINK, (TOP_LINK, BASE_LINK))
        going = container(config=Present(container_config(dead=True)))
        assert faults(self.check, with_records(healthy_inventory(), changed, going), RW_DIR) == []


class TestUnreadableLinkFile:
    check = layerdirs.unreadable_link_file

    @pytest.mark.parametrize("link", READABLE_DAMAGE)
    def test_the_symlink_tells_what_it_said(self, link):
        (fault,) = faults(self.check, with_dir(TOP_DIR, link=link), TOP_DIR)
        assert fault.subject == TOP_NODE
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {TOP_LINK} > overlay2/{TOP_DIR}/link"]

    def test_without_symlink_the_lowers_above_tell(self):
        inventory = without(with_dir(BASE_DIR, link=EMPTY), Node(NodeKind.LINK, BASE_LINK))
        (fault,) = faults(self.check, inventory, BASE_DIR)
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {BASE_LINK} > overlay2/{BASE_DIR}/link"]

    def test_what_is_lost_elsewhere_is_not_taken_for_its_own(self):
        inventory = without(with_dir(BASE_DIR, link=EMPTY), Node(NodeKind.LINK, BASE_LINK))
        elsewhere = layer_dir(INIT_DIR, INIT_LINK, (link_id("lost"), BASE_LINK))
        (fault,) = faults(self.check, with_records(inventory, elsewhere), BASE_DIR)
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {BASE_LINK} > overlay2/{BASE_DIR}/link"]

    def test_of_two_symlinks_the_one_that_is_cited(self):
        inventory = with_records(with_dir(TOP_DIR, link=EMPTY), symlink(link_id("stray"), TOP_DIR))
        (fault,) = faults(self.check, inventory, TOP_DIR)
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {TOP_LINK} > overlay2/{TOP_DIR}/link"]

    def test_nothing_to_do_where_two_could_be_meant_or_none(self):
        two = with_records(with_dir(RW_DIR, link=EMPTY), symlink(link_id("stray"), RW_DIR))
        none = without(with_dir(RW_DIR, link=EMPTY), Node(NodeKind.LINK, RW_LINK))
        assert [f.remedies for inventory in (two, none) for f in faults(self.check, inventory, RW_DIR)] == [(), ()]


class TestMissingWorkDir:
    check = layerdirs.missing_work_dir

    @pytest.mark.parametrize(("dir_id_", "severity"), [(RW_DIR, None), (INIT_DIR, None), (TOP_DIR, Severity.WARNING)])
    @pytest.mark.parametrize("work", [None, FileType.FILE])
    def test_worse_for_a_container_than_for_a_layer(self, dir_id_, severity, work):
        (fault,) = faults(self.check, with_dir(dir_id_, work=work), dir_id_)
        assert (fault.severity, fault.evidence[0].found) == (severity, work or "absent")
        command = "mkdir -m 700 work && chown --reference=diff work"
        assert [remedy.action for remedy in fault.remedies] == [f"(cd overlay2/{dir_id_} && {command})"]

    @pytest.mark.parametrize("lower", [ABSENT, EMPTY])
    def test_silent_without_a_lower(self, lower):
        assert faults(self.check, with_dir(TOP_DIR, work=None, lower=lower), TOP_DIR) == []


class TestMissingDiffDir:
    check = layerdirs.missing_diff_dir

    @pytest.mark.parametrize("diff", [None, FileType.SYMLINK])
    def test_finds_a_dir_without_its_files(self, diff):
        (fault,) = faults(self.check, with_dir(TOP_DIR, diff=diff), TOP_DIR)
        assert (fault.subject, fault.evidence[0].found) == (TOP_NODE, diff or "absent")

    def test_finds_a_whole_dir_that_only_a_lower_names(self):
        gone = (symlink(link_id("uncited"), LEAKED), symlink(LEAKED_LINK, LEAKED))
        inventory = with_records(healthy_inventory(), *gone, layer_dir(TOP_DIR, TOP_LINK, (LEAKED_LINK,)))
        assert graph_of(inventory).lost_dirs == {LEAKED}
        (fault,) = faults(self.check, inventory, LEAKED)
        assert fault.evidence[0].expected == f"a directory, for overlay2/{TOP_DIR}/lower names it"

    def test_silent_on_one_that_only_an_orphan_names(self):
        citer = layer_dir(PAIR, link_id("citer"), (LEAKED_LINK,))
        inventory = with_records(healthy_inventory(), symlink(LEAKED_LINK, LEAKED), citer)
        assert faults(self.check, inventory, LEAKED) == []

    def test_silent_on_a_dir_that_a_record_names_or_nothing_cites(self):
        recorded = without(healthy_inventory(), Node(NodeKind.LAYER_DIR, BASE_DIR))
        assert faults(self.check, recorded, BASE_DIR) == []
        assert faults(self.check, with_records(healthy_inventory(), symlink(LEAKED_LINK, LEAKED)), LEAKED) == []


class TestProbeLeftover:
    check = layerdirs.probe_leftover

    @pytest.mark.parametrize("name", [f"{probe}123" for probe in layout.PROBES])
    def test_finds_every_probe(self, name):
        inventory = with_records(healthy_inventory(), layer_dir(LayerDirId(name), ABSENT, ctime_ns=9))
        (fault,) = faults(self.check, inventory, name)
        assert (fault.since_ns, fault.paths) == (9, (f"overlay2/{name}",))

    @pytest.mark.parametrize("name", ["lost+found", "my-check-overlayfs-support"])
    def test_silent_on_other_names(self, name):
        assert faults(self.check, with_records(healthy_inventory(), layer_dir(LayerDirId(name), ABSENT)), name) == []


class TestLeakedMount:
    check = layerdirs.leaked_mount

    def found(self, *records, dir_id_=RW_DIR, mounts=None):
        inventory = replace(with_records(healthy_inventory(), *records), mounts=mounts or (mount(dir_id_),))
        return faults(self.check, inventory, dir_id_)

    def test_finds_the_mount_of_a_stopped_container_and_who_holds_it(self):
        (fault,) = self.found()
        assert (fault.subject, fault.since_ns) == (RW_NODE, OLD_NS)
        assert fault.evidence[0].found == "overlay held by pid 7, 8 (sleep)"

    def test_finds_the_mount_of_a_dir_that_is_gone(self):
        (fault,) = self.found(dir_id_=LEAKED)
        assert (fault.subject.id, fault.since_ns) == (LEAKED, None)

    def test_silent_on_a_running_container(self):
        assert self.found(container(config=Present(container_config(running=True)))) == []

    @pytest.mark.parametrize(
        "damaged", [rw_layer(name="other"), container(config=EMPTY)], ids=["unknown", "unreadable"]
    )
    def test_silent_where_it_is_not_known_whether_it_runs(self, damaged):
        inventory = with_records(healthy_inventory(), damaged)
        if damaged.__class__.__name__ == "RwLayerRecord":
            inventory = without(inventory, Node(NodeKind.RW_LAYER, RW_LAYER))
        assert faults(self.check, replace(inventory, mounts=(mount(),)), RW_DIR) == []

    def test_silent_on_a_build_at_work(self):
        assert self.found(*pending(), dir_id_=BUILD) == []

    def test_silent_on_a_mount_elsewhere_that_only_uses_the_dir(self):
        assert self.found(mounts=(mount(merged_of=None),)) == []


class TestOccupiedMountpoint:
    check = layerdirs.occupied_mountpoint

    def test_finds_files_in_merged(self):
        changed = with_dir(RW_DIR, merged=FileType.DIRECTORY, merged_is_empty=False)
        assert [fault.subject for fault in faults(self.check, changed, RW_DIR)] == [RW_NODE]

    @pytest.mark.parametrize("empty", [True, None])
    def test_silent_on_an_empty_or_mounted_one(self, empty):
        changed = with_dir(RW_DIR, merged=FileType.DIRECTORY, merged_is_empty=empty)
        assert faults(self.check, changed, RW_DIR) == []

    def test_silent_on_an_orphan(self):
        assert faults(self.check, with_records(healthy_inventory(), leaked(merged_is_empty=False)), LEAKED) == []


def test_a_container_of_another_name_has_its_own_dirs():
    """What `passing` asks about the pair concerns the container of the record that names it, and no other."""
    going = container(dir_id("other"), Present(container_config(dir_id("other"), dead=True)))
    assert len(faults(lowers.malformed_lower, with_records(with_dir(RW_DIR, lower=EMPTY), going), RW_DIR)) == 1
