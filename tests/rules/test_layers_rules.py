"""GCD201 to GCD212: layer records, and how they stand to each other."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    BASE_DIR,
    BASE_LINK,
    CONTAINER,
    IMAGE,
    OLD_NS,
    RW_LAYER,
    TOP_CHAIN,
    TOP_DIFF,
    TOP_DIR,
    TOP_LINK,
    YOUNG_NS,
    build_id,
    digest,
    dir_id,
    empty_inventory,
    faults,
    healthy_inventory,
    image,
    layer,
    layer_dir,
    link_id,
    with_records,
    without,
)

from gcd.model.facts import BuildLease, BuildSnapshot, KernelMount, RemovingRecord, SnapshotKind
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ChainId, DiffId, LayerDirId, chain_id, chain_ids
from gcd.model.inventory import Source
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.rules import chains, layers

RECORDS = "image/overlay2/layerdb/sha256"
TOP_RECORD = f"{RECORDS}/{TOP_CHAIN.removeprefix('sha256:')}"
DAMAGE = [EMPTY, Malformed("something", "else"), Unreadable("EIO")]
IMAGE_NODE = Node(NodeKind.IMAGE, IMAGE)
EXTRA_DIFF, EXTRA_DIR = DiffId(digest("extra diff")), dir_id("extra")
EXTRA_CHAIN = chain_id(TOP_CHAIN, EXTRA_DIFF)


def with_layer(**changes):
    """The healthy root with its top layer's record changed."""
    return with_records(healthy_inventory(), replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), **changes))


def unused(*nodes: Node):
    """The healthy root without its image, its container and the container's rw layer record."""
    return without(
        healthy_inventory(), IMAGE_NODE, Node(NodeKind.CONTAINER, CONTAINER), Node(NodeKind.RW_LAYER, RW_LAYER),
        Node(NodeKind.LAYER_DIR, dir_id("rw")), Node(NodeKind.LAYER_DIR, LayerDirId(f"{dir_id('rw')}-init")), *nodes,
    )  # fmt: skip


@pytest.mark.parametrize("check", [*layers.RULES, *chains.RULES], ids=lambda rule: rule.code)
class TestEveryRule:
    def test_silent_on_a_healthy_root(self, check):
        inventory = healthy_inventory()
        assert [fault for chain in inventory.layers for fault in faults(check, inventory, chain)] == []

    def test_silent_on_a_record_that_vanished(self, check):
        assert faults(check, healthy_inventory(), digest("gone")) == []

    def test_needs_the_layer_records(self, check):
        assert Source.LAYERS in check.needs

    def test_silent_on_a_chain_that_no_image_tells_of(self, check):
        if check.code != "GCD211":
            assert [fault for chain in unused().layers for fault in faults(check, unused(), chain)] == []


def test_rules_need_what_they_compare_with():
    needs = {rule.code: rule.needs for rule in (*layers.RULES, *chains.RULES)}
    assert Source.OVERLAY2 in needs["GCD201"]
    assert Source.IMAGES in needs["GCD205"] & needs["GCD210"]


class TestMissingLayerDir:
    check = layers.missing_layer_dir

    def test_finds_a_record_whose_dir_is_gone(self):
        (fault,) = faults(self.check, without(healthy_inventory(), Node(NodeKind.LAYER_DIR, TOP_DIR)), TOP_CHAIN)
        assert fault.subject == Node(NodeKind.LAYER, TOP_CHAIN)
        assert fault.evidence[0].where == f"overlay2/{TOP_DIR}"
        assert (fault.since_ns, fault.severity, fault.remedies) == (None, None, None)

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_silent_where_no_dir_is_named(self, damage):
        assert faults(self.check, with_layer(cache_id=damage), TOP_CHAIN) == []


