from __future__ import annotations

import base64
import json
from pathlib import Path

import jsonschema
import pytest
from msgspec.structs import replace
from support.golden import assert_golden
from support.usages import CONTAINER, IMAGE, usage

from gcd.model.facts import EngineState
from gcd.model.finding import Code, NotChecked
from gcd.model.inventory import Source
from gcd.model.space import Category, Space
from gcd.report.df_json import SCHEMA, df_json, df_object

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "docs" / "df.schema.json"
NOT_CHECKED = NotChecked(Code("GCD101"), "orphaned-layer-dir", Source.IMAGES, "\x1b")


@pytest.fixture(scope="module")
def schema():
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def test_a_root_with_everything_in_it(schema):
    text = df_json(usage())

    assert_golden("df.json", text)
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


@pytest.mark.parametrize(
    "made",
    [
        usage(images=(), containers=(), shares={}),
        usage(unreadable=3, not_checked=(NOT_CHECKED,), engine=EngineState.UNKNOWN),
        usage(images=(replace(IMAGE, engine_bytes=None, engine_shared_bytes=None),), root="/srv/\udcff"),
    ],
)
def test_every_usage_fits_the_schema(schema, made):
    jsonschema.Draft202012Validator(schema).validate(json.loads(df_json(made)))


def test_the_schema_describes_every_member_that_is_written(schema):
    written = df_object(usage(root="\udcff", not_checked=(NOT_CHECKED,)))
    defs = schema["$defs"]

    assert set(written) == set(schema["properties"])
    assert set(written["categories"]) == set(Category) == set(schema["properties"]["categories"]["required"])
    assert set(written["categories"]["images"]) == set(defs["category"]["properties"])
    assert set(written["images"][0]) == set(defs["image"]["properties"])
    assert set(written["containers"][0]) == set(defs["container"]["properties"])
    assert set(written["docker_system_df"]) == set(schema["properties"]["docker_system_df"]["properties"])
    assert set(written["docker_system_df"]["images"]) == set(defs["docker_row"]["properties"])
    assert set(schema["properties"]["engine"]["enum"]) == set(EngineState)
    assert schema["properties"]["schema"]["const"] == SCHEMA


def test_the_order_of_owners_is_the_one_that_the_schema_states(schema):
    stated = schema["properties"]["categories"]["description"].partition("in this order: ")[2]

    assert stated == ", ".join(Category) + "."


def test_a_usage_is_complete_only_if_all_was_read():
    assert df_object(usage())["complete"] is True
    assert df_object(usage(unreadable=1))["complete"] is False
    assert df_object(usage(not_checked=(NOT_CHECKED,)))["complete"] is False


def test_names_are_escaped_and_the_output_is_ascii():
    nasty = "\x1b[2J\udcff\u202e"
    text = df_json(
        usage(
            root=nasty,
            images=(replace(IMAGE, references=(nasty,)),),
            containers=(replace(CONTAINER, name=nasty),),
            shares={(Category.OTHER, nasty): Space(1, 1)},
        )
    )
    read = json.loads(text)

    assert all(character == "\n" or " " <= character <= "~" for character in text)
    assert read["root_base64"] == base64.b64encode(b"\x1b[2J\xff\xe2\x80\xae").decode()
    assert read["images"][0]["references"] == [read["root"]]
    assert read["categories"]["other"]["parts"][0]["part"] == read["containers"][0]["name"] == read["root"]
    assert read["root"].isprintable()
