"""
Laws of planning: the less completely a root was read, the less is done; and no step is taken that leaves something
standing on what it takes away.

Roots are those of the fault planters, several faults at once; what was read of them is made less complete in memory.
"""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.fakeproc import FakeProc
from support.plans import EVERYTHING, names, now_of, planned, under

from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import FAULTS
from gcd.demo.faults.targets import find_targets
from gcd.model.errors import FormatError
from gcd.model.facts import EngineState
from gcd.model.finding import Kind
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.plan import Mend
from gcd.model.reading import Unreadable
from gcd.model.storegraph import StoreGraph
from gcd.policy.decision import kind_of
from gcd.policy.order import Standing, nodes_of
from gcd.root.read import read_inventory

EXAMPLES = int(os.environ.get("GCD_PROPERTY_EXAMPLES", "100"))
LESS = (Coverage.PARTIAL, Coverage.BUSY, Coverage.UNREADABLE)
SCENES = 30
PLANTED = [fault for fault in FAULTS if fault.undo is None and not fault.needs_root]

laws = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="GCD_PROPERTY_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Scenes:
    """By number; prints nothing of what it holds, for Hypothesis prints all arguments."""

    def __init__(self, inventories):
        self.inventories = inventories

    def __call__(self, number):
        return self.inventories[number]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """
    Inventories of roots with some faults each, unlike ones together; each of the catalogue has its turn that
    does not outlive its root.
    """
    folder = tmp_path_factory.mktemp("laws")
    proc = FakeProc(folder / "proc")
    proc.process(1)
    return Scenes([_scene(folder / str(number), PLANTED[number::SCENES], proc.path) for number in range(SCENES)])


def _scene(path, faults, proc):
    with DockerRoot(path, seed=path.name) as built:
        base = built.image("base:1", layers=3)
        web = built.image("web:1", base=base, layers=2)
        built.container("api", image=web)
        built.build_step(built.build_step())
    for fault in faults:
        with contextlib.suppress(
            OSError, LookupError, ValueError, FormatError
        ):  # another fault has taken its target away
            fault.plant(path, find_targets(path)[fault.target])
    return read_inventory(str(path), proc=proc)


def less_complete(inventory, source, coverage, *, keep):
    less = replace(inventory, sources={**inventory.sources, source: SourceState(coverage, "a test")})
    cache = less.build_cache
    nothing = {
        Source.LAYERS: {"layers": {}, "removing": {}, "write_sets": {}},
        Source.RW_LAYERS: {"rw_layers": {}},
        Source.IMAGES: {"images": {}, "image_metadata": {}},
        Source.CONTAINERS: {"containers": {}},
        Source.REPOSITORIES: {"repositories": Unreadable("EACCES")},  # other trouble with it is a fault of its own
        Source.LINKS: {"link_farm": replace(less.link_farm, symlinks={})},
        Source.BUILD_SNAPSHOTS: {"build_cache": replace(cache, snapshots={}, named=frozenset(), chains=frozenset())},
        Source.BUILD_RECORDS: {"build_cache": replace(cache, records={}, named=frozenset())},
        Source.BUILD_LEASES: {"build_cache": replace(cache, leases={}, named=frozenset())},
        Source.MOUNTS: {"mounts": ()},
        Source.PLUGINS: {"plugins": {}},
        Source.VOLUMES: {"volumes": {}},
        Source.TEMPORARIES: {"temporaries": {}, "engine_temporaries": {}},
        Source.DISTRIBUTION: {"distribution": {}},
    }
    return less if keep else replace(less, **nothing.get(source, {}))


STATES = st.sampled_from([EngineState.RUNNING, EngineState.STOPPED])
NUMBERS = st.integers(0, SCENES - 1)
LOSSES = st.tuples(st.sampled_from(sorted(Source)), st.sampled_from(LESS), st.booleans())
"""A source, how it was read, and whether what was read of it is kept."""


@laws
@given(number=NUMBERS, state=STATES, losses=st.lists(LOSSES, min_size=1, max_size=3))
def test_less_complete_sources_never_add_a_step(scenes, number, state, losses):
    whole = under(scenes(number), state)
    less = whole
    for source, coverage, keep in losses:
        less = less_complete(less, source, coverage, keep=keep)

    assert set(names(planned(less)[0])) <= set(names(planned(whole)[0]))


@laws
@given(
    number=NUMBERS, state=STATES, max_items=st.none() | st.integers(1, 6), min_bytes=st.sampled_from([0, 9999, 1 << 20])
)
def test_nothing_that_stays_stands_on_what_goes(scenes, number, state, max_items, min_bytes):
    inventory = under(scenes(number), state)
    steps, _, findings = planned(inventory, replace(EVERYTHING, max_items=max_items, min_bytes=min_bytes))

    standing = Standing(inventory, StoreGraph(inventory, inventory.engine.proof_bound(now_of(inventory))), findings)
    gone = set()
    for step in steps:
        if not isinstance(step, Mend):
            if step.finding.kind is Kind.ORPHAN:
                assert {node for node in standing.on(nodes_of(step.finding)) if node not in gone} == set()
            gone.update(nodes_of(step.finding))


@pytest.mark.parametrize(
    ("state", "kinds"),
    [
        (EngineState.RUNNING, {"repair": "GCD103", "release": "GCD211", "quarantine": "GCD101"}),
        (EngineState.STOPPED, {"repair": "GCD203", "quarantine": "GCD211"}),
    ],
)
def test_the_scenes_give_steps_of_each_kind(scenes, state, kinds):
    """Else the laws above would hold of nothing."""
    steps = [step for number in range(SCENES) for step in planned(under(scenes(number), state))[0]]

    assert {kind_of(step) for step in steps} == kinds.keys()
    assert {(kind, code) for kind, code in kinds.items()} <= {(kind_of(step), step.finding.code) for step in steps}
