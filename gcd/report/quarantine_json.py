"""The quarantine as JSON: an object with all that each entry's manifest says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gcd.report.json import finding_object
from gcd.report.printable import base64_of, is_utf8, printable
from gcd.report.units import instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gcd.model.entry import Holding, Item, Manifest

SCHEMA = 1


def quarantine_json(root: str, holdings: Sequence[Holding]) -> str:
    value = {
        "schema": SCHEMA,
        "root": printable(root),
        "disk_bytes": sum(holding.disk_bytes for holding in holdings),
        "entries": [_entry(holding) for holding in holdings],
    }
    return json.dumps(value, indent=2) + "\n"


def _entry(holding: Holding) -> dict[str, Any]:
    told: dict[str, Any] = {
        "entry": holding.id,
        "state": holding.state,
        "disk_bytes": holding.disk_bytes,
        "trouble": holding.trouble or None,
    }
    return told | (_manifest(holding.manifest, holding.ends_ns) if holding.manifest is not None else {})


def _manifest(manifest: Manifest, ends_ns: int) -> dict[str, Any]:
    return {
        "run": manifest.run,
        "operation": manifest.operation,
        "made": instant(manifest.made_ns),
        "kept_until": instant(ends_ns),
        "finding": finding_object(manifest.finding),
        "items": [_item(item) for item in manifest.items],
        "parents": {chain: manifest.ground.parents[chain] for chain in sorted(manifest.ground.parents)},
    }


def _item(item: Item) -> dict[str, Any]:
    taken, made = item.taken, item.made
    return {
        "path": printable(item.path),
        **({} if is_utf8(item.path) else {"base64": base64_of(item.path)}),
        "taken": None
        if taken is None
        else {
            "type": taken.type,
            "mode": f"{taken.mode:04o}",
            "uid": taken.uid,
            "gid": taken.gid,
            "inode": taken.inode,
            "label": None if taken.label is None else printable(taken.label),
        },
        "made": None if made is None else {"type": made.type, "sha256": made.sha256 or None},
    }
