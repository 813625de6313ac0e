"""
Scrubs of layers that an engine wrote in every way in which it writes them: sound ones are verified, each damage is
found and named and nothing else, and the engine fails to save what gcd says it cannot.
"""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.contents import image_archive
from support.engine import EngineError, copy_root

from gcd.model.content import Damage, Depth, Soundness
from gcd.root.layerdb import read_layerdb
from gcd.root.tree import open_root
from gcd.scrub.layer import Layer, Manner, verify
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcd.model.content import Verdict

OPEN = ["/bin/busybox", "echo", "open"]

SAVED_ALL_THE_SAME = {Damage.EXTRA, Damage.RETARGETED, Damage.SPLIT, Damage.TRANSPARENT}
"""What the engine does not see, for it takes only the content of files from the dir."""


@pytest.fixture
def copied(written_root, tmp_path):
    copy_root(written_root, tmp_path / "root")
    yield tmp_path / "root"
    shutil.rmtree(tmp_path / "root")


def layers_of(root: Path) -> dict[str, Layer]:
    with open_root(str(root)) as directory:
        records = read_layerdb(directory, "overlay2").layers
        return {c: Layer(c, r.diff_id.value, r.cache_id.value, r.size.value) for c, r in records.items()}


def verdicts(root: Path, depth: Depth, **manner) -> dict[str, Verdict]:
    with open_root(str(root)) as directory, Contents(Pace()) as contents:
        return {
            chain: verify(directory, layer, contents, Manner(depth, **manner), now_ns=1)
            for chain, layer in layers_of(root).items()
        }


def diff_of(root: Path, layer: Layer) -> Path:
    return root / "overlay2" / layer.layer_dir / "diff"


def test_all_that_an_engine_wrote_is_verified(written_root):
    for depth in Depth:
        found = verdicts(written_root, depth)

        assert {(v.soundness, v.differences, v.reasons) for v in found.values()} == {(Soundness.VERIFIED, (), ())}
        assert len(found) >= 14
        assert sum(verdict.files for verdict in found.values()) > 600
        assert min(verdict.files for verdict in found.values()) == 0


def test_modes_owners_and_attributes_are_as_they_were_unpacked(written_root):
    found = verdicts(written_root, Depth.QUICK, is_dressed=True)

    assert [d for verdict in found.values() for d in verdict.differences] == []


def test_times_and_owners_alone_are_healthy_and_told_on_request(copied):
    touched = 0
    for layer in layers_of(copied).values():
        for path in diff_of(copied, layer).rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.utime(path, (1, 1))
                os.chown(path, 77, 88)
                touched += 1

    assert {verdict.soundness for verdict in verdicts(copied, Depth.FULL).values()} == {Soundness.VERIFIED}
    dressed = [d for verdict in verdicts(copied, Depth.QUICK, is_dressed=True).values() for d in verdict.differences]
    assert {d.damage for d in dressed} == {Damage.DRESSED}
    assert touched > 600
    assert all("owner 77:88" in d.found for d in dressed)


def first(diff: Path, fits: Callable[[Path], bool]) -> Path | None:
    return next((path for path in sorted(diff.rglob("*")) if fits(path)), None)


def is_whole(path: Path) -> bool:
    """A file with content and no other name."""
    return path.is_file() and not path.is_symlink() and path.stat().st_size > 0 and path.stat().st_nlink == 1


def emptied(diff):
    path = first(diff, is_whole)
    if path:
        os.truncate(path, 0)
    return path


def flipped(diff):
    path = first(diff, is_whole)
    if path:
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
    return path


def removed(diff):
    path = first(diff, lambda path: is_whole(path) or path.is_char_device() or path.is_symlink())
    if path:
        path.unlink()
    return path


def whiteout_lost(diff):
    path = first(diff, lambda path: path.is_char_device() and path.lstat().st_rdev == 0)
    if path:
        path.unlink()
    return path


def added(diff):
    folder = first(diff, Path.is_dir) or diff
    path = folder / "added"
    path.write_text("added")
    return path


def retyped(diff):
    path = first(diff, lambda path: is_whole(path) or path.is_fifo() or path.is_block_device())
    if path:
        path.unlink()
        path.mkdir()
    return path


def retargeted(diff):
    path = first(diff, Path.is_symlink)
    if path:
        path.unlink()
        path.symlink_to("elsewhere")
    return path


def renumbered(diff):
    path = first(diff, lambda path: path.is_char_device() and path.lstat().st_rdev != 0)
    if path:
        path.unlink()
        os.mknod(path, 0o20644, os.makedev(1, 5))
    return path


def split(diff):
    seen: dict[int, Path] = {}
    for path in sorted(diff.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1:
            if path.stat().st_ino in seen:
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)
                return path
            seen[path.stat().st_ino] = path
    return None


def transparent(diff):
    path = first(diff, lambda path: path.is_dir() and "trusted.overlay.opaque" in os.listxattr(path))
    if path:
        os.removexattr(path, "trusted.overlay.opaque")
    return path


