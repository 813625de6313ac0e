"""GCD103, 105, 112: the link farm, made anew from the ``link`` files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.manifest import MOST_ITEMS
from gcd.mends.mending import Mending, Unproven
from gcd.mends.whose import hands_off
from gcd.model import layout
from gcd.model.facts import FileType
from gcd.model.ids import LayerDirId, LinkId, is_init_dir
from gcd.model.plan import Change, MakeDirectory, MakeSymlink
from gcd.model.reading import Present, Unreadable, value_of
from gcd.rules.stacking import dir_at, known_diff_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcd.mends.mending import Case

MOST_SYMLINKS = MOST_ITEMS - 1
"""That one entry holds, beside the farm itself."""

_FARM = MakeDirectory(layout.link_farm(), 0o700, layout.OVERLAY2)
"""As all engines since 20.10.9 make it (moby ``daemon/graphdriver/overlay2/overlay.go`` Init)."""


def missing_symlink(case: Case) -> Mending | Unproven:
    """GCD103: the dir's ``link`` says the name. No other dir's may, and no ``lower`` may mean another dir by it."""
    layer_dir = case.inventory.layer_dirs.get(LayerDirId(case.finding.subject.id))
    link = value_of(layer_dir.link) if layer_dir is not None else None
    if layer_dir is None or link is None:
        return Unproven("no layer dir says that it is the one")
    doubt = hands_off(case, layer_dir.id) or ambiguity(case, link, layer_dir.id)
    return doubt or Mending((_FARM, _symlink(link, layer_dir.id)))


def wrong_target(case: Case) -> Mending | Unproven:
    """GCD105: as GCD103; nor may the symlink point to a dir that lost its own link id, and may be the one."""
    link = LinkId(case.finding.subject.id)
    target = case.inventory.link_farm.symlinks[link].target
    if isinstance(target, Unreadable):
        return Unproven(f"what is there cannot be read ({target.reason})")
    claimants = case.graph.claimants.get(link, ())
    if len(claimants) != 1:
        return Unproven(f"{len(claimants)} layer dirs say that this is their link id")
    pointed = case.inventory.layer_dirs.get(target.value) if isinstance(target, Present) else None
    if pointed is not None and not isinstance(pointed.link, Present):
        return Unproven(f"it points to {pointed.id}, which lost its link id and may be the one")
    doubt = hands_off(case, claimants[0]) or ambiguity(case, link, claimants[0])
    return doubt or Mending((_symlink(link, claimants[0]),))


def damaged_farm(case: Case) -> Mending | Unproven:
    """GCD112: the farm is made anew as a whole, if every dir that something refers to has a link id of its own."""
    dirs = case.inventory.layer_dirs
    nameless = sorted(d for d in case.graph.referenced_dirs if not isinstance(dirs[d].link, Present))
    if nameless:
        return Unproven(f"{len(nameless)} layer dirs have no readable link file, the first is {nameless[0]}")
    shared = sorted(link for link, claimants in case.graph.claimants.items() if len(claimants) > 1)
    if shared:
        return Unproven(f"several layer dirs say that {shared[0]} is their link id")
    symlinks = [_symlink(link, claimants[0]) for link, claimants in sorted(case.graph.claimants.items())]
    others = len(symlinks) - MOST_SYMLINKS
    foretold = (
        f"{others} more symlinks are then missing (GCD103): repair those too before a start." if others > 0 else ""
    )
    return Mending((_FARM, *symlinks[:MOST_SYMLINKS]), foretold)


def restored_symlink(case: Case, link: LinkId, layer_dir: LayerDirId) -> Iterator[Change]:
    """What gives `layer_dir` its symlink `link`; nothing where it has it, or where the farm itself is damaged."""
    farm = case.inventory.link_farm
    symlink = farm.symlinks.get(link)
    has_it = symlink is not None and value_of(symlink.target) == layer_dir
    if farm.type in (FileType.DIRECTORY, None) and not has_it:
        yield _FARM
        yield _symlink(link, layer_dir)


def ambiguity(case: Case, link: LinkId, layer_dir: LayerDirId) -> Unproven | None:
    """
    Why `link` may mean another dir than `layer_dir`: another says it too, or a ``lower`` names it where records put
    other content. None if it cannot. A dir of which no record tells the content may be BuildKit's copy of another's.
    """
    others = [d for d in case.graph.claimants.get(link, ()) if d != layer_dir]
    if others:
        return Unproven(f"{others[0]} says that this is its link id, too")
    known = known_diff_ids(case.graph, layer_dir)
    for citer in case.graph.citers_of_link(link):
        place = dir_at(case.inventory, case.graph, case.inventory.layer_dirs[citer], link)
        if place is None or place == layer_dir:
            continue
        is_pair = is_init_dir(place) or is_init_dir(layer_dir)
        if is_pair or (known and known.isdisjoint(known_diff_ids(case.graph, place))):
            return Unproven(f"the lower file of {citer} means {place} by it")
    return None


def _symlink(link: LinkId, layer_dir: LayerDirId) -> MakeSymlink:
    return MakeSymlink(layout.link_symlink(link), layout.link_target(layer_dir))
