"""Each guard by exact answers; and that each member of the table is needed, none but it being against its case."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.cases import (
    AGAINST,
    ANY_CONFIDENCE,
    HOUR_NS,
    NIGHTS,
    QUARANTINE,
    QUARANTINE_STOPPED,
    RELEASE,
    REPAIR_ONLINE,
    REPAIR_STOPPED,
    SEEN_FOR_A_DAY,
    STOPPED,
    case,
    leaked,
    missing_link,
    named,
    suspected,
)
from support.results import NOON_NS, RUNNING, hex64, orphan

from gcd.model.facts import Engine, EngineState
from gcd.model.finding import Acceptance, Code, Confidence, FindingId, Impact, Kind, Node, NodeKind
from gcd.model.ids import LayerDirId
from gcd.model.inventory import Source
from gcd.model.plan import LeftAlone, Reason
from gcd.policy import guards
from gcd.policy.guards import GUARDS, ask
from gcd.policy.policy import DAY_NS, History, Policy, Protection

UNKNOWN = Engine(EngineState.UNKNOWN)
NO_EPOCH = Engine(EngineState.RUNNING, pid=4711)

TOLD = {
    guards.not_accepted: (Reason.ACCEPTED, "it is accepted (GCD101:*): known"),
    guards.not_protected: (
        Reason.PROTECTED,
        f"the settings protect finding GCD101:layer-dir:{hex64('a')} (GCD101:layer-dir:aaa*)",
    ),
    guards.engine_allows: (Reason.ENGINE_RUNS, "its quarantine needs the engine stopped"),
    guards.not_blocked: (Reason.BLOCKED, "it may belong to GCD206:layer:sha256:cc: mend or move that first"),
    guards.proof_is_whole: (Reason.NOT_CHECKED, "what could speak against it was not read whole: images"),
    guards.is_sure: (
        Reason.SUSPECTED,
        "it changed since the engine started, which may be at work on it: a restart of the engine settles it",
    ),
    guards.seen_long_enough: (
        Reason.IN_GRACE,
        "it has not been seen before: gcd check --record must have seen it for 24.0 h",
    ),
    guards.not_in_use: (Reason.IN_USE, f"the engine says that layer-dir:{hex64('a')} is in use"),
    guards.nothing_stands_on_it: (Reason.BLOCKED, f"it lies below layer-dir:{hex64('b')}, which stays"),
    guards.not_only_from_a_registry: (
        Reason.OFFLINE_NODE,
        "it could only be pulled again, and offline_node says that nothing can",
    ),
    guards.is_worth_it: (Reason.TOO_SMALL, "it takes 3145728 bytes, less than min_size = 3145729"),
    guards.in_window: (Reason.OUTSIDE_WINDOW, "it is not the time: tue 22:00 to 04:00 UTC"),
    guards.within_limits: (Reason.OVER_LIMIT, "max_items = 2 for one run are planned already"),
}


def told(asked):
    left = ask(asked)
    return left and (left.reason, left.why)


def test_nothing_is_against_a_proven_orphan():
    assert ask(case()) is None


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)
def test_each_guard_is_against_its_case(guard):
    assert ask(AGAINST[guard]) == LeftAlone(AGAINST[guard].finding, *TOLD[guard])


@pytest.mark.parametrize("dropped", GUARDS, ids=lambda guard: guard.__name__)
def test_without_any_one_guard_its_case_would_pass(dropped, monkeypatch):
    monkeypatch.setattr(guards, "GUARDS", tuple(guard for guard in GUARDS if guard is not dropped))

    passing = [guard for guard, against in AGAINST.items() if ask(against) is None]

    assert passing == [dropped]


def test_acceptance_goes_before_all_else():
    every = case(orphan("a", accepted=Acceptance("*", "known"), blocked_by=(FindingId("x"),)), QUARANTINE_STOPPED)

    assert told(every) == (Reason.ACCEPTED, "it is accepted (*): known")


@pytest.mark.parametrize(
    ("protection", "why"),
    [
        (Protection(codes=frozenset({Code("GCD101")})), "the settings protect GCD101"),
        (Protection(findings=(orphan("a").id,)), f"the settings protect finding {orphan('a').id} ({orphan('a').id})"),
        (Protection(images=("shop/*",)), "the settings protect image shop/web:1 (shop/*)"),
        (Protection(containers=("db-[0-9]",)), "the settings protect container db-1 (db-[0-9])"),
        (Protection(images=("shop",), containers=("db",), findings=("GCD102:*",)), None),
    ],
)
def test_protection(protection, why):
    found = orphan("a", impact=Impact(images=("base:1", "shop/web:1"), containers=("db-1",)))

    assert told(case(found, policy=Policy(protection=protection))) == (why and (Reason.PROTECTED, why))


def test_protection_holds_for_what_is_named_by_its_id():
    protection = Policy(protection=Protection(codes=frozenset({Code("GCD101")})))

    assert told(named(orphan("a"), policy=protection)) == (Reason.PROTECTED, "the settings protect GCD101")


@pytest.mark.parametrize(
    ("engine", "remedy", "answer"),
    [
        (RUNNING, QUARANTINE, None),
        (RUNNING, RELEASE, None),
        (RUNNING, REPAIR_STOPPED, (Reason.ENGINE_RUNS, "its repair needs the engine stopped")),
        (STOPPED, QUARANTINE, None),
        (STOPPED, QUARANTINE_STOPPED, None),
        (STOPPED, RELEASE, (Reason.ENGINE_STOPPED, "only a running engine can release a layer")),
        (UNKNOWN, QUARANTINE, (Reason.ENGINE_UNKNOWN, "whether an engine uses this root cannot be told")),
    ],
)
def test_the_engine(engine, remedy, answer):
    assert told(case(remedy=remedy, engine=engine)) == answer


def test_what_a_running_engine_can_delete_itself_names_the_command():
    asked = case(leaked("b"), remedy=QUARANTINE_STOPPED, engine=RUNNING)

    why = "its quarantine needs the engine stopped; gcd release has the running engine delete it"
    assert told(asked) == (Reason.ENGINE_RUNS, why)


def test_what_blocks_is_named_up_to_three():
    blockers = tuple(FindingId(f"GCD206:layer:{n}") for n in range(5))

    assert told(case(orphan("a", blocked_by=blockers))) == (
        Reason.BLOCKED,
        "it may belong to GCD206:layer:0, GCD206:layer:1, GCD206:layer:2 and 2 more: mend or move that first",
    )


@pytest.mark.parametrize(
    ("found", "fields", "answer"),
    [
        (suspected(is_held=True), {}, (Reason.SUSPECTED, "a process has it open")),
        (suspected(is_held=True), {"policy": ANY_CONFIDENCE}, (Reason.SUSPECTED, "a process has it open")),
        (
            suspected(),
            {"engine": STOPPED},
            (Reason.SUSPECTED, "it changed within the last hour: it may be part of a copy under way"),
        ),
        (suspected(), {"policy": ANY_CONFIDENCE}, None),
        (suspected(), {"policy": ANY_CONFIDENCE, "engine": STOPPED, "is_writing": False}, None),
        (
            suspected(),
            {"policy": ANY_CONFIDENCE, "engine": NO_EPOCH},
            (Reason.SUSPECTED, "since when the engine runs is not known"),
        ),
        (
            suspected(),
            {"policy": ANY_CONFIDENCE, "is_writing": True},
            (Reason.SUSPECTED, "the engine is making a layer that it may belong to"),
        ),
    ],
)
def test_what_is_suspected_is_taken_only_where_nothing_is_under_way(found, fields, answer):
    assert told(case(found, history=SEEN_FOR_A_DAY, **fields)) == answer


@pytest.mark.parametrize(("engine", "is_taken"), [(RUNNING, False), (STOPPED, True)])
def test_a_young_layer_record_is_the_running_engines_own(engine, is_taken):
    """S15: whatever the policy takes."""
    young = leaked("b", confidence=Confidence.SUSPECTED)
    history = History({young.id: DAY_NS})

    asked = case(young, QUARANTINE, policy=ANY_CONFIDENCE, history=history, engine=engine)

    assert (told(asked) is None) is is_taken


def seen_for(nanoseconds):
    return History({orphan("a").id: nanoseconds, missing_link().id: nanoseconds})


@pytest.mark.parametrize(
    ("seen_ns", "grace_ns", "engine", "why"),
    [
        (DAY_NS, DAY_NS, RUNNING, None),
        (DAY_NS - 1, HOUR_NS, RUNNING, "it has been seen for 24.0 h: gcd check --record must have seen it for 24.0 h"),
        (DAY_NS, 2 * DAY_NS, RUNNING, "it has been seen for 24.0 h: gcd check --record must have seen it for 48.0 h"),
        (HOUR_NS, HOUR_NS, STOPPED, None),
        (HOUR_NS // 2, HOUR_NS, STOPPED, "it has been seen for 0.5 h: gcd check --record must have seen it for 1.0 h"),
    ],
)
def test_grace_is_never_below_a_day_while_an_engine_runs(seen_ns, grace_ns, engine, why):
    policy = replace(ANY_CONFIDENCE, grace_ns=grace_ns)
    old_enough = suspected(since_ns=NOON_NS - 3 * DAY_NS)

    answer = told(case(old_enough, policy=policy, history=seen_for(seen_ns), engine=engine))

    assert answer == (why and (Reason.IN_GRACE, why))


@pytest.mark.parametrize(("age_ns", "why"), [(DAY_NS - 1, "it changed within the last 24.0 h"), (DAY_NS, None)])
def test_grace_begins_anew_with_every_change(age_ns, why):
    found = suspected(since_ns=NOON_NS - age_ns)

    answer = told(case(found, policy=ANY_CONFIDENCE, history=SEEN_FOR_A_DAY))

    assert answer == (why and (Reason.IN_GRACE, why))


def test_a_repair_under_a_running_engine_needs_two_looks_a_day_apart():
    assert told(case(missing_link(), REPAIR_ONLINE)) == (
        Reason.IN_GRACE,
        "it has not been seen before: gcd check --record must have seen it for 24.0 h, or the engine must be stopped",
    )
    assert told(case(missing_link(), REPAIR_ONLINE, history=SEEN_FOR_A_DAY)) is None
    assert told(case(missing_link(), REPAIR_ONLINE, engine=STOPPED)) is None


def test_what_was_not_read_speaks_only_against_repairs():
    assert ask(case(unread=tuple(Source))) is None


def test_no_dir_is_moved_while_the_engine_cannot_say_what_something_uses():
    nodes = (Node(NodeKind.LAYER_DIR, hex64("a")),)
    silent = frozenset({"sha256:b", "sha256:a"})

    assert told(case(nodes=nodes, silent=silent)) == (
        Reason.NOT_CHECKED,
        "the engine cannot say which layer dirs sha256:a, sha256:b uses: mend what is damaged first",
    )
    assert told(case(nodes=(Node(NodeKind.LAYER, hex64("a")),), silent=silent)) is None
    assert told(case(missing_link(), REPAIR_ONLINE, history=SEEN_FOR_A_DAY, nodes=nodes, silent=silent)) is None


def test_only_dirs_that_the_engine_lists_are_in_use():
    nodes = (Node(NodeKind.LAYER_DIR, hex64("a")), Node(NodeKind.LAYER, hex64("b")))

    assert told(case(nodes=nodes, listed_dirs=frozenset({LayerDirId(hex64("b")), LayerDirId(hex64("c"))}))) is None


@pytest.mark.parametrize(
    ("found", "remedy", "is_left"),
    [
        (leaked("b"), RELEASE, True),
        (leaked("b"), QUARANTINE, True),
        (replace(leaked("b"), subject=Node(NodeKind.IMAGE, "sha256:1"), kind=Kind.DAMAGED), QUARANTINE, True),
        (leaked("b", kind=Kind.DAMAGED), REPAIR_ONLINE, False),
        (orphan("a"), QUARANTINE, False),
    ],
)
def test_an_offline_node_keeps_what_could_only_be_pulled(found, remedy, is_left):
    answer = ask(case(found, remedy, policy=Policy(is_offline=True), history=History({found.id: DAY_NS})))

    assert (answer is not None and answer.reason is Reason.OFFLINE_NODE) == is_left
    assert answer is None or is_left


@pytest.mark.parametrize(
    ("asked", "is_left"),
    [
        (case(disk_bytes=9, policy=Policy(min_bytes=10)), True),
        (case(disk_bytes=10, policy=Policy(min_bytes=10)), False),
        (case(orphan("a", kind=Kind.LEFTOVER), disk_bytes=9, policy=Policy(min_bytes=10)), True),
        (case(orphan("a", kind=Kind.DAMAGED), disk_bytes=9, policy=Policy(min_bytes=10)), False),
        (case(missing_link(), REPAIR_ONLINE, policy=Policy(min_bytes=10), history=SEEN_FOR_A_DAY), False),
        (named(orphan("a"), disk_bytes=9, policy=Policy(min_bytes=10)), False),
    ],
)
def test_the_smallest_size_is_about_space(asked, is_left):
    answer = ask(asked)

    assert (answer and answer.reason) == (Reason.TOO_SMALL if is_left else None)


def test_a_window_does_not_hold_for_what_is_named_by_its_id():
    assert ask(named(orphan("a"), policy=Policy(windows=(NIGHTS,)))) is None


@pytest.mark.parametrize(
    ("policy", "planned", "why"),
    [
        (Policy(max_items=2), {"items": 1}, None),
        (Policy(max_bytes=4 << 20), {"planned_bytes": 1 << 20}, None),
        (
            Policy(max_bytes=4 << 20),
            {"planned_bytes": (1 << 20) + 1},
            "with it the run would go beyond max_bytes = 4194304",
        ),
    ],
)
def test_limits_of_one_run(policy, planned, why):
    assert told(case(policy=policy, **planned)) == (why and (Reason.OVER_LIMIT, why))


def test_limits_do_not_hold_for_what_is_named_by_its_id_nor_bytes_for_repairs():
    assert ask(named(orphan("a"), policy=Policy(max_items=1, max_bytes=1), items=5)) is None
    mend = case(missing_link(disk_bytes=9), REPAIR_ONLINE, policy=Policy(max_bytes=1), history=SEEN_FOR_A_DAY)
    assert ask(mend) is None


@pytest.mark.parametrize("impact", [Impact(images=("shop/web:1",)), Impact(containers=("web",))])
def test_a_label_protects_what_costs_its_image_or_container(impact):
    labelled = {"shop/web:1": "keep", "web": "keep"}

    answer = ask(case(orphan("a", impact=impact), labelled=labelled))

    assert answer is not None
    assert answer.reason is Reason.PROTECTED
    assert answer.why in {
        "the settings protect shop/web:1 by its label (keep)",
        "the settings protect web by its label (keep)",
    }