class TestBlockedChain:
    check = layers.blocked_chain

    @pytest.mark.parametrize("cache_id", [ABSENT, *DAMAGE])
    @pytest.mark.parametrize("tar_split", [ABSENT, EMPTY])
    def test_finds_a_record_with_neither_cache_id_nor_tar_split(self, cache_id, tar_split):
        inventory = with_layer(cache_id=cache_id, tar_split=tar_split, ctime_ns=7)
        (fault,) = faults(self.check, inventory, TOP_CHAIN)
        assert (fault.since_ns, fault.paths) == (7, (TOP_RECORD,))
        assert [evidence.where for evidence in fault.evidence] == [
            f"{TOP_RECORD}/cache-id",
            f"{TOP_RECORD}/tar-split.json.gz",
        ]

    @pytest.mark.parametrize(
        "kept", [{"cache_id": EMPTY}, {"tar_split": EMPTY}, {"cache_id": EMPTY, "tar_split": Unreadable("EIO")}]
    )
    def test_silent_if_either_is_left(self, kept):
        assert faults(self.check, with_layer(**kept), TOP_CHAIN) == []

    def test_it_is_the_only_finding_about_such_a_record(self):
        nothing = dict.fromkeys(("cache_id", "tar_split", "diff_id", "size", "parent"), EMPTY)
        made = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), **nothing)
        inventory = with_records(healthy_inventory(), made)
        told = [rule.code for rule in (*layers.RULES, *chains.RULES) if faults(rule, inventory, TOP_CHAIN)]
        assert told == ["GCD202"]


class TestUnreadableDiffId:
    check = layers.unreadable_diff_id

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_the_image_config_tells_what_it_was(self, damage):
        inventory = with_records(healthy_inventory(), replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), diff_id=damage))
        (fault,) = faults(self.check, inventory, TOP_CHAIN)
        assert fault.evidence[0].where == f"{TOP_RECORD}/diff"
        assert fault.evidence[0].expected == TOP_DIFF
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {TOP_DIFF} > {TOP_RECORD}/diff"]

    def test_without_an_image_nothing_tells(self):
        inventory = with_records(unused(), replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), diff_id=EMPTY))
        (fault,) = faults(self.check, inventory, TOP_CHAIN)
        assert (fault.evidence[0].expected, fault.remedies) == ("sha256:<64 hex>", None)


class TestUnreadableSize:
    check = layers.unreadable_size

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_finds_what_is_no_number(self, damage):
        (fault,) = faults(self.check, with_layer(size=damage), TOP_CHAIN)
        assert fault.evidence[0].where == f"{TOP_RECORD}/size"
        assert [remedy.action for remedy in fault.remedies] == [
            f"printf %s 0 > {TOP_RECORD}/size    # any number will do"
        ]

    @pytest.mark.parametrize("size", [0, 1 << 62])
    def test_silent_on_any_number(self, size):
        assert faults(self.check, with_layer(size=Present(size)), TOP_CHAIN) == []


class TestLostParent:
    check = layers.lost_parent

    def with_parent(self, parent, inventory=None, **changes):
        made = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), parent=parent, **changes)
        return with_records(inventory or healthy_inventory(), made)

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_the_image_config_tells_what_it_was(self, damage):
        (fault,) = faults(self.check, self.with_parent(damage), TOP_CHAIN)
        assert (fault.evidence[0].where, fault.evidence[0].expected) == (f"{TOP_RECORD}/parent", BASE_CHAIN)
        assert [remedy.action for remedy in fault.remedies] == [f"printf %s {BASE_CHAIN} > {TOP_RECORD}/parent"]

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_without_an_image_the_diff_id_tells_that_there_was_one(self, damage):
        (fault,) = faults(self.check, self.with_parent(damage, unused()), TOP_CHAIN)
        assert (fault.evidence[0].expected, fault.remedies) == ("a parent, for the diff id is not the chain id", None)

    def test_silent_if_nothing_tells(self):
        assert faults(self.check, self.with_parent(ABSENT, unused(), diff_id=EMPTY), TOP_CHAIN) == []

    def test_an_image_tells_even_if_the_diff_id_is_lost_too(self):
        assert len(faults(self.check, self.with_parent(ABSENT, diff_id=EMPTY), TOP_CHAIN)) == 1

    @pytest.mark.parametrize("parent", DAMAGE)
    def test_a_base_layer_with_a_damaged_parent_file_does_not_load(self, parent):
        inventory = with_records(healthy_inventory(), replace(layer(BASE_DIFF, BASE_DIR), parent=parent))
        assert len(faults(self.check, inventory, BASE_CHAIN)) == 1

    def test_silent_on_a_base_layer_of_another_diff_id(self):
        """GCD210 is about that: an image says that it is a base layer."""
        inventory = with_records(healthy_inventory(), replace(layer(BASE_DIFF, BASE_DIR), diff_id=Present(TOP_DIFF)))
        assert faults(self.check, inventory, BASE_CHAIN) == []


