from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.results import NOON_NS, RUNNING, finding, hex64, orphan

from gcd.formats import planfile
from gcd.formats.planfile import parse_plan, plan_digest, plan_json
from gcd.model.content import Worn
from gcd.model.errors import FormatError
from gcd.model.facts import Engine, EngineState
from gcd.model.finding import Acceptance, Code, Node, NodeKind, NotChecked
from gcd.model.ids import ChainId, ImageId
from gcd.model.inventory import Source
from gcd.model.plan import (
    CopyFile,
    DropReference,
    Identity,
    LeftAlone,
    LinkFile,
    MakeDirectory,
    MakeSymlink,
    Mend,
    Move,
    Plan,
    Reason,
    Release,
    SetAside,
    WriteFile,
    why_stale,
)

LEAKED = finding("GCD211", "orphaned-layer", Node(NodeKind.LAYER, f"sha256:{hex64('b')}"))
WORN = Worn(0o6755, 1, 2, (("user.\udcff", b"\xff"),))
CHANGES = (
    WriteFile("overlay2/a/link", b"\x00\xffABC", "overlay2/a"),
    MakeSymlink("overlay2/l/ABC", "../a/diff"),
    MakeDirectory("overlay2/a/work", 0o700, "overlay2/a"),
    DropReference("image/overlay2/repositories.json", "a:1", ImageId(f"sha256:{hex64('c')}")),
    SetAside("x"),
    CopyFile("overlay2/a/diff/\udcff", "overlay2/b/diff/c", 2**40, "ab" * 32, 5),
    CopyFile(
        "overlay2/a/diff/c", "overlay2/b/diff/c", 2, "ab" * 32, 5, Worn(0o6755, 1, 2, (("user.\udcff", b"\xff"),))
    ),
    LinkFile("overlay2/a/diff/d", "overlay2/a/diff/\udcff"),
)
PLAN = Plan(
    root="/var/lib/docker",
    identity=Identity(2**63 + 5, 12, "ENGINE"),
    engine=RUNNING,
    read_ns=NOON_NS,
    steps=(
        Mend(orphan("a"), CHANGES, "it starts web"),
        Release(LEAKED, ChainId(LEAKED.subject.id)),
        Move(orphan("d"), ("overlay2/\udcffname", "overlay2/l/ABC")),
    ),
    left_alone=(
        LeftAlone(orphan("e", accepted=Acceptance("GCD101:*", "known", 5)), Reason.ACCEPTED, "it is accepted"),
    ),
    not_checked=(NotChecked(Code("GCD102"), "orphaned-build-dir", Source.BUILD_LEASES, "busy \x1b"),),
)


def changed(**fields):
    return json.dumps({**json.loads(plan_json(PLAN)), **fields}).encode()


def test_a_plan_comes_back_as_it_was():
    assert parse_plan(plan_json(PLAN).encode()) == PLAN


def test_a_refused_plan_without_steps_comes_back_too():
    stopped = Engine(EngineState.STOPPED, doubts=("a doubt",), others=(1, 2))
    refused = replace(PLAN, steps=(), left_alone=(), not_checked=(), engine=stopped, refusal="no \x1b[31m")

    assert parse_plan(plan_json(refused).encode()) == refused


def test_it_is_ascii_whatever_the_root_holds():
    assert plan_json(replace(PLAN, root="/\udcff\x1b\u2028")).isascii()
    assert "\x1b" not in plan_json(replace(PLAN, root="/\x1b"))


def test_the_digest_is_of_the_whole_plan():
    others = (
        replace(PLAN, root="/other"),
        replace(PLAN, read_ns=NOON_NS + 1),
        replace(PLAN, steps=PLAN.steps[1:]),
        replace(PLAN, steps=(replace(PLAN.steps[0], foretold=""), *PLAN.steps[1:])),
        replace(PLAN, left_alone=()),
    )

    assert len({plan_digest(plan) for plan in (PLAN, *others)}) == len(others) + 1
    assert plan_digest(PLAN) == json.loads(plan_json(PLAN))["digest"]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "plan"),
        (b"[]", "expected an object"),
        (b"{}", "expected the key schema, found none"),
        (changed(schema=3), "expected schema 2, found schema 3, of another version of gcd"),
        (changed(schema=1), "expected schema 2, found schema 1, of another version of gcd"),
        (changed(schema="1"), "expected a whole number"),
        (changed(root="/other"), "expected what its digest says, found something else: it was changed"),
        (changed(steps=[]), "found something else: it was changed"),
        (changed(extra=1), "expected no other key, found extra"),
        (changed(steps=[{"finding": {}}]), "expected the key impact"),
        (changed(left_alone={}), "expected an array"),
        (changed(read_ns="9" * 30), "expected a whole number"),
        (changed(identity={"device": 1, "inode": 2}), "expected the key engine_id"),
        (changed(not_checked=[{"source": "moon"}]), "expected one of overlay2, links,"),
        (changed(engine={"state": "asleep"}), "expected one of running, stopped, unknown, found asleep"),
    ],
)
def test_what_is_no_plan_is_refused(raw, told):
    with pytest.raises(FormatError, match=re.escape(told)):
        parse_plan(raw)


