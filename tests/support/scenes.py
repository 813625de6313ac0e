"""
Scenes: what engines are asked to do before a root is checked, and the assertions that the checks share.

``GCD_EVIDENCE=<directory>`` keeps a copy of each root that a check judged otherwise than its test expects.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.engine import EngineError

from gcd.model.finding import Severity
from gcd.root.read import read_inventory
from gcd.run import check

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from support.engine import Engine

    from gcd.model.finding import Finding
    from gcd.model.result import RunResult

DONE_BEFORE_THE_KILL = 3
"""How many layers a killed pull has registered at least."""

Name = tuple[str, str]
"""A reference and the id of the image that it names."""

HOURS_AHEAD = 2 * 3_600_000_000_000

APP = """
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox mkdir -p /etc /data; echo one >/data/one; echo two >/data/two"]
RUN ["/bin/busybox", "rm", "/data/two"]
COPY a /a
STOPSIGNAL SIGKILL
CMD ["/bin/busybox", "sleep", "10000"]
"""
BUILT = """
FROM scratch
COPY a /a
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "echo built >/built"]
COPY b /b
STOPSIGNAL SIGKILL
CMD ["/bin/busybox", "sleep", "10000"]
"""
FILES = {"a": b"the file a\n" * 500, "b": b"the file b\n" * 700}


def make_base(engine: Engine) -> None:
    """
    ``app`` by the classic builder, ``built`` by BuildKit; no container.

    They begin with different files: two steps of equal bytes, made within one second, are one chain, and BuildKit's dir
    of it a leak to come (`duplicate_dirs`).
    """
    engine.build("app", APP, FILES)
    engine.build("built", BUILT, FILES, buildkit=True)


def fill(engine: Engine) -> None:
    """A stopped container that wrote, on the image with most layers; build cache with a context and a cache mount."""
    engine.docker("run", "--network=none", "--name", "web", "app", "/bin/busybox", "sh", "-c", "echo written >/data/x")
    dockerfile = 'FROM app\nRUN --mount=type=cache,target=/cache ["/bin/busybox", "touch", "/cache/x"]\n'
    engine.build("cached", dockerfile, buildkit=True)
    engine.docker("rmi", "cached")


def push_several_layers(engine: Engine, name: str) -> None:
    """Three layers of random data, one of many small files that takes longest to extract, and one on top."""
    files = {f"part{i}": os.urandom(size << 20) for i, size in enumerate((3, 5, 4))}
    files |= {f"many/{i % 100}/{i}": os.urandom(3000) for i in range(6000)}
    copies = "\n".join(f"COPY part{i} /part{i}" for i in range(3))
    engine.build(name, f"FROM scratch\n{copies}\nCOPY many /many\nCOPY part0 /last\n", files)
    engine.docker("push", name)


def kill_during_pull(engine: Engine, name: str) -> None:
    """
    Kill the engine when it has registered the layers below, and is well into the layer of many files.

    `name` is an image of `push_several_layers`.
    """
    there = engine.chains().keys()
    pull = engine.spawn("pull", name)
    while not _is_well_into_the_slow_layer(engine, there):
        if pull.poll() is not None:
            raise EngineError("the pull was over before it could be killed")
        time.sleep(0.002)
    engine.crash()
    pull.wait(20)


def _is_well_into_the_slow_layer(engine: Engine, there: AbstractSet[str]) -> bool:
    chains = engine.chains()
    if len(chains.keys() - there) < DONE_BEFORE_THE_KILL or not engine.write_sets():
        return False
    extracting = engine.layer_dirs() - set(chains.values())
    return any((engine.overlay2 / name / "diff/many/30").exists() for name in extracting)


def branch_out(engine: Engine) -> None:
    """
    The images ``branch`` (two layers) and ``twig`` (one), both on the two layers of ``stem``, brought by a load: so
    nothing but these three images holds their layers.
    """
    busybox = 'CMD ["/stem/busybox", "sleep", "10000"]\nSTOPSIGNAL SIGKILL\n'
    engine.build("stem", f"FROM scratch\nCOPY busybox /stem/busybox\nCOPY stem /stem/\n{busybox}", _random("stem", 2))
    engine.build("branch", "FROM stem\nCOPY one /one\nCOPY two /two\n", _random("one", 3) | _random("two", 1))
    engine.build("twig", "FROM stem\nCOPY twig /twig\n", _random("twig", 1))
    archive = engine.home / "branches.tar"
    engine.docker("save", "-o", str(archive), "stem", "branch", "twig")
    engine.docker("rmi", "branch", "twig", "stem")
    engine.docker("load", "-i", str(archive))
    archive.unlink()


def _random(name: str, megabytes: int) -> dict[str, bytes]:
    return {name: os.urandom(megabytes << 20)}


def many_files(engine: Engine, count: int) -> None:
    """
    `count` files in each of: the container ``big``, the image ``big``, a build step that no image holds.

    The files lie two directories deep, so that removing one changes neither the layer dir's ctime nor its ``diff``'s.
    """
    loop = f"/bin/busybox mkdir -p /data/many; i=0; while [ $i -lt {count} ]; do : >/data/many/$i; i=$((i+1)); done"
    engine.docker("run", "--network=none", "--name", "big", "app", "/bin/busybox", "sh", "-c", loop)
    engine.docker("commit", "big", "big")
    run = f'RUN ["/bin/busybox", "sh", "-c", "{loop}"]'
    engine.build("small", f"FROM app AS big\n{run}\nFROM app\nCOPY --from=big /data/one /x\n", buildkit=True)


def ahead_ns() -> int:
    """Two hours from now: with the engine stopped, all that is there has settled."""
    return time.time_ns() + HOURS_AHEAD


def judge(engine: Engine, *, ahead: bool = False) -> RunResult:
    return check(str(engine.root), now_ns=ahead_ns() if ahead else time.time_ns())


def told(result: RunResult, *, least: Severity = Severity.WARNING) -> list[str]:
    """The findings of at least that severity, one readable line each, and everything that was not checked."""
    lines = [
        f"{f.severity} {f.confidence} {f.id} {f.summary} [{'; '.join(f'{e.where}: {e.found}' for e in f.evidence)}]"
        for f in result.findings
        if f.severity.rank >= least.rank
    ]
    return lines + [f"not checked: {n.code} {n.source}: {n.why}" for n in result.not_checked]


def expect_healthy(engine: Engine, moment: str, *, ahead: bool = False, orphans_too: bool = False) -> RunResult:
    """The check finds nothing above info and checks everything; with `orphans_too` it finds no orphan at all."""
    result = judge(engine, ahead=ahead)
    lines = told(result)
    if orphans_too:
        lines += [f"orphan {f.id}: {f.summary}" for f in result.findings if f.kind == "orphan"]
    if lines:
        keep_evidence(engine, moment)
    assert lines == [], moment
    return result


def duplicate_dirs(engine: Engine) -> set[str]:
    """
    The dirs of build steps whose chain layerdb keeps in another dir. They are healthy, and the engine forgets each of
    them when it prunes its build cache: test_duplicate_builds.py.
    """
    kept = engine.chains()
    snapshots = read_inventory(str(engine.root)).build_cache.snapshots.values()
    return {s.dir_id for s in snapshots if s.dir_id and s.chain_id in kept and s.dir_id != kept[s.chain_id]}


def expect_sound(engine: Engine, what: str) -> None:
    """The stopped root has no finding above info, no orphan, and no leak to come: other tests may begin with it."""
    expect_healthy(engine, what, ahead=True, orphans_too=True)
    assert duplicate_dirs(engine) == set(), f"{what}: dirs that the engine forgets at its next prune"


def names_of_nothing(engine: Engine) -> set[Name]:
    """The names that are there before and after it was seen that their image is not."""
    content = engine.root / "image/overlay2/imagedb/content"
    dangling = {(name, image) for name, image in all_names(engine) if not (content / image.replace(":", "/")).exists()}
    return dangling and dangling & all_names(engine)


def all_names(engine: Engine) -> set[Name]:
    file = engine.root / "image/overlay2/repositories.json"
    return {name for names in json.loads(file.read_bytes())["Repositories"].values() for name in names.items()}


def named_by(finding: Finding) -> Name:
    """The name that a GCD405 is about."""
    (evidence,) = finding.evidence
    return finding.subject.id, evidence.found.removesuffix(", absent")


def keep_evidence(engine: Engine, moment: str) -> None:
    keep = os.environ.get("GCD_EVIDENCE")
    if keep:
        target = Path(keep) / re.sub(r"[^a-z0-9]+", "-", f"{moment} {engine.home.name}".lower())
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--", str(engine.root), str(target)], check=False)
