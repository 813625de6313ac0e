from __future__ import annotations

import base64
import json
from pathlib import Path

import jsonschema
import pytest
from support.golden import assert_golden
from support.results import STOPPED, damaged_host, finding, orphan, result

from gcd.model.facts import Engine, EngineState
from gcd.model.finding import Applicability, Confidence, Kind, Moment, Node, NodeKind, RemedyKind, Severity
from gcd.model.inventory import Coverage, Source
from gcd.report.json import SCHEMA, json_report, report_object

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "docs" / "check.schema.json"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_a_damaged_host(validator):
    text = json_report(damaged_host())

    assert_golden("damaged-host.json", text)
    validator.validate(json.loads(text))


@pytest.mark.parametrize(
    "outcome",
    [
        result(),
        result(engine=STOPPED),
        result(engine=Engine(EngineState.UNKNOWN, doubts=("no rights",), others=(3,))),
        result(root="/srv/\udcff"),
    ],
)
def test_every_result_fits_the_schema(validator, outcome):
    validator.validate(json.loads(json_report(outcome)))


@pytest.mark.parametrize("kind", list(NodeKind))
def test_every_kind_of_node_fits_the_schema(validator, kind):
    validator.validate(json.loads(json_report(result(finding("GCD101", "x", Node(kind, "y"))))))


def enum_at(schema, *path):
    for step in path:
        schema = schema[step]
    return set(schema["enum"])


def test_the_schema_knows_every_word():
    schema = json.loads(SCHEMA_FILE.read_text())
    found = ("$defs", "finding", "properties")
    remedy = (*found, "remedies", "items", "properties")

    assert enum_at(schema, *found, "kind") == set(Kind)
    assert enum_at(schema, *found, "severity") == set(Severity)
    assert enum_at(schema, *found, "confidence") == set(Confidence)
    assert enum_at(schema, *remedy, "kind") == set(RemedyKind)
    assert enum_at(schema, *remedy, "moment") == set(Moment)
    assert enum_at(schema, *remedy, "applicability") == set(Applicability)
    assert enum_at(schema, "$defs", "coverage") == set(Coverage)
    assert enum_at(schema, "properties", "engine", "properties", "state") == set(EngineState)
    assert set(schema["properties"]["sources"]["required"]) == set(Source)
    assert schema["properties"]["schema"]["const"] == SCHEMA


def test_the_schema_describes_every_member_that_is_written():
    schema = json.loads(SCHEMA_FILE.read_text())
    written = report_object(damaged_host())

    assert set(written) <= set(schema["properties"])
    assert set(written["summary"]) == set(schema["properties"]["summary"]["properties"])
    assert set(written["findings"][0]) == set(schema["$defs"]["finding"]["properties"])


def test_a_path_that_is_not_utf8_has_its_bytes_beside_it():
    [found] = report_object(result(orphan("a", paths=("overlay2/\udcff\udcfe", "overlay2/é"))))["findings"]

    assert found["paths"] == [
        {"path": "overlay2/\\xff\\xfe", "base64": base64.b64encode(b"overlay2/\xff\xfe").decode()},
        {"path": "overlay2/é"},
    ]


def test_the_output_is_ascii_without_control_characters():
    nasty = orphan("a", summary="\x1b[2J\x9b\u202e\udcff é")
    text = json_report(result(nasty, root="/srv/\x1b\udcff"))

    assert all(character == "\n" or " " <= character <= "~" for character in text)
    assert json.loads(text)["findings"][0]["summary"] == "\\x1b[2J\\u009b\\u202e\\xff é"
