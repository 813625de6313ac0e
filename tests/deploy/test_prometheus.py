"""
A real Prometheus with the shipped rules: what it gathers is what was planted, what should fire fires, and every panel
of the dashboards has something to show.

It scrapes four hosts: `planted`, a gcd that watches a broken root whose layers were scrubbed; `broken`, the metrics of
a root with all that can be wrong, in a copy of the rules without patience; `healthy`; and `down`, where nobody listens.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml
from msgspec.structs import replace
from support.daemons import Forked, disk_usage, wait_until
from support.prometheus import exposed, free_port, is_ready, running

from gcd import metrics
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import images
from gcd.demo.faults.fault import layer_dir, link_symlink
from gcd.demo.scene import build_scene
from gcd.model import layout
from gcd.model.audit import ActKind
from gcd.model.errors import ExitBits
from gcd.model.plan import Outcome, Reason
from gcd.model.published import (
    BUCKETS_SECONDS,
    Durations,
    Holding,
    LayerState,
    Published,
    Scope,
    Scrubbing,
    Tally,
)
from gcd.run import check

if TYPE_CHECKING:
    from gcd.demo.scene import Scene
    from gcd.model.result import RunResult

HOURS_AHEAD_NS = 2 * 3_600_000_000_000
"""With no engine running nothing is proven before it is an hour old."""
NS = 1_000_000_000

IMPATIENCE = (
    (r"^( +for:) \w+$", r"\1 0s", 13),
    (r"\[8h\]", "[3s]", 6),
    (r"offset 16h", "offset 6s", 2),
    (r"offset 8h", "offset 3s", 2),
    (r"> 20 \* 2\^30", "> 1024", 1),
    (r"> 2\^30", "> 1024", 1),
)
"""What is another in the copy of the alerts: patterns, what they become, how often they stand there."""


def impatient(text):
    for pattern, become, times in IMPATIENCE:
        text, found = re.subn(pattern, become, text, flags=re.MULTILINE)
        assert found == times, pattern
    return text


def look(root):
    return check(str(root), now_ns=time.time_ns() + HOURS_AHEAD_NS)


@dataclass(frozen=True)
class Planted:
    """`result` is what a check finds before gcd watches: what another process has open is not proven to be nobody's."""

    scene: Scene
    result: RunResult


@pytest.fixture
def planted(tmp_path):
    """The scene of the demo, without names for its images, and with a source that cannot be read."""
    scene = build_scene(tmp_path / "planted")
    images.empty_repositories(scene.root, "")
    distribution = scene.root / layout.distribution()
    shutil.rmtree(distribution, ignore_errors=True)
    distribution.write_text("no directory")
    return Planted(scene, look(scene.root))


def durations(counted):
    return Durations((counted, *(0,) * len(BUCKETS_SECONDS)), counted * 0.003)


def tally(beat, *, is_broken):
    """What was counted until the `beat`-th look."""
    return Tally(
        acts={(ActKind.QUARANTINE, Outcome.FAILED): beat} if is_broken else {},
        refusals={Reason.RUN_REFUSED: beat} if is_broken else {},
        durations={Scope.FULL: durations(beat), Scope.INCREMENTAL: durations(7 * beat)},
        reclaimed_bytes=4096 * beat if is_broken else 0,
        failures=beat if is_broken else 0,
        watch_events=20 * beat,
        watch_overflows=beat if is_broken else 0,
        scrubbed_bytes=beat << 20,
    )


def grown(result, beat):
    """`result`, with the first orphan larger by 4 KiB with each beat."""
    at = next(n for n, f in enumerate(result.findings) if f.code == "GCD101" and not f.blocked_by)
    finding = result.findings[at]
    larger = replace(finding, disk_bytes=finding.disk_bytes + 4096 * beat)
    return replace(result, findings=(*result.findings[:at], larger, *result.findings[at + 1 :]))


@pytest.fixture
def broken(planted):
    """A host of which everything is wrong, and more so with each tenth of a second."""
    result = planted.result
    began = time.monotonic()

    def exposition():
        beat, now_ns = int((time.monotonic() - began) * 10), time.time_ns()
        return metrics.exposition(
            Published(
                grown(result, beat),
                tally(beat, is_broken=True),
                {Scope.FULL: now_ns - 2 * 3600 * NS, Scope.INCREMENTAL: now_ns},
                reclaimable_bytes=8192,
                holding=Holding(12288, 2, now_ns - 13 * 86400 * NS, 14 * 86400),
                scrubbing=Scrubbing(
                    layers={LayerState.DAMAGED: 1, LayerState.PENDING: 11},
                    oldest_ns=now_ns - 40 * 86400 * NS,
                    progress=0.5,
                    period_seconds=30 * 86400,
                ),
                is_watching=False,
            )
        )

    with exposed(exposition) as address:
        yield address


