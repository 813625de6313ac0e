from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.golden import assert_golden
from support.results import QUARANTINE, STOPPED, damaged_host, finding, orphan, result, unchecked

from gcd.model.facts import Engine, EngineState
from gcd.model.finding import (
    Applicability,
    Confidence,
    Evidence,
    Kind,
    Moment,
    Node,
    NodeKind,
    Remedy,
    RemedyKind,
    Severity,
)
from gcd.report.text import text_report


def first_line(outcome):
    return text_report(outcome).splitlines()[0]


def test_a_damaged_host():
    assert_golden("damaged-host.txt", text_report(damaged_host()))


def test_a_damaged_host_on_a_narrow_terminal():
    assert_golden("damaged-host-72.txt", text_report(damaged_host(), width=72))


def test_a_healthy_host():
    assert_golden("healthy-host.txt", text_report(result()))


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (result(), "Healthy. Nothing to get back."),
        (
            result(orphan("a", disk_bytes=5 * 1024**3)),
            "Not healthy: 1 warning. 5.0 GiB can be had back.",
        ),
        (
            result(orphan("a", confidence=Confidence.SUSPECTED, severity=Severity.INFO)),
            "Healthy. 3.0 MiB may be had back (suspected, not yet proven).",
        ),
        (
            result(orphan("a", kind=Kind.DANGLING, confidence=Confidence.SUSPECTED, severity=Severity.INFO)),
            "Perhaps not healthy: 1 fault suspected, not yet proven (GCD101). Nothing to get back.",
        ),
        (
            result(orphan("a"), orphan("b", confidence=Confidence.SUSPECTED, severity=Severity.INFO)),
            "Not healthy: 1 warning. 3.0 MiB can be had back and 3.0 MiB more may be (suspected, not yet proven).",
        ),
        (
            result(not_checked=(unchecked("GCD102", "x"),)),
            "Not known to be healthy: nothing was found, but 1 rule could not be checked. Nothing to get back.",
        ),
        (
            result(orphan("a"), not_checked=(unchecked("GCD102", "x"),)),
            "Not healthy: 1 warning; 1 rule could not be checked. 3.0 MiB can be had back.",
        ),
        (
            result(orphan("a", severity=Severity.CRITICAL, disk_bytes=0)),
            "Not healthy: 1 critical fault. The engine will not start. Nothing to get back.",
        ),
    ],
)
def test_the_first_line_answers(outcome, told):
    assert first_line(outcome) == told


@pytest.mark.parametrize("code", ["GCD201", "GCD202", "GCD203", "GCD204", "GCD205", "GCD206", "GCD303"])
def test_damage_that_makes_ordinary_work_destructive_says_hands_off(code):
    found = finding(code, "x", Node(NodeKind.LAYER, "y"), kind=Kind.DAMAGED, severity=Severity.ERROR)

    assert f"! Pull, load, remove or prune nothing until this is mended ({code})" in text_report(result(found))


def test_other_damage_does_not_say_hands_off():
    assert "Pull, load" not in text_report(result(orphan("a")))


def test_doubts_about_the_engine_are_told():
    doubtful = Engine(EngineState.RUNNING, pid=1, doubts=("the clock went back",))

    assert "! Nothing is proven in this run: the clock went back." in text_report(result(engine=doubtful))


def test_a_stopped_engine_is_told():
    assert "(overlay2, engine stopped)" in text_report(result(engine=STOPPED))


def test_nothing_from_the_root_reaches_the_terminal_raw():
    nasty = orphan("a", summary="\x1b]0;title\x07\n\u202e\udcff", blocked_by=("GCD206:layer:\x1b[2J",))
    outcome = replace(result(nasty, root="/srv/\x9b31m"), store="over\rlay")

    text = text_report(outcome)

    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\x1b]0;title\\x07\\n\\u202e\\xff" in text


def test_colour_only_when_asked():
    assert "\x1b[" not in text_report(damaged_host())
    assert "\x1b[" in text_report(damaged_host(), colour=True)


def test_markup_in_names_is_plain_text():
    assert "[red]x[/red] :skull:" in text_report(result(orphan("a", summary="[red]x[/red] :skull:")))


def test_many_alike_findings_are_cut_with_their_sum():
    many = [finding("GCD101", "x", Node(NodeKind.LAYER_DIR, f"{n:03}"), disk_bytes=1024) for n in range(30)]

    text = text_report(result(*many))

    assert "GCD101 x: 30 times, 30.0 KiB" in text
    assert "… and 10 more (10.0 KiB); --format json lists all" in text
    assert text.count("  layer-dir:") == 20


ID = "a" * 64
STOPPED_QUARANTINE = replace(QUARANTINE, moment=Moment.STOPPED)


