"""The graph, the edges of each record, and what the store's graph says of life, depth and cost."""

from __future__ import annotations

import itertools

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

from gcd.model import edges
from gcd.model.facts import (
    BadElement,
    BuildLease,
    BuildSnapshot,
    FileType,
    ImageMountPoint,
    KernelMount,
    LinkFarm,
    Lower,
    RemovingRecord,
    Repositories,
    SnapshotKind,
    WriteSet,
)
from gcd.model.finding import Impact, Node, NodeKind
from gcd.model.graph import Graph
from gcd.model.ids import DiffId, ImageId, LayerDirId, LinkId, chain_id, chain_ids
from gcd.model.links import lower_of
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.model.storegraph import BUILD_WORDS, partner_of

A, B, C, D, E = (Node(NodeKind.LAYER, name) for name in "ABCDE")
NOWHERE = Node(NodeKind.LAYER, "Z")
STRAY, STRAY_LINK = dir_id("stray"), link_id("stray")
OTHER_DIFF = DiffId(digest("other diff"))
DAMAGE = [EMPTY, Malformed("a", "b"), Unreadable("EIO")]


def of_layer(chain: str) -> Node:
    return Node(NodeKind.LAYER, chain)


def of_dir(name: str) -> Node:
    return Node(NodeKind.LAYER_DIR, name)


def mount(*dirs: str, links: tuple[str, ...] = (), merged_of=None):
    return KernelMount("/m", "overlay", "mnt:[1]", (1,), "sh", frozenset(dirs), frozenset(links), merged_of)


def wordless(inventory):
    """`inventory`, as if no words had been gathered from BuildKit's databases."""
    return replace(inventory, build_cache=replace(inventory.build_cache, named=frozenset(), chains=frozenset()))


def kept(graph):
    return graph.layers.ids() - graph.unkept_layers


class TestGraph:
    graph = Graph({A: (B, C), B: (D,), C: (D,), D: (A,), E: (NOWHERE,)})

    def test_targets_need_not_exist(self):
        assert self.graph.targets(E) == (NOWHERE,)
        assert self.graph.targets(NOWHERE) == ()

    def test_referrers(self):
        assert self.graph.referrers(D) == (B, C)
        assert self.graph.referrers(NOWHERE) == (E,)
        assert self.graph.referrers(E) == ()

    def test_reachable_goes_round_a_circle_once(self):
        assert self.graph.reachable([B]) == {A, B, C, D}
        assert self.graph.reachable([E]) == {E, NOWHERE}
        assert self.graph.reachable([]) == set()

    def test_dependents_leave_out_the_node_itself(self):
        assert self.graph.dependents(D) == {A, B, C}
        assert self.graph.dependents(E) == set()

    def test_why_is_a_shortest_path(self):
        graph = Graph({A: (B, D), B: (C,), C: (E,), D: (E,)})
        assert graph.why(E, [A]) == (A, D, E)
        assert graph.why(E, [A, C]) == (C, E)
        assert graph.why(A, [A]) == (A,)
        assert graph.why(A, [E]) == ()
        assert self.graph.why(E, [A]) == ()

    def test_a_long_chain_needs_no_stack(self):
        nodes = [Node(NodeKind.LAYER, str(i)) for i in range(20_000)]
        graph = Graph({here: (below,) for here, below in itertools.pairwise(nodes)})
        assert len(graph.reachable(nodes[:1])) == len(nodes)
        assert len(graph.dependents(nodes[-1])) == len(nodes) - 1
        assert len(graph.why(nodes[-1], nodes[:1])) == len(nodes)


