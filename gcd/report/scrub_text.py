"""What is known of the content of layers as text for people: a verdict, then each damaged layer and how to heal it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from gcd.model.content import Course, Soundness
from gcd.model.finding import Severity
from gcd.report.lines import STYLES, Line, Text, written
from gcd.report.printable import printable
from gcd.report.units import counted, iec, instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.finding import Finding
    from gcd.model.scrubbed import Again, Scrubbed

EVIDENCE_SHOWN = 10
NAMES_SHOWN = 8


def scrub_text(scrubbed: Scrubbed, *, width: int | None = None, colour: bool = False) -> str:
    return written(_lines(scrubbed), width=width, colour=colour)


def _lines(scrubbed: Scrubbed) -> Iterator[Line]:
    counts = scrubbed.counts
    damaged = counts[Soundness.DAMAGED]
    yield 0, Text(_headline(scrubbed), style="bold red" if damaged else "bold green")
    yield 0, Text(_figures(scrubbed), style="dim")
    told: set[tuple[str, ...]] = set()
    for finding in scrubbed.findings:
        yield 0, Text()
        yield from _finding(finding)
        again = scrubbed.again.get(finding.id)
        if again is not None:
            yield from _again(again, is_told=again.commands in told)
            told.add(again.commands)


def _headline(scrubbed: Scrubbed) -> str:
    counts, layers = scrubbed.counts, counted(scrubbed.layers, "layer")
    if counts[Soundness.DAMAGED]:
        return f"{counted(counts[Soundness.DAMAGED], 'layer')} of {scrubbed.layers} damaged"
    if scrubbed.pending:
        return f"No damage known; {scrubbed.pending} of {layers} never looked at"
    if counts[Soundness.UNVERIFIABLE]:
        return f"No damage in {layers}; {counts[Soundness.UNVERIFIABLE]} could not be compared, or not all of it"
    return f"All of {layers} as they were unpacked"


def _figures(scrubbed: Scrubbed) -> str:
    counts, sweep = scrubbed.counts, scrubbed.sweep
    parts = [f"{count} {soundness}" for soundness, count in counts.items() if count]
    parts += [f"{scrubbed.pending} pending"] if scrubbed.pending else []
    parts += [f"{iec(scrubbed.read_bytes)} read"]
    if sweep is not None:
        state = str(sweep.course)
        if sweep.course is Course.RUNNING and not scrubbed.is_under_way:
            state = "was cut short: gcd scrub resume goes on"
        elif sweep.course is Course.PAUSED:
            state = "paused: gcd scrub resume goes on"
        left = f", {counted(scrubbed.left, 'layer')} ({iec(scrubbed.left_bytes)}) to go" if scrubbed.left else ""
        parts.append(f"the {sweep.depth} scrub of {instant(sweep.began_ns)} {state}{left}")
    if scrubbed.oldest_ns is not None:
        parts.append(f"every layer looked at since {instant(scrubbed.oldest_ns)}")
    return "; ".join(parts)


def _finding(finding: Finding) -> Iterator[Line]:
    yield (
        0,
        Text((f"{finding.severity.upper():8}", STYLES[finding.severity]), (f" {finding.code} {finding.name}", "bold")),
    )
    yield 2, Text(printable(str(finding.subject)), style="bold", no_wrap=True)
    yield 4, Text(printable(finding.summary))
    for read in finding.evidence[:EVIDENCE_SHOWN]:
        where, expected, found = printable(read.where), printable(read.expected), printable(read.found)
        yield 4, Text(f"read: {where}: expected {expected}, found {found}", style="dim")
    if len(finding.evidence) > EVIDENCE_SHOWN:
        yield 4, Text(f"… and {len(finding.evidence) - EVIDENCE_SHOWN} more; --format json lists all")
    for noun, names in (("images", finding.impact.images), ("containers", finding.impact.containers)):
        if names and finding.severity is not Severity.INFO:
            rest = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
            yield 4, Text(f"costs the {noun} {', '.join(map(printable, names[:NAMES_SHOWN]))}{rest}")
    if finding.remedies:
        yield 4, Text("where another layer holds it whole, gcd can write it back; with the engine stopped, this looks:")
        yield 6, Text(f"gcd repair {shlex.quote(printable(finding.id))} --dry-run", no_wrap=True)


def _again(again: Again, *, is_told: bool) -> Iterator[Line]:
    if is_told:
        yield 4, Text("to have it fetched again: as above")
        return
    yield 4, Text("To have it fetched again, all that needs the layer must go first.")
    for names, what in (
        (again.containers, "What these containers wrote goes with them, unless you save it"),
        (
            again.made,
            "No registry is known to have these images, which go too; build, load or import them again",
        ),
    ):
        if names:
            yield 4, Text(f"{what}: {', '.join(map(printable, names))}", style="bold")
    yield (
        4,
        Text("In this order; where one fails, as where a registry has the image no more, the rest is not done:"),
    )
    for command in again.commands[:-1]:
        yield 6, Text(f"{printable(command)} &&", no_wrap=True)
    for command in again.commands[-1:]:
        yield 6, Text(printable(command), no_wrap=True)
