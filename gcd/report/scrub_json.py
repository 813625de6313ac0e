"""What is known of the content of layers as JSON for programs: one object, described by docs/scrub.schema.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gcd import __version__
from gcd.report.json import finding_object
from gcd.report.printable import base64_of, is_utf8, printable
from gcd.report.units import instant

if TYPE_CHECKING:
    from gcd.model.content import Verdict
    from gcd.model.finding import Finding
    from gcd.model.scrubbed import Scrubbed

SCHEMA = 1


def scrub_json(scrubbed: Scrubbed) -> str:
    return json.dumps(scrub_object(scrubbed), indent=2) + "\n"


def scrub_object(scrubbed: Scrubbed) -> dict[str, Any]:
    sweep = scrubbed.sweep
    return {
        "schema": SCHEMA,
        "gcd": __version__,
        "root": printable(scrubbed.root),
        **({} if is_utf8(scrubbed.root) else {"root_base64": base64_of(scrubbed.root)}),
        "sweep": None
        if sweep is None
        else {
            "course": sweep.course,
            "under_way": scrubbed.is_under_way,
            "began_at": instant(sweep.began_ns),
            "depth": sweep.depth,
            "layers": len(sweep.layers),
            "layers_left": scrubbed.left,
            "bytes_left": scrubbed.left_bytes,
        },
        "layers": {
            **{str(soundness): count for soundness, count in scrubbed.counts.items()},
            "pending": scrubbed.pending,
        },
        "read_bytes": scrubbed.read_bytes,
        "oldest_verified_at": None if scrubbed.oldest_ns is None else instant(scrubbed.oldest_ns),
        "findings": [_finding(scrubbed, finding) for finding in scrubbed.findings],
        "verdicts": [_verdict(verdict) for _, verdict in sorted(scrubbed.verdicts.items())],
    }


def _finding(scrubbed: Scrubbed, finding: Finding) -> dict[str, Any]:
    again = scrubbed.again.get(finding.id)
    return {
        **finding_object(finding),
        "again": None
        if again is None
        else {
            "commands": [printable(command) for command in again.commands],
            "containers": [printable(name) for name in again.containers],
            "made": [printable(name) for name in again.made],
        },
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "layer": verdict.chain,
        "layer_dir": verdict.layer_dir,
        "verdict": verdict.soundness,
        "depth": verdict.depth,
        "checked_at": instant(verdict.checked_ns),
        "read_bytes": verdict.read_bytes,
        "files": verdict.files,
        "differing": verdict.differing,
        "differences": [
            {
                "path": printable(difference.path),
                **({} if is_utf8(difference.path) else {"path_base64": base64_of(difference.path)}),
                "damage": difference.damage,
                "expected": printable(difference.expected),
                "found": printable(difference.found),
            }
            for difference in verdict.differences
        ],
        "reasons": [printable(reason) for reason in verdict.reasons],
    }
