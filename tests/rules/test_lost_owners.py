"""Lost owners: what may have named an apparent orphan, and the order and reach of `blocked_by` (S2, S3)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    BASE_DIR,
    BASE_LINK,
    BOUND_NS,
    CONTAINER,
    IMAGE,
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
    digest,
    dir_id,
    empty_inventory,
    graph_of,
    healthy_inventory,
    hex64,
    image,
    init_id,
    layer,
    layer_dir,
    link_id,
    rw_layer,
    symlink,
    with_records,
    without,
)
from support.trees import within

from gcd.model.facts import BadElement, BuildSnapshot, Lower, RemovingRecord, Repositories, SnapshotKind
from gcd.model.finding import Kind, Node, NodeKind
from gcd.model.ids import ChainId, ContainerId, DiffId, ImageId, RwLayerName
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import lost
from gcd.rules.table import RULES, find

DAMAGE = [ABSENT, EMPTY, Malformed("something", "else"), Unreadable("EIO")]
LAYER_TOP, LAYER_BASE = Node(NodeKind.LAYER, TOP_CHAIN), Node(NodeKind.LAYER, BASE_CHAIN)
THE_IMAGE, THE_CONTAINER = Node(NodeKind.IMAGE, IMAGE), Node(NodeKind.CONTAINER, CONTAINER)
THE_RW_LAYER = Node(NodeKind.RW_LAYER, RW_LAYER)
OTHER_DIFF = DiffId(digest("other diff"))
GONE = ImageId(digest("gone"))

# Apparent orphans, each of its own form: on no layer, on one, on two, on another one; a pair; a build dir.
DEPTH_0, DEPTH_1, DEPTH_2, FOREIGN = (dir_id(f"orphan {n}") for n in range(4))
PAIR, PAIR_INIT = dir_id("pair"), init_id("pair")
BUILD = build_id("build orphan")
OTHER_LINK, OTHER_DIR = link_id("other"), dir_id("other")


def orphaned(inventory=None):
    """The healthy root (or `inventory`) with the apparent orphans, and a base layer of another image; without tags."""
    return with_records(
        replace(healthy_inventory() if inventory is None else inventory, repositories=Present(Repositories({}))),
        layer_dir(DEPTH_0, link_id("0")),
        layer_dir(DEPTH_1, link_id("1"), (BASE_LINK,)),
        layer_dir(DEPTH_2, link_id("2"), (TOP_LINK, BASE_LINK)),
        layer_dir(FOREIGN, link_id("3"), (OTHER_LINK,)),
        layer_dir(PAIR_INIT, link_id("pi"), (TOP_LINK, BASE_LINK)),
        layer_dir(PAIR, link_id("p"), (link_id("pi"), TOP_LINK, BASE_LINK), diff_is_empty=False),
        layer_dir(BUILD, link_id("b")),
        layer_dir(OTHER_DIR, OTHER_LINK),
        layer(OTHER_DIFF, OTHER_DIR),
        image(OTHER_DIFF, image_id=ImageId(digest("other image"))),
    )


ALL = {DEPTH_0, DEPTH_1, DEPTH_2, FOREIGN, PAIR, BUILD}
NO_PAIR = ALL - {PAIR}


def blocked(inventory, *nodes: Node):
    """By apparent orphan, the nodes that block it; only those that are blocked."""
    nodes = nodes or tuple(Node(NodeKind.LAYER_DIR, d) for d in sorted(ALL))
    found = lost.blockers(inventory, graph_of(inventory), nodes)
    return {node.id: by for node, by in found.items() if by}


def blocked_by(inventory, subject: Node):
    """The apparent orphans that `subject` blocks; nothing else blocks any."""
    found = blocked(inventory)
    assert {by for blockers in found.values() for by in blockers} <= {subject}
    return set(found)


def unowned_layer(inventory):
    """An orphaned layer record, and whether it is blocked by what."""
    made = with_records(inventory, layer(DiffId(digest("unowned")), DEPTH_0))
    node = Node(NodeKind.LAYER, digest("unowned"))
    return blocked(made, node).get(node.id, ())


def test_a_healthy_root_blocks_nothing():
    assert blocked(orphaned()) == {}
    assert unowned_layer(orphaned()) == ()


class TestLayers:
    def with_top(self, **changes):
        return with_records(orphaned(), replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), **changes))

    @pytest.mark.parametrize("damage", DAMAGE)
    @pytest.mark.parametrize("field", ["cache_id", "diff_id"])
    def test_a_damaged_record_may_own_what_stands_on_the_same_layers(self, field, damage):
        inventory = self.with_top(**{field: damage})
        assert blocked_by(inventory, LAYER_TOP) == {DEPTH_1}
        assert unowned_layer(inventory) == ()

    def test_a_damaged_base_layer_may_own_what_stands_on_none(self):
        inventory = with_records(orphaned(), replace(layer(BASE_DIFF, BASE_DIR), cache_id=EMPTY))
        assert blocked_by(inventory, LAYER_BASE) == {DEPTH_0, BUILD}

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_its_parent_is_what_the_image_says(self, damage):
        inventory = self.with_top(cache_id=EMPTY, parent=damage)
        assert blocked_by(inventory, LAYER_TOP) == {DEPTH_1}

    def test_where_its_parent_is_not_known_it_may_own_anything_but_a_pair(self):
        inventory = without(self.with_top(cache_id=EMPTY, parent=EMPTY), THE_IMAGE)
        assert blocked_by(inventory, LAYER_TOP) == NO_PAIR

    @pytest.mark.parametrize("diff_id", [Present(TOP_DIFF), EMPTY])
    def test_a_missing_parent_file_does_not_make_a_base_layer_of_it(self, diff_id):
        inventory = without(self.with_top(cache_id=EMPTY, parent=ABSENT, diff_id=diff_id), THE_IMAGE)
        assert blocked_by(inventory, LAYER_TOP) == NO_PAIR
        assert unowned_layer(inventory) == (LAYER_TOP,)

    @pytest.mark.parametrize("damage", [{"cache_id": EMPTY}, {"cache_id": EMPTY, "diff_id": EMPTY}])
    def test_a_base_layer_is_one_by_its_diff_id_or_by_an_image(self, damage):
        inventory = with_records(orphaned(), replace(layer(BASE_DIFF, BASE_DIR), **damage))
        assert blocked_by(inventory, LAYER_BASE) == {DEPTH_0, BUILD}
        imageless = blocked(without(inventory, THE_IMAGE))
        assert {d for d, by in imageless.items() if LAYER_BASE in by} == (
            NO_PAIR if "diff_id" in damage else {DEPTH_0, BUILD}
        )

    def test_records_that_share_a_dir_have_lost_one(self):
        inventory = self.with_top(cache_id=Present(BASE_DIR))
        assert blocked(inventory) == {DEPTH_0: (LAYER_BASE,), BUILD: (LAYER_BASE,), DEPTH_1: (LAYER_TOP,)}

    @pytest.mark.parametrize("field", ["size", "descriptor", "tar_split"])
    def test_what_names_its_dir_has_lost_none(self, field):
        assert blocked(self.with_top(**{field: EMPTY})) == {}

    def test_a_parent_without_record_had_a_dir_and_parents(self):
        inventory = without(orphaned(), LAYER_BASE, THE_IMAGE)
        assert blocked_by(inventory, LAYER_TOP) == NO_PAIR
        assert unowned_layer(inventory) == (LAYER_TOP,)

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_lost_parent_may_be_any_layer(self, damage):
        inventory = without(self.with_top(parent=damage), THE_IMAGE)
        assert blocked(inventory) == {}
        assert unowned_layer(inventory) == (LAYER_TOP,)

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_lost_parent_that_an_image_tells_is_not_lost(self, damage):
        assert unowned_layer(self.with_top(parent=damage)) == ()

    def test_a_base_layer_has_lost_no_parent(self):
        assert unowned_layer(without(orphaned(), THE_IMAGE)) == ()


class TestRwLayers:
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_lost_mount_id_named_a_pair_or_a_dir_on_the_same_layers(self, damage):
        inventory = with_records(orphaned(), rw_layer(mount_id=damage))
        assert blocked_by(inventory, THE_RW_LAYER) == {DEPTH_2, PAIR}

    def test_where_its_layers_are_not_known_it_may_own_anything(self):
        inventory = with_records(orphaned(), rw_layer(mount_id=EMPTY, parent=EMPTY))
        inventory = with_records(inventory, replace(rw_layer(mount_id=EMPTY), parent=EMPTY))
        assert blocked_by(inventory, THE_RW_LAYER) == ALL

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_with_its_parent_file_gone_too_it_may_own_anything(self, damage):
        """Found by the laws: the engine died between two of its three files, and the power took the first."""
        inventory = with_records(orphaned(), replace(rw_layer(mount_id=damage), init_id=damage, parent=ABSENT))
        assert blocked_by(inventory, THE_RW_LAYER) == ALL

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_a_lost_parent_may_be_any_layer(self, damage):
        inventory = with_records(orphaned(), replace(rw_layer(), parent=damage))
        assert blocked(inventory) == {}
        assert unowned_layer(inventory) == (THE_RW_LAYER,)

    def test_without_init_dir_the_rw_dir_tells_that_there_was_a_parent(self):
        inventory = with_records(orphaned(), replace(rw_layer(), parent=ABSENT))
        inventory = without(inventory, Node(NodeKind.LAYER_DIR, INIT_DIR))
        assert unowned_layer(inventory) == (THE_RW_LAYER,)

    def test_a_container_from_scratch_has_lost_no_parent(self):
        """Nor is one whose dirs are both gone known to have."""
        inventory = with_records(orphaned(), layer_dir(INIT_DIR, INIT_LINK), replace(rw_layer(), parent=ABSENT))
        assert unowned_layer(inventory) == ()
        gone = without(inventory, Node(NodeKind.LAYER_DIR, INIT_DIR), Node(NodeKind.LAYER_DIR, RW_DIR))
        assert unowned_layer(gone) == ()

    @pytest.mark.parametrize(
        ("changes", "blocks"),
        [({}, False), ({"ctime_ns": YOUNG_NS}, True), ({"init_id": EMPTY}, True)],
        ids=["leaked", "at work", "a container's"],
    )
    def test_one_that_a_build_left_behind_has_lost_no_parent(self, changes, blocks):
        transient = replace(rw_layer("transient", DEPTH_2), **{"init_id": ABSENT, "parent": ABSENT, **changes})
        inventory = with_records(orphaned(), transient)
        assert bool(unowned_layer(inventory)) is blocks

    def test_one_of_a_containers_image_mount_has(self):
        name = RwLayerName(f"{CONTAINER}-app")
        mount = replace(rw_layer(name, DEPTH_2), init_id=ABSENT, parent=ABSENT)
        assert unowned_layer(with_records(orphaned(), mount)) == (Node(NodeKind.RW_LAYER, name),)

    def test_without_mount_id_either_it_is_not_known(self):
        inventory = with_records(orphaned(), replace(rw_layer(), parent=ABSENT, mount_id=EMPTY))
        assert unowned_layer(inventory) == (THE_RW_LAYER,)


class TestContainers:
    def without_record(self, inventory=None, **changes):
        made = container(config=Present(container_config(**changes)))
        return without(with_records(orphaned(inventory), made), THE_RW_LAYER)

    def test_a_container_without_record_had_a_dir_on_its_images_layers(self):
        """T41: the dir with the user's data looks like an orphan."""
        inventory = self.without_record()
        nodes = [Node(NodeKind.LAYER_DIR, d) for d in (RW_DIR, DEPTH_1, DEPTH_2, PAIR, FOREIGN)]
        assert blocked(inventory, *nodes) == dict.fromkeys((RW_DIR, DEPTH_2, PAIR), (THE_CONTAINER,))
        assert unowned_layer(inventory) == ()

    def test_its_rw_dir_alone_is_known_by_what_lies_below_its_init_layer(self):
        inventory = without(self.without_record(), Node(NodeKind.LAYER_DIR, INIT_DIR))
        assert blocked(inventory, Node(NodeKind.LAYER_DIR, RW_DIR)) == {RW_DIR: (THE_CONTAINER,)}

    def test_a_whole_pair_is_known_by_all_that_lies_below_its_init_layer(self):
        inventory = with_records(
            self.without_record(), layer_dir(PAIR_INIT, link_id("pi"), (link_id("0"), TOP_LINK, BASE_LINK))
        )
        assert blocked(inventory, Node(NodeKind.LAYER_DIR, PAIR)) == {}

    def test_if_its_image_is_gone_it_may_own_anything(self):
        inventory = self.without_record(image=digest("gone"))
        assert blocked_by(inventory, THE_CONTAINER) == ALL
        assert unowned_layer(inventory) == (THE_CONTAINER,)

    def test_or_if_its_image_cannot_be_read(self):
        inventory = with_records(self.without_record(), replace(image(), config=EMPTY))
        assert all(THE_CONTAINER in blockers for blockers in blocked(inventory).values())
        assert set(blocked(inventory)) == ALL

    @pytest.mark.parametrize("change", [{"dead": True}, {"driver": "vfs"}])
    def test_one_that_is_going_or_is_another_drivers_has_lost_nothing(self, change):
        assert blocked(self.without_record(**change)) == {}

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_one_that_cannot_be_read_may_own_anything(self, damage):
        inventory = with_records(orphaned(), container(config=damage))
        assert blocked_by(inventory, THE_CONTAINER) == ALL
        assert unowned_layer(inventory) == (THE_CONTAINER,)

    def test_one_whose_record_is_there_has_lost_nothing(self):
        other = ContainerId(hex64("other container"))
        assert blocked_by(with_records(orphaned(), container(other)), Node(NodeKind.CONTAINER, other)) == {
            DEPTH_2,
            PAIR,
        }
        assert blocked(with_records(orphaned(), container(other), rw_layer(other, PAIR))) == {}


