"""
GCD701 to GCD705: what ``gcd scrub`` found in the content of layers.

They judge the verdicts in `Inventory.contents`, which only a scrub fills; a check looks at no content, and so the table
of its rules does not hold these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.content import DISK_FAILS, Damage, Soundness
from gcd.model.finding import Confidence, Evidence, Fault, Finding, Kind, Node, NodeKind, Severity
from gcd.model.ids import ChainId
from gcd.model.reading import value_of
from gcd.rules.needs import LAYERS
from gcd.rules.remedies import REPAIR_STOPPED_MANUAL
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gcd.model.content import Difference, Verdict
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph
    from gcd.rules.rule import Rule

MOST_SHOWN = 50
"""How many files one finding names; its summary counts them all."""

_ALTERED = frozenset(Damage) - {Damage.MISSING, Damage.EXTRA}
_MENDED = frozenset({Damage.EMPTIED, Damage.RESIZED, Damage.CHANGED})
_MISSING = frozenset({Damage.MISSING})

_SAID = {
    Damage.EMPTIED: "emptied",
    Damage.RESIZED: "of another size",
    Damage.CHANGED: "of other content",
    Damage.UNREADABLE: "not to be read",
    Damage.RETYPED: "something else",
    Damage.RETARGETED: "leading elsewhere",
    Damage.SPLIT: "no longer one file with another",
    Damage.TRANSPARENT: "no longer hiding what is below",
    Damage.DRESSED: "of other rights",
}


@rule(
    "GCD701",
    "damaged-file",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    remedies=(REPAIR_STOPPED_MANUAL,),
)
def damaged_file(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer holds a file that is not what was unpacked: emptied, of another size or content, of another type, a symlink
    to elsewhere, a hard link that became a file of its own, or a directory that hides what it hid no longer.

    Harm: containers of every image with this layer read it as it is (``exec format error``, wrong data), and no restart
    or pull changes that: the engine never looks at a layer again. Saving or pushing such an image fails ("file
    integrity checksum failed") where content of a file differs.
    Cause: power lost before the data reached the disk (files of no bytes); a failing disk; somebody who edited a file
    below ``overlay2``.
    Remedy: remove all images and containers with this layer and pull again, as ``gcd scrub`` prints it. Where another
    layer of the same root holds the file whole, ``gcd repair`` with the id of the finding writes it back, with the
    engine stopped; else its ``--dry-run`` says why not. Only content is written back, under all names that the file
    has, and only if all content of the layer, with what GCD702 brings back, then gives its diff id; mode, owner and
    attributes (capabilities) stay as they are.
    Not this rule: other times of files; other modes and owners, unless ``--metadata`` asks for them, as info.
    """
    del graph
    verdict = inventory.contents.get(ChainId(node.id))
    altered = _of(verdict, _ALTERED)
    if verdict is None or not altered:
        return
    is_harmless = all(difference.damage is Damage.DRESSED for difference in altered)
    obstacle = "" if is_harmless else _obstacle(verdict, _MENDED)
    yield Fault(
        node,
        f"{_counted(verdict, altered)} not what was unpacked: {_kinds(altered)}.{_said(obstacle)}",
        _evidence(verdict, altered),
        severity=Severity.INFO if is_harmless else None,
        remedies=() if is_harmless or obstacle else None,
    )