@pytest.mark.parametrize(
    ("member", "told"),
    [
        ({"release": {"chain": "sha256:../x"}}, "expected sha256: and 64 hex digits"),
        ({"release": {"chain": f"sha256:{hex64('b')}", "more": 1}}, "expected no other key, found more"),
        ({"delete": {}}, "expected repair, release or quarantine, found delete"),
        ({"release": {}, "quarantine": {}}, "expected one kind, found 2"),
        ({"repair": {"changes": [{"chmod": {}}], "foretold": ""}}, "expected a kind of change, found chmod"),
        ({"repair": {"changes": [{"write": {"path": "a", "like": "b", "base64": "?"}}], "foretold": ""}}, "base64"),
    ],
)
def test_what_is_no_step_is_refused(member, told):
    step = {**member, "finding": json.loads(plan_json(PLAN))["steps"][0]["finding"]}

    with pytest.raises(FormatError, match=re.escape(told)):
        parse_plan(changed(steps=[step]))


WORN_BY_ROOT = {"mode": 0, "uid": 0, "gid": 0, "attributes": []}
COPY = {"path": "a", "source": "b", "bytes": 1, "sha256": "ab" * 32, "modified_ns": 0, "worn": WORN_BY_ROOT}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"bytes": -1}, "expected a number of 63 bits, found -1"),
        ({"modified_ns": 1 << 63}, "expected a number of 63 bits"),
        ({"sha256": "AB" * 32}, "expected 64 hex digits"),
        ({"sha256": ""}, "expected 64 hex digits"),
        ({"worn": WORN_BY_ROOT | {"mode": 0o10000}}, "expected a mode and an owner"),
        ({"worn": WORN_BY_ROOT | {"uid": 0xFFFF_FFFF}}, "expected a mode and an owner"),
        ({"worn": WORN_BY_ROOT | {"gid": 0xFFFF_FFFF}}, "expected a mode and an owner"),
        ({"worn": WORN_BY_ROOT | {"attributes": [{"name": "x", "base64": "?"}]}}, "expected base64"),
        ({"worn": WORN_BY_ROOT | {"attributes": [{"name": "", "text": "y"}]}}, "expected the name of an attribute"),
        ({"worn": WORN_BY_ROOT | {"attributes": [{"name": "x\0y", "text": "y"}]}}, "expected the name of an attribute"),
        ({"worn": WORN_BY_ROOT | {"more": 1}}, "expected no other key, found more"),
        ({"more": 1}, "expected no other key, found more"),
        ({}, "found something else: it was changed"),
    ],
)
def test_what_is_no_copy_is_refused(fields, told):
    """The last one is one."""
    step = {
        "repair": {"changes": [{"copy": COPY | fields}], "foretold": ""},
        "finding": json.loads(plan_json(PLAN))["steps"][0]["finding"],
    }

    with pytest.raises(FormatError, match=re.escape(told)):
        parse_plan(changed(steps=[step]))


def test_a_plan_has_a_bound(monkeypatch):
    raw = plan_json(PLAN).encode()
    monkeypatch.setattr(planfile, "MOST_BYTES", len(raw) - 1)

    with pytest.raises(FormatError, match="at most"):
        parse_plan(raw)


@given(st.data())
def test_a_plan_with_a_byte_changed_is_the_same_or_none(data):
    raw = bytearray(plan_json(PLAN).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    try:
        parsed = parse_plan(bytes(raw))
    except FormatError:
        return
    assert parsed == PLAN


@pytest.mark.parametrize(
    ("minutes", "why"),
    [
        (0, ""),
        (59, ""),
        (60, "it was made 60 minutes ago, and a plan is good for 60"),
        (125, "it was made 125 minutes ago, and a plan is good for 60"),
        (-1, "it was made in the future: the clock was set back"),
    ],
)
def test_a_plan_is_good_for_an_hour(minutes, why):
    assert why_stale(PLAN, NOON_NS + minutes * 60_000_000_000) == why