class TestImages:
    @pytest.mark.parametrize("damage", DAMAGE)
    def test_one_that_cannot_be_read_may_own_anything(self, damage):
        inventory = with_records(orphaned(), replace(image(), config=damage))
        assert blocked_by(inventory, THE_IMAGE) == ALL
        assert unowned_layer(inventory) == (THE_IMAGE,)

    @pytest.mark.parametrize("actual", [None, ImageId(digest("not what it says"))])
    def test_one_that_is_not_what_it_says_may_own_anything(self, actual):
        inventory = with_records(orphaned(), image(BASE_DIFF, TOP_DIFF, digest=actual))
        assert blocked_by(inventory, THE_IMAGE) == ALL
        assert unowned_layer(inventory) == (THE_IMAGE,)

    def test_a_lost_record_of_its_top_had_a_dir_on_the_others(self):
        """T40."""
        inventory = without(orphaned(), LAYER_TOP)
        assert blocked(inventory, *(Node(NodeKind.LAYER_DIR, d) for d in (TOP_DIR, DEPTH_0, DEPTH_1, PAIR))) == {
            TOP_DIR: (THE_IMAGE,), DEPTH_1: (THE_IMAGE,)
        }  # fmt: skip
        assert unowned_layer(inventory) == ()

    def test_a_lost_record_of_its_base_had_a_dir_on_none(self):
        inventory = without(orphaned(), LAYER_BASE)
        assert {d for d, by in blocked(inventory).items() if THE_IMAGE in by} == {DEPTH_0, BUILD}


