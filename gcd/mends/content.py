"""GCD701, GCD702: files of a layer that are damaged or missing, and that another layer holds whole (S17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import in_use, unread
from gcd.model import layout
from gcd.model.ids import ChainId
from gcd.model.inventory import Source
from gcd.model.plan import CopyFile, LinkFile
from gcd.model.reading import value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.mends.mending import Case
    from gcd.model.content import Twin
    from gcd.model.plan import Change


def damaged_file(case: Case) -> Mending | Unproven:
    """Every file of the layer whose content differs, or none: only the whole stream proves any of them."""
    return _copied(case, is_missing=False)


def missing_file(case: Case) -> Mending | Unproven:
    """Every file of the layer that is missing, or none; what else is missing is left."""
    return _copied(case, is_missing=True)


def _copied(case: Case, *, is_missing: bool) -> Mending | Unproven:
    record = case.inventory.layers[ChainId(case.finding.subject.id)]
    layer_dir = value_of(record.cache_id)
    if layer_dir is None:
        return Unproven("its record does not say which dir it has")
    doubt = unread(case, Source.OVERLAY2, Source.LINKS, Source.LAYERS, Source.MOUNTS) or in_use(case, layer_dir)
    if doubt is not None:
        return doubt
    twins = case.witness.twins(record.chain_id, case.inventory.layers)
    if isinstance(twins, str):
        return Unproven(twins)
    diff = f"{layout.layer_dir(layer_dir)}/{layout.DIFF}"
    wanted = (twin for twin in twins if (twin.worn is not None) == is_missing)
    changes = tuple(change for twin in wanted for change in _changes(diff, twin))
    return Mending(changes) if changes else Unproven("nothing of that is found any more")


def _changes(diff: str, twin: Twin) -> Iterator[Change]:
    first, *others = (f"{diff}/{name}" for name in twin.names)
    yield CopyFile(first, twin.source, twin.size, twin.sha256, twin.modified_ns, twin.worn)
    for other in others:
        yield LinkFile(other, first)
