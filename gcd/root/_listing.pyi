from typing import TypeVar

from gcd.root.listing import Told, Way

_T = TypeVar("_T")

def count_below(directory: int, device: int, levels: int, told: Told, /) -> list[Way]: ...
def list_entries(directory: int, most: int, types: tuple[_T, _T, _T, _T], /) -> tuple[dict[str, _T], int]: ...
def list_formed(
    directory: int, most: int, types: tuple[_T, _T, _T, _T], templates: tuple[bytes, ...], /
) -> tuple[list[str], dict[str, _T], int]: ...
