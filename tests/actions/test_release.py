"""
What a release makes of the engine's answers, and of outcomes that no sound engine has: an engine made of a few lines.
"""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from support.inventories import BASE_CHAIN, BASE_DIR, BOUND_NS, IMAGE, TOP_CHAIN, digest
from support.leaks import BASE_DIFF, LISTED, LOW, LOW_DIFF, LOW_DIR, RUNNING, TIP, TIP_DIFF, TIP_DIR, leaked

from gcd.actions import release as releasing
from gcd.actions.engineapi import EngineApi, EngineRefused, LoadedImage
from gcd.actions.release import LABEL, finish, release, unfinished
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.model.finding import Acceptance
from gcd.model.ids import ChainId, ImageId, chains_of
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.plan import Outcome, Reason, Release
from gcd.model.storegraph import StoreGraph
from gcd.planning import Wish, objection
from gcd.policy.policy import DAY_NS, History, Policy, Protection, Window
from gcd.root.tree import open_root
from gcd.rules.table import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gcd.actions.release import Objection
    from gcd.model.inventory import Inventory
    from gcd.model.plan import Deed

DONE = (Outcome.DONE, None, "")
CHAIN_OF = {BASE_CHAIN: BASE_DIR, LOW: LOW_DIR, TIP: TIP_DIR}


def short(id_: str) -> str:
    return id_[:19]


