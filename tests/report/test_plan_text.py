from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.golden import assert_golden
from support.results import NOON_NS, RUNNING, STOPPED, finding, hex64, orphan

from gcd.model.facts import Engine, EngineState
from gcd.model.finding import Code, Node, NodeKind, NotChecked
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
)
from gcd.report.plan_text import plan_text

LEAKED = finding(
    "GCD211", "orphaned-layer", Node(NodeKind.LAYER, f"sha256:{hex64('b')}"), disk_bytes=5 << 30, paths=("x",)
)
LINK = finding("GCD103", "missing-link-symlink", Node(NodeKind.LAYER_DIR, hex64("c")))
EMPTY = Plan("/var/lib/docker", Identity(1, 2, ""), STOPPED, NOON_NS, (), ())
CHANGES = (
    WriteFile("overlay2/c/link", b"ABC", "overlay2/c"),
    WriteFile("image/overlay2/repositories.json", b"x" * 81, "image/overlay2"),
    MakeSymlink("overlay2/l/ABC", "../c/diff"),
    MakeDirectory("overlay2/c/work", 0o700, "overlay2/c"),
    DropReference("image/overlay2/repositories.json", "a:1", ImageId(f"sha256:{hex64('d')}")),
    SetAside("x"),
)
FULL = replace(
    EMPTY,
    engine=RUNNING,
    steps=(
        Mend(LINK, CHANGES[:4], "The engine starts web."),
        Release(LEAKED, ChainId(LEAKED.subject.id)),
        Move(orphan("a"), (f"overlay2/{hex64('a')}", "overlay2/l/ABC", "3", "4", "5", "6")),
        Move(orphan("e", disk_bytes=None), ("overlay2/\x1b[31m\udcff",)),
    ),
    left_alone=(
        LeftAlone(orphan("f"), Reason.SUSPECTED, "it changed since the engine started"),
        *(LeftAlone(orphan(seed), Reason.BLOCKED, "it may belong to GCD206") for seed in "0123456"),
        LeftAlone(LINK, Reason.ENGINE_RUNS, "its repair needs the engine stopped"),
        LeftAlone(orphan("8"), Reason.IGNORED, "the policy says to ignore it"),
    ),
    not_checked=tuple(
        NotChecked(Code(f"GCD10{n}"), "x", Source.BUILD_LEASES, "it changed during every attempt") for n in range(9)
    ),
)


def test_a_plan_with_everything():
    assert_golden("plan.txt", plan_text(FULL))


def test_a_plan_on_a_narrow_terminal():
    assert_golden("plan-72.txt", plan_text(FULL, width=72))


def test_ids_and_paths_stay_whole_however_narrow_the_terminal():
    lines = [line.strip() for line in plan_text(FULL, width=40).splitlines()]

    assert f"overlay2/{hex64('a')}" in lines
    assert f"3. quarantine GCD101:layer-dir:{hex64('a')} orphaned-layer-dir, 3.0 MiB" in lines


@pytest.mark.parametrize(
    ("plan", "headline"),
    [
        (EMPTY, "Nothing is to be done in /var/lib/docker (the engine is stopped)."),
        (
            replace(EMPTY, engine=Engine(EngineState.UNKNOWN)),
            "Nothing is to be done in /var/lib/docker (whether an engine runs cannot be told).",
        ),
        (replace(EMPTY, refusal="the disk is odd"), "Nothing may be done in /var/lib/docker: the disk is odd."),
        (replace(EMPTY, steps=FULL.steps[:1]), "To be done in /var/lib/docker (the engine is stopped): 1 repair."),
        (
            FULL,
            (
                "To be done in /var/lib/docker (the engine is running): "
                "1 repair, 1 release (5.0 GiB released) and 2 moves (3.0 MiB moved)."
            ),
        ),
    ],
)
def test_the_first_line_says_it_all(plan, headline):
    assert plan_text(plan).splitlines()[0] == headline


def test_colours_only_where_asked_for():
    assert "\x1b[" not in plan_text(FULL)
    assert "\x1b[" in plan_text(FULL, colour=True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (CHANGES[0], "write overlay2/c/link: ABC"),
        (CHANGES[1], "write image/overlay2/repositories.json: 81 bytes"),
        (CHANGES[2], "link overlay2/l/ABC -> ../c/diff"),
        (CHANGES[3], "see to it that overlay2/c/work is a directory"),
        (CHANGES[4], "drop a:1 from image/overlay2/repositories.json"),
        (CHANGES[5], "take away x"),
        (CopyFile("a/\x1b", "b", 40 << 20, "ab" * 32, 0), "copy to a/\\x1b: 40.0 MiB of b"),
        (LinkFile("a", "b\x1b"), "make a the same file as b\\x1b"),
        (WriteFile("a", b"\x00\xff\x1b", "b"), "write a: \\x00\\xff\\x1b"),
    ],
)
def test_what_a_repair_does_in_words(change, told):
    text = plan_text(replace(EMPTY, steps=(Mend(LINK, (change,)),)))

    assert told in [line.strip() for line in text.splitlines()]


def test_every_reason_has_its_name():
    for reason in set(Reason) - {Reason.IGNORED}:
        assert "it is so" in plan_text(replace(EMPTY, left_alone=(LeftAlone(LINK, reason, "it is so"),)))
