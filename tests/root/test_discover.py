from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING

import pytest
from support.fakeproc import FakeProc

from gcd.model.errors import NotADockerRoot, RootNotFound, RootUnreadable, StoreNotSupported, UsageError
from gcd.model.facts import DormantStore
from gcd.root.discover import Store, detect_store, find_root
from gcd.root.dockerd import Settings, parse_daemon_json, parse_flags, resolve_below, running_engines

if TYPE_CHECKING:
    from pathlib import Path

LAYER = "a" * 64
IMAGE = "b" * 64


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path / "proc")


class Host:
    """Roots, a ``daemon.json`` and processes below one folder."""

    def __init__(self, folder: Path, proc: FakeProc) -> None:
        self.folder = folder.resolve()
        self.proc = proc
        self.daemon_json = folder / "daemon.json"
        self.root = self.folder / "docker"

    def overlay2(self, root: Path | None = None, *, layers: bool = True) -> Path:
        root = root or self.root
        (root / "overlay2" / "l").mkdir(parents=True)
        (root / "image" / "overlay2" / "imagedb" / "content" / "sha256").mkdir(parents=True)
        (root / "volumes").mkdir()
        (root / "volumes" / "metadata.db").touch()
        if layers:
            (root / "overlay2" / LAYER / "diff").mkdir(parents=True)
        return root

    def driver(self, name: str, *, layers: bool = True) -> None:
        (self.root / name).mkdir(parents=True)
        (self.root / "image" / name).mkdir(parents=True, exist_ok=True)
        if layers:
            (self.root / name / "dir").mkdir()

    def containerd(self) -> None:
        (self.root / "buildkit" / "containerd-overlayfs").mkdir(parents=True)
        (self.root / "containerd/daemon/io.containerd.snapshotter.v1.overlayfs/snapshots/1").mkdir(parents=True)

    def container(self, number: int, driver: str) -> None:
        folder = self.root / "containers" / (f"{number:x}" * 64)
        folder.mkdir(parents=True)
        config = {"ID": folder.name, "Driver": driver, "Config": {}, "State": {}}
        (folder / "config.v2.json").write_text(json.dumps(config))

    def find(self, option: str | None = None) -> str:
        return find_root(
            option, proc=str(self.proc), daemon_json=str(self.daemon_json), default=str(self.folder / "default")
        )

    def detect(self, path: Path | str | None = None) -> Store:
        return detect_store(str(path or self.root), proc=str(self.proc), daemon_json=str(self.daemon_json))

    def configure(self, **settings: object) -> None:
        self.daemon_json.write_text(json.dumps({key.replace("_", "-"): value for key, value in settings.items()}))


@pytest.fixture
def host(tmp_path: Path, proc: FakeProc) -> Host:
    return Host(tmp_path, proc)


# --- the root -------------------------------------------------------------------------------------------------------


def test_the_users_word_comes_first(host):
    host.overlay2()
    host.proc.process(7, "dockerd", arguments=("dockerd", "--data-root", str(host.root)))

    assert host.find("/what/I/say") == "/what/I/say"


@pytest.mark.parametrize(
    "flags",
    [
        ("--data-root", "{root}"),
        ("--data-root={root}",),
        ("--graph", "{root}"),
        ("-g", "{root}"),
        ("-g={root}",),
        ("-g{root}",),
        ("-D", "--log-level=info", "-H", "unix:///x", "--data-root", "{root}"),
    ],
)
def test_a_running_engine_comes_next(host, flags):
    host.overlay2()
    host.configure(data_root=str(host.folder / "other"))
    arguments = ("/usr/sbin/dockerd", *(flag.format(root=host.root) for flag in flags))
    host.proc.process(7, "dockerd", arguments=arguments)

    assert host.find() == str(host.root)


@pytest.mark.parametrize("key", ["data-root", "graph"])
def test_a_running_engine_is_asked_for_its_own_file(host, key):
    host.overlay2()
    (host.folder / "own.json").write_text(json.dumps({key: str(host.root)}))
    host.proc.process(7, "dockerd", arguments=("dockerd", "--config-file", str(host.folder / "own.json")))

    assert host.find() == str(host.root)


def test_an_engine_in_another_mount_namespace_is_seen_through_its_root(host):
    """Its absolute symlinks lead from its own root directory, not from that of gcd."""
    inside = host.folder / "inside"
    host.overlay2(inside / "data" / "docker")
    (inside / "var").mkdir()
    (inside / "var" / "docker").symlink_to("/data/docker")
    folder = host.proc.process(
        7, "dockerd", arguments=("dockerd", "--data-root=/var/docker"), namespace="mnt:[2]", top=str(inside)
    )

    assert host.find() == f"{folder}/root/data/docker"


