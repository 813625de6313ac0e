"""GCD403 to GCD407: the references to images, what is noted of images, and what ``distribution/`` remembers."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from gcd.model import layout
from gcd.model.finding import Evidence, Fault, Impact, Kind, Node, NodeKind, Severity
from gcd.model.ids import ImageId
from gcd.model.inventory import Source
from gcd.model.reading import Absent, Empty, Malformed, Present, Reading, describe, value_of
from gcd.model.records import short_digest
from gcd.rules import suspects
from gcd.rules.damage import file_is_damaged
from gcd.rules.references import newer_copy, proven_references
from gcd.rules.remedies import QUARANTINE_STOPPED, REPAIR_STOPPED, REPAIR_STOPPED_OPT_IN, to
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import Image, ImageMetadata
    from gcd.model.finding import Remedy
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph

_FILE = layout.repositories()
_TREE = layout.image_tree()
_SHOWN = 20
"""References that a remedy names; the number of all is beside them."""


@rule(
    "GCD403",
    "repositories-unreadable",
    Kind.DAMAGED,
    Severity.CRITICAL,
    node=NodeKind.REPOSITORIES,
    needs=frozenset(),
    remedies=(REPAIR_STOPPED_OPT_IN,),
)
def repositories_unreadable(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    The engine cannot read ``repositories.json``, which holds the names of all images.

    Harm: the engine does not start. Seen with 20.10.24 and 26.1.5: at an empty or truncated file it says ``Couldn't
    create reference store repository: EOF`` (``unexpected EOF``) and exits; at ``null`` it panics.
    Cause: power loss, a full disk, an editor.
    Remedy: with the engine stopped, put a newer valid temporary copy (``.tmp-repositories.json…``) in its place. If
    there is none, write the names that the configs of containers prove; every other image gets ``gcd-recovered/<id>``,
    so that a nightly prune does not take it. Do not just move the file aside: the engine would start, but without any
    name, and the next prune would delete the images.
    Not this rule: a file that is missing or holds no names (GCD404); one that gcd has no right to read (GCD801).
    """
    if file_is_damaged(inventory.repositories):
        yield Fault(
            node,
            "The engine cannot read the names of its images, and does not start.",
            (Evidence(_FILE, "the references to images", describe(inventory.repositories)), *_copies(inventory)),
            impact=_nameless(inventory),
            remedies=_recovery(inventory),
        )


