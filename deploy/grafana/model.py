"""
What a dashboard of Grafana is made of, and its JSON in the two forms that Grafana takes.

One `Dashboard` has both: `for_import` asks for the data source while it is imported (as grafana.com wants it),
`for_provisioning` has it as a variable. Both have fixed uids and no id, so that a newer one replaces an older one. The
names of the fields are those of Grafana's dashboard schema; a test reads the JSON with Grafana's own classes for 11.6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

SCHEMA_VERSION: Final = 39
GRAFANA: Final = "10.4.0"
"""The oldest Grafana that the dashboards are for: the first with this schema version."""

WIDTH: Final = 24
"""Columns of Grafana's grid."""

Json = dict[str, Any]


class Kind(StrEnum):
    """Panels by the names of Grafana's plugins."""

    STAT = "stat"
    TIMESERIES = "timeseries"
    TABLE = "table"
    BARGAUGE = "bargauge"


class Unit(StrEnum):
    """Grafana's names. `BYTES` are those of 1024 (IEC); ``decbytes`` would be those of 1000."""

    BYTES = "bytes"
    BYTES_PER_SECOND = "binBps"
    SECONDS = "s"
    COUNT = "short"
    PER_SECOND = "cps"
    RATIO = "percentunit"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Query:
    """`expr` is PromQL with the dashboard's variables. `legend` names a series by its labels, in a table the column."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """From `above` on, a panel has `color`."""

    above: float
    color: str


@dataclass(frozen=True, slots=True)
class Panel:
    """
    `width` and `height` are in units of Grafana's grid. `words` are shown instead of numbers. `empty` says when the
    panel has nothing to show though all is well; "" promises that it always has.
    """

    title: str
    description: str
    kind: Kind
    unit: Unit
    queries: tuple[Query, ...]
    width: int
    height: int
    steps: tuple[Step, ...] = ()
    words: dict[int, str] = field(default_factory=dict)
    empty: str = ""
    is_stacked: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice among the values of `label` that the series `of` have. `has_unnamed`: some have no such label."""

    label: str
    of: str
    has_unnamed: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`panels` are laid out in their order, row by row."""

    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    panels: tuple[Panel, ...]


def for_import(dashboard: Dashboard) -> Json:
    kinds = sorted({panel.kind for panel in dashboard.panels})
    return {
        "__inputs": [
            {
                "name": "DS_PROMETHEUS",
                "label": "Prometheus",
                "description": "The Prometheus that scrapes gcd and has its recording rules",
                "type": "datasource",
                "pluginId": "prometheus",
                "pluginName": "Prometheus",
            }
        ],
        "__elements": {},
        "__requires": [
            {"type": "grafana", "id": "grafana", "name": "Grafana", "version": GRAFANA},
            {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"},
            *({"type": "panel", "id": kind, "name": kind, "version": ""} for kind in kinds),
        ],
        **_json(dashboard, _source("DS_PROMETHEUS"), []),
    }


def for_provisioning(dashboard: Dashboard) -> Json:
    variable = {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "options": [],
        "current": {},
    }
    return _json(dashboard, _source("datasource"), [variable])


def _source(variable: str) -> Json:
    return {"type": "prometheus", "uid": f"${{{variable}}}"}


def _json(dashboard: Dashboard, source: Json, before: list[Json]) -> Json:
    return {
        "id": None,
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["gcd", "docker"],
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [*before, *(_variable(variable, source) for variable in dashboard.variables)]},
        "panels": _panels(dashboard.panels, source),
    }


def _variable(variable: Variable, source: Json) -> Json:
    query = f"label_values({variable.of}, {variable.label})"
    return {
        "name": variable.label,
        "label": variable.label,
        "type": "query",
        "datasource": source,
        "query": {"query": query, "refId": "A"},
        "hide": 0,
        "includeAll": True,
        "allValue": ".*" if variable.has_unnamed else None,
        "multi": True,
        "refresh": 2,
        "sort": 1,
        "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panels(panels: tuple[Panel, ...], source: Json) -> list[Json]:
    laid: list[Json] = []
    x = y = row = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, row = 0, y + row, 0
        place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        laid.append({"id": number, "gridPos": place, **_panel(panel, source)})
        x, row = x + panel.width, max(row, panel.height)
    return laid


def _panel(panel: Panel, source: Json) -> Json:
    made: Json = {
        "type": panel.kind.value,
        "title": panel.title,
        "description": f"{panel.description} {panel.empty}".strip(),
        "datasource": source,
        "targets": [
            _target(chr(ord("A") + number), query, panel.kind, source) for number, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "transformations": [],
    }
    if panel.kind is Kind.TABLE:
        made["transformations"] = [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": _columns(panel)}},
        ]
    return made


def _columns(panel: Panel) -> dict[str, str]:
    """How Grafana names the values of several queries in one table, and of one."""
    if len(panel.queries) == 1:
        return {"Value": panel.queries[0].legend}
    return {f"Value #{chr(ord('A') + number)}": query.legend for number, query in enumerate(panel.queries)}


def _target(ref: str, query: Query, kind: Kind, source: Json) -> Json:
    is_graph = kind is Kind.TIMESERIES
    return {
        "refId": ref,
        "datasource": source,
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": "table" if kind is Kind.TABLE else "time_series",
        "instant": not is_graph,
        "range": is_graph,
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green", "value": None}]
    steps += [{"color": step.color, "value": step.above} for step in panel.steps]
    made: Json = {
        "unit": panel.unit.value,
        "color": {"mode": "palette-classic" if panel.kind is Kind.TIMESERIES else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "mappings": [],
    }
    if panel.words:
        options = {str(value): {"text": text, "index": n} for n, (value, text) in enumerate(panel.words.items())}
        made["mappings"] = [{"type": "value", "options": options}]
    if panel.kind is Kind.TIMESERIES:
        made["min"] = 0
        made["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 20 if panel.is_stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        }
    return made


_REDUCE: Final[Json] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[dict[Kind, Json]] = {
    Kind.STAT: {
        "reduceOptions": _REDUCE,
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
    },
    Kind.TIMESERIES: {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    Kind.TABLE: {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "fields": ""}},
    Kind.BARGAUGE: {
        "reduceOptions": _REDUCE,
        "displayMode": "gradient",
        "orientation": "horizontal",
        "showUnfilled": True,
        "minVizHeight": 10,
        "minVizWidth": 0,
        "valueMode": "color",
        "namePlacement": "auto",
        "sizing": "auto",
    },
}
