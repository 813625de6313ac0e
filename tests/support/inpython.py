"""Reading without what is compiled: its system calls are not seen by who replaces the functions of ``os``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.root import descent, files, listing, record, rows, sound, tree

if TYPE_CHECKING:
    import pytest


def read_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here to the end of the test nothing that is compiled reads a root."""
    monkeypatch.setattr(rows, "read_records", sound.read_records)
    monkeypatch.setattr(rows, "read_symlinks", sound.read_symlinks)
    monkeypatch.setattr(record, "read_whole_files", files.read_whole_files)
    monkeypatch.setattr(record, "read_whole_records", files.read_whole_records)
    monkeypatch.setattr(tree, "list_entries", listing.list_entries)
    monkeypatch.setattr(tree, "list_formed", listing.list_formed)
    monkeypatch.setattr(descent, "count_below", listing.count_below)