class TestReferences:
    def test_a_tag_of_an_image_that_is_gone_tells_of_lost_layers(self):
        """The image may come back by a pull, or from a backup of its config."""
        inventory = replace(orphaned(), repositories=Present(Repositories({"app:latest": IMAGE, "old:1": GONE})))
        assert blocked(inventory) == {}
        assert unowned_layer(inventory) == (Node(NodeKind.REFERENCE, "old:1"),)

    def test_without_tag_nothing_tells_of_it(self):
        inventory = without(orphaned(), THE_IMAGE)
        assert unowned_layer(inventory) == ()


class TestLowers:
    """A dir in use whose ``lower`` cannot be followed may stand on anything."""

    @pytest.mark.parametrize(
        "lower", [ABSENT, EMPTY, Unreadable("EIO"), Present(Lower((BASE_LINK,), (BadElement(0, "l"),)))]
    )
    def test_of_a_layer(self, lower):
        inventory = with_records(orphaned(), layer_dir(TOP_DIR, TOP_LINK, lower))
        inventory = with_records(inventory, replace(inventory.layer_dirs[TOP_DIR], work=None))
        assert blocked_by(inventory, Node(NodeKind.LAYER_DIR, TOP_DIR)) == ALL
        assert unowned_layer(inventory) == ()

    def test_of_a_dir_that_cannot_be_opened(self):
        changed = layer_dir(TOP_DIR, TOP_LINK, (BASE_LINK,), unreadable="EIO")
        assert blocked_by(with_records(orphaned(), changed), Node(NodeKind.LAYER_DIR, TOP_DIR)) == ALL

    def test_of_what_is_only_suspected(self):
        young = layer_dir(dir_id("young"), link_id("young"), EMPTY, ctime_ns=YOUNG_NS)
        assert blocked_by(with_records(orphaned(), young), Node(NodeKind.LAYER_DIR, young.id)) == ALL

    @pytest.mark.parametrize("lower", [ABSENT, EMPTY])
    def test_not_of_a_young_probe_of_the_engines_start(self, lower):
        probe = layer_dir("check-overlayfs-support123", ABSENT, lower, ctime_ns=YOUNG_NS)
        probe = replace(probe, work=healthy_inventory().layer_dirs[TOP_DIR].work)
        assert blocked(with_records(orphaned(), probe)) == {}

    def test_of_what_a_process_has_open(self):
        held = layer_dir(dir_id("held"), link_id("held"), EMPTY)
        inventory = replace(with_records(orphaned(), held), held_dirs=frozenset({held.id}))
        assert blocked_by(inventory, Node(NodeKind.LAYER_DIR, held.id)) == ALL

    def test_not_of_an_orphan(self):
        old = layer_dir(dir_id("old"), link_id("old"), EMPTY, ctime_ns=BOUND_NS - 1)
        assert blocked(with_records(orphaned(), old)) == {}

    @pytest.mark.parametrize(("ctime_ns", "count"), [(OLD_NS, 0), (YOUNG_NS, len(ALL))])
    def test_of_what_is_being_removed_while_that_goes_on(self, ctime_ns, count):
        going = RemovingRecord("x-removing", ChainId(digest("gone")), Present(dir_id("going")), ABSENT, ctime_ns)
        half = layer_dir(dir_id("going"), link_id("going"), EMPTY, ctime_ns=ctime_ns)
        assert len(blocked(with_records(orphaned(), half, going))) == count

    def test_a_missing_one_where_neither_records_nor_work_tell(self):
        """Nothing says that the dir stands on others; with a work dir it does."""
        snapshot = BuildSnapshot("a" * 25, SnapshotKind.ACTIVE, build_id("lone"), "b" * 25, None)
        lone = layer_dir(build_id("lone"), link_id("lone"))
        snapshot = replace(snapshot, name=lone.id)
        assert blocked(with_records(orphaned(), lone, snapshot)) == {}
        worked = replace(lone, work=with_records(orphaned()).layer_dirs[TOP_DIR].work)
        assert len(blocked(with_records(orphaned(), worked, snapshot))) == len(ALL)

    def test_a_base_layer_misses_none_though_it_has_a_work_dir(self):
        base = layer_dir(BASE_DIR, BASE_LINK, work=healthy_inventory().layer_dirs[TOP_DIR].work)
        assert blocked(with_records(orphaned(), base)) == {}

    def test_a_link_that_nothing_has_may_be_that_of_a_dir_without_any(self):
        """T50: a dir kept only by a lower, its link and symlink lost."""
        lost_link = link_id("lost")
        citer = layer_dir(TOP_DIR, TOP_LINK, (lost_link,))
        nameless = layer_dir(DEPTH_0, EMPTY)
        inventory = with_records(orphaned(), citer, nameless)
        assert blocked_by(inventory, Node(NodeKind.LAYER_DIR, TOP_DIR)) == {DEPTH_0}
        named = with_records(inventory, symlink(link_id("another"), DEPTH_0))
        assert blocked(named) == {}


