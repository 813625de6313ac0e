"""
Members of a layer's stream against what is on disk, as the engine unpacked them.

Names are cleaned; ``.wh.x`` is a device node 0/0 named ``x``, ``.wh..wh..opq`` an attribute of its folder; links point
into the layer; of several members at one place the last one stays. Sources: moby ``pkg/archive/archive.go`` Unpack,
createTarFile, ``archive_linux.go`` ConvertRead.

What the kernel moved or shared while the layer was written (``redirect``, ``metacopy``) makes its dir tell less than
the layer was: it is not compared. Nor are device nodes of a root without root rights, which the engine does not make.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from gcd.formats.escape import escaped
from gcd.formats.tarheader import Header, MemberType
from gcd.model.content import MOST_DIFFERENCES, MOST_REASONS, Damage, Difference
from gcd.root.tree import FILE_FLAGS, name_of
from gcd.scrub.below import MOVED, OPAQUE_ATTRIBUTES, is_whiteout
from gcd.scrub.folders import Folders
from gcd.scrub.reading import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcd.formats.tarsplit import Member
    from gcd.scrub.below import Below
    from gcd.scrub.reading import Content, Contents, Sink

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
MOST_NAME_BYTES: Final = 256 << 20
"""Of memory, for the names of one layer: two million of usual length."""
_KERNELS_OWN: Final = ("trusted.overlay.", "user.overlay.", "security.selinux")
_MODES: Final = {
    MemberType.FILE: stat.S_IFREG, MemberType.SYMLINK: stat.S_IFLNK, MemberType.DIRECTORY: stat.S_IFDIR,
    MemberType.CHARACTER_DEVICE: stat.S_IFCHR, MemberType.BLOCK_DEVICE: stat.S_IFBLK, MemberType.FIFO: stat.S_IFIFO,
}  # fmt: skip
_NOUNS: Final = {mode: str(kind) for kind, mode in _MODES.items()} | {stat.S_IFSOCK: "socket"}
_DEVICES: Final = frozenset({MemberType.CHARACTER_DEVICE, MemberType.BLOCK_DEVICE})
_FILE, _HARD_LINK, _GLOBAL, _OTHER = MemberType.FILE, MemberType.HARD_LINK, MemberType.GLOBAL, MemberType.OTHER
"""Named once: each look into an enum takes as long as a system call."""
FAILURES: Final = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG})
"""What says that not somebody's rights or a race, but the disk or its filesystem is at fault."""
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_WAITING: Final = 8
"""How many long files may be read at a time, before their results are waited for."""


class Seen(Struct):
    """What one look at a layer has found so far. `expected` are all places at which the layer has something."""

    differences: dict[str, Difference] = field(default_factory=dict)
    differing: int = 0
    reasons: dict[str, None] = field(default_factory=dict)
    expected: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)
    """The directories that hide all below them, as the stream says."""
    bad: set[str] = field(default_factory=set)
    name_bytes: int = 0
    files: int = 0
    read_bytes: int = 0
    is_whole: bool = True
    """Whether every byte of the stream's contents could be read."""
    is_placed: bool = True
    """Whether it is known where each member lies: else it cannot be told what is not part of the layer."""

    def note(self, difference: Difference) -> None:
        self.differing += 1
        self.bad.add(difference.path)
        if len(self.differences) < MOST_DIFFERENCES:
            self.differences[difference.path] = difference

    def forget(self, path: str) -> None:
        """What was at `path` was replaced by a later member of the same stream."""
        if path in self.bad:
            self.bad.discard(path)
            self.differing -= 1
            self.differences.pop(path, None)

    def expect_all(self, paths: list[str]) -> bool:
        """Remember `paths`; False where there is no room for them, or one was there before, or is there twice."""
        name_bytes = self.name_bytes + sum(map(sys.getsizeof, paths))
        if name_bytes > MOST_NAME_BYTES:
            return False
        before = len(self.expected)
        self.expected.update(paths)
        self.name_bytes = name_bytes
        return len(self.expected) == before + len(paths)

    def doubt(self, reason: str) -> None:
        if len(self.reasons) < MOST_REASONS:
            self.reasons[reason] = None