HARMS = {
    emptied: (Damage.EMPTIED, 9),
    flipped: (Damage.CHANGED, 9),
    removed: (Damage.MISSING, 10),
    whiteout_lost: (Damage.MISSING, 4),
    added: (Damage.EXTRA, 14),
    retyped: (Damage.RETYPED, 9),
    retargeted: (Damage.RETARGETED, 4),
    renumbered: (Damage.RETARGETED, 3),
    split: (Damage.SPLIT, 3),
    transparent: (Damage.TRANSPARENT, 1),
}
"""What each harm is called, and in how many layers at least it can be done."""


def plant(root: Path, harm: Callable[[Path], Path | None]) -> dict[str, str]:
    """By layer, the path that was harmed in it."""
    planted = {}
    for chain, layer in layers_of(root).items():
        diff = diff_of(root, layer)
        path = harm(diff)
        if path is not None:
            planted[chain] = str(path.relative_to(diff))
    return planted


def test_each_damage_is_found_and_named_and_nothing_else(written_root, tmp_path):
    for harm, (kind, least) in HARMS.items():
        root = tmp_path / harm.__name__
        copy_root(written_root, root)
        planted = plant(root, harm)

        found = verdicts(root, Depth.QUICK)

        told = {chain: {(d.path, d.damage) for d in verdict.differences} for chain, verdict in found.items()}
        assert told == {chain: {(planted[chain], kind)} if chain in planted else set() for chain in found}
        assert {chain for chain, v in found.items() if v.soundness is Soundness.DAMAGED} == planted.keys()
        assert len(planted) >= least, harm
        shutil.rmtree(root)


