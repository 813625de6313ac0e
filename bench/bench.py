"""
The figures that the README quotes, measured in one run: ``make bench`` and ``make bench-large``.

::

    python bench/bench.py              one root of 20,000 layers and 2,000 containers
    python bench/bench.py --large      2,000, 20,000 and 100,000 layers, a tenth of it containers

Roots are built once, below ``$GCD_BENCH_DIR`` (default: ``~/.cache/gcd-bench``), and kept. All programs run in turns on
the same files; every figure is the median. Memory is that of all processes of a run together (the sum of their
proportional set sizes, so that what a fork shares counts once), looked at every few milliseconds in runs of their own.
Each turn begins with a run of gcd that does not count, so that no program fetches from the disk what the next one then
finds in memory; how much the counted runs had to fetch all the same is said below the table, and where it is much the
figures are worth nothing. What needs something that this machine lacks (a C compiler, strace, root rights and dockerd)
is left out and said so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engineload import engine_lack, layer_store_seconds
from planting import plant_ten

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
PLACE = Path(os.environ.get("GCD_BENCH_DIR") or CACHE / "gcd-bench")
GCD = str(Path(sys.executable).with_name("gcd"))
LARGE = (2_000, 20_000, 100_000)
AS_INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""The environment of what is measured: Python keeps what it compiled, as it does for an installed program."""

AS_INSTALLED["PYTHONPYCACHEPREFIX"] = str(PLACE / "compiled")
SAMPLING_SECONDS = 0.005


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu: float
    fetched: float
    """Megabytes that came from the disk."""
    output: str


def run(*command: str, status: int = 0) -> Run:
    """One process from start to end: its wall time, the processor time of it and its children, and what it said."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=AS_INSTALLED) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, ended, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode != status:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_inblock / 2048, output)


def peak_megabytes(*command: str) -> float:
    """The most memory that one process and those it starts hold at a time."""
    most = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=AS_INSTALLED) as process:
        while process.poll() is None:
            most = max(most, sum(map(proportional_kilobytes, family(process.pid))))
            time.sleep(SAMPLING_SECONDS)
    return most / 1024


def family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(descendant for child in children for descendant in family(int(child)))]


def proportional_kilobytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def built(layers: int) -> Path:
    """The directory of the root with so many layers, built if need be."""
    place = PLACE / f"layers-{layers}"
    if not place.is_dir():
        print(f"building a root of {layers:,} layers in {place}", file=sys.stderr)
        partial = PLACE / f"{place.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        run(sys.executable, str(HERE / "synthetic.py"), str(partial), str(layers), str(layers // 10))
        text = (partial / "files").read_text().replace(f"{partial}/", f"{place}/")
        (partial / "files").write_text(text)
        partial.rename(place)
    return place


def faulty(place: Path) -> Path:
    """A copy of the root in `place` with ten planted faults."""
    copy = place / "faulty"
    if not copy.is_dir():
        partial = copied(place, "faulty.partial")
        plant_ten(partial)
        partial.rename(copy)
    return copy


def copied(place: Path, name: str) -> Path:
    copy = place / name
    if copy.exists():
        shutil.rmtree(copy)
    subprocess.run(["cp", "-a", "--", str(place / "root"), str(copy)], check=True)
    return copy


def compiled() -> str | None:
    """``readall.c`` as a program, or None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    target = str(PLACE / "readall")
    subprocess.run([compiler, "-O2", "-o", target, str(HERE / "readall.c")], check=True)
    return target


def opens(root: Path) -> int | None:
    """How many files and directories gcd opens and links it reads, in a run of its own under strace; None without."""
    if shutil.which("strace") is None:
        return None
    report = PLACE / "strace"
    calls = "open,openat,openat2,readlink,readlinkat"
    run("strace", "-f", "-qq", "-c", "-U", "name,calls", "-e", f"trace={calls}", "-o", str(report), *check(root))
    lines = [line.split() for line in report.read_text().splitlines()]
    return sum(int(line[1]) for line in lines if len(line) == 2 and line[0] in calls.split(","))


def check(root: Path) -> tuple[str, ...]:
    return (GCD, "check", "--root", str(root))


def median(runs: list[Run]) -> float:
    return statistics.median(r.seconds for r in runs)