class TestEdges:
    def test_of_an_image(self):
        assert image(BASE_DIFF, TOP_DIFF).chains == ((BASE_CHAIN, BASE_DIFF), (TOP_CHAIN, TOP_DIFF))
        assert image().chains == ()
        assert image(config=EMPTY).chains == ()

    @pytest.mark.parametrize(
        ("record", "targets"),
        [
            (layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), (of_layer(BASE_CHAIN), of_dir(TOP_DIR))),
            (layer(TOP_DIFF, TOP_DIR), (of_dir(TOP_DIR),)),
            (RemovingRecord("x", TOP_CHAIN, EMPTY, Present(BASE_CHAIN), 0), (of_layer(BASE_CHAIN),)),
        ],
    )
    def test_of_a_layer_record(self, record, targets):
        assert tuple(edges.layer_edges(record)) == targets

    def test_of_all_layer_records_and_images_of_a_root(self):
        stray = replace(layer(OTHER_DIFF, STRAY, TOP_CHAIN), size=EMPTY)
        gone = layer(DiffId(digest("third diff")), dir_id("third"), chain_id(None, DiffId(digest("no record"))))
        graph = graph_of(with_records(healthy_inventory(), stray, gone, image(BASE_DIFF, OTHER_DIFF)))

        assert graph.layers.odd.keys() == {stray.chain_id}
        for record in graph.inventory.layers.values():
            assert graph.graph.targets(of_layer(record.chain_id)) == tuple(edges.layer_edges(record))
        for found in graph.inventory.images.values():
            assert graph.graph.targets(Node(NodeKind.IMAGE, found.id)) == tuple(of_layer(c) for c, _ in found.chains)

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_of_a_damaged_one_only_what_can_be_read(self, damage):
        record = replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=damage, parent=damage)
        assert tuple(edges.layer_edges(record)) == ()
        assert tuple(edges.write_set_edges(WriteSet("w", damage, 0))) == ()

    def test_of_a_write_set(self):
        assert tuple(edges.write_set_edges(WriteSet("w", Present(TOP_DIR), 0))) == (of_dir(TOP_DIR),)

    @pytest.mark.parametrize("init", [ABSENT, *DAMAGE])
    def test_of_an_rw_layer_the_pair_even_if_only_one_is_named(self, init):
        pair = (of_layer(TOP_CHAIN), of_dir(RW_DIR), of_dir(INIT_DIR))
        assert tuple(edges.rw_layer_edges(rw_layer())) == pair
        assert tuple(edges.rw_layer_edges(rw_layer(init_id=init))) == pair

    def test_of_an_rw_layer_that_lost_its_mount_id(self):
        assert tuple(edges.rw_layer_edges(rw_layer(mount_id=EMPTY))) == (of_layer(TOP_CHAIN), of_dir(INIT_DIR))
        assert tuple(edges.rw_layer_edges(rw_layer(parent=None, mount_id=EMPTY, init_id=EMPTY))) == ()

    def test_of_a_container(self):
        mounts = (ImageMountPoint("/a", "named", "x"), ImageMountPoint("/b", "", "y"))
        config = Present(container_config(image_mounts=mounts))
        assert tuple(edges.container_edges(container(config=config))) == (
            Node(NodeKind.RW_LAYER, CONTAINER), Node(NodeKind.IMAGE, IMAGE), Node(NodeKind.RW_LAYER, "named")
        )  # fmt: skip
        lone = (Node(NodeKind.RW_LAYER, CONTAINER),)
        assert tuple(edges.container_edges(container(config=Present(container_config(image=""))))) == lone
        assert tuple(edges.container_edges(container(config=EMPTY))) == lone

    @pytest.mark.parametrize(
        ("snapshot", "targets"),
        [
            (
                BuildSnapshot("a", SnapshotKind.ACTIVE, build_id("a"), "parent", None),
                (of_dir(build_id("a")), Node(NodeKind.BUILD_SNAPSHOT, "parent")),
            ),
            (
                BuildSnapshot("n", SnapshotKind.COMMITTED, build_id("a"), TOP_CHAIN, BASE_CHAIN),
                (of_dir(build_id("a")), of_layer(TOP_CHAIN), of_layer(BASE_CHAIN)),
            ),
            (BuildSnapshot(TOP_CHAIN, SnapshotKind.LAYER, None, "", None), (of_layer(TOP_CHAIN),)),
            (BuildSnapshot("l", SnapshotKind.LEASE, None, "", TOP_CHAIN), (of_layer(TOP_CHAIN),)),
            (BuildSnapshot("l", SnapshotKind.LEASE, None, "", None), ()),
        ],
    )
    def test_of_a_snapshot(self, snapshot, targets):
        assert tuple(edges.snapshot_edges(snapshot)) == targets

    def test_of_a_lease(self):
        lease = BuildLease("l", ("a", TOP_CHAIN), temporary=False)
        assert tuple(edges.lease_edges(lease)) == (Node(NodeKind.BUILD_SNAPSHOT, "a"), of_layer(TOP_CHAIN))


