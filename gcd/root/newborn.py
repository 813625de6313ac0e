"""
What was read so soon after it was made that it may not have been complete yet.

An engine makes a record as a directory and writes its files one after the other, which nobody hears of. A moment later
all is there; what is still not complete after a minute is not young but left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gcd.model.changed import Changed
from gcd.model.facts import FileType
from gcd.model.ids import ChainId, ContainerId, LayerDirId, RwLayerName
from gcd.model.reading import Present
from gcd.model.shelf import shelved_dirs, shelved_layers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gcd.model.facts import LayerDir, RwLayerRecord
    from gcd.model.inventory import Inventory

MOMENT_NS: Final = 1_000_000_000
MINUTE_NS: Final = 60_000_000_000


def newborn(inventory: Inventory, among: Changed | None, now_ns: int, latest_ns: int) -> Changed:
    """
    The subjects of `inventory` that changed a moment before `now_ns`, or are not complete and changed less than a
    minute before. `among`: only these are asked. What changed after `latest_ns` is of a clock that was set back since,
    and would be young for ever.
    """
    layers, dirs = shelved_layers(inventory.layers), shelved_dirs(inventory.layer_dirs)
    since = now_ns - MOMENT_NS
    if among is None:
        among = Changed(
            layer_dirs=frozenset({*dirs.odd, *(d for d, row in dirs.rows.items() if row[-1] > since)}),
            layers=frozenset(
                chain.removeprefix("sha256:")
                for chain in (*layers.odd, *(chain for chain, row in layers.rows.items() if row[-1] > since))
            ),
            rw_layers=frozenset(name.partition("/")[0] for name in inventory.rw_layers),
            write_sets=frozenset(inventory.write_sets),
            containers=frozenset(inventory.containers),
        )
    some_dirs = (d for name in among.layer_dirs if (d := dirs.get(LayerDirId(name))) is not None)
    some_layers = ((n, r) for n in among.layers if (r := layers.get(ChainId(f"sha256:{n}"))) is not None)
    tops_asked = [RwLayerName(name) for name in among.rw_layers]
    is_nested = any(name not in inventory.rw_layers for name in tops_asked)
    rw_layers = inventory.rw_layers if is_nested else {name: inventory.rw_layers[name] for name in tops_asked}
    tops = ((name.partition("/")[0], record) for name, record in rw_layers.items())
    containers = (c for name in among.containers if (c := inventory.containers.get(ContainerId(name))) is not None)
    sets = (w for name in among.write_sets if (w := inventory.write_sets.get(name)) is not None)
    return Changed(
        layer_dirs=_young(((d.id, d.ctime_ns, _is_made(d)) for d in some_dirs), now_ns, latest_ns),
        layers=_young(
            ((name, r.ctime_ns, f"sha256:{name}" in layers.rows) for name, r in some_layers), now_ns, latest_ns
        ),
        rw_layers=_young(((n, r.ctime_ns, _is_written(r)) for n, r in tops if n in among.rw_layers), now_ns, latest_ns),
        write_sets=_young(((w.name, w.ctime_ns, True) for w in sets), now_ns, latest_ns),
        containers=_young(((c.id, c.ctime_ns, isinstance(c.config, Present)) for c in containers), now_ns, latest_ns),
    )


def _young(found: Iterable[tuple[str, int, bool]], now_ns: int, latest_ns: int) -> frozenset[str]:
    """Of ids with their ctime and whether they are complete, those that are young."""
    return frozenset(
        id_
        for id_, ctime_ns, is_whole in found
        if now_ns - (MOMENT_NS if is_whole else MINUTE_NS) < ctime_ns <= latest_ns
    )


def _is_made(layer_dir: LayerDir) -> bool:
    return isinstance(layer_dir.link, Present) and layer_dir.diff is FileType.DIRECTORY


def _is_written(record: RwLayerRecord) -> bool:
    return isinstance(record.mount_id, Present) and isinstance(record.parent, Present)