def test_an_engine_in_another_mount_namespace_that_sees_the_same_is_found_by_its_own_path(host):
    host.overlay2()
    host.proc.process(7, "dockerd", arguments=("dockerd", "-g", str(host.root)), namespace="mnt:[2]")

    assert host.find() == str(host.root)


def test_an_engine_below_rootlesskit_keeps_its_root_in_the_home(host):
    root = host.overlay2(host.folder / "home" / ".local" / "share" / "docker")
    environment = ("ROOTLESSKIT_STATE_DIR=/run/x", f"HOME={host.folder}/home")
    host.proc.process(7, "dockerd", arguments=("dockerd",), environment=environment)

    assert host.find() == str(root)


def test_several_engines_are_listed(host):
    for pid, name in ((7, "a"), (8, "b")):
        host.proc.process(pid, "dockerd", arguments=("dockerd", "-g", str(host.overlay2(host.folder / name))))

    with pytest.raises(UsageError) as caught:
        host.find()

    assert str(caught.value) == (
        "Several engines are running: name one of their roots with --root: "
        f"{host.folder}/a (pid 7), {host.folder}/b (pid 8)."
    )


def test_a_fork_of_the_engine_is_not_a_second_one(host):
    host.overlay2()
    for pid in (7, 8):
        host.proc.process(pid, "dockerd", arguments=("dockerd", "-g", str(host.root)))

    assert host.find() == str(host.root)


@pytest.mark.parametrize(("engine", "fork"), [(7, 8), (30022, 412)])
def test_the_fork_of_an_engine_never_stands_for_it(host, engine, fork):
    """Pids begin anew at the lowest: that of a child may be less than its parent's."""
    host.overlay2()
    for pid, started in ((engine, 100), (fork, 110)):
        host.proc.process(pid, "dockerd", arguments=("dockerd", "-g", str(host.root)), started=started)

    assert [running.pid for running in running_engines(str(host.proc))] == [engine]


def test_an_engine_in_a_container_does_not_stand_for_the_host(host):
    host.proc.process(7, "dockerd", arguments=("dockerd", "-g", str(host.overlay2(host.folder / "nested"))), depth=2)
    host.proc.process(8, "dockerd", arguments=("dockerd", "-g", str(host.overlay2())))

    assert host.find() == str(host.root)


def test_an_engine_in_a_container_is_found_where_no_other_runs(host):
    host.proc.process(7, "dockerd", arguments=("dockerd", "-g", str(host.overlay2())), depth=2)

    assert host.find() == str(host.root)


@pytest.mark.parametrize("key", ["data_root", "graph"])
def test_without_an_engine_daemon_json_says_it(host, key):
    host.configure(**{key: "/srv/docker"})

    assert host.find() == "/srv/docker"


def test_without_anything_it_is_the_default(host):
    assert host.find() == str(host.folder / "default")


def test_a_daemon_json_that_is_no_json_is_not_passed_over(host):
    host.daemon_json.write_text('{"data-root": ')

    with pytest.raises(UsageError, match=r"daemon\.json cannot be read .*--root"):
        host.find()


def test_flags_go_before_the_file():
    settings, file = parse_flags(
        [
            "dockerd",
            "--feature",
            "x=true",
            "--feature=containerd-snapshotter=false",
            "-s",
            "vfs",
            "--config-file=/c.json",
        ]
    )

    assert (settings, file) == (Settings(driver="vfs", snapshotter=False), "/c.json")
    assert settings.over(Settings("/srv", "overlay2", snapshotter=True, userns_remap="default")) == Settings(
        "/srv", "vfs", snapshotter=False, userns_remap="default"
    )


@pytest.mark.parametrize(
    ("flag", "expected"), [("", True), ("=1", True), ("=true", True), ("=0", False), ("=false", False)]
)
def test_the_feature_flag(flag, expected):
    assert parse_flags(["dockerd", f"--feature=containerd-snapshotter{flag}"])[0].snapshotter is expected


@pytest.mark.parametrize("arguments", [[], ["dockerd"], ["dockerd", "--data-root"], ["dockerd", "--", "-g", "/x"]])
def test_flags_without_a_root(arguments):
    assert parse_flags(arguments) == (Settings(), "")


@pytest.mark.parametrize(
    "raw",
    [b'{"features": [], "data-root": 3, "graph": null}', b'{"features": {"containerd-snapshotter": "yes"}}', b"{}"],
)
def test_settings_of_the_wrong_kind_say_nothing(raw):
    assert parse_daemon_json(raw) == Settings()


