"""
Laws that hold for every history of an engine, checked against the reference model (`support.model`).

A history is a list of operations, each whole, killed after some step, or still under way; then perhaps a loss of power
that takes files; then perhaps a new start. When a law breaks, Hypothesis prints the shortest history that breaks it as
a ledger. ``GCD_PROPERTY_EXAMPLES`` sets how many histories each law is tried on.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.fakeproc import FakeProc
from support.model import MOUNTS, RECORDS, WRITE_SETS, Model, chain_of

from gcd.model.facts import Engine, EngineState, KernelMount, LayerDir, Lower
from gcd.model.finding import Confidence, Fault, Finding, Kind
from gcd.model.ids import LayerDirId, LinkId
from gcd.model.inventory import Coverage, Inventory, Source, SourceState
from gcd.model.reading import EMPTY, Malformed, Present, Unreadable
from gcd.model.shelf import Shelf, dir_shelf, layer_of, link_of
from gcd.model.storegraph import StoreGraph
from gcd.root.read import read_inventory
from gcd.rules.table import RULES, nodes_for
from gcd.run import check, look

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcd.rules.rule import Rule

EXAMPLES = int(os.environ.get("GCD_PROPERTY_EXAMPLES", "100"))
SECOND = 1_000_000_000
OK = SourceState(Coverage.OK)

laws = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="GCD_PROPERTY_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


# --- histories ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Op:
    """One entry of the ledger; `pick` chooses among what is there, and `stop` says how it ends early."""

    verb: str
    pick: int = 0
    words: str = ""
    stop: tuple[str, int] | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.pick} {self.words} {self.stop or ''}".strip()


STOPS = st.sampled_from(
    (*[None] * 40, *(("crash", n) for n in range(1, 25)), *(("pause", n) for n in range(1, 20, 2))),
)
VERBS = (
    *["pull"] * 4, *["build"] * 4, *["create"] * 4, *["classic", "start", "rm", "commit"] * 2, *["rmi"] * 3,
    *["prune"] * 3, "restart", "crash", "wait", "forget image", "forget container",
)  # fmt: skip
OPS = st.builds(
    Op,
    st.sampled_from(VERBS),
    st.integers(0, 3),
    st.sampled_from(("a", "b", "ab", "ba", "abc", "aba", "bab")),
    STOPS,
)
PRELUDES = (
    (),
    (Op("pull", 0, "ab"), Op("create"), Op("start")),
    (Op("pull", 0, "ab"), Op("create"), Op("build", 2, "ab"), Op("create", 1), Op("start", 1)),
    (Op("pull", 0, "a"), Op("build", 2, "ab"), Op("prune"), Op("create", 1)),
    (Op("build", 0, "ab"), Op("build", 1, "c"), Op("create", 1)),
)
"""How histories begin; the fourth makes a dir that no database names (docker-storage 5.2)."""
LOSSES = st.lists(
    st.tuples(st.sampled_from(range(19)), st.integers(0, 7), st.sampled_from(("gone", "empty", "garbage"))), max_size=3
)
"""Which sort of path is lost, which of them, and what is left of it."""


def do(model: Model, op: Op) -> None:
    model.ledger.append(str(op))
    match op.verb:
        case "restart":
            model.restart()
        case "crash":
            model.crash()
        case "wait":
            model.clock += 2 * 3600
        case "forget image" if model.images:
            model.forget_image(chosen(model.images, op.pick))
        case "forget container" if model.containers:
            model.forget_container(chosen(model.containers, op.pick))
        case _ if (steps := steps_of(model, op)) is not None:
            how, after = op.stop or ("", 0)
            model.run(
                steps,
                crash_after=after if how == "crash" else None,
                pause_after=after if how == "pause" else None,
            )


def steps_of(model: Model, op: Op) -> Iterator[None] | None:  # noqa: PLR0911  one operation a line
    """What `op` means to the model as it is; None where it means nothing."""
    stack, name, word = tuple(op.words), f"app{op.pick}", op.words[:1]
    living = [
        c for c, found in model.containers.items()
        if not found.dead and c in model.rw_layers and model.rw_layers[c].mount in model.dirs
    ]  # fmt: skip
    match op.verb:
        case "pull":
            return model.pull(name, stack)
        case "build":
            base = model.images[chosen(model.images, op.pick)][1] if model.images and op.pick % 2 else ()
            return model.build(base, stack, name)
        case "classic" if model.images:
            return model.classic_build(chosen(model.images, op.pick), name, word)
        case "create" if model.images:
            return model.create(chosen(model.images, op.pick))
        case "start" if living:
            return model.start(chosen(living, op.pick))
        case "rm" if model.containers:
            return model.rm(chosen(model.containers, op.pick))
        case "commit" if living:
            return model.commit(chosen(living, op.pick), name, word)
        case "rmi" if model.images:
            return model.rmi(chosen(model.images, op.pick))
        case "prune":
            return model.prune()
    return None


def chosen(things: Iterable[str], pick: int) -> str:
    every = list(things)
    return every[pick % len(every)]


MOSTLY = st.sampled_from((True, True, True, False))


@st.composite
def histories(draw: Any, losses: Any = LOSSES, restart: Any = MOSTLY) -> Model:
    model = Model()
    for op in (*draw(st.sampled_from(PRELUDES)), *draw(st.lists(OPS, min_size=2, max_size=10))):
        do(model, op)
    for sort, pick, how in draw(losses):
        sorts = model.losable()
        path = chosen(sorts[chosen(sorts, sort)], pick)
        model.ledger.append(f"lose {path}: {how}")
        model.lose(path, how)
    if draw(restart):
        model.ledger.append("restart")
        model.restart()
    note("\n".join(model.ledger))
    return model


RESTARTED = histories(restart=st.just(True))  # noqa: FBT003  a value, not a flag
SOUND = histories(losses=st.just(()))
SOUND_RESTARTED = histories(losses=st.just(()), restart=st.just(True))  # noqa: FBT003


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proc(tmp_path_factory) -> str:
    """No process at all."""
    return str(FakeProc(tmp_path_factory.mktemp("proc") / "proc"))


def read(model: Model, proc: str) -> Inventory:
    """The inventory of the model's root, with the engine, the mounts and the times that the model says."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        model.write(root)
        inventory = read_inventory(str(root), proc=proc)
    inventory = aged(model, inventory)
    engine = Engine(EngineState.RUNNING, 7, model.epoch * SECOND) if model.is_up else Engine(EngineState.STOPPED)
    sources = {**inventory.sources, Source.ENGINE: OK, Source.MOUNTS: OK}
    return replace(inventory, root="/root", engine=engine, mounts=tuple(mounts(model)), sources=sources)


