"""Saved plans are applied once: the digest of each one that was is a file in ``.gcd/plans``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.actions import syscalls
from gcd.model.errors import CannotAct

if TYPE_CHECKING:
    from gcd.actions.place import Place


def mark_used(place: Place, digest: str) -> None:
    """From here on the plan of that digest cannot be applied again. Raises `CannotAct` if it was already."""
    with place.plans() as plans:
        try:
            syscalls.write_new_file(plans, digest, b"", place.file_dress)
            syscalls.sync_directory(plans)
        except FileExistsError:
            raise CannotAct("this plan was applied already, and a plan is applied once: make a new one") from None
        except OSError as error:
            raise CannotAct(f"that this plan is applied cannot be noted in the quarantine: {error.strerror}") from error
