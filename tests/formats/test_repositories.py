from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.totality import damaged, value_or_format_error

from gcd.formats.repositories import parse_repositories, write_repositories
from gcd.model.errors import FormatError
from gcd.model.facts import Repositories

ONE, TWO = f"sha256:{'0b' * 32}", f"sha256:{'7e' * 32}"
BY_DIGEST = f"example.org:5000/team/app@{TWO}"

FILE = json.dumps(
    {
        "Repositories": {
            "busybox": {"busybox:latest": ONE, "busybox:1.35": ONE},
            "example.org:5000/team/app": {"example.org:5000/team/app:v1": TWO, BY_DIGEST: TWO},
        }
    }
).encode()


def test_every_reference_with_its_image():
    assert parse_repositories(FILE) == Repositories(
        {"busybox:latest": ONE, "busybox:1.35": ONE, "example.org:5000/team/app:v1": TWO, BY_DIGEST: TWO}
    )


@pytest.mark.parametrize(
    "raw", [b"{}", b'{"Repositories": {}}', b'{"Repositories": null}', b'{"Repositories": {"a": null}}', b"{}garbage"]
)
def test_no_references(raw):
    assert parse_repositories(raw) == Repositories({})


def test_what_follows_the_object_does_not_matter():
    assert parse_repositories(FILE + b"\0\0\0{").references["busybox:latest"] == ONE


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"\0" * 100, b"null", b"[]", FILE[:-3], b'{"Repositories": []}', b'{"Repositories": {"a": []}}'),
        *(b'{"Repositories": {"a": {"a:1": 1}}}', b'{"Repositories": {"a": {"a:1": {}}, "a": {}}}'),
    ],
)
def test_what_keeps_the_engine_from_starting_is_refused(raw):
    with pytest.raises(FormatError) as error:
        parse_repositories(raw)
    assert error.value.what.startswith("repositories.json")


def test_an_image_id_that_is_no_digest_stays_a_reference_to_nothing():
    assert parse_repositories(b'{"Repositories": {"a": {"a:1": "../x", "a:2": null}}}').references == {
        "a:1": "../x",
        "a:2": "",
    }


def test_the_last_of_repeated_repositories_counts():
    raw = b'{"Repositories": {"a": {"a:1": "x", "a:2": "y"}, "a": {"a:1": "z"}}, "repositories": {"b": {"b:1": "w"}}}'
    assert parse_repositories(raw).references == {"a:1": "z", "b:1": "w"}


@given(damaged(FILE))
def test_any_bytes_are_references_or_refused(raw):
    value_or_format_error(parse_repositories, raw)


def test_written_as_the_engine_writes_it():
    references = {BY_DIGEST: TWO, "busybox:latest": ONE, "busybox:1.35": ONE, "example.org:5000/team/app:v1": TWO}

    assert (
        write_repositories(references)
        == (
            f'{{"Repositories":{{"busybox":{{"busybox:1.35":"{ONE}","busybox:latest":"{ONE}"}},'
            f'"example.org:5000/team/app":{{"example.org:5000/team/app:v1":"{TWO}","{BY_DIGEST}":"{TWO}"}}}}}}'
        ).encode()
    )


@given(st.dictionaries(st.text(), st.text()))
def test_what_is_written_reads_back(references):
    assert parse_repositories(write_repositories(references)).references == references


def test_characters_of_web_pages_are_escaped():
    assert write_repositories({"<&>:1": ONE}) == (
        f'{{"Repositories":{{"\\u003c\\u0026\\u003e":{{"\\u003c\\u0026\\u003e:1":"{ONE}"}}}}}}'.encode()
    )