def bench(turns: int) -> None:
    place = built(20_000)
    root, files = place / "root", str(place / "files")
    damaged = faulty(place)
    program = compiled()
    lack = engine_lack()
    engine = None if lack else engine_home(place)
    python: list[Run] = []
    c: list[Run] = []
    gcd: list[Run] = []
    loads: list[float] = []
    twice: list[Run] = []
    version: list[Run] = []
    run(*check(damaged), status=4)
    if engine is not None:
        layer_store_seconds(engine)
    for _ in range(turns):
        run(*check(root))
        python.append(run(sys.executable, str(HERE / "readall.py"), files))
        if program:
            c.append(run(program, files))
        gcd.append(run(*check(root)))
        if engine is not None:
            loads.append(layer_store_seconds(engine))
        twice.append(run(*check(damaged), status=4))
        version.append(run(GCD, "version"))
    count = len(Path(files).read_text().splitlines())
    counted = opens(root)
    rows = [
        ("`gcd check`, whole process, healthy root", f"{median(gcd):.2f} s", ""),
        ("the same with ten faults planted (reads twice)", f"{median(twice):.2f} s", ""),
        beside("Python: open, read, close each file", gcd, within(python)),
    ]
    if program:
        rows.append(beside("C: open, read, close each file", gcd, within(c)))
    name = "a dockerd loading its layer store"
    rows.append((name, f"left out: {lack}", "") if lack else beside(name, gcd, loads))
    rows += [
        ("processor time of `gcd check`, all processes", f"{statistics.median(r.cpu for r in gcd):.2f} s", ""),
        ("peak memory of `gcd check`, all processes", f"{peak_megabytes(*check(root)):.0f} MB", ""),
        ("the same with ten faults planted", f"{peak_megabytes(*check(damaged)):.0f} MB", ""),
        ("`gcd version`, whole process", f"{median(version):.2f} s", ""),
    ]
    print(f"\n20,000 layers, 2,000 containers, {count:,} files and links; medians of {turns} turns\n")
    table(("", "measured", "gcd check takes … of it"), rows)
    print(f"\nFetched from the disk, at most: {said_of_disk(gcd=gcd, twice=twice, python=python, c=c)}.")
    if counted is not None:
        print(f"gcd opens or reads {counted:,} files, directories and links; the loops {count:,} files and links.")


def within(loops: list[Run]) -> list[float]:
    """What the loops themselves took, in seconds, without the start of their process."""
    return [float(r.output) for r in loops]


def beside(name: str, gcd: list[Run], others: list[float]) -> tuple[str, str, str]:
    """The row of `others`; the ratio is the median of those turn by turn: what slows the machine slows both."""
    ratio = statistics.median(own.seconds / other for own, other in zip(gcd, others, strict=True))
    return name, f"{statistics.median(others):.2f} s", f"{ratio:.2f}"


def said_of_disk(**runs: list[Run]) -> str:
    return ", ".join(f"{name} {max(r.fetched for r in found):.0f} MB" for name, found in runs.items() if found)


def engine_home(place: Path) -> Path:
    """Where an engine has a copy of the root in `place` to itself."""
    name = "-".join(["engine", *filter(None, [Path(os.environ.get("GCD_ENGINE_CHROOT", "")).name])])
    home = place / name
    home.mkdir(exist_ok=True)
    if not (home / "root").is_dir():
        copied(place, f"{name}/root")
    return home


def large(turns: int) -> None:
    rows = []
    for layers in LARGE:
        place = built(layers)
        runs = [run(*check(place / "root")) for _ in range(turns + 1)][1:]
        seconds, peak, fetched = median(runs), peak_megabytes(*check(place / "root")), max(r.fetched for r in runs)
        one = f"{seconds / layers * 1e6:.0f} µs"
        rows.append((f"{layers:,}", f"{seconds:.2f} s", one, f"{peak:.0f} MB", f"{fetched:.0f} MB"))
    print()
    table(("layers", "gcd check", "a layer", "peak memory", "from the disk"), rows)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    for row in (head, ("---",) * len(head), *rows):
        print("| " + " | ".join(row) + " |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--turns", type=int, default=7)
    chosen = parser.parse_args()
    PLACE.mkdir(parents=True, exist_ok=True)
    if chosen.large:
        large(min(chosen.turns, 3))
    else:
        bench(chosen.turns)


if __name__ == "__main__":
    main()
