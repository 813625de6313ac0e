"""Layers for scrubs, without an engine: a root with one layer record, its tar-split and its dir, all by hand."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gcd.demo.tarsplit import crc64_iso
from gcd.model.ids import ChainId, DiffId, LayerDirId
from gcd.root.tree import open_root
from gcd.scrub.layer import Layer, Manner, verify
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gcd.model.content import Verdict

CACHE_ID = LayerDirId("c" * 64)


@dataclass(frozen=True)
class Member:
    """One member of a stream; `crc` is what its tar-split says, None: the truth."""

    name: str
    content: bytes = b""
    type: bytes = tarfile.REGTYPE
    link: str = ""
    crc: int | None = None
    says: int | None = None
    """The size that header and tar-split say, None: the truth."""
    records: tuple[tuple[str, str], ...] = ()


def folder(name: str) -> Member:
    return Member(name, type=tarfile.DIRTYPE)


def written(root: Path, members: Iterable[Member], layer_dir: LayerDirId = CACHE_ID) -> Layer:
    """
    The record of a layer of `members` in a root at `root`, and its ``diff`` with the files among them; what is no file
    and no directory, its maker puts there.
    """
    stream, lines = io.BytesIO(), []
    padding = b""
    diff = root / "overlay2" / layer_dir / "diff"
    diff.mkdir(parents=True)
    for member in members:
        info = tarfile.TarInfo(member.name)
        info.type, info.linkname, info.pax_headers = member.type, member.link, dict(member.records)
        info.size = len(member.content) if member.says is None else member.says
        raw = padding + info.tobuf(tarfile.PAX_FORMAT, errors="surrogateescape")
        stream.write(raw + member.content)
        lines.append({"type": 2, "payload": base64.b64encode(raw).decode()})
        crc = crc64_iso(member.content) if member.crc is None else member.crc
        payload = base64.b64encode(crc.to_bytes(8)).decode() if info.size else None
        size = {"size": info.size} if info.size else {}
        lines.append({"type": 1, **_named(member.name), **size, "payload": payload})
        padding = bytes(-len(member.content) % 512)
        path = diff / member.name
        if member.type == tarfile.DIRTYPE:
            path.mkdir(parents=True, exist_ok=True)
        elif member.type == tarfile.REGTYPE and not path.name.startswith(".wh."):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.content)
    stream.write(padding + bytes(1024))
    lines.append({"type": 2, "payload": base64.b64encode(padding + bytes(1024)).decode()})
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    record = root / "image/overlay2/layerdb/sha256" / digest
    record.mkdir(parents=True)
    (record / "cache-id").write_text(layer_dir)
    (record / "diff").write_text(f"sha256:{digest}")
    (record / "tar-split.json.gz").write_bytes(gzip.compress(b"".join(map(_line, enumerate(lines)))))
    return Layer(ChainId(f"sha256:{digest}"), DiffId(f"sha256:{digest}"), layer_dir, len(stream.getvalue()))


def _named(name: str) -> dict[str, str]:
    raw = os.fsencode(name)
    try:
        return {"name": raw.decode()}
    except UnicodeDecodeError:
        return {"name_raw": base64.b64encode(raw).decode()}


def _line(numbered: tuple[int, dict[str, object]]) -> bytes:
    """An entry as engines write it."""
    position, entry = numbered
    text = json.dumps({**entry, "position": position}, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def verdict_on(root: Path, layer: Layer, manner: Manner) -> Verdict | None:
    with open_root(str(root)) as directory, Contents(Pace()) as contents:
        return verify(directory, layer, contents, manner, now_ns=1)
