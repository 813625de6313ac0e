"""
Plans: what would be done about findings, as data.

A `Plan` is made of findings by the policy, printed, saved, and carried out at most once. Nothing in it does anything:
``gcd check --dry-run`` shows one that nobody applies. It says of every finding what happens to it: a `Step`, or why it
is `LeftAlone`. The last look before any write is a plan made anew: a step is carried out only if that one holds it too.

Paths are relative to the root.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from gcd.model.content import Worn
    from gcd.model.facts import Engine
    from gcd.model.finding import Finding, NotChecked
    from gcd.model.ids import ChainId, ImageId


class WriteFile(Struct, frozen=True):
    """
    The regular file `path` shall hold `content` and nothing else.

    Its mode is the one that engines give to a file of its kind. Owner and label are those of the file that it replaces;
    where there is none, those of the file or directory `like`.
    """

    path: str
    content: bytes
    like: str


class CopyFile(Struct, frozen=True):
    """
    The regular file `path` shall hold what the file `source` does: `size` bytes, whose SHA-256 is `sha256` (64 hex
    digits); else nothing is done. It is last modified at `modified_ns` of the wall clock.

    Mode, owner, label and all other extended attributes are those of the file that it replaces. Where `worn` says them
    nothing must stand there, and the label is that of the directory. The content is in no plan, nor ever in memory as a
    whole: it may be of any size.
    """

    path: str
    source: str
    size: int
    sha256: str
    modified_ns: int
    worn: Worn | None = None


class LinkFile(Struct, frozen=True):
    """`path`, another name of the file `to`, shall be that again when `to` is copied by the same repair."""

    path: str
    to: str


class MakeSymlink(Struct, frozen=True):
    """The symlink `path` shall have the text `target`; what stands in its place is kept in the entry."""

    path: str
    target: str


class MakeDirectory(Struct, frozen=True):
    """
    `path` shall be a directory. One that is there stays as it is; a new one, empty, has `mode` and the owner and label
    of `like`, and what stood in its place is kept in the entry.
    """

    path: str
    mode: int
    like: str


class DropReference(Struct, frozen=True):
    """
    The references to images in the file `path` shall be as they are, but without `reference`, which names `image`.

    Unlike the content of a whole file it holds whatever else was dropped before it.
    """

    path: str
    reference: str
    image: ImageId


class SetAside(Struct, frozen=True):
    """`path` shall be gone from its place and kept in the entry."""

    path: str


Change = WriteFile | CopyFile | LinkFile | MakeSymlink | MakeDirectory | DropReference | SetAside
"""One thing that a repair does. What was in its place before is kept in the entry, so that it can be undone."""


class Move(Struct, frozen=True):
    """Quarantine of `paths`, which move as one unit, in this order."""

    finding: Finding
    paths: tuple[str, ...]


class Mend(Struct, frozen=True):
    """A repair: all of `changes`, in this order, or none. `foretold` says what the engine will do at its next start."""

    finding: Finding
    changes: tuple[Change, ...]
    foretold: str = ""


class Release(Struct, frozen=True):
    """The running engine is made to delete the layer `chain`, and with it none that this plan does not release too."""

    finding: Finding
    chain: ChainId


Step = Move | Mend | Release


class Reason(StrEnum):
    """Why a finding is left alone, or a step refused; a closed set, since metrics count by it."""

    NO_REMEDY = "no-remedy"
    ACCEPTED = "accepted"
    POLICY = "policy"
    """The policy says to report it, or leaves what is `opt-in` or `manual` to be named."""
    IGNORED = "ignored"
    """The policy says to ignore it."""
    PROTECTED = "protected"
    SUSPECTED = "suspected"
    BLOCKED = "blocked"
    IN_GRACE = "in-grace"
    TOO_SMALL = "too-small"
    OUTSIDE_WINDOW = "outside-window"
    OVER_LIMIT = "over-limit"
    OFFLINE_NODE = "offline-node"
    """What could come back only by a pull, on a host that cannot pull."""
    ENGINE_RUNS = "engine-runs"
    ENGINE_STOPPED = "engine-stopped"
    ENGINE_UNKNOWN = "engine-unknown"
    UNPROVEN = "unproven"
    """A repair whose value cannot be proven."""
    IN_USE = "in-use"
    """A kernel mount, or a process with an open file."""
    CHANGED = "changed"
    """What is on disk is not what the plan was made of."""
    NOT_CHECKED = "not-checked"
    RUN_REFUSED = "run-refused"
    """The whole run is refused: the plan's `refusal` says why."""
    PLACE = "place"
    """The quarantine cannot take it: another device, a project id, a nested mount, a full disk."""
    ENGINE_REFUSED = "engine-refused"
    """The engine's API said no, or did something else than was predicted."""


class LeftAlone(Struct, frozen=True):
    """`why` is one clause for people that says what would have to change."""

    finding: Finding
    reason: Reason
    why: str


class Identity(Struct, frozen=True):
    """What makes a root the same root: its directory, and the engine that wrote it (`engine_id` "" where unknown)."""

    device: int
    inode: int
    engine_id: str


class Plan(Struct, frozen=True):
    """
    What is to be done with the root `root`, in the order of `steps`: repairs first, then what moves, dependents before
    what they depend on.

    `refusal` is a sentence that says why nothing at all may be done; then `steps` is empty. `read_ns` is the wall clock
    time at which the reading began that it was made of. Of the rules in `not_checked` nothing was found, and so nothing
    is said.
    """

    root: str
    identity: Identity
    engine: Engine
    read_ns: int
    steps: tuple[Step, ...]
    left_alone: tuple[LeftAlone, ...]
    refusal: str = ""
    not_checked: tuple[NotChecked, ...] = ()


VALID_NS = 3_600_000_000_000
"""How long after its reading a saved plan may be applied."""


def why_stale(plan: Plan, now_ns: int) -> str:
    """Why `plan` may not be applied any more at the wall clock time `now_ns`, as one clause; "" if it may."""
    age_ns = now_ns - plan.read_ns
    if age_ns < 0:
        return "it was made in the future: the clock was set back"
    if age_ns >= VALID_NS:
        return (
            f"it was made {age_ns // 60_000_000_000} minutes ago, and a plan is good for {VALID_NS // 60_000_000_000}"
        )
    return ""


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    """Nothing of the step was begun."""
    FAILED = "failed"
    """It was begun and rolled back, or what it left open will be at the next start."""


class Deed(Struct, frozen=True):
    """What became of one step: `entry` names the quarantine's entry where there is one."""

    step: Step
    outcome: Outcome
    reason: Reason | None = None
    why: str = ""
    entry: str = ""
    disk_bytes: int = 0