class TestUnreadableCacheId:
    check = layers.unreadable_cache_id

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_finds_what_names_no_dir(self, damage):
        inventory = with_records(healthy_inventory(), replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=damage))
        (fault,) = faults(self.check, inventory, TOP_CHAIN)
        assert fault.evidence[0].where == f"{TOP_RECORD}/cache-id"


class TestSharedCacheId:
    check = chains.shared_cache_id

    def test_finds_each_of_the_records_and_names_all(self):
        inventory = with_layer(cache_id=Present(BASE_DIR))
        for chain in (BASE_CHAIN, TOP_CHAIN):
            (fault,) = faults(self.check, inventory, chain)
            assert [evidence.where for evidence in fault.evidence] == [
                f"{RECORDS}/{c.removeprefix('sha256:')}/cache-id" for c in sorted((BASE_CHAIN, TOP_CHAIN))
            ]

    def test_silent_on_a_record_that_is_being_removed_beside_it(self):
        removing = RemovingRecord("x-removing", TOP_CHAIN, Present(TOP_DIR), ABSENT, OLD_NS)
        assert faults(self.check, with_records(healthy_inventory(), removing), TOP_CHAIN) == []

    def test_silent_on_records_that_name_nothing(self):
        lost = [
            replace(layer(*args), cache_id=EMPTY) for args in ((BASE_DIFF, BASE_DIR), (TOP_DIFF, TOP_DIR, BASE_CHAIN))
        ]
        assert faults(self.check, with_records(healthy_inventory(), *lost), TOP_CHAIN) == []


class TestUnreadableDescriptor:
    check = chains.unreadable_descriptor

    @pytest.mark.parametrize("damage", DAMAGE)
    def test_finds_what_cannot_be_parsed(self, damage):
        (fault,) = faults(self.check, with_layer(descriptor=damage), TOP_CHAIN)
        assert fault.evidence[0].where == f"{TOP_RECORD}/descriptor.json"
        assert [remedy.action for remedy in fault.remedies] == [
            f"mv {TOP_RECORD}/descriptor.json {TOP_RECORD}/descriptor.json.aside"
        ]

    def test_silent_on_a_sound_one(self):
        assert faults(self.check, with_layer(descriptor=Present(None)), TOP_CHAIN) == []


class TestUnreadableTarSplit:
    check = chains.unreadable_tar_split

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_finds_what_is_no_gzip_file(self, damage):
        (fault,) = faults(self.check, with_layer(tar_split=damage), TOP_CHAIN)
        assert fault.evidence[0].where == f"{TOP_RECORD}/tar-split.json.gz"

    @pytest.mark.parametrize("damage", [Malformed("a gzip file", "zeros"), Unreadable("EIO")])
    def test_finds_it_too_where_the_cache_id_is_lost_as_well(self, damage):
        made = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY, tar_split=damage)
        assert len(faults(self.check, with_records(healthy_inventory(), made), TOP_CHAIN)) == 1

    @pytest.mark.parametrize("damage", [ABSENT, EMPTY])
    def test_silent_where_nothing_is_left(self, damage):
        made = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY, tar_split=damage)
        assert faults(self.check, with_records(healthy_inventory(), made), TOP_CHAIN) == []