@rule(
    "GCD404",
    "repositories-missing",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.REPOSITORIES,
    needs=frozenset({Source.IMAGES}),
    remedies=(REPAIR_STOPPED_OPT_IN,),
)
def repositories_missing(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    ``repositories.json`` is missing, or holds no names, though there are images.

    Harm: no image can be found by its name, and every image without a container counts as dangling: ``docker image
    prune`` deletes it. Seen with 20.10.24 and 26.1.5, which at their start write an empty file in the place of the
    missing one and say nothing.
    Cause: a file deleted to get the engine to start (GCD403), or left out of a restore.
    Remedy: do not prune. With the engine stopped, put a newer valid temporary copy in its place, or write the names
    that the configs of containers prove, and ``gcd-recovered/<id>`` for every other image. While the engine runs, use
    ``docker tag``: it would write over the file. Names that nothing proves are nowhere on disk.
    Not this rule: a file that cannot be read (GCD403). If the file is there and empty, names were lost for sure only
    where an image was tagged, pulled or pushed once and has neither container nor child: ``docker rmi`` would have
    removed it with its name. Else the finding is info: ``docker rmi -f`` takes the names of images in use, and builds
    without ``-t`` give none. A removal takes the last name first and deletes the layers for minutes: an empty file that
    is younger than the engine is suspected only.
    """
    references = value_of(inventory.repositories)
    is_empty = references is not None and not references.references
    if not is_empty and not isinstance(inventory.repositories, Absent):
        return
    images = [image for image in inventory.images.values() if image.is_sound]
    if not images:
        return
    is_lost = not is_empty or newer_copy(inventory) is not None or _has_lost_a_name(inventory, images)
    found = "no reference" if is_empty else "absent"
    yield Fault(
        node,
        f"No image has a name any more, and there are {len(images)}: the next prune deletes those without a container.",
        (Evidence(_FILE, f"references to {len(images)} images", found), *_copies(inventory)),
        since_ns=inventory.repositories_ctime_ns if is_empty else None,
        severity=None if is_lost else Severity.INFO,
        impact=_nameless(inventory),
        remedies=_recovery(inventory),
    )


@rule(
    "GCD405",
    "dangling-reference",
    Kind.DANGLING,
    Severity.WARNING,
    node=NodeKind.REFERENCE,
    needs=frozenset({Source.IMAGES, Source.REPOSITORIES}),
    remedies=(REPAIR_STOPPED,),
    suspects=suspects.dangling_references,
)
def dangling_reference(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    A tag or a digest reference names an image whose config is not there.

    Harm: the name is shown nowhere and names nothing, and ``docker rmi`` and ``docker image prune`` cannot remove it
    (seen with 20.10.24 and 26.1.5: ``No such image``). One with a digest refuses that digest for any other image.
    Cause: ``docker image prune`` met a build: it removes the image that has no name yet, and the engine names it all
    the same (seen with 20.10.24, 26.1.5 and 28.5.2; the next build of that name mends it). Or an image config was
    deleted by hand, or lost in a power loss.
    Remedy: with the engine stopped, drop the reference; or, while it runs, tag another image with it.
    Not this rule: a config that is there but damaged (GCD401), or whose layers do not load (GCD402).
    """
    references = value_of(inventory.repositories)
    image = references.references.get(node.id) if references else None
    if image is None or image in inventory.images:
        return
    shown = node.id[:200]
    yield Fault(
        node,
        f"The reference {shown} names an image that is not there.",
        (Evidence(_FILE, f"the image that {shown} names", f"{image[:80]}, absent"),),
        remedies=to(REPAIR_STOPPED, f"drop {shown} from {_FILE}"),
    )


@rule(
    "GCD406",
    "stale-image-metadata",
    Kind.LEFTOVER,
    Severity.INFO,
    node=NodeKind.IMAGE_METADATA,
    needs=frozenset({Source.IMAGES}),
    remedies=(QUARANTINE_STOPPED,),
    suspects=suspects.odd_notes,
)
def stale_image_metadata(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    What is noted of an image outlived it, names a parent image that is gone, or cannot be read.

    Harm: small. Seen with 20.10.24 and 26.1.5: notes of an image that is gone stay for ever; an unreadable
    ``lastUpdated`` makes ``docker inspect`` of the image fail. With a parent that is gone, ``docker rmi`` of 20.10.24
    ends with ``unrecognized image ID``, though it removes the image.
    Cause: the engine was killed while it removed an image; a config deleted by hand; power loss.
    Remedy: with the engine stopped, quarantine the notes of the image that is gone, else the one file.
    Not this rule: the image's config (GCD401).
    """
    metadata = inventory.image_metadata.get(ImageId(node.id))
    if metadata is None:
        return
    home = layout.image_metadata(metadata.id)
    evidence: tuple[Evidence, ...]
    paths: tuple[str, ...]
    if metadata.id not in inventory.images:
        evidence = (Evidence(layout.image_config(metadata.id), "an image config", "absent"),)
        summary, paths = "These notes are of an image that is not there.", (home,)
    else:
        evidence = tuple(_bad_notes(inventory, metadata, home))
        summary, paths = "A note of this image is wrong.", tuple(item.where for item in evidence)
    if evidence:
        yield Fault(node, summary, evidence, since_ns=metadata.ctime_ns, paths=paths)


@rule(
    "GCD407",
    "stale-distribution-record",
    Kind.LEFTOVER,
    Severity.INFO,
    node=NodeKind.DISTRIBUTION_RECORD,
    needs=frozenset({Source.DISTRIBUTION}),
)
def stale_distribution_record(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    An entry of the engine's memory of registries cannot be read.

    Harm: none. Seen with 20.10.24, with every entry emptied: pull and push work, transfer what they need not have, and
    write the entries anew.
    Cause: power loss, a bad disk.
    Remedy: none needed.
    Not this rule: an entry about a layer that is gone. The engine never removes one, so that most hosts have many.
    """
    record = inventory.distribution.get(node.id)
    if record is not None:
        where = f"{layout.distribution()}/{record.path}"
        yield Fault(
            node,
            "The engine cannot read this entry of its memory of registries.",
            (Evidence(where, "a diff id, or where a layer came from", describe(record.content)),),
            since_ns=record.ctime_ns,
        )


def _has_lost_a_name(inventory: Inventory, images: list[Image]) -> bool:
    configs = (value_of(container.config) for container in inventory.containers.values())
    used = {config.image for config in configs if config is not None}
    used.update(parent for m in inventory.image_metadata.values() if (parent := value_of(m.parent)) is not None)
    return any(image.id not in used and _had_a_name(inventory, image) for image in images)


def _had_a_name(inventory: Inventory, image: Image) -> bool:
    """Whether the image was tagged here once, or is from a registry or in one, which takes a name."""
    metadata = inventory.image_metadata.get(image.id)
    config = value_of(image.config)
    layers = config.diff_ids if config else ()
    return (metadata is not None and isinstance(metadata.last_updated, Present)) or (
        bool(layers) and inventory.registry_layers.issuperset(layers)
    )


def _bad_notes(inventory: Inventory, metadata: ImageMetadata, home: str) -> Iterator[Evidence]:
    parent = metadata.parent
    if isinstance(parent, Present):
        if parent.value not in inventory.images:
            yield Evidence(f"{home}/{layout.PARENT}", "an image that is there", f"{parent.value}, absent")
    elif _is_garbage(parent):
        yield Evidence(f"{home}/{layout.PARENT}", "an image id", describe(parent))
    if _is_garbage(metadata.last_updated):
        yield Evidence(f"{home}/{layout.LAST_UPDATED}", "a time", describe(metadata.last_updated))


def _is_garbage(reading: Reading[object]) -> bool:
    return isinstance(reading, Empty | Malformed)


def _copies(inventory: Inventory) -> Iterator[Evidence]:
    """The temporary copy that can take the file's place."""
    copy = newer_copy(inventory)
    content = value_of(copy.content) if copy else None
    if copy is not None and content is not None:
        yield Evidence(
            f"{_TREE}/{copy.name}", "no temporary copy", f"a newer valid copy with {len(content.references)} references"
        )


def _recovery(inventory: Inventory) -> tuple[Remedy, ...]:
    """The repair: the newer copy if there is one, else a new file, and then the names that can be given back."""
    is_there = not isinstance(inventory.repositories, Absent)
    first = f"cp -p {_FILE} {_FILE}.aside; " if is_there else ""
    copy = newer_copy(inventory)
    if copy is not None:
        return to(REPAIR_STOPPED_OPT_IN, f"{first}mv {_TREE}/{copy.name} {_FILE}")
    proven = _proven(inventory)
    named = {*proven.values()}
    others = sorted(image.id for image in inventory.images.values() if image.is_sound and image.id not in named)
    tags = [(image, reference) for reference, image in proven.items()]
    tags += [(image, f"gcd-recovered/{_beginning(image)}") for image in others]
    told = "; ".join(f"docker tag {_beginning(image)} {shlex.quote(name)}" for image, name in tags[:_SHOWN])
    more = f"; and so on for {len(tags) - _SHOWN} more" if len(tags) > _SHOWN else ""
    away = f"mv {_FILE} {_FILE}.aside; " if file_is_damaged(inventory.repositories) else ""
    return to(REPAIR_STOPPED_OPT_IN, f"{away}start the engine and, before any prune: {told}{more}")


def _beginning(image: ImageId) -> str:
    return image.partition(":")[2][:12]


def _proven(inventory: Inventory) -> dict[str, ImageId]:
    """What containers prove, if all of them and all images were seen: one more might have said otherwise."""
    is_complete = inventory.is_complete(Source.CONTAINERS) and inventory.is_complete(Source.IMAGES)
    return dict(proven_references(inventory)) if is_complete else {}


def _nameless(inventory: Inventory) -> Impact:
    """
    The images that lose their names, by the name that is proven or else by id.

    The steps of classic builds never had one: images that are the parent of another and were never tagged.
    """
    names: dict[str, list[str]] = {}
    for reference, image_id in _proven(inventory).items():
        names.setdefault(image_id, []).append(reference)
    parents = {value_of(metadata.parent) for metadata in inventory.image_metadata.values()}
    labels: list[str] = []
    for image in inventory.images.values():
        if image.is_sound and (image.id in names or image.id not in parents or _had_a_name(inventory, image)):
            labels += names.get(image.id, [short_digest(image.id)])
    return Impact(tuple(sorted(labels)))


RULES = (
    repositories_unreadable,
    repositories_missing,
    dangling_reference,
    stale_image_metadata,
    stale_distribution_record,
)
