"""What the engine lists beside a reading."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from gcd.actions import engineapi
from gcd.actions.engineapi import EngineRefused
from gcd.commands import listing
from gcd.model.errors import CannotAct
from gcd.model.facts import Engine, EngineState


def test_an_engine_that_does_not_list_what_it_has_cannot_be_acted_with(tmp_path, monkeypatch):
    def refuse(*, silent_too):
        assert silent_too
        raise EngineRefused("Read timed out")

    api = SimpleNamespace(socket="/s", listed=refuse)
    monkeypatch.setattr(listing, "read_engine", lambda _root: Engine(EngineState.RUNNING, pid=1))
    monkeypatch.setattr(engineapi, "connect", lambda *_, **__: nullcontext(api))

    with pytest.raises(CannotAct, match=r"^The engine on /s does not list what it has: Read timed out\.$"):
        listing.listed(str(tmp_path))