class TestChainIdMismatch:
    check = chains.chain_id_mismatch

    @pytest.mark.parametrize("change", [{"diff_id": Present(EXTRA_DIFF)}, {"parent": Present(EXTRA_CHAIN)}])
    def test_finds_a_record_that_does_not_hash_to_its_name(self, change):
        made = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), **change)
        (fault,) = faults(self.check, with_records(healthy_inventory(), made), TOP_CHAIN)
        assert fault.evidence[0].expected == TOP_CHAIN
        assert fault.evidence[0].found not in (TOP_CHAIN, "")

    @pytest.mark.parametrize("inventory", [healthy_inventory(), unused()], ids=["image", "no image"])
    def test_of_a_base_layer_the_image_must_say_that_it_is_one(self, inventory):
        made = replace(layer(BASE_DIFF, BASE_DIR), diff_id=Present(EXTRA_DIFF))
        found = faults(self.check, with_records(inventory, made), BASE_CHAIN)
        assert [fault.evidence[0].found for fault in found] == ([EXTRA_DIFF] if inventory.images else [])

    @pytest.mark.parametrize("parent", [ABSENT, *DAMAGE])
    def test_silent_on_a_lost_parent(self, parent):
        made = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), parent=parent)
        assert faults(self.check, with_records(healthy_inventory(), made), TOP_CHAIN) == []
        assert faults(self.check, with_records(unused(), made), TOP_CHAIN) == []

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_silent_on_a_lost_diff_id(self, damage):
        made = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), diff_id=damage)
        assert faults(self.check, with_records(healthy_inventory(), made), TOP_CHAIN) == []


class TestOrphanedLayer:
    check = chains.orphaned_layer

    def found(self, inventory):
        return [chain for chain in inventory.layers if faults(self.check, inventory, chain)]

    def test_finds_every_layer_of_a_chain_that_nothing_refers_to(self):
        inventory = unused()
        assert self.found(inventory) == [BASE_CHAIN, TOP_CHAIN]
        (fault,) = faults(self.check, inventory, TOP_CHAIN)
        assert fault.paths == (TOP_RECORD, f"overlay2/{TOP_DIR}", f"overlay2/l/{TOP_LINK}")
        assert (fault.since_ns, fault.is_held) == (OLD_NS, False)

    def test_is_as_young_as_the_youngest_that_stands_on_it(self):
        """A pull that is under way took the old layer for its own."""
        young = [layer(TOP_DIFF, TOP_DIR, BASE_CHAIN, ctime_ns=YOUNG_NS)]
        of_dir = [layer_dir(TOP_DIR, TOP_LINK, (BASE_LINK,), ctime_ns=YOUNG_NS)]
        for records in (young, of_dir):
            inventory = with_records(unused(), *records)
            ages = [fault.since_ns for chain in self.found(inventory) for fault in faults(self.check, inventory, chain)]
            assert ages == [YOUNG_NS, YOUNG_NS]

    def test_does_not_take_the_age_of_what_lies_below(self):
        inventory = with_records(unused(), layer(BASE_DIFF, BASE_DIR, ctime_ns=YOUNG_NS))
        assert [fault.since_ns for fault in faults(self.check, inventory, TOP_CHAIN)] == [OLD_NS]

    def test_is_held_if_a_process_is_in_its_dir_or_in_one_above(self):
        inventory = replace(unused(), held_dirs=frozenset({TOP_DIR}))
        assert [f.is_held for c in (BASE_CHAIN, TOP_CHAIN) for f in faults(self.check, inventory, c)] == [True, True]
        inventory = replace(unused(), held_dirs=frozenset({BASE_DIR}))
        assert [f.is_held for c in (BASE_CHAIN, TOP_CHAIN) for f in faults(self.check, inventory, c)] == [True, False]

    @pytest.mark.parametrize(
        "keeper",
        [
            image(BASE_DIFF, TOP_DIFF),
            image(BASE_DIFF, TOP_DIFF, image_id=ChainId(digest("other image"))),
            BuildSnapshot("n", SnapshotKind.COMMITTED, LayerDirId("d" * 25), "", TOP_CHAIN),
            BuildSnapshot(TOP_CHAIN, SnapshotKind.LAYER, None, "", TOP_CHAIN),
            BuildSnapshot("a" * 25, SnapshotKind.ACTIVE, LayerDirId("a" * 25), TOP_CHAIN, None),
            BuildSnapshot("b" * 25, SnapshotKind.ACTIVE, TOP_DIR, "", None),
            BuildLease("c", (TOP_CHAIN,), temporary=False),
            RemovingRecord("x-removing", EXTRA_CHAIN, ABSENT, Present(TOP_CHAIN), YOUNG_NS),
        ],
        ids=["image", "another image", "exported", "layer bucket", "parent", "dir", "lease", "young removal"],
    )
    def test_silent_on_a_chain_that_something_needs(self, keeper):
        assert self.found(with_records(unused(), keeper)) == []

    def test_a_removal_that_nobody_goes_on_with_keeps_nothing(self):
        removing = RemovingRecord("x-removing", EXTRA_CHAIN, ABSENT, Present(TOP_CHAIN), OLD_NS)
        assert self.found(with_records(unused(), removing)) == [BASE_CHAIN, TOP_CHAIN]

    def test_silent_below_a_record_that_cannot_be_loaded(self):
        """It may be mended, and then needs its parents (S10)."""
        damaged = layer(EXTRA_DIFF, EXTRA_DIR, TOP_CHAIN, size=EMPTY)
        assert self.found(with_records(unused(), damaged, layer_dir(EXTRA_DIR, link_id("extra")))) == []

    def test_an_image_of_the_lower_layer_keeps_that_one_only(self):
        assert self.found(with_records(unused(), image(BASE_DIFF))) == [TOP_CHAIN]

    @pytest.mark.parametrize("used", ["mount", "lower", "young"])
    def test_silent_on_a_chain_whose_dir_is_in_the_closure(self, used):
        """S3; a container whose image is gone, say, and whose record lost its parent."""
        extra = layer_dir(EXTRA_DIR, link_id("extra"), (TOP_LINK, BASE_LINK), ctime_ns=YOUNG_NS)
        mount = KernelMount("/m", "overlay", "mnt:[1]", (1,), "sh", frozenset({TOP_DIR}), frozenset(), None)
        below = BuildSnapshot("b" * 25, SnapshotKind.ACTIVE, EXTRA_DIR, "", None)
        inventory = {
            "mount": replace(unused(), mounts=(mount,)),
            "lower": with_records(unused(), replace(extra, ctime_ns=OLD_NS), below),
            "young": with_records(unused(), extra),
        }[used]
        assert self.found(inventory) == []

    def test_silent_on_one_whose_dir_is_gone(self):
        assert self.found(unused(Node(NodeKind.LAYER_DIR, TOP_DIR))) == [BASE_CHAIN]

    def test_silent_on_two_records_of_one_dir_if_either_is_needed(self):
        twin = layer(EXTRA_DIFF, BASE_DIR)
        assert self.found(with_records(unused(), twin, image(BASE_DIFF))) == [TOP_CHAIN]