class TestBuilds:
    @pytest.mark.parametrize("reading", [ABSENT, EMPTY])
    def test_without_snapshots_every_build_dir_may_be_owned(self, reading):
        inventory = orphaned()
        cache = replace(inventory.build_cache, databases={**inventory.build_cache.databases, "snapshots.db": reading})
        assert blocked_by(replace(inventory, build_cache=cache), Node(NodeKind.DATABASE, "buildkit/snapshots.db")) == {
            BUILD
        }

    def test_where_buildkit_never_was_as_well(self):
        inventory = orphaned()
        cache = replace(inventory.build_cache, databases={})
        assert set(blocked(replace(inventory, build_cache=cache))) == {BUILD}

    def test_without_the_other_databases_none_is(self):
        inventory = orphaned()
        databases = {"snapshots.db": Present(1), "metadata_v2.db": ABSENT, "containerdmeta.db": ABSENT}
        assert blocked(replace(inventory, build_cache=replace(inventory.build_cache, databases=databases))) == {}


class TestWhatFits:
    """Whether a lost layer on `BASE_DIFF` could be the dir."""

    def fits(self, changed, *more):
        top = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY)
        return DEPTH_1 in blocked(with_records(orphaned(), top, changed, *more))

    def test_a_lower_that_leads_to_that_diff_id(self):
        assert self.fits(layer_dir(DEPTH_1, link_id("1"), (BASE_LINK,)))

    def test_one_that_leads_to_a_dir_of_unknown_content(self):
        assert self.fits(layer_dir(DEPTH_1, link_id("1"), (link_id("0"),)))

    def test_one_that_leads_nowhere(self):
        assert self.fits(layer_dir(DEPTH_1, link_id("1"), (link_id("nowhere"),)))

    def test_one_that_leads_to_a_duplicate_and_to_the_layer(self):
        twin = (layer_dir(dir_id("twin"), BASE_LINK), layer(OTHER_DIFF, dir_id("twin"), TOP_CHAIN))
        assert self.fits(layer_dir(DEPTH_1, link_id("1"), (BASE_LINK,)), *twin)

    def test_one_that_leads_to_a_layer_whose_own_diff_id_was_forged(self):
        forged = replace(layer(BASE_DIFF, BASE_DIR), diff_id=Present(OTHER_DIFF))
        assert self.fits(layer_dir(DEPTH_1, link_id("1"), (BASE_LINK,)), forged)

    @pytest.mark.parametrize("links", [(OTHER_LINK,), (BASE_LINK, BASE_LINK)], ids=["other content", "too deep"])
    def test_not_one_that_spells_another_chain(self, links):
        assert not self.fits(layer_dir(DEPTH_1, link_id("1"), links))

    @pytest.mark.parametrize("lower", [EMPTY, Unreadable("EIO"), Present(Lower((), (BadElement(0, "l"),)))])
    def test_one_that_cannot_be_followed(self, lower):
        assert self.fits(layer_dir(DEPTH_1, link_id("1"), lower))

    def test_a_missing_one_only_beside_a_work_dir(self):
        """``work`` is made for dirs that stand on others."""
        bare = layer_dir(DEPTH_1, link_id("1"))
        assert not self.fits(bare)
        assert self.fits(replace(bare, work=healthy_inventory().layer_dirs[TOP_DIR].work))

    def test_never_half_a_pair(self):
        top = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY)
        init = layer_dir(PAIR_INIT, link_id("pi"), (BASE_LINK,))
        inventory = without(with_records(orphaned(), top, init), Node(NodeKind.LAYER_DIR, PAIR))
        assert blocked(inventory, Node(NodeKind.LAYER_DIR, PAIR_INIT)) == {}

    def test_no_layer_has_an_init_below(self):
        top = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY)
        rw = layer_dir(DEPTH_1, link_id("1"), (link_id("gone"), BASE_LINK))
        assert DEPTH_1 not in blocked(with_records(orphaned(), top, rw))


