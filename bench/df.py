"""
How long ``gcd df`` takes beside ``du -sx`` of the same root: ``python bench/df.py [FILES...]``.

For each number of files a root is built once below ``$GCD_BENCH_DIR`` (default: ``~/.cache/gcd-bench``) and kept: 200
layers of 20 images, in each of them directories of twelve files. Both are measured as whole processes, in turns, on
files whose inodes are in the cache after a first turn that does not count; every figure is the median, the ratios those
of the turns' own. gcd runs from byte code, as it does where it is installed; both get the processors that are free,
which du needs one of and gcd as many as it has processes. Where others use the processors too, what says most is the
processor time, all processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

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


@dataclass(frozen=True)
class Run:
    """One process from start to end with those it starts; `cpu` is what all of them together had of the processors."""

    seconds: float
    cpu: float
    output: str


def run(*command: str) -> Run:
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=BYTE_CODE) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, ended, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(seconds, used.ru_utime + used.ru_stime, output)


def turns_of(root: Path, turns: int) -> list[tuple[Run, Run]]:
    """Of each turn, du and gcd. They must agree to the byte and inode."""
    found = []
    inodes = int(run("du", "-x", "--inodes", "-s", str(root)).output.split()[0])
    for _ in range(turns + 1):
        du = run("du", "-x", "--block-size=1", "-s", str(root))
        gcd = run(GCD, "df", "--root", str(root), "--format", "json")
        total = json.loads(gcd.output)["total"]
        if total != {"disk_bytes": int(du.output.split()[0]), "inodes": inodes}:
            sys.exit(f"gcd says {total}, du {du.output.split()[0]} bytes and {inodes} inodes")
        found.append((du, gcd))
    return found[1:]


def row(files: int, turns: list[tuple[Run, Run]]) -> str:
    du, gcd = (median(run.seconds for run in runs) for runs in zip(*turns, strict=True))
    cpu_of_du, cpu_of_gcd = (median(run.cpu for run in runs) for runs in zip(*turns, strict=True))
    ratio = median(gcd.seconds / du.seconds for du, gcd in turns)
    cpu_ratio = median(gcd.cpu / du.cpu for du, gcd in turns)
    walls, cpus = f"{du:.2f} s | {gcd:.2f} s | {ratio:.2f}", f"{cpu_of_du:.2f} s | {cpu_of_gcd:.2f} s | {cpu_ratio:.2f}"
    return f"| {files:,} | {walls} | {cpus} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="gcd df beside du -sx")
    parser.add_argument("files", nargs="*", type=int, default=[10_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} processors, medians of {arguments.turns} turns\n")
    print("| files | `du -sx` | `gcd df` | ratio | processor time of `du` | of `gcd df` | ratio |\n|" + "---|" * 7)
    for files in arguments.files:
        print(row(files, turns_of(built(files), arguments.turns)), flush=True)


if __name__ == "__main__":
    main()
