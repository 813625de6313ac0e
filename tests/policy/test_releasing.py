"""What goes with a layer, and why a release is not proven (S10): exact answers on small roots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from support.inventories import (
    BASE_CHAIN,
    BASE_LINK,
    BOUND_NS,
    IMAGE,
    INIT_LINK,
    RW_DIR,
    RW_LINK,
    TOP_CHAIN,
    TOP_DIR,
    TOP_LINK,
    YOUNG_NS,
    build_id,
    digest,
    dir_id,
    graph_of,
    hex64,
    image,
    layer,
    layer_dir,
    link_id,
    rw_layer,
    symlink,
    with_records,
)
from support.leaks import BASE_DIFF, LISTED, LOW, LOW_DIFF, LOW_DIR, LOW_LINK, TIP, TIP_DIFF, TIP_DIR, TIP_LINK, leaked
from support.results import orphan

from gcd.model.entry import EntryId, EntryState, Ground, Manifest, Operation, RunId
from gcd.model.facts import (
    BuildSnapshot,
    Engine,
    EngineState,
    KernelMount,
    Listed,
    QuarantineEntry,
    RemovingRecord,
    Repositories,
)
from gcd.model.facts.buildkit import SnapshotKind
from gcd.model.ids import ChainId, DiffId, ImageId, chain_id
from gcd.model.plan import Reason
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present
from gcd.policy import releasing
from gcd.policy.confidence import judge
from gcd.policy.releasing import FREE, SOUND, Proof, Scene, Unproven, prove
from gcd.rules.table import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcd.model.inventory import Inventory
    from gcd.model.reading import Reading
    from gcd.policy.releasing import Check

SIDE_DIFF = DiffId(digest("side diff"))
SIDE = chain_id(LOW, SIDE_DIFF)
SIDE_DIR, SIDE_LINK = dir_id("side"), link_id("side")


def named(chain: ChainId) -> str:
    return f"layer {chain[:19]}"


def scene(inventory: Inventory, listed: Listed = LISTED) -> Scene:
    graph = graph_of(inventory)
    findings, not_checked = find(inventory, graph, {"GCD211"})
    assert not_checked == ()
    return Scene(inventory, graph, {ChainId(f.subject.id): judge(f, BOUND_NS) for f in findings}, listed)


# --- what goes ------------------------------------------------------------------------------------


def test_down_to_what_a_listed_image_holds():
    assert prove(scene(leaked()), TIP) == Proof(
        diff_ids=(BASE_DIFF, LOW_DIFF, TIP_DIFF), goes={TIP: TIP_DIR, LOW: LOW_DIR}, stays=(BASE_CHAIN,)
    )


def test_the_order_is_that_of_the_engine():
    proof = prove(scene(leaked()), TIP)
    assert isinstance(proof, Proof)
    assert list(proof.goes) == [TIP, LOW]


def test_down_to_what_another_record_stands_on():
    inventory = leaked(
        layer(SIDE_DIFF, SIDE_DIR, LOW),
        layer_dir(SIDE_DIR, SIDE_LINK, (LOW_LINK, BASE_LINK)),
        symlink(SIDE_LINK, SIDE_DIR),
    )
    assert prove(scene(inventory), TIP) == Proof(
        (BASE_DIFF, LOW_DIFF, TIP_DIFF), goes={TIP: TIP_DIR}, stays=(LOW, BASE_CHAIN)
    )


def test_to_the_ground_where_nothing_holds_the_base():
    records = (layer(SIDE_DIFF, SIDE_DIR), layer_dir(SIDE_DIR, SIDE_LINK), symlink(SIDE_LINK, SIDE_DIR))
    base = ChainId(SIDE_DIFF)
    assert prove(scene(leaked(*records)), base) == Proof((SIDE_DIFF,), goes={base: SIDE_DIR}, stays=())


def test_nothing_where_an_image_holds_the_tip():
    adopted = ImageId(digest("adopted"))
    inventory = leaked(image(BASE_DIFF, LOW_DIFF, TIP_DIFF, image_id=adopted))
    listed = replace(LISTED, images=LISTED.images | {adopted})
    assert prove(scene(inventory, listed), TIP) == Proof(
        (BASE_DIFF, LOW_DIFF, TIP_DIFF), goes={}, stays=(TIP, LOW, BASE_CHAIN)
    )


def test_what_an_orphan_stands_on_may_go():
    """The dir that the killed pull was extracting names them all in its ``lower``; nothing needs it."""
    orphan = layer_dir(SIDE_DIR, SIDE_LINK, (TIP_LINK, LOW_LINK, BASE_LINK))
    assert isinstance(prove(scene(leaked(orphan, symlink(SIDE_LINK, SIDE_DIR))), TIP), Proof)


# --- what holds a layer only on disk --------------------------------------------------------------


def names(node: str, chain: ChainId) -> Unproven:
    return Unproven(Reason.BLOCKED, f"{node} names {named(chain)}, and the engine may not hold it for that")


def test_an_image_that_the_engine_does_not_list():
    other = image(BASE_DIFF, LOW_DIFF, image_id=ImageId(digest("other")))
    assert prove(scene(leaked(other)), TIP) == names(f"image:{other.id}", LOW)
    assert prove(scene(leaked(other), replace(LISTED, images=frozenset({other.id}))), TIP) == Proof(
        (BASE_DIFF, LOW_DIFF, TIP_DIFF), goes={TIP: TIP_DIR}, stays=(LOW, BASE_CHAIN)
    )


def test_an_image_whose_config_has_other_bytes_than_its_name_says():
    """What the engine lists under this id is not what the file says."""
    forged = image(BASE_DIFF, LOW_DIFF, image_id=IMAGE, digest=ImageId(digest("forged")))
    assert prove(scene(leaked(forged)), TIP) == names(f"image:{IMAGE}", LOW)


def test_a_damaged_record_that_can_be_mended():
    """T2: its image would be lost for ever."""
    inventory = leaked(
        layer(SIDE_DIFF, SIDE_DIR, TIP, size=EMPTY), layer_dir(SIDE_DIR, SIDE_LINK, (TIP_LINK, LOW_LINK, BASE_LINK))
    )
    assert prove(scene(inventory), TIP) == names(f"layer:{chain_id(TIP, SIDE_DIFF)}", TIP)


def test_a_young_record():
    """The engine has it in its memory, or somebody restored it and it has not."""
    inventory = leaked(layer(SIDE_DIFF, SIDE_DIR, LOW, ctime_ns=YOUNG_NS), layer_dir(SIDE_DIR, SIDE_LINK, (LOW_LINK,)))
    assert prove(scene(inventory), TIP) == names(f"layer:{SIDE}", LOW)


def test_a_record_that_is_being_removed():
    removing = RemovingRecord(f"{hex64('x')}-{hex64('y')}-removing", SIDE, ABSENT, Present(TIP), BOUND_NS - 1)
    assert prove(scene(leaked(removing)), TIP) == names(f"removing-layer:{removing.name}", TIP)


def test_an_rw_layer():
    inventory = leaked(rw_layer("leaked", SIDE_DIR, TIP))
    assert prove(scene(inventory), TIP) == names("rw-layer:leaked", TIP)


@pytest.mark.parametrize(
    ("snapshot", "node"),
    [
        (BuildSnapshot(build_id("s"), SnapshotKind.ACTIVE, build_id("s"), TIP, None), "build-snapshot"),
        (BuildSnapshot(build_id("s"), SnapshotKind.LEASE, None, "", TIP), "build-snapshot"),
        (BuildSnapshot(TIP, SnapshotKind.LAYER, None, "", None), "build-snapshot"),
    ],
    ids=["parent", "chainid", "name"],
)
def test_the_build_cache(snapshot: BuildSnapshot, node: str):
    assert prove(scene(leaked(snapshot)), TIP) == names(f"{node}:{snapshot.name}", TIP)


def test_a_word_in_any_database_of_the_build_cache():
    inventory = leaked()
    inventory = replace(inventory, build_cache=replace(inventory.build_cache, chains=frozenset({TIP})))
    assert prove(scene(inventory), TIP) == names("database:buildkit", TIP)


# --- each check -----------------------------------------------------------------------------------


def lost_image(inventory: Inventory) -> Inventory:
    """A tag names an image that is gone; which layers it had, only its config told."""
    lost = ImageId(digest("lost"))
    return replace(inventory, repositories=Present(Repositories({"app:latest": IMAGE, "lost:v1": lost})))


def cited_by_the_container(inventory: Inventory) -> Inventory:
    rw = layer_dir(RW_DIR, RW_LINK, (INIT_LINK, TIP_LINK, TOP_LINK, BASE_LINK))
    return with_records(inventory, rw)


def mounted(inventory: Inventory) -> Inventory:
    mount = KernelMount("/mnt", "overlay", "mnt:[2]", (7,), "sh", frozenset({TIP_DIR}), frozenset(), None)
    return replace(inventory, mounts=(mount,))


ENTRY = EntryId("20261128T110049-0001")


def quarantined(manifest: Reading[Manifest], state: EntryState = EntryState.CLOSED) -> Callable[[Inventory], Inventory]:
    return lambda inventory: replace(inventory, quarantine={ENTRY: QuarantineEntry(ENTRY, state, manifest)})


def standing_on(ground: Ground) -> Present[Manifest]:
    found = orphan("a")
    return Present(Manifest(ENTRY, RunId("r"), Operation.QUARANTINE, 0, "boot", "", 1, found, (), ground))


UNREADABLE = RemovingRecord(f"{hex64('x')}-{hex64('y')}-removing", SIDE, ABSENT, EMPTY, BOUND_NS - 1)

CASES: dict[str, tuple[Check, Callable[[Inventory], Inventory], Unproven]] = {
    "damaged": (
        releasing.is_whole,
        lambda inventory: with_records(inventory, layer(TIP_DIFF, TIP_DIR, LOW, size=EMPTY)),
        Unproven(Reason.BLOCKED, f"{named(TIP)} is damaged, or stands on one that is"),
    ),
    "young": (
        releasing.is_settled,
        lambda inventory: with_records(inventory, layer(LOW_DIFF, LOW_DIR, BASE_CHAIN, ctime_ns=YOUNG_NS)),
        Unproven(Reason.SUSPECTED, f"{named(LOW)} changed after the engine started"),
    ),
    "lost parent": (
        releasing.hashes_to_its_name,
        lambda inventory: with_records(inventory, replace(layer(TIP_DIFF, TIP_DIR, LOW), parent=ABSENT)),
        Unproven(Reason.BLOCKED, f"the diff id and the parent of {named(TIP)} do not hash to its name"),
    ),
    "shared dir": (
        releasing.has_a_dir_of_its_own,
        lambda inventory: with_records(inventory, layer(TIP_DIFF, TOP_DIR, LOW)),
        Unproven(Reason.BLOCKED, f"layer:{TOP_CHAIN} uses the dir of {named(TIP)} too"),
    ),
    "mounted": (
        releasing.has_a_dir_of_its_own,
        mounted,
        Unproven(Reason.IN_USE, f"mount:mnt:[2]:/mnt uses the dir of {named(TIP)} too"),
    ),
    "no dir": (
        releasing.has_a_dir_of_its_own,
        lambda inventory: with_records(inventory, layer(TIP_DIFF, dir_id("gone"), LOW)),
        Unproven(Reason.CHANGED, f"the dir of {named(TIP)} is not there"),
    ),
    "lower of the living": (
        releasing.is_below_nothing_alive,
        cited_by_the_container,
        Unproven(Reason.BLOCKED, f"layer dir {RW_DIR[:12]} stands on the dir of {named(TIP)}"),
    ),
    "ground of a record in the quarantine": (
        releasing.is_no_ground_of_the_quarantine,
        quarantined(standing_on(Ground({LOW: LOW_DIR}, {}))),
        Unproven(Reason.BLOCKED, f"entry {ENTRY} of the quarantine stood on {named(LOW)}: purge it first"),
    ),
    "an entry that cannot be read": (
        releasing.is_no_ground_of_the_quarantine,
        quarantined(Malformed("JSON", "junk")),
        Unproven(Reason.BLOCKED, f"what entry {ENTRY} of the quarantine stood on cannot be read"),
    ),
    "removing without a parent that can be read": (
        releasing.is_not_below_what_is_being_removed,
        lambda inventory: with_records(inventory, UNREADABLE),
        Unproven(Reason.BLOCKED, f"on what {named(SIDE)} stands, which is being removed, cannot be read"),
    ),
    "may belong to a lost image": (
        releasing.is_orphaned,
        lost_image,
        Unproven(Reason.BLOCKED, f"{named(TIP)} may belong to what GCD405:reference:lost:v1 has lost"),
    ),
    "its dir is young": (
        releasing.is_orphaned,
        lambda inventory: with_records(
            inventory, layer_dir(TIP_DIR, TIP_LINK, (LOW_LINK, BASE_LINK), ctime_ns=YOUNG_NS)
        ),
        Unproven(Reason.SUSPECTED, f"{named(TIP)} may belong to work under way"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_proven(case: str):
    _, change, expected = CASES[case]
    assert prove(scene(change(leaked())), TIP) == expected


@pytest.mark.parametrize("case", CASES)
def test_without_its_check_it_would_be_judged_otherwise(case: str, monkeypatch: pytest.MonkeyPatch):
    check, change, expected = CASES[case]
    monkeypatch.setattr(releasing, "SOUND", tuple(c for c in SOUND if c is not check))
    monkeypatch.setattr(releasing, "FREE", tuple(c for c in FREE if c is not check))
    assert prove(scene(change(leaked())), TIP) != expected


def test_every_check_has_a_case():
    assert {check for check, _, _ in CASES.values()} == {*SOUND, *FREE}


@pytest.mark.parametrize(
    "change",
    [
        quarantined(standing_on(Ground({}, {LOW_LINK: LOW_DIR}))),
        quarantined(Malformed("JSON", "junk"), EntryState.PURGING),
    ],
    ids=["a dir without a record", "what is being purged"],
)
def test_what_holds_nothing_back(change: Callable[[Inventory], Inventory]):
    assert prove(scene(change(leaked())), TIP) == prove(scene(leaked()), TIP)


def test_what_the_engine_says_that_it_uses():
    listed = replace(LISTED, dirs=LISTED.dirs | {LOW_DIR})
    expected = f"the engine says that an image or a container uses the dir of {named(LOW)}"
    assert prove(scene(leaked(), listed), TIP) == Unproven(Reason.IN_USE, expected)


def test_what_is_no_orphan_any_more():
    held = scene(leaked())
    assert prove(replace(held, findings={}), TIP) == Unproven(
        Reason.CHANGED, f"{named(TIP)} is not found to be an orphan any more"
    )


def test_a_layer_without_a_record():
    gone = ChainId(digest("gone"))
    assert prove(scene(leaked()), gone) == Unproven(Reason.CHANGED, f"{named(gone)} has no record")


def test_a_base_without_a_record():
    inventory = leaked()
    inventory = replace(inventory, layers={c: r for c, r in inventory.layers.items() if c != BASE_CHAIN})
    assert prove(scene(inventory), TIP) == Unproven(Reason.CHANGED, f"{named(BASE_CHAIN)} has no record")


def test_without_an_epoch_nothing_is():
    inventory = leaked(engine=Engine(EngineState.RUNNING, pid=1, epoch_ns=None))
    graph = graph_of(inventory, None)
    assert prove(Scene(inventory, graph, {}, LISTED), TIP) == Unproven(
        Reason.SUSPECTED, f"{named(TIP)} changed after the engine started"
    )