class FakeEngine(EngineApi):
    """An engine on the root `home`; it deletes `takes` when an image is removed, and says that it did."""

    def __init__(self, home: Path) -> None:
        self.socket = "/s"
        self.home = home
        self.loaded: dict[ImageId, LoadedImage] = {}
        self.takes = [TIP, LOW]
        self.also_tells: set[ChainId] = set()
        self.closed = 0
        self.pulse: Callable[[], None] = lambda: None
        for chain, layer_dir in CHAIN_OF.items():
            self.record(chain).mkdir(parents=True)
            (home / "overlay2" / layer_dir).mkdir(parents=True)

    def record(self, chain: str) -> Path:
        return self.home / "image/overlay2/layerdb/sha256" / chain.removeprefix("sha256:")

    def delete(self, chain: ChainId) -> None:
        if self.record(chain).exists():
            self.record(chain).rmdir()
            (self.home / "overlay2" / CHAIN_OF[chain]).rmdir()

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def listed(self, without: ImageId | None = None):
        assert without is None or without in self.loaded
        return LISTED

    def images(self):
        return tuple(self.loaded.values())

    def has(self, image: ImageId) -> bool:
        return image in self.loaded

    def load(self, archive: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            (manifest,) = json.load(opened.extractfile("manifest.json"))
            raw = opened.extractfile(manifest["Config"]).read()
            assert set(opened.getnames()) == {"manifest.json", manifest["Config"]}
        config = json.loads(raw)
        assert manifest["RepoTags"] is None
        assert len(manifest["Layers"]) == len(config["rootfs"]["diff_ids"])
        image = ImageId("sha256:" + manifest["Config"].removesuffix(".json"))
        self.loaded[image] = LoadedImage(image, (), config["config"]["Labels"], tuple(config["rootfs"]["diff_ids"]))

    def remove(self, image: ImageId):
        if self.loaded.pop(image, None) is None:
            return None
        for chain in self.takes:
            self.delete(chain)
        return frozenset({*self.takes, *self.also_tells})


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    made = FakeEngine(tmp_path)
    monkeypatch.setattr(releasing, "connect", lambda *_, **__: made)
    return made


def steps(inventory: Inventory, *chains: ChainId) -> list[Release]:
    findings, _ = find(inventory, StoreGraph(inventory, BOUND_NS), {"GCD211"})
    by_chain = {finding.subject.id: replace(finding, disk_bytes=4096) for finding in findings}
    return [Release(by_chain[chain], chain) for chain in chains]


def carry_out(engine: FakeEngine, inventory: Inventory | None = None, *chains: ChainId) -> list[list[Deed]]:
    found = leaked() if inventory is None else inventory
    asked = steps(leaked(), *(chains or (TIP, LOW)))
    with open_root(str(engine.home)) as root:
        return [list(d) for d in release(root, RUNNING, asked, read=lambda: found, now_ns=BOUND_NS + 1)]


def told(deeds: list[list[Deed]]) -> list[list[tuple[ChainId, Outcome, Reason | None, str]]]:
    return [[(d.step.chain, d.outcome, d.reason, d.why) for d in part] for part in deeds]


# --- as foretold ----------------------------------------------------------------------------------


def test_a_tip_and_what_goes_with_it_is_one_blow(engine: FakeEngine):
    deeds = carry_out(engine)
    assert told(deeds) == [[(TIP, *DONE), (LOW, *DONE)]]
    assert [d.disk_bytes for d in deeds[0]] == [4096, 4096]
    assert (engine.loaded, engine.closed) == ({}, 1)


def test_the_archive_names_the_chain_and_holds_no_layer(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "remove", lambda _image: None)
    carry_out(engine)
    ((id_, image),) = engine.loaded.items()
    assert image.diff_ids == (BASE_DIFF, LOW_DIFF, TIP_DIFF)
    assert image.labels.keys() == {LABEL}
    assert len(image.labels[LABEL]) == 32
    assert id_ == releasing._Wrapping(image.diff_ids, image.labels[LABEL]).id


def test_no_two_configs_are_alike(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "remove", lambda _image: None)
    carry_out(engine)
    carry_out(engine)
    assert len(engine.loaded) == 2


def test_it_may_be_closed_between_two_blows(engine: FakeEngine):
    with open_root(str(engine.home)) as root:
        found = release(root, RUNNING, steps(leaked(), TIP, LOW), read=leaked, now_ns=BOUND_NS + 1)
        next(found)
        found.close()
    assert engine.closed == 1


def test_an_image_that_somebody_removed_meanwhile_is_done(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    load = engine.load

    def pruned(archive: bytes) -> None:
        load(archive)
        (image,) = engine.loaded
        engine.remove(image)

    monkeypatch.setattr(engine, "load", pruned)
    assert told(carry_out(engine)) == [[(TIP, *DONE), (LOW, *DONE)]]


# --- otherwise ------------------------------------------------------------------------------------


def failed(chain: ChainId, why: str) -> tuple[ChainId, Outcome, Reason, str]:
    return (chain, Outcome.FAILED, Reason.ENGINE_REFUSED, why)


def test_the_engine_deletes_more_than_was_foretold(engine: FakeEngine):
    engine.takes = [TIP, LOW, BASE_CHAIN]
    assert told(carry_out(engine)) == [[failed(TIP, f"the engine deleted layer {short(BASE_CHAIN)} too"), (LOW, *DONE)]]


def test_what_should_stay_is_gone(engine: FakeEngine):
    """The engine does not tell it, the disk does."""
    engine.delete(BASE_CHAIN)
    assert told(carry_out(engine)) == [[failed(TIP, f"layer {short(BASE_CHAIN)} went too"), (LOW, *DONE)]]


def test_a_dir_goes_without_its_record(engine: FakeEngine):
    engine.record(TOP_CHAIN).mkdir()
    assert told(carry_out(engine)) == [
        [failed(TIP, f"the dir of layer {short(TOP_CHAIN)} went without its record"), (LOW, *DONE)]
    ]


def test_the_engine_holds_it_for_something_else(engine: FakeEngine):
    engine.takes = []
    why = f"the engine still holds layer {short(TIP)}"
    deeds = carry_out(engine)
    assert told(deeds) == [[failed(TIP, why), failed(LOW, why)]]
    assert [d.disk_bytes for d in deeds[0]] == [0, 0]


def test_the_engine_holds_what_lies_below(engine: FakeEngine):
    engine.takes = [TIP]
    why = f"the engine still holds layer {short(LOW)}"
    deeds = carry_out(engine)
    assert told(deeds) == [[failed(TIP, why), failed(LOW, why)]]
    assert [d.disk_bytes for d in deeds[0]] == [4096, 0]


def test_what_is_left_cannot_be_listed(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(releasing, "_names", lambda _root, _path: None)
    why = "what is left cannot be listed"
    assert told(carry_out(engine)) == [[failed(TIP, why), failed(LOW, why)]]


def test_after_that_nothing_is_released(engine: FakeEngine):
    other = ChainId(digest("other"))
    asked = [*steps(leaked(), TIP, LOW), replace(steps(leaked(), TIP)[0], chain=other)]
    asked[2] = replace(asked[2], finding=replace(asked[2].finding, subject=asked[2].finding.subject._replace(id=other)))
    engine.takes = []
    with open_root(str(engine.home)) as root:
        deeds = [list(d) for d in release(root, RUNNING, asked, read=leaked, now_ns=BOUND_NS + 1)]
    why = f"a release before it did not end as foretold: the engine still holds layer {short(TIP)}"
    assert told(deeds)[1:] == [[(other, Outcome.REFUSED, Reason.RUN_REFUSED, why)]]


def test_a_load_that_is_refused_leaves_no_image(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    """The connection broke after the engine had done it: the image is removed all the same."""
    load = engine.load

    def broken(archive: bytes) -> None:
        load(archive)
        raise EngineRefused("connection reset")

    monkeypatch.setattr(engine, "load", broken)
    why = "the engine refused the load: connection reset"
    assert told(carry_out(engine)) == [[failed(TIP, why), (LOW, *DONE)]]
    assert engine.loaded == {}


def test_a_removal_that_is_refused(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    def conflict(_image: ImageId) -> None:
        raise EngineRefused("conflict")

    monkeypatch.setattr(engine, "remove", conflict)
    ((tip, low),) = carry_out(engine)
    (image,) = engine.loaded
    why = f"the engine refused to remove image {short(image)}: conflict"
    assert told([[tip, low]]) == [[failed(TIP, why), failed(LOW, why)]]


# --- refused before anything is asked -------------------------------------------------------------


def refused(chain: ChainId, reason: Reason, why: str) -> list[tuple[ChainId, Outcome, Reason, str]]:
    return [(chain, Outcome.REFUSED, reason, why)]


def expect_nothing_asked(engine: FakeEngine) -> None:
    assert engine.loaded == {}
    assert engine.record(TIP).exists()


def test_the_engine_cannot_be_asked(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_: object, **__: object) -> None:
        raise CannotAct("No socket.")

    monkeypatch.setattr(releasing, "connect", unreachable)
    why = (Outcome.REFUSED, Reason.ENGINE_REFUSED, "No socket.")
    assert told(carry_out(engine)) == [[(TIP, *why), (LOW, *why)]]
    expect_nothing_asked(engine)


@pytest.mark.parametrize(
    "other",
    [replace(RUNNING, pid=2), replace(RUNNING, state=EngineState.STOPPED, pid=None)],
    ids=["another", "none"],
)
def test_another_engine_than_the_plans(engine: FakeEngine, other):
    why = "the engine of this root is another one than before, or is gone"
    expected = [refused(chain, Reason.CHANGED, why) for chain in (TIP, LOW)]
    assert told(carry_out(engine, leaked(engine=other))) == expected
    expect_nothing_asked(engine)


def test_a_source_that_was_not_read(engine: FakeEngine):
    inventory = leaked()
    lack = SourceState(Coverage.BUSY, "snapshots.db changed all the time")
    inventory = replace(inventory, sources={**inventory.sources, Source.BUILD_SNAPSHOTS: lack})
    why = "build-snapshots was not read completely: snapshots.db changed all the time"
    assert told(carry_out(engine, inventory))[0] == refused(TIP, Reason.NOT_CHECKED, why)
    expect_nothing_asked(engine)


def test_a_doubt_of_the_reading(engine: FakeEngine):
    inventory = leaked(engine=replace(RUNNING, doubts=("the clock was set back",)))
    why = f"layer {short(TIP)} changed after the engine started"
    assert told(carry_out(engine, inventory))[0] == refused(TIP, Reason.SUSPECTED, why)
    expect_nothing_asked(engine)


@pytest.mark.parametrize("method", ["listed", "has"])
def test_an_engine_that_gives_no_answer(engine: FakeEngine, method: str, monkeypatch: pytest.MonkeyPatch):
    def silent(_image: object) -> None:
        raise EngineRefused("timed out")

    monkeypatch.setattr(engine, method, silent)
    ((chain, outcome, reason, why),) = told(carry_out(engine))[0]
    assert (chain, outcome, reason) == (TIP, Outcome.REFUSED, Reason.ENGINE_REFUSED)
    assert "timed out" in why
    expect_nothing_asked(engine)


@pytest.mark.parametrize("where", ["in the engine", "on disk"])
def test_an_image_of_that_id_is_there(engine: FakeEngine, where: str, monkeypatch: pytest.MonkeyPatch):
    """T3: it would be taken for gcd's own, and removed."""
    monkeypatch.setattr(releasing.secrets, "token_hex", lambda _size: "taken")
    id_ = releasing._Wrapping((BASE_DIFF, LOW_DIFF, TIP_DIFF), "taken").id
    inventory = leaked()
    if where == "on disk":
        there = replace(inventory.images[IMAGE], id=id_, digest=id_)
        inventory = replace(inventory, images={**inventory.images, id_: there})
    else:
        monkeypatch.setattr(engine, "has", lambda image: image == id_)
    why = f"there is an image {short(id_)} already"
    assert told(carry_out(engine, inventory))[0] == refused(TIP, Reason.ENGINE_REFUSED, why)
    expect_nothing_asked(engine)


def test_a_part_of_what_would_go(engine: FakeEngine):
    why = f"layer {short(LOW)} would go with it, and is not to be released"
    assert told(carry_out(engine, None, TIP)) == [refused(TIP, Reason.POLICY, why)]
    expect_nothing_asked(engine)


def test_what_something_stands_on(engine: FakeEngine):
    why = f"layer {short(LOW)} is in use"
    assert told(carry_out(engine, None, LOW)) == [refused(LOW, Reason.CHANGED, why)]
    expect_nothing_asked(engine)


# --- what a release left --------------------------------------------------------------------------


def leftover(nonce: str = "nonce", **changes: object) -> LoadedImage:
    wrapping = releasing._Wrapping((BASE_DIFF, LOW_DIFF, TIP_DIFF), nonce)
    return replace(LoadedImage(wrapping.id, (), {LABEL: nonce}, wrapping.diff_ids), **changes)


def with_leftover(inventory: Inventory, found: LoadedImage) -> Inventory:
    image = inventory.images[IMAGE]
    config = replace(image.config.value, chains=chains_of(found.diff_ids, {}))
    there = replace(image, id=found.id, digest=found.id, config=replace(image.config, value=config))
    return replace(inventory, images={**inventory.images, found.id: there})


def no_objection(_scene: object, _findings: object) -> None:
    pass


def finish_all(engine: FakeEngine, inventory: Inventory, objection: Objection = no_objection) -> list[list[Deed]]:
    with open_root(str(engine.home)) as root:
        found = finish(root, RUNNING, read=lambda: inventory, objection=objection, now_ns=BOUND_NS + 1)
        return [list(d) for d in found]


def by_settings(**wish: object) -> Objection:
    """What planning has against it; the clock is that of the inventory."""
    return partial(objection, wish=Wish(**wish), now_ns=BOUND_NS + 1)


LEFT_ALONE = {
    "protected": (
        by_settings(policy=Policy(protection=Protection(codes=frozenset({"GCD211"})))),
        Reason.PROTECTED,
        "the settings protect GCD211",
    ),
    "accepted": (
        by_settings(acceptances=(Acceptance("GCD211:*", "known"),)),
        Reason.ACCEPTED,
        "it is accepted (GCD211:*): known",
    ),
    "out of its window": (
        by_settings(policy=Policy(windows=(Window(frozenset(), time(0), time(1), UTC),))),
        Reason.OUTSIDE_WINDOW,
        "it is not the time:  00:00 to 01:00 UTC",
    ),
    "the run": (
        by_settings(history=History(last_ns=BOUND_NS + DAY_NS)),
        Reason.RUN_REFUSED,
        "the clock went back: an earlier run was recorded 86399 s in the future; set it right",
    ),
}


@pytest.mark.parametrize(("objection", "reason", "why"), LEFT_ALONE.values(), ids=LEFT_ALONE)
def test_what_a_plan_would_leave_alone_is_not_finished(engine: FakeEngine, objection, reason: Reason, why: str):
    left = leftover()
    engine.loaded = {left.id: left}
    inventory = replace(with_leftover(leaked(), left), root=str(engine.home))

    (deeds,) = finish_all(engine, inventory, objection)

    assert [(d.step.chain, d.outcome, d.reason) for d in deeds] == [
        (chain, Outcome.REFUSED, reason) for chain in (TIP, LOW)
    ]
    assert deeds[0].why == why
    assert engine.loaded == {left.id: left}
    assert engine.record(TIP).exists()


def test_what_a_plan_would_do_is_finished(engine: FakeEngine):
    left = leftover()
    engine.loaded = {left.id: left}
    inventory = replace(with_leftover(leaked(), left), root=str(engine.home))

    assert told(finish_all(engine, inventory, by_settings())) == [[(TIP, *DONE), (LOW, *DONE)]]
    assert engine.loaded == {}


def test_finish(engine: FakeEngine):
    left = leftover()
    engine.loaded = {left.id: left}
    deeds = finish_all(engine, with_leftover(leaked(), left))
    assert told(deeds) == [[(TIP, *DONE), (LOW, *DONE)]]
    assert (engine.loaded, engine.closed) == ({}, 1)


def test_whoever_waits_hears_of_measuring_what_is_finished(engine: FakeEngine):
    left = leftover()
    engine.loaded = {left.id: left}

    def end() -> None:
        raise KeyboardInterrupt

    engine.pulse = end
    with pytest.raises(KeyboardInterrupt):
        finish_all(engine, with_leftover(leaked(), left))
    assert engine.loaded == {left.id: left}


def test_one_that_holds_nothing_alone_goes_without_a_word(engine: FakeEngine):
    """Its layers were pulled meanwhile."""
    left = leftover()
    engine.loaded = {left.id: left}
    engine.takes = []
    pulled = ImageId(digest("pulled"))
    inventory = with_leftover(with_leftover(leaked(), left), replace(left, id=pulled))
    engine.listed = lambda _without: replace(LISTED, images=LISTED.images | {pulled})
    assert finish_all(engine, inventory) == []
    assert engine.loaded == {}
    assert engine.record(TIP).exists()


@pytest.mark.parametrize(
    "image",
    [
        leftover(references=("mine:v1",)),
        leftover(id=ImageId(digest("derived"))),
        leftover(labels={}),
        leftover(labels={LABEL: "another"}),
        leftover(diff_ids=(BASE_DIFF,)),
        LoadedImage(releasing._Wrapping((), "n").id, (), {LABEL: "n"}, ()),
    ],
    ids=["named", "derived", "no label", "another label", "other layers", "no layers"],
)
def test_what_is_not_gcds(engine: FakeEngine, image: LoadedImage):
    engine.loaded = {image.id: image}
    assert unfinished(engine) == {}
    assert finish_all(engine, leaked()) == []
    assert engine.loaded == {image.id: image}


def test_one_that_cannot_be_proven_stays(engine: FakeEngine):
    left = leftover()
    engine.loaded = {left.id: left}
    young = replace(leaked().layers[TIP], ctime_ns=BOUND_NS + 1)
    inventory = with_leftover(leaked(young), left)
    why = f"layer {short(TIP)} changed after the engine started"
    assert told(finish_all(engine, inventory)) == [refused(TIP, Reason.SUSPECTED, why)]
    assert engine.loaded == {left.id: left}


def test_one_whose_layers_are_no_orphans_stays(engine: FakeEngine):
    left = leftover()
    engine.loaded = {left.id: left}
    other = replace(RUNNING, pid=2)
    assert finish_all(engine, with_leftover(leaked(engine=other), left)) == []
    assert engine.loaded == {left.id: left}
