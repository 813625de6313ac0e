"""GCD401 and 402: image configs, and the chains that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model import edges, layout
from gcd.model.finding import Evidence, Fault, Kind, Node, NodeKind, Severity
from gcd.model.ids import ImageId
from gcd.model.inventory import Source
from gcd.model.reading import Absent, Present, describe
from gcd.rules import suspects
from gcd.rules.remedies import QUARANTINE_STOPPED_OPT_IN
from gcd.rules.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.model.facts import Image
    from gcd.model.ids import ChainId
    from gcd.model.inventory import Inventory
    from gcd.model.storegraph import StoreGraph


@rule(
    "GCD401",
    "image-digest-mismatch",
    Kind.DAMAGED,
    Severity.ERROR,
    node=NodeKind.IMAGE,
    needs=frozenset({Source.IMAGES}),
    remedies=(QUARANTINE_STOPPED_OPT_IN,),
    suspects=suspects.unsound_images,
)
def image_digest_mismatch(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    An image config cannot be read, or its bytes do not hash to its name.

    Harm: the engine calls the image invalid and skips it: it vanishes from the lists, and its layers are held by
    nothing and freed by nothing.
    Cause: power loss, a bad disk, an editor.
    Remedy: the exact bytes cannot be rebuilt. With the engine stopped, quarantine the config, then pull the image
    again: its layers are found where they are.
    Not this rule: a sound config whose layers do not load (GCD402).
    """
    image = inventory.images.get(ImageId(node.id))
    if image is None or isinstance(image.config, Absent) or image.is_sound:
        return
    names = _pull_again(graph, image)
    yield Fault(
        node,
        f"This image's config is damaged, so the engine skips the image; {names}.",
        (
            Evidence(layout.image_config(image.id), "an image config", describe(image.config))
            if not isinstance(image.config, Present)
            else Evidence(layout.image_config(image.id), image.id, str(image.digest)),
        ),
        paths=(layout.image_config(image.id),),
    )


@rule(
    "GCD402",
    "image-unloadable",
    Kind.DANGLING,
    Severity.ERROR,
    node=NodeKind.IMAGE,
    needs=frozenset({Source.IMAGES, Source.LAYERS}),
    suspects=suspects.images_perhaps_unloadable,
)
def image_unloadable(inventory: Inventory, graph: StoreGraph, node: Node) -> Iterator[Fault]:
    """
    An image needs a layer that the engine cannot load.

    Harm: the engine does not restore the image: it and the containers on it vanish from the lists
    (``not restoring image: layer does not exist``).
    Cause: a layer record that is missing, or damaged (then its own finding is the cause of this one).
    Remedy: mend the layer record that is named, and the image is back. Only if it is missing or cannot be mended, pull
    again the references that are named; first move the damaged record aside, or the pull says ``file exists``.
    Not this rule: an image whose own config is damaged (GCD401); layer dirs that are missing, which the engine notices
    only at use (GCD201).
    """
    image = inventory.images.get(ImageId(node.id))
    if image is None or not image.is_sound:
        return
    chains = graph.image_chains[image.id]
    for depth, (chain, _) in enumerate(chains):
        if graph.is_loadable(chain):
            continue
        broken = graph.broken_at.get(chain, chain)
        is_missing = broken not in inventory.layers
        what = f"{broken}, has {'no record' if is_missing else 'a damaged record'}"
        advice = _pull_again(graph, image) if is_missing else f"mend that first, or else {_pull_again(graph, image)}"
        yield Fault(
            node,
            f"The engine cannot load this image: its layer {depth + 1} of {len(chains)}, {what}; {advice}.",
            (
                Evidence(
                    layout.layer_record(broken), "a layer record that loads", "absent" if is_missing else "damaged"
                ),
            ),
            # Layer records are read before images: one of a pull that ended meanwhile was not there yet.
            since_ns=image.ctime_ns if is_missing else None,
            causes=_causes(broken, tuple(c for c, _ in chains[depth + 1 : depth + 2])),
        )
        return


def _causes(broken: ChainId, above: tuple[ChainId, ...]) -> tuple[Node, ...]:
    """The record itself; where it is missing, the one above it tells of that."""
    return tuple(edges.layer_node(chain) for chain in (broken, *above))


def _pull_again(graph: StoreGraph, image: Image) -> str:
    names = [name for name in graph.image_labels(image.id) if not image.id.startswith(name)]
    return f"pull again: {', '.join(names)}" if names else "no reference names it: build or pull it again by hand"


RULES = (image_digest_mismatch, image_unloadable)
