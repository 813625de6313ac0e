"""Why something is not done, raised where it is seen and told where it was asked for."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from gcd.model.errors import CannotAct
from gcd.model.plan import Reason
from gcd.root.tree import name_of

if TYPE_CHECKING:
    from typing import NoReturn

_NO_RENAME = "this file system or C library has no renameat2"
_FULL = "the disk is full: not even a manifest fits"
_NO_RIGHTS = "{path} may not be changed: run gcd as root, and see lsattr(1) for an immutable flag"

_SAID = {
    errno.EXDEV: (Reason.PLACE, "{path} lies on another device or mount, or in another quota project"),
    errno.EBUSY: (Reason.IN_USE, "{path} is a mountpoint"),
    errno.ENOENT: (Reason.CHANGED, "{path} is not there any more"),
    errno.ENOTDIR: (Reason.CHANGED, "{path} is not there any more"),
    errno.EEXIST: (Reason.CHANGED, "something new stands at {path}"),
    errno.ENOTEMPTY: (Reason.CHANGED, "something new stands in {path}"),
    errno.ENOSPC: (Reason.PLACE, _FULL),
    errno.EDQUOT: (Reason.PLACE, _FULL),
    errno.EROFS: (Reason.PLACE, "the file system is mounted read-only"),
    errno.EPERM: (Reason.PLACE, _NO_RIGHTS),
    errno.EACCES: (Reason.PLACE, _NO_RIGHTS),
    errno.EINVAL: (Reason.PLACE, _NO_RENAME),
    errno.ENOSYS: (Reason.PLACE, _NO_RENAME),
}


class Refused(Exception):
    """`why` is one clause for people."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason = reason
        self.why = why


def refuse(reason: Reason, why: str) -> NoReturn:
    raise Refused(reason, why)


def of_error(error: OSError | CannotAct, path: str) -> Refused:
    """What a system call said about `path`, or the place about itself, as a refusal."""
    if isinstance(error, CannotAct):
        return Refused(Reason.PLACE, str(error).rstrip("."))
    reason, why = _SAID.get(error.errno or 0, (Reason.PLACE, f"{{path}}: {name_of(error)}"))
    return Refused(reason, why.format(path=path))