class TestLinks:
    def test_a_link_means_the_dirs_that_say_it_and_the_one_it_points_to(self):
        twin = layer_dir(STRAY, TOP_LINK)
        graph = graph_of(with_records(healthy_inventory(), twin, symlink(TOP_LINK, BASE_DIR)))
        assert graph.claimants[TOP_LINK] == (TOP_DIR, STRAY)
        assert graph.dirs_of_link(TOP_LINK) == (TOP_DIR, STRAY, BASE_DIR)

    def test_by_either_alone(self):
        healthy = healthy_inventory()
        assert graph_of(without(healthy, Node(NodeKind.LINK, TOP_LINK))).dirs_of_link(TOP_LINK) == (TOP_DIR,)
        nameless = with_records(healthy, layer_dir(TOP_DIR, EMPTY, (BASE_LINK,)))
        assert graph_of(nameless).dirs_of_link(TOP_LINK) == (TOP_DIR,)
        assert graph_of(healthy).dirs_of_link(TOP_LINK) == (TOP_DIR,)

    def test_a_dir_that_does_not_exist_is_not_meant(self):
        graph = graph_of(with_records(healthy_inventory(), symlink(STRAY_LINK, STRAY)))
        assert graph.dirs_of_link(STRAY_LINK) == ()
        assert graph.symlinks_to[STRAY] == (STRAY_LINK,)

    def test_a_symlink_that_leads_out_leads_nowhere(self):
        graph = graph_of(
            with_records(healthy_inventory(), symlink(STRAY_LINK, Malformed("../<layer dir>/diff", "'/'")))
        )
        assert STRAY_LINK not in {link for links in graph.symlinks_to.values() for link in links}
        assert graph.dirs_of_link(STRAY_LINK) == ()

    def test_cited_and_unresolved(self):
        changed = layer_dir(TOP_DIR, TOP_LINK, (STRAY_LINK, BASE_LINK))
        graph = graph_of(with_records(healthy_inventory(), changed))
        assert graph.cited_links == {BASE_LINK, TOP_LINK, INIT_LINK, STRAY_LINK}
        assert graph.unresolved_links == {STRAY_LINK}
        assert tuple(graph.citers_of_link(STRAY_LINK)) == (TOP_DIR,)
        assert (
            graph_of(with_records(healthy_inventory(), changed, symlink(STRAY_LINK, BASE_DIR))).unresolved_links
            == set()
        )

    def test_the_good_elements_of_a_bad_lower_count(self):
        bad = layer_dir(TOP_DIR, TOP_LINK, Present(Lower((STRAY_LINK,), (BadElement(0, "l"),))))
        assert STRAY_LINK in graph_of(with_records(healthy_inventory(), bad)).cited_links
        assert lower_of(bad).links == (STRAY_LINK,)

    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_a_lower_that_cannot_be_read_names_nothing(self, damage):
        assert lower_of(layer_dir(TOP_DIR, TOP_LINK, damage)) == Lower(())

    def test_halves_of_a_pair(self):
        assert (partner_of(RW_DIR), partner_of(INIT_DIR)) == (INIT_DIR, RW_DIR)


