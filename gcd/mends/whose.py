"""
What every mend asks first: whether the damaged thing may be touched now (safety rule S15), whether what is known is all
there is to know, and by which neighbour a new file is judged that the damage left nothing of: its owner, mode, label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.mends.mending import Unproven
from gcd.model import layout
from gcd.model.facts import EngineState
from gcd.model.ids import ContainerId
from gcd.model.inventory import Coverage
from gcd.model.links import lower_of
from gcd.model.plan import Reason
from gcd.model.reading import Absent, Present, describe
from gcd.rules.damage import file_is_damaged
from gcd.rules.table import NEEDLESS

if TYPE_CHECKING:
    from gcd.mends.mending import Case
    from gcd.model.facts import LayerRecord, RwLayerRecord
    from gcd.model.ids import LayerDirId
    from gcd.model.inventory import Source
    from gcd.model.reading import Reading


def hands_off(case: Case, layer_dir: LayerDirId) -> Unproven | None:
    """
    Why parts of `layer_dir` may not be made anew now: while an engine may run, only those of image layers and of
    containers may; what builds work on changes under one's hands. None if they may.
    """
    if case.inventory.engine.state is EngineState.STOPPED:
        return None
    record = case.graph.rw_layers_by_dir.get(layer_dir)
    if record is not None and ContainerId(record.name) in case.inventory.containers:
        return None
    if record is None and any(case.graph.is_loadable(layer.chain_id) for layer in case.graph.layers_of(layer_dir)):
        return None
    return Unproven(
        "it is neither an image's layer nor a container's: such are mended only with the engine stopped",
        Reason.ENGINE_RUNS,
    )


def in_use(case: Case, layer_dir: LayerDirId) -> Unproven | None:
    """Why what mounts are put together by may not be changed: some namespace has `layer_dir` mounted. Else None."""
    links = frozenset(case.graph.links_of(layer_dir))
    for mount in case.inventory.mounts:
        if layer_dir in mount.dirs or mount.links & links:
            return Unproven(f"pid {mount.pids[0]} ({mount.holder}) has it mounted", Reason.IN_USE)
    return None


def unread(case: Case, *sources: Source) -> Unproven | None:
    """Why a proof that needs all of `sources` cannot be had: one was not read completely. None if they were."""
    for source in sources:
        state = case.inventory.sources[source]
        if state.coverage is not Coverage.OK and not (state.coverage is Coverage.ABSENT and source in NEEDLESS):
            return Unproven(f"{source} could not be read completely: {state.why}", Reason.NOT_CHECKED)
    return None


def not_lost(reading: Reading[object]) -> Unproven | None:
    """
    Why a file that gave `reading` is not one to write anew: it is not lost, but refused to gcd, or a symlink, which the
    engine follows and gcd does not. None if it is lost.
    """
    if isinstance(reading, Absent) or file_is_damaged(reading):
        return None
    return Unproven(f"what is in its place is not known to be damaged: {describe(reading)}")


def like_link(case: Case) -> str:
    """A sound ``link`` file, else the driver's home."""
    dirs = case.inventory.layer_dirs.values()
    sound = min((d.id for d in dirs if isinstance(d.link, Present)), default=None)
    return f"{layout.layer_dir(sound)}/{layout.LINK}" if sound else layout.OVERLAY2


def like_lower(case: Case) -> str:
    """A sound ``lower`` file, else a sound ``link``: some engines give them different modes."""
    dirs = case.inventory.layer_dirs.values()
    sound = min((d.id for d in dirs if lower_of(d).links and not lower_of(d).bad), default=None)
    return f"{layout.layer_dir(sound)}/{layout.LOWER}" if sound else like_link(case)


def like_record(record: LayerRecord) -> str:
    """A file of `record` that is sound, else the record's directory."""
    files = (
        (layout.CACHE_ID, record.cache_id),
        (layout.TAR_SPLIT, record.tar_split),
        (layout.DIFF, record.diff_id),
        (layout.SIZE, record.size),
        (layout.PARENT, record.parent),
    )
    home = layout.layer_record(record.chain_id)
    return next((f"{home}/{name}" for name, reading in files if isinstance(reading, Present)), home)


def like_rw_record(record: RwLayerRecord) -> str:
    """A file of `record` that is sound, else the record's directory."""
    files = ((layout.MOUNT_ID, record.mount_id), (layout.INIT_ID, record.init_id), (layout.PARENT, record.parent))
    home = layout.rw_layer_record(record.name)
    return next((f"{home}/{name}" for name, reading in files if isinstance(reading, Present)), home)
