from collections.abc import Sequence

from gcd.root.files import WholeFile, WholeRecord

def read_whole_files(home: int, names: Sequence[str], /) -> list[WholeFile | None]: ...
def read_whole_records(
    home: int, names: Sequence[str], files: tuple[str, ...], beginning: str, /
) -> list[WholeRecord | None]: ...
