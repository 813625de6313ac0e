from __future__ import annotations

import io
import json
import os

import pytest
import structlog

from gcd import logs


@pytest.fixture
def stream():
    yield io.StringIO()
    structlog.reset_defaults()


def test_each_event_is_one_line_of_json(stream):
    logs.configure("info", json=True, stream=stream)

    structlog.get_logger().info("checked", findings=2, root="/var/lib/docker")

    event = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "checked", "level": "info", "findings": 2, "root": "/var/lib/docker"}


def test_text_for_people(stream):
    logs.configure("info", json=False, stream=stream)

    structlog.get_logger().info("checked", findings=2)

    assert stream.getvalue().rstrip().endswith("[info     ] checked findings=2")


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_only_events_of_at_least_the_level(stream, level):
    logs.configure(level, json=True, stream=stream)
    log = structlog.get_logger()

    for name in logs.LEVELS:
        getattr(log, name)("event")

    levels = [json.loads(line)["level"] for line in stream.getvalue().splitlines()]
    assert levels == list(logs.LEVELS)[list(logs.LEVELS).index(level) :]


@pytest.mark.parametrize("is_json", [True, False])
def test_nothing_from_a_root_reaches_the_terminal_raw(stream, is_json):
    logs.configure("info", json=is_json, stream=stream)

    structlog.get_logger().info("checked", root="/srv/\x1b[31m\nred\u202e")

    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "prefix"), [("debug", "<7>"), ("info", "<6>"), ("warning", "<4>"), ("error", "<3>"), ("critical", "<2>")]
)
@pytest.mark.parametrize("is_json", [True, False])
def test_each_line_tells_the_journal_its_priority(stream, level, prefix, is_json):
    logs.configure("debug", json=is_json, stream=stream, is_journal=True)

    getattr(structlog.get_logger(), level)("checked")

    assert stream.getvalue()[:3] == prefix
    assert "checked" in stream.getvalue()


def test_each_line_of_a_traceback_has_its_priority(stream):
    logs.configure("debug", json=False, stream=stream, is_journal=True)

    try:
        os.fstat(-1)
    except OSError:
        structlog.get_logger().exception("failed")

    lines = stream.getvalue().splitlines()
    assert len(lines) > 2
    assert {line[:3] for line in lines} == {"<3>"}


def test_the_journal_is_known_by_its_socket(tmp_path, monkeypatch):
    with (tmp_path / "a").open("w") as ours, (tmp_path / "b").open("w") as other:
        status = os.fstat(ours.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")

        assert logs.leads_to_the_journal(ours)
        assert not logs.leads_to_the_journal(other)
        assert not logs.leads_to_the_journal(io.StringIO())
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not logs.leads_to_the_journal(ours)
