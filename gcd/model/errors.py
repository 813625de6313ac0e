"""
The error tree.

::

    GcdError                    one sentence for the user, exit bits for the shell
    ├── UsageError              wrong flags, settings or codes                        16
    ├── CannotCheck             this run cannot begin or go on                         8
    │   ├── RootNotFound        no such directory
    │   ├── NotADockerRoot      a directory, but not a Docker root
    │   ├── RootUnreadable      no right to read it
    │   └── StoreNotSupported   a root whose live store gcd does not read
    └── CannotAct               nothing can be changed, or nothing more                8

    FormatError                 bytes that do not parse; caught where they are read and kept as ``Malformed``

Trouble with one item of a root is never an exception beyond the reader of that item: it is a `Reading`.
"""

from __future__ import annotations

from enum import IntFlag


class ExitBits(IntFlag):
    """The exit status is the OR of these, as with fsck(8)."""

    CLEAN = 0
    MENDED = 1
    FINDINGS_LEFT = 4
    NOT_DONE = 8
    """The job, or part of it, could not be done: something was not checked."""
    USAGE = 16
    INTERRUPTED = 32


class GcdError(Exception):
    """An end of the run that the user must hear of: `str()` is one sentence that says what is wrong and what to do."""

    exit_bits = ExitBits.NOT_DONE


class UsageError(GcdError):
    exit_bits = ExitBits.USAGE


class CannotCheck(GcdError):
    pass


class RootNotFound(CannotCheck):
    pass


class NotADockerRoot(CannotCheck):
    pass


class RootUnreadable(CannotCheck):
    pass


class StoreNotSupported(CannotCheck):
    pass


class CannotAct(GcdError):
    pass


class FormatError(Exception):
    """
    Bytes that are not what their place demands.

    `what` names the structure ("bolt page 7"), `offset` is in bytes from its file's start, `expected` and `found` are
    short texts; `found` is escaped and cut, so that it may be printed as it is.
    """

    def __init__(self, what: str, *, offset: int = 0, expected: str, found: str) -> None:
        super().__init__(what, offset, expected, found)
        self.what = what
        self.offset = offset
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"{self.what} at offset {self.offset}: expected {self.expected}, found {self.found}"
