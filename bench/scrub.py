"""
How fast layers are verified: ``make bench-scrub``. Needs root rights and dockerd.

A real engine writes two layers, one of large files and one of small ones, once, below ``$GCD_BENCH_DIR`` (default:
``~/.cache/gcd-bench``). Then gcd and what it is compared with take turns on the same files; each figure is the median
of the ratios of the pairs, so that what else the machine does weighs on both. ``--cold`` drops before each what the
kernel keeps of files, names and inodes.

Of small files it is told besides what those reach that only read them: ``cat`` in two processes, and a plain loop of
open, read and close in one; and how much processor time a file takes, there and in a scrub, with all its threads and
processes.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.contents import image_archive
from support.engine import Engine, engine_lack

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PLACE = Path(os.environ.get("GCD_BENCH_DIR") or CACHE / "gcd-bench") / "scrub"
LARGE = [192 << 20, 192 << 20, 64 << 20, 64 << 20]
SMALL, SMALL_BYTES, A_FOLDER = 20_000, 6_000, 200
SMALLS = SMALL * SMALL_BYTES
WRITTEN = f"{LARGE} {SMALL} {SMALL_BYTES} {A_FOLDER}"
TURNS = 5
_VERIFY = """
import os, sys, time
from gcd.model.content import Depth
from gcd.root.layerdb import read_layerdb
from gcd.root.tree import open_root
from gcd.scrub.layer import Layer, Manner, verify
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents
chain, depth = sys.argv[2:]
with open_root(sys.argv[1]) as root, Contents(Pace(), has_fork=True) as contents:
    record = read_layerdb(root, "overlay2").layers[chain]
    layer = Layer(chain, record.diff_id.value, record.cache_id.value)
    began, before = time.perf_counter(), os.times()
    verdict = verify(root, layer, contents, Manner(Depth(depth)), now_ns=1)
    seconds = time.perf_counter() - began
    used = 0.0
    for pid in ("self", *open("/proc/thread-self/children").read().split()):
        with open(f"/proc/{pid}/status") as status:
            used += next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
times = os.times()
assert verdict.soundness == "verified", verdict
print(seconds, used, sum(times[:4]) - sum(before[:4]))
"""
_LOOP = """
import os, sys, time
files = [os.path.join(folder, name) for folder, _, names in os.walk(sys.argv[1]) for name in names]
began, before = time.perf_counter(), time.process_time()
for path in files:
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, 16384)
    os.close(fd)
print(time.perf_counter() - began, time.process_time() - before)
"""


class Measured(NamedTuple):
    seconds: float
    megabytes: float = 0.0
    """At most in memory, of all its processes; what they share is counted twice."""
    worked: float = 0.0
    """Seconds of processor time, of all its processes."""


Step = Callable[[], Measured]


def built() -> dict[str, tuple[str, Path]]:
    """By name, the chain of a layer and its ``diff``."""
    lack = engine_lack()
    if lack is not None:
        sys.exit(f"bench-scrub needs a Docker engine: {lack}")
    done = PLACE / "done"
    if not done.exists() or done.read_text() != WRITTEN:
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir(parents=True)
        engine = Engine(PLACE)
        try:
            engine.start()
            engine.build("large", "FROM scratch\nCOPY l /l\n", {f"l/{n}": os.urandom(s) for n, s in enumerate(LARGE)})
            engine.docker("load", stdin=image_archive("small:latest", small()), limit=600)
            engine.stop()
        finally:
            engine.dispose()
        done.write_text(WRITTEN)
    engine = Engine(PLACE)
    dirs = {chain: engine.overlay2 / cache_id / "diff" for chain, cache_id in engine.chains().items()}
    return {("large" if (diff / "l").exists() else "small"): (chain, diff) for chain, diff in dirs.items()}


def small() -> bytes:
    """A layer of many small files, folder by folder, as every tree is packed."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(SMALL):
            info = tarfile.TarInfo(f"s/{number // A_FOLDER}/{number}")
            info.size = SMALL_BYTES
            tar.addfile(info, io.BytesIO(os.urandom(SMALL_BYTES)))
    return whole.getvalue()


