r"""
``/proc/<pid>/mountinfo``: what one mount namespace has mounted.

::

    36 35 98:0 /root /mount/point rw,noatime master:1 … - overlay source rw,lowerdir=l/AB:l/CD,upperdir=…,workdir=…
    id parent dev root mount_point options tags…      separator fstype source options of the file system

Space, tab, newline, backslash (in options also comma and equals sign) are written as ``\040`` and the like. Paths are
those of the process whose file it is, and ``//deleted`` follows one that is gone. The overlay's options are shown as
they were given: in ``lowerdir`` a colon separates (two of them: data-only layers follow) and a backslash escapes;
``lowerdir+`` and ``datadir+`` (6.5 and later) come once for each layer, unescaped. The engine gives absolute
``…/l/<LINK>``, or relative ``l/<LINK>`` and ``<id>/diff`` where the options would not fit into a page.

Sources: Linux ``fs/proc_namespace.c`` show_mountinfo, ``fs/overlayfs/params.c`` ovl_show_options and
ovl_parse_param_split_lowerdirs (older: ``fs/overlayfs/super.c`` ovl_split_lowerdirs, ovl_unescape); moby
``daemon/graphdriver/overlay2/overlay.go`` Get.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE = re.compile(
    rb"[0-9]+ -?[0-9]+ (?P<major>[0-9]{1,10}):(?P<minor>[0-9]{1,10}) (?P<root>[^ ]+) (?P<point>[^ ]+) [^ ]+ "
    rb"(?:[^ ]+ )*?- (?P<fstype>[^ ]*) (?P<source>[^ ]*) (?P<options>[^ ]*)"
)
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_LOWER = re.compile(r"(?:[^:\\]|\\.)+", re.DOTALL)

_DELETED = "//deleted"


class MountLine(Struct, frozen=True):
    """
    One mount. `major_minor` is the device, as ``os.major`` and ``os.minor`` of an ``st_dev`` give it. Paths have their
    escapes and the mark ``//deleted`` removed; bytes that are not UTF-8 are carried by surrogateescape. `upper`, `work`
    and `lowers` (nearest first, data-only layers last) are those of an overlay: None and empty for other mounts.
    """

    major_minor: tuple[int, int]
    root: str
    mount_point: str
    fstype: str
    source: str
    upper: str | None = None
    work: str | None = None
    lowers: tuple[str, ...] = ()


class MountTable(Struct, frozen=True):
    """`lines` in the kernel's order; `unparsable` counts the lines that were skipped, of which nothing is known."""

    lines: tuple[MountLine, ...]
    unparsable: int

    def __iter__(self) -> Iterator[MountLine]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)


def parse_mountinfo(raw: bytes) -> MountTable:
    """Any bytes give a table; where `unparsable` is not 0 the namespace was not read completely."""
    lines: list[MountLine] = []
    unparsable = 0
    for text in raw.split(b"\n"):
        if not text:
            continue
        line = _mount_line(text)
        if line is None:
            unparsable += 1
        else:
            lines.append(line)
    return MountTable(tuple(lines), unparsable)


def _mount_line(text: bytes) -> MountLine | None:
    match = _LINE.fullmatch(text)
    if match is None:
        return None
    fstype = _decoded(match["fstype"])
    upper, work, lowers = _layers(match["options"]) if fstype == "overlay" else (None, None, ())
    return MountLine(
        major_minor=(int(match["major"]), int(match["minor"])),
        root=_decoded(match["root"]).removesuffix(_DELETED) or "/",
        mount_point=_decoded(match["point"]).removesuffix(_DELETED) or "/",
        fstype=fstype,
        source=_decoded(match["source"]),
        upper=upper,
        work=work,
        lowers=lowers,
    )


def _layers(options: bytes) -> tuple[str | None, str | None, tuple[str, ...]]:
    upper: str | None = None
    work: str | None = None
    lowers: list[str] = []
    for option in options.split(b","):
        name, _, raw = option.partition(b"=")
        value = _decoded(raw)
        match name:
            case b"upperdir":
                upper = _unescaped(value)
            case b"workdir":
                work = _unescaped(value)
            case b"lowerdir":
                lowers.extend(_unescaped(part) for part in _LOWER.findall(value))
            case b"lowerdir+" | b"datadir+":
                lowers.append(value)
            case _:
                continue
    return upper, work, tuple(lowers)


def _decoded(field: bytes) -> str:
    return _OCTAL.sub(lambda match: bytes((int(match[1], 8),)), field).decode("utf-8", "surrogateescape")


def _unescaped(path: str) -> str:
    return _ESCAPED.sub(r"\1", path)