class TestReach:
    def test_what_lies_below_a_blocked_dir_is_blocked_with_it(self):
        """S3: a duplicate dir that only the lost layer's ``lower`` names, its length another."""
        duplicate = layer_dir(dir_id("duplicate"), link_id("duplicate"))
        top = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY)
        child = layer_dir(TOP_DIR, TOP_LINK, (link_id("duplicate"),))
        inventory = with_records(orphaned(), duplicate, top, child)
        nodes = [Node(NodeKind.LAYER_DIR, d) for d in (duplicate.id, TOP_DIR)]
        assert blocked(inventory, *nodes) == dict.fromkeys((duplicate.id, TOP_DIR), (LAYER_TOP,))

    def test_so_is_the_record_whose_dir_lies_below(self):
        below = layer(BASE_DIFF, DEPTH_0, ChainId(OTHER_DIFF))
        top = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY)
        dirs = layer_dir(DEPTH_0, link_id("0"), (OTHER_LINK,)), layer_dir(TOP_DIR, TOP_LINK, (link_id("0"),))
        inventory = with_records(orphaned(), below, top, *dirs)
        nodes = Node(NodeKind.LAYER, below.chain_id), Node(NodeKind.LAYER_DIR, TOP_DIR)
        assert blocked(inventory, *nodes) == dict.fromkeys((below.chain_id, TOP_DIR), (LAYER_TOP,))

    def test_blockers_are_told_once_and_in_one_order(self):
        damaged = [replace(layer(d, dir_id("x"), BASE_CHAIN), cache_id=EMPTY) for d in (TOP_DIFF, OTHER_DIFF)]
        found = blocked(with_records(orphaned(), *damaged))
        back = blocked(with_records(orphaned(), *reversed(damaged)))
        assert found == back
        assert found[DEPTH_1] == tuple(sorted({Node(NodeKind.LAYER, record.chain_id) for record in damaged}))