def test_an_id_is_whole_once_and_in_commands():
    read = Evidence(f"overlay2/{ID}/link", "a link id", "empty")
    by_id = Remedy(RemedyKind.QUARANTINE, Moment.ONLINE, Applicability.MANUAL)
    found = orphan("a", kind=Kind.DAMAGED, evidence=(read,), summary=f"dir {ID} is bad", remedies=(by_id,))
    text = text_report(result(found))

    assert text.count(ID) == 2
    assert (
        "    dir aaaaaaaaaaaa… is bad\n    read: overlay2/aaaaaaaaaaaa…/link: expected a link id, found empty" in text
    )
    assert f"    do: gcd quarantine GCD101:layer-dir:{ID}\n" in text


def test_of_an_orphan_nothing_is_told_twice():
    assert "read:" not in text_report(result(orphan("a")))


def test_what_only_some_rules_looked_for_is_not_simply_healthy():
    assert (
        first_line(replace(result(), rules_left_out=53, rules=54)) == "Healthy by 1 of 54 rules. Nothing to get back."
    )


def test_many_rules_that_did_not_run_are_not_all_named():
    items = tuple(unchecked(f"GCD{number}", "EIO") for number in range(101, 110))
    text = text_report(result(not_checked=items))

    assert "    9 rules, GCD101 to GCD109; --format json names all\n" in text
    assert "    GCD101" in text_report(result(not_checked=items[:8]))


HOW = "gcd check changes nothing. To go on, from the top down:\n"
PLAN = "  gcd plan    # what the policy would do; each command also takes --dry-run\n"
STOP = "  systemctl stop docker.socket docker    # where it says so; containers stop with it\n"


def test_the_way_to_go_on():
    text = text_report(result(orphan("a", remedies=(STOPPED_QUARANTINE,)), root="/srv/my docker"))

    assert "    do, with the engine stopped: gcd quarantine GCD101\n" in text
    assert (
        HOW + PLAN + "  # every gcd command with --root '/srv/my docker', unless it finds this root by itself\n" in text
    )
    assert STOP in text


def test_the_default_root_is_not_named_again():
    text = text_report(result(orphan("a", remedies=(STOPPED_QUARANTINE,)), root="/var/lib/docker"))

    assert HOW + PLAN + STOP in text


def test_a_repair_is_told_by_hand_too():
    repair = Remedy(RemedyKind.REPAIR, Moment.STOPPED, Applicability.AUTO, "printf %s 0 > x/size")
    text = text_report(result(replace(orphan("a", kind=Kind.DAMAGED, remedies=(repair,)), code="GCD204")))

    assert (
        "    do, with the engine stopped: gcd repair GCD204\n"
        "    by hand, with the engine stopped: printf %s 0 > x/size\n"
    ) in text
    assert (
        "\n  # by hand: paths are below /var/lib/docker\n  # leave that before the next check, or it counts as in use\n"
    ) in text


def test_what_comes_after_stands_last():
    text = text_report(result(replace(orphan("a", kind=Kind.DAMAGED), code="GCD202")))

    assert "    do: gcd quarantine GCD202\n    then: docker pull what it costs\n" in text


def test_who_has_nothing_to_do_is_told_no_way_to_do_it():
    suspected = orphan("a", confidence=Confidence.SUSPECTED, severity=Severity.INFO)
    blocked = orphan("b", blocked_by=("GCD206:layer:x",))

    assert HOW not in text_report(result(suspected, blocked))


def test_an_engine_that_is_stopped_is_not_stopped_again():
    assert "systemctl" not in text_report(result(orphan("a", remedies=(STOPPED_QUARANTINE,)), engine=STOPPED))


def test_several_remedies_are_a_choice_and_what_comes_first_stands_first():
    removal = orphan("a", remedies=(QUARANTINE, STOPPED_QUARANTINE))
    told = [line.strip() for line in text_report(result(replace(removal, code="GCD309"))).splitlines()]

    first = next(n for n, line in enumerate(told) if line.startswith("do first: docker rm -f"))
    assert [line.partition(":")[0] for line in told[first : first + 3]] == [
        "do first", "do", "or, with the engine stopped"
    ]  # fmt: skip


def test_alike_remedies_are_told_once_for_a_group():
    repair = Remedy(RemedyKind.REPAIR, Moment.ONLINE, Applicability.AUTO)
    text = text_report(result(*(orphan(x, remedies=(replace(repair, action=f"write {x}"),)) for x in "ab")))

    assert text.count("  do: gcd repair GCD101\n") == 1
    assert "    by hand: write a\n" in text
    assert "    by hand: write b\n" in text


def test_without_command_the_rule_advises():
    found = orphan("a", remedies=())

    assert "do: ask an elder\n" in text_report(result(found), advice={found.code: "ask an elder"})
    assert "do: see gcd explain GCD101\n" in text_report(result(found))


def test_what_is_to_be_typed_is_never_broken_into_lines():
    text = text_report(result(orphan("a", remedies=(STOPPED_QUARANTINE,)), root="/srv/docker"), width=60)

    assert STOP in text
    assert f"\n  layer-dir:{ID}\n" in text


def test_a_root_that_cannot_be_typed_is_not():
    assert "every gcd command with --root DIR, unless" in text_report(result(orphan("a"), root="/srv/a\nb"))
