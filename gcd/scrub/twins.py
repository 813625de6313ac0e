"""
Whole copies of damaged files in other layers of the same root (safety rule S17).

A copy is found by size and CRC-64 in the tar-splits of other layers. The checksum is no proof: with the copies in place
the whole stream of the layer must give its diff id. Nothing is written here.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from gcd.formats.escape import escaped
from gcd.formats.tarsplit import Member, parse_tar_split
from gcd.model import layout
from gcd.model.content import Damage, Depth
from gcd.model.errors import FormatError
from gcd.model.reading import Present
from gcd.root.tree import name_of
from gcd.scrub.folders import Folders
from gcd.scrub.layer import Manner, tar_split_of, verify
from gcd.scrub.members import clean, opened
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents
from gcd.scrub.recipe import pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gcd.model.content import Difference
    from gcd.root.tree import Directory
    from gcd.scrub.layer import Layer

MOST_BYTES: Final = 16 << 20
"""Of all files that one repair writes: they are held in memory, and stand in the plan."""
_ALTERED: Final = frozenset({Damage.EMPTIED, Damage.RESIZED, Damage.CHANGED})
_LABEL: Final = "security.selinux"
_CHUNK: Final = 1 << 20

_Key = tuple[int, int]
"""Size and CRC-64."""


class _Lack(Exception):
    """One clause that says why nothing is proven."""


def whole_content(root: Directory, layer: Layer, others: Iterable[Layer]) -> Mapping[str, bytes] | str:
    """By path, what each damaged file of `layer` shall hold; or why that is not known, as one clause."""
    try:
        with Contents(Pace()) as contents:
            return _proven(root, layer, others, contents)
    except _Lack as lack:
        return str(lack)
    except FormatError as error:
        return f"its tar-split cannot be read: {error}"
    except OSError as error:
        return f"its files cannot be read ({name_of(error)})"


def _proven(root: Directory, layer: Layer, others: Iterable[Layer], contents: Contents) -> Mapping[str, bytes]:
    verdict = verify(root, layer, contents, Manner(Depth.QUICK), now_ns=0)
    damaged = [d for d in verdict.differences if d.damage in _ALTERED] if verdict is not None else []
    if not damaged:
        raise _Lack("no file in it has other content than it should")
    with _diff(root, layer) as diff:
        _demand_plain(diff, damaged)
        copies = _copies(root, damaged, others, contents)
        found = {d.path: copies[_key(d)] for d in damaged if _key(d) in copies}
        if lacking := next((d.path for d in damaged if d.path not in found), ""):
            raise _Lack(f"no other layer holds {escaped(lacking)} whole")
        if _stream_digest(root, layer, diff, found) != layer.diff_id:
            raise _Lack("with the copies that were found its stream does not give its diff id")
    return found


def _key(difference: Difference) -> _Key:
    return difference.size, difference.crc or 0


def _diff(root: Directory, layer: Layer) -> Directory:
    return _opened(root, f"{layout.layer_dir(layer.layer_dir)}/{layout.DIFF}")


def _opened(root: Directory, path: str) -> Directory:
    found = root.open_path(path)
    if not isinstance(found, Present):
        raise _Lack(f"{path} cannot be opened")
    return found.value


def _demand_plain(diff: Directory, damaged: list[Difference]) -> None:
    """A file that is replaced keeps owner, mode and label, but neither other names nor other attributes."""
    if sum(difference.size for difference in damaged) > MOST_BYTES:
        raise _Lack(f"its damaged files have more than {MOST_BYTES >> 20} MiB")
    folders = Folders(diff.fd)
    try:
        for difference in damaged:
            folder, _, name = difference.path.rpartition("/")
            fd = opened(folders.open(folder), name)
            try:
                if os.fstat(fd).st_nlink > 1:
                    raise _Lack(f"{escaped(difference.path)} has other names, which would keep what is damaged")
                if set(os.listxattr(fd)) - {_LABEL}:
                    raise _Lack(f"{escaped(difference.path)} has attributes, which a new file would not have")
            finally:
                os.close(fd)
    finally:
        folders.close()


def _copies(
    root: Directory, damaged: list[Difference], others: Iterable[Layer], contents: Contents
) -> dict[_Key, bytes]:
    wanted = {_key(difference) for difference in damaged}
    found: dict[_Key, bytes] = {}
    for layer in others:
        if wanted <= found.keys():
            break
        try:
            for key, content in _copies_in(root, layer, wanted - found.keys(), contents):
                found.setdefault(key, content)
        except (_Lack, FormatError, OSError):
            continue  # another layer's own damage: it holds no copy then
    return found


def _copies_in(root: Directory, layer: Layer, wanted: set[_Key], contents: Contents) -> Iterator[tuple[_Key, bytes]]:
    with _opened(root, layout.layer_record(layer.chain)) as record, _diff(root, layer) as diff:
        folders = Folders(diff.fd)
        try:
            with tar_split_of(record) as fd:
                for entry in parse_tar_split(pieces_of(fd)):
                    if not isinstance(entry, Member) or (entry.size, entry.crc or 0) not in wanted:
                        continue
                    content = _content(folders, entry, contents)
                    if content is not None:
                        yield (entry.size, entry.crc or 0), content
        finally:
            folders.close()


def _content(folders: Folders, member: Member, contents: Contents) -> bytes | None:
    """The content of `member`, if the file has it; None if not."""
    path = clean(os.fsdecode(member.name))
    if not path:
        return None
    folder, _, name = path.rpartition("/")
    got = bytearray()
    try:
        read = contents.read(opened(folders.open(folder), name), member.size, got.extend)()
    except OSError:
        return None
    return bytes(got) if (read.size, read.crc) == (member.size, member.crc) else None


def _stream_digest(root: Directory, layer: Layer, diff: Directory, instead: Mapping[str, bytes]) -> str:
    """The digest of the stream of `layer`, with the content `instead` in place of some of its files."""
    digest = hashlib.sha256()
    folders = Folders(diff.fd)
    try:
        with _opened(root, layout.layer_record(layer.chain)) as record, tar_split_of(record) as fd:
            for entry in parse_tar_split(pieces_of(fd)):
                if not isinstance(entry, Member):
                    digest.update(entry.payload)
                elif entry.size:
                    path = clean(os.fsdecode(entry.name)) or ""
                    for piece in (instead[path],) if path in instead else _pieces(folders, path, entry.size):
                        digest.update(piece)
    finally:
        folders.close()
    return f"sha256:{digest.hexdigest()}"


def _pieces(folders: Folders, path: str, size: int) -> Iterator[bytes]:
    folder, _, name = path.rpartition("/")
    fd = opened(folders.open(folder), name)
    try:
        while size and (piece := os.read(fd, min(size, _CHUNK))):
            size -= len(piece)
            yield piece
    finally:
        os.close(fd)
