"""
GCD107, 108: ``lower`` files, made anew from the dir below.

The engine writes a ``lower`` once, when it makes the dir: the link of the dir below, then the ``lower`` of that one. A
child made while it was missing is truncated for good, and is a finding of its own (GCD109).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.mends.linkfarm import ambiguity
from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import hands_off, in_use, like_lower, not_lost, unread
from gcd.model import layout
from gcd.model.facts import Lower
from gcd.model.ids import LayerDirId, init_dir_of, is_init_dir
from gcd.model.inventory import Source
from gcd.model.links import lower_of
from gcd.model.plan import WriteFile
from gcd.model.reading import Absent, Present, value_of
from gcd.rules.stacking import diff_ids_below, dir_below, known_diff_ids

if TYPE_CHECKING:
    from gcd.mends.mending import Case
    from gcd.model.facts import LayerDir
    from gcd.model.ids import LinkId


def lost_lower(case: Case) -> Mending | Unproven:
    """The link and the ``lower`` of the dir below, if the chain's diff ids, the siblings and the children agree."""
    layer_dir = case.inventory.layer_dirs[LayerDirId(case.finding.subject.id)]
    is_file = not isinstance(layer_dir.lower, Present)
    doubt = (
        hands_off(case, layer_dir.id)
        or unread(case, Source.MOUNTS)
        or in_use(case, layer_dir.id)
        or (not_lost(layer_dir.lower) if is_file else None)
    )
    if doubt is not None:
        return doubt
    links = _links_below(case, layer_dir)
    if isinstance(links, Unproven):
        return links
    doubt = _strange(case, layer_dir, links) or _disagreement(case, layer_dir, links)
    if doubt is not None:
        return doubt
    text = ":".join(f"{layout.LINK_FARM}/{link}" for link in links)
    return Mending((WriteFile(f"{layout.layer_dir(layer_dir.id)}/{layout.LOWER}", text.encode(), like_lower(case)),))


def _links_below(case: Case, layer_dir: LayerDir) -> tuple[LinkId, ...] | Unproven:
    below = value_of(dir_below(case.inventory, case.graph, layer_dir))
    if below is None:
        return Unproven("no record says which dir is below it")
    parent = case.inventory.layer_dirs[below]
    is_base = isinstance(parent.lower, Absent) and isinstance(dir_below(case.inventory, case.graph, parent), Absent)
    lower = parent.lower.value if isinstance(parent.lower, Present) else _NOTHING if is_base else None
    if not isinstance(parent.link, Present) or lower is None or lower.bad:
        return Unproven(f"{below}, which is below it, must be mended first")
    return ambiguity(case, parent.link.value, below) or (parent.link.value, *lower.links)


def _strange(case: Case, layer_dir: LayerDir, links: tuple[LinkId, ...]) -> Unproven | None:
    """Why `links` do not spell the chain that the records give to `layer_dir`."""
    below = diff_ids_below(case.inventory, case.graph, layer_dir)
    if below is None:
        return None  # a build's dir, or a container whose parent is lost too: only the dir below tells
    has_init = not is_init_dir(layer_dir.id) and init_dir_of(layer_dir.id) in case.inventory.layer_dirs
    of_layers = links[1:] if has_init else links
    if len(of_layers) != len(below):
        return Unproven(f"the dir below it stands on {len(of_layers)} layers, and its chain on {len(below)}")
    for link, diff_id in zip(of_layers, below, strict=True):
        known = {found for d in case.graph.dirs_of_link(link) for found in known_diff_ids(case.graph, d)}
        if known and diff_id not in known:
            return Unproven(f"{link} is not the layer that its chain has there")
    return None


def _disagreement(case: Case, layer_dir: LayerDir, links: tuple[LinkId, ...]) -> Unproven | None:
    """Who says otherwise: what is left of the file, a sibling on the same dir, a child. Truncated ones say nothing."""
    if not set(lower_of(layer_dir).links) <= set(links):
        return Unproven("what is left of it names other layers")
    own = value_of(layer_dir.link)
    for other in case.inventory.layer_dirs.values():
        theirs = lower_of(other)
        if theirs.bad or len(theirs.links) < 2 or other.id == layer_dir.id:
            continue
        is_sibling = theirs.links[0] == links[0] and theirs.links != links
        is_child = theirs.links[0] == own and theirs.links[1:] != links
        if is_sibling or is_child:
            return Unproven(f"the lower file of {other.id}, which is {'beside' if is_sibling else 'above'} it, differs")
    return None


_NOTHING = Lower(())
