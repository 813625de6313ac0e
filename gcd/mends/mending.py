"""The words of mends: what is to be written, why nothing is, what only files tell, and what the owner allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from gcd.model.plan import Reason

if TYPE_CHECKING:
    from gcd.model.content import Twin
    from gcd.model.facts import LayerRecord
    from gcd.model.finding import Finding
    from gcd.model.ids import ChainId, DiffId, LayerDirId
    from gcd.model.inventory import Inventory
    from gcd.model.plan import Change
    from gcd.model.storegraph import StoreGraph


class Mending(Struct, frozen=True):
    """All of `changes` mend what was found; `foretold` says what the engine will do at its next start, or is ""."""

    changes: tuple[Change, ...]
    foretold: str = ""


class Unproven(Struct, frozen=True):
    """Nothing is written; `why` is one clause for people that says what would have to change."""

    why: str
    reason: Reason = Reason.UNPROVEN


class Witness(Protocol):
    """What only the content of files tells; each answer is read when it is asked for. Nothing of it is an exception."""

    def layer_size(self, chain: ChainId) -> int | None:
        """The sum of the sizes in the tar-split of `chain`; None if it cannot be read to its end."""

    def newer_copies(self, path: str) -> tuple[tuple[str, bytes], ...]:
        """
        The temporary copies of the file `path` that the engine wrote beside it and after it: path and content of each,
        newest first. All of them where there is no such file.
        """

    def lacks(self, layer_dir: LayerDirId, chain: ChainId, diff_id: DiffId) -> str:
        """
        Why ``diff`` of `layer_dir` cannot be shown to be what the record `chain` was made of, as one clause; "" if it
        is: all that its tar-split names is there as it says, nothing else is, and the stream's SHA-256 is `diff_id`.
        """

    def twins(self, chain: ChainId, layers: Mapping[ChainId, LayerRecord]) -> tuple[Twin, ...] | str:
        """
        Of each file of the layer `chain` that is missing, or whose content is not what was unpacked, which file of
        another of `layers` holds that, proven by the SHA-256 of the whole stream; or why that is not known.
        """


class Consent(Struct, frozen=True):
    """
    What the owner of the host said beforehand.

    With `auto_remove` a container is mended even though the engine will remove it, with its data, at its next start
    (S13). Without `hold` images of unknown names get none, and the next prune may delete them (S16).
    """

    auto_remove: bool = False
    hold: bool = True


NOTHING_SAID: Final = Consent()


class Case(Struct, frozen=True):
    """One finding, and all that a mender may ask."""

    inventory: Inventory
    graph: StoreGraph
    finding: Finding
    witness: Witness
    consent: Consent


Mender = Callable[[Case], Mending | Unproven]
