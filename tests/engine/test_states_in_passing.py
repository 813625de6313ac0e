"""
States that an engine only passes through are not faults: gcd looks while the engine works, and finds nothing.

Everything that is worked upon is older than the engine's epoch, so that no age excuses a finding. The engine is halted
in the middle of its work again and again, and judged each time: that shows states which last for a moment here and for
minutes on a big tree (safety rules S6, S7 and S8; order of the engine's steps: moby ``layer/layer_store.go``).
"""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import pytest
from support.engine import docker_cli
from support.scenes import judge, keep_evidence, told

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

pytestmark = pytest.mark.engine


def watch(
    engine: Engine, work: subprocess.Popen[bytes], what: str, *, halted: bool = True, step: float = 0.02
) -> list[frozenset[str]]:
    """
    Judge again and again until `work` ends, which must be with success; the states that were on disk each time.

    One finding may be there at one halt and must be gone at the next: between the removal of an image's config and the
    renaming of its layer's record, two system calls, the layer has no image (GCD211).
    """
    states: list[frozenset[str]] = []
    before: list[str] = []
    with work:
        while work.poll() is None:
            with engine.frozen() if halted else nullcontext():
                states.append(state(engine))
                lines = told(judge(engine))
                wrong = [line for line in lines if not halted or line in before or " GCD211:layer:" not in line]
                if wrong:
                    keep_evidence(engine, what)
                assert wrong == [], states[-1]
                before = lines
            time.sleep(step)
    assert work.returncode == 0
    lines = told(judge(engine))
    assert lines == []
    return states


def state(engine: Engine) -> frozenset[str]:
    """What is unusual in `engine`'s root now, in words of this test."""
    dirs = engine.layer_dirs()
    records = _mount_ids(engine)
    words = {"removing" for path in (engine.layerdb / "sha256").iterdir() if path.name.endswith("-removing")}
    words |= {"write-set" for _ in engine.write_sets()}
    words |= {"bare dir" for name in dirs if not (engine.overlay2 / name / "link").exists()}
    words |= {"build dir without symlink" for name in dirs if len(name) == 25 and not _has_link(engine, name)}
    words |= {"record without dir" for mount_id in records if mount_id not in dirs}
    words |= {"record of a bare dir" for i in records if i in dirs and not _has_link(engine, i)}
    return frozenset(words)


def _mount_ids(engine: Engine) -> list[str]:
    found = []
    for path in (engine.layerdb / "mounts").iterdir():
        with suppress(FileNotFoundError):
            found.append((path / "mount-id").read_text())
    return found


def _has_link(engine: Engine, dir_id: str) -> bool:
    path = engine.overlay2 / dir_id / "link"
    try:
        return (engine.overlay2 / "l" / path.read_text()).is_symlink()
    except OSError:
        return False


@pytest.fixture
def big(make_engine: Callable[..., Engine], big_root: Path) -> Engine:
    """A running engine on `big_root`, all of which is older than its epoch."""
    return make_engine(big_root, settle=True)


@pytest.mark.parametrize("halted", [True, False], ids=["halted", "at work"])
def test_slow_rm(big: Engine, *, halted: bool) -> None:
    states = watch(big, big.spawn("rm", "big"), "rm", halted=halted)
    assert not halted or "record of a bare dir" in frozenset().union(*states)


@pytest.mark.parametrize("halted", [True, False], ids=["halted", "at work"])
def test_slow_rmi(big: Engine, *, halted: bool) -> None:
    states = watch(big, big.spawn("rmi", "big"), "rmi", halted=halted)
    assert not halted or "removing" in frozenset().union(*states)


def test_slow_rm_and_prune_of_everything(big: Engine) -> None:
    states = watch(big, big.spawn("system", "prune", "-a", "-f"), "prune")
    assert {"removing", "record of a bare dir"} <= frozenset().union(*states)


def test_slow_builder_prune(big: Engine) -> None:
    states = watch(big, big.spawn("builder", "prune", "-a", "-f"), "builder prune", step=0.01)
    assert "build dir without symlink" in frozenset().union(*states)


def test_commit_of_a_big_container(big: Engine) -> None:
    states = watch(big, big.spawn("commit", "big", "again"), "commit", step=0.1)
    assert "write-set" in frozenset().union(*states)


def test_import_from_a_pipe_that_waits(engine: Engine) -> None:
    """
    No time limit bounds an import: its layer dir is unnamed for as long as its client likes.

    What keeps it here is a mount: the engine's untar process has the ``diff`` as the root of a namespace of its own
    (moby ``pkg/chrootarchive/chroot_linux.go``).
    """
    archive = engine.home / "rootfs.tar"
    engine.docker("create", "--network=none", "--name", "one", "app")
    engine.docker("export", "-o", str(archive), "one")
    content = archive.read_bytes()
    command = [str(docker_cli()), "import", "-", "imported"]
    with subprocess.Popen(command, env=engine.environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as work:
        assert work.stdin is not None
        work.stdin.write(content[: len(content) // 2])
        work.stdin.flush()
        deadline = time.monotonic() + 20
        while not engine.write_sets():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        unnamed = engine.layer_dirs() - set(engine.chains().values())
        result = judge(engine)
        assert told(result) == []
        assert [f.id for f in result.findings if f.confidence == "proven" and f.subject.id in unnamed] == []
        work.stdin.write(content[len(content) // 2 :])
        work.stdin.close()
        assert work.wait(60) == 0
    assert told(judge(engine)) == []


def test_work_of_all_kinds(engine: Engine) -> None:
    """Builds, a run and a removal side by side, while gcd looks."""
    script = f"""
        set -e
        export DOCKER_HOST=unix://{engine.socket}
        docker() {{ {docker_cli()} "$@" >/dev/null; }}
        mkdir {engine.home}/c; cp /usr/bin/busybox {engine.home}/c; head -c 3000000 /dev/urandom >{engine.home}/c/data
        printf 'FROM app\\nCOPY data /x\\nRUN ["/bin/busybox", "cp", "/x", "/y"]\\n' >{engine.home}/c/Dockerfile
        DOCKER_BUILDKIT=0 docker build --network=none -q -t classic {engine.home}/c & classic=$!
        DOCKER_BUILDKIT=1 docker build --network=none -q -t modern {engine.home}/c & modern=$!
        wait $classic; wait $modern
        docker run --network=none -d --name one classic
        docker run --network=none --rm modern /bin/busybox true
        docker rm -f one
        docker rmi classic modern
        docker builder prune -a -f
    """
    with subprocess.Popen(["bash", "-c", script], env={**os.environ, "HOME": str(engine.home)}) as work:
        states = watch(engine, work, "work of all kinds", step=0.03)
    assert len(states) > 5


def test_slow_rmi_of_the_last_name(big: Engine) -> None:
    """The names are gone first; the layers come next, for minutes; then the parent image, which had a name once."""
    big.docker("rm", "big")
    big.docker("rmi", "built", "small", "app")
    states = watch(big, big.spawn("rmi", "big"), "rmi of the last name", step=0.01)
    assert "removing" in frozenset().union(*states)
