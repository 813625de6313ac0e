"""BuildKit's databases copied without a pause while the engine builds and prunes: each copy is one sound state."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from gcd.formats.bolt import parse_database
from gcd.formats.buildkit import read_leases, read_records, read_snapshots, read_words
from gcd.model.reading import Present
from gcd.root.databases import copy_database

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.engine import Engine

    from gcd.formats.bolt import Database

pytestmark = pytest.mark.engine

READERS: dict[str, Callable[[Database], object]] = {
    "snapshots.db": read_snapshots,
    "metadata_v2.db": read_records,
    "containerdmeta.db": read_leases,
}


def test_every_copy_taken_during_builds_and_a_prune_is_sound(engine: Engine):
    transactions: dict[str, list[int]] = {name: [] for name in READERS}
    trouble: list[object] = []
    stop = threading.Event()

    def copy() -> None:
        fd = os.open(engine.root / "buildkit", os.O_RDONLY | os.O_DIRECTORY)
        try:
            while not stop.is_set():
                for name, read in READERS.items():
                    copied = copy_database(fd, name)
                    if not isinstance(copied, Present):
                        trouble.append(copied)
                        continue
                    database = parse_database(copied.value)
                    read(database)
                    read_words(database)
                    transactions[name].append(database.txid)
        except Exception as error:  # noqa: BLE001 - for the test to fail with
            trouble.append(error)
        finally:
            os.close(fd)

    copier = threading.Thread(target=copy)
    copier.start()
    try:
        for number in range(4):
            run = f'RUN ["/bin/busybox", "sh", "-c", "echo {number} >/n"]'
            engine.build(f"live{number}", f"FROM built\nCOPY c /c\n{run}\n", {"c": b"c" * 900}, buildkit=True)
        engine.docker("builder", "prune", "--all", "--force")
    finally:
        stop.set()
        copier.join()

    assert trouble == []
    for found in transactions.values():
        assert found == sorted(found)
        assert len(set(found)) > 10
