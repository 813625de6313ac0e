"""
What others destroy, gcd keeps: everything here is alive, whatever it looks like, and the greediest policy that there
can be, whose patience is over, takes none of it.

Where nothing makes it doubtful a decoy lies beside it, an orphan that is proven and taken: the policy is at work.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.acting import GREEDY, Acting
from support.engine import SETTLE, EngineError, copy_root
from support.scenes import duplicate_dirs

from gcd.demo.faults import overlay2
from gcd.model.plan import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.engine import Engine

    from gcd.model.plan import Deed

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PRECIOUS = ("/bin/busybox", "sh", "-c", "echo precious >/data/mine")


def contents(root: Path) -> dict[str, set[str]]:
    """The names in each directory that gcd takes something from."""
    folders = (
        *("overlay2", "overlay2/l", "image/overlay2/layerdb/sha256", "image/overlay2/layerdb/mounts"),
        *("image/overlay2/layerdb/tmp", "image/overlay2/imagedb/content/sha256", "containers"),
    )
    return {folder: {path.name for path in (root / folder).iterdir()} for folder in folders}


def lost(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, set[str]]:
    return {folder: names - after[folder] for folder, names in before.items() if names - after[folder]}


def act_greedily(root: Path, *, ahead: bool = False) -> tuple[Deed, ...]:
    return Acting(root, ahead=ahead).carry_out(GREEDY)


def expect_only_the_decoy_taken(engine: Engine, decoy: str, *, ahead: bool = False) -> None:
    before = contents(engine.root)
    deeds = act_greedily(engine.root, ahead=ahead)
    assert done(deeds) == {decoy}, deeds
    assert lost(before, contents(engine.root)).keys() <= {"overlay2", "overlay2/l"}
    assert lost(before, contents(engine.root))["overlay2"] == {decoy}


def expect_left_alone(engine: Engine, layer_dir: str, *, ahead: bool = False) -> None:
    """Nothing at all is taken, and it is said why `layer_dir`, which looks like an orphan, is not."""
    before = contents(engine.root)
    plan = Acting(engine.root, ahead=ahead).plan(GREEDY)
    deeds = act_greedily(engine.root, ahead=ahead)
    assert lost(before, contents(engine.root)) == {}, deeds
    assert done(deeds) == set()
    assert [left.finding.subject.id for left in plan.left_alone if left.finding.subject.id == layer_dir] == [layer_dir]


def done(deeds: tuple[Deed, ...]) -> set[str]:
    return {deed.step.finding.subject.id for deed in deeds if deed.outcome is Outcome.DONE}


@pytest.fixture
def with_decoy(tmp_path: Path) -> Callable[[Path], tuple[Path, str]]:
    """``with_decoy(source)``: a copy of the root with an orphan in it, and the orphan's id."""

    def plant(source: Path) -> tuple[Path, str]:
        copy_root(source, tmp_path / "decoyed")
        return tmp_path / "decoyed", overlay2.add_layer_dir(tmp_path / "decoyed", "").id

    return plant


WithDecoy = Callable[[Path], tuple[Path, str]]


def test_images_containers_and_build_cache(
    make_engine: Callable[..., Engine], filled_root: Path, with_decoy: WithDecoy
) -> None:
    source, decoy = with_decoy(filled_root)
    engine = make_engine(source, settle=True)
    engine.docker("run", "-d", "--network=none", "--name", "live", "app")
    engine.docker("create", "--network=none", "--name", "new", "built")
    expect_only_the_decoy_taken(engine, decoy)
    engine.stop()
    decoy = overlay2.add_layer_dir(engine.root, "").id
    expect_only_the_decoy_taken(engine, decoy, ahead=True)
    decoy = overlay2.add_layer_dir(engine.root, "").id
    time.sleep(SETTLE)
    engine.start()
    expect_only_the_decoy_taken(engine, decoy)
    engine.docker("run", "--rm", "--network=none", "built", "/bin/busybox", "cat", "/built")
    cached = 'FROM app\nRUN --mount=type=cache,target=/cache ["/bin/busybox", "ls", "/cache/x"]\n'
    engine.build("cached", cached, buildkit=True)
    engine.docker("start", "live", "new", "web")