def aged(model: Model, inventory: Inventory) -> Inventory:
    def at(path: str, record: Any) -> Any:
        return replace(record, ctime_ns=model.ages[path] * SECOND)

    return replace(
        inventory,
        layer_dirs={k: at(f"overlay2/{k}", d) for k, d in inventory.layer_dirs.items()},
        layers={k: at(f"{RECORDS}/{k[7:]}", r) for k, r in inventory.layers.items()},
        removing={k: at(f"{RECORDS}/{k}", r) for k, r in inventory.removing.items()},
        write_sets={k: at(f"{WRITE_SETS}/{k}", w) for k, w in inventory.write_sets.items()},
        rw_layers={k: at(f"{MOUNTS}/{k}", r) for k, r in inventory.rw_layers.items()},
    )


def mounts(model: Model) -> Iterator[KernelMount]:
    for name, container in model.containers.items():
        rw_layer = model.rw_layers.get(name)
        if container.running and rw_layer is not None:
            used = (rw_layer.mount, *model.dirs[rw_layer.mount].below)
            links = frozenset(LinkId(model.dirs[below].link) for below in used[1:] if below in model.dirs)
            mount = LayerDirId(rw_layer.mount)
            yield KernelMount(f"/root/overlay2/{mount}/merged", "overlay", "mnt:[1]", (9,), "sh", frozenset({mount}),
                              links, mount)  # fmt: skip