class TestLife:
    def test_everything_of_a_healthy_root_is_alive(self):
        graph = graph_of(healthy_inventory())
        assert graph.referenced_dirs == graph.live_dirs == {BASE_DIR, TOP_DIR, RW_DIR, INIT_DIR}
        assert kept(graph) == {BASE_CHAIN, TOP_CHAIN}

    def test_named_dirs_need_not_exist(self):
        inventory = without(healthy_inventory(), of_dir(TOP_DIR))
        graph = graph_of(inventory)
        assert TOP_DIR in graph.named_dirs
        assert TOP_DIR not in graph.referenced_dirs

    def test_what_a_lower_leads_to_is_referenced_and_so_on_down(self):
        below = layer_dir(STRAY, STRAY_LINK)
        middle = layer_dir(dir_id("middle"), link_id("middle"), (STRAY_LINK,))
        top = layer_dir(TOP_DIR, TOP_LINK, (link_id("middle"),))
        graph = graph_of(with_records(healthy_inventory(), below, middle, top))
        assert {STRAY, middle.id} <= graph.referenced_dirs

    def test_a_circle_of_lowers_ends(self):
        ring = (layer_dir(STRAY, STRAY_LINK, (TOP_LINK,)), layer_dir(TOP_DIR, TOP_LINK, (STRAY_LINK,)))
        assert STRAY in graph_of(with_records(healthy_inventory(), *ring)).referenced_dirs

    def test_one_half_of_a_pair_keeps_the_other(self):
        init = layer_dir(init_id("stray"), link_id("si"))
        inventory = with_records(
            healthy_inventory(),
            layer_dir(STRAY, STRAY_LINK),
            init,
            BuildSnapshot("n", SnapshotKind.ACTIVE, STRAY, "", None),
        )
        assert init.id in graph_of(inventory).referenced_dirs

    def test_newborn_dirs_are_referenced(self):
        inventory = with_records(healthy_inventory(), layer_dir(STRAY, STRAY_LINK))
        graph = graph_of(replace(inventory, candidates=inventory.candidates - {STRAY}))
        assert STRAY in graph.referenced_dirs
        assert not graph.is_orphaned_dir(inventory.layer_dirs[STRAY])

    def test_a_mount_keeps_what_it_uses_by_name_and_by_link(self):
        other = layer_dir(dir_id("other"), link_id("other"))
        inventory = with_records(healthy_inventory(), layer_dir(STRAY, STRAY_LINK), other)
        graph = graph_of(replace(inventory, mounts=(mount(STRAY, links=(link_id("other"),)),)))
        assert {STRAY, other.id} <= graph.referenced_dirs
        assert graph.owners(STRAY) == (Node(NodeKind.MOUNT, "mnt:[1]:/m"),)

    def test_a_word_of_buildkit_keeps_what_has_its_name(self):
        inventory = with_records(healthy_inventory(), layer_dir(STRAY, STRAY_LINK))
        cache = replace(
            inventory.build_cache, named=frozenset({STRAY, "nothing"}), chains=frozenset({TOP_CHAIN, "sha256:x"})
        )
        graph = graph_of(replace(inventory, build_cache=cache))
        assert graph.owners(STRAY) == (BUILD_WORDS,)
        assert set(graph.graph.targets(BUILD_WORDS)) == {of_dir(STRAY), of_layer(TOP_CHAIN)}

    @pytest.mark.parametrize(
        ("ctime_ns", "bound_ns", "settled"),
        [(BOUND_NS - 1, BOUND_NS, True), (BOUND_NS, BOUND_NS, False), (OLD_NS, None, False)],
    )
    def test_what_is_settled(self, ctime_ns, bound_ns, settled):
        assert graph_of(healthy_inventory(), bound_ns).is_settled(ctime_ns) is settled

    def test_a_young_orphan_is_live_and_an_orphan(self):
        """It is reported as suspected, and keeps what lies below it."""
        below = layer_dir(STRAY, STRAY_LINK)
        young = layer_dir(dir_id("young"), link_id("young"), (STRAY_LINK,), ctime_ns=YOUNG_NS)
        graph = graph_of(with_records(healthy_inventory(), below, young))
        assert {STRAY, young.id} <= graph.live_dirs
        assert STRAY not in graph.referenced_dirs
        assert graph.is_orphaned_dir(young)
        assert not graph.is_orphaned_dir(below)

    def test_a_held_one_keeps_what_lies_below_as_well(self):
        below = layer_dir(STRAY, STRAY_LINK)
        held = layer_dir(dir_id("held"), link_id("held"), (STRAY_LINK,))
        inventory = replace(with_records(healthy_inventory(), below, held), held_dirs=frozenset({held.id}))
        assert STRAY in graph_of(inventory).live_dirs

    def test_mounts_by_their_mountpoint(self):
        one = mount(RW_DIR, merged_of=RW_DIR)
        graph = graph_of(healthy_inventory(mounts=(one, mount(RW_DIR), one)))
        assert graph.mounts_of(RW_DIR) == (one, one)
        assert graph.mounts_of(TOP_DIR) == ()

    def test_a_mount_of_a_dir_that_is_not_here_is_another_roots(self):
        elsewhere = dir_id("in another root")
        mounted = replace(healthy_inventory(), mounts=(mount(elsewhere, merged_of=elsewhere),))
        assert graph_of(mounted).lost_dirs == set()

    def test_lost_dirs_are_cited_and_named_by_no_record(self):
        changed = layer_dir(TOP_DIR, TOP_LINK, (STRAY_LINK, BASE_LINK))
        uncited = symlink(link_id("uncited"), dir_id("uncited"))
        inventory = with_records(healthy_inventory(), symlink(STRAY_LINK, STRAY), changed, uncited)
        assert graph_of(inventory).lost_dirs == {STRAY}
        recorded = with_records(inventory, layer(OTHER_DIFF, STRAY))
        assert graph_of(recorded).lost_dirs == set()
        assert graph_of(without(healthy_inventory(), of_dir(BASE_DIR))).lost_dirs == set()

    def test_a_dir_that_is_there_is_not_lost(self):
        changed = layer_dir(TOP_DIR, TOP_LINK, (STRAY_LINK, BASE_LINK))
        inventory = with_records(healthy_inventory(), symlink(STRAY_LINK, STRAY), changed, layer_dir(STRAY, EMPTY))
        assert graph_of(inventory).lost_dirs == set()

    def test_a_bucket_names_its_dir_whatever_the_words_of_the_databases(self):
        bucket = BuildSnapshot("n", SnapshotKind.ACTIVE, STRAY, "", None)
        inventory = with_records(healthy_inventory(), layer_dir(STRAY, STRAY_LINK), bucket)
        assert STRAY in graph_of(wordless(inventory)).referenced_dirs

    def test_a_removal_is_a_name_of_its_dir(self):
        inventory = with_records(healthy_inventory(), layer_dir(STRAY, STRAY_LINK))
        going = RemovingRecord("x-removing", TOP_CHAIN, Present(STRAY), ABSENT, OLD_NS)
        assert STRAY in graph_of(with_records(inventory, going)).referenced_dirs


