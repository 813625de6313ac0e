"""GCD106, 110: what a layer dir lacks besides its ``lower``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.mends.linkfarm import ambiguity, restored_symlink
from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import hands_off, like_link, not_lost
from gcd.model import layout
from gcd.model.facts import FileType
from gcd.model.ids import LayerDirId
from gcd.model.plan import MakeDirectory, WriteFile
from gcd.rules.stacking import links_cited_for

if TYPE_CHECKING:
    from gcd.mends.mending import Case

WORK_MODE = 0o700
"""moby ``daemon/graphdriver/overlay2/overlay.go`` create."""


def lost_link(case: Case) -> Mending | Unproven:
    """
    GCD106: the link id is that of the one symlink to the dir, or the one that all ``lower`` files name in its place.

    Where both tell, they must agree, and no other dir may say it: the engine removes the symlink of that name together
    with the dir.
    """
    layer_dir = case.inventory.layer_dirs[LayerDirId(case.finding.subject.id)]
    cited = links_cited_for(case.inventory, case.graph, layer_dir)
    pointing = case.graph.symlinks_to.get(layer_dir.id, ())
    known = [link for link in pointing if link in case.graph.cited_links] or list(pointing)
    candidates = sorted({*known, *cited})
    if len(candidates) != 1:
        return Unproven(f"{len(candidates) or 'no'} link ids could be its own")
    link = candidates[0]
    doubt = hands_off(case, layer_dir.id) or not_lost(layer_dir.link) or ambiguity(case, link, layer_dir.id)
    if doubt is not None:
        return doubt
    file = WriteFile(f"{layout.layer_dir(layer_dir.id)}/{layout.LINK}", link.encode(), like_link(case))
    return Mending((file, *restored_symlink(case, link, layer_dir.id)))


def missing_work(case: Case) -> Mending | Unproven:
    """GCD110: an empty directory, owned as ``diff``; what is in its place and is none is kept."""
    layer_dir = case.inventory.layer_dirs[LayerDirId(case.finding.subject.id)]
    if layer_dir.diff is not FileType.DIRECTORY:
        return Unproven("its diff, whose owner it must have, is missing too")
    doubt = hands_off(case, layer_dir.id)
    if doubt is not None:
        return doubt
    home = layout.layer_dir(layer_dir.id)
    return Mending((MakeDirectory(f"{home}/{layout.WORK}", WORK_MODE, f"{home}/{layout.DIFF}"),))
