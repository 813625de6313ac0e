"""
Whole copies of damaged and missing files in other layers of the same root (safety rule S17).

A copy is found by size and CRC-64 in the tar-splits of other layers. The checksum is no proof: with the copies in place
the whole stream of the layer must give its diff id. What is told of a copy is the SHA-256 of the very bytes that went
into that stream; no content is kept in memory. Nothing is written here.

A file with several names (hard links) is told with all of them: the stream says which they are. Where the file has
more, or one of them is another file by now, nothing is proven. Of one that is missing the stream says what it wears.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from gcd.formats.escape import escaped
from gcd.formats.tarheader import Headers, MemberType
from gcd.formats.tarsplit import Member, parse_tar_split
from gcd.model import layout
from gcd.model.content import MOST_OWNER, Damage, Depth, Twin, Worn, is_attribute
from gcd.model.errors import FormatError
from gcd.model.reading import Present
from gcd.root.tree import name_of
from gcd.scrub.folders import Folders
from gcd.scrub.layer import Manner, tar_split_of, verify
from gcd.scrub.members import WHITEOUT, clean, opened
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents
from gcd.scrub.recipe import pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcd.formats.tarheader import Header
    from gcd.model.content import Difference
    from gcd.root.tree import Directory
    from gcd.scrub.layer import Layer

MOST_NAMES: Final = 10_000
"""Of all damaged files of a layer; an entry of the quarantine holds as many."""
MOST_ATTRIBUTE_BYTES: Final = 64 << 10
"""Of one file; the kernel takes as many of each attribute."""
_MENDED: Final = frozenset({Damage.EMPTIED, Damage.RESIZED, Damage.CHANGED, Damage.MISSING})
_CHUNK: Final = 1 << 20

_Key = tuple[int, int]
"""Size and CRC-64."""


class _Lack(Exception):
    """One clause that says why nothing is proven."""


def twins_of(root: Directory, layer: Layer, others: Iterable[Layer]) -> tuple[Twin, ...] | str:
    """What each damaged or missing file of `layer` shall be; or why that is not known, as one clause."""
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
    damaged = [d for d in verdict.differences if d.damage in _MENDED] if verdict is not None else []
    if not any(_is_content(difference) for difference in damaged):
        raise _Lack("no file in it has other content than it should, or is missing with it")
    sources = _sources(root, damaged, others, contents)
    if lacking := next((d.path for d in damaged if _is_content(d) and _key(d) not in sources), ""):
        raise _Lack(f"no other layer holds {escaped(lacking)} whole")
    found = [_Found(d.path, sources[_key(d)], d.damage is Damage.MISSING) for d in damaged if _key(d) in sources]
    with _diff(root, layer) as diff:
        stream = _Stream(root, diff, found)
        if stream.digest_of(layer) != layer.diff_id:
            raise _Lack("with the copies that were found its stream does not give its diff id")
        twins = tuple(stream.twins())
        _demand_all_names(diff, twins)
        if any(twin.worn is not None for twin in twins) and not _is_of_root(root, layer, diff):
            raise _Lack("its dir is not root's own, and what is missing in it may have been somebody else's")
    return twins


def _is_content(difference: Difference) -> bool:
    """Whether content is lost; of what is missing without any it is not told here what it is."""
    return difference.damage is not Damage.MISSING or difference.size > 0


def _is_of_root(root: Directory, layer: Layer, diff: Directory) -> bool:
    """
    Whether no engine with remapped user namespaces unpacked the layer: it gives the dir to the group, and its ``diff``
    to the user and the group, that are root inside (moby ``overlay2/overlay.go`` create; seen with 20.10).
    """
    with _opened(root, layout.layer_dir(layer.layer_dir)) as layer_dir:
        found = (layer_dir.stat(), diff.stat())
    return all(status.st_uid == status.st_gid == 0 for status in found)


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
            if twin.worn is not None:
                _demand_none(folders, twin.names)
                continue
            first = _status(folders, twin.names[0])
            for name in twin.names[1:]:
                other = _status(folders, name)
                if (other.st_dev, other.st_ino) != (first.st_dev, first.st_ino):
                    raise _Lack(f"{escaped(name)} is another file by now than {escaped(twin.names[0])}")
            if first.st_nlink != len(twin.names):
                first_name = escaped(twin.names[0])
                raise _Lack(f"{first_name} has more names than its layer says, and would stay damaged under them")
    finally:
        folders.close()


def _demand_none(folders: Folders, names: tuple[str, ...]) -> None:
    for name in names:
        folder, _, last = name.rpartition("/")
        try:
            parent = folders.open(folder)
        except FileNotFoundError:
            raise _Lack(f"{escaped(name)} is missing together with the directory that it lay in") from None
        with contextlib.suppress(FileNotFoundError):
            os.stat(last, dir_fd=parent, follow_symlinks=False)
            raise _Lack(f"{escaped(names[0])} is missing, and {escaped(name)} is not, which is the same file")


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


class _Found(Struct):
    """What the stream tells of the file at `path`, damaged or missing, and its copy at `source`."""

    path: str
    source: str
    is_missing: bool
    names: dict[str, None] = field(default_factory=dict)
    size: int = 0
    sha256: str = ""
    modified_ns: int = 0
    worn: Worn | None = None


class _Stream:
    """
    The stream of a layer whose dir is open at `diff`, with the copies in `root` in place of the files that were `found`
    to be damaged or missing.
    """

    def __init__(self, root: Directory, diff: Directory, found: Iterable[_Found]) -> None:
        self._root = root
        self._diff = diff
        self._found = {copied.path: copied for copied in found}
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
            if next(iter(found.names), "") == path:
                names = tuple(found.names)
                yield Twin(names, found.source, found.size, found.sha256, found.modified_ns, found.worn)
            elif not found.is_missing:
                raise _Lack(f"its stream has no file at {escaped(path)}")

    def _add(self, member: Member, headers: Headers, folders: Folders) -> None:
        header, path = headers.header(member.name), clean(os.fsdecode(member.name)) or ""
        folder, _, name = path.rpartition("/")
        place = f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/")
        # Of several members at one place the last one stays.
        earlier = self._named.pop(place, None)
        if earlier is not None:
            del earlier.names[place]
        found = self._found.get(path)
        if found is not None and header.type is MemberType.FILE:
            found.names, found.size, found.modified_ns = {path: None}, member.size, headers.modified_ns()
            found.worn = _worn(path, header) if found.is_missing else None
            self._named[path] = found
            self._add_source(found)
            return
        target = self._named.get(clean(os.fsdecode(header.link)) or "") if header.type is MemberType.HARD_LINK else None
        if target is not None:
            target.names[path] = None
            self._named[path] = target
        if member.size:
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


def _worn(path: str, header: Header) -> Worn:
    attributes = tuple(sorted((os.fsdecode(name), value) for name, value in header.xattrs.items()))
    if sum(len(name) + len(value) for name, value in attributes) > MOST_ATTRIBUTE_BYTES:
        raise _Lack(f"{escaped(path)} has more attributes than fit a file")
    if not all(is_attribute(name) for name, _ in attributes):
        raise _Lack(f"{escaped(path)} has an attribute of a name that there cannot be")
    if max(header.uid, header.gid) > MOST_OWNER:
        raise _Lack(f"{escaped(path)} has an owner that there cannot be")
    return Worn(stat.S_IMODE(header.mode), header.uid, header.gid, attributes)


def _pieces(parent: int, name: str, size: int) -> Iterator[bytes]:
    fd = opened(parent, name)
    try:
        while size and (piece := os.read(fd, min(size, _CHUNK))):
            size -= len(piece)
            yield piece
    finally:
        os.close(fd)