class TestBrokenParentChain:
    check = chains.broken_parent_chain

    def test_finds_a_parent_without_record(self):
        (fault,) = faults(self.check, without(healthy_inventory(), Node(NodeKind.LAYER, BASE_CHAIN)), TOP_CHAIN)
        assert fault.evidence[0].where == f"{TOP_RECORD}/parent"
        assert fault.evidence[0].found == f"{BASE_CHAIN}, absent"

    def test_is_as_young_as_the_child_for_a_parent_may_have_come_after_the_listing(self):
        inventory = without(healthy_inventory(), Node(NodeKind.LAYER, BASE_CHAIN))
        (fault,) = faults(self.check, inventory, TOP_CHAIN)
        assert fault.since_ns == inventory.layers[TOP_CHAIN].ctime_ns

    def test_finds_a_circle_once(self):
        ring = (
            replace(layer(BASE_DIFF, BASE_DIR), parent=Present(TOP_CHAIN)),
            layer(EXTRA_DIFF, EXTRA_DIR, TOP_CHAIN),
        )
        inventory = with_records(healthy_inventory(), *ring)
        found = [fault.subject.id for chain in inventory.layers for fault in faults(self.check, inventory, chain)]
        assert found == [min(BASE_CHAIN, TOP_CHAIN)]

    @pytest.mark.parametrize(("count", "found"), [(125, []), (126, [125]), (128, [125])])
    def test_finds_the_first_that_is_too_deep(self, count, found):
        diffs = tuple(DiffId(digest(f"diff {i}")) for i in range(count))
        ids = chain_ids(diffs)
        records = [layer(d, build_id(d), ids[i - 1] if i else None) for i, d in enumerate(diffs)]
        inventory = with_records(empty_inventory(), *records)
        assert [ids.index(f.subject.id) for c in ids for f in faults(self.check, inventory, c)] == found

    @pytest.mark.parametrize("parent", [ABSENT, *DAMAGE])
    def test_silent_where_no_parent_is_named(self, parent):
        made = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), parent=parent)
        assert faults(self.check, with_records(healthy_inventory(), made), TOP_CHAIN) == []
