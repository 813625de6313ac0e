"""What `gcd df` finds, without the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.diskusage import disk_usage
from gcd.root.discover import detect_store
from gcd.root.tree import open_root
from gcd.root.walk import begin_walk

if TYPE_CHECKING:
    from gcd.diskusage import Progress
    from gcd.model.space import DiskUsage


def usage_of(path: str, *, now_ns: int, progress: Progress | None = None) -> DiskUsage:
    """Forks, so the process must have one thread."""
    store = detect_store(path)
    with open_root(store.path) as root, begin_walk(root.fd, store.driver) as walk:
        return disk_usage(store, walk, now_ns=now_ns, progress=progress)