def test_symlinks_in_a_circle_end(tmp_path):
    (tmp_path / "a").symlink_to("/b")
    (tmp_path / "b").symlink_to("/a")

    with pytest.raises(OSError, match="symbolic"):
        resolve_below(str(tmp_path), "/a")


def test_dots_do_not_lead_above_the_top(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "up").symlink_to("../../../a")

    assert resolve_below(str(tmp_path), "/a/../../up/.") == "/a"


def test_a_process_that_vanishes_is_no_engine(host):
    folder = host.proc.process(7, "dockerd", arguments=("dockerd", "-g", str(host.root)))
    (folder / "cmdline").unlink()
    host.proc.process(8, "dockerd", arguments=("dockerd", "-g", "/nowhere"))

    assert running_engines(str(host.proc)) == []


# --- the store ------------------------------------------------------------------------------------------------------


def test_a_root_with_overlay2_alone(host):
    host.overlay2()

    assert host.detect() == Store(str(host.root), "overlay2", ())


@pytest.mark.parametrize("left", ["overlay2", "image"])
def test_half_a_store_is_still_the_live_one(host, left):
    """The other half was lost: that is for the rules to tell."""
    host.root.mkdir()
    (host.root / left / "overlay2").mkdir(parents=True)

    assert host.detect().driver == "overlay2"


def test_an_engine_that_never_had_an_image(host):
    host.overlay2(layers=False)
    (host.root / "containerd/daemon/io.containerd.snapshotter.v1.overlayfs").mkdir(parents=True)

    assert host.detect() == Store(str(host.root), "overlay2", ())


def test_symlinks_to_the_root_are_resolved(host):
    host.overlay2()
    (host.folder / "way").symlink_to("docker")

    assert host.detect(host.folder / "way").path == str(host.root)


def test_a_path_through_another_process_root_stays_there(host):
    host.overlay2()
    (host.folder / "way").symlink_to(host.root)
    top = f"/proc/{os.getpid()}/root"

    assert host.detect(f"{top}{host.folder}/way").path == f"{top}{host.root}"


def test_trees_of_other_drivers_are_dormant(host):
    host.overlay2()
    host.driver("vfs")
    host.driver("btrfs", layers=False)

    assert host.detect().dormant == (DormantStore("vfs", "vfs"),)


def test_a_dormant_containerd_store_is_named(host):
    host.overlay2()
    host.containerd()

    assert host.detect().dormant == (
        DormantStore("buildkit/containerd-overlayfs", "containerd/overlayfs"),
        DormantStore("containerd/daemon/io.containerd.snapshotter.v1.overlayfs", "containerd/overlayfs"),
    )


def test_a_live_containerd_store_is_refused_by_name(host):
    host.containerd()

    with pytest.raises(StoreNotSupported) as caught:
        host.detect()

    assert str(caught.value) == (
        f"The live store of {host.root} is the containerd image store, which this version of gcd cannot read: "
        "nothing was checked."
    )


@pytest.mark.parametrize("driver", ["vfs", "btrfs", "fuse-overlayfs"])
def test_another_drivers_store_is_refused_by_name(host, driver):
    host.driver(driver)

    with pytest.raises(StoreNotSupported, match=f"is that of the {driver} driver"):
        host.detect()


def test_where_both_trees_exist_the_engines_flags_decide(host):
    host.overlay2()
    host.containerd()
    host.container(1, "overlay2")
    host.proc.process(7, "dockerd", arguments=("dockerd", "-g", str(host.root), "--feature=containerd-snapshotter"))

    with pytest.raises(StoreNotSupported, match="containerd image store"):
        host.detect()


def test_where_both_trees_exist_the_daemon_json_of_this_root_decides(host):
    host.overlay2()
    host.containerd()
    host.configure(data_root=str(host.root), features={"containerd-snapshotter": True})

    with pytest.raises(StoreNotSupported, match="containerd image store"):
        host.detect()


def test_the_daemon_json_of_another_root_does_not_decide(host):
    host.overlay2()
    host.containerd()
    host.configure(data_root=str(host.folder), features={"containerd-snapshotter": True})

    assert host.detect().driver == "overlay2"


def test_where_both_trees_exist_the_containers_decide(host):
    host.overlay2()
    host.containerd()
    host.container(1, "overlayfs")

    with pytest.raises(StoreNotSupported, match="containerd image store"):
        host.detect()


