from collections.abc import Sequence

from gcd.root.sound import Form, Found

def read_records(home: int, names: Sequence[str], form: Form, /) -> list[Found | None]: ...
def read_symlinks(
    home: int, names: Sequence[str], before: bytes, templates: tuple[bytes, ...], after: bytes, /
) -> list[tuple[str, int] | None]: ...
