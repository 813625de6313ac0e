"""What keeps a directory alive, in one line for each directory; names from the root are escaped."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, assert_never

from gcd.inspect.view import Kept
from gcd.model.finding import Confidence, Kind, Node, NodeKind
from gcd.model.ids import LayerDirId, init_dir_of
from gcd.model.storegraph import BUILD_WORDS
from gcd.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gcd.inspect.view import View, Why
    from gcd.model.finding import Finding

_ARROW = " → "

_WORDS = {
    NodeKind.REFERENCE: "tag",
    NodeKind.RW_LAYER: "rw layer record",
    NodeKind.MOUNT: "kernel mount",
    NodeKind.BUILD_SNAPSHOT: "build snapshot",
    NodeKind.BUILD_LEASE: "build lease",
    NodeKind.REMOVING_LAYER: "record being removed",
    NodeKind.WRITE_SET: "write set",
    NodeKind.ENTRY: "quarantine entry",
}


def why_text(view: View) -> str:
    """A line for each directory of the subject."""
    if not view.why:
        return f"{printable(str(view.asked.node))} has no directory: nothing to keep\n"
    return "".join(f"overlay2/{printable(why.directory)}: {way(why, view)}\n" for why in view.why)


def way(why: Why, view: View) -> str:
    """``tag web:1 → image … → layer … → overlay2/…``, or why there is none; `why` is one of `view`."""
    names: dict[str, str] = {container.id: container.name for container in view.containers if container.name}
    first = "".join(_step(node, names) for node in why.path[:1])
    path = first + "".join(f"{_joint(above, below)}{_step(below, names)}" for above, below in pairwise(why.path))
    about = [finding for finding in view.findings if finding.id in why.findings]
    match why.kept:
        case Kept.TAG | Kept.CONTAINER | Kept.BUILD | Kept.MOUNT:
            note = ""
        case Kept.IMAGE:
            note = " (no tag: the engine keeps it until it is removed or pruned)"
        case Kept.MENTION:
            note = " (a word in BuildKit's databases)"
        case Kept.RECORD:
            note = f" (a record that nothing names{_codes(about)})"
        case Kept.YOUNG if len(why.path) == 1:
            path = "nothing known"
            note = f", but it may belong to work under way{_codes(about)}"
        case Kept.YOUNG:
            note = f" (that may belong to work under way{_codes(about)})"
        case Kept.NOTHING:
            note = f"{_orphan(about)}{_unread(view.incomplete)}"
        case Kept.MISSING:
            note = f" (there is no such directory{_codes(about)})"
        case _:
            assert_never(why.kept)
    return f"{path or 'nothing'}{note}"


def _step(node: Node, names: Mapping[str, str]) -> str:
    if node == BUILD_WORDS:
        return "buildkit/"
    if node.kind is NodeKind.LAYER_DIR:
        return f"overlay2/{printable(node.id)}"
    if node.kind is NodeKind.CONTAINER and node.id in names:
        return f"container {printable(names[node.id])} ({printable(node.id)})"
    return f"{_WORDS.get(node.kind, node.kind)} {printable(node.id)}"


def _joint(above: Node, below: Node) -> str:
    if above.kind is not NodeKind.LAYER_DIR or below.kind is not NodeKind.LAYER_DIR:
        return _ARROW
    return " → its pair → " if above.id == init_dir_of(LayerDirId(below.id)) else " → by its lower → "


def _codes(about: Sequence[Finding]) -> str:
    return f": {', '.join(f'{finding.code} {finding.name}' for finding in about)}" if about else ""


def _orphan(about: Sequence[Finding]) -> str:
    for finding in about:
        if finding.kind is Kind.ORPHAN:
            blocked = f", but it may belong to {', '.join(map(printable, finding.blocked_by))}"
            sure = "suspected" if finding.confidence is Confidence.SUSPECTED else "proven"
            return f": {finding.code} {finding.name}, {sure}{blocked if finding.blocked_by else ''}"
    return _codes(about)


def _unread(incomplete: Collection[str]) -> str:
    return f"; but {', '.join(incomplete)} could not be read completely, so this proves nothing" if incomplete else ""
