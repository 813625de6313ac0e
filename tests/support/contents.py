"""Layers of every kind, written by a real engine in every way in which it writes layers, and harm done to each."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from support.engine import BUSYBOX

if TYPE_CHECKING:
    from support.engine import Engine

LONG = "long-" + "x" * 120 + "/" + "y" * 150
CAPABILITY = "\x01\x00\x00\x02\x00\x20" + "\x00" * 14
NOT_UTF8 = "caf\udce9"

_MAKE = """
set -e
mkdir /d /gone /hidden /hidden/below /few; echo one >/d/one; ln /d/one /d/two; ln -s one /d/link
echo gone >/gone/file; echo below >/hidden/below/file
mkfifo /d/fifo; mknod /d/null c 1 3; mknod /d/loop b 7 0
echo set >/d/setuid; chmod 4755 /d/setuid
echo odd >"/d/$(printf 'caf\\351')"
echo new >"/d/$(printf 'a\\nb')"
truncate -s 3000000 /d/sparse; echo end >>/d/sparse
i=0; while [ $i -lt 300 ]; do echo $i >/few/$i; i=$((i+1)); done
: >/d/empty
"""
_CHANGE = """
set -e
rm -r /gone; rm /d/link; rm -r /hidden; mkdir /hidden; echo new >/hidden/new; echo more >>/d/one; chmod 700 /few
"""
FILES = {"a": os.urandom(700_000), "b": b"b\n"}


def dockerfile(first: str) -> str:
    """Two builds of the same layers would share them: `first` keeps them apart."""
    steps = "\n".join(f"RUN {json.dumps(['/bin/busybox', 'sh', '-c', _applets(step)])}" for step in (_MAKE, _CHANGE))
    return (
        f"FROM scratch\nCOPY busybox /bin/busybox\nLABEL first={first}\nCOPY {first} /{first}\n{steps}\n"
        'RUN ["/bin/busybox", "true"]\nCMD ["/bin/busybox", "sleep", "10000"]\nSTOPSIGNAL SIGKILL\n'
    )


def _applets(script: str) -> str:
    return f"PATH=/sh; /bin/busybox mkdir -p /sh; /bin/busybox --install -s /sh\n{script}"


def archive(form: int) -> bytes:
    """A layer in a tar format, with what only archives bring: long names, attributes, large owners, whiteouts."""
    whole = io.BytesIO()
    headers = {"comment": "of all"} if form == tarfile.PAX_FORMAT else {}
    with tarfile.open(
        fileobj=whole, mode="w", format=form, pax_headers=headers, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        _add(tar, "./", kind=tarfile.DIRTYPE, mode=0o755)
        _add(tar, "bin", kind=tarfile.DIRTYPE, mode=0o755)
        _add(tar, "bin/busybox", content=Path(BUSYBOX).read_bytes(), mode=0o755)
        _add(tar, "empty", mode=0o644)
        _add(tar, LONG, content=b"long\n" * 3000)
        _add(tar, "link", kind=tarfile.SYMTYPE, linkname=LONG)
        _add(tar, "hard", kind=tarfile.LNKTYPE, linkname="bin/busybox", mode=0o755)
        _add(tar, f"odd/{NOT_UTF8}" if form == tarfile.GNU_FORMAT else "odd/name", content=b"odd", uid=3_000_000)
        _add(tar, "null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)
        _add(tar, "fifo", kind=tarfile.FIFOTYPE)
        attributes = {"SCHILY.xattr.security.capability": CAPABILITY} if form == tarfile.PAX_FORMAT else {}
        _add(tar, "capable", content=b"capable", pax_headers=attributes, mode=0o6755)
    return whole.getvalue()


def upper_archive() -> bytes:
    """A layer on top of that: a whiteout, an opaque directory, a file in a folder that it does not name."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, ".wh.empty")
        _add(tar, "odd", kind=tarfile.DIRTYPE, mode=0o755)
        _add(tar, "odd/.wh..wh..opq")
        _add(tar, "odd/here", content=b"here")
        _add(tar, "bin/new", content=b"new")
    return whole.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **said: object) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(content), 1_000_000_000
    for key, value in said.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(content))


def image_archive(tag: str, *layers: bytes) -> bytes:
    """What ``docker load`` takes: an image of `layers`, base first."""
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/busybox", "true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    paths = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": f"{name}.json", "RepoTags": [tag], "Layers": paths}]).encode()
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        for path, content in ((f"{name}.json", config), ("manifest.json", manifest), *zip(paths, layers, strict=True)):
            _add(tar, path, content)
    return whole.getvalue()


def write_every_way(engine: Engine, registry: str) -> None:
    """Images by both builders, commit, load, import and a pull from `registry`; those have layers of their own."""
    engine.build("classic", dockerfile("a"), FILES)
    engine.build("kit", dockerfile("b"), FILES, buildkit=True)
    engine.docker("run", "--network=none", "--name", "made", "classic", "/bin/busybox", "sh", "-c", _applets(_CHANGED))
    engine.docker("commit", "made", "committed:latest")
    engine.docker("rm", "made")
    engine.docker("load", stdin=image_archive("loaded:latest", archive(tarfile.PAX_FORMAT), upper_archive()))
    engine.docker("import", "-", "imported:latest", stdin=archive(tarfile.GNU_FORMAT))
    pulled = f"{registry}/pulled:v1"
    engine.build(pulled, "FROM scratch\nCOPY c /c\nCOPY d /d/d\n", {"c": os.urandom(3_000_000), "d": b"d\n"})
    engine.docker("push", pulled)
    engine.docker("rmi", pulled)
    engine.docker("pull", pulled)


_CHANGED = """
set -e
mv /few/7 /few/seven; rm -r /d; mkdir /d; echo fresh >/d/fresh; ln /d/fresh /d/same; mkfifo /d/pipe
ln -s fresh /d/link; echo x >/d/setuid; chmod 2755 /d/setuid
"""
