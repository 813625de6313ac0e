"""GCD701: damaged files of a layer, which another layer of the same root holds whole (safety rule S17)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import in_use, unread
from gcd.model import layout
from gcd.model.ids import ChainId
from gcd.model.inventory import Source
from gcd.model.plan import WriteFile
from gcd.model.reading import value_of

if TYPE_CHECKING:
    from gcd.mends.mending import Case


def damaged_file(case: Case) -> Mending | Unproven:
    """Every file of the layer whose content differs, or none: only the whole stream proves any of them."""
    record = case.inventory.layers[ChainId(case.finding.subject.id)]
    layer_dir = value_of(record.cache_id)
    if layer_dir is None:
        return Unproven("its record does not say which dir it has")
    doubt = unread(case, Source.OVERLAY2, Source.LINKS, Source.LAYERS, Source.MOUNTS) or in_use(case, layer_dir)
    if doubt is not None:
        return doubt
    found = case.witness.whole_content(record.chain_id, case.inventory.layers)
    if isinstance(found, str):
        return Unproven(found)
    diff = f"{layout.layer_dir(layer_dir)}/{layout.DIFF}"
    paths = {path: f"{diff}/{path}" for path in found}
    return Mending(tuple(WriteFile(paths[path], content, paths[path]) for path, content in sorted(found.items())))
