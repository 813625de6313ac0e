"""
Quarantine: a unit leaves its place whole, by one rename an item, and can be put back exactly.

Refused, with nothing changed: what is not there as the plan says; what lies on another device or mount, or is one, or
has one below it; what has a quota project (the rename may be EXDEV, and the project be given to a new container, S19);
the directories that a store stands on, whatever a finding says; volumes; the last layer dir when nothing else would be
left in the driver's home (an empty one makes Docker 29 switch stores).

Moving frees nothing: the bytes are the root's until the entry is purged.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from gcd.actions.ground import ground_of
from gcd.actions.items import parent_of, taken_of
from gcd.actions.manifest import new_manifest
from gcd.actions.mountguard import mounted_below
from gcd.actions.refusal import Refused, of_error, refuse
from gcd.actions.taking import begun, carried_out
from gcd.formats.manifest import MOST_ITEMS, is_item_path
from gcd.model import layout
from gcd.model.entry import Item, Operation
from gcd.model.facts import FileType
from gcd.model.plan import Deed, Outcome, Reason
from gcd.model.reading import Present
from gcd.root.boundaries import project_of

if TYPE_CHECKING:
    from gcd.actions.place import Place
    from gcd.model.entry import RunId
    from gcd.model.plan import Move
    from gcd.root.tree import Directory


def move(place: Place, step: Move, *, run_id: RunId, now_ns: int) -> Deed:
    """
    Carry out `step`: all its paths into one new entry, or none. Never raises for what the root or the disk does.

    The caller has looked at the step right before (`gcd.actions.closelook`), in every mount namespace.
    """
    finding = step.finding
    try:
        _demand_movable(place, step.paths)
        items = tuple(_described(place, path) for path in step.paths)
        manifest = new_manifest(
            place,
            Operation.QUARANTINE,
            finding,
            items,
            run_id=run_id,
            now_ns=now_ns,
            ground=ground_of(place, step.paths),
        )
        entry = begun(place, manifest)
    except Refused as refused:
        return Deed(step, Outcome.REFUSED, refused.reason, refused.why)
    return carried_out(step, entry, disk_bytes=finding.disk_bytes or 0)


def is_structure(path: str, driver: str) -> bool:
    """Whether a store stands on `path`, so that it never moves, whatever a finding says; volumes are their users'."""
    standing = {
        layout.link_farm(driver),
        layout.image_tree(driver),
        layout.layerdb(driver),
        layout.layer_records(driver),
        layout.rw_layer_records(driver),
        layout.write_sets(driver),
        layout.imagedb(driver),
        layout.image_configs(driver),
        layout.image_metadata_records(driver),
        layout.distribution(driver),
        *map(layout.build_database, (layout.BUILD_SNAPSHOTS, layout.BUILD_RECORDS, layout.BUILD_LEASES)),
    }
    above = {place.rpartition("/")[0] for place in standing}
    top = path.partition("/")[0]
    is_top = "/" not in path and path != layout.OLD_TMP
    return is_top or top == layout.VOLUMES or path in standing or path in above


def _demand_movable(place: Place, paths: tuple[str, ...]) -> None:
    driver = place.driver
    if not paths:
        refuse(Reason.NO_REMEDY, "the finding names nothing that could be moved")
    if len(paths) > MOST_ITEMS:
        refuse(Reason.PLACE, f"{len(paths)} things would have to be moved, and an entry holds {MOST_ITEMS}")
    for path in paths:
        if not is_item_path(path) or is_structure(path, driver):
            refuse(Reason.PLACE, f"{path} is never moved")
    parts = sorted(path.split("/") for path in paths)
    if any(below[: len(above)] == above for above, below in pairwise(parts)):
        refuse(Reason.PLACE, "its paths lie within one another")
    leaving = {name for folder, _, name in (path.rpartition("/") for path in paths) if folder == driver}
    if leaving:
        home = place.root.open(driver)
        if isinstance(home, Present):
            with home.value as directory:
                if not directory.list().entries.keys() - leaving:
                    refuse(
                        Reason.PLACE,
                        f"{driver} would be left empty, and the engine would take another store for its own",
                    )
    point = mounted_below(place.root, paths)
    if point:
        refuse(Reason.IN_USE, f"something is mounted at {point}")


def _described(place: Place, path: str) -> Item:
    try:
        with parent_of(place.root, path) as (parent, name):
            taken = taken_of(parent, name)
            if taken.device != place.root.stat().st_dev:
                refuse(Reason.PLACE, f"{path} lies on another device than the root")
            if taken.type is FileType.DIRECTORY:
                _demand_no_project(parent, name, path)
    except OSError as error:
        raise of_error(error, path) from None
    return Item(path, taken)


def _demand_no_project(parent: Directory, name: str, path: str) -> None:
    opened = parent.open(name)
    if isinstance(opened, Present):
        with opened.value as directory:
            project = project_of(directory.fd)
        if project:
            refuse(Reason.PLACE, f"{path} has the quota project {project}")
    else:
        refuse(Reason.PLACE, f"{path} cannot be opened to see whether it has a quota project")
