"""
Whether a layer dir holds exactly what a layer's tar-split says: the only proof of whose files they are.

The stream is put together again from the tar-split and the files in ``diff``, read as a tar archive on the way, and
hashed to its end. Each member must be there with its type, mode, owner, link target and device, as the engine unpacks
it (whiteouts become device nodes 0/0, opaque marks become attributes), and nothing else may be: the digest alone proves
little, since members without content (of 269 symlinks one layer) are not read from the dir at all.

Layers of remapped users, sparse members and marks of AUFS are not understood, and so never proven.

Sources: vbatts/tar-split ``tar/asm/assemble.go``; moby ``pkg/archive/archive.go`` createTarFile, Unpack,
``archive_linux.go`` ConvertRead.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gcd.formats.escape import escaped
from gcd.formats.tarsplit import Member, parse_tar_split
from gcd.model.errors import FormatError
from gcd.model.facts import FileType
from gcd.model.reading import Present
from gcd.root.tree import Directory, name_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from gcd.model.ids import DiffId

MAX_MEMBERS = 4_000_000
_CHUNK = 1 << 20
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OTHER_MARKS = ".wh..wh."
_OPAQUE_ATTRIBUTES = ("trusted.overlay.opaque", "user.overlay.opaque")
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_DEVICES = {tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK, tarfile.FIFOTYPE: stat.S_IFIFO}
_TROUBLE = (tarfile.TarError, ArithmeticError, LookupError, ValueError, EOFError, RecursionError)
"""What the reader of archives raises at bytes that are none."""


class _Lack(Exception):
    """One clause that says what differs."""


def lack_of_content(diff: Directory, tar_split: bytes, diff_id: DiffId) -> str:
    """Why `diff` is not known to hold what `tar_split` (compressed) says and hashes to `diff_id`; "" if it is."""
    stream = _Stream(diff, tar_split)
    try:
        with stream:
            expected = _compare_members(diff, stream)
            _demand_nothing_else(diff, expected)
            found = stream.digest()
    except _Lack as lack:
        return str(lack)
    except FormatError as error:
        return f"the tar-split cannot be read: {error}"
    except _TROUBLE:
        return "the tar-split gives no tar stream"
    except OSError as error:
        return f"its files cannot be read ({name_of(error)})"
    return "" if found == diff_id else "its content does not hash to the diff id"


class _Stream(io.RawIOBase):
    """The tar stream, to be read once, in order; it hashes what is read."""

    def __init__(self, diff: Directory, tar_split: bytes) -> None:
        super().__init__()
        self._pieces = _pieces(diff, tar_split)
        self._rest = memoryview(b"")
        self._hash = hashlib.sha256()

    def close(self) -> None:
        self._pieces.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        parts: list[memoryview] = []
        while size > 0:
            if not self._rest:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._hash.update(piece)
                self._rest = memoryview(piece)
            parts.append(self._rest[:size])
            self._rest = self._rest[size:]
            size -= len(parts[-1])
        return b"".join(parts)

    def digest(self) -> str:
        """That of the whole stream, what was not read of it included."""
        for piece in self._pieces:
            self._hash.update(piece)
        return f"sha256:{self._hash.hexdigest()}"


def _pieces(diff: Directory, tar_split: bytes) -> Generator[bytes]:
    for entry in parse_tar_split((tar_split,)):
        if not isinstance(entry, Member):
            yield entry.payload
        elif entry.size:
            yield from _content(diff, _clean(os.fsdecode(entry.name)), entry.size)


def _content(diff: Directory, path: str, size: int) -> Iterator[bytes]:
    """The content of the file at `path`, if it is one of `size` bytes."""
    folder, _, name = path.rpartition("/")
    with _folder(diff, folder) as parent:
        fd = os.open(name, _FILE_FLAGS, dir_fd=parent.fd)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            raise _Lack(f"{escaped(path)} in it is no file of {size} bytes")
        while size:
            piece = os.read(fd, min(size, _CHUNK))
            if not piece:
                raise _Lack(f"{escaped(path)} in it became shorter")
            size -= len(piece)
            yield piece
    finally:
        os.close(fd)


def _compare_members(diff: Directory, stream: _Stream) -> set[str]:
    """Each member of the stream must be in `diff` as it says; gives the paths that they are at."""
    expected: set[str] = set()
    with tarfile.open(fileobj=stream, mode="r|", errors="surrogateescape") as archive:
        for member in archive:
            path = _clean(member.name)
            folder, _, name = path.rpartition("/")
            if name == _OPAQUE:
                _demand_opaque(diff, folder)
                continue
            if name.startswith(_OTHER_MARKS):
                raise _Lack(f"its tar-split has the mark {escaped(path)}, which is not understood")
            is_whiteout = name.startswith(_WHITEOUT)
            where = f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/") if is_whiteout else path
            if where in expected or len(expected) >= MAX_MEMBERS:
                raise _Lack(f"its tar-split names {escaped(path)} twice, or more than gcd compares")
            if where:
                expected.add(where)
                _demand_as_said(diff, where, member, is_whiteout=is_whiteout)
    return expected


def _demand_as_said(diff: Directory, path: str, member: tarfile.TarInfo, *, is_whiteout: bool) -> None:
    folder, _, name = path.rpartition("/")
    with _folder(diff, folder) as parent:
        status = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
        if is_whiteout:
            fits = stat.S_ISCHR(status.st_mode) and status.st_rdev == 0
        elif member.islnk():
            fits = _is_same_file(diff, status, _clean(member.linkname))
        else:
            fits = _type_fits(parent, name, status, member) and _owner_fits(status, member)
    if not fits:
        raise _Lack(f"{escaped(path)} in it is not what the tar-split says")


def _type_fits(parent: Directory, name: str, status: os.stat_result, member: tarfile.TarInfo) -> bool:
    mode = status.st_mode
    if member.isreg():
        return stat.S_ISREG(mode) and status.st_size == member.size and not member.issparse()
    if member.issym():
        return stat.S_ISLNK(mode) and os.readlink(name, dir_fd=parent.fd) == member.linkname
    if member.isdev():
        is_device = member.isfifo() or status.st_rdev == os.makedev(member.devmajor, member.devminor)
        return stat.S_IFMT(mode) == _DEVICES[member.type] and is_device
    return member.isdir() and stat.S_ISDIR(mode)


def _owner_fits(status: os.stat_result, member: tarfile.TarInfo) -> bool:
    """Owner and mode; symlinks have no mode."""
    owner = (status.st_uid, status.st_gid) == (member.uid, member.gid)
    return owner and (member.issym() or stat.S_IMODE(status.st_mode) == stat.S_IMODE(member.mode))


def _is_same_file(diff: Directory, status: os.stat_result, target: str) -> bool:
    folder, _, name = target.rpartition("/")
    with _folder(diff, folder) as parent:
        other = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
    return (status.st_dev, status.st_ino) == (other.st_dev, other.st_ino)


def _demand_opaque(diff: Directory, path: str) -> None:
    with _folder(diff, path) as folder:
        found = set(os.listxattr(folder.fd)).intersection(_OPAQUE_ATTRIBUTES)
        if not any(os.getxattr(folder.fd, name) == b"y" for name in found):
            raise _Lack(f"{escaped(path)} in it is not opaque")


def _demand_nothing_else(diff: Directory, expected: set[str]) -> None:
    """Everything in `diff` is expected, or a directory above something that is; nothing lies on another device."""
    above: set[str] = set()
    for path in expected:
        folder = path.rpartition("/")[0]
        while folder and folder not in above:
            above.add(folder)
            folder = folder.rpartition("/")[0]
    device = diff.stat().st_dev
    pending = [""]
    while pending:
        path = pending.pop()
        with _folder(diff, path) as folder_there:
            listing = folder_there.list()
            if listing.failure or folder_there.stat().st_dev != device:
                raise _Lack(f"{escaped(path) or 'its diff'} cannot be listed whole, or is another device's")
        for name, kind in listing.entries.items():
            here = f"{path}/{name}" if path else name
            if here not in expected and (here not in above or kind is not FileType.DIRECTORY):
                raise _Lack(f"{escaped(here)} in it is not in the tar-split")
            if kind is FileType.DIRECTORY:
                pending.append(here)


@contextmanager
def _folder(diff: Directory, path: str) -> Iterator[Directory]:
    """The directory at `path` in `diff`, opened name by name."""
    if not path:
        yield diff
        return
    opened = diff.open_path(path)
    if not isinstance(opened, Present):
        raise _Lack(f"{escaped(path)} in it is no directory")
    with opened.value as folder:
        yield folder


def _clean(name: str) -> str:
    """`name` as the engine cleans it: relative, without what leads nowhere; what leads upwards is refused."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise _Lack(f"the tar-split names {escaped(name)}, which leads out of a layer")
    return "/".join(parts)
