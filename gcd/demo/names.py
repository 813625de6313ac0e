"""
Ids for synthetic roots: of the same form as Docker's random ones, but the same for the same seed.

Sources of the forms: moby ``pkg/stringid`` GenerateRandomID (64 hex), ``daemon/graphdriver/overlayutils/randomid.go``
GenerateID (link ids), buildkit ``identity/randomid.go`` NewID (25 characters of base 36).
"""

from __future__ import annotations

import base64
import hashlib

from gcd.model.ids import LayerDirId, LinkId

_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
_RANDOM_BYTES = 17


class Names:
    """A source of ids, never the same one twice; two of the same `seed` give the same ids in the same order."""

    def __init__(self, seed: int | str = 0) -> None:
        self._seed = seed
        self._given = 0

    def _bytes(self) -> bytes:
        self._given += 1
        return hashlib.sha256(f"{self._seed}/{self._given}".encode()).digest()

    def hex64(self) -> str:
        return self._bytes().hex()

    def layer_dir_id(self) -> LayerDirId:
        return LayerDirId(self.hex64())

    def link_id(self) -> LinkId:
        return LinkId(base64.b32encode(self._bytes()[:_RANDOM_BYTES]).decode()[:26])

    def build_id(self) -> LayerDirId:
        number = int.from_bytes(b"\x80" + self._bytes()[: _RANDOM_BYTES - 1])
        digits = ""
        while number:
            number, digit = divmod(number, 36)
            digits = _BASE36[digit] + digits
        return LayerDirId(digits[1:26])

    def digits(self, count: int = 9) -> str:
        return str(int.from_bytes(self._bytes()))[:count]
