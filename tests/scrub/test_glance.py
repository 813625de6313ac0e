"""What is sound at a glance: the compiled one and the one in Python are the same."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fastcrc.crc64 import go_iso
from hypothesis import example, given
from hypothesis import strategies as st
from support import compiled
from support.compiled import GLANCE, needs_compiled
from support.pagecache import resident, synced
from support.trees import DIRECTORY, FIFO, Link, plant, without_rights

from gcd.formats.bundle import LARGEST, LINK_BYTES, MOST_MEMBERS, NUMBERS
from gcd.scrub import bundles, glance
from gcd.scrub.folders import MOST_OPEN

both = pytest.mark.parametrize("reader", [pytest.param(glance, id="python"), GLANCE])

DEEP = "/".join(["x"] * MOST_OPEN)
TREE = {
    "a/b/c": b"content of c",
    "a/b/d": b"",
    "a/e": b"x" * LARGEST,
    "a/link": Link("b/c"),
    "a/other": Link("x" * LINK_BYTES),
    "ab/c": b"1",
    "z": b"z",
}
SOUND = [
    ("a", DIRECTORY),
    ("a/b", DIRECTORY),
    ("a/b/c", b"content of c"),
    ("a/b/d", b""),
    ("a/e", b"x" * LARGEST),
    ("a/link", Link("b/c")),
    ("a/other", Link("x" * LINK_BYTES)),
    ("ab/c", b"1"),
    ("a/b/c", b"content of c"),
    ("z", b"z"),
]


def bundled(*members):
    """A bundle as it is given to who glances: names, types, numbers, links."""
    kinds, numbers, links = bytearray(), b"", b""
    for _, what in members:
        content = what if isinstance(what, bytes) else b""
        kinds += b"5" if what is DIRECTORY else b"2" if isinstance(what, Link) else b"0"
        numbers += NUMBERS.pack(len(content), go_iso(content) if content else 0)
        links += (os.fsencode(what.target) if isinstance(what, Link) else b"") + b"\0"
    return b"".join(os.fsencode(name) + b"\0" for name, _ in members), bytes(kinds), numbers, links


def found_by(reader, home, *members):
    fd = os.open(home, os.O_RDONLY)
    try:
        return list(reader.glance(fd, *bundled(*members)))
    finally:
        os.close(fd)


@needs_compiled
def test_the_compiled_one_is_what_glances_here():
    assert bundles.glance is compiled.glance.glance


@both
def test_what_is_as_it_shall_be_is_sound(tmp_path, reader):
    plant(tmp_path, TREE)

    assert found_by(reader, tmp_path, *SOUND) == [1] * len(SOUND)
    assert found_by(reader, tmp_path) == []


@both
@pytest.mark.parametrize(
    "member",
    [
        ("gone", b"z"),
        ("gone/a", b"z"),
        ("z", b""),
        ("z", b"y"),
        ("z", b"zz"),
        ("z", DIRECTORY),
        ("z", Link("z")),
        ("z/a", b"z"),
        ("a", b"z"),
        ("a", Link("z")),
        ("a/b/c", b"content of d"),
        ("a/b/c", b"content of"),
        ("a/b/d", b"1"),
        ("a/link", b"content of c"),
        ("a/link", DIRECTORY),
        ("a/link", Link("b/")),
        ("a/link", Link("b/cc")),
        ("a/link", Link("b/d")),
        ("a/link", Link("")),
        ("folder", DIRECTORY),
        ("folder/b/c", b"content of c"),
        ("long", Link("y" * LINK_BYTES)),
        ("fifo", b"z"),
        ("fifo", b""),
        ("null", b"z"),
        ("null", b""),
        ("n" * 256, b"z"),
        ("n" * 256 + "/z", b"z"),
        ("a\udcff", b"z"),
    ],
)
def test_what_is_not_is_left_to_others_and_nothing_else(tmp_path, reader, member):
    plant(tmp_path, TREE | {"folder": Link("a"), "fifo": FIFO, "long": Link("y" * (LINK_BYTES + 1))})
    os.mknod(tmp_path / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))

    assert found_by(reader, tmp_path, *SOUND, member, *SOUND) == [1] * len(SOUND) + [0] + [1] * len(SOUND)


@both
def test_names_that_only_begin_alike_are_told_apart(tmp_path, reader):
    plant(tmp_path, {"a/b/c/x": b"1", "a/bc/x": b"2", "a/b/x": b"3", "a/x": b"4", "aa/b/x": b"5", "x": b"6"})
    names = ["a/b/c/x", "a/bc/x", "a/b/x", "a/b/c/x", "a/x", "aa/b/x", "a/b/x", "x"]

    assert found_by(reader, tmp_path, *((name, (tmp_path / name).read_bytes()) for name in names)) == [1] * 8
    assert found_by(reader, tmp_path, *((name, b"0") for name in names)) == [0] * 8


@both
def test_no_more_folders_are_open_than_so_many(tmp_path, reader):
    plant(tmp_path, {f"{DEEP}/z": b"z", f"{DEEP}/x/z": b"z"})

    members = [(f"{DEEP}/z", b"z"), (f"{DEEP}/x/z", b"z"), (f"{DEEP}/z", b"z"), (DEEP, DIRECTORY)]
    assert found_by(reader, tmp_path, *members) == [1, 0, 1, 1]


@both
@pytest.mark.parametrize("size", [*range(1, 140), 4095, 4096, 4097, LARGEST - 1, LARGEST])
def test_the_checksum_of_a_file_of_any_size(tmp_path, reader, size):
    content = os.urandom(size)
    plant(tmp_path, {"a": content})
    others = [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in (0, size // 2, size - 1)]

    assert found_by(reader, tmp_path, ("a", content), *(("a", other) for other in others)) == [1, 0, 0, 0]


@both
def test_what_may_not_be_read_is_left_to_others(tmp_path, reader):
    plant(tmp_path, TREE)
    (tmp_path / "a/b/c").chmod(0)
    (tmp_path / "ab").chmod(0)
    tmp_path.chmod(0o755)

    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with without_rights():
            found = list(reader.glance(fd, *bundled(*SOUND)))
    finally:
        os.close(fd)
    assert found == [1, 1, 0, 1, 1, 1, 1, 0, 0, 1]


@both
@pytest.mark.parametrize("is_right", [True, False])
@pytest.mark.parametrize("was_resident", [True, False])
def test_the_page_cache_is_left_as_it_was(tmp_path, reader, was_resident, is_right):
    content = os.urandom(20_000)
    plant(tmp_path, {"a": content})
    synced(tmp_path / "a", is_kept=was_resident)
    before = resident(tmp_path / "a")

    assert found_by(reader, tmp_path, ("a", content if is_right else content[::-1])) == [is_right]
    assert resident(tmp_path / "a") == before == (5 if was_resident else 0)


QUICK_DISK = """
#define _GNU_SOURCE
#include <sys/uio.h>
ssize_t preadv2(int fd, const struct iovec *to, int n, off_t at, int flags) { return preadv(fd, to, n, at); }
ssize_t preadv64v2(int fd, const struct iovec *to, int n, off64_t at, int flags) { return preadv64(fd, to, n, at); }
"""
"""A disk that has read what a question for the page cache makes the kernel read before the question is answered."""

GLANCE_AT_A = """
import importlib, os, sys
from fastcrc.crc64 import go_iso
from gcd.formats.bundle import NUMBERS
reader, folder, size = importlib.import_module(sys.argv[1]), os.open(sys.argv[2], os.O_RDONLY), int(sys.argv[3])
print(list(reader.glance(folder, b"a\\0", b"0", NUMBERS.pack(size, go_iso(bytes(size))), b"\\0")))
"""


@needs_compiled
@both
def test_what_is_there_only_because_it_was_asked_for_is_not_left_there(tmp_path, reader):
    plant(tmp_path / "diff", {"a": bytes(20_000)})
    (tmp_path / "disk.c").write_text(QUICK_DISK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "disk.so", tmp_path / "disk.c"], check=True)
    synced(tmp_path / "diff/a", is_kept=False)

    words = [sys.executable, "-c", GLANCE_AT_A, reader.__name__, str(tmp_path / "diff"), "20000"]
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "disk.so")}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)

    assert done.stdout == "[1]\n"
    assert resident(tmp_path / "diff/a") == 0


@both
def test_no_access_time_is_set(tmp_path, reader):
    plant(tmp_path, {"a": b"a"})
    os.utime(tmp_path / "a", ns=(1, 2))

    assert found_by(reader, tmp_path, ("a", b"a")) == [1]
    assert (tmp_path / "a").stat().st_atime_ns == 1


@both
def test_no_descriptor_stays_open(tmp_path, reader):
    plant(tmp_path, TREE | {f"{DEEP}/x/z": b"z"})
    before = len(list(Path("/proc/self/fd").iterdir()))
    for member in [*SOUND, ("a/b/gone", b"z"), ("a/gone/z", b"z"), ("z/z", b"z"), (f"{DEEP}/x/z", b"z")]:
        found_by(reader, tmp_path, member)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


NO_BUNDLES = {
    "up": [(b"a/../b\0", b"0", bytes(16), b"\0")],
    "here": [(b"./b\0", b"0", bytes(16), b"\0")],
    "root": [(b"/b\0", b"0", bytes(16), b"\0")],
    "slash": [(b"b/\0", b"5", bytes(16), b"\0")],
    "no name": [(b"\0", b"0", bytes(16), b"\0")],
    "type": [(b"b\0", b"1", bytes(16), b"\0")],
    "size": [(b"b\0", b"0", NUMBERS.pack(LARGEST + 1, 0), b"\0")],
    "link": [(b"b\0", b"2", bytes(16), b"x" * (LINK_BYTES + 1) + b"\0")],
    "cut": [(b"b", b"0", bytes(16), b"\0"), (b"b\0", b"0", bytes(16), b""), (b"b\0", b"0", bytes(15), b"\0")],
    "more": [
        (b"b\0c\0", b"0", bytes(16), b"\0"),
        (b"b\0", b"0", bytes(16), b"\0\0"),
        (b"b\0c", b"0", bytes(16), b"\0"),
    ],
    "less": [(b"b\0", b"00", bytes(32), b"\0\0"), (b"b\0c\0", b"00", bytes(32), b"\0")],
    "many": [(b"b\0" * (MOST_MEMBERS + 1), b"0" * (MOST_MEMBERS + 1), bytes(16) * (MOST_MEMBERS + 1), bytes(129))],
}


@both
@pytest.mark.parametrize("kind", NO_BUNDLES)
def test_what_is_no_bundle_is_refused(reader, kind):
    for fields in NO_BUNDLES[kind]:
        with pytest.raises(ValueError, match="no bundle of members"):
            reader.glance(-1, *fields)


@both
@pytest.mark.parametrize(
    "change",
    [
        lambda path, content: path.write_bytes(content[:100]),
        lambda path, content: path.write_bytes(content * 2),
        lambda path, _: path.unlink(missing_ok=True),
        lambda path, _: (path.unlink(missing_ok=True), os.mkfifo(path)),
        lambda path, _: (path.unlink(missing_ok=True), path.symlink_to("/dev/zero")),
        lambda path, _: (path.unlink(missing_ok=True), path.mkdir()),
    ],
    ids=["shrinks", "grows", "vanishes", "becomes a FIFO", "becomes a symlink", "becomes a directory"],
)
def test_what_changes_meanwhile_is_one_or_the_other(tmp_path, reader, change):
    """A reader that waits for the FIFO, or follows the symlink, does not come back."""
    path, content, over = tmp_path / "a", os.urandom(5_000), threading.Event()
    path.write_bytes(content)

    def work():
        while not over.is_set():
            change(path, content)
            if path.is_dir():
                path.rmdir()
            elif path.is_fifo() or path.is_symlink():
                path.unlink()
            path.write_bytes(content)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        found = [found_by(reader, tmp_path, *[("a", content)] * 20) for _ in range(50)]
    finally:
        over.set()
        worker.join()

    assert {one for some in found for one in some} <= {0, 1}
    assert found_by(reader, tmp_path, ("a", content)) == [1]


PATHS = st.sampled_from(["a", "a/b", "a/b/c", "ab", "ab/c", "a/link", "link/c", "z", "z/y", "n" * 256])
THINGS = st.one_of(
    st.binary(max_size=3),
    st.sampled_from([b"q" * 64, b"q" * 65, b"q" * 5000, DIRECTORY, FIFO, Link("b"), Link("/"), Link("a/b")]),
)


@needs_compiled
@given(st.dictionaries(PATHS, THINGS), st.lists(st.tuples(PATHS, THINGS.filter(lambda thing: thing is not FIFO))))
@example({"a/b/c": b"1"}, [("a/b/c", b"1"), ("a/b", DIRECTORY)])
def test_both_find_the_same_in_any_tree(tmp_path_factory, tree, members):
    home = tmp_path_factory.mktemp("tree")
    for path, thing in tree.items():
        folders = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        if len(path) < 256 and not any(tree.get(folder, DIRECTORY) is not DIRECTORY for folder in folders):
            plant(home, {path: thing})

    assert found_by(compiled.glance, home, *members) == found_by(glance, home, *members)


@needs_compiled
@given(st.tuples(*[st.binary(max_size=40)] * 4))
def test_both_refuse_the_same(fields):
    outcomes = []
    for reader in (glance, compiled.glance):
        try:
            outcomes.append(reader.glance(-1, *fields))
        except ValueError:
            outcomes.append(None)
    assert outcomes[0] == outcomes[1]


def test_the_compiled_one_opens_nothing_for_writing():
    source = (Path(glance.__file__).parent / "_glance.c").read_text()
    flags = set(re.findall(r"\bO_[A-Z]+\b", source))

    assert flags == {
        "O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_DIRECTORY", "O_NOATIME",
    }  # fmt: skip
    calls = set(re.findall(r"\b(\w*(?:at|read\w*|advise|stat|close|write\w*))\(", source))
    assert {"unlinkat", "renameat", "mkdirat", "write", "pwrite", "futimens"}.isdisjoint(calls)
