"""The dashboards: what is kept is what the definition says, in the two forms that Grafana takes, by its schema."""

from __future__ import annotations

import json
import re

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

NAMES = ("gcd-fleet", "gcd-host")
FORMS = ("grafana.com", "provisioned")


@pytest.fixture(scope="module", params=[(form, name) for form in FORMS for name in NAMES], ids="-".join)
def form_and_json(request, deploy):
    form, name = request.param
    return form, json.loads((deploy / "grafana" / form / f"{name}.json").read_text())


def test_make_dashboards_was_run(deploy, dashboards):
    kept = {path: path.read_text() for form in FORMS for path in (deploy / "grafana" / form).iterdir()}

    assert kept == dashboards.files()


def lost(said, read, place=""):
    """What of the JSON `said` is not in what Grafana's classes made of it, as paths."""
    match said:
        case dict():
            for key, value in said.items():
                if isinstance(read, dict) and key in read:
                    yield from lost(value, read[key], f"{place}.{key}")
                elif value not in (None, [], {}):
                    yield f"{place}.{key}"
        case list() if isinstance(read, list) and len(said) == len(read):
            for number, (one, other) in enumerate(zip(said, read, strict=True)):
                yield from lost(one, other, f"{place}[{number}]")
        case _ if said != read:
            yield place


def as_grafana_reads(said):
    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(said), cls=JSONEncoder))


def test_grafana_knows_every_field(form_and_json):
    """With the classes of Grafana 11.6, which are made from its schema: fields that they do not know vanish."""
    form, said = form_and_json

    exported = [".__inputs", ".__requires"] if form == "grafana.com" else []
    assert list(lost(said, as_grafana_reads(said))) == exported


def test_a_field_that_grafana_does_not_know_is_seen(form_and_json):
    _, said = form_and_json
    strange = json.loads(json.dumps(said))
    strange["panels"][0]["fieldConfig"]["defaults"]["units"] = "bytes"
    strange["panels"][1]["options"]["colourMode"] = "value"

    assert [place for place in lost(strange, as_grafana_reads(strange)) if "__" not in place] == [
        ".panels[0].fieldConfig.defaults.units",
        ".panels[1].options.colourMode",
    ]


def test_can_replace_an_older_one(form_and_json):
    _, said = form_and_json

    assert said["id"] is None
    assert re.fullmatch(r"gcd-(host|fleet)", said["uid"])
    assert (said["schemaVersion"], said["tags"]) == (39, ["gcd", "docker"])


def sources(said):
    if isinstance(said, dict):
        if "datasource" in said:
            yield (said["datasource"]["type"], said["datasource"]["uid"])
        for value in said.values():
            yield from sources(value)
    elif isinstance(said, list):
        for value in said:
            yield from sources(value)


def test_no_data_source_is_named_by_its_uid(form_and_json):
    form, said = form_and_json
    variables = {variable["name"]: variable["type"] for variable in said["templating"]["list"]}

    if form == "grafana.com":
        assert set(sources(said)) == {("prometheus", "${DS_PROMETHEUS}")}
        assert [(given["name"], given["pluginId"]) for given in said["__inputs"]] == [("DS_PROMETHEUS", "prometheus")]
        required = {needed["id"] for needed in said["__requires"] if needed["type"] == "panel"}
        assert required == {panel["type"] for panel in said["panels"]}
        assert "datasource" not in variables
    else:
        assert set(sources(said)) == {("prometheus", "${datasource}")}
        assert variables["datasource"] == "datasource"
        assert not {"__inputs", "__requires"} & said.keys()


def test_hosts_can_be_chosen(form_and_json):
    _, said = form_and_json
    chosen = [variable for variable in said["templating"]["list"] if variable["type"] == "query"]

    assert {"job", "instance"} <= {variable["name"] for variable in chosen}
    assert all(variable["includeAll"] and variable["multi"] for variable in chosen)


def test_panels_are_described_and_lie_beside_each_other(form_and_json):
    _, said = form_and_json
    taken = set()
    for panel in said["panels"]:
        assert panel["description"].endswith("."), panel["title"]
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells

    assert len({panel["title"] for panel in said["panels"]}) == len(said["panels"])
    assert [panel["id"] for panel in said["panels"]] == list(range(1, len(said["panels"]) + 1))


def test_bytes_are_those_of_1024(form_and_json):
    """A panel about bytes alone says so, and none counts by 1000."""
    _, said = form_and_json
    for panel in said["panels"]:
        unit = panel["fieldConfig"]["defaults"]["unit"]
        expressions = [target["expr"] for target in panel["targets"]]
        is_about_bytes = all("_bytes" in expression for expression in expressions)
        others = {"short", "none", "s", "cps", "percentunit"}
        assert unit in ({"bytes", "binBps"} if is_about_bytes else others), panel["title"]
