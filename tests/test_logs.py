from __future__ import annotations

import io
import json

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
