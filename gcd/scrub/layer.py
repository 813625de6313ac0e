"""
One layer: every member of its stream, nothing else in its dir, and a second look at whatever differs.

A layer's dir never changes while the engine keeps it. What differs in one look and not in the next, or differently, was
being written by somebody; a record that is gone after a look was being removed: of that nothing is said.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from gcd.formats.bundle import Bundle
from gcd.formats.escape import escaped
from gcd.formats.texts import parse_layer_dir_id
from gcd.model import layout
from gcd.model.content import DISK_FAILS, MOST_REASONS, Damage, Depth, Difference, Soundness, Verdict
from gcd.model.errors import FormatError
from gcd.model.facts import FileType
from gcd.model.reading import Absent, Present, Unreadable, describe, value_of
from gcd.root.tree import FILE_FLAGS, Directory, name_of
from gcd.scrub.below import Below, is_whiteout
from gcd.scrub.bundles import Bundles
from gcd.scrub.members import FAILURES, Members, Seen
from gcd.scrub.recipe import Asked
from gcd.scrub.stream import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gcd.model.ids import ChainId, DiffId, LayerDirId
    from gcd.model.reading import Reading
    from gcd.scrub.reading import Contents
    from gcd.scrub.recipe import Clerk

TEXT_LIMIT: Final = 4096
MORE_LOOKS: Final = 2
_FAILURES: Final = frozenset(errno.errorcode[number] for number in FAILURES)


class Layer(Struct, frozen=True):
    """A layer record, as far as it matters here; `size` is what it says, in bytes."""

    chain: ChainId
    diff_id: DiffId
    layer_dir: LayerDirId
    size: int = 0


class Manner(Struct, frozen=True):
    """
    How to look. With `is_dressed` modes, owners and extended attributes are compared too. `told` is called again and
    again with the bytes read of the layer so far; what it raises ends the look.
    """

    depth: Depth
    is_dressed: bool = False
    told: Callable[[int], None] = lambda _: None


class _Look(Struct, frozen=True):
    seen: Seen
    digest: str
    """Of the stream, if all of it could be read, else ""."""


def verify(root: Directory, layer: Layer, contents: Contents, manner: Manner, *, now_ns: int) -> Verdict | None:
    """The verdict on `layer`; None where it is gone or another one by now. Raises nothing for what the root holds."""
    before = latest = _look(root, layer, contents, manner)
    for _ in range(MORE_LOOKS):
        if not _is_suspect(latest, layer):
            before = latest
            break
        before, latest = latest, _look(root, layer, contents, manner)
        if before.seen.differences == latest.seen.differences and before.digest == latest.digest:
            break
    return _verdict(layer, manner, before, latest, now_ns) if _is_there(root, layer) else None


def _is_suspect(look: _Look, layer: Layer) -> bool:
    return bool(look.seen.differing or (look.digest and look.digest != layer.diff_id))


def _verdict(layer: Layer, manner: Manner, first: _Look, second: _Look, now_ns: int) -> Verdict:
    """What the last two looks agree upon; where they contradict each other, that."""
    seen = second.seen
    agreed = {path: d for path, d in seen.differences.items() if first.seen.differences.get(path) == d}
    unsteady = sorted((first.seen.differences.keys() | seen.differences.keys()) - agreed.keys())
    reasons = [*seen.reasons, *(f"{escaped(path)} changes while it is read" for path in unsteady)]
    digest = second.digest if second.digest != layer.diff_id and not seen.differing else ""
    if digest and first.digest != digest:
        digest = ""
        reasons.append("its stream changes while it is read")
    if digest and seen.reasons:
        # What could not be compared may be why: no claim.
        digest = ""
        reasons.append("its stream does not hash to its diff id, which may be for that reason")
    is_damaged = digest or any(d.damage is not Damage.DRESSED for d in agreed.values())
    sound = Soundness.DAMAGED if is_damaged else Soundness.UNVERIFIABLE if reasons else Soundness.VERIFIED
    return Verdict(
        chain=layer.chain,
        layer_dir=layer.layer_dir,
        depth=manner.depth,
        soundness=sound,
        checked_ns=now_ns,
        read_bytes=seen.read_bytes,
        files=seen.files,
        differences=tuple(sorted(agreed.values(), key=lambda d: d.path)),
        differing=seen.differing if not unsteady else len(agreed),
        reasons=tuple(reasons[:MOST_REASONS]),
        digest=digest,
    )


def _look(root: Directory, layer: Layer, contents: Contents, manner: Manner) -> _Look:
    seen = Seen()
    record = root.open_path(layout.layer_record(layer.chain))
    diff = root.open_path(f"{layout.layer_dir(layer.layer_dir)}/{layout.DIFF}")
    if not isinstance(diff, Present) or not isinstance(record, Present):
        at_fault = DISK_FAILS if _is_of_disk(record) or _is_of_disk(diff) else ""
        which = "dir" if isinstance(record, Present) else "record"
        seen.doubt(f"{at_fault}its {which} cannot be opened")
        for opened in (record, diff):
            if isinstance(opened, Present):
                opened.value.close()
        return _Look(seen, "")
    digest = Digest() if manner.depth is Depth.FULL else None
    found = ""
    with record.value as record_dir, diff.value as diff_dir:
        below = Below(root, layer)
        members = Members(
            diff_dir.fd, contents, seen, below, is_dressed=manner.is_dressed, has_devices=root.stat().st_uid == 0
        )
        bundles = Bundles(diff_dir.fd, contents, seen, members)
        try:
            is_complete = _compare_all(contents.clerk, record_dir, members, bundles, seen, digest, manner)
        finally:
            bundles.close()
            members.close()
            if digest is not None:
                found = digest.end()
        if is_complete and seen.is_placed:
            _note_extras(diff_dir, seen, below)
    return _Look(seen, found if is_complete and seen.is_whole else "")


def _compare_all(
    clerk: Clerk,
    record: Directory,
    members: Members,
    bundles: Bundles,
    seen: Seen,
    digest: Digest | None,
    manner: Manner,
) -> bool:
    """Whether the tar-split could be read to its end."""
    sink = None if digest is None else digest.add
    asked = Asked.WHOLE if sink is not None else Asked.MEMBERS if manner.is_dressed else Asked.BUNDLES
    try:
        with tar_split_of(record) as fd:
            for entry in clerk.entries(fd, asked):
                if isinstance(entry, bytes):
                    if sink is not None:
                        sink(entry)
                    continue
                if isinstance(entry, Bundle):
                    bundles.compare(entry)
                else:
                    bundles.settle()
                    members.compare(*entry, sink)
                manner.told(seen.read_bytes)
            bundles.settle()
    except FileNotFoundError:
        seen.doubt("it has no tar-split")
    except OSError as error:
        at_fault = DISK_FAILS if error.errno in FAILURES else ""
        seen.doubt(f"{at_fault}its tar-split cannot be read ({name_of(error)})")
    except FormatError as error:
        seen.doubt(f"its tar-split cannot be read: {error}")
    else:
        return True
    return False


@contextmanager
def tar_split_of(record: Directory) -> Iterator[int]:
    """The file ``tar-split.json.gz`` of the open layer record, open."""
    fd = os.open(layout.TAR_SPLIT, FILE_FLAGS, dir_fd=record.fd)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FormatError("tar-split", expected="a file", found="something else")
        yield fd
    finally:
        os.close(fd)


def _note_extras(diff: Directory, seen: Seen, below: Below) -> None:
    """Everything in `diff` is expected, or a directory above something that is; what is no such thing is noted."""
    above = _above(seen.expected)
    device = diff.stat().st_dev
    pending = [""]
    while pending:
        path = pending.pop()
        opened = diff.open_path(path) if path else Present(diff)
        if not isinstance(opened, Present):
            _note_unlisted(path, opened, seen)
            continue
        try:
            pending += _folders_among(opened.value, path, device, above, seen, below)
        finally:
            if path:
                opened.value.close()


def _folders_among(
    folder: Directory, path: str, device: int, above: set[str], seen: Seen, below: Below
) -> Iterator[str]:
    """The directories in `folder`, which is at `path`, that belong there; what does not is noted."""
    listing = folder.list()
    if listing.failure:
        _note_unlisted(path, Unreadable(listing.failure), seen)
    elif folder.stat().st_dev != device:
        seen.doubt(f"{escaped(path) or 'its diff'} is another filesystem's")
    expected, directory, prefix = seen.expected, FileType.DIRECTORY, f"{path}/" if path else ""
    for name, kind in listing.entries.items():
        here = prefix + name
        if here in expected or (here in above and kind is directory):
            if kind is directory and here not in seen.bad:
                yield here
            continue
        status = value_of(folder.lstat(name)) if kind is FileType.OTHER else None
        if status is not None and stat.S_ISSOCK(status.st_mode):
            # An engine leaves sockets out of streams; the steps of a build leave them in the dir.
            continue
        if status is not None and is_whiteout(status) and (_is_in(here, seen.opaque) or not below.shows(here)):
            seen.doubt(f"{escaped(here)} is a whiteout that its stream does not have, and hides nothing of its own")
        else:
            seen.note(Difference(here, Damage.EXTRA, "absent", kind.noun))


def _note_unlisted(path: str, failed: Reading[Directory], seen: Seen) -> None:
    if _is_of_disk(failed):
        seen.note(Difference(path or ".", Damage.UNREADABLE, "a directory", describe(failed)))
    elif not isinstance(failed, Absent):
        seen.doubt(f"{escaped(path) or 'its diff'} cannot be listed whole ({describe(failed)})")


def _is_of_disk(failed: Reading[Directory]) -> bool:
    return isinstance(failed, Unreadable) and failed.reason in _FAILURES


def _above(paths: Iterable[str]) -> set[str]:
    """The directories in which `paths` lie."""
    above: set[str] = set()
    pending = {path.rpartition("/")[0] for path in paths} - {""}
    while pending:
        above |= pending
        pending = {folder.rpartition("/")[0] for folder in pending} - above - {""}
    return above


def _is_in(path: str, folders: set[str]) -> bool:
    """Whether `path` is anywhere below one of `folders`, of which "" is the layer itself."""
    while path:
        path = path.rpartition("/")[0]
        if path in folders:
            return True
    return False


def _is_there(root: Directory, layer: Layer) -> bool:
    """Whether the record still names the dir."""
    opened = root.open_path(layout.layer_record(layer.chain))
    if not isinstance(opened, Present):
        return False
    with opened.value as record:
        named = value_of(record.read(layout.CACHE_ID, TEXT_LIMIT, lambda raw: parse_layer_dir_id(raw, "cache-id")))
    return named == layer.layer_dir
