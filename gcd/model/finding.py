"""
Findings: what is wrong, as data.

A rule yields a `Fault`: what it saw at one node. The run makes a `Finding` of it, adding what no single rule can know:
how sure it is (`confidence`), what could own it after all (`blocked_by`), which fault explains it (`cause`), which
images and containers it costs (`impact`) and its bytes. Codes, kinds and severities are those of docs/codes.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType

from msgspec import Struct

if TYPE_CHECKING:
    from gcd.model.inventory import Source

Code = NewType("Code", str)
"""``GCD`` and three digits."""

FindingId = NewType("FindingId", str)
"""``<code>:<kind of node>:<the node's own id>``; the same in reports, logs, commands and history."""


class NodeKind(StrEnum):
    """The kinds of things that findings are about and that the graph connects."""

    IMAGE = "image"
    REFERENCE = "reference"
    REPOSITORIES = "repositories"
    IMAGE_METADATA = "image-metadata"
    DISTRIBUTION_RECORD = "distribution-record"
    CONTAINER = "container"
    LAYER = "layer"
    REMOVING_LAYER = "removing-layer"
    WRITE_SET = "write-set"
    RW_LAYER = "rw-layer"
    LAYER_DIR = "layer-dir"
    LINK = "link"
    LINK_FARM = "link-farm"
    BUILD_SNAPSHOT = "build-snapshot"
    BUILD_LEASE = "build-lease"
    DATABASE = "database"
    TEMPORARY_FILE = "temporary-file"
    PLUGIN = "plugin"
    VOLUME = "volume"
    ENTRY = "entry"
    MOUNT = "mount"
    SOURCE = "source"
    STORE = "store"
    ENGINE = "engine"


class Node(NamedTuple):
    """A thing that the graph connects; a tuple because graphs hash millions of them."""

    kind: NodeKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


class Kind(StrEnum):
    ORPHAN = "orphan"
    """Exists, and nothing reachable refers to it."""
    DANGLING = "dangling"
    """A reference whose target is missing."""
    DAMAGED = "damaged"
    """Unreadable, malformed or contradictory."""
    LEFTOVER = "leftover"
    """Remains of interrupted work."""
    HAZARD = "hazard"
    """Nobody's fault yet."""


class Severity(StrEnum):
    """By measured effect on a real engine; `rank` orders them."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    """The engine will not start."""

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


class Confidence(StrEnum):
    PROVEN = "proven"
    SUSPECTED = "suspected"
    """It changed so recently, or the engine's state is so unclear, that it may belong to work under way."""


class RemedyKind(StrEnum):
    REPAIR = "repair"
    QUARANTINE = "quarantine"
    RELEASE = "release"


class Applicability(StrEnum):
    """How sure a remedy is."""

    AUTO = "auto"
    OPT_IN = "opt-in"
    MANUAL = "manual"


class Moment(StrEnum):
    """When a remedy may be done."""

    ONLINE = "online"
    STOPPED = "stopped"


class Remedy(Struct, frozen=True):
    kind: RemedyKind
    moment: Moment
    applicability: Applicability
    action: str = ""
    """
    One imperative sentence for people, such as ``recreate l/ABC -> ../def/diff``; empty where the rule's text says all.
    """


class Evidence(Struct, frozen=True):
    """One thing that was read: where (a path relative to the root, or a source), what was expected, what was found."""

    where: str
    expected: str
    found: str


class Impact(Struct, frozen=True):
    """What a finding costs: image references (or ids of untagged images) and container names, sorted."""

    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()


class Fault(Struct, frozen=True):
    """
    What one rule saw at one node.

    `since_ns` is the newest ctime of the subject when its age matters (it could belong to work in progress), else None;
    `is_held` says that some process has the subject open, so that no age proves anything.
    `paths` are relative to the root: what would be freed or moved, the trees that `bytes` of the finding measure.
    `causes` are nodes whose own fault would explain this one, the likeliest first. `severity` and `remedies` replace
    those of the rule where this case differs, and `impact` what the graph says of the subject.
    """

    subject: Node
    summary: str
    evidence: tuple[Evidence, ...]
    since_ns: int | None = None
    is_held: bool = False
    paths: tuple[str, ...] = ()
    causes: tuple[Node, ...] = ()
    severity: Severity | None = None
    remedies: tuple[Remedy, ...] | None = None
    impact: Impact | None = None


class Acceptance(Struct, frozen=True):
    """
    The owner's word that findings whose id fits the glob `pattern` are known: why, and until when (exclusive; None: for
    ever).
    """

    pattern: str
    reason: str
    until_ns: int | None = None


class Finding(Struct, frozen=True):
    """
    `since_ns` and `is_held` are those of the fault. `disk_bytes` and `inodes` are None
    until measured, and where nothing would be freed.
    """

    code: Code
    name: str
    kind: Kind
    severity: Severity
    confidence: Confidence
    subject: Node
    summary: str
    evidence: tuple[Evidence, ...]
    paths: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    related: tuple[Node, ...] = ()
    """The same thing under its other names: a layer's dir and the layers of a dir, the dirs of an rw layer."""
    impact: Impact = Impact()
    blocked_by: tuple[FindingId, ...] = ()
    cause: FindingId | None = None
    since_ns: int | None = None
    is_held: bool = False
    disk_bytes: int | None = None
    inodes: int | None = None
    accepted: Acceptance | None = None

    @property
    def id(self) -> FindingId:
        return finding_id(self.code, self.subject)


class NotChecked(Struct, frozen=True):
    """A rule that did not run, because `source` was not read completely: no finding of it means nothing."""

    code: Code
    name: str
    source: Source
    why: str


def finding_id(code: Code, subject: Node) -> FindingId:
    return FindingId(f"{code}:{subject}")