def judged(model: Model, inventory: Inventory) -> tuple[Finding, ...]:
    findings, _ = look(inventory, model.clock * SECOND)
    return findings


def orphans(findings: Iterable[Finding]) -> set[str]:
    return {f.id for f in findings if f.kind is Kind.ORPHAN}


def reclaimable(findings: Iterable[Finding]) -> dict[str, Finding]:
    """The orphans that a policy may act upon: proven and blocked by nothing."""
    return {
        f.id: f
        for f in findings
        if f.kind is Kind.ORPHAN and f.confidence is Confidence.PROVEN and not f.blocked_by
    }  # fmt: skip


# --- laws -----------------------------------------------------------------------------------------------------------


@settings(laws, max_examples=3 * EXAMPLES)
@given(model=histories())
def test_nothing_alive_is_ever_called_an_orphan(proc, model):
    """Nor anything that a damaged or lost record may own: the model's truth knows no damage."""
    findings = reclaimable(judged(model, read(model, proc)))
    alive = model.reasons()
    chains = {chain_of(stack): stack for stack in model.live_chains()}
    wrong = {
        id_: alive.get(dir_id, "") or chains.get(f.subject.id, "")
        for id_, f in findings.items()
        for dir_id in [p.removeprefix("overlay2/") for p in f.paths if p.count("/") == 1] or [""]
        if (f.code not in {"GCD211", "GCD310"} and dir_id in alive) or f.subject.id in chains
    }
    assert wrong == {}


@laws
@given(model=SOUND_RESTARTED)
def test_all_that_an_engine_left_behind_is_found_with_its_code(proc, model):
    """
    And nothing else is: once a new engine has started, every orphan is proven, and nothing blocks it but the record of
    a container whose making was cut off before it named its layers.
    """
    findings = judged(model, read(model, proc))
    assert orphans(findings) == model.orphans()
    half_made = {name for name, rw_layer in model.rw_layers.items() if not rw_layer.parent}
    blockers = {blocker.rpartition(":")[2] for f in findings for blocker in f.blocked_by}
    assert blockers <= half_made
    assert half_made or reclaimable(findings).keys() == model.orphans()


@laws
@given(model=SOUND_RESTARTED)
def test_crashes_alone_never_look_like_damage_to_images(proc, model):
    """A killed engine loses nothing that it had finished: no finding of an error."""
    assert [f.id for f in judged(model, read(model, proc)) if f.severity in {"error", "critical"}] == []


@laws
@given(model=RESTARTED)
def test_what_an_engine_left_behind_is_found_or_not_checked_whatever_else_is_damaged(proc, model):
    """Damage may block an orphan, never hide it, as long as it left the orphan itself as it was."""
    findings, not_checked = look(read(model, proc), model.clock * SECOND)
    lost = {path for path, _ in model.losses}
    unread = {entry.code for entry in not_checked}
    unfound = {
        id_
        for id_ in model.orphans() - orphans(findings)
        if id_[:6] not in unread and not any(chain_or_dir(id_) in path for path in lost)
    }
    if not lost_references(lost):
        assert unfound == set()


def lost_references(paths: set[str]) -> bool:
    """Whether what is lost may itself refer to an orphan, so that gcd rightly keeps it: records, and lowers."""
    return any(not path.startswith(("overlay2/l/", "image/overlay2/repositories")) for path in paths)


def chain_or_dir(id_: str) -> str:
    return id_.rpartition(":")[2]


@laws
@given(model=histories(), data=st.data())
def test_reading_a_source_less_completely_adds_no_orphan(proc, model, data):
    inventory = read(model, proc)
    source = data.draw(st.sampled_from(sorted(Source)), label="source")
    coverage = data.draw(st.sampled_from([Coverage.PARTIAL, Coverage.BUSY, Coverage.UNREADABLE]), label="coverage")
    keep = data.draw(st.booleans(), label="keep what was read")
    less = replace(inventory, sources={**inventory.sources, source: SourceState(coverage, "a test")})
    if not keep:
        less = without_source(less, source)
    assert reclaimable(judged(model, less)).keys() <= reclaimable(judged(model, inventory)).keys()


