"""
Layer dirs as their ``link`` and ``lower`` files and the link farm connect them, and where these do not agree with
each other or with records.

An index of every ``lower`` by every link that it names would be the biggest thing in memory: chains are 125 deep. Where
a ``lower`` is the link of another dir and the ``lower`` of that, as it should be, only that link counts as named by it
(`direct_citers`), and the rest is found on the way (`citers_of_link`).
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING

from gcd.model.facts import LayerDir, Lower
from gcd.model.ids import LayerDirId, LinkId, init_dir_of, is_init_dir
from gcd.model.reading import Present, value_of
from gcd.model.records import Records, grouped
from gcd.model.shelf import is_spelled, lower_links, shelved_dirs, shelved_links

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcd.model.inventory import Inventory


class Links(Records):
    def __init__(self, inventory: Inventory) -> None:
        super().__init__(inventory)
        self.dirs = shelved_dirs(inventory.layer_dirs)
        self.farm = shelved_links(inventory.link_farm.symlinks)

    @cached_property
    def claimants(self) -> Mapping[LinkId, tuple[LayerDirId, ...]]:
        """By link id, the dirs whose ``link`` file says it."""
        said = [(row[0], dir_id) for dir_id, row in self.dirs.rows.items()]
        return grouped([*said, *self._said_by_odd_dirs()])

    def _said_by_odd_dirs(self) -> Iterator[tuple[LinkId, LayerDirId]]:
        return ((d.link.value, d.id) for d in self.dirs.odd.values() if isinstance(d.link, Present))

    @cached_property
    def claimant_of(self) -> Mapping[LinkId, LayerDirId]:
        """By link id, the dir whose ``link`` file says it; any of them where several do (`shared_links`)."""
        found = {row[0]: dir_id for dir_id, row in self.dirs.rows.items()}
        found.update(self._said_by_odd_dirs())
        return found

    @cached_property
    def shared_links(self) -> frozenset[LinkId]:
        """The link ids that several ``link`` files say."""
        if len(self.claimant_of) == len(self.dirs.rows) + sum(1 for _ in self._said_by_odd_dirs()):
            return frozenset()
        return frozenset(link for link, dirs in self.claimants.items() if len(dirs) > 1)

    @cached_property
    def symlinks_to(self) -> Mapping[LayerDirId, tuple[LinkId, ...]]:
        """By dir id (existing or not), the link symlinks that point to it."""
        return grouped([(target, link) for link, target in self.link_targets.items()])

    @cached_property
    def link_targets(self) -> Mapping[LinkId, LayerDirId]:
        """By link id, the dir id that its symlink points to; those whose target is none are not in it."""
        found = {link: row[0] for link, row in self.farm.rows.items()}
        odd = self.farm.odd.values()
        found.update((s.id, s.target.value) for s in odd if isinstance(s.target, Present))
        return found

    def target_of(self, link: LinkId) -> LayerDirId | None:
        """What the symlink `link` points to, read from its record."""
        row = self.farm.rows.get(link)
        if row is not None:
            return row[0]
        odd = self.farm.odd.get(link)
        return value_of(odd.target) if odd is not None else None

    def dirs_of_link(self, link: LinkId) -> tuple[LayerDirId, ...]:
        """The existing dirs that `link` can mean: by ``link`` files and by the link farm; usually one."""
        claimants = self.claimants.get(link, ())
        target = self.link_targets.get(link)
        if target is not None and target not in claimants and target in self.dirs:
            return (*claimants, target)
        return claimants

    def links_of(self, layer_dir: LayerDirId) -> tuple[LinkId, ...]:
        """The link ids that mean `layer_dir`, existing or not: by its ``link`` file, then by the link farm."""
        own = self.own_link(layer_dir)
        return tuple(dict.fromkeys((*((own,) if own else ()), *self.symlinks_to.get(layer_dir, ()))))

    def own_link(self, layer_dir: LayerDirId) -> LinkId | None:
        """What the ``link`` file of `layer_dir` says; None where it says nothing, or there is none."""
        row = self.dirs.rows.get(layer_dir)
        if row is not None:
            return row[0]
        odd = self.dirs.odd.get(layer_dir)
        return value_of(odd.link) if odd is not None else None

    # --- lower files --------------------------------------------------------------------------------------------------

    def lower_links(self, dir_id: LayerDirId) -> tuple[LinkId, ...]:
        """The links that the ``lower`` of an existing dir names."""
        if dir_id in self.dirs.rows:
            return lower_links(self.dirs.rows, dir_id)
        return lower_of(self.dirs.odd[dir_id]).links

    def named_directly(self, dir_id: LayerDirId) -> tuple[LinkId, ...]:
        """The links that the ``lower`` of an existing dir names by itself: one, if the rest is that of another dir."""
        row = self.dirs.rows.get(dir_id)
        if row is not None and row[1] and not is_spelled(row[1]):
            return (self.dirs.rows[LayerDirId(row[1])][0],)
        return self.lower_links(dir_id)

    @cached_property
    def direct_citers(self) -> Mapping[LinkId, tuple[LayerDirId, ...]]:
        """By link id, the dirs whose ``lower`` names it by itself; every cited link is in it."""
        rows = self.dirs.rows  # `is_spelled` is written out
        said = [(rows[LayerDirId(row[1])][0], d) for d, row in rows.items() if row[1] and row[1][1] != "/"]
        return grouped([*said, *((link, d) for d in self._spelling_dirs() for link in self.lower_links(d))])

    def _spelling_dirs(self) -> Iterator[LayerDirId]:
        """All dirs but those whose ``lower`` is the link of another dir with a row and the ``lower`` of that."""
        yield from (dir_id for dir_id, row in self.dirs.rows.items() if row[1][1:2] == "/")
        yield from self.dirs.odd

    @cached_property
    def spelled_links(self) -> frozenset[LinkId]:
        """The link ids that the ``lower`` of such a dir names; all others that are cited are links of existing dirs."""
        return frozenset(itertools.chain.from_iterable(map(self.lower_links, self._spelling_dirs())))

    def citers_of_link(self, link: LinkId) -> Iterator[LayerDirId]:
        """The dirs whose ``lower`` names `link`, each once."""
        seen: set[LayerDirId] = set()
        pending = list(self.direct_citers.get(link, ()))
        rows = self.dirs.rows
        while pending:
            citer = pending.pop()
            if citer in seen:
                continue
            seen.add(citer)
            yield citer
            if (row := rows.get(citer)) is not None:
                above = self.direct_citers.get(row[0], ())
                pending.extend(d for d in above if d in rows and rows[d][1] == citer)

    def citers_of(self, layer_dir: LayerDirId) -> tuple[LayerDirId, ...]:
        """The dirs whose ``lower`` means `layer_dir`."""
        return tuple(dict.fromkeys(citer for link in self.links_of(layer_dir) for citer in self.citers_of_link(link)))

    @cached_property
    def cited_links(self) -> frozenset[LinkId]:
        """The link ids that some ``lower`` names."""
        return frozenset(self.direct_citers)

    @cached_property
    def unresolved_links(self) -> frozenset[LinkId]:
        """The cited link ids that no existing dir can be meant by."""
        return frozenset(link for link in self.spelled_links if not self.dirs_of_link(link))

    def is_unresolved(self, link: LinkId) -> bool:
        return link in self.direct_citers and not self.dirs_of_link(link)

    # --- what does not agree ------------------------------------------------------------------------------------------

    @cached_property
    def claimed_only(self) -> frozenset[LinkId]:
        """The link ids that a ``link`` file says and the link farm does not have."""
        return frozenset(link for link in self.claimant_of if link not in self.farm.rows) - self.farm.odd.keys()

    def is_claimed_only(self, link: LinkId) -> bool:
        return link in self.claimants and link not in self.farm

    @cached_property
    def unnamed_symlinks(self) -> frozenset[LinkId]:
        """The symlinks whose name no ``link`` file and no ``lower`` says."""
        return self.unmatched_symlinks.difference(self.claimant_of, self.spelled_links)

    def is_unnamed_symlink(self, link: LinkId) -> bool:
        return link in self.farm and link not in self.direct_citers and link not in self.claimants

    @cached_property
    def unmatched_symlinks(self) -> frozenset[LinkId]:
        """All symlinks but those that point to the dir of `claimant_of`."""
        claimant_of = self.claimant_of
        rows = {link for link, row in self.farm.rows.items() if claimant_of.get(link) != row[0]}
        return frozenset(rows.union(self.farm.odd))

    @cached_property
    def astray_symlinks(self) -> frozenset[LinkId]:
        """The symlinks that do not point to the one dir whose ``link`` has their name."""
        return frozenset(filter(self.is_astray, self.unmatched_symlinks | self.shared_links))

    def is_astray(self, link: LinkId) -> bool:
        claimed = self.claimants.get(link)
        return link in self.farm and claimed is not None and claimed != (self.link_targets.get(link),)

    @cached_property
    def missing_dirs(self) -> frozenset[LayerDirId]:
        """The dirs that layer records name and that do not exist."""
        rows = self.dirs.rows
        return frozenset(dir_id for dir_id in self.chain_of_dir if dir_id not in rows) - self.dirs.odd.keys()

    def is_missing(self, dir_id: LayerDirId) -> bool:
        return dir_id in self.chain_of_dir and dir_id not in self.dirs

    @cached_property
    def perhaps_without_lower(self) -> frozenset[LayerDirId]:
        """The dirs without any oddity and without ``lower`` but those of base layers."""
        return frozenset(filter(self.is_perhaps_without_lower, self._perhaps_unlike_parent))

    def is_perhaps_without_lower(self, dir_id: LayerDirId) -> bool:
        row = self.dirs.rows.get(dir_id)
        if row is None or row[1]:
            return False
        chain = self.chain_of_dir.get(dir_id)
        if chain is None or chain not in self.layers.rows or dir_id in self.sharers or dir_id in self.rw_layers_by_dir:
            return True
        return self.computed_parents.get(chain, self.parents.get(chain)) is not None

    @cached_property
    def unlike_parent(self) -> frozenset[LayerDirId]:
        """
        The dirs without any oddity whose ``lower`` is not the link of the dir that records put below them, followed by
        the ``lower`` of that.
        """
        return frozenset(filter(self.is_unlike_parent, self._perhaps_unlike_parent))

    @cached_property
    def _perhaps_unlike_parent(self) -> frozenset[LayerDirId]:
        """The dirs without any oddity but those that stand on just the dir that a proven record puts below them."""
        dirs, cache_ids, unproven = self.dirs.rows, self.cache_ids, self.unproven_names
        alike = {
            layer[2]
            for chain, layer in self.layers.rows.items()
            if chain not in unproven
            and (row := dirs.get(layer[2])) is not None
            and row[1] == ("" if layer[3] is None else cache_ids[layer[3]])
        }
        return frozenset(dirs.keys() - alike.difference(self.sharers, self.rw_layers_by_dir))

    def is_unlike_parent(self, dir_id: LayerDirId) -> bool:
        row = self.dirs.rows.get(dir_id)
        return row is not None and bool(row[1]) and row[1] != self._dir_below(dir_id)

    def _dir_below(self, dir_id: LayerDirId) -> LayerDirId | None:
        """The dir that records put below `dir_id`, existing or not, where they tell it and with one voice."""
        parent: str | None
        if (rw_layer := self.rw_layers_by_dir.get(dir_id)) is not None:
            init = init_dir_of(dir_id)
            if init in self.dirs and not is_init_dir(dir_id):
                return init
            parent = value_of(rw_layer.parent)
        else:
            chain = self.chain_of_dir.get(dir_id) if dir_id not in self.sharers else None
            if chain is None:
                return None
            parent = self.computed_parents[chain] if chain in self.computed_parents else self.parents.get(chain)
        return self.cache_ids.get(parent) if parent is not None else None


def lower_of(layer_dir: LayerDir) -> Lower:
    """The readable part of a ``lower`` file; no links where there is none or it cannot be read."""
    return layer_dir.lower.value if isinstance(layer_dir.lower, Present) else _NO_LOWER


_NO_LOWER = Lower(())
