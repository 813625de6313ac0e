"""docs/metrics.md, from the table of all figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.metrics.figures import FIGURES
from gcd.model.audit import ActKind
from gcd.model.finding import Severity
from gcd.model.inventory import Source
from gcd.model.plan import Outcome, Reason
from gcd.model.published import LayerState, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

_LABELS: Mapping[str, str] = {
    "version": "that of gcd",
    "python": "that of Python",
    "store": "the driver of the root, such as overlay2",
    "code": "see docs/codes.md",
    "severity": ", ".join(Severity),
    "source": ", ".join(Source),
    "action": ", ".join(ActKind),
    "outcome": ", ".join(Outcome),
    "reason": ", ".join(Reason),
    "scope": ", ".join(Scope),
    "state": ", ".join(LayerState),
}

_HEAD = """\
# Metrics

Generated from the code by `make docs`; a test holds it equal.

`gcd run` serves all of them at `http://127.0.0.1:9871/metrics` in the text format of Prometheus, packed by gzip for
those who ask for it. A scrape is answered with what the last check found and never reads the root; how old that is says
`gcd_last_check_timestamp_seconds`. `gcd check --textfile FILE` writes those marked *check* for the textfile collector
of node_exporter: whole, readable for all, and without a time of their own.

A host is Prometheus's label `instance`. All series are there from the first result on, with 0 where there is nothing,
and there are fewer than 300 of them; before the first result there is only `gcd_up 0`. Counters begin anew with the
daemon. Sums over labels make sense everywhere; of `gcd_findings` a code has a series for each severity that its
findings can have. A check looks at no content: what scrubs found (GCD701 to GCD705) is counted by `gcd_scrub_layers`,
each layer once, and not by `gcd_findings`.

| metric | type | labels | | |
|---|---|---|---|---|
"""

_TAIL = """
Alerts and recording rules made of these are in `deploy/prometheus/` (docs/alerts.md), dashboards in `deploy/grafana/`.
"""


def page() -> str:
    """docs/metrics.md."""
    rows = "".join(
        f"| `{f.name}` | {f.type} | {', '.join(f.labels)} | {f.text} | {'check' if f.is_of_check else ''} |\n"
        for f in FIGURES
    )
    labels = "".join(f"| {label} | {values} |\n" for label, values in _LABELS.items())
    return f"{_HEAD}{rows}\n| label | values |\n|---|---|\n{labels}{_TAIL}"