class Members:
    """Compares the members of one layer, whose dir is open at `diff`, one after the other; `seen` is what was found."""

    def __init__(
        self,
        diff: int,
        contents: Contents,
        seen: Seen,
        below: Below,
        *,
        is_dressed: bool = False,
        has_devices: bool = True,
    ) -> None:
        self._below = below
        self._folders, self._targets = Folders(diff), Folders(diff)
        self._contents = contents
        self._seen = seen
        self._owner = os.fstat(diff).st_uid if is_dressed else None
        self._has_devices = has_devices
        self._waiting: list[tuple[str, int, int, Callable[[], Content]]] = []

    def close(self) -> None:
        """Wait for what is being read."""
        try:
            self.settle()
        finally:
            for folders in (self._folders, self._targets):
                folders.close()

    def settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for path, size, crc, content in waiting:
            self._judge(path, size, crc, content)

    def compare(self, member: Member, header: Header, sink: Sink | None = None) -> None:
        """`sink` gets the content of the member, if there is one of its size."""
        seen, kind = self._seen, header.type
        path = clean(os.fsdecode(member.name))
        if path is None or kind is _GLOBAL or kind is _OTHER:
            if kind is not _GLOBAL:
                seen.doubt(f"its tar-split has {escaped(os.fsdecode(member.name))}, which the engine does not unpack")
            seen.is_whole = seen.is_whole and not member.size
            return
        if member.size and kind is not _FILE:
            # A size without content: what the engine itself cannot put together again.
            seen.doubt(f"its tar-split gives {escaped(path)}, a {kind}, a size")
            seen.is_whole = False
        if header.is_sparse:
            seen.doubt(f"{escaped(path)} was sparse in its archive, whose stream cannot be made again")
        if not path:
            return
        folder, _, name = path.rpartition("/")
        try:
            parent = self._folders.open(folder)
        except OSError as error:
            self._lost_folder(path, folder, member, header, error)
            return
        try:
            if name.startswith(WHITEOUT):
                self._whiteout(parent, folder, name, member, header)
            else:
                self._at(parent, name, path, member, header, sink)
        except OSError as error:
            seen.is_whole = seen.is_whole and not member.size
            if error.errno in FAILURES:
                self._differs(path, Damage.UNREADABLE, _described_member(member, header), name_of(error), member)
                return
            seen.doubt(f"{escaped(path)} cannot be looked at ({name_of(error)})")
            seen.is_placed = False

    def _whiteout(self, parent: int, folder: str, name: str, member: Member, header: Header) -> None:
        if name == OPAQUE:
            self._opaque(parent, folder)
            return
        name = name.removeprefix(WHITEOUT)
        path = f"{folder}/{name}" if folder else name
        self._seen.is_whole = self._seen.is_whole and not member.size
        if member.size:
            self._seen.doubt(f"its tar-split gives {escaped(path)}, a whiteout, a size")
        if not self._expect(path):
            return
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            self._missing(path, member, header, hides=True)
            return
        if not is_whiteout(status):
            self._differs(path, Damage.RETYPED, "a whiteout", a(_NOUNS.get(stat.S_IFMT(status.st_mode), "thing")))

    def _at(self, parent: int, name: str, path: str, member: Member, header: Header, sink: Sink | None) -> None:
        if not self._expect(path):
            self._seen.is_whole = self._seen.is_whole and not member.size
            return
        try:
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            self._missing(path, member, header, hides=False)
            return
        kind = header.type
        if kind is _HARD_LINK:
            self._hard_link(path, status, header)
        elif kind is _FILE and stat.S_ISREG(status.st_mode):
            self._file(parent, name, path, status, member, sink)
        elif kind is _FILE or stat.S_IFMT(status.st_mode) != _MODES[kind]:
            self._retyped(path, status, member, header)
        else:
            self._other(parent, name, path, status, header)
        if self._owner is not None and kind is not _HARD_LINK:
            self._dress(parent, name, path, status, header)

    def _retyped(self, path: str, status: os.stat_result, member: Member, header: Header) -> None:
        if self._has_devices or header.type not in _DEVICES:
            found = "whiteout" if is_whiteout(status) else _NOUNS.get(stat.S_IFMT(status.st_mode), "thing")
            self._differs(path, Damage.RETYPED, a(header.type), a(found), member)

    def _expect(self, path: str) -> bool:
        """Whether `path` can be remembered. Nothing is said of what cannot: a later member may replace it."""
        seen = self._seen
        if path in seen.expected:
            self.settle()
            seen.forget(path)
            return True
        seen.name_bytes += sys.getsizeof(path)
        if seen.name_bytes <= MOST_NAME_BYTES:
            seen.expected.add(path)
            return True
        seen.doubt(f"its members have names of more than {MOST_NAME_BYTES >> 20} MiB")
        seen.is_placed = False
        return False

    def _file(
        self, parent: int, name: str, path: str, status: os.stat_result, member: Member, sink: Sink | None
    ) -> None:
        seen, size = self._seen, member.size
        seen.files += 1
        if status.st_size != size:
            damage = Damage.RESIZED if status.st_size else Damage.EMPTIED
            self._differs(path, damage, described(size, member.crc), f"{status.st_size} bytes", member)
            return
        if not size:
            return
        seen.read_bytes += size
        fd, crc = opened(parent, name), member.crc or 0
        read = self._contents.unlike(fd, size, crc, sink) if size <= CHUNK else self._contents.read(fd, size, sink)
        if read is None:
            return
        self._waiting.append((path, size, crc, read))
        if len(self._waiting) >= _WAITING or sink is not None:
            self.settle()

    def _judge(self, path: str, size: int, crc: int, content: Callable[[], Content]) -> None:
        try:
            read = content()
        except OSError as error:
            self._differs(path, Damage.UNREADABLE, described(size, crc), name_of(error), size=size, crc=crc)
            return
        if read.size != size:
            self._differs(path, Damage.RESIZED, described(size, crc), f"{read.size} bytes", size=size, crc=crc)
        elif read.crc != crc:
            self._differs(path, Damage.CHANGED, described(size, crc), described(size, read.crc), size=size, crc=crc)

    def _other(self, parent: int, name: str, path: str, status: os.stat_result, header: Header) -> None:
        match header.type:
            case MemberType.SYMLINK:
                expected, found = os.fsdecode(header.link), os.readlink(name, dir_fd=parent)
                if expected != found:
                    self._differs(path, Damage.RETARGETED, f"a symlink to {expected}", f"one to {found}")
            case MemberType.CHARACTER_DEVICE | MemberType.BLOCK_DEVICE:
                numbers = (os.major(status.st_rdev), os.minor(status.st_rdev))
                if numbers != (header.major, header.minor):
                    expected, found = f"{header.major}:{header.minor}", f"{numbers[0]}:{numbers[1]}"
                    self._differs(path, Damage.RETARGETED, f"the device {expected}", found)
            case _:
                pass

    def _hard_link(self, path: str, status: os.stat_result, header: Header) -> None:
        target = clean(os.fsdecode(header.link))
        if target not in self._seen.expected:
            # Unpacked into a mount, a link to a file of a layer below brings that file up into this dir.
            self._seen.doubt(f"{escaped(path)} is a hard link to what is not in its stream")
            self._seen.is_placed = False
        folder, _, name = (target or "").rpartition("/")
        try:
            other = os.stat(name, dir_fd=self._targets.open(folder), follow_symlinks=False)
        except OSError:
            if target not in self._seen.bad:
                self._seen.doubt(f"{escaped(path)} is a hard link to a place that is not in the layer")
            return
        if (status.st_dev, status.st_ino) != (other.st_dev, other.st_ino) and target not in self._seen.bad:
            self._differs(path, Damage.SPLIT, f"another name of {target}", "a file of its own")

    def _opaque(self, folder: int, path: str) -> None:
        self._seen.opaque.add(path)
        found = set(os.listxattr(folder)).intersection(OPAQUE_ATTRIBUTES)
        if not any(os.getxattr(folder, name) == b"y" for name in found):
            self._transparent(path, set(os.listdir(folder)))

    def _transparent(self, path: str, names: set[str]) -> None:
        if self._below.shows_in(path, names):
            self._differs(path or ".", Damage.TRANSPARENT, "an opaque directory", "one that hides nothing")
        else:
            self._seen.doubt(f"{escaped(path) or 'its diff'} is not opaque, and nothing below is seen through it")

    def _missing(self, path: str, member: Member, header: Header, *, hides: bool) -> None:
        self._seen.is_whole = self._seen.is_whole and not member.size
        if hides:
            if self._below.shows(path):
                self._differs(path, Damage.MISSING, "a whiteout", "absent", member)
            else:
                self._seen.doubt(f"{escaped(path)} has no whiteout, and nothing below is seen there")
        elif header.type not in _DEVICES or self._has_devices:
            self._differs(path, Damage.MISSING, _described_member(member, header), "absent", member)

    def _lost_folder(self, path: str, folder: str, member: Member, header: Header, error: OSError) -> None:
        """The folder of a member cannot be opened: it differs itself, or it is reached as nobody shall reach it."""
        seen = self._seen
        seen.is_whole = seen.is_whole and not member.size
        name = path.rpartition("/")[2]
        hides = name.startswith(WHITEOUT)
        path = f"{folder}/{name.removeprefix(WHITEOUT)}"
        if name != OPAQUE and not self._expect(path):
            return
        parts = folder.split("/")
        if any("/".join(parts[:depth]) in seen.bad for depth in range(1, len(parts) + 1)):
            return
        if error.errno in FAILURES:
            self._differs(folder, Damage.UNREADABLE, a(MemberType.DIRECTORY), name_of(error))
        elif error.errno not in _GONE:
            seen.doubt(f"{escaped(folder)} cannot be opened ({name_of(error)})")
        elif error.errno == errno.ENOENT and name == OPAQUE:
            self._transparent(folder, set())
        elif error.errno == errno.ENOENT:
            self._missing(path, member, header, hides=hides)
        else:
            seen.doubt(f"{escaped(path)} is reached through a symlink or lies in what is no directory")
            seen.is_placed = False

    def _differs(
        self,
        path: str,
        damage: Damage,
        expected: str,
        found: str,
        member: Member | None = None,
        *,
        size: int = 0,
        crc: int | None = None,
    ) -> None:
        if member is not None:
            size, crc = member.size, member.crc
        if size:
            self._seen.is_whole = False
        moved = self._moved(path) if len(self._seen.differences) < MOST_DIFFERENCES else ""
        if moved:
            self._seen.doubt(f"{escaped(moved)} tells only with the layers below it ({', '.join(MOVED[:2])})")
            return
        self._seen.note(Difference(path, damage, expected, found, size, crc))

    def _moved(self, path: str) -> str:
        """What the kernel moved or shared at `path` or above it; "" if nothing."""
        here = path
        while here:
            folder, _, name = here.rpartition("/")
            try:
                fd = os.open(name, FILE_FLAGS, dir_fd=self._targets.open(folder))
            except OSError:
                pass
            else:
                try:
                    if not set(MOVED).isdisjoint(os.listxattr(fd)):
                        return here
                except OSError:
                    pass
                finally:
                    os.close(fd)
            here = folder
        return ""

    def _dress(self, parent: int, name: str, path: str, status: os.stat_result, header: Header) -> None:
        """Owners are compared as far from that of the layer's dir as they are in a layer of root's."""
        owner = self._owner or 0
        expected = [f"owner {header.uid}:{header.gid}"]
        found = [f"owner {status.st_uid - owner}:{status.st_gid - owner}"]
        if header.type is not MemberType.SYMLINK:
            expected.append(f"mode {stat.S_IMODE(header.mode):04o}")
            found.append(f"mode {stat.S_IMODE(status.st_mode):04o}")
        if header.type in {MemberType.FILE, MemberType.DIRECTORY}:
            fd = opened(parent, name)
            try:
                attributes = {os.fsencode(key): os.getxattr(fd, key) for key in os.listxattr(fd)}
            finally:
                os.close(fd)
            expected.append(_told(header.xattrs))
            found.append(_told({k: v for k, v in attributes.items() if not k.startswith(_OWN)}))
        if expected != found and path not in self._seen.bad:
            differing = [(e, f) for e, f in zip(expected, found, strict=True) if e != f]
            said, there = (", ".join(words) for words in zip(*differing, strict=True))
            self._seen.note(Difference(path, Damage.DRESSED, said, there))


_OWN: Final = tuple(name.encode() for name in _KERNELS_OWN)


def _told(attributes: Mapping[bytes, bytes]) -> str:
    names = sorted((os.fsdecode(name), value.hex()) for name, value in attributes.items() if not name.startswith(_OWN))
    return ", ".join(f"{name}={value}" for name, value in names) or "no attributes"


def opened(parent: int, name: str) -> int:
    """A file or directory for reading, whose access time stays as it is where that may be asked for."""
    try:
        return os.open(name, FILE_FLAGS | os.O_NOATIME, dir_fd=parent)
    except PermissionError:
        return os.open(name, FILE_FLAGS, dir_fd=parent)


def clean(name: str) -> str | None:
    """`name` as the engine cleans it: relative, without what leads nowhere; None where it leads out of the layer."""
    if name and "//" not in name and "/." not in name and name[0] not in "./" and name[-1] != "/":
        return name
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def described(size: int, crc: int | None) -> str:
    if not size:
        return "an empty file"
    return f"{size} bytes, CRC-64 {crc or 0:016x}"


def _described_member(member: Member, header: Header) -> str:
    return described(member.size, member.crc) if header.type is MemberType.FILE else a(header.type)


def a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
