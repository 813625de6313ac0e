"""What is told to be typed: commands that do just what the remedy is, and nothing that a shell could misread."""

from __future__ import annotations

import subprocess

import pytest
from support.results import QUARANTINE, finding, hex64

from gcd.model.finding import Applicability, Moment, Node, NodeKind, Remedy, RemedyKind
from gcd.report.byhand import before, in_words

ID, OTHER = hex64("a"), hex64("b")
REPAIR = Remedy(RemedyKind.REPAIR, Moment.STOPPED, Applicability.AUTO)


def words(*paths, code="GCD101", remedy=QUARANTINE):
    return in_words(finding(code, "x", Node(NodeKind.LAYER_DIR, ID), paths=paths), remedy)


def test_what_goes_to_quarantine_is_moved_aside():
    assert words(f"overlay2/{ID}", "overlay2/l/ABC") == f"mv -t aside overlay2/{ID} overlay2/l/ABC"


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        ((f"overlay2/{ID}", f"overlay2/{ID}-init"), f"overlay2/{ID}{{,-init}}"),
        ((f"containers/{ID}", f"image/mounts/{ID}"), f"{{containers/,image/mounts/}}{ID}"),
        ((f"overlay2/{ID}", f"overlay2/{OTHER}-init"), f"overlay2/{ID} overlay2/{OTHER}-init"),
        ((f"x/{ID}", f"y/{ID}-init"), f"x/{ID} y/{ID}-init"),
        (("overlay2/a b",), "'overlay2/a b'"),
        (("plugins/$(id)",), "'plugins/$(id)'"),
    ],
)
def test_the_shell_takes_them_for_just_these_paths(paths, told):
    command = words(*paths)
    assert command == f"mv -t aside {told}"
    done = subprocess.run(["bash", "-c", f"printf '%s\\n' {told}"], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == list(paths)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\udcff"])
def test_what_no_terminal_can_show_gets_no_command(name):
    assert words("overlay2/x", f"plugins/{name}") == ""


def test_a_finding_that_frees_nothing_gets_none():
    assert words() == ""


def test_a_repair_without_command_of_its_own_gets_none():
    assert words(f"overlay2/{ID}", remedy=REPAIR) == ""


def test_what_follows_the_move():
    assert words("a/b", code="GCD202") == "mv -t aside a/b; then docker pull what it costs"


def test_what_comes_first():
    assert before(finding("GCD309", "x", Node(NodeKind.CONTAINER, ID))).startswith(f"docker rm -f {ID};")
    assert before(finding("GCD101", "x", Node(NodeKind.LAYER_DIR, ID))) == ""
