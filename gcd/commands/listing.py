"""What the engine's own API lists, asked beside each reading (safety rules S2, S22)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.escape import escaped
from gcd.model.errors import CannotAct
from gcd.model.facts import EngineState
from gcd.root.engine import read_engine
from gcd.root.tree import open_root

if TYPE_CHECKING:
    from gcd.actions.engineapi import Impatience
    from gcd.model.facts import Listed


def listed(path: str, socket: str = "", impatience: Impatience | None = None) -> Listed | None:
    """
    What the engine on the root at `path` lists, None where none runs; `socket` is that of its API where the user names
    it. Raises `CannotAct` where one runs and does not answer.
    """
    with open_root(path) as root:
        engine = read_engine(root)
        if engine.state is not EngineState.RUNNING:
            return None
        # A tenth of a second, for running engines alone.
        from gcd.actions.engineapi import EngineRefused, connect  # noqa: PLC0415

        with connect(root, engine, socket=socket, impatience=impatience) as api:
            try:
                return api.listed(silent_too=True)
            except EngineRefused as refusal:
                why = f"The engine on {escaped(api.socket)} does not list what it has: {refusal}."
                raise CannotAct(why) from None
