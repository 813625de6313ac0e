"""
How long ``gcd df`` takes beside ``du -sx`` of the same root: ``python bench/df.py [FILES...]``.

For each number of files a root is built once below ``$GCD_BENCH_DIR`` (default: ``~/.cache/gcd-bench``) and kept: 200
layers of 20 images, in each of them directories of twelve files. Both are measured as whole processes, in turns, on
files whose inodes are in the cache after a first turn that does not count; every figure is the median, the ratio that
of the turns' own. gcd runs from byte code, as it does where it is installed; both get the processors that are free,
which du needs one of and gcd as many as it has processes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from gcd.demo.dockerroot import DockerRoot

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PLACE = Path(os.environ.get("GCD_BENCH_DIR") or CACHE / "gcd-bench")
GCD = str(Path(sys.executable).with_name("gcd"))
IMAGES, LAYERS, PER_DIRECTORY = 20, 10, 12
BYTE_CODE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
SIZES = (0, 300, 900, 2_000, 5_000, 20_000)


def built(files: int) -> Path:
    """The root with so many files in its layers, built if need be."""
    root = PLACE / f"df-{files}"
    if not root.is_dir():
        print(f"building a root of {files:,} files in {root}", file=sys.stderr)
        partial = PLACE / f"df-{files}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with DockerRoot(partial) as made:
            images = [made.image(f"app{number}:1", layers=LAYERS) for number in range(IMAGES)]
        dirs = [partial / "overlay2" / layer.cache_id / "diff" for image in images for layer in image.layers]
        for layer_dir in dirs:
            filled(layer_dir, files // len(dirs))
        partial.rename(root)
    return root


def filled(layer_dir: Path, files: int) -> None:
    for number in range(files):
        folder = layer_dir / f"usr/share/{number // PER_DIRECTORY % 40}/{number // PER_DIRECTORY}"
        if number % PER_DIRECTORY == 0:
            folder.mkdir(parents=True)
        (folder / f"a file of the bench {number}").write_bytes(bytes(SIZES[number % len(SIZES)]))


def timed(*command: str) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=BYTE_CODE)
    return time.perf_counter() - started, done.stdout


def measured(root: Path, turns: int) -> tuple[float, float, float]:
    """Medians of the seconds of du and of gcd, and of their ratio. They must agree to the byte and inode."""
    du: list[float] = []
    gcd: list[float] = []
    inodes = int(timed("du", "-x", "--inodes", "-s", str(root))[1].split()[0])
    for turn in range(turns + 1):
        for_du, told = timed("du", "-x", "--block-size=1", "-s", str(root))
        for_gcd, report = timed(GCD, "df", "--root", str(root), "--format", "json")
        total = json.loads(report)["total"]
        if total != {"disk_bytes": int(told.split()[0]), "inodes": inodes}:
            sys.exit(f"gcd says {total}, du {told.split()[0]} bytes and {inodes} inodes")
        if turn:
            du.append(for_du)
            gcd.append(for_gcd)
    ratios = [one / other for one, other in zip(gcd, du, strict=True)]
    return statistics.median(du), statistics.median(gcd), statistics.median(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description="gcd df beside du -sx")
    parser.add_argument("files", nargs="*", type=int, default=[10_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} processors, medians of {arguments.turns} turns\n")
    print("| files | `du -sx` | `gcd df` | ratio |\n|---|---|---|---|")
    for files in arguments.files:
        du, gcd, ratio = measured(built(files), arguments.turns)
        print(f"| {files:,} | {du:.2f} s | {gcd:.2f} s | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
