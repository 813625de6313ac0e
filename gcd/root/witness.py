"""
What only the content of files tells: asked when something is to be mended, never by a check.

Trouble is no exception: what cannot be read tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcd.formats.tarsplit import Member, parse_tar_split
from gcd.model import layout
from gcd.model.errors import FormatError
from gcd.model.reading import Present, Reading, value_of
from gcd.root.layercontent import lack_of_content

if TYPE_CHECKING:
    from gcd.model.ids import ChainId, DiffId, LayerDirId
    from gcd.root.tree import Directory

TAR_SPLIT_LIMIT = 256 << 20
COPY_LIMIT = 64 << 20
MAX_COPIES = 16
"""A crash leaves one."""


class RootWitness:
    """The witness of one root, which stays open as long as it is asked."""

    def __init__(self, root: Directory) -> None:
        self._root = root

    def layer_size(self, chain: ChainId) -> int | None:
        """The sum of the sizes in the tar-split of `chain`, as BuildKit counts; None if it cannot be read whole."""
        compressed = value_of(self._read(layout.layer_record(chain), layout.TAR_SPLIT, TAR_SPLIT_LIMIT))
        if compressed is None:
            return None
        try:
            return sum(entry.size for entry in parse_tar_split((compressed,)) if isinstance(entry, Member))
        except FormatError:
            return None

    def newer_copies(self, path: str) -> tuple[tuple[str, bytes], ...]:
        """
        The temporary copies beside the file `path` that were written after it, newest first: path and content.

        By mtimes: unlike ctimes these outlive a copy of the root, and a repair that was undone.
        """
        home, _, name = path.rpartition("/")
        opened = self._root.open_path(home)
        if not isinstance(opened, Present):
            return ()
        with opened.value as folder:
            names = sorted(n for n in folder.list().entries if n.startswith(f"{layout.TEMPORARY_PREFIX}{name}"))
            written = {n: _mtime_ns(folder, n) for n in (name, *names[:MAX_COPIES])}
            newer = [n for n in names[:MAX_COPIES] if written[n] > written[name]]
            newest_first = sorted(newer, key=lambda copy: written[copy], reverse=True)
            copies = [(f"{home}/{n}", folder.read(n, COPY_LIMIT, bytes)) for n in newest_first]
        return tuple((copy, content.value) for copy, content in copies if isinstance(content, Present))

    def lacks(self, layer_dir: LayerDirId, chain: ChainId, diff_id: DiffId) -> str:
        """Why `layer_dir` is not known to hold what the tar-split of `chain` says, as one clause; "" if it is."""
        tar_split = value_of(self._read(layout.layer_record(chain), layout.TAR_SPLIT, TAR_SPLIT_LIMIT))
        if tar_split is None:
            return "the tar-split cannot be read"
        opened = self._root.open_path(f"{layout.layer_dir(layer_dir)}/{layout.DIFF}")
        if not isinstance(opened, Present):
            return "its diff cannot be opened"
        with opened.value as diff:
            return lack_of_content(diff, tar_split, diff_id)

    def _read(self, home: str, name: str, limit: int) -> Reading[bytes]:
        opened = self._root.open_path(home)
        if not isinstance(opened, Present):
            return opened
        with opened.value as folder:
            return folder.read(name, limit, bytes)


def _mtime_ns(folder: Directory, name: str) -> int:
    """When `name` was written; before all times where it is not there."""
    status = folder.lstat(name)
    return status.value.st_mtime_ns if isinstance(status, Present) else -1