@pytest.fixture
def healthy(tmp_path):
    with DockerRoot(tmp_path / "healthy") as root:
        root.container("web", image=root.image("web:1", layers=3))
    result = look(tmp_path / "healthy")
    assert result.findings == ()
    began = time.monotonic()

    def exposition():
        beat, now_ns = int((time.monotonic() - began) * 10), time.time_ns()
        return metrics.exposition(
            Published(result, tally(beat, is_broken=False), {Scope.FULL: now_ns, Scope.INCREMENTAL: now_ns})
        )

    with exposed(exposition) as address:
        yield address


def scrub_with_a_damaged_layer(root, state):
    """A file of one layer is emptied, and all layers are looked at."""
    (file,) = root.glob("overlay2/*/diff/hello")
    os.truncate(file, 0)
    words = [sys.executable, "-m", "gcd.daemon.scrubchild", str(os.getpid()), "start", "--root", str(root)]
    environment = {**os.environ, "GCD_STATE_DIR": str(state)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == ExitBits.FINDINGS_LEFT, done.stderr


@pytest.fixture
def gcd_run(tmp_path, planted):
    """``gcd run`` on the planted root, in two hours."""
    place, address = tmp_path / "gcd", f"127.0.0.1:{free_port()}"
    place.mkdir()
    scrub_with_a_damaged_layer(planted.scene.root, place / "state")

    def begin():
        real_ns = time.time_ns
        time.time_ns = lambda: real_ns() + HOURS_AHEAD_NS

    daemon = Forked(place, planted.scene.root, "", "--web.listen-address", address, begin=begin)
    try:
        wait_until(lambda: is_ready(address), "a first look")
        yield address
    finally:
        daemon.signal(signal.SIGTERM)
        assert daemon.ended() == 0, daemon.log.read_text()


@pytest.fixture
def prometheus(tmp_path, deploy, gcd_run, broken, healthy):
    place = tmp_path / "prometheus"
    place.mkdir()
    shutil.copy(deploy / "prometheus/gcd.rules.yml", place)
    (place / "gcd.alerts.yml").write_text(impatient((deploy / "prometheus/gcd.alerts.yml").read_text()))
    hosts = {"planted": gcd_run, "broken": broken, "healthy": healthy, "down": f"127.0.0.1:{free_port()}"}
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "500ms"},
        "rule_files": ["gcd.rules.yml", "gcd.alerts.yml"],
        "scrape_configs": [
            {
                "job_name": "gcd",
                "static_configs": [
                    {"targets": [address], "labels": {"instance": name, "cluster": "test"}}
                    for name, address in hosts.items()
                ],
            }
        ],
    }
    (place / "prometheus.yml").write_text(yaml.safe_dump(config))
    with running(place / "prometheus.yml") as started:
        started.wait_until(
            lambda: (
                len(started.query("count_over_time(gcd_up[1m]) > 2")) == 3
                and started.query("cluster:gcd_reclaimed_bytes:rate1h > 0")
            ),
            "three hosts of which enough is known for a rate",
        )
        yield started


def by_label(samples, label):
    return {sample.labels[label]: sample.value for sample in samples}


def planted_bytes(planted, code):
    """What du counts of the one dir of `code`, with its symlink where it has one."""
    (node,) = [one.node for one in planted.scene.planted if one.code == code]
    place = layer_dir(planted.scene.root, node.id)
    symlink = [link_symlink(planted.scene.root, node.id).lstat()] if (place / "link").exists() else []
    return disk_usage(place) + sum(512 * one.st_blocks for one in symlink)


def assert_planted_bytes(prometheus, planted):
    """Counted here as du does, for the codes that are about one directory each."""
    found = by_label(prometheus.query('gcd_orphaned_bytes{instance="planted"}'), "code")
    result = planted.result
    orphans = [f for f in result.findings if f.kind == "orphan" and not f.blocked_by]

    for code in ("GCD101", "GCD102"):
        assert found[code] == planted_bytes(planted, code) > 2 << 20
    assert found == {
        code: sum(f.disk_bytes for f in orphans if f.code == code)
        for code in ("GCD101", "GCD102", "GCD116", "GCD211", "GCD310")
    }
    (total,) = prometheus.query('instance:gcd_orphaned_bytes:sum{instance="planted"}')
    assert total.value == result.summary.orphaned_bytes == sum(found.values())


def assert_planted_findings(prometheus, planted):
    result = planted.result
    found = prometheus.query('gcd_findings{instance="planted"} > 0')

    expected = {}
    for finding in result.findings:
        key = (finding.code, finding.severity)
        expected[key] = expected.get(key, 0) + 1
    assert {(one.labels["code"], one.labels["severity"]): one.value for one in found} == expected
    unreadable = by_label(prometheus.query('gcd_source_readable{instance="planted"} == 0'), "source")
    assert unreadable == {"distribution": 0, "repositories": 0}


