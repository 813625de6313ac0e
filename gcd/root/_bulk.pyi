from typing import TypeVar

from gcd.root.bulk import Counted

_T = TypeVar("_T")

def count_entries(directory: int, device: int, /) -> Counted: ...
def list_entries(directory: int, most: int, types: tuple[_T, _T, _T, _T], /) -> tuple[dict[str, _T], int]: ...
