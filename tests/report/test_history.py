from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from msgspec.structs import replace
from support.results import NOON_NS

from gcd.model.audit import Act, ActKind
from gcd.model.entry import RunId
from gcd.model.plan import Outcome, Reason
from gcd.report.history import history_json, history_text

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "history.schema.json").read_text())

MOVED = Act(
    run=RunId("20251125T120000-a1b2c3"),
    at_ns=NOON_NS,
    kind=ActKind.QUARANTINE,
    finding="GCD101:layer-dir:abc",
    outcome=Outcome.DONE,
    entry="20251125T120000-3f9a1c",
    disk_bytes=3 << 20,
)
REFUSED = replace(
    MOVED, at_ns=NOON_NS + 1_500_000_000, outcome=Outcome.REFUSED, reason=Reason.IN_USE, why="it is mounted", entry=""
)
LATER = RunId("20251126T120000-d4e5f6")
RELEASED = replace(MOVED, run=LATER, kind=ActKind.RELEASE, finding="GCD211:layer:sha256:0", entry="", disk_bytes=0)
FAILED = replace(
    MOVED,
    run=LATER,
    kind=ActKind.REPAIR,
    finding="GCD603:temporary-file:x\udcff\x1b[2J",
    outcome=Outcome.FAILED,
    reason=Reason.PLACE,
    why="the disk is full\n",
)

TEXT = """\
run 20251125T120000-a1b2c3
  2025-11-25T12:00:00Z  quarantined GCD101:layer-dir:abc, 3.0 MiB, entry 20251125T120000-3f9a1c
  2025-11-25T12:00:01Z  quarantine refused: GCD101:layer-dir:abc: it is mounted (in-use)

run 20251126T120000-d4e5f6
  2025-11-25T12:00:00Z  released GCD211:layer:sha256:0
  2025-11-25T12:00:00Z  repair failed: GCD603:temporary-file:x\\xff\\x1b[2J: the disk is full\\n (place)
"""


def test_one_paragraph_a_run_and_one_line_an_act():
    assert history_text((MOVED, REFUSED, RELEASED, FAILED)) == TEXT


def test_nothing_yet():
    assert history_text(()) == "Nothing was done to this root, and nothing was refused.\n"


def test_as_json():
    told = json.loads(history_json((MOVED, REFUSED, FAILED)))
    jsonschema.validate(told, SCHEMA)

    assert told["schema"] == 1
    assert told["acts"][0] == {
        "run": "20251125T120000-a1b2c3",
        "at": "2025-11-25T12:00:00.000000Z",
        "kind": "quarantine",
        "finding": "GCD101:layer-dir:abc",
        "outcome": "done",
        "reason": None,
        "why": "",
        "entry": "20251125T120000-3f9a1c",
        "disk_bytes": 3 << 20,
    }
    assert (told["acts"][1]["reason"], told["acts"][1]["entry"]) == ("in-use", None)
    assert told["acts"][2]["finding"] == "GCD603:temporary-file:x\\xff\\x1b[2J"
    assert told["acts"][2]["finding_base64"] == "R0NENjAzOnRlbXBvcmFyeS1maWxlOnj/G1sySg=="
