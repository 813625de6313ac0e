"""What is told to be typed: the command that does just that remedy, and nothing that a shell could misread."""

from __future__ import annotations

import subprocess

import pytest
from support.results import QUARANTINE, finding, hex64

from gcd.model.finding import Applicability, Moment, Node, NodeKind, Remedy, RemedyKind
from gcd.report.advice import after, before, command

ID = hex64("a")
REPAIR = Remedy(RemedyKind.REPAIR, Moment.STOPPED, Applicability.AUTO)
RELEASE = Remedy(RemedyKind.RELEASE, Moment.ONLINE, Applicability.AUTO)
BY_ID = Remedy(RemedyKind.QUARANTINE, Moment.STOPPED, Applicability.MANUAL)


def told(remedy, *, subject=None, paths=("overlay2/x",), code="GCD101"):
    return command(finding(code, "x", subject or Node(NodeKind.LAYER_DIR, ID), paths=paths), remedy)


def test_the_code_stands_for_all_of_its_findings():
    assert told(QUARANTINE) == "gcd quarantine GCD101"
    assert told(RELEASE, code="GCD211") == "gcd release GCD211"


def test_what_is_only_done_by_name_is_named():
    assert told(BY_ID, code="GCD116") == f"gcd quarantine GCD116:layer-dir:{ID}"


@pytest.mark.parametrize("name", ["a b", "$(id)", "a;b", "a'b"])
def test_the_shell_takes_a_name_for_what_it_is(name):
    words = told(BY_ID, subject=Node(NodeKind.PLUGIN, name)).removeprefix("gcd quarantine ")

    done = subprocess.run(["bash", "-c", f"printf %s {words}"], check=True, capture_output=True, text=True)

    assert done.stdout == f"GCD101:plugin:{name}"


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\udcff"])
def test_what_no_terminal_can_show_gets_no_command(name):
    assert told(BY_ID, subject=Node(NodeKind.PLUGIN, name)) == ""
    assert told(QUARANTINE, subject=Node(NodeKind.PLUGIN, name)) == "gcd quarantine GCD101"


def test_nothing_to_move_is_no_quarantine_but_may_be_a_repair():
    assert told(QUARANTINE, paths=()) == ""
    assert told(REPAIR, paths=()) == "gcd repair GCD101"


def test_what_comes_first_and_what_comes_after():
    assert before(finding("GCD309", "x", Node(NodeKind.CONTAINER, ID))).startswith(f"docker rm -f {ID};")
    assert before(finding("GCD101", "x", Node(NodeKind.LAYER_DIR, ID))) == ""
    assert after(finding("GCD202", "x", Node(NodeKind.LAYER, ID))) == "docker pull what it costs"
    assert after(finding("GCD101", "x", Node(NodeKind.LAYER_DIR, ID))) == ""
