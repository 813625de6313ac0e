"""
Release on a real engine: what nothing uses goes, all else stays, whatever somebody does in between.

The names (T2, T7, …) are those of the experiments behind the safety rules S10 and S11; each shows an end that cost an
image, or a container its layers, before the rule was there. Where a test speaks of an orphaned chain, an image config
was lost with a power cut (`lose`), or a pull was killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import tarfile
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.engine import SETTLE, Engine
from support.scenes import BUILT, DONE_BEFORE_THE_KILL, FILES, judge, kill_during_pull, told

from gcd.actions import engineapi
from gcd.actions import release as releasing
from gcd.actions.engineapi import EngineApi, EngineRefused, NoAnswer, connect
from gcd.actions.release import LABEL, ORPHANED_LAYER, finish, release, unfinished
from gcd.commands.listing import listed
from gcd.model.errors import CannotAct
from gcd.model.finding import Confidence, Finding, Node, NodeKind
from gcd.model.ids import ChainId, ImageId
from gcd.model.plan import Deed, Outcome, Reason, Release
from gcd.planning import Wish, objection
from gcd.root.discover import detect_store
from gcd.root.dockerd import engines_on
from gcd.root.engine import read_engine
from gcd.root.tree import open_root
from gcd.rules.table import RULES
from gcd.run import reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gcd.model.inventory import Inventory

pytestmark = pytest.mark.engine


# --- what is asked of an engine -------------------------------------------------------------------------------------


def orphaned_layers(engine: Engine) -> dict[str, Finding]:
    return {f.subject.id: f for f in judge(engine).findings if f.code == "GCD211"}


def depth(engine: Engine, chain: str) -> int:
    parent = engine.layerdb / "sha256" / chain.removeprefix("sha256:") / "parent"
    return 1 + depth(engine, parent.read_text()) if parent.exists() else 1


def steps_of(engine: Engine, findings: Iterable[Finding]) -> list[Release]:
    """As a plan has them: tips first."""
    steps = [Release(finding, ChainId(finding.subject.id)) for finding in findings]
    return sorted(steps, key=lambda step: -depth(engine, step.chain))


def reading(engine: Engine) -> Callable[[], Inventory]:
    return reader(detect_store(str(engine.root)), now_ns=time.time_ns())


def carry_out(engine: Engine, steps: list[Release], *, socket: str = "") -> list[list[Deed]]:
    with open_root(str(engine.root)) as root:
        now_ns = time.time_ns()
        found = release(root, read_engine(root), steps, read=reading(engine), now_ns=now_ns, socket=socket)
        return [list(deeds) for deeds in found]


def release_all(engine: Engine) -> list[list[Deed]]:
    return carry_out(engine, steps_of(engine, orphaned_layers(engine).values()))


def finish_all(engine: Engine) -> list[list[Deed]]:
    with open_root(str(engine.root)) as root:
        now_ns = time.time_ns()
        against = partial(objection, wish=Wish(), now_ns=now_ns)
        found = finish(root, read_engine(root), read=reading(engine), objection=against, now_ns=now_ns)
        return [list(deeds) for deeds in found]


def outcomes(deeds: list[list[Deed]]) -> dict[str, tuple[str, str | None]]:
    return {d.step.finding.subject.id: (d.outcome, d.reason) for part in deeds for d in part}


def step_about(chain: str) -> Release:
    """A step that no plan would hold: there is no such finding."""
    (rule,) = (rule for rule in RULES if rule.code == ORPHANED_LAYER)
    subject = Node(NodeKind.LAYER, chain)
    finding = Finding(
        rule.code, rule.name, rule.kind, rule.severity, Confidence.PROVEN, subject, "", (), (), rule.remedies
    )
    return Release(finding, ChainId(chain))


def expect_refusal(engine: Engine, steps: list[Release], reason: Reason, why: str) -> None:
    """All `steps` are refused, the first for that reason, and the engine is not even asked to load anything."""
    before = (engine.chains(), engine.layer_dirs())
    loads: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EngineApi, "load", lambda _, archive: loads.append(archive))
        deeds = [deed for part in carry_out(engine, steps) for deed in part]
    assert {d.outcome for d in deeds} == {Outcome.REFUSED}, deeds
    assert (deeds[0].reason, why in deeds[0].why) == (reason, True), deeds[0]
    assert loads == []
    assert (engine.chains(), engine.layer_dirs()) == before


def saved(engine: Engine, *images: str) -> dict[str, dict[str, str]]:
    """By image, the digest of each file in what ``docker save`` gives; newer engines put the time into the headers."""
    found: dict[str, dict[str, str]] = {}
    for image in images:
        path = engine.home / "saved.tar"
        engine.docker("save", "-o", str(path), image)
        with tarfile.open(path) as archive:
            files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            found[image] = {name: hashlib.file_digest(file, "sha256").hexdigest() for name, file in files.items()}
        path.unlink()
    return found


# --- what happens to a root while its engine is stopped -------------------------------------------------------------


def lose(engine: Engine, *tags: str) -> None:
    """All of these images is lost, their layers are not: nothing but the layer records tells that they ever were."""
    imagedb = engine.root / "image/overlay2/imagedb"
    path = engine.root / "image/overlay2/repositories.json"
    content = json.loads(path.read_text())
    for tag in tags:
        references = content["Repositories"].pop(tag)
        for image in set(references.values()):
            name = image.removeprefix("sha256:")
            (imagedb / "content/sha256" / name).unlink()
            shutil.rmtree(imagedb / "metadata/sha256" / name, ignore_errors=True)
    path.write_text(json.dumps(content))


def layer_file(engine: Engine, chain: str, name: str) -> Path:
    return engine.layerdb / "sha256" / chain.removeprefix("sha256:") / name


@pytest.fixture
def branched(make_engine: Callable[..., Engine], branched_root: Path) -> Callable[..., Engine]:
    """``branched("branch")``: a running engine that lost those images; `plant` does more harm before its start."""

    def make(*lost: str, plant: Callable[[Engine], None] = lambda _: None) -> Engine:
        def harm(engine: Engine) -> None:
            lose(engine, *lost)
            plant(engine)

        return make_engine(branched_root, settle=True, harm=harm)

    return make


@pytest.fixture(scope="session")
def chains_of(branched_root: Path) -> dict[str, list[str]]:
    """By image, the chain ids of its layers, base first, read from the configs."""
    images = branched_root / "image/overlay2"
    names = json.loads((images / "repositories.json").read_text())["Repositories"]
    found = {}
    for name, references in names.items():
        (image,) = set(references.values())
        config = json.loads((images / "imagedb/content/sha256" / image.removeprefix("sha256:")).read_text())
        diff_ids = config["rootfs"]["diff_ids"]
        found[name] = [Engine.chain(diff_ids[: n + 1]) for n in range(len(diff_ids))]
    return found


# --- what goes ------------------------------------------------------------------------------------------------------


def test_the_layers_of_a_killed_pull_go_while_containers_run(
    make_engine: Callable[..., Engine], branched_root: Path, several_layers: str
) -> None:
    engine = make_engine(branched_root)
    before_pull = engine.chains()
    kill_during_pull(engine, several_layers)
    time.sleep(SETTLE)
    engine.start()
    engine.docker("run", "-d", "--network=none", "--name", "works", "branch")
    engine.docker("exec", "works", "/stem/busybox", "touch", "/written")
    images = ("app", "built", "stem", "branch", "twig")
    contents = saved(engine, *images)
    leaked = {chain: d for chain, d in engine.chains().items() if chain not in before_pull}
    assert len(leaked) >= DONE_BEFORE_THE_KILL
    dirs = engine.layer_dirs()
    findings = orphaned_layers(engine)
    assert findings.keys() == leaked.keys()

    (deeds,) = release_all(engine)

    assert {d.step.chain: d.outcome for d in deeds} == dict.fromkeys(leaked, Outcome.DONE)
    assert {d.step.chain: d.disk_bytes for d in deeds} == {chain: f.disk_bytes for chain, f in findings.items()}
    assert all(deed.disk_bytes > 1 << 20 for deed in deeds)
    assert engine.chains() == before_pull
    assert engine.layer_dirs() == dirs - set(leaked.values())
    assert orphaned_layers(engine) == {}
    assert saved(engine, *images) == contents
    assert engine.docker("exec", "works", "/stem/busybox", "ls", "/written") == "/written"
    with engine_api(engine) as api:
        assert unfinished(api) == {}
    # The engine itself is as sound as before: it starts again, and takes the image whose pull was killed.
    engine.restart()
    assert orphaned_layers(engine) == {}
    engine.docker("pull", several_layers)
    assert saved(engine, *images) == contents


def engine_api(engine: Engine) -> EngineApi:
    with open_root(str(engine.root)) as root:
        return connect(root, read_engine(root))


def test_what_an_image_holds_stays(branched: Callable[..., Engine], chains_of: dict[str, list[str]]) -> None:
    engine = branched("branch")
    contents = saved(engine, "stem", "twig", "app", "built")
    before = engine.chains()

    (deeds,) = release_all(engine)

    gone = chains_of["branch"][2:]
    assert {d.step.chain: d.outcome for d in deeds} == dict.fromkeys(gone, Outcome.DONE)
    assert engine.chains() == {chain: d for chain, d in before.items() if chain not in gone}
    assert saved(engine, "stem", "twig", "app", "built") == contents


def test_two_tips_on_one_base(branched: Callable[..., Engine], chains_of: dict[str, list[str]]) -> None:
    """The first takes its own layers only; the second takes the base that both stood on."""
    engine = branched("stem", "branch", "twig")
    contents = saved(engine, "app", "built")
    before = engine.chains()

    deeds = release_all(engine)

    branch, twig = chains_of["branch"], chains_of["twig"]
    assert [[d.step.chain for d in part] for part in deeds] == [branch[:1:-1], [twig[2], *branch[1::-1]]]
    assert {d.outcome for part in deeds for d in part} == {Outcome.DONE}
    assert engine.chains() == {chain: d for chain, d in before.items() if chain not in {*branch, *twig}}
    assert saved(engine, "app", "built") == contents


def test_a_base_that_is_not_to_go_keeps_its_tips(
    branched: Callable[..., Engine], chains_of: dict[str, list[str]]
) -> None:
    engine = branched("branch")
    tip = chains_of["branch"][-1]
    steps = steps_of(engine, [orphaned_layers(engine)[tip]])
    expect_refusal(engine, steps, Reason.POLICY, "would go with it, and is not to be released")


def test_what_stands_on_a_layer_goes_first(branched: Callable[..., Engine], chains_of: dict[str, list[str]]) -> None:
    engine = branched("branch")
    below = chains_of["branch"][-2]
    expect_refusal(engine, steps_of(engine, [orphaned_layers(engine)[below]]), Reason.CHANGED, "is in use")


# --- S10: what something on disk needs, and the engine does not hold for it -----------------------------------------


def test_t2_parent_of_a_layer_that_can_be_mended(
    branched: Callable[..., Engine], chains_of: dict[str, list[str]]
) -> None:
    """Released, its image would be lost for ever; so would a load that fails (T2b) take it."""
    tip, below = chains_of["branch"][-1], chains_of["branch"][-2]
    size = {}

    def empty_size(engine: Engine) -> None:
        size["text"] = layer_file(engine, tip, "size").read_text()
        layer_file(engine, tip, "size").write_text("")

    engine = branched(plant=empty_size)
    assert "branch:latest" not in engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    assert orphaned_layers(engine) == {}
    steps = [step_about(chain) for chain in (tip, below)]
    expect_refusal(engine, steps[:1], Reason.BLOCKED, "is damaged, or stands on one that is")
    expect_refusal(engine, steps[1:], Reason.BLOCKED, "names layer")

    engine.stop()
    layer_file(engine, tip, "size").write_text(size["text"])
    engine.start()
    assert engine.docker("run", "--rm", "--network=none", "branch", "/stem/busybox", "ls", "/one") == "/one"


def test_t2_damaged_record_without_an_image(branched: Callable[..., Engine], chains_of: dict[str, list[str]]) -> None:
    """The same with the image lost too: a record that can be mended needs what it stands on."""
    tip, below = chains_of["branch"][-1], chains_of["branch"][-2]
    engine = branched("branch", plant=lambda engine: layer_file(engine, tip, "size").write_text(""))
    expect_refusal(engine, [step_about(below)], Reason.BLOCKED, f"layer:{tip} names layer")


def test_lost_parent_lets_go_of_what_lies_below(
    branched: Callable[..., Engine], chains_of: dict[str, list[str]]
) -> None:
    """A record without its ``parent`` loads as a base, so the engine does not hold the layers below for it."""
    tip = chains_of["branch"][-1]
    engine = branched("branch", plant=lambda engine: layer_file(engine, tip, "parent").unlink())
    findings = orphaned_layers(engine)
    assert all(finding.blocked_by for finding in findings.values()), findings
    steps = [step_about(chain) for chain in chains_of["branch"][:1:-1]]
    expect_refusal(engine, steps[:1], Reason.BLOCKED, "do not hash to its name")
    expect_refusal(engine, steps[1:], Reason.BLOCKED, "stands on the dir of")


def test_t4_layer_that_the_build_cache_holds(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    engine.build("cached", BUILT, FILES, buildkit=True)
    chain = engine.chain(engine.inspect("cached")["RootFS"]["Layers"])
    engine.docker("rmi", "cached")
    assert chain in engine.chains(), "the build cache holds it"
    engine.restart()
    expect_refusal(engine, [step_about(chain)], Reason.BLOCKED, "names layer")
    engine.build("cached", BUILT, FILES, buildkit=True)
    assert engine.docker("run", "--rm", "--network=none", "cached", "/bin/busybox", "cat", "/built") == "built"


def test_t5_layer_without_its_dir(branched: Callable[..., Engine], chains_of: dict[str, list[str]]) -> None:
    tip = chains_of["branch"][-1]
    engine = branched("branch", plant=lambda engine: shutil.rmtree(engine.overlay2 / engine.chains()[tip]))
    expect_refusal(engine, [step_about(tip)], Reason.CHANGED, "is not there")


def test_t6_dir_that_two_records_name(branched: Callable[..., Engine], chains_of: dict[str, list[str]]) -> None:
    """Removing the one would destroy the image of the other."""
    tip, live = chains_of["branch"][-1], chains_of["twig"][-1]

    def share(engine: Engine) -> None:
        layer_file(engine, tip, "cache-id").write_text(engine.chains()[live])

    engine = branched("branch", plant=share)
    expect_refusal(engine, [step_about(tip)], Reason.BLOCKED, "the dir of layer")
    assert engine.docker("run", "--rm", "--network=none", "twig", "/stem/busybox", "ls", "/twig") == "/twig"


def test_t12_container_that_lost_its_parent(
    make_engine: Callable[..., Engine], branched_root: Path, chains_of: dict[str, list[str]]
) -> None:
    """Its image is gone and its record does not say on which layers it stands: only their dirs know."""

    def harm(engine: Engine) -> None:
        lose(engine, "branch")
        (parent,) = engine.layerdb.glob("mounts/*/parent")
        parent.unlink()

    source = make_engine(branched_root)
    source.docker("create", "--network=none", "--name", "mine", "branch")
    source.stop()
    engine = make_engine(source.root, settle=True, harm=harm)
    assert orphaned_layers(engine) == {}
    steps = [step_about(chain) for chain in chains_of["branch"][:1:-1]]
    expect_refusal(engine, steps, Reason.IN_USE, "the engine says that an image or a container uses the dir of")
    assert engine.docker("start", "mine") == "mine"
    assert engine.docker("exec", "mine", "/stem/busybox", "ls", "/one") == "/one"


def test_record_that_is_being_removed(branched: Callable[..., Engine], chains_of: dict[str, list[str]]) -> None:
    tip, below = chains_of["branch"][-1], chains_of["branch"][-2]

    def begin_removal(engine: Engine) -> None:
        record = layer_file(engine, tip, "")
        record.rename(record.with_name(f"{record.name}-{'a' * 64}-removing"))

    engine = branched("branch", plant=begin_removal)
    expect_refusal(engine, [step_about(below)], Reason.BLOCKED, "removing-layer:")


def test_what_is_younger_than_the_engine(branched: Callable[..., Engine], chains_of: dict[str, list[str]]) -> None:
    engine = branched("branch")
    os.utime(layer_file(engine, chains_of["branch"][-1], "size"))
    findings = orphaned_layers(engine)
    assert {f.confidence for f in findings.values()} == {"suspected"}
    expect_refusal(engine, steps_of(engine, findings.values()), Reason.SUSPECTED, "changed after the engine started")


# --- what somebody does in between ----------------------------------------------------------------------------------


@pytest.fixture
def at_the_load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``at_the_load(before=…, after=…)``: what somebody else does right before and after each load of gcd's."""

    def install(before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None) -> None:
        load = EngineApi.load

        def loading(self: EngineApi, archive: bytes) -> None:
            before()
            load(self, archive)
            after()

        monkeypatch.setattr(EngineApi, "load", loading)

    return install


