"""The paths: what each answers, before and after the first result, to those who ask well and to those who do not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import jsonschema
import pytest
from support.browsing import site
from support.published import busy_daemon, published
from support.results import damaged_host, orphan, result

from gcd.metrics import exposition
from gcd.report.json import json_report
from gcd.web import app

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "check.schema.json").read_text())
PATHS = ("/", "/metrics", "/api/v1/findings", "/-/healthy", "/-/ready")


@pytest.fixture
def busy():
    with site(busy_daemon()) as served:
        yield served


@pytest.fixture
def new():
    with site(None) as served:
        yield served


def test_metrics_are_those_of_the_latest_result(busy):
    answer = busy.get("/metrics")

    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert answer.body == exposition(busy.shown.latest)


def test_findings_are_what_gcd_check_prints(busy):
    answer = busy.get("/api/v1/findings")

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body.decode() == json_report(busy.shown.latest.result)
    jsonschema.validate(json.loads(answer.body), SCHEMA)


def test_the_page_is_html(busy):
    answer = busy.get("/")

    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!doctype html>")


def test_health_and_readiness(busy):
    assert (busy.get("/-/healthy").status, busy.get("/-/healthy").body) == (200, b"healthy\n")
    assert (busy.get("/-/ready").status, busy.get("/-/ready").body) == (200, b"ready\n")


def test_before_the_first_result(new):
    assert {path: new.get(path).status for path in PATHS} == {
        "/": 503,
        "/metrics": 200,
        "/api/v1/findings": 503,
        "/-/healthy": 200,
        "/-/ready": 503,
    }
    assert b"The first check is under way" in new.get("/").body
    assert b"gcd_up 0.0\n" in new.get("/metrics").body
    assert new.get("/-/ready").headers["retry-after"] == "5"


def test_what_is_shown_is_the_latest(busy):
    assert b'gcd_findings{code="GCD101",severity="warning"} 3.0' in busy.get("/metrics").body

    busy.shown.latest = published(result(orphan("a")))

    assert b'gcd_findings{code="GCD101",severity="warning"} 1.0' in busy.get("/metrics").body
    assert len(json.loads(busy.get("/api/v1/findings").body)["findings"]) == 1
    assert b"Needs attention" in busy.get("/").body


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_the_body(busy, path):
    head, get = busy.get(path, "HEAD"), busy.get(path)

    assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/findings", "/"])
def test_answers_are_packed_for_those_who_unpack_them(busy, path):
    packed = busy.get(path, accept_encoding="br;q=1.0, gzip;q=0.8, *;q=0.1")

    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    assert gzip.decompress(packed.body) == busy.get(path, accept_encoding="identity").body
    assert "content-encoding" not in busy.get(path, accept_encoding="gzip;q=0").headers


@pytest.mark.parametrize("path", [*PATHS, "/none"])
def test_all_answers_carry_the_headers_that_keep_browsers_in_check(busy, path):
    headers = busy.get(path).headers

    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["connection"] == "close"
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/none", "/metrics/", "//metrics", "/-/", "/%2e%2e/etc/passwd", "/metrics%00", "/é"])
def test_other_paths_are_not_there(busy, path):
    assert busy.get(path.replace("é", "%C3%A9")).status == 404


def test_queries_do_not_matter(busy):
    assert busy.get("/metrics?name[]=gcd_up&x=%00").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_nothing_can_be_done_here(busy, method):
    answer = busy.get("/metrics", method)

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_fault_costs_one_answer(busy, capsys):
    healthy, busy.shown.latest = busy.shown.latest, object()

    assert busy.get("/metrics").status == 500
    assert "web_fault" in capsys.readouterr().out

    busy.shown.latest = healthy
    assert busy.get("/metrics").status == 200


def test_what_many_ask_for_is_rendered_once(busy, monkeypatch):
    rendered = []
    monkeypatch.setattr(app, "json_report", lambda result: rendered.append(result) or "{}")

    answers = {busy.get("/api/v1/findings").body for _ in range(5)}
    busy.shown.latest = published(busy.shown.latest.result)  # a new scrape's worth, of the same result
    busy.get("/api/v1/findings")
    busy.shown.latest = published(damaged_host())
    busy.get("/api/v1/findings")

    assert (answers, len(rendered)) == ({b"{}"}, 2)
