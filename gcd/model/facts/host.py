"""What is around the store: the engine, kernel mounts, other stores, plugins, volumes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

if TYPE_CHECKING:
    from gcd.model.ids import ContainerId, ImageId, LayerDirId, LinkId
    from gcd.model.reading import Reading


class EngineState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


SETTLED_NS = 3_600_000_000_000
"""One hour: with the engine stopped, what changed later than that may be part of a copy still under way (S7)."""


class Engine(Struct, frozen=True):
    """
    The engine on this root.

    `epoch_ns` is the time before which nothing can belong to an operation of the running engine (S5); None where it is
    not known. `doubts` are sentences that say why nothing is `proven` in this run; empty on a sound host. `others` are
    the pids of further engines that hold files of this root.
    """

    state: EngineState
    pid: int | None = None
    epoch_ns: int | None = None
    doubts: tuple[str, ...] = ()
    others: tuple[int, ...] = ()

    def proof_bound(self, now_ns: int) -> int | None:
        """
        The ctime below which an unreferenced thing is `proven` to be nobody's, or None when nothing is.

        Running: the epoch. Stopped: one hour before `now_ns`. See S4 to S7.
        """
        if self.doubts:
            return None
        match self.state:
            case EngineState.RUNNING:
                return self.epoch_ns
            case EngineState.STOPPED:
                return now_ns - SETTLED_NS
            case EngineState.UNKNOWN:
                return None
            case _:
                assert_never(self.state)


class Listed(Struct, frozen=True):
    """
    What the API of the running engine lists: all its images and containers, and the layer dirs that they say they use
    (``GraphDriver.Data``). `silent` are those of which it cannot say that: a link or a ``lower`` of theirs is damaged.
    """

    images: frozenset[ImageId] = frozenset()
    containers: frozenset[ContainerId] = frozenset()
    dirs: frozenset[LayerDirId] = frozenset()
    silent: frozenset[str] = frozenset()


class KernelMount(Struct, frozen=True):
    """
    A line of some process' ``mountinfo`` that concerns this root, once for each mount namespace.

    `dirs` are the layer dirs it uses as upper, work or lower, or has its mountpoint or bind source in; `merged_of` is
    the dir whose ``merged`` is the mountpoint. `pids` are some of the processes in that namespace (at least one), for
    naming the holder.
    """

    mount_point: str
    fstype: str
    namespace: str
    pids: tuple[int, ...]
    holder: str
    dirs: frozenset[LayerDirId]
    links: frozenset[LinkId]
    merged_of: LayerDirId | None


class DormantStore(Struct, frozen=True):
    """Another store's tree in the same root (another driver, the containerd store, another user namespace's root)."""

    path: str
    driver: str


class Plugin(Struct, frozen=True):
    id: str
    config: Reading[None]
    ctime_ns: int


class Volume(Struct, frozen=True):
    name: str
    options: Reading[None]