def test_t3_config_that_exists_already(
    branched: Callable[..., Engine], chains_of: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has an image of the very id that gcd would make: it is untouched, and keeps its name."""
    engine = branched("branch")
    diff_ids = tuple(layer_file(engine, chain, "diff").read_text() for chain in chains_of["branch"])

    def taken(_size: int) -> str:
        wrapping = releasing._Wrapping(diff_ids, "taken")
        engine.docker("load", stdin=wrapping.archive)
        engine.docker("tag", wrapping.id, "mine:v1")
        return "taken"

    steps = steps_of(engine, orphaned_layers(engine).values())
    monkeypatch.setattr(releasing.secrets, "token_hex", taken)
    deeds = carry_out(engine, steps)
    assert outcomes(deeds)[steps[0].chain] == (Outcome.REFUSED, Reason.ENGINE_REFUSED)
    assert "already" in deeds[0][0].why
    assert saved(engine, "mine:v1")
    assert engine.docker("run", "--rm", "--network=none", "mine:v1", "/stem/busybox", "ls", "/one") == "/one"


def test_t7_adopted_in_between(
    branched: Callable[..., Engine], branched_root: Path, make_engine: Callable[..., Engine], at_the_load
) -> None:
    """The layers are pulled again at the last moment: they stay, and the run ends, for it was not foretold."""
    archive = make_engine(branched_root).home / "branch.tar"
    other = Engine(archive.parent)
    other.docker("save", "-o", str(archive), "branch")
    engine = branched("branch", "twig")
    at_the_load(before=lambda: engine.docker("load", "-i", str(archive)))

    deeds = release_all(engine)

    assert [[(d.outcome, d.reason) for d in part] for part in deeds] == [
        [(Outcome.FAILED, Reason.ENGINE_REFUSED)] * 2,
        [(Outcome.REFUSED, Reason.RUN_REFUSED)],
    ]
    assert "still holds" in deeds[0][0].why
    assert [d.disk_bytes for d in deeds[0]] == [0, 0]
    assert engine.docker("run", "--rm", "--network=none", "branch", "/stem/busybox", "ls", "/one") == "/one"
    with engine_api(engine) as api:
        assert unfinished(api) == {}


def test_t16_pruned_in_between(branched: Callable[..., Engine], chains_of: dict[str, list[str]], at_the_load) -> None:
    """The image that exists only to be removed has no name, so a prune takes it: 404 is done."""
    engine = branched("branch")
    at_the_load(after=lambda: engine.docker("image", "prune", "-f"))
    (deeds,) = release_all(engine)
    assert {d.step.chain: d.outcome for d in deeds} == dict.fromkeys(chains_of["branch"][2:], Outcome.DONE)
    assert not engine.chains().keys() & set(chains_of["branch"][2:])


def test_a_load_that_fails_is_told_with_what_it_took(
    branched: Callable[..., Engine], chains_of: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """T2b: when a load fails the engine lets go of all layers, and they are deleted: the proven ones, no others."""
    engine = branched("branch", "twig")
    contents = saved(engine, "stem")
    load = EngineApi.load
    lacking = "sha256:" + "f" * 64

    def failing(self: EngineApi, _archive: bytes) -> None:
        diff_ids = (*(layer_file(engine, chain, "diff").read_text() for chain in chains_of["branch"]), lacking)
        load(self, releasing._Wrapping(diff_ids, "x").archive)

    monkeypatch.setattr(EngineApi, "load", failing)
    deeds = release_all(engine)
    assert [[(d.outcome, d.reason) for d in part] for part in deeds] == [
        [(Outcome.FAILED, Reason.ENGINE_REFUSED), (Outcome.DONE, None)],
        [(Outcome.REFUSED, Reason.RUN_REFUSED)],
    ]
    assert "the engine refused the load" in deeds[0][0].why
    assert engine.chains().keys() & set(chains_of["branch"]) == set(chains_of["stem"])
    assert chains_of["twig"][-1] in engine.chains()
    assert saved(engine, "stem") == contents


# --- interrupted ----------------------------------------------------------------------------------------------------


def killed_after_the_load(engine: Engine) -> None:
    """A release whose process gets SIGKILL when the engine has answered its load."""
    child = os.fork()
    if child == 0:
        load = EngineApi.load

        def dying(self: EngineApi, archive: bytes) -> None:
            load(self, archive)
            os.kill(os.getpid(), signal.SIGKILL)

        EngineApi.load = dying  # type: ignore[method-assign]
        release_all(engine)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("restarted", [False, True], ids=["same engine", "engine restarted"])
def test_the_next_run_finishes(
    branched: Callable[..., Engine], chains_of: dict[str, list[str]], *, restarted: bool
) -> None:
    engine = branched("branch")
    contents = saved(engine, "stem", "twig")
    killed_after_the_load(engine)
    if restarted:
        engine.restart()
    with engine_api(engine) as api:
        (left,) = unfinished(api)
    assert engine.inspect(left)["Config"]["Labels"].keys() == {LABEL}
    assert orphaned_layers(engine) == {}, "an image holds them"

    (deeds,) = finish_all(engine)

    gone = chains_of["branch"][2:]
    assert {d.step.chain: d.outcome for d in deeds} == dict.fromkeys(gone, Outcome.DONE)
    assert all(d.disk_bytes > 1 << 20 for d in deeds)
    assert not engine.chains().keys() & set(gone)
    with engine_api(engine) as api:
        assert unfinished(api) == {}
    assert finish_all(engine) == []
    assert saved(engine, "stem", "twig") == contents


def test_a_leftover_that_somebody_uses_is_left(branched: Callable[..., Engine]) -> None:
    engine = branched("branch")
    killed_after_the_load(engine)
    with engine_api(engine) as api:
        (left,) = unfinished(api)
    engine.docker("run", "-d", "--network=none", "--name", "mine", left, "/stem/busybox", "sleep", "1000")
    assert finish_all(engine) == []
    assert engine.docker("exec", "mine", "/stem/busybox", "ls", "/one") == "/one"


def test_a_leftover_that_somebody_named_is_his(branched: Callable[..., Engine]) -> None:
    engine = branched("branch")
    killed_after_the_load(engine)
    with engine_api(engine) as api:
        (left,) = unfinished(api)
        engine.docker("tag", left, "mine:v1")
        assert unfinished(api) == {}
    assert finish_all(engine) == []
    assert engine.docker("run", "--rm", "--network=none", "mine:v1", "/stem/busybox", "ls", "/one") == "/one"


def test_an_image_with_the_label_that_gcd_did_not_make(branched: Callable[..., Engine]) -> None:
    engine = branched()
    image = engine.build("labelled", f"FROM stem\nLABEL {LABEL}=mine\n")
    engine.docker("tag", "stem", "labelled")
    assert engine.inspect(image)["Config"]["Labels"] == {LABEL: "mine"}
    with engine_api(engine) as api:
        assert unfinished(api) == {}
    assert finish_all(engine) == []
    assert engine.inspect(image)["Id"] == image


def test_a_leftover_stays_while_its_chain_cannot_be_proven(
    branched: Callable[..., Engine], chains_of: dict[str, list[str]]
) -> None:
    engine = branched("branch")
    killed_after_the_load(engine)
    os.utime(layer_file(engine, chains_of["branch"][-1], "size"))
    (deeds,) = finish_all(engine)
    assert [(d.step.chain, d.outcome, d.reason) for d in deeds] == [
        (chains_of["branch"][-1], Outcome.REFUSED, Reason.SUSPECTED)
    ]
    with engine_api(engine) as api:
        assert len(unfinished(api)) == 1
    assert set(chains_of["branch"]) <= engine.chains().keys()


# --- S11: whose socket ----------------------------------------------------------------------------------------------


def test_docker_host_is_not_asked(
    branched: Callable[..., Engine], make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, other = branched("branch"), make_engine()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{other.socket}")
    (deeds,) = release_all(engine)
    assert {d.outcome for d in deeds} == {Outcome.DONE}


def test_socket_of_another_engine(branched: Callable[..., Engine], make_engine: Callable[..., Engine]) -> None:
    engine, other = branched("branch"), make_engine()
    steps = steps_of(engine, orphaned_layers(engine).values())
    (deeds,) = carry_out(engine, steps, socket=str(other.socket))
    assert {(d.outcome, d.reason) for d in deeds} == {(Outcome.REFUSED, Reason.ENGINE_REFUSED)}
    assert f"does not listen on {other.socket}" in deeds[0].why
    with open_root(str(engine.root)) as root:
        (deeds,) = carry_out(engine, steps, socket=str(engine.socket))
        assert read_engine(root).pid == engine.pid
    assert {d.outcome for d in deeds} == {Outcome.DONE}


ACTIVATE = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.path.join(os.path.dirname(sys.argv[sys.argv.index("--data-root") + 1]), "activated"))
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_socket_that_somebody_opened_for_the_engine(make_engine: Callable[..., Engine]) -> None:
    """As systemd does: the engine listens on a socket that it did not bind, and names it ``fd://``."""
    engine = make_engine(command=(sys.executable, "-c", ACTIVATE), flags=("-H", "fd://"))
    path = engine.home / "activated"
    with open_root(str(engine.root)) as root:
        found = read_engine(root)
        (running,) = engines_on(root)
        assert running.settings.hosts == (f"unix://{engine.socket}", "fd://")
        with connect(root, found, socket=str(path)) as api:
            assert api.socket == str(path)
            assert not api.has(ImageId("sha256:" + "0" * 64))
        with connect(root, found) as api:
            assert api.socket.endswith(str(engine.socket))


def test_one_that_is_halted_is_not_waited_for(
    make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is asked, and in the midst of it."""
    engine = make_engine()
    monkeypatch.setattr(engineapi, "IMPATIENT_SECONDS", 0.5)
    beats: list[float] = []
    began = time.monotonic()
    impatience = engineapi.Impatience(lambda: beats.append(time.monotonic()), lambda: None)
    with open_root(str(engine.root)) as root:
        with (
            connect(root, read_engine(root), impatience=impatience) as api,
            engine.frozen(),
            pytest.raises(NoAnswer),
        ):
            api.listed(silent_too=True)
        with engine.frozen(), pytest.raises(CannotAct, match="does not answer"):
            listed(str(engine.root), impatience=impatience)
    assert len(beats) == 1
    assert time.monotonic() - began < 20


def test_no_engine(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    with open_root(str(engine.root)) as root:
        before = read_engine(root)
        engine.stop()
        with pytest.raises(CannotAct, match="No engine runs on this root"):
            connect(root, read_engine(root))
        with pytest.raises(CannotAct, match="does not say that it uses this root"):
            connect(root, before)


def test_engine_that_keeps_another_root(make_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer decides, not the flags: a ``DockerRootDir`` that is not this root is refused."""
    engine = make_engine()
    monkeypatch.setattr(EngineApi, "__enter__", lambda self: self)
    with open_root(str(engine.home)) as elsewhere, open_root(str(engine.root)) as root:
        found = read_engine(root)
        monkeypatch.setattr("gcd.actions.engineapi.engines_on", lambda _root, proc: engines_on(root, proc))
        with pytest.raises(CannotAct, match="keeps another root"):
            connect(elsewhere, found)


def test_what_the_engine_says_no_to(branched: Callable[..., Engine]) -> None:
    engine = branched()
    engine.docker("create", "--network=none", "--name", "user", "branch")
    with engine_api(engine) as api:
        image = ImageId(engine.inspect("branch")["Id"])
        with pytest.raises(EngineRefused, match="conflict"):
            api.remove(image)
        with pytest.raises(EngineRefused):
            api.load(b"no archive")
        assert api.remove(ImageId("sha256:" + "0" * 64)) is None
        listed = api.listed()
    assert image in listed.images
    assert listed.containers == {engine.inspect("user")["Id"]}
    assert set(engine.chains().values()) <= listed.dirs


def test_nothing_is_told_of_a_root_with_no_orphans(branched: Callable[..., Engine]) -> None:
    engine = branched()
    assert orphaned_layers(engine) == {}, told(judge(engine))
    assert carry_out(engine, []) == []