class TestRecords:
    def chain(self, count: int, **damage):
        """A chain of `count` layers, `damage` by depth."""
        diffs = tuple(DiffId(digest(f"diff {i}")) for i in range(count))
        ids = chain_ids(diffs)
        made = [layer(d, build_id(d), ids[i - 1] if i else None) for i, d in enumerate(diffs)]
        made = [replace(record, **damage.get(f"at{i}", {})) for i, record in enumerate(made)]
        return ids, graph_of(with_records(empty_inventory(), *made))

    @pytest.mark.parametrize("field", ["diff_id", "size", "cache_id"])
    @pytest.mark.parametrize("damage", [ABSENT, *DAMAGE])
    def test_a_record_that_does_not_load_takes_those_above_with_it(self, field, damage):
        ids, graph = self.chain(4, at1={field: damage})
        assert graph.broken_at == dict.fromkeys(ids[1:], ids[1])
        assert [graph.is_loadable(chain) for chain in ids] == [True, False, False, False]

    @pytest.mark.parametrize("field", ["parent", "descriptor"])
    @pytest.mark.parametrize(("damage", "loads"), [(ABSENT, True), *((damage, False) for damage in DAMAGE)])
    def test_some_files_may_be_missing_but_not_damaged(self, field, damage, loads):
        ids, graph = self.chain(2, at1={field: damage})
        assert graph.is_loadable(ids[1]) is loads

    def test_the_lowest_culprit_is_named(self):
        ids, graph = self.chain(4, at1={"size": EMPTY}, at3={"size": EMPTY})
        assert graph.broken_at == dict.fromkeys(ids[1:], ids[1])

    def test_a_parent_without_record_is_the_culprit(self):
        graph = graph_of(without(healthy_inventory(), of_layer(BASE_CHAIN)))
        assert graph.broken_at == {TOP_CHAIN: BASE_CHAIN}
        assert not graph.is_loadable(BASE_CHAIN)

    def test_a_circle_does_not_load_and_has_no_depth(self):
        ids, graph = self.chain(
            3, at0={"parent": Present(chain_ids(tuple(DiffId(digest(f"diff {i}")) for i in range(2)))[1])}
        )
        ring = min(ids[:2])
        assert graph.broken_at == dict.fromkeys(ids, ring)
        assert [graph.depth(chain) for chain in ids] == [None, None, None]
        assert list(graph.ancestors(ids[2])) == [ids[2], ids[1], ids[0]]

    def test_depth_and_ancestors(self):
        ids, graph = self.chain(3)
        assert [graph.depth(chain) for chain in ids] == [1, 2, 3]
        assert list(graph.ancestors(ids[2])) == [ids[2], ids[1], ids[0]]
        lone = graph_of(without(healthy_inventory(), of_layer(BASE_CHAIN)))
        assert lone.depth(TOP_CHAIN) == 1
        assert list(lone.ancestors(TOP_CHAIN)) == [TOP_CHAIN, BASE_CHAIN]

    def test_what_image_configs_imply(self):
        graph = graph_of(healthy_inventory())
        assert graph.computed_parents == {BASE_CHAIN: None, TOP_CHAIN: BASE_CHAIN}
        assert graph.computed_diff_ids == {BASE_CHAIN: BASE_DIFF, TOP_CHAIN: TOP_DIFF}

    def test_whose_dir_is_whose(self):
        twin = layer(OTHER_DIFF, TOP_DIR)
        graph = graph_of(with_records(healthy_inventory(), twin))
        assert [record.chain_id for record in graph.layers_of(TOP_DIR)] == [TOP_CHAIN, twin.chain_id]
        assert graph.layers_of(STRAY) == ()
        assert {d: record.name for d, record in graph.rw_layers_by_dir.items()} == dict.fromkeys(
            (RW_DIR, INIT_DIR), RW_LAYER
        )

    @pytest.mark.parametrize("flags", [{"dead": True}, {"removal_in_progress": True}, {}])
    def test_who_is_being_removed(self, flags):
        inventory = with_records(healthy_inventory(), container(config=Present(container_config(**flags))))
        assert graph_of(inventory).is_being_removed(CONTAINER) is bool(flags)
        assert not graph_of(inventory).is_being_removed("nobody")


