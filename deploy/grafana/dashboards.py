"""
The dashboards of gcd: one host, and a fleet. ``make dashboards`` writes their JSON from here.

Every expression filters by the variables of its dashboard; the fleet's use the recording rules of
``deploy/prometheus/gcd.rules.yml``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from model import (
    Dashboard,
    Kind,
    Panel,
    Query,
    Step,
    Unit,
    Variable,
    for_import,
    for_provisioning,
)

_HOST: Final = 'job=~"$job", instance=~"$instance"'
_CLUSTER: Final = 'cluster=~"$cluster"'
_FLEET: Final = f"{_CLUSTER}, {_HOST}"

_WARNS: Final = (Step(1, "orange"),)
_FAILS: Final = (Step(1, "red"),)
_HOARDS: Final = (Step(1 << 30, "orange"), Step(20 << 30, "red"))


def _stat(title: str, description: str, expr: str, unit: Unit = Unit.COUNT, steps: tuple[Step, ...] = ()) -> Panel:
    return Panel(title, description, Kind.STAT, unit, (Query(expr),), width=4, height=4, steps=steps)


def _graph(title: str, description: str, unit: Unit, *queries: Query, is_stacked: bool = False) -> Panel:
    return Panel(title, description, Kind.TIMESERIES, unit, queries, width=12, height=8, is_stacked=is_stacked)


_STATE: Final = (
    Panel(
        "Last check",
        "Whether the last check of the root came to its end. If not, the journal of gcd says why.",
        Kind.STAT,
        Unit.NONE,
        (Query(f"min(gcd_up{{{_HOST}}})"),),
        width=4,
        height=4,
        words={0: "failed", 1: "done"},
    ),
    Panel(
        "Engine",
        "Whether a Docker engine runs on the root. Many remedies need it, others need it stopped.",
        Kind.STAT,
        Unit.NONE,
        (Query(f"min(gcd_engine_running{{{_HOST}}})"),),
        width=4,
        height=4,
        words={0: "not running", 1: "running"},
    ),
    _stat(
        "Damage",
        "Findings of severity error or critical: images or containers are lost, or the engine will not start.",
        f'sum(gcd_findings{{{_HOST}, severity=~"error|critical"}})',
        steps=_FAILS,
    ),
    _stat(
        "Orphaned",
        "Disk usage of what nothing refers to, as far as nothing blocks that verdict.",
        f"sum(gcd_orphaned_bytes{{{_HOST}}})",
        Unit.BYTES,
        _HOARDS,
    ),
    _stat(
        "Quarantined",
        "Disk usage of what was moved aside. It frees nothing until it is purged.",
        f"sum(gcd_quarantined_bytes{{{_HOST}}})",
        Unit.BYTES,
    ),
    _stat(
        "Age of the figures",
        "Since the last check of the whole root came to an end. Edits inside a record show by then at the latest.",
        f'max(time() - gcd_last_check_timestamp_seconds{{{_HOST}, scope="full"}})',
        Unit.SECONDS,
        (Step(1800, "orange"), Step(3600, "red")),
    ),
)

_FINDINGS: Final = (
    _graph(
        "Orphaned bytes by code",
        "Disk usage of findings of kind orphan, proven and suspected. A step is one killed pull; a slope is a leak.",
        Unit.BYTES,
        Query(f"sum by (code) (gcd_orphaned_bytes{{{_HOST}}})", "{{code}}"),
        is_stacked=True,
    ),
    _graph(
        "Findings by severity",
        "Everything that was found and that nobody accepted. What is only suspected counts as info.",
        Unit.COUNT,
        Query(f"sum by (severity) (gcd_findings{{{_HOST}}})", "{{severity}}"),
    ),
    Panel(
        "Findings by code",
        "What is there now. gcd explain CODE tells what a code means, gcd check what to do.",
        Kind.TABLE,
        Unit.COUNT,
        (Query(f"sum by (instance, code, severity) (gcd_findings{{{_HOST}}}) > 0", "findings"),),
        width=12,
        height=8,
        empty="Empty where nothing was found.",
    ),
    Panel(
        "Not checked",
        "Rules that could not run, since a source that they need was not read in full. Of these nothing is known.",
        Kind.TABLE,
        Unit.COUNT,
        (Query(f"sum by (instance, code) (gcd_not_checked{{{_HOST}}}) > 0", "times"),),
        width=6,
        height=8,
        empty="Empty where everything was checked.",
    ),
    Panel(
        "Unreadable sources",
        "Parts of the root that could not be read in full, now. gcd check says which path and why.",
        Kind.TABLE,
        Unit.NONE,
        (Query(f"sum by (instance, source) (gcd_source_readable{{{_HOST}}} == 0)", "readable"),),
        width=6,
        height=8,
        empty="Empty where everything was read.",
    ),
    _graph(
        "What it costs",
        "Images that the engine cannot use after its next start, and containers that cannot start with their data.",
        Unit.COUNT,
        Query(f"sum(gcd_unloadable_images{{{_HOST}}})", "unloadable images"),
        Query(f"sum(gcd_lost_containers{{{_HOST}}})", "lost containers"),
    ),
    _graph(
        "Bytes to be had back",
        "What the policy could take now, and what is held back because damage may have owned it: mend that first.",
        Unit.BYTES,
        Query(f"sum(gcd_reclaimable_bytes{{{_HOST}}})", "reclaimable"),
        Query(f"sum(gcd_blocked_bytes{{{_HOST}}})", "blocked"),
    ),
    _graph(
        "Orphaned inodes by code",
        "A disk can run out of inodes before it runs out of bytes.",
        Unit.COUNT,
        Query(f"sum by (code) (gcd_orphaned_inodes{{{_HOST}}})", "{{code}}"),
        is_stacked=True,
    ),
)

_CONTENT: Final = (
    _stat(
        "Damaged layers",
        "Layers that do not hold what was unpacked into them. gcd scrub status says which files, and what to do.",
        f'sum(gcd_scrub_layers{{{_HOST}, state="damaged"}})',
        steps=_FAILS,
    ),
    Panel(
        "Not looked at for",
        "Since the layer was looked at that was not for longest, of those that ever were.",
        Kind.STAT,
        Unit.SECONDS,
        (
            Query(
                f"max((time() - gcd_scrub_oldest_verified_timestamp_seconds{{{_HOST}}}) "
                f"and gcd_scrub_oldest_verified_timestamp_seconds{{{_HOST}}} > 0)"
            ),
        ),
        width=4,
        height=4,
        empty="Empty where no layer was ever looked at.",
    ),
    _stat(
        "Scrub period",
        "Within which all layers are to be looked at (scrub.every). 0 where nobody wants that.",
        f"max(gcd_scrub_period_seconds{{{_HOST}}})",
        Unit.SECONDS,
    ),
    _stat(
        "Last scrub",
        "How much of the last scrub is done, where it is the least far. gcd run begins one each day, of a part.",
        f"min(gcd_scrub_progress_ratio{{{_HOST}}})",
        Unit.RATIO,
    ),
    Panel(
        "Verdicts",
        "Whether what scrubs keep could be read the last time. If not, the figures of scrubs are those of before.",
        Kind.STAT,
        Unit.NONE,
        (Query(f"min(gcd_scrub_readable{{{_HOST}}})"),),
        width=4,
        height=4,
        words={0: "not readable", 1: "readable"},
    ),
    _stat(
        "Read by scrubs",
        "Bytes of layers that scrubs were done with, in the time that is shown.",
        f"sum(increase(gcd_scrub_bytes_total{{{_HOST}}}[$__range]))",
        Unit.BYTES,
    ),
    _graph(
        "Layers by what scrubs say",
        "Pending are those that were never looked at, or not within the period.",
        Unit.COUNT,
        Query(f"sum by (state) (gcd_scrub_layers{{{_HOST}}})", "{{state}}"),
        is_stacked=True,
    ),
    _graph(
        "Scrubs",
        "Bytes a second that scrubs read, over an hour: a layer counts when it is done.",
        Unit.BYTES_PER_SECOND,
        Query(f"sum(rate(gcd_scrub_bytes_total{{{_HOST}}}[1h]))", "read"),
    ),
)

_DEEDS: Final = (
    _graph(
        "Quarantine",
        "Disk usage of the quarantine. Purges free it.",
        Unit.BYTES,
        Query(f"sum(gcd_quarantined_bytes{{{_HOST}}})", "bytes"),
    ),
    _graph(
        "Quarantine entries",
        "What can be put back by gcd quarantine restore.",
        Unit.COUNT,
        Query(f"sum(gcd_quarantine_entries{{{_HOST}}})", "entries"),
    ),
    Panel(
        "Age of the oldest entry",
        "When it reaches the retention, a purge takes it.",
        Kind.STAT,
        Unit.SECONDS,
        (
            Query(
                f"max((time() - gcd_quarantine_oldest_timestamp_seconds{{{_HOST}}}) "
                f"and gcd_quarantine_entries{{{_HOST}}} > 0)"
            ),
        ),
        width=8,
        height=4,
        empty="Empty where the quarantine is.",
    ),
    _stat(
        "Retention",
        "How long an entry of the quarantine is kept (quarantine.retention).",
        f"min(gcd_quarantine_retention_seconds{{{_HOST}}})",
        Unit.SECONDS,
    ),
    _stat(
        "Reclaimed",
        "Bytes that purges and releases gave back, in the time that is shown.",
        f"sum(increase(gcd_reclaimed_bytes_total{{{_HOST}}}[$__range]))",
        Unit.BYTES,
    ),
    _stat(
        "Failed checks",
        "Checks and runs that ended with an error, in the time that is shown.",
        f"sum(increase(gcd_check_failures_total{{{_HOST}}}[$__range]))",
        steps=_WARNS,
    ),
    _stat(
        "Watch",
        "How many of the chosen hosts have no watch on their root: they look by the clock alone.",
        f"sum(gcd_watching{{{_HOST}}} == bool 0)",
        steps=_WARNS,
    ),
    _graph(
        "Actions",
        "What was done by repair, release, quarantine, restore and purge, and how it ended, an hour.",
        Unit.COUNT,
        Query(f"sum by (action, outcome) (increase(gcd_actions_total{{{_HOST}}}[1h]))", "{{action}} {{outcome}}"),
    ),
    _graph(
        "Refusals by reason",
        "What was left alone although a policy or a person wanted it, an hour. gcd history tells of each.",
        Unit.COUNT,
        Query(f"sum by (reason) (increase(gcd_refusals_total{{{_HOST}}}[1h]))", "{{reason}}"),
    ),
)

_SELF: Final = (
    _graph(
        "Checks",
        "How many checks an hour: of the whole root, and of what changed.",
        Unit.COUNT,
        Query(f"sum by (scope) (increase(gcd_check_duration_seconds_count{{{_HOST}}}[1h]))", "{{scope}}"),
    ),
    _graph(
        "Duration of checks",
        "The time that nine of ten checks of the last hour stayed below.",
        Unit.SECONDS,
        Query(
            f"histogram_quantile(0.9, sum by (scope, le) (rate(gcd_check_duration_seconds_bucket{{{_HOST}}}[1h])))",
            "{{scope}}",
        ),
    ),
    _graph(
        "Events of the watch",
        "Entries of watched directories that came and went. None for long on a busy host means that the watch is lost.",
        Unit.PER_SECOND,
        Query(f"sum(rate(gcd_watch_events_total{{{_HOST}}}[$__rate_interval]))", "events"),
    ),
    _graph(
        "Overflows of the watch",
        "How often an hour the kernel dropped events. Each costs a check of the whole root, and nothing else.",
        Unit.COUNT,
        Query(f"sum(increase(gcd_watch_overflows_total{{{_HOST}}}[1h]))", "overflows"),
    ),
    Panel(
        "Versions",
        "The gcd and the image store of each host.",
        Kind.TABLE,
        Unit.NONE,
        (
            Query(f"sum by (instance, version, python) (gcd_build_info{{{_HOST}}})", "gcd"),
            Query(f"sum by (instance, store) (gcd_store_info{{{_HOST}}})", "root"),
        ),
        width=24,
        height=6,
    ),
)

HOST: Final = Dashboard(
    uid="gcd-host",
    title="gcd: a Docker host",
    description="What gcd found in the Docker root of a host, what it costs, and what was done about it.",
    variables=(Variable("job", "gcd_up"), Variable("instance", 'gcd_up{job=~"$job"}')),
    panels=(*_STATE, *_FINDINGS, *_CONTENT, *_DEEDS, *_SELF),
)

_OVERVIEW: Final = (
    _stat(
        "Hosts",
        "Hosts whose gcd is scraped.",
        f"sum(cluster:gcd_hosts:count{{{_CLUSTER}}})",
    ),
    _stat(
        "Hosts without word",
        "Hosts whose gcd does not answer, or whose last check failed.",
        f"sum(up{{{_FLEET}}} == bool 0) + (sum(gcd_up{{{_FLEET}}} == bool 0) or vector(0))",
        steps=_WARNS,
    ),
    _stat(
        "Damaged hosts",
        "Hosts with a finding of severity error or critical.",
        f"sum(cluster:gcd_damaged_hosts:count{{{_CLUSTER}}})",
        steps=_FAILS,
    ),
    _stat(
        "Orphaned",
        "Disk usage of what nothing refers to, on all hosts.",
        f"sum(cluster:gcd_orphaned_bytes:sum{{{_CLUSTER}}})",
        Unit.BYTES,
    ),
    _stat(
        "Reclaimable",
        "What the policies of the hosts could take now.",
        f"sum(cluster:gcd_reclaimable_bytes:sum{{{_CLUSTER}}})",
        Unit.BYTES,
    ),
    _stat(
        "Quarantined",
        "What was moved aside and is not yet purged, on all hosts.",
        f"sum(cluster:gcd_quarantined_bytes:sum{{{_CLUSTER}}})",
        Unit.BYTES,
    ),
)

FLEET: Final = Dashboard(
    uid="gcd-fleet",
    title="gcd: a fleet of Docker hosts",
    description="Where the bytes are, which hosts are damaged, how far a policy was rolled out. Needs gcd.rules.yml.",
    variables=(
        Variable("job", "gcd_up"),
        Variable("cluster", 'gcd_up{job=~"$job"}', has_unnamed=True),
        Variable("instance", 'gcd_up{job=~"$job", cluster=~"$cluster"}'),
    ),
    panels=(
        *_OVERVIEW,
        Panel(
            "Alerts",
            "Alerts of gcd that fire now. Each has its page in docs/alerts.md.",
            Kind.TABLE,
            Unit.NONE,
            (
                Query(
                    "sum by (alertname, severity, cluster, instance) "
                    f'(ALERTS{{alertname=~"Gcd.*", alertstate="firing", {_CLUSTER}, instance=~"$instance"}})',
                    "firing",
                ),
            ),
            width=12,
            height=8,
            empty="Empty where none fires.",
        ),
        Panel(
            "Hosts that hold the most",
            "The ten hosts of each cluster with the most orphaned bytes.",
            Kind.BARGAUGE,
            Unit.BYTES,
            (Query(f"sort_desc(cluster:gcd_orphaned_bytes:topk10{{{_FLEET}}})", "{{cluster}} {{instance}}"),),
            width=12,
            height=8,
            steps=_HOARDS,
            empty="Empty where nothing is orphaned.",
        ),
        _graph(
            "Orphaned bytes by cluster",
            "The disk usage of what nothing refers to.",
            Unit.BYTES,
            Query(f"cluster:gcd_orphaned_bytes:sum{{{_CLUSTER}}}", "{{cluster}}"),
            is_stacked=True,
        ),
        _graph(
            "Findings by severity",
            "Of all hosts together.",
            Unit.COUNT,
            Query(f"sum by (severity) (cluster_severity:gcd_findings:sum{{{_CLUSTER}}})", "{{severity}}"),
        ),
        _graph(
            "Bytes given back",
            "By purges and releases, a second, over an hour. In a roll-out it rises cluster by cluster.",
            Unit.BYTES_PER_SECOND,
            Query(f"cluster:gcd_reclaimed_bytes:rate1h{{{_CLUSTER}}}", "{{cluster}}"),
            is_stacked=True,
        ),
        _graph(
            "Blocked bytes by cluster",
            "Held back because damage may have owned them.",
            Unit.BYTES,
            Query(f"cluster:gcd_blocked_bytes:sum{{{_CLUSTER}}}", "{{cluster}}"),
            is_stacked=True,
        ),
        _graph(
            "Layers by what scrubs say",
            "Of all hosts together. Pending are those that were never looked at, or not within the period.",
            Unit.COUNT,
            Query(f"sum by (state) (cluster_state:gcd_scrub_layers:sum{{{_CLUSTER}}})", "{{state}}"),
            is_stacked=True,
        ),
        Panel(
            "Damaged layers",
            "Hosts with layers that do not hold what was unpacked into them. gcd scrub status says there what to do.",
            Kind.TABLE,
            Unit.COUNT,
            (Query(f'sum by (cluster, instance) (gcd_scrub_layers{{{_FLEET}, state="damaged"}}) > 0', "layers"),),
            width=12,
            height=8,
            empty="Empty where none is known to be damaged.",
        ),
        _graph(
            "Actions",
            "What was done an hour, and how it ended. Any that failed stops a roll-out.",
            Unit.COUNT,
            Query(f"sum by (action, outcome) (increase(gcd_actions_total{{{_FLEET}}}[1h]))", "{{action}} {{outcome}}"),
        ),
        _graph(
            "Refusals by reason",
            "What was left alone although the policy wanted it, an hour.",
            Unit.COUNT,
            Query(f"sum by (reason) (increase(gcd_refusals_total{{{_FLEET}}}[1h]))", "{{reason}}"),
        ),
        Panel(
            "Figures of each host",
            "Where the bytes of a cluster are.",
            Kind.TABLE,
            Unit.BYTES,
            (
                Query(f"sum by (cluster, instance) (instance:gcd_orphaned_bytes:sum{{{_FLEET}}})", "orphaned"),
                Query(f"sum by (cluster, instance) (gcd_reclaimable_bytes{{{_FLEET}}})", "reclaimable"),
                Query(f"sum by (cluster, instance) (gcd_quarantined_bytes{{{_FLEET}}})", "quarantined"),
                Query(f"sum by (cluster, instance) (gcd_blocked_bytes{{{_FLEET}}})", "blocked"),
            ),
            width=16,
            height=10,
        ),
        Panel(
            "Hosts by version",
            "How many hosts run which gcd, and on which image store.",
            Kind.TABLE,
            Unit.COUNT,
            (
                Query(f"count by (version) (gcd_build_info{{{_FLEET}}})", "hosts"),
                Query(f"count by (store) (gcd_store_info{{{_FLEET}}})", "roots"),
            ),
            width=8,
            height=10,
        ),
    ),
)

DASHBOARDS: Final = (HOST, FLEET)
FOLDER: Final = Path(__file__).resolve().parent


def files() -> dict[Path, str]:
    """What ``make dashboards`` writes, by its path."""
    made = {}
    for dashboard in DASHBOARDS:
        name = f"{dashboard.uid}.json"
        made[FOLDER / "grafana.com" / name] = json.dumps(for_import(dashboard), indent=2) + "\n"
        made[FOLDER / "provisioned" / name] = json.dumps(for_provisioning(dashboard), indent=2) + "\n"
    return made


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
