"""``gcd demo``: a broken Docker root to look at, without Docker and without root rights."""

from __future__ import annotations

import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gcd.commands.terminal import show
from gcd.demo.scene import build_scene
from gcd.model.errors import CannotCheck, ExitBits
from gcd.run import check

if TYPE_CHECKING:
    from gcd.demo.scene import Scene
    from gcd.model.result import RunResult

AHEAD_NS = 2 * 3_600_000_000_000
"""With no engine running, nothing is proven before it is an hour old: the demo looks from two hours later."""


@click.command()
def demo() -> ExitBits:
    """
    Build a small Docker root with planted faults in a temporary directory, and check it.

    The root stays there for you to play with. Nothing else is touched.
    """
    scene = build_scene(Path(tempfile.mkdtemp(prefix="gcd-demo-")) / "docker")
    click.echo(f"Built a Docker root in {scene.root} and planted {len(scene.planted)} faults:")
    for planted in scene.planted:
        click.echo(f"  {planted.code}  {planted.story}")
    click.echo("\n$ gcd check --dry-run      (as if two hours later: what just changed is never proven)\n")
    result = check(str(scene.root), now_ns=time.time_ns() + AHEAD_NS)
    show(result)
    _demand_all_found(scene, result)
    _tell_what_next(scene)
    return ExitBits.CLEAN


def _demand_all_found(scene: Scene, result: RunResult) -> None:
    found = {(finding.code, finding.subject) for finding in result.findings}
    missed = [planted for planted in scene.planted if (planted.code, planted.node) not in found]
    if missed:
        listed = ", ".join(f"{planted.code} at {planted.node}" for planted in missed)
        raise CannotCheck(f"this gcd does not find what it planted itself: {listed}")
    planted = len(scene.planted)
    click.echo(
        f"\nAll {planted} planted faults were found, and {len(result.findings) - planted} that follow from them."
    )


def _tell_what_next(scene: Scene) -> None:
    gcd, root = _own_command(), shlex.quote(str(scene.root))
    next_ones = {
        f"{gcd} check --root {root}": "the orphans are suspected for their first hour",
        f"{gcd} check --root {root} --format json": "for programs",
        f"{gcd} repair --dry-run --root {root}": "what would be mended; without --dry-run it is, after asking",
        f"{gcd} quarantine list --root {root}": "what was moved or replaced, and can be put back",
        f"{gcd} explain {scene.planted[0].code}": "what a code means",
        f"rm -r {shlex.quote(str(scene.root.parent))}": "when you are done",
    }
    width = max(map(len, next_ones))
    click.echo("\nTry next:")
    for command, remark in next_ones.items():
        click.echo(f"  {command:{width}}  # {remark}")


def _own_command() -> str:
    """How the user can call gcd again: by its name where the shell finds it, else as it was called."""
    return "gcd" if shutil.which("gcd") else shlex.quote(sys.argv[0])
