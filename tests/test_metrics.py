"""The metrics: their names, labels and number, what they count, and that their page tells of them all."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from support.golden import assert_golden
from support.published import SCRUBBED, busy_daemon, published
from support.results import damaged_host, finding, orphan, result, unchecked

from gcd import metrics
from gcd.metrics import FIGURES, SEVERITIES, Type, exposition
from gcd.model.audit import ActKind
from gcd.model.facts import Engine, EngineState
from gcd.model.finding import Acceptance, Confidence, Impact, Kind, Node, NodeKind, Severity
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.plan import Outcome, Reason
from gcd.model.published import Durations, Holding, LayerState, Scope, Scrubbing, Tally
from gcd.rules.catalogue import EVERY_RULE

MOST_SERIES = 300
CLOSED = {
    "code": {rule.code for rule in EVERY_RULE},
    "severity": set(Severity),
    "source": set(Source),
    "action": set(ActKind),
    "outcome": set(Outcome),
    "reason": set(Reason),
    "scope": set(Scope),
    "state": set(LayerState),
    "le": {"0.005", "0.02", "0.05", "0.2", "0.5", "1.0", "2.0", "5.0", "15.0", "60.0", "+Inf"},
}


def samples(shown):
    """All series with their values, as a Prometheus reads them."""
    families = text_string_to_metric_families(exposition(shown).decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


def value(shown, name, **labels):
    return samples(shown)[name, *sorted(labels.items())]


def total(shown, name, **labels):
    return sum(
        value
        for (sample, *pairs), value in samples(shown).items()
        if sample == name and labels.items() <= dict(pairs).items()
    )


def at(code, number=0, **fields):
    """A proven finding with the severity that the rules give it."""
    [rule] = [rule for rule in EVERY_RULE if rule.code == code]
    said = {"severity": rule.severity, "kind": rule.kind, **fields}
    return finding(code, rule.name, Node(rule.node, f"{number}"), **said)


# --- names and sets -------------------------------------------------------------------------------------------------


def test_the_exposition_of_a_busy_daemon():
    text = exposition(busy_daemon()).decode()

    assert_golden("metrics.prom", re.sub(r"gcd_build_info\{[^}]*\}", "gcd_build_info{…}", text))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_names_are_those_that_prometheus_expects(figure):
    unit = re.compile(r"_(bytes|seconds|inodes|ratio)(_total)?$")

    assert re.fullmatch(r"gcd(_[a-z]+)+", figure.name)
    assert figure.name.endswith("_total") == (figure.type is Type.COUNTER)
    assert figure.name.endswith("_info") == (figure.type is Type.INFO)
    assert not set(figure.labels) & {word for word in figure.name.split("_") if word.endswith("s")}
    assert figure.text.endswith(".")
    for word, named in (("bytes", "_bytes"), ("seconds", "_seconds"), ("Inodes", "_inodes")):
        if re.search(rf"\b{word}\b", figure.text) and word != "Inodes":
            assert named in figure.name
    if match := unit.search(figure.name):
        assert match[1] in figure.text.lower()


def test_no_label_has_a_value_that_is_not_of_a_closed_set():
    hostile = finding("GCD101", "x", Node(NodeKind.LAYER_DIR, 'x"} 1\n<script>'), paths=("y\udcff",))

    for name, *labels in samples(published(result(hostile))):
        if name not in {"gcd_build_info", "gcd_store_info"}:
            assert all(value in CLOSED[label] for label, value in labels)


def worst():
    """A result with all codes in all severities, and everything unread."""
    findings = [at(code, n, severity=s) for code in CLOSED["code"] for n, s in enumerate(Severity)]
    return published(
        result(
            *findings,
            sources=dict.fromkeys(Source, SourceState(Coverage.UNREADABLE, "gone")),
            not_checked=tuple(unchecked(rule.code, rule.name) for rule in EVERY_RULE),
        ),
        tally=Tally(
            acts={(kind, outcome): 1 for kind in ActKind for outcome in Outcome},
            refusals=dict.fromkeys(Reason, 1),
            durations={scope: Durations((1,) * 11, 5.0) for scope in Scope},
        ),
        checked_ns=dict.fromkeys(Scope, 1),
    )


def test_all_series_are_there_from_the_first_result_on_and_they_are_few():
    assert samples(worst()).keys() == samples(published()).keys()
    assert len(samples(worst())) == 277 < MOST_SERIES


def test_before_the_first_result_there_is_only_that_it_is_not_up():
    assert samples(None) == {("gcd_up",): 0}


def test_a_registry_takes_the_collector():
    registry = CollectorRegistry()
    registry.register(metrics.collector(busy_daemon))

    assert registry.get_sample_value("gcd_findings", {"code": "GCD101", "severity": "warning"}) == 3


# --- severities -----------------------------------------------------------------------------------------------------


def codes_that_reach(keywords):
    """The codes whose rules reach, in their module, a `Fault` with one of `keywords`."""
    reached = set()
    for rule in EVERY_RULE:
        module = ast.parse(inspect.getsource(sys.modules[rule.check.__module__]))
        functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
        todo, seen = [rule.check.__name__], set()
        while todo:
            name = todo.pop()
            if name in seen or name not in functions:
                continue
            seen.add(name)
            for node in ast.walk(functions[name]):
                match node:
                    case ast.Call(func=ast.Name(id="Fault"), keywords=said) if {k.arg for k in said} & keywords:
                        reached.add(rule.code)
                    case ast.Call(func=ast.Name(id=called)):
                        todo.append(called)
    return reached


def test_the_severities_of_a_code_are_those_that_its_rule_can_give():
    milder = {
        code: set(of) - {rule.severity for rule in EVERY_RULE if rule.code == code} for code, of in SEVERITIES.items()
    }
    info = {rule.code for rule in EVERY_RULE if rule.severity is Severity.INFO}

    # What is suspected is info; what is harmless in some cases is, too; the rest has a severity of its own.
    assert {code for code, of in milder.items() if of} | info >= codes_that_reach({"since_ns", "is_held", "severity"})
    mild = {"GCD404", "GCD701"}
    assert {c for c, of in milder.items() if Severity.INFO in of} == (
        codes_that_reach({"since_ns", "is_held"}) - info | mild
    )
    assert {c for c, of in milder.items() if of - {Severity.INFO}} == codes_that_reach({"severity"}) - mild


def test_findings_are_counted_by_code_and_severity():
    shown = published(
        result(
            orphan("a"),
            orphan("b"),
            orphan("c", severity=Severity.INFO, confidence=Confidence.SUSPECTED),
            at("GCD307"),
            at("GCD307", 1, severity=Severity.ERROR),
        )
    )

    assert value(shown, "gcd_findings", code="GCD101", severity="warning") == 2
    assert value(shown, "gcd_findings", code="GCD101", severity="info") == 1
    assert value(shown, "gcd_findings", code="GCD307", severity="critical") == 1
    assert value(shown, "gcd_findings", code="GCD307", severity="error") == 1
    assert total(shown, "gcd_findings") == 5


@pytest.mark.parametrize(
    ("code", "severity", "counted"),
    [
        ("GCD101", Severity.ERROR, "warning"),
        ("GCD103", Severity.INFO, "error"),
        ("GCD307", Severity.WARNING, "error"),
        ("GCD805", Severity.INFO, "error"),
    ],
)
def test_a_severity_that_a_code_should_not_have_is_counted_under_one_that_it_has(code, severity, counted):
    shown = published(result(at(code, severity=severity)))

    assert value(shown, "gcd_findings", code=code, severity=counted) == 1
    assert total(shown, "gcd_findings") == 1


def test_what_is_accepted_counts_nowhere():
    known = Acceptance("GCD*", "we know")
    lost = at("GCD305", accepted=known, impact=Impact(containers=("db",)))
    shown = published(result(orphan("a", accepted=known), at("GCD402", accepted=known), lost))

    assert total(shown, "gcd_findings") == 0
    assert total(shown, "gcd_orphaned_bytes") == 0
    assert value(shown, "gcd_unloadable_images") == 0
    assert value(shown, "gcd_lost_containers") == 0


# --- figures of a result --------------------------------------------------------------------------------------------


def test_bytes_of_orphans_sum_up_to_those_of_the_summary():
    shown = published(damaged_host())
    summary = shown.result.summary

    assert total(shown, "gcd_orphaned_bytes") == summary.orphaned_bytes > 0
    assert total(shown, "gcd_orphaned_inodes") == summary.orphaned_inodes > 0
    assert value(shown, "gcd_blocked_bytes") == summary.blocked_bytes > 0


def test_there_is_a_series_for_each_code_of_kind_orphan():
    codes = {dict(labels)["code"] for name, *labels in samples(published()) if name == "gcd_orphaned_bytes"}

    assert codes == {rule.code for rule in EVERY_RULE if rule.kind is Kind.ORPHAN}


def test_an_image_is_unloadable_once_whatever_says_so_but_not_on_suspicion():
    shown = published(
        result(
            at("GCD401", 1),
            at("GCD402", 1),
            at("GCD402", 2),
            at("GCD402", 3, severity=Severity.INFO, confidence=Confidence.SUSPECTED),
        )
    )

    assert value(shown, "gcd_unloadable_images") == 2


def test_containers_are_lost_by_errors_only_and_each_once():
    shown = published(
        result(
            at("GCD306", 1, impact=Impact(containers=("web", "db"))),
            at("GCD103", 2, impact=Impact(containers=("db",))),
            at("GCD114", 3, impact=Impact(containers=("cache",))),
        )
    )

    assert value(shown, "gcd_lost_containers") == 2


@pytest.mark.parametrize(
    ("state", "running"), [(EngineState.RUNNING, 1), (EngineState.STOPPED, 0), (EngineState.UNKNOWN, 0)]
)
def test_whether_the_engine_runs(state, running):
    assert value(published(result(engine=Engine(state))), "gcd_engine_running") == running


@pytest.mark.parametrize(
    ("source", "coverage", "readable"),
    [
        (Source.IMAGES, Coverage.OK, 1),
        (Source.IMAGES, Coverage.PARTIAL, 0),
        (Source.IMAGES, Coverage.ABSENT, 0),
        (Source.BUILD_RECORDS, Coverage.BUSY, 0),
        (Source.BUILD_RECORDS, Coverage.UNREADABLE, 0),
        (Source.BUILD_RECORDS, Coverage.ABSENT, 1),
    ],
)
def test_a_source_is_readable_unless_something_cannot_be_checked_for_want_of_it(source, coverage, readable):
    shown = published(result(sources={source: SourceState(coverage, "")}))

    assert value(shown, "gcd_source_readable", source=source) == readable
    assert total(shown, "gcd_source_readable") == len(Source) - 1 + readable


def test_a_rule_is_not_checked_once_whatever_it_lacks():
    shown = published(result(not_checked=(unchecked("GCD102", "x"), unchecked("GCD102", "x"))))

    assert value(shown, "gcd_not_checked", code="GCD102") == 1
    assert total(shown, "gcd_not_checked") == 1


# --- figures of a daemon --------------------------------------------------------------------------------------------


def test_whether_the_last_look_failed():
    assert value(published(), "gcd_up") == 1
    assert value(published(has_failed=True), "gcd_up") == 0
    assert value(published(trouble="the disk of the state is full"), "gcd_up") == 1


def test_durations_are_a_histogram():
    shown = published(tally=Tally({}, {}, {Scope.FULL: Durations((1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4), 300.5)}))

    def below(bound):
        return value(shown, "gcd_check_duration_seconds_bucket", scope="full", le=bound)

    assert [below(bound) for bound in ("0.005", "0.02", "0.05", "60.0", "+Inf")] == [1, 1, 3, 3, 7]
    assert value(shown, "gcd_check_duration_seconds_count", scope="full") == 7
    assert value(shown, "gcd_check_duration_seconds_sum", scope="full") == 300.5
    assert value(shown, "gcd_check_duration_seconds_count", scope="incremental") == 0


def test_times_are_seconds_and_0_where_there_was_nothing():
    shown = published(checked_ns={Scope.FULL: 1_500_000_000}, holding=Holding(1, 1, 2_250_000_000))

    assert value(shown, "gcd_last_check_timestamp_seconds", scope="full") == 1.5
    assert value(shown, "gcd_last_check_timestamp_seconds", scope="incremental") == 0
    assert value(shown, "gcd_quarantine_oldest_timestamp_seconds") == 2.25
    assert value(published(), "gcd_quarantine_oldest_timestamp_seconds") == 0


def test_what_was_done_and_refused():
    shown = busy_daemon()

    assert value(shown, "gcd_actions_total", action="quarantine", outcome="done") == 12
    assert total(shown, "gcd_actions_total") == 14
    assert value(shown, "gcd_refusals_total", reason="in-use") == 2
    assert total(shown, "gcd_refusals_total") == 2
    assert value(shown, "gcd_reclaimed_bytes_total") == 3 * 1024**3
    assert value(shown, "gcd_watching") == 1
    assert value(replace(shown, is_watching=False), "gcd_watching") == 0


def test_what_scrubs_know():
    shown = busy_daemon()

    found = {
        name[4:]: value(shown, name) for name, *labels in samples(shown) if name.startswith("gcd_scrub") and not labels
    }
    assert found == {
        "scrub_bytes_total": 5 * 1024**3,
        "scrub_progress_ratio": 0.25,
        "scrub_oldest_verified_timestamp_seconds": SCRUBBED.oldest_ns / 1e9,
        "scrub_period_seconds": 2_592_000,
        "scrub_readable": 1,
    }
    assert {state: value(shown, "gcd_scrub_layers", state=state) for state in LayerState} == SCRUBBED.layers
    assert value(shown, "gcd_quarantine_retention_seconds") == 1_209_600


def test_before_the_first_scrub_all_series_are_there_with_0():
    shown = published(scrubbing=Scrubbing(is_readable=False))

    assert {name: number for (name, *_), number in samples(shown).items() if name.startswith("gcd_scrub")} == {
        "gcd_scrub_layers": 0,
        "gcd_scrub_bytes_total": 0,
        "gcd_scrub_progress_ratio": 0,
        "gcd_scrub_oldest_verified_timestamp_seconds": 0,
        "gcd_scrub_period_seconds": 0,
        "gcd_scrub_readable": 0,
    }


def test_the_text_of_one_check_is_a_part_of_all():
    of_check = metrics.textfile(damaged_host(), SCRUBBED)
    whole = exposition(published(damaged_host(), scrubbing=SCRUBBED)).decode()

    assert set(of_check.splitlines()) < set(whole.splitlines())
    assert {line.split()[2] for line in of_check.splitlines() if line.startswith("# HELP")} == {
        figure.name for figure in FIGURES if figure.is_of_check
    }


def test_the_page_of_metrics_tells_of_all():
    page = (Path(__file__).resolve().parents[1] / "docs" / "metrics.md").read_text()

    assert page == metrics.page()
