"""What counts as damage to a file of the engine's own: not a want of rights, of a quiet moment, or of a target."""

from __future__ import annotations

from gcd.model.facts import FileType
from gcd.model.reading import Empty, Malformed, Reading, Unreadable

_DISK_ERRORS = frozenset({"EIO", "EUCLEAN", "EBADMSG"})


def file_is_damaged(reading: Reading[object]) -> bool:
    """
    Whether what was read of a file that the engine must read is damage: not a want of rights, and not a symlink, which
    gcd does not follow and the engine does.
    """
    match reading:
        case Empty():
            return True
        case Malformed(_, found, _):
            return found != FileType.SYMLINK.noun
        case Unreadable(reason):
            return reason in _DISK_ERRORS
        case _:
            return False


def database_is_damaged(reading: Reading[int]) -> bool:
    """Whether what was read of a database is damage, and not a want of rights or of a quiet moment."""
    return isinstance(reading, Malformed) or (isinstance(reading, Unreadable) and reading.reason in _DISK_ERRORS)