def test_saving_fails_where_gcd_says_that_content_is_damaged(written_root, make_engine):
    harms = [emptied, flipped, added, retargeted, transparent]

    def harm(engine):
        for number, layer in enumerate(layers_of(engine.root).values()):
            if number % 2:
                harms[number // 2 % len(harms)](diff_of(engine.root, layer))

    engine = make_engine(written_root, harm=harm)
    found = verdicts(engine.root, Depth.FULL)
    broken = {chain for chain, verdict in found.items() if {d.damage for d in verdict.differences} - SAVED_ALL_THE_SAME}
    names = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()

    told, done = {}, {}
    for name in names:
        diff_ids = engine.inspect(name)["RootFS"]["Layers"]
        chains = {engine.chain(diff_ids[: depth + 1]) for depth in range(len(diff_ids))}
        told[name] = bool(chains & broken)
        done[name] = not _is_saved(engine, name)

    assert done == told
    assert set(told.values()) == {True, False}


def _is_saved(engine, name: str) -> bool:
    try:
        engine.docker("save", "-o", str(engine.home / "saved.tar"), name)
    except EngineError:
        return False
    return True


def gcd(state: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from gcd.cli import main; main()", "scrub", *words],
        env={**os.environ, "GCD_STATE_DIR": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def known(state: Path, root: Path) -> dict[str, tuple[object, ...]]:
    """What ``gcd scrub status`` says of each layer, times aside."""
    told, complaint = gcd(state, "status", "--format", "json", "--root", str(root)).communicate(timeout=120)
    assert not complaint
    return {
        verdict["layer"]: (verdict["verdict"], verdict["differing"], [d["path"] for d in verdict["differences"]])
        for verdict in json.loads(told)["verdicts"]
    }


def test_paused_killed_and_resumed_it_tells_what_an_undisturbed_one_does(copied, tmp_path):
    plant(copied, flipped)
    undisturbed = gcd(tmp_path / "calm", "start", "--root", str(copied))
    undisturbed.communicate(timeout=120)
    slowly = ("--bandwidth", "10MiB", "--root", str(copied))
    words = ("start", *slowly)
    dice = random.Random(7)  # noqa: S311 - for moments, not for secrets

    ends = []
    for _ in range(3):
        worker = gcd(tmp_path / "rough", *words)
        time.sleep(dice.uniform(0.8, 1.4))
        if dice.random() < 0.5:
            worker.send_signal(dice.choice([signal.SIGKILL, signal.SIGINT]))
        else:
            gcd(tmp_path / "rough", "pause", "--root", str(copied)).communicate(timeout=120)
        worker.communicate(timeout=120)
        ends.append(worker.returncode)
        words = ("resume", *slowly) if (tmp_path / "rough" / "state.db").exists() else words
    last = gcd(tmp_path / "rough", "resume", "--root", str(copied))
    last.communicate(timeout=120)

    assert (undisturbed.returncode, last.returncode) == (4, 4)
    assert len(set(ends)) > 1
    assert known(tmp_path / "rough", copied) == known(tmp_path / "calm", copied)
    assert len(known(tmp_path / "calm", copied)) == len(layers_of(copied))


MEASURED = """
import sys
from gcd import cli
bits = cli.run(["scrub", "start", *sys.argv[1:]])
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(bits)
"""


def many_files(count: int) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for number in range(count):
            info = tarfile.TarInfo(f"d{number // 200}/f{number}")
            content = f"{number}\n".encode()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return whole.getvalue()


def test_of_many_small_files_the_one_that_is_damaged_is_named(make_engine, tmp_path):
    engine = make_engine()
    engine.docker("load", stdin=image_archive("many:1", many_files(3000)))
    [layer] = layers_of(engine.root).values()
    path = diff_of(engine.root, layer) / "d7/f1500"
    words = ("--full", "--format", "json", "--root", str(engine.root))

    for status, paths in ((0, []), (4, ["d7/f1500"])):
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *words],
            env={**os.environ, "GCD_STATE_DIR": str(tmp_path)},
            check=False,
            capture_output=True,
            text=True,
        )
        [verdict] = json.loads(done.stdout)["verdicts"]
        assert (done.returncode, [d["path"] for d in verdict["differences"]]) == (status, paths)
        assert verdict["files"] == 3000
        assert int(done.stderr) < 60 * 1024
        path.write_bytes(b"15O0\n")


def as_printed(engine, state: Path) -> subprocess.CompletedProcess[str]:
    """Carry out what a scrub of the root of `engine` says."""
    told, _ = gcd(state, "start", "--root", str(engine.root)).communicate(timeout=120)
    commands = "\n".join(line.strip() for line in told.splitlines() if line.startswith("      docker "))
    return subprocess.run(
        ["sh", "-c", commands],
        env={**engine.environment(), "PATH": "/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )


def test_a_damaged_layer_is_fetched_again_by_the_commands_that_are_printed(make_engine, registry, tmp_path):
    """The registry's tag means another image by now."""
    engine, name = make_engine(), f"{registry.address}/shop:v1"
    run = ("run", "--network=none", "--name", "web", "-v", "/data", name)
    image = engine.build(name, f"FROM scratch\nCOPY busybox /bin/busybox\nCMD {json.dumps(OPEN)}\n")
    engine.docker("push", name)
    [digest] = engine.inspect(name)["RepoDigests"]
    engine.docker("rmi", name)
    engine.build(name, "FROM scratch\nCOPY busybox /elsewhere\n")
    engine.docker("push", name)
    engine.docker("rmi", name)
    engine.docker("pull", digest)
    engine.docker("tag", digest, name)
    assert engine.docker(*run) == "open"
    [layer] = layers_of(engine.root).values()
    os.truncate(diff_of(engine.root, layer) / "bin/busybox", 1000)

    done = as_printed(engine, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    again = gcd(tmp_path, "start", "--root", str(engine.root))
    assert again.communicate(timeout=120)[0].startswith("All of 1 layer as they were unpacked\n")
    assert again.returncode == 0
    assert len(engine.docker("volume", "ls", "-q").split()) == 1
    assert engine.docker(*run) == "open"
    assert (engine.inspect(name)["Id"], engine.inspect(name)["RepoDigests"]) == (image, [digest])


def test_where_the_registry_has_lost_the_image_nothing_is_removed(make_engine, registry, engine_home, tmp_path):
    engine, name = make_engine(), f"{registry.address}/lost:v1"
    engine.build(name, "FROM scratch\nCOPY busybox /bin/busybox\n")
    engine.docker("push", name)
    [digest] = engine.inspect(name)["RepoDigests"]
    [layer] = layers_of(engine.root).values()
    os.truncate(diff_of(engine.root, layer) / "bin/busybox", 1000)
    [manifests] = engine_home.glob("registry/blobs/**/repositories/lost/_manifests")
    shutil.rmtree(manifests)

    done = as_printed(engine, tmp_path)

    assert (done.returncode, done.stderr) == (1, f"no such manifest: {digest}\n")
    assert engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}") == name


def test_an_image_of_another_platform_comes_back_as_such(make_engine, registry, tmp_path):
    """Its digest means an index, from which a pull takes the host's image unless it is told."""
    engine, name = make_engine(flags=("--experimental",)), f"{registry.address}/many:v1"
    for number, platform in enumerate(("linux/amd64", "linux/s390x")):
        engine.build(
            f"{name}-{number}",
            f"FROM scratch\nCOPY {number} /file\n",
            {f"{number}": b"%d" % number},
            "--platform",
            platform,
        )
        engine.docker("push", f"{name}-{number}")
    engine.docker("manifest", "create", "--insecure", name, f"{name}-0", f"{name}-1")
    index = engine.docker("manifest", "push", "--insecure", name)
    engine.docker("rmi", f"{name}-0", f"{name}-1")
    engine.docker("pull", "--platform", "linux/s390x", name)
    before = engine.inspect(name)
    [layer] = layers_of(engine.root).values()
    os.truncate(diff_of(engine.root, layer) / "file", 0)

    done = as_printed(engine, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    after = engine.inspect(name)
    assert before["RepoDigests"] == [f"{registry.address}/many@{index}"]
    assert (after["Id"], after["Architecture"], after["RepoDigests"]) == (before["Id"], "s390x", before["RepoDigests"])
    [layer] = layers_of(engine.root).values()
    assert (diff_of(engine.root, layer) / "file").read_bytes() == b"1"
