"""
Whole copies of damaged files in other layers of the same root (safety rule S17).

A copy is found by size and CRC-64 in the tar-splits of other layers. The checksum is no proof: with the copies in place
the whole stream of the layer must give its diff id. What is told of a copy is the SHA-256 of the very bytes that went
into that stream; no content is kept in memory. Nothing is written here.

A file with several names (hard links) is told with all of them: the stream says which they are. Where the file has
more, or one of them is another file by now, nothing is proven.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gcd.formats.escape import escaped
from gcd.formats.tarheader import Headers, MemberType
from gcd.formats.tarsplit import Member, parse_tar_split
from gcd.model import layout
from gcd.model.content import Damage, Depth, Twin
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

MOST_NAMES: Final = 10_000
"""Of all damaged files of a layer; an entry of the quarantine holds as many."""
_ALTERED: Final = frozenset({Damage.EMPTIED, Damage.RESIZED, Damage.CHANGED})
_CHUNK: Final = 1 << 20

_Key = tuple[int, int]
"""Size and CRC-64."""


class _Lack(Exception):
    """One clause that says why nothing is proven."""


def twins_of(root: Directory, layer: Layer, others: Iterable[Layer]) -> tuple[Twin, ...] | str:
    """What each damaged file of `layer` shall be, by name; or why that is not known, as one clause."""
    try:
        with Contents(Pace()) as contents:
            return _proven(root, layer, others, contents)
    except _Lack as lack:
        return str(lack)
    except FormatError as error:
        return f"its tar-split cannot be read: {error}"
    except OSError as error:
        return f"its files cannot be read ({name_of(error)})"


def _proven(root: Directory, layer: Layer, others: Iterable[Layer], contents: Contents) -> tuple[Twin, ...]:
    verdict = verify(root, layer, contents, Manner(Depth.QUICK), now_ns=0)
    damaged = [d for d in verdict.differences if d.damage in _ALTERED] if verdict is not None else []
    if not damaged:
        raise _Lack("no file in it has other content than it should")
    sources = _sources(root, damaged, others, contents)
    if lacking := next((d.path for d in damaged if _key(d) not in sources), ""):
        raise _Lack(f"no other layer holds {escaped(lacking)} whole")
    with _diff(root, layer) as diff:
        stream = _Stream(root, diff, {d.path: sources[_key(d)] for d in damaged})
        if stream.digest_of(layer) != layer.diff_id:
            raise _Lack("with the copies that were found its stream does not give its diff id")
        twins = tuple(stream.twins())
        _demand_all_names(diff, twins)
    return twins


def _key(difference: Difference) -> _Key:
    return difference.size, difference.crc or 0


def _diff_path(layer: Layer) -> str:
    return f"{layout.layer_dir(layer.layer_dir)}/{layout.DIFF}"


def _diff(root: Directory, layer: Layer) -> Directory:
    return _opened(root, _diff_path(layer))


def _opened(root: Directory, path: str) -> Directory:
    found = root.open_path(path)
    if not isinstance(found, Present):
        raise _Lack(f"{path} cannot be opened")
    return found.value


def _demand_all_names(diff: Directory, twins: tuple[Twin, ...]) -> None:
    """A file is replaced under all its names, or what is damaged would stay under some of them."""
    if sum(len(twin.names) for twin in twins) > MOST_NAMES:
        raise _Lack(f"its damaged files have more than {MOST_NAMES} names")
    folders = Folders(diff.fd)
    try:
        for twin in twins:
            first = _status(folders, twin.names[0])
            for name in twin.names[1:]:
                other = _status(folders, name)
                if (other.st_dev, other.st_ino) != (first.st_dev, first.st_ino):
                    raise _Lack(f"{escaped(name)} is another file by now than {escaped(twin.names[0])}")
            if first.st_nlink != len(twin.names):
                raise _Lack(f"{escaped(twin.names[0])} has names that are not the layer's, and would stay damaged")
    finally:
        folders.close()


def _status(folders: Folders, path: str) -> os.stat_result:
    folder, _, name = path.rpartition("/")
    return os.stat(name, dir_fd=folders.open(folder), follow_symlinks=False)


def _sources(
    root: Directory, damaged: list[Difference], others: Iterable[Layer], contents: Contents
) -> dict[_Key, str]:
    """By size and checksum, a file relative to the root that has them."""
    wanted = {_key(difference) for difference in damaged}
    found: dict[_Key, str] = {}
    for layer in others:
        if wanted <= found.keys():
            break
        try:
            for key, path in _sources_in(root, layer, wanted - found.keys(), contents):
                found.setdefault(key, f"{_diff_path(layer)}/{path}")
        except (_Lack, FormatError, OSError):
            continue  # another layer's own damage: it holds no copy then
    return found


def _sources_in(root: Directory, layer: Layer, wanted: set[_Key], contents: Contents) -> Iterator[tuple[_Key, str]]:
    with _opened(root, layout.layer_record(layer.chain)) as record, _diff(root, layer) as diff:
        folders = Folders(diff.fd)
        try:
            with tar_split_of(record) as fd:
                for entry in parse_tar_split(pieces_of(fd)):
                    if not isinstance(entry, Member) or (entry.size, entry.crc or 0) not in wanted:
                        continue
                    path = clean(os.fsdecode(entry.name))
                    if path and _is_whole(folders, path, entry, contents):
                        wanted.discard((entry.size, entry.crc or 0))
                        yield (entry.size, entry.crc or 0), path
        finally:
            folders.close()


def _is_whole(folders: Folders, path: str, member: Member, contents: Contents) -> bool:
    folder, _, name = path.rpartition("/")
    try:
        fd = opened(folders.open(folder), name)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != member.size:
            os.close(fd)
            return False
        read = contents.read(fd, member.size)()
    except OSError:
        return False
    return (read.size, read.crc) == (member.size, member.crc or 0)


@dataclass(slots=True)
class _Found:
    """What the stream tells of a damaged file, and its copy at `source`."""

    source: str
    names: dict[str, None] = field(default_factory=dict)
    size: int = 0
    sha256: str = ""
    modified_ns: int = 0


class _Stream:
    """
    The stream of a layer whose dir is open at `diff`, with the contents of `sources`, which are relative to `root`, in
    place of those of the files at these paths.
    """

    def __init__(self, root: Directory, diff: Directory, sources: Mapping[str, str]) -> None:
        self._root = root
        self._diff = diff
        self._found = {path: _Found(source) for path, source in sources.items()}
        self._named: dict[str, _Found] = {}
        """By each of its names."""
        self._digest = hashlib.sha256()

    def digest_of(self, layer: Layer) -> str:
        headers, folders = Headers(), Folders(self._diff.fd)
        try:
            with _opened(self._root, layout.layer_record(layer.chain)) as record, tar_split_of(record) as fd:
                for entry in parse_tar_split(pieces_of(fd)):
                    if isinstance(entry, Member):
                        self._add(entry, headers, folders)
                    else:
                        headers.feed(entry.payload)
                        self._digest.update(entry.payload)
        finally:
            folders.close()
        return f"sha256:{self._digest.hexdigest()}"

    def twins(self) -> Iterator[Twin]:
        for path, found in self._found.items():
            if next(iter(found.names), "") != path:
                raise _Lack(f"its stream has no file at {escaped(path)}")
            yield Twin(tuple(found.names), found.source, found.size, found.sha256, found.modified_ns)

    def _add(self, member: Member, headers: Headers, folders: Folders) -> None:
        header, path = headers.header(member.name), clean(os.fsdecode(member.name)) or ""
        # Of several members at one place the last one stays.
        earlier = self._named.pop(path, None)
        if earlier is not None:
            del earlier.names[path]
        found = self._found.get(path)
        if found is not None and header.type is MemberType.FILE:
            found.names, found.size, found.modified_ns = {path: None}, member.size, headers.modified_ns()
            self._named[path] = found
            self._add_source(found)
            return
        target = self._named.get(clean(os.fsdecode(header.link)) or "") if header.type is MemberType.HARD_LINK else None
        if target is not None:
            target.names[path] = None
            self._named[path] = target
        if member.size:
            folder, _, name = path.rpartition("/")
            for piece in _pieces(folders.open(folder), name, member.size):
                self._digest.update(piece)

    def _add_source(self, found: _Found) -> None:
        digest = hashlib.sha256()
        folder, _, name = found.source.rpartition("/")
        with _opened(self._root, folder) as parent:
            for piece in _pieces(parent.fd, name, found.size):
                self._digest.update(piece)
                digest.update(piece)
        found.sha256 = digest.hexdigest()


def _pieces(parent: int, name: str, size: int) -> Iterator[bytes]:
    fd = opened(parent, name)
    try:
        while size and (piece := os.read(fd, min(size, _CHUNK))):
            size -= len(piece)
            yield piece
    finally:
        os.close(fd)
