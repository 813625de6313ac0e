"""The whole stream of a layer, put together again and hashed by a thread of its own while members are compared."""

from __future__ import annotations

import hashlib
import queue
import threading
from typing import Final

BATCH: Final = 1 << 20
_AHEAD: Final = 4


class Digest:
    """
    The SHA-256 of all that it is told, in its order; what is told is copied. `end` must be called.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._batch = bytearray()
        self._queue: queue.Queue[bytearray | None] = queue.Queue(_AHEAD)
        self._thread = threading.Thread(target=self._work, name="scrub-digest", daemon=True)
        self._thread.start()

    def add(self, piece: bytes | memoryview) -> None:
        self._batch += piece
        if len(self._batch) >= BATCH:
            self._queue.put(self._batch)
            self._batch = bytearray()

    def end(self) -> str:
        """The digest, as a diff id is written."""
        self._queue.put(self._batch)
        self._queue.put(None)
        self._thread.join()
        return f"sha256:{self._hash.hexdigest()}"

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            self._hash.update(batch)