def assert_what_scrubs_found(prometheus, planted):
    """Those whose record lost its cache-id are pending, and those whose tar-split is damaged cannot be compared."""
    found = by_label(prometheus.query('gcd_scrub_layers{instance="planted"}'), "state")

    assert found == {"verified": 18, "damaged": 1, "unverifiable": 1, "pending": 2}
    assert sum(found.values()) == planted.result.summary.layers


ON_BROKEN = {
    "GcdCheckStale",
    "GcdEngineWillNotStart",
    "GcdContainerLost",
    "GcdImageUnloadable",
    "GcdLayerDamaged",
    "GcdSourceUnreadable",
    "GcdOrphanedBytesHigh",
    "GcdOrphanedBytesGrowing",
    "GcdScrubStale",
    "GcdQuarantineExpiring",
    "GcdRefusing",
    "GcdWatchOverflow",
}
ON_PLANTED = {
    "GcdEngineWillNotStart",
    "GcdContainerLost",
    "GcdImageUnloadable",
    "GcdLayerDamaged",
    "GcdSourceUnreadable",
    "GcdOrphanedBytesHigh",
}


def assert_alerts_fire_where_they_should_alone(prometheus):
    expected = {
        *((name, "broken") for name in ON_BROKEN),
        *((name, "planted") for name in ON_PLANTED),
        ("GcdDown", "down"),
    }
    prometheus.wait_until(lambda: prometheus.firing() == expected, f"{sorted(expected)} fire, and no other")


def assert_rules_can_be_evaluated(prometheus):
    assert [(rule["name"], rule["lastError"]) for rule in prometheus.rules() if rule["health"] == "err"] == []


def chosen(expression, instance):
    """`expression` as Grafana asks it when `instance`, a pattern, is chosen."""
    for variable, value in {
        "$job": "gcd",
        "$cluster": ".*",
        "$instance": instance,
        "$__range": "1h",
        "$__rate_interval": "1m",
    }.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def shows(prometheus, panel, instance):
    """For each query of `panel` whether it has something to show: numbers, not only series."""
    answers = [prometheus.query(chosen(query.expr, instance)) for query in panel.queries]
    return [any(not math.isnan(sample.value) for sample in answer) for answer in answers]


def assert_panels_show_something(prometheus, dashboards):
    empty = [
        (board.uid, panel.title)
        for board in dashboards.DASHBOARDS
        for panel in board.panels
        if not all(shows(prometheus, panel, ".*"))
    ]

    assert empty == []


def assert_panels_are_empty_where_they_say_so(prometheus, dashboards):
    for board in dashboards.DASHBOARDS:
        for panel in board.panels:
            # The sums over clusters are those of all hosts, whichever are chosen.
            if any("instance" in query.expr for query in panel.queries):
                assert any(shows(prometheus, panel, "healthy")) is not bool(panel.empty), panel.title


@pytest.mark.prometheus
@pytest.mark.slow
def test_a_fleet(prometheus, planted, dashboards):
    """One test, since to start all this takes longer than to look at it."""
    assert_planted_bytes(prometheus, planted)
    assert_planted_findings(prometheus, planted)
    assert_what_scrubs_found(prometheus, planted)
    assert_alerts_fire_where_they_should_alone(prometheus)
    assert_rules_can_be_evaluated(prometheus)
    assert_panels_show_something(prometheus, dashboards)
    assert_panels_are_empty_where_they_say_so(prometheus, dashboards)


def metrics_in(text):
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"(?<![:\w])gcd_\w+", text)}


def test_what_rules_and_dashboards_name_there_is(deploy, dashboards):
    known = {figure.name for figure in metrics.FIGURES}
    rules = [
        rule["expr"]
        for name in ("gcd.rules.yml", "gcd.alerts.yml")
        for group in yaml.safe_load((deploy / "prometheus" / name).read_text())["groups"]
        for rule in group["rules"]
    ]
    panels = [q.expr for board in dashboards.DASHBOARDS for panel in board.panels for q in panel.queries]
    variables = [variable.of for board in dashboards.DASHBOARDS for variable in board.variables]

    assert metrics_in("\n".join(rules + panels + variables)) - known == set()
    assert known - metrics_in("\n".join(panels)) == set(), "every metric is in a panel"


def test_every_metric_is_documented(deploy):
    text = (deploy.parent / "docs" / "metrics.md").read_text()

    assert [figure.name for figure in metrics.FIGURES if f"`{figure.name}`" not in text] == []
