"""
What to type for a finding: this version of gcd changes nothing, so a remedy is a command for a shell, or a sentence.

Commands are bash, relative to the root. What a remedy would put into quarantine goes to `ASIDE` there: a rename in one
filesystem, which can be undone, to a place that the engine never looks into. A name that a shell could misread is
quoted; one that a terminal cannot show gets no command at all.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from gcd.model.finding import RemedyKind
from gcd.report.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gcd.model.finding import Finding, Remedy

ASIDE = "aside"

_FIRST = {
    "GCD116": "look into overlay2/{id}/diff, which may be the only copy of somebody's files; save what matters",
    "GCD304": "look into the diff of its rw dir, which may be the only copy of somebody's files; save what matters",
    "GCD309": "docker rm -f {id}; only if that fails go on",
    "GCD604": "start the engine, which removes it; only if it does not go on",
    "GCD605": "look into its propagated-mount, which may hold the plugin's data",
}
"""What comes before the remedy itself, by code."""

_THEN = {
    "GCD202": "then docker pull what it costs",
    "GCD401": "then start the engine and docker pull the image again",
}

_NAMED_BY_ID = re.compile(r"([a-z0-9/]+/)([0-9a-f]{64})(-init)?")


def before(finding: Finding) -> str:
    """What is to be done before any remedy of this finding; empty where there is nothing."""
    return _FIRST.get(finding.code, "").format(id=finding.subject.id)


def in_words(finding: Finding, remedy: Remedy) -> str:
    """The command or sentence for one remedy of a finding; empty where only the rule's text says what to do."""
    if remedy.action:
        return remedy.action
    if remedy.kind is not RemedyKind.QUARANTINE or not finding.paths:
        return ""
    if any(printable(path) != path for path in finding.paths):
        return ""
    move = f"mv -t {ASIDE} {' '.join(_words(finding.paths))}"
    return "; ".join(filter(None, (move, _THEN.get(finding.code))))


def _words(paths: Sequence[str]) -> Iterator[str]:
    """`paths` as bash takes them; an id that several have is written once, in braces, where that gives just these."""
    by_id: dict[str, list[str]] = {}
    for path in paths:
        match = _NAMED_BY_ID.fullmatch(path)
        by_id.setdefault(match[2] if match else path, []).append(path)
    for name, alike in by_id.items():
        parts = [path.partition(name) for path in alike]
        begins, ends = (tuple(dict.fromkeys(part[i] for part in parts)) for i in (0, 2))
        if len(alike) > 1 and len(begins) * len(ends) == len(alike):
            yield f"{_braced(begins)}{name}{_braced(ends)}"
        else:
            yield from map(shlex.quote, alike)


def _braced(choices: tuple[str, ...]) -> str:
    return choices[0] if len(choices) == 1 else f"{{{','.join(choices)}}}"
