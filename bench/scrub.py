"""
How fast layers are verified: ``make bench-scrub``. Needs root rights and dockerd.

A real engine writes two layers, one of large files and one of small ones, once, below ``$GCD_BENCH_DIR`` (default:
``~/.cache/gcd-bench``). Then gcd and what it is compared with take turns on the same files; each figure is the median
of the ratios of the pairs, so that what else the machine does weighs on both. ``--cold`` drops the page cache before
each.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.contents import image_archive
from support.engine import Engine, engine_lack

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PLACE = Path(os.environ.get("GCD_BENCH_DIR") or CACHE / "gcd-bench") / "scrub"
LARGE = [192 << 20, 192 << 20, 64 << 20, 64 << 20]
SMALL, SMALL_BYTES = 20_000, 6_000
TURNS = 5
_VERIFY = """
import sys, time
from gcd.model.content import Depth
from gcd.root.layerdb import read_layerdb
from gcd.root.tree import open_root
from gcd.scrub.layer import Layer, Manner, verify
from gcd.scrub.pace import Pace
from gcd.scrub.reading import Contents
chain, depth = sys.argv[2:]
with open_root(sys.argv[1]) as root, Contents(Pace()) as contents:
    record = read_layerdb(root, "overlay2").layers[chain]
    layer = Layer(chain, record.diff_id.value, record.cache_id.value)
    began = time.perf_counter()
    verdict = verify(root, layer, contents, Manner(Depth(depth)), now_ns=1)
    seconds = time.perf_counter() - began
assert verdict.soundness == "verified", verdict
with open("/proc/self/status") as status:
    print(seconds, next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")))
"""


def built() -> dict[str, tuple[str, Path]]:
    """By name, the chain of a layer and its ``diff``."""
    lack = engine_lack()
    if lack is not None:
        sys.exit(f"bench-scrub needs a Docker engine: {lack}")
    if not (PLACE / "done").exists():
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
        (PLACE / "done").touch()
    engine = Engine(PLACE)
    dirs = {chain: engine.overlay2 / cache_id / "diff" for chain, cache_id in engine.chains().items()}
    return {("large" if (diff / "l").exists() else "small"): (chain, diff) for chain, diff in dirs.items()}


def small() -> bytes:
    """A layer of many small files."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(SMALL):
            info = tarfile.TarInfo(f"s/{number % 100}/{number}")
            info.size = SMALL_BYTES
            tar.addfile(info, io.BytesIO(os.urandom(SMALL_BYTES)))
    return whole.getvalue()


def gcd(chain: str, depth: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _VERIFY, str(PLACE / "root"), chain, depth], check=True, capture_output=True, text=True
    )
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def sha256sum(diff: Path) -> float:
    return shell(f"find {diff} -type f -print0 | xargs -0 -P2 sha256sum >/dev/null")


def cat(diff: Path) -> float:
    return shell(f"find {diff} -type f -print0 | xargs -0 cat >/dev/null")


def shell(command: str) -> float:
    began = time.perf_counter()
    subprocess.run(["sh", "-c", command], check=True)
    return time.perf_counter() - began


def openssl(size: int) -> float:
    """The seconds that one core needs for so many bytes, by the word of openssl."""
    done = subprocess.run(
        ["openssl", "speed", "-elapsed", "-seconds", "1", "-bytes", "16384", "sha256"],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"^sha256\s+([0-9.]+)k", done.stdout, re.MULTILINE)
    assert found is not None
    return size / (float(found[1]) * 1000)


def drop() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", action="store_true")
    is_cold = parser.parse_args().cold
    layers = built()
    size = sum(LARGE)
    rows = (
        ("quick / sha256sum -P2", "large", "quick", sha256sum, 8.0),
        ("quick / cat", "large", "quick", cat, 0.5),
        ("quick / sha256sum -P2", "small", "quick", sha256sum, 8.0),
        ("full / openssl speed", "large", "full", lambda _: openssl(size), 0.8),
    )
    memory = 0.0
    for what, name, depth, other, aim in rows:
        chain, diff = layers[name]
        cat(diff)
        ratios, rates = [], []
        for turn in range(TURNS):
            order = (True, False) if turn % 2 else (False, True)
            times = {}
            for is_gcd in order:
                if is_cold:
                    drop()
                if is_gcd:
                    times[True], used = gcd(chain, depth)
                    memory = max(memory, used)
                else:
                    times[False] = other(diff)
            ratios.append(times[False] / times[True])
            rates.append((size if name == "large" else SMALL * SMALL_BYTES) / times[True] / 1e9)
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(
            f"{name:6} {what:24} {middle:5.2f}x  ({low:.2f} to {high:.2f}; aim {aim}x)"
            f"  {statistics.median(rates):.2f} GB/s"
        )
    print(f"memory of a scrub: at most {memory:.0f} MiB (aim 60)")


if __name__ == "__main__":
    main()
