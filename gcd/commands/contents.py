"""What scrubs found of the layers of a root, as the metrics of a single check tell it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from gcd.model.errors import CannotCheck
from gcd.planning import identity_of
from gcd.root.discover import detect_store
from gcd.root.layerdb import read_layerdb
from gcd.root.tree import open_root
from gcd.scrubs import Known, extents, known_of, scrubbing_of
from gcd.state import read_state

if TYPE_CHECKING:
    from pathlib import Path

    from gcd.model.plan import Identity
    from gcd.model.published import Scrubbing
    from gcd.settings import Settings


def known_in(directory: Path, identity: Identity, before: Known | None = None) -> Known | None:
    """
    What scrubs kept of a root in the state in `directory`, nothing where there is no state; None: unreadable. It is
    `before` itself where nothing came since that was read.
    """
    try:
        with read_state(directory) as state:
            return Known() if state is None else known_of(state, identity, before)
    except CannotCheck:
        return None


def known_contents(settings: Settings, path: str) -> Scrubbing:
    """
    Of the layers that the root at `path` has now. Nobody says whether a timer scrubs here: it is taken for wanted
    within ``scrub.every`` once a scrub was begun.
    """
    store = detect_store(path)
    with open_root(store.path) as root:
        layers = extents(read_layerdb(root, store.driver).layers)
    known = known_in(settings.state_dir, identity_of(store.path))
    is_wanted = known is not None and known.sweep is not None
    period = settings.scrub.every.total_seconds() if is_wanted else 0.0
    found = scrubbing_of(known or Known(), layers, time.time_ns(), period)
    return replace(found, is_readable=known is not None)