@rule(
    "GCD702",
    "missing-file",
    Kind.DANGLING,
    Severity.ERROR,
    node=NodeKind.LAYER,
    needs=LAYERS,
    remedies=(REPAIR_STOPPED_MANUAL,),
)
def missing_file(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer lacks a file, a directory, a link, a device or a whiteout that was unpacked into it.

    Harm: it is missing in every container of every image with this layer, or, where it was a whiteout, what the layers
    below hold comes back. Saving or pushing the image fails where the file had content.
    Cause: a filesystem check that dropped it; somebody who deleted it below ``overlay2``.
    Remedy: remove all images and containers with this layer and pull again, as ``gcd scrub`` prints it. Where another
    layer of the same root holds a missing file whole, ``gcd repair`` with the id of the finding copies it from there,
    with the engine stopped; else its ``--dry-run`` says why not. Mode, owner, attributes and time are those that the
    layer's stream says, and it is done only if all content of the layer, with what GCD701 brings back, then gives its
    diff id. Directories, links, devices and whiteouts are not made again, nor what was in a missing directory.
    Not this rule: the layer's whole dir is gone (GCD201).
    """
    del graph
    verdict = inventory.contents.get(ChainId(node.id))
    missing = _of(verdict, _MISSING)
    if verdict is not None and missing:
        obstacle = _obstacle(verdict, _MISSING)
        yield Fault(
            node,
            f"{_counted(verdict, missing)} missing.{_said(obstacle)}",
            _evidence(verdict, missing),
            remedies=() if obstacle else None,
        )


@rule("GCD703", "extra-file", Kind.DAMAGED, Severity.WARNING, node=NodeKind.LAYER, needs=LAYERS)
def extra_file(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A layer holds something that was not unpacked into it.

    Harm: containers see it, and may prefer it to what the image has there. Saved or pushed, the image does not have it.
    Cause: somebody who wrote below ``overlay2``; a filesystem check that put back what it found.
    Remedy: none by gcd: remove all images and containers with this layer and pull again, as ``gcd scrub`` prints it.
    Not this rule: what is on top of the layer in a container.
    """
    del graph
    verdict = inventory.contents.get(ChainId(node.id))
    extra = _of(verdict, frozenset({Damage.EXTRA}))
    if verdict is not None and extra:
        yield Fault(node, f"{_counted(verdict, extra)} not part of this layer.", _evidence(verdict, extra))


@rule("GCD704", "diff-id-mismatch", Kind.DAMAGED, Severity.ERROR, node=NodeKind.LAYER, needs=LAYERS)
def diff_id_mismatch(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    All files of a layer have their checksums, and its stream does not hash to its diff id (``gcd scrub --full``).

    Harm: saving or pushing the image fails ("layers from manifest don't match", "internal files in the layer store were
    modified"). What containers see may be whole or not.
    Cause: a file was changed together with the layer's tar-split, or in a way that its CRC-64 does not show.
    Remedy: none by gcd: remove all images and containers with this layer and pull again, as ``gcd scrub`` prints it.
    Not this rule: a file whose checksum differs too (GCD701).
    """
    del graph
    verdict = inventory.contents.get(ChainId(node.id))
    record = inventory.layers.get(ChainId(node.id))
    if verdict is not None and verdict.digest and record is not None:
        path = f"{layout.layer_record(verdict.chain)}/{layout.TAR_SPLIT}"
        read = Evidence(path, value_of(record.diff_id) or "its diff id", verdict.digest)
        yield Fault(node, "Its stream does not hash to its diff id.", (read,))


@rule("GCD705", "unverifiable-layer", Kind.HAZARD, Severity.INFO, node=NodeKind.LAYER, needs=LAYERS)
def unverifiable_layer(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The content of a layer cannot be compared, or not all of it.

    Harm: none by itself; damage in it would not be seen. Without a tar-split the image cannot be saved or pushed. It is
    a warning where the disk itself fails (EIO).
    Cause: a tar-split that is missing or damaged (GCD209); an archive with sparse files; a kernel that kept the layer
    in part in those below it (``redirect_dir``, ``metacopy``); an engine without native diff, whose whiteouts are not
    those of the stream; content that changes while it is read.
    Remedy: none by gcd; pulling the images again brings a new tar-split.
    Not this rule: what was compared and differs (GCD701 to GCD704).
    """
    del graph
    verdict = inventory.contents.get(ChainId(node.id))
    if verdict is not None and verdict.reasons:
        where = layout.layer_dir(verdict.layer_dir)
        evidence = tuple(Evidence(where, "content that can be compared", reason) for reason in verdict.reasons)
        is_all = verdict.soundness is Soundness.UNVERIFIABLE and not verdict.files
        yield Fault(
            node,
            f"{'Nothing' if is_all else 'Not all'} of it could be compared: {verdict.reasons[0]}.",
            evidence,
            severity=Severity.WARNING if any(r.startswith(DISK_FAILS) for r in verdict.reasons) else None,
        )


RULES: tuple[Rule, ...] = (damaged_file, missing_file, extra_file, diff_id_mismatch, unverifiable_layer)


def content_findings(inventory: Inventory, graph: StoreGraph) -> tuple[Finding, ...]:
    """What the verdicts in `inventory` mean, each with what it costs; a scrub looks twice itself, so all are proven."""
    return tuple(
        Finding(
            code=rule_.code,
            name=rule_.name,
            kind=rule_.kind,
            severity=fault.severity or rule_.severity,
            confidence=Confidence.PROVEN,
            subject=fault.subject,
            summary=fault.summary,
            evidence=fault.evidence,
            paths=(),
            remedies=rule_.remedies if fault.remedies is None else fault.remedies,
            related=graph.other_names(fault.subject),
            impact=graph.impact(fault.subject),
        )
        for rule_ in RULES
        for chain in sorted(inventory.contents)
        for fault in rule_.check(inventory, graph, Node(NodeKind.LAYER, chain))
    )


def _of(verdict: Verdict | None, kinds: Collection[Damage]) -> tuple[Difference, ...]:
    return tuple(d for d in verdict.differences if d.damage in kinds) if verdict is not None else ()


def _obstacle(verdict: Verdict, kinds: Collection[Damage]) -> str:
    """Why nothing of these `kinds` can be written back, as one clause; "" where the verdict does not tell."""
    lost = next((d for d in verdict.differences if d.size and d.damage not in _MENDED | _MISSING), None)
    if not any(d.damage in _MENDED or d.size for d in _of(verdict, kinds)):
        return "only content of files is"
    if verdict.differing > len(verdict.differences):
        return "more is damaged than is known"
    if lost is not None:
        return f"the content of {lost.path} is lost as well, without which nothing can be proven"
    return ""


def _said(obstacle: str) -> str:
    return f" None of it can be written back: {obstacle}." if obstacle else ""


def _counted(verdict: Verdict, differences: tuple[Difference, ...]) -> str:
    """What is beyond the differences that a verdict keeps is of no known kind."""
    count = "one file" if len(differences) == 1 else f"{len(differences)} files"
    at_least = "at least " if verdict.differing > len(verdict.differences) else ""
    said = f"{at_least}{count}"
    return f"{said[0].upper()}{said[1:]} {'is' if len(differences) == 1 else 'are'}"


def _kinds(differences: tuple[Difference, ...]) -> str:
    counts = {damage: sum(d.damage is damage for d in differences) for damage in Damage}
    return ", ".join(f"{count} {_SAID[damage]}" for damage, count in counts.items() if count)


def _evidence(verdict: Verdict, differences: tuple[Difference, ...]) -> tuple[Evidence, ...]:
    diff = f"{layout.layer_dir(verdict.layer_dir)}/{layout.DIFF}"
    return tuple(Evidence(f"{diff}/{d.path}", d.expected, d.found) for d in differences[:MOST_SHOWN])