def without_source(inventory: Inventory, source: Source) -> Inventory:
    cache = inventory.build_cache
    nothing: dict[Source, dict[str, Any]] = {
        Source.LAYERS: {"layers": {}, "removing": {}, "write_sets": {}},
        Source.RW_LAYERS: {"rw_layers": {}},
        Source.IMAGES: {"images": {}, "image_metadata": {}},
        Source.CONTAINERS: {"containers": {}},
        Source.REPOSITORIES: {"repositories": Unreadable("EIO")},
        Source.LINKS: {"link_farm": replace(inventory.link_farm, symlinks={})},
        Source.OVERLAY2: {"layer_dirs": {}},
        Source.BUILD_SNAPSHOTS: {"build_cache": replace(cache, snapshots={}, named=frozenset(), chains=frozenset())},
        Source.BUILD_RECORDS: {"build_cache": replace(cache, records={}, named=frozenset())},
        Source.BUILD_LEASES: {"build_cache": replace(cache, leases={}, named=frozenset())},
        Source.MOUNTS: {"mounts": ()},
    }
    return replace(inventory, **nothing.get(source, {}))


DAMAGES = (EMPTY, Unreadable("EIO"), Malformed("something", "else"))
READINGS = {
    "layers": ("diff_id", "size", "cache_id", "parent", "descriptor", "tar_split"),
    "rw_layers": ("mount_id", "init_id", "parent"),
    "images": ("config",),
    "containers": ("config", "host_config"),
    "layer_dirs": ("link", "lower"),
}


@laws
@given(model=SOUND, data=st.data())
def test_damage_to_a_record_adds_no_orphan(proc, model, data):
    inventory = read(model, proc)
    places = [
        (kind, key, name) for kind, names in READINGS.items() for key in getattr(inventory, kind) for name in names
    ]
    if not places:
        return
    damaged = inventory
    for _ in range(data.draw(st.integers(1, 2), label="how many")):
        kind, key, name = data.draw(st.sampled_from(places), label="where")
        damage = data.draw(st.sampled_from(DAMAGES), label="damage")
        records = getattr(damaged, kind)
        record = replace(records[key], **{name: damage})
        damaged = replace(damaged, **{kind: {**records, key: record}})
    assert reclaimable(judged(model, damaged)).keys() <= reclaimable(judged(model, inventory)).keys()


@laws
@given(model=histories(), data=st.data())
def test_the_order_of_listings_does_not_matter(proc, model, data):
    inventory = read(model, proc)
    shuffled = replace(
        inventory,
        **{
            name: shuffle(getattr(inventory, name), data)
            for name in inventory.__struct_fields__
            if isinstance(getattr(inventory, name), dict) and name not in {"sources", "databases"}
        },
        link_farm=replace(inventory.link_farm, symlinks=shuffle(dict(inventory.link_farm.symlinks), data)),
        mounts=tuple(data.draw(st.permutations(inventory.mounts))),
        build_cache=replace(
            inventory.build_cache,
            snapshots=shuffle(dict(inventory.build_cache.snapshots), data),
            leases=shuffle(dict(inventory.build_cache.leases), data),
            named=frozenset(shuffle(dict.fromkeys(inventory.build_cache.named), data)),
        ),
    )
    assert by_id(judged(model, shuffled)) == by_id(judged(model, inventory))


def shuffle(mapping: dict[Any, Any], data: Any) -> dict[Any, Any]:
    return dict(data.draw(st.permutations(list(mapping.items()))))


def by_id(findings: Iterable[Finding]) -> list[tuple[Any, ...]]:
    return sorted(
        (f.id, f.severity, f.confidence, f.summary, f.evidence, f.paths, f.remedies, f.impact, f.blocked_by, f.cause)
        for f in findings
    )