class TestFindings:
    """What the table makes of it."""

    codes = frozenset(rule.code for rule in RULES)

    def found(self, inventory, codes=codes):
        findings, not_checked = find(inventory, graph_of(inventory), codes)
        return {f.id: f for f in findings}, not_checked

    def test_blocked_by_names_the_finding_about_the_owner(self):
        inventory = with_records(orphaned(), replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY))
        findings, _ = self.found(inventory)
        assert findings[f"GCD101:layer-dir:{DEPTH_1}"].blocked_by == (f"GCD206:layer:{TOP_CHAIN}",)
        assert findings[f"GCD101:layer-dir:{DEPTH_2}"].blocked_by == ()

    def test_even_where_that_finding_was_not_asked_for(self):
        inventory = with_records(orphaned(), replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY))
        findings, _ = self.found(inventory, {"GCD101"})
        assert {f.code for f in findings.values()} == {"GCD101"}
        assert findings[f"GCD101:layer-dir:{DEPTH_1}"].blocked_by == (f"GCD206:layer:{TOP_CHAIN}",)

    def test_or_the_owner_itself_where_no_finding_is_about_it(self):
        lost_link = link_id("lost")
        inventory = with_records(orphaned(), layer_dir(TOP_DIR, TOP_LINK, (lost_link,)), layer_dir(DEPTH_0, EMPTY))
        findings, _ = self.found(inventory)
        (blocker,) = findings[f"GCD101:layer-dir:{DEPTH_0}"].blocked_by
        assert blocker.endswith(f"layer-dir:{TOP_DIR}")

    def test_only_orphans_are_blocked_and_only_others_have_an_impact(self):
        inventory = with_records(orphaned(), replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY))
        inventory = replace(inventory, repositories=healthy_inventory().repositories)
        for finding in self.found(inventory)[0].values():
            if finding.kind is Kind.ORPHAN:
                assert (finding.impact.images, finding.impact.containers) == ((), ())
            else:
                assert finding.blocked_by == ()
        assert self.found(inventory)[0][f"GCD206:layer:{TOP_CHAIN}"].impact.images == ("app:latest",)

    @pytest.mark.parametrize("coverage", [Coverage.PARTIAL, Coverage.BUSY, Coverage.UNREADABLE, Coverage.ABSENT])
    @pytest.mark.parametrize("source", [Source.LAYERS, Source.BUILD_LEASES, Source.MOUNTS])
    def test_no_orphan_without_a_source_that_may_name_it(self, source, coverage):
        inventory = orphaned()
        less = replace(inventory, sources={**inventory.sources, source: SourceState(coverage, "why")})
        findings, not_checked = self.found(less)
        is_lack = not (coverage is Coverage.ABSENT and source is Source.BUILD_LEASES)
        assert ("GCD101" in {f.code for f in findings.values()}) is not is_lack
        assert (("GCD101", source, "why") in {(n.code, n.source, n.why) for n in not_checked}) is is_lack

    def test_what_was_not_asked_for_is_not_said_to_be_unchecked(self):
        inventory = orphaned()
        state = {**inventory.sources, Source.LAYERS: SourceState(Coverage.PARTIAL, "why")}
        _, not_checked = self.found(replace(inventory, sources=state), {"GCD101"})
        assert {n.code for n in not_checked} == {"GCD101"}

    def test_a_cause_is_named_where_it_has_a_finding(self):
        inventory = without(healthy_inventory(), Node(NodeKind.LAYER_DIR, RW_DIR))
        findings, _ = self.found(inventory)
        assert findings[f"GCD104:link:{RW_LINK}"].cause == f"GCD306:rw-layer:{RW_LAYER}"


def test_all_layer_records_of_a_big_host_may_be_lost():
    """Each of 2000 dirs could be that of a hundred layers, those that lay as deep; the others need not be asked."""
    images, dirs = [], []
    for n in range(100):
        diffs = (DiffId(digest(f"{n} {depth}")) for depth in range(20))
        images.append(image(*diffs, image_id=ImageId(digest(f"image {n}"))))
        links = [link_id(f"{n} {depth}") for depth in range(20)]
        dirs += (layer_dir(dir_id(link), link, tuple(links[depth + 1 :])) for depth, link in enumerate(links))
    inventory = replace(
        empty_inventory(repositories=Present(Repositories({}))),
        images={i.id: i for i in images},
        layer_dirs={d.id: d for d in dirs},
        candidates=frozenset(d.id for d in dirs),
    )
    with within(12):
        found = lost.blockers(inventory, graph_of(inventory), [Node(NodeKind.LAYER_DIR, d.id) for d in dirs])
    assert {len(by) for by in found.values()} == {100}