TWIN = layer_dir(STRAY, TOP_LINK)
TOP_RECORD = layer(TOP_DIFF, TOP_DIR, BASE_CHAIN)

DISAGREEING = {
    "nothing": (),
    "two dirs of one link, the symlink to the first": (TWIN,),
    "two dirs of one link, the symlink to the second": (TWIN, symlink(TOP_LINK, STRAY)),
    "a symlink astray": (symlink(TOP_LINK, BASE_DIR),),
    "a symlink that leads out": (symlink(TOP_LINK, Malformed("../<layer dir>/diff", "'/'")),),
    "a symlink that nothing names": (symlink(STRAY_LINK, STRAY),),
    "a symlink that only a lower names": (symlink(STRAY_LINK, STRAY), layer_dir(TOP_DIR, TOP_LINK, (STRAY_LINK,))),
    "a symlink that only an odd dir names": (
        symlink(STRAY_LINK, STRAY), layer_dir(TOP_DIR, EMPTY, (STRAY_LINK,), diff=None),
    ),
    "a link without symlink": (layer_dir(STRAY, STRAY_LINK),),
    "an odd link without symlink": (layer_dir(STRAY, STRAY_LINK, diff=None),),
    "a dir of two records": (layer(OTHER_DIFF, TOP_DIR),),
    "an rw dir that a record of an image names": (
        layer(BASE_DIFF, INIT_DIR), layer_dir(INIT_DIR, INIT_LINK), rw_layer(parent=None),
    ),
    "a record of another diff id": (replace(TOP_RECORD, diff_id=Present(OTHER_DIFF)),),
    "a record without parent": (replace(TOP_RECORD, parent=ABSENT), layer_dir(TOP_DIR, TOP_LINK)),
    "a record of another parent": (replace(TOP_RECORD, parent=Present(TOP_CHAIN)),),
    "a record without dir": (layer(TOP_DIFF, STRAY, BASE_CHAIN),),
    "a record of an odd dir": (layer_dir(TOP_DIR, TOP_LINK, (BASE_LINK,), diff=None),),
    "a dir without lower": (layer_dir(TOP_DIR, TOP_LINK),),
    "a dir of another lower": (layer_dir(TOP_DIR, TOP_LINK, (RW_LINK,)),),
    "an rw dir of another lower": (layer_dir(RW_DIR, RW_LINK, (TOP_LINK,)),),
}  # fmt: skip


@pytest.mark.parametrize("records", DISAGREEING.values(), ids=DISAGREEING)
def test_what_is_found_among_all_at_once_is_what_is_true_of_each(records):
    graph = graph_of(with_records(healthy_inventory(), *records))
    links = {*graph.farm, *graph.claimants, *graph.cited_links}
    dirs = {*graph.dirs, *graph.chain_of_dir, *graph.symlinks_to}
    assert graph.unresolved_links == set(filter(graph.is_unresolved, links))
    assert graph.claimed_only == set(filter(graph.is_claimed_only, links))
    assert graph.unnamed_symlinks == set(filter(graph.is_unnamed_symlink, links))
    assert graph.astray_symlinks == set(filter(graph.is_astray, links))
    assert graph.missing_dirs == set(filter(graph.is_missing, dirs))
    assert graph.perhaps_without_lower == set(filter(graph.is_perhaps_without_lower, dirs))
    assert graph.unlike_parent == set(filter(graph.is_unlike_parent, dirs))
    assert graph.lost_dirs == set(filter(graph.is_lost, dirs))


