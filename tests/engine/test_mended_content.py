"""
The real engine judges: files of a layer that it wrote, with several names, a capability and much content, are damaged,
copied from another layer by ``gcd repair`` while it is stopped, and then saved and run by it as if nothing had been.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.contents import CAPABILITY, image_archive
from support.engine import BUSYBOX, EngineError
from support.fingerprint import fingerprint

pytestmark = [pytest.mark.engine, pytest.mark.slow]

LARGE = os.urandom(1 << 20) * 40
TOOL = Path(BUSYBOX).read_bytes()
GONE = b"gone\n" * 1000
NAMES = ("bin/busybox", "bin/echo", "sh")


def layer(*members: tuple[str, bytes, dict[str, object]]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, said in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_111_111_111.25
            for key, value in said.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))
    return whole.getvalue()


def one() -> bytes:
    """The engine itself takes the capability from a file with several names: it gives each of them its owner anew."""
    linked = {"type": tarfile.LNKTYPE, "linkname": NAMES[0], "mode": 0o4755}
    capable = {"mode": 0o755, "pax_headers": {"SCHILY.xattr.security.capability": CAPABILITY}}
    return layer(
        (NAMES[0], TOOL, {"mode": 0o4755}),
        *((name, b"", linked) for name in NAMES[1:]),
        ("bin/ping", TOOL, capable),
        ("data/large", LARGE, {"uid": 7}),
        ("data/gone", GONE, {**capable, "mode": 0o2711, "gid": 8}),
    )


def gcd(state: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", "from gcd.cli import main; main()", *words],
        env={**os.environ, "GCD_STATE_DIR": str(state)},
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def damage(diff: Path) -> None:
    """As a power cut may leave it: the content is gone, and all else is there."""
    capable = diff / "bin/ping"
    capability = os.getxattr(capable, "security.capability")
    for name in (capable, diff / NAMES[0]):
        os.truncate(name, 0)
    os.setxattr(capable, "security.capability", capability)
    (diff / "data/gone").unlink()
    with (diff / "data/large").open("r+b") as large:
        large.seek(33 << 20)
        large.write(b"not what was there")


def kept_in(engine) -> list[str]:
    return [path.name for path in (engine.root / ".gcd/entries").iterdir()]


def saves(engine, name: str) -> bool:
    try:
        engine.docker("save", "-o", str(engine.home / "saved.tar"), name)
    except EngineError:
        return False
    return True


def test_damaged_files_are_copied_from_another_layer_and_the_engine_saves_and_runs_them(make_engine, tmp_path):
    engine = make_engine()
    engine.docker("load", stdin=image_archive("one:1", one()))
    engine.docker("load", stdin=image_archive("two:1", layer(("t", TOOL, {}), ("l", LARGE, {}), ("g", GONE, {}))))
    [diff] = [path.parents[1] for path in engine.overlay2.glob("*/diff/data/large")]
    whole = fingerprint(diff)
    damage(diff)
    hurt = fingerprint(diff)
    assert not saves(engine, "one:1")
    root = ("--root", str(engine.root))
    engine.stop()

    status, told = gcd(tmp_path, "scrub", "start", "--full", "--format", "json", *root)
    assert status == 4, told
    findings = json.loads(told)["findings"]
    assert [finding["code"] for finding in findings] == ["GCD701", "GCD702"]
    ids = [finding["id"] for finding in findings]
    status, told = gcd(tmp_path, "repair", *ids, "--dry-run", *root)
    assert (told.count("the same file as"), told.count("copy to")) == (2, 3), told
    assert fingerprint(diff) == hurt
    status, told = gcd(tmp_path, "repair", *ids, "--yes", *root)
    assert status == 1, told

    def content(marks):
        return {path: (m.mode, m.owner, m.links, m.mtime_ns, m.xattrs, m.content) for path, m in marks.items()}

    mended = fingerprint(diff)
    assert content(mended) == content(whole)
    assert len({mended[name].inode for name in NAMES}) == 1
    engine.start()
    assert saves(engine, "one:1")
    assert engine.docker("run", "--rm", "--network=none", "one:1", "/bin/echo", "whole") == "whole"
    status, told = gcd(tmp_path, "scrub", "start", "--full", "--metadata", *root)
    assert (status, told.splitlines()[0]) == (0, "All of 2 layers as they were unpacked"), told

    engine.stop()
    status, told = gcd(tmp_path, "quarantine", "restore", *kept_in(engine), *root)
    assert (status, fingerprint(diff)) == (1, hurt), told
    assert gcd(tmp_path, "scrub", "start", *root)[0] == 4
    status, told = gcd(tmp_path, "repair", *ids, "--yes", *root)
    assert (status, content(fingerprint(diff))) == (1, content(whole)), told
    status, told = gcd(tmp_path, "quarantine", "purge", *kept_in(engine), "--yes", *root)
    assert (status, kept_in(engine), content(fingerprint(diff))) == (1, [], content(whole)), told