def test_a_duplicate_dir_that_a_lower_stands_on(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine()
    one = "FROM scratch\nCOPY a /a\n"
    files = {"a": b"a" * 1000, "b": b"b" * 1000}
    engine.build("first", one, files)
    engine.build("second", f"{one}COPY b /b\nCOPY busybox /bin/busybox\n", files, buildkit=True)
    (duplicate,) = duplicate_dirs(engine)
    engine.docker("builder", "prune", "-a", "-f")
    engine.stop()
    decoy = overlay2.add_layer_dir(engine.root, "").id
    time.sleep(SETTLE)
    engine.start()
    assert duplicate not in engine.chains().values()

    expect_only_the_decoy_taken(engine, decoy)
    engine.docker("run", "--rm", "--network=none", "second", "/bin/busybox", "cat", "/a")


def test_the_dir_of_a_lost_record_under_a_running_engine(make_engine: Callable[..., Engine], base_root: Path) -> None:
    engine = make_engine(base_root, settle=True)
    chain = engine.chain(engine.inspect("app")["RootFS"]["Layers"])
    lost_dir = engine.chains()[chain]
    shutil.rmtree(engine.layerdb / "sha256" / chain.removeprefix("sha256:"))

    expect_left_alone(engine, lost_dir)
    engine.docker("run", "--rm", "--network=none", "app", "/bin/busybox", "ls", "/a")


@pytest.mark.parametrize("is_running", [True, False])
def test_user_data_in_an_rw_dir_without_its_record(
    make_engine: Callable[..., Engine], base_root: Path, is_running: bool
) -> None:
    engine = make_engine(base_root)
    engine.docker("run", "--network=none", "--name", "mine", "app", *PRECIOUS)
    container = engine.inspect("mine")["Id"]
    mount_id = (engine.layerdb / "mounts" / container / "mount-id").read_text()
    engine.stop()
    shutil.rmtree(engine.layerdb / "mounts" / container)
    shutil.rmtree(engine.root / "containers" / container)
    if is_running:
        time.sleep(SETTLE)
        engine.start()

    expect_left_alone(engine, mount_id, ahead=not is_running)
    assert (engine.overlay2 / mount_id / "diff/data/mine").read_text() == "precious\n"


def test_pulls_in_flight(
    make_engine: Callable[..., Engine], base_root: Path, with_decoy: WithDecoy, several_layers: str
) -> None:
    source, decoy = with_decoy(base_root)
    engine = make_engine(source, settle=True)
    pull = engine.spawn("pull", several_layers)
    taken = [done(act_greedily(engine.root))]
    while pull.poll() is None:
        taken.append(done(act_greedily(engine.root)))
    assert pull.returncode == 0
    assert taken == [{decoy}, *[set()] * (len(taken) - 1)]
    assert len(engine.docker("save", several_layers, limit=300)) > 1 << 20


@contextlib.contextmanager
def paused_import(engine: Engine) -> Iterator[Callable[[], str]]:
    """An import that has got half of its archive; what is yielded gives it the rest, and the image's id."""
    reader, writer = os.pipe()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for number in range(200):
            header = tarfile.TarInfo(f"file{number}")
            header.size = 100_000
            tar.addfile(header, io.BytesIO(b"x" * 100_000))
    content = archive.getvalue()
    half = len(content) // 2
    with subprocess.Popen(
        ["docker", "import", "-", "imported"], stdin=reader, stdout=subprocess.PIPE, env=engine.environment()
    ) as process:
        os.close(reader)
        feeder = threading.Thread(target=os.write, args=(writer, content[:half]))
        feeder.start()
        deadline = time.monotonic() + 30
        while not engine.write_sets() and time.monotonic() < deadline:
            time.sleep(0.01)

        def finish() -> str:
            feeder.join()
            with os.fdopen(writer, "wb") as stream:
                stream.write(content[half:])
            output, _ = process.communicate(timeout=60)
            return output.decode().strip()

        yield finish


def test_an_import_from_a_pipe_that_pauses(
    make_engine: Callable[..., Engine], base_root: Path, with_decoy: WithDecoy
) -> None:
    """S6: no grace is long enough for it."""
    source, decoy = with_decoy(base_root)
    engine = make_engine(source, settle=True)
    with paused_import(engine) as finish:
        time.sleep(2)
        expect_only_the_decoy_taken(engine, decoy)
        assert finish().startswith("sha256:")
    engine.docker("save", "imported", limit=60)


def test_builds_of_both_kinds_under_way(
    make_engine: Callable[..., Engine], base_root: Path, with_decoy: WithDecoy
) -> None:
    source, decoy = with_decoy(base_root)
    engine = make_engine(source, settle=True)
    slow = 'FROM app\nRUN ["/bin/busybox", "sh", "-c", "echo x >/x; /bin/busybox sleep 12"]\nCOPY f /f\n'
    made: list[str] = []
    builders = [
        threading.Thread(
            target=lambda kit=kit: made.append(engine.build(f"made{int(kit)}", slow, {"f": b"f"}, buildkit=kit))
        )
        for kit in (False, True)
    ]
    for builder in builders:
        builder.start()
    time.sleep(3)
    taken = [done(act_greedily(engine.root))]
    assert any(builder.is_alive() for builder in builders)
    while any(builder.is_alive() for builder in builders):
        taken.append(done(act_greedily(engine.root)))
    assert taken == [{decoy}, *[set()] * (len(taken) - 1)]
    assert len(made) == 2
    for name in ("made0", "made1"):
        assert engine.docker("run", "--rm", "--network=none", name, "/bin/busybox", "cat", "/f") == "f"


def test_live_restore_the_engine_is_down_and_its_containers_are_up(
    make_engine: Callable[..., Engine], base_root: Path
) -> None:
    engine = make_engine(base_root, flags=("--live-restore",))
    engine.docker("run", "-d", "--network=none", "--name", "live", "app")
    seen_by_it = Path(f"/proc/{engine.inspect('live')['State']['Pid']}/root/data/one")
    engine.stop(keep_containers=True)
    # Its records are lost, so that nothing but the kernel knows of the container's dirs.
    for folder in (engine.layerdb / "mounts", engine.root / "containers"):
        (record,) = folder.iterdir()
        shutil.rmtree(record)

    before = contents(engine.root)
    act_greedily(engine.root, ahead=True)
    assert lost(before, contents(engine.root)) == {}
    assert seen_by_it.read_text() == "one\n"


def test_an_orphan_that_a_second_mount_namespace_has_mounted(
    make_engine: Callable[..., Engine], base_root: Path
) -> None:
    engine = make_engine(base_root)
    orphan = overlay2.add_layer_dir(engine.root, "").id
    engine.restart()
    target = engine.home / "elsewhere"
    target.mkdir()
    script = f"mount --bind {engine.overlay2}/{orphan}/diff {target}; echo mounted; exec sleep 1000"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"mounted\n"
            before = contents(engine.root)
            assert done(act_greedily(engine.root)) == set()
            assert lost(before, contents(engine.root)) == {}
        finally:
            holder.kill()
    expect_only_the_decoy_taken(engine, orphan)


def test_an_engine_in_pid_and_mount_namespaces_of_its_own(
    make_engine: Callable[..., Engine], filled_root: Path, with_decoy: WithDecoy
) -> None:
    source, decoy = with_decoy(filled_root)
    engine = make_engine(source, command=("unshare", "--fork", "--pid", "--mount-proc", "--kill-child"), settle=True)
    engine.docker("run", "-d", "--network=none", "--name", "live", "app")
    expect_only_the_decoy_taken(engine, decoy)
    engine.docker("start", "web")


ACT_ELSEWHERE = """
import sys
from pathlib import Path
from support.acting import GREEDY, Acting
from gcd.model.errors import CannotAct
try:
    print([deed.step.finding.id for deed in Acting(Path(sys.argv[1])).carry_out(GREEDY)])
except CannotAct as error:
    print(error)
"""


def test_from_another_pid_namespace_nothing_is_done_beside_the_engine(
    make_engine: Callable[..., Engine], filled_root: Path, with_decoy: WithDecoy
) -> None:
    """It cannot be told which engine that is, and so not what it has: not even the decoy is taken."""
    source, decoy = with_decoy(filled_root)
    engine = make_engine(source, settle=True)
    engine.docker("run", "-d", "--network=none", "--name", "live", "app")
    before = contents(engine.root)
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        ["unshare", "--fork", "--pid", "--mount-proc", sys.executable, "-c", ACT_ELSEWHERE, str(engine.root)],
        env={**os.environ, "PYTHONPATH": f"{tests.parent}:{tests}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (
        "Which process the engine of this root is cannot be told: run gcd as root, beside the engine.\n"
    )
    assert contents(engine.root) == before
    assert decoy in contents(engine.root)["overlay2"]


# --- image mounts -----------------------------------------------------------------------------------------------------


def test_what_a_container_has_of_an_image_that_it_mounts(harvested: Callable[[str], Engine]) -> None:
    """A root that 28.5 wrote: an rw layer that no container is named after keeps the image's dirs."""
    engine = harvested("image-mount-28")
    before = contents(engine.root)
    decoy = overlay2.add_layer_dir(engine.root, "").id

    expect_only_the_decoy_taken(engine, decoy, ahead=True)
    assert lost(before, contents(engine.root)) == {}


def mounts_images(engine: Engine) -> bool:
    """Engines of 28 and later."""
    return int(json.loads(engine.request("GET", "/version"))["Version"].partition(".")[0]) >= 28


def test_an_image_that_a_container_mounts_while_it_runs(
    make_engine: Callable[..., Engine], base_root: Path, with_decoy: WithDecoy
) -> None:
    """
    With engines that cannot do it that is what they say; ``GCD_ENGINE_CHROOT`` names one that can.

    28.5.2 mounts nothing there any more when it was restarted, with gcd and without.
    """
    source, decoy = with_decoy(base_root)
    engine = make_engine(source, settle=True)
    body = {
        "Image": "app",
        "HostConfig": {"NetworkMode": "none", "Mounts": [{"Type": "image", "Source": "built", "Target": "/data"}]},
    }
    if not mounts_images(engine):
        with pytest.raises(EngineError, match=r": 400 .*(mount type|invalid mount config)"):
            engine.request("POST", "/containers/create?name=mounting", body)
        expect_only_the_decoy_taken(engine, decoy)
        return
    engine.request("POST", "/containers/create?name=mounting", body)
    engine.docker("start", "mounting")
    expect_only_the_decoy_taken(engine, decoy)
    assert engine.docker("exec", "mounting", "/bin/busybox", "cat", "/data/built") == "built"
    engine.docker("kill", "mounting")
    engine.docker("start", "mounting")
    assert engine.docker("exec", "mounting", "/bin/busybox", "cat", "/data/built") == "built"
    engine.docker("kill", "mounting")
    second = overlay2.add_layer_dir(engine.root, "").id
    engine.restart()
    expect_only_the_decoy_taken(engine, second)
    engine.docker("start", "mounting")
    engine.request("POST", "/containers/create?name=another", body)
    engine.docker("start", "another")
    assert engine.docker("exec", "another", "/bin/busybox", "cat", "/data/built") == "built"
