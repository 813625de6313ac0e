"""Only the very files that a layer was packed of are taken for its content."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import stat
import tarfile

import pytest

from gcd.demo.placing import put_content
from gcd.demo.tarsplit import MTIME, Folder, HardLinkTo, SymlinkTo, pack
from gcd.root.layercontent import lack_of_content
from gcd.root.tree import open_root

pytestmark = pytest.mark.root  # the streams say that root owns their files

CONTENT = {
    "bin/alias": SymlinkTo("tool"),
    "bin/tool": b"#!/bin/sh\n" * 300,
    "bin/tool2": HardLinkTo("bin/tool"),
    "etc/empty": b"",
    "etc/na\u00efve": b"a name beyond ASCII",
    "var/spool": Folder(),
}
PACKED = pack(CONTENT)
SYMLINKS = pack({f"link{number}": SymlinkTo("x") for number in range(269)})


@pytest.fixture
def diff(tmp_path):
    place = tmp_path / "diff"
    place.mkdir()
    put_content(place, CONTENT)
    return place


def lack(diff, packed=PACKED):
    with open_root(str(diff)) as directory:
        return lack_of_content(directory, packed.tar_split, packed.diff_id)


def test_the_files_that_were_packed(diff):
    assert lack(diff) == ""


def test_mtimes_do_not_matter(diff):
    os.utime(diff / "bin/tool", (1, 1))

    assert lack(diff) == ""


def change_a_byte(diff):
    (diff / "bin/tool").write_bytes(b"#!/bin/xx\n" * 300)


def append(diff):
    with (diff / "bin/tool").open("ab") as file:
        file.write(b"x")


def drop(diff):
    (diff / "etc/empty").unlink()


def drop_folder(diff):
    (diff / "var/spool").rmdir()


def add(diff):
    (diff / "var/new").write_bytes(b"")


def add_folder(diff):
    (diff / "var/spool/new").mkdir()


def turn_into_symlink(diff):
    (diff / "etc/empty").unlink()
    (diff / "etc/empty").symlink_to("nowhere")


def turn_folder_into_symlink(diff):
    (diff / "bin").rename(diff.parent / "bin")
    (diff / "bin").symlink_to(diff.parent / "bin")


def turn_into_fifo(diff):
    (diff / "bin/tool").unlink()
    os.mkfifo(diff / "bin/tool")


def change_target(diff):
    (diff / "bin/alias").unlink()
    (diff / "bin/alias").symlink_to("tool2")


def change_mode(diff):
    (diff / "etc/empty").chmod(0o4755)


def change_mode_of_folder(diff):
    (diff / "var/spool").chmod(0o700)


def change_owner(diff):
    os.chown(diff / "bin/alias", 1, 0, follow_symlinks=False)


def copy_instead_of_link(diff):
    content = (diff / "bin/tool").read_bytes()
    (diff / "bin/tool2").unlink()
    (diff / "bin/tool2").write_bytes(content)


NOT_AS_SAID = "{} in it is not what the tar-split says"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (change_a_byte, "its content does not hash to the diff id"),
        (append, "bin/tool in it is no file of 3000 bytes"),
        (drop, "its files cannot be read (ENOENT)"),
        (drop_folder, "its files cannot be read (ENOENT)"),
        (add, "var/new in it is not in the tar-split"),
        (add_folder, "var/spool/new in it is not in the tar-split"),
        (turn_into_symlink, NOT_AS_SAID.format("etc/empty")),
        (turn_folder_into_symlink, "bin in it is no directory"),
        (turn_into_fifo, "bin/tool in it is no file of 3000 bytes"),
        (change_target, NOT_AS_SAID.format("bin/alias")),
        (change_mode, NOT_AS_SAID.format("etc/empty")),
        (change_mode_of_folder, NOT_AS_SAID.format("var/spool")),
        (change_owner, NOT_AS_SAID.format("bin/alias")),
        (copy_instead_of_link, NOT_AS_SAID.format("bin/tool2")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_anything_else_is_not_its_content(diff, spoil, said):
    spoil(diff)

    assert lack(diff) == said


def test_a_layer_of_symlinks_alone_is_not_any_dir(diff, tmp_path):
    # Its digest comes from the tar-split alone, whatever there is on disk.
    (tmp_path / "empty").mkdir()

    assert lack(tmp_path / "empty", SYMLINKS) == "its files cannot be read (ENOENT)"
    assert lack(diff, SYMLINKS) == "its files cannot be read (ENOENT)"


# --- streams of other makers ------------------------------------------------------------------------------------------


class Packed:
    """A tar stream of `members`, with its tar-split in one segment for each member's header and padding."""

    def __init__(self, *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], format_=tarfile.GNU_FORMAT) -> None:
        lines, whole, padding = [], b"", b""
        for each in members:
            member, data = each if isinstance(each, tuple) else (each, b"")
            member.size, member.mtime = len(data), MTIME
            header = padding + member.tobuf(format_, errors="surrogateescape")
            lines.append({"type": 2, "payload": base64.b64encode(header).decode()})
            lines.append({"type": 1, "name_raw": base64.b64encode(os.fsencode(member.name)).decode()})
            if data:
                lines[-1] |= {"size": len(data), "payload": "AAAAAAAAAAA="}
            whole += header + data
            padding = bytes(-len(data) % 512)
        lines.append({"type": 2, "payload": base64.b64encode(padding + bytes(1024)).decode()})
        self.tar_split = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
        self.diff_id = "sha256:" + hashlib.sha256(whole + padding + bytes(1024)).hexdigest()