@pytest.mark.parametrize(
    ("records", "depths"),
    [
        ((), {BASE_CHAIN: 1, TOP_CHAIN: 2}),
        ((replace(TOP_RECORD, diff_id=Present(OTHER_DIFF)),), {BASE_CHAIN: 1}),
        ((replace(TOP_RECORD, parent=ABSENT),), {BASE_CHAIN: 1}),
        ((layer(TOP_DIFF, TOP_DIR, BASE_CHAIN, size=EMPTY),), {BASE_CHAIN: 1}),
        ((layer(BASE_DIFF, BASE_DIR, size=EMPTY),), {}),
        ((image(TOP_DIFF),), {}),
    ],
)
def test_a_record_is_proven_where_an_image_implies_it_and_all_below_it(records, depths):
    graph = graph_of(with_records(healthy_inventory(), *records))
    assert graph.proven_depths == depths
    assert graph.unproven_names == graph.layers.rows.keys() - depths.keys()


class TestKeptLayers:
    """Beside what `test_layers_rules` says of orphaned layers."""

    def test_a_chain_that_an_image_needs_is_kept_without_record(self):
        assert BASE_CHAIN not in graph_of(without(healthy_inventory(), of_layer(BASE_CHAIN))).unkept_layers

    @pytest.mark.parametrize(
        "keeper",
        [
            rw_layer(),
            BuildSnapshot("n", SnapshotKind.COMMITTED, None, "", TOP_CHAIN),
            BuildLease("l", (TOP_CHAIN,), temporary=False),
        ],
        ids=lambda record: type(record).__name__,
    )
    def test_a_record_keeps_its_chain_though_no_dir_of_it_is_there(self, keeper):
        bare = with_records(empty_inventory(), layer(BASE_DIFF, BASE_DIR), layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), keeper)
        assert kept(graph_of(wordless(bare))) == {BASE_CHAIN, TOP_CHAIN}

    def test_a_container_keeps_its_image(self):
        inventory = without(healthy_inventory(), Node(NodeKind.RW_LAYER, RW_LAYER))
        assert kept(graph_of(inventory)) == {BASE_CHAIN, TOP_CHAIN}

    @pytest.mark.parametrize("words", [{"chains": frozenset({TOP_CHAIN})}, {"named": frozenset({TOP_DIR})}])
    def test_words_of_buildkit_keep_records_by_chain_and_by_dir(self, words):
        bare = with_records(
            empty_inventory(), layer(BASE_DIFF, BASE_DIR), layer(TOP_DIFF, TOP_DIR, BASE_CHAIN),
            layer_dir(BASE_DIR, BASE_LINK), layer_dir(TOP_DIR, TOP_LINK, (BASE_LINK,)),
        )  # fmt: skip
        assert kept(graph_of(bare)) == set()
        worded = replace(bare, build_cache=replace(bare.build_cache, **words))
        assert kept(graph_of(worded)) == {BASE_CHAIN, TOP_CHAIN}

    def test_keeping_a_layer_may_lead_to_another_by_its_dirs_lower(self):
        """And that one's parents are kept by its record: the closure goes both ways until it ends."""
        deep, deeper = layer(OTHER_DIFF, STRAY, chain_id(None, DiffId(digest("deeper")))), layer(
            DiffId(digest("deeper")), dir_id("deeper")
        )  # fmt: skip
        inventory = with_records(
            healthy_inventory(), deep, deeper, layer_dir(STRAY, STRAY_LINK), layer_dir(TOP_DIR, TOP_LINK, (STRAY_LINK,))
        )
        assert kept(graph_of(inventory)) == {BASE_CHAIN, TOP_CHAIN, deep.chain_id, deeper.chain_id}


class TestOtherNames:
    graph = graph_of(healthy_inventory())

    def test_of_layers_and_rw_layers_their_dirs(self):
        assert self.graph.other_names(of_layer(TOP_CHAIN)) == (of_dir(TOP_DIR),)
        assert self.graph.other_names(Node(NodeKind.RW_LAYER, RW_LAYER)) == (of_dir(RW_DIR), of_dir(INIT_DIR))

    def test_of_dirs_their_layers_or_rw_layers_and_nothing_else_that_names_them(self):
        inventory = with_records(healthy_inventory(), BuildSnapshot("n", SnapshotKind.ACTIVE, TOP_DIR, "", None))
        assert graph_of(inventory).other_names(of_dir(TOP_DIR)) == (of_layer(TOP_CHAIN),)
        assert self.graph.other_names(of_dir(INIT_DIR)) == (Node(NodeKind.RW_LAYER, RW_LAYER),)

    def test_of_anything_else_none(self):
        assert self.graph.other_names(Node(NodeKind.CONTAINER, CONTAINER)) == ()
        assert self.graph.other_names(Node(NodeKind.IMAGE, IMAGE)) == ()


