"""Whole-run refusals (S22) by exact sentences; and that each member of the table is needed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.inventories import empty_inventory, healthy_inventory, hex64
from support.results import NOON_NS, RUNNING, STOPPED

from gcd.model.facts import Engine, EngineState, FileType, LinkFarm, Listed
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ContainerId, ImageId
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.policy import refusals
from gcd.policy.policy import History
from gcd.policy.refusals import REFUSALS, Outlook, leaves_nothing, refusal

MINUTE_NS = 60_000_000_000
HEALTHY = replace(healthy_inventory(), engine=STOPPED)
BARE = replace(HEALTHY, images={}, containers={})
DIRS = len(HEALTHY.layer_dirs)
ALIVE = Listed(frozenset(HEALTHY.images), frozenset(HEALTHY.containers))


def outlook(inventory=HEALTHY, **fields):
    return Outlook(**{"inventory": inventory, "now_ns": NOON_NS, **fields})


def engine(**fields):
    return replace(HEALTHY, engine=replace(RUNNING, **fields))


def covered(source, coverage):
    return replace(HEALTHY, sources={**HEALTHY.sources, source: SourceState(coverage, "a test")})


AGAINST = {
    refusals.several_engines: (
        outlook(engine(others=(12, 13)), listed=ALIVE),
        "more than one engine has files of this root open (pids 12, 13): stop all but one",
    ),
    refusals.doubts: (
        outlook(engine(doubts=("the clock was set back", "tmp has no birth")), listed=ALIVE),
        "nothing is certain here: the clock was set back; tmp has no birth",
    ),
    refusals.clock_went_back: (
        outlook(history=History(last_ns=NOON_NS + 3 * MINUTE_NS)),
        "the clock went back: an earlier run was recorded 180 s in the future; set it right",
    ),
    refusals.read_only: (outlook(is_read_only=True), "the file system of this root is mounted read-only"),
    refusals.keepers_unread: (
        outlook(covered(Source.IMAGES, Coverage.UNREADABLE)),
        "what keeps layer dirs alive cannot be read: images (unreadable); put that right first",
    ),
    refusals.engine_unasked: (
        outlook(engine()),
        "the engine runs, and did not say before and after gcd looked what it has: try again, or name its --socket",
    ),
    refusals.unexpectedly_empty: (
        outlook(BARE),
        f"there are {DIRS} layer dirs and no image: if all images were removed on purpose, say --allow-empty",
    ),
    refusals.engine_knows_more: (
        outlook(engine(), listed=Listed(ALIVE.images | {ImageId("sha256:00")}, ALIVE.containers)),
        "the engine lists sha256:00, of which the disk has no record: do not stop it, and save what runs",
    ),
}


def test_nothing_is_against_a_healthy_root():
    assert refusal(outlook()) == ""
    assert refusal(outlook(engine(), listed=ALIVE)) == ""
    assert refusal(outlook(replace(empty_inventory(), engine=STOPPED))) == ""


@pytest.mark.parametrize("check", REFUSALS, ids=lambda check: check.__name__)
def test_each_refusal_has_its_sentence(check):
    against, sentence = AGAINST[check]

    assert refusal(against) == sentence


@pytest.mark.parametrize("dropped", REFUSALS, ids=lambda check: check.__name__)
def test_without_any_one_of_them_its_case_would_pass(dropped, monkeypatch):
    monkeypatch.setattr(refusals, "REFUSALS", tuple(check for check in REFUSALS if check is not dropped))

    assert [check for check, (against, _) in AGAINST.items() if refusal(against) == ""] == [dropped]


def test_the_clock_may_differ_by_two_minutes():
    assert refusal(outlook(history=History(last_ns=NOON_NS + 2 * MINUTE_NS))) == ""
    assert refusal(outlook(history=History(last_ns=NOON_NS + 2 * MINUTE_NS + 1))) != ""


@pytest.mark.parametrize("source", [Source.IMAGES, Source.LAYERS, Source.CONTAINERS])
@pytest.mark.parametrize(
    ("coverage", "is_refused"),
    [
        (Coverage.ABSENT, True),
        (Coverage.UNREADABLE, True),
        (Coverage.PARTIAL, False),
        (Coverage.OK, False),
    ],
)
def test_what_keeps_dirs_alive_must_be_there(source, coverage, is_refused):
    assert (refusal(outlook(covered(source, coverage))) != "") == is_refused


def test_without_layer_dirs_nothing_hangs_on_it():
    missing = covered(Source.IMAGES, Coverage.ABSENT)

    assert refusal(outlook(replace(missing, layer_dirs={}, images={}))) == ""


@pytest.mark.parametrize(
    ("inventory", "fields", "sentence"),
    [
        (BARE, {"allow_empty": True}, ""),
        (replace(HEALTHY, containers={}), {}, ""),
        (
            replace(BARE, layers={}),
            {},
            (
                f"there are {DIRS} layer dirs and no image and no layer record: if all images were removed on purpose, "
                "say --allow-empty"
            ),
        ),
        (
            replace(BARE, engine=RUNNING),
            {},
            "the engine runs, and did not say before and after gcd looked what it has: try again, or name its --socket",
        ),
        (replace(BARE, engine=RUNNING), {"listed": Listed()}, ""),
        (
            replace(BARE, engine=RUNNING),
            {"listed": ALIVE},
            (
                f"there are {DIRS} layer dirs and no image, but the engine lists {len(ALIVE.images)}: "
                "do not stop it, and save what runs"
            ),
        ),
        (
            replace(BARE, engine=Engine(EngineState.UNKNOWN)),
            {"listed": Listed()},
            f"there are {DIRS} layer dirs and no image: if all images were removed on purpose, say --allow-empty",
        ),
    ],
)
def test_a_root_without_images(inventory, fields, sentence):
    assert refusal(outlook(inventory, **fields)) == sentence


def test_a_container_that_only_the_engine_knows_refuses_too():
    more = Listed(ALIVE.images, ALIVE.containers | {ContainerId("aa"), ContainerId("bb")})

    assert refusal(outlook(engine(), listed=more)) == (
        "the engine lists aa and 1 more, of which the disk has no record: do not stop it, and save what runs"
    )


def test_the_last_layer_dir_does_not_go_where_there_is_no_link_farm():
    farmless = replace(HEALTHY, link_farm=LinkFarm(None, {}))
    every = [Node(NodeKind.LAYER_DIR, name) for name in HEALTHY.layer_dirs]

    assert leaves_nothing(farmless, every) == (
        "overlay2 would be left empty, at which newer engines start with another store; start the engine once first"
    )
    assert leaves_nothing(farmless, every[1:]) == ""
    assert leaves_nothing(farmless, []) == ""
    assert leaves_nothing(replace(HEALTHY, link_farm=LinkFarm(FileType.DIRECTORY, {})), every) == ""
    assert leaves_nothing(farmless, [Node(NodeKind.LAYER, hex64("a")), *every[1:]]) == ""