def member(name, kind=tarfile.REGTYPE, **values):
    made = tarfile.TarInfo(name)
    made.type, made.mode = kind, 0o644
    for key, value in values.items():
        setattr(made, key, value)
    return made


@pytest.fixture
def place(tmp_path):
    (tmp_path / "diff").mkdir()
    return tmp_path / "diff"


def test_a_whiteout_is_a_device_node(place):
    packed = Packed(member("etc", tarfile.DIRTYPE, mode=0o755), member("etc/.wh.passwd"))
    (place / "etc").mkdir(mode=0o755)

    assert lack(place, packed) == "its files cannot be read (ENOENT)"
    (place / "etc/.wh.passwd").write_bytes(b"")
    assert lack(place, packed) == "its files cannot be read (ENOENT)"
    (place / "etc/.wh.passwd").unlink()
    os.mknod(place / "etc/passwd", stat.S_IFCHR, os.makedev(0, 0))
    assert lack(place, packed) == ""


def test_a_device_node_that_is_no_whiteout_is_something_else(place):
    os.mknod(place / "null", stat.S_IFCHR | 0o644, os.makedev(1, 3))

    assert lack(place, Packed(member("null", tarfile.CHRTYPE, devmajor=1, devminor=3))) == ""
    assert lack(place, Packed(member("null", tarfile.CHRTYPE, devmajor=1, devminor=5))) == NOT_AS_SAID.format("null")
    assert lack(place, Packed(member(".wh.null"))) == NOT_AS_SAID.format("null")
    assert lack(place, Packed(member("null", tarfile.BLKTYPE, devmajor=1, devminor=3))) == NOT_AS_SAID.format("null")


def test_an_opaque_mark_is_an_attribute(place):
    packed = Packed(member("etc", tarfile.DIRTYPE, mode=0o755), member("etc/.wh..wh..opq"))
    (place / "etc").mkdir(mode=0o755)

    assert lack(place, packed) == "etc in it is not opaque"
    os.setxattr(place / "etc", "trusted.overlay.opaque", b"y")
    assert lack(place, packed) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../etc/passwd", "the tar-split names ../../etc/passwd, which leads out of a layer"),
        (".wh..wh.plnk", "its tar-split has the mark .wh..wh.plnk, which is not understood"),
    ],
)
def test_names_that_no_layer_has(place, name, said):
    assert lack(place, Packed(member(name))) == said


def test_one_name_twice(place):
    (place / "x").write_bytes(b"")

    said = "its tar-split names ./x twice, or more than gcd compares"
    assert lack(place, Packed(member("x"), member("./x"))) == said.replace("./x", "x")


def test_names_are_taken_as_the_engine_cleans_them(place):
    (place / "x").write_bytes(b"data")

    assert lack(place, Packed(member("./", tarfile.DIRTYPE), (member(".//x"), b"data"))) == ""


def test_names_that_are_no_utf8(place):
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    (place / name).write_bytes(b"data")

    assert lack(place, Packed((member(name), b"data"))) == ""


def test_a_sparse_member_is_not_understood(place):
    (place / "x").write_bytes(b"data")
    packed = Packed((member("x", tarfile.GNUTYPE_SPARSE), b"data"))

    assert lack(place, packed) == NOT_AS_SAID.format("x")


@pytest.mark.parametrize(
    "raw", [b"", b"not gzip", gzip.compress(b"[]\n", mtime=0), gzip.compress(b'{"type":3}\n', mtime=0)]
)
def test_a_damaged_tar_split(place, raw):
    with open_root(str(place)) as directory:
        said = lack_of_content(directory, raw, PACKED.diff_id)

    assert said.startswith("the tar-split cannot be read: ")


def test_a_stream_that_is_no_archive(place):
    raw = gzip.compress(b'{"type":2,"payload":"' + base64.b64encode(b"x" * 2000) + b'"}\n')
    with open_root(str(place)) as directory:
        assert lack_of_content(directory, raw, PACKED.diff_id) == "the tar-split gives no tar stream"