def gcd(chain: str, depth: str) -> Measured:
    done = subprocess.run(
        [sys.executable, "-c", _VERIFY, str(PLACE / "root"), chain, depth], check=True, capture_output=True, text=True
    )
    return Measured(*map(float, done.stdout.split()))


def plain_loop(diff: Path) -> Measured:
    done = subprocess.run([sys.executable, "-c", _LOOP, str(diff)], check=True, capture_output=True, text=True)
    seconds, worked = map(float, done.stdout.split())
    return Measured(seconds, worked=worked)


def sha256sum(diff: Path) -> Measured:
    return shell(f"find {diff} -type f -print0 | xargs -0 -P2 sha256sum >/dev/null")


def cat(diff: Path, processes: int = 1) -> Measured:
    return shell(f"find {diff} -type f -print0 | xargs -0 -P{processes} cat >/dev/null")


def shell(command: str) -> Measured:
    began = time.perf_counter()
    subprocess.run(["sh", "-c", command], check=True)
    return Measured(time.perf_counter() - began)


def openssl(size: int) -> Measured:
    """The seconds that one core needs for so many bytes, by the word of openssl."""
    done = subprocess.run(
        ["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", "16384", "sha256"],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"^sha256\s+([0-9.]+)k", done.stdout, re.MULTILINE)
    assert found is not None
    return Measured(size / (float(found[1]) * 1000))


def drop() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", action="store_true")
    is_cold = parser.parse_args().cold
    layers = built()
    (large, larges), (small, smalls) = layers["large"], layers["small"]
    size = sum(LARGE)
    rows: tuple[tuple[str, int, Step, Step, str], ...] = (
        ("large: quick / sha256sum -P2", size, lambda: gcd(large, "quick"), lambda: sha256sum(larges), "aim 8x"),
        ("large: quick / cat", size, lambda: gcd(large, "quick"), lambda: cat(larges), "aim 0.5x"),
        ("large: full / openssl speed", size, lambda: gcd(large, "full"), lambda: openssl(size), "aim 0.8x"),
        ("small: quick / sha256sum -P2", SMALLS, lambda: gcd(small, "quick"), lambda: sha256sum(smalls), "aim 8x"),
        ("small: full / sha256sum -P2", SMALLS, lambda: gcd(small, "full"), lambda: sha256sum(smalls), "no aim"),
        ("small: cat -P2 / sha256sum -P2", SMALLS, lambda: cat(smalls, 2), lambda: sha256sum(smalls), "not gcd"),
        ("small: plain loop / sha256sum -P2", SMALLS, lambda: plain_loop(smalls), lambda: sha256sum(smalls), "not gcd"),
    )
    for diff in (larges, smalls):
        cat(diff)
    memory, worked = 0.0, {}
    for what, bytes_read, one, other, aim in rows:
        ratios, rates, works = [], [], []
        for turn in range(TURNS):
            taken = {}
            for step in (one, other) if turn % 2 else (other, one):
                if is_cold:
                    drop()
                taken[step] = step()
            ratios.append(taken[other].seconds / taken[one].seconds)
            rates.append(bytes_read / taken[one].seconds / 1e9)
            works.append(taken[one].worked)
            memory = max(memory, taken[one].megabytes)
        worked[what] = statistics.median(works) / SMALL * 1e6
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"{what:34} {middle:5.2f}x  ({low:.2f} to {high:.2f}; {aim})  {statistics.median(rates):.2f} GB/s")
    for what in ("small: quick / sha256sum -P2", "small: plain loop / sha256sum -P2"):
        print(f"{what.partition(' / ')[0]}: {worked[what]:.1f} us of processor time a file")
    print(f"memory of a scrub: at most {memory:.0f} MiB (aim 60)")


if __name__ == "__main__":
    main()