class TestCost:
    def test_of_a_layer_dir_along_records_and_lowers(self):
        graph = graph_of(healthy_inventory())
        assert graph.impact(of_dir(BASE_DIR)) == Impact(("app:latest",), ("web",))
        assert graph.dependents(of_dir(BASE_DIR)) >= {of_layer(BASE_CHAIN), of_dir(RW_DIR), Node(NodeKind.IMAGE, IMAGE)}
        assert graph.impact(of_dir(RW_DIR)) == Impact((), ("web",))

    def test_of_a_dir_that_only_lowers_name(self):
        changed = layer_dir(TOP_DIR, TOP_LINK, (STRAY_LINK,))
        for identity in (layer_dir(STRAY, STRAY_LINK), symlink(STRAY_LINK, STRAY)):
            graph = graph_of(with_records(healthy_inventory(), changed, identity))
            assert graph.impact(of_dir(STRAY)) == Impact(("app:latest",), ("web",))

    def test_of_a_link_those_who_cite_it_and_those_who_have_it(self):
        inventory = without(healthy_inventory(), of_dir(INIT_DIR))
        assert graph_of(inventory).impact(Node(NodeKind.LINK, INIT_LINK)) == Impact((), ("web",))
        assert graph_of(inventory).impact(Node(NodeKind.LINK, RW_LINK)) == Impact((), ("web",))
        assert graph_of(inventory).impact(Node(NodeKind.LINK, STRAY_LINK)) == Impact()

    def test_of_an_image_and_of_a_container_themselves(self):
        graph = graph_of(healthy_inventory())
        assert graph.impact(Node(NodeKind.IMAGE, IMAGE)) == Impact(("app:latest",), ("web",))
        assert graph.impact(Node(NodeKind.CONTAINER, CONTAINER)) == Impact((), ("web",))

    def test_what_an_image_is_called(self):
        other = ImageId(digest("other"))
        names = {"b:1": IMAGE, "a:1": IMAGE, f"a@{digest('x')}": IMAGE, f"c@{digest('y')}": other}
        graph = graph_of(healthy_inventory(repositories=Present(Repositories(names))))
        assert graph.image_labels(IMAGE) == ("a:1", "b:1")
        assert graph.image_labels(other) == (f"c@{digest('y')}",)
        assert graph.image_labels(digest("nobody")) == (digest("nobody")[:19],)
        assert graph_of(healthy_inventory(repositories=EMPTY)).image_labels(IMAGE) == (IMAGE[:19],)

    @pytest.mark.parametrize(
        ("config", "label"),
        [
            (Present(container_config()), "web"),
            (Present(container_config(name="")), CONTAINER[:12]),
            (EMPTY, CONTAINER[:12]),
        ],
    )
    def test_what_a_container_is_called(self, config, label):
        inventory = with_records(healthy_inventory(), container(config=config))
        assert graph_of(inventory).container_label(CONTAINER) == label
        assert graph_of(inventory).container_label("f" * 64) == "f" * 12


def test_the_closure_goes_through_lowers_and_pairs_of_what_exists():
    graph = graph_of(healthy_inventory())
    assert graph.closure([INIT_DIR]) == {INIT_DIR, RW_DIR, TOP_DIR, BASE_DIR}
    assert graph.closure([TOP_DIR]) == {TOP_DIR, BASE_DIR}
    assert graph.closure([LayerDirId("nothing")]) == set()


def test_many_symlinks_to_one_dir_and_many_dirs_of_one_link_take_no_longer_than_others():
    """Each is found in one go: 100 000 tuples, each longer than the one before, would take minutes."""
    many = range(100_000)
    symlinks = {LinkId(str(n)): symlink(LinkId(str(n)), TOP_DIR) for n in many}
    dirs = {LayerDirId(str(n)): layer_dir(LayerDirId(str(n)), TOP_LINK) for n in many}
    inventory = healthy_inventory(link_farm=LinkFarm(FileType.DIRECTORY, symlinks), layer_dirs=dirs)
    with within(10):
        graph = graph_of(inventory)
        assert (len(graph.symlinks_to[TOP_DIR]), len(graph.claimants[TOP_LINK])) == (100_000, 100_000)