@laws
@given(model=histories())
def test_what_is_cleared_all_at_once_is_clear_one_by_one(proc, model):
    """Asking rules about their suspects finds what asking them about everything does; rows say what records say."""
    inventory = read(model, proc)
    asked_of_all = [replace(rule, suspects=None) for rule in RULES]
    one_by_one = with_all_records_odd(inventory)

    assert faults(inventory, RULES) == faults(inventory, asked_of_all) == faults(one_by_one, asked_of_all)
    assert set(judged(model, inventory)) == set(judged(model, one_by_one))


@laws
@given(model=histories())
def test_age_only_ever_excuses(proc, model):
    """What is found in things as they are is found where they are taken for older: by the first look, without ages."""
    inventory = read(model, proc)
    older = replace(
        inventory,
        layers={chain: replace(record, ctime_ns=0) for chain, record in inventory.layers.items()},
        layer_dirs={dir_id: replace(d, ctime_ns=0) for dir_id, d in inventory.layer_dirs.items()},
        rw_layers={name: replace(record, ctime_ns=0) for name, record in inventory.rw_layers.items()},
    )

    assert {f.id for f in judged(model, inventory)} - {f.id for f in judged(model, older)} == set()


def faults(inventory: Inventory, rules: Iterable[Rule]) -> set[tuple[str, Fault]]:
    graph = StoreGraph(inventory, inventory.engine.proof_bound(0))
    return {
        (rule.code, fault)
        for rule in rules
        for node in nodes_for(rule, inventory, graph)
        for fault in rule.check(inventory, graph, node)
    }


def with_all_records_odd(inventory: Inventory) -> Inventory:
    farm = inventory.link_farm
    return replace(
        inventory,
        layers=Shelf({}, dict(inventory.layers), layer_of),
        layer_dirs=dir_shelf({}, dict(inventory.layer_dirs)),
        link_farm=replace(farm, symlinks=Shelf({}, dict(farm.symlinks), link_of)),
    )


@laws
@given(model=histories(), data=st.data())
def test_one_more_reference_never_makes_an_orphan(proc, model, data):
    """A name more in BuildKit's databases, or a mount more: monotone."""
    inventory = read(model, proc)
    if not inventory.layer_dirs:
        return
    target = data.draw(st.sampled_from(sorted(inventory.layer_dirs)), label="target")
    if data.draw(st.booleans(), label="by a mount"):
        mount = KernelMount("/mnt", "overlay", "mnt:[2]", (1,), "sh", frozenset({target}), frozenset(), None)
        more = replace(inventory, mounts=(*inventory.mounts, mount))
    elif data.draw(st.booleans(), label="by a lower"):
        more = cited_by_another(inventory, target, data)
    else:
        cache = inventory.build_cache
        more = replace(inventory, build_cache=replace(cache, named=cache.named | {target}))
    assert orphans(judged(model, more)) <= orphans(judged(model, inventory))


def cited_by_another(inventory: Inventory, target: LayerDirId, data: Any) -> Inventory:
    """One layer dir's ``lower`` names `target` as well."""
    link = inventory.layer_dirs[target].link
    citer: LayerDir = inventory.layer_dirs[data.draw(st.sampled_from(sorted(inventory.layer_dirs)), label="citer")]
    if not isinstance(link, Present) or not isinstance(citer.lower, Present):
        return inventory
    lower = Lower((*citer.lower.value.links, link.value), citer.lower.value.bad)
    return replace(inventory, layer_dirs={**inventory.layer_dirs, citer.id: replace(citer, lower=Present(lower))})