def test_containers_of_both_stores_decide_nothing(host):
    host.overlay2()
    host.containerd()
    host.container(1, "overlayfs")
    host.container(2, "overlay2")

    assert host.detect().driver == "overlay2"


def test_an_empty_overlay2_beside_a_containerd_store_is_not_live(host):
    host.overlay2(layers=False)
    host.containerd()

    with pytest.raises(StoreNotSupported, match="containerd image store"):
        host.detect()


def test_a_feature_that_is_switched_off_leaves_the_drivers(host):
    host.overlay2(layers=False)
    host.containerd()
    host.configure(data_root=str(host.root), features={"containerd-snapshotter": False})

    assert host.detect().driver == "overlay2"


def test_the_storage_driver_that_is_configured_decides(host):
    host.overlay2()
    host.driver("vfs")
    host.proc.process(7, "dockerd", arguments=("dockerd", "-g", str(host.root), "-s", "vfs"))

    with pytest.raises(StoreNotSupported, match="is that of the vfs driver"):
        host.detect()


# --- sub-roots ------------------------------------------------------------------------------------------------------


def lock(root: Path) -> int:
    fd = os.open(root / "volumes" / "metadata.db", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def test_the_only_sub_root_is_taken(host):
    sub = host.overlay2(host.root / "231072.231072")

    assert host.detect() == Store(str(sub), "overlay2", ())


def test_beside_a_root_with_layers_a_sub_root_is_dormant(host):
    host.overlay2()
    host.overlay2(host.root / "231072.231072")

    assert host.detect() == Store(str(host.root), "overlay2", (DormantStore("231072.231072", "overlay2"),))


def test_without_layers_anywhere_the_root_itself_is_live(host):
    host.overlay2(layers=False)
    host.overlay2(host.root / "231072.231072", layers=False)

    assert host.detect().path == str(host.root)


def test_a_sub_root_with_layers_goes_before_a_root_without(host):
    host.overlay2(layers=False)
    sub = host.overlay2(host.root / "231072.231072")

    assert host.detect().path == str(sub)


def test_the_sub_root_that_an_engine_holds_is_live(host):
    host.overlay2()
    sub = host.overlay2(host.root / "231072.231072")
    host.overlay2(host.root / "5000.5000")
    fd = lock(sub)
    try:
        found = host.detect()
    finally:
        os.close(fd)

    assert found == Store(
        str(sub), "overlay2", (DormantStore("..", "overlay2"), DormantStore("../5000.5000", "overlay2"))
    )


def test_the_root_that_an_engine_holds_is_live(host):
    fd = lock(host.overlay2(layers=False))
    host.overlay2(host.root / "231072.231072")
    try:
        assert host.detect().path == str(host.root)
    finally:
        os.close(fd)


def test_with_no_engine_the_configuration_decides(host):
    host.overlay2()
    sub = host.overlay2(host.root / "231072.231072")
    host.configure(data_root=str(host.root), userns_remap="default")

    assert host.detect().path == str(sub)


def test_several_sub_roots_are_listed(host):
    host.overlay2(host.root / "1000.1000")
    host.overlay2(host.root / "2000.2000")

    with pytest.raises(UsageError, match=r"docker/1000\.1000, .*/docker/2000\.2000\."):
        host.detect()


# --- no root --------------------------------------------------------------------------------------------------------


def test_what_is_not_there(host):
    with pytest.raises(RootNotFound, match="--root"):
        host.detect(host.folder / "missing")


def test_a_directory_that_is_no_root(host):
    (host.folder / "home").mkdir()

    with pytest.raises(NotADockerRoot, match=r"home is not a Docker root.*--root"):
        host.detect(host.folder / "home")


def test_a_directory_inside_a_root_names_the_root(host):
    host.overlay2()

    with pytest.raises(NotADockerRoot, match=f"perhaps {host.root} is meant"):
        host.detect(host.root / "overlay2")


def test_the_root_of_a_containerd(host):
    (host.root / "io.containerd.metadata.v1.bolt").mkdir(parents=True)

    with pytest.raises(StoreNotSupported, match="root of a containerd"):
        host.detect()


def test_control_characters_in_a_path_are_escaped(host):
    strange = host.folder / "a\nb"
    strange.mkdir()

    with pytest.raises(NotADockerRoot, match=r"/a\\nb is not"):
        host.detect(strange)


def test_a_root_that_may_not_be_read(host, monkeypatch):
    host.overlay2()
    real = os.open

    def refuse(path, flags, mode=0o777, *, dir_fd=None):
        if path == "overlay2":
            raise PermissionError(13, "no")
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(RootUnreadable, match="run gcd as root"):
        host.detect()
