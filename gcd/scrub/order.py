"""Which layers a sweep looks at, and which of them is next: those that were not looked at for longest come first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.model.content import Depth
from gcd.model.reading import value_of
from gcd.scrub.layer import Layer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gcd.model.content import Sweep, Verdict
    from gcd.model.facts import LayerRecord
    from gcd.model.ids import ChainId

PERCENT = 100


def layers_of(records: Mapping[ChainId, LayerRecord]) -> dict[ChainId, Layer]:
    """The layers that can be looked at: of others the rules of a check speak."""
    found = {}
    for chain, record in records.items():
        diff_id, layer_dir = value_of(record.diff_id), value_of(record.cache_id)
        if diff_id is not None and layer_dir is not None:
            found[chain] = Layer(chain, diff_id, layer_dir, value_of(record.size) or 0)
    return found


def chosen(
    layers: Mapping[ChainId, Layer],
    verdicts: Mapping[ChainId, Verdict],
    depth: Depth,
    *,
    older_than_ns: int | None = None,
    percent: float = PERCENT,
) -> tuple[ChainId, ...]:
    """
    The layers for a sweep at `depth`, oldest verdict first, those without any before.

    Left out is what was looked at since the wall clock time `older_than_ns`, as closely. Of the rest so many layers
    are taken that they are `percent` of the bytes of all.
    """
    checked = {chain: verdicts[chain].checked_ns for chain in layers if chain in verdicts}
    fresh = {
        chain
        for chain, when in checked.items()
        if older_than_ns is not None and when >= older_than_ns and _is_as_close(verdicts[chain].depth, depth)
    }
    order = sorted(layers.keys() - fresh, key=lambda chain: (checked.get(chain, 0), chain))
    if percent >= PERCENT:
        return tuple(order)
    room = sum(layer.size for layer in layers.values()) * percent / PERCENT
    taken: list[ChainId] = []
    for chain in order:
        if room <= 0 and taken:
            break
        taken.append(chain)
        room -= layers[chain].size
    return tuple(taken)


def _is_as_close(done: Depth, wanted: Depth) -> bool:
    return done is wanted or done is Depth.FULL


def remaining(sweep: Sweep, layers: Mapping[ChainId, Layer], verdicts: Mapping[ChainId, Verdict]) -> Sequence[Layer]:
    """The layers of `sweep` that are still there and have no verdict of it."""
    done = {chain for chain, verdict in verdicts.items() if verdict.checked_ns >= sweep.began_ns}
    return [layers[chain] for chain in sweep.layers if chain in layers and chain not in done]