@settings(laws, max_examples=max(5, EXAMPLES // 4))
@given(model=histories())
def test_a_check_changes_nothing_below_the_root_and_says_the_same_twice(proc, model):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        model.write(root)
        before = stamps(root)
        now_ns = root.stat().st_ctime_ns + 2 * 3600 * SECOND
        first = check(str(root), now_ns=now_ns, proc=proc)
        second = check(str(root), now_ns=now_ns, proc=proc)
        assert stamps(root) == before
    assert by_id(first.findings) == by_id(second.findings)
    assert first.summary == second.summary
    assert first.not_checked == second.not_checked


def stamps(root: Path) -> dict[str, tuple[int, ...]]:
    """Of everything below `root`: inode, mode, owner, size, mtime and ctime."""
    return {
        str(path): (s.st_ino, s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
        for path in (root, *root.rglob("*"))
        for s in [path.lstat()]
    }


# --- short histories that safety.md quotes --------------------------------------------------------------------------


@pytest.fixture
def pulled() -> Model:
    """An image of two layers, and a container on it that has written something."""
    model = Model()
    model.run(model.pull("app", ("a", "b")))
    model.run(model.create(next(iter(model.images))))
    model.run(model.start(next(iter(model.containers))))
    return model


def verdict(model: Model, proc: str) -> dict[str, tuple[str, ...]]:
    """Orphans and what blocks each, by code and subject."""
    model.restart()
    return {f.id: f.blocked_by for f in judged(model, read(model, proc)) if f.kind is Kind.ORPHAN}


def test_t40_a_lost_layer_record_blocks_the_dir_that_it_named(proc, pulled):
    (image,), top = pulled.images, ("a", "b")
    pulled.run(pulled.rm(next(iter(pulled.containers))))
    pulled.lose(f"{RECORDS}/{chain_of(top)[7:]}", "gone")
    assert verdict(pulled, proc) == {f"GCD101:layer-dir:{pulled.layers[top].dir}": (f"GCD402:image:{image}",)}


def test_t41_a_lost_rw_layer_record_blocks_the_dir_with_the_users_data(proc, pulled):
    (name,) = pulled.containers
    pulled.lose(f"{MOUNTS}/{name}", "gone")
    assert verdict(pulled, proc) == {f"GCD116:layer-dir:{pulled.rw_layers[name].mount}": (f"GCD305:container:{name}",)}


def duplicated() -> tuple[Model, str]:
    """
    Docker-storage 5.2: a build made anew what was pulled; the cache is pruned but its child stays as an image. The dir
    is then named by no database, and the lowest layer of ``built``.
    """
    model = Model()
    model.run(model.pull("app", ("a",)))
    model.run(model.build((), ("a", "b"), "built"))
    duplicate = next(step.dir for step in model.steps.values() if step.stack == ("a",))
    model.run(model.prune())
    return model, duplicate


def test_a_dir_that_no_database_names_is_alive_below_a_live_layer(proc):
    model, duplicate = duplicated()
    assert model.reasons()[duplicate] == "a lower"
    assert verdict(model, proc) == {}


def test_the_same_dir_is_an_orphan_once_that_layer_is_gone(proc):
    model, duplicate = duplicated()
    model.run(model.rmi(next(image for image, (name, _) in model.images.items() if name == "built")))
    assert verdict(model, proc) == {f"GCD102:layer-dir:{duplicate}": ()}


@pytest.mark.parametrize("also", [[], ["lower"]])
def test_t50_a_dir_without_its_link_identity_is_blocked_by_the_lower_that_leads_nowhere(proc, also):
    model, duplicate = duplicated()
    child = model.layers["a", "b"].dir
    model.lose(f"overlay2/{duplicate}/link", "gone")
    model.lose(f"overlay2/l/{model.dirs[duplicate].link}", "gone")
    for part in also:
        model.lose(f"overlay2/{child}/{part}", "gone")
    assert verdict(model, proc) == {f"GCD102:layer-dir:{duplicate}": (f"GCD107:layer-dir:{child}",) if also else
                                    (f"layer-dir:{child}",)}  # fmt: skip


def test_a_dir_below_a_blocked_one_is_blocked_with_it(proc):
    """S3: what is blocked is among the roots of the closure."""
    model, duplicate = duplicated()
    model.lose(f"{RECORDS}/{chain_of(('a', 'b'))[7:]}/cache-id", "empty")
    blocker = f"GCD206:layer:{chain_of(('a', 'b'))}"
    assert verdict(model, proc) == {
        f"GCD102:layer-dir:{model.layers['a', 'b'].dir}": (blocker,),
        f"GCD102:layer-dir:{duplicate}": (blocker,),
    }
