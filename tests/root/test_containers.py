from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.trees import DIRECTORY, FIFO, SOCKET, Link, change_after, place, plant, within, without_rights

from gcd.model.facts import ContainerConfig, HostConfig
from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.root.containers import containers_of, read_container_files
from gcd.root.progress import Pace
from gcd.root.tree import Directory, open_root

if TYPE_CHECKING:
    from pathlib import Path

ID = "a" * 64
OTHER = "b" * 64
OK = SourceState(Coverage.OK)
SPECIAL = "a FIFO, socket or device"
CONFIG = json.dumps(
    {
        "ID": ID,
        "Name": "/web",
        "Image": f"sha256:{'1' * 64}",
        "Driver": "overlay2",
        "Config": {"Image": "web:1", "Env": ["SECRET=1"]},
        "State": {"Running": True, "Dead": False, "RemovalInProgress": False},
    }
).encode()
HOST = json.dumps({"AutoRemove": True, "RestartPolicy": {"Name": "always"}}).encode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return plant(tmp_path / "containers", {f"{ID}/config.v2.json": CONFIG, f"{ID}/hostconfig.json": HOST})


def read(tmp_path: Path):
    with open_root(str(tmp_path)) as root, within(5):
        files, state = read_container_files(root)
    return containers_of(files), state


def test_a_sound_container(tmp_path, home):
    plant(home, {f"{ID}/.tmp-config.v2.json123": b"", f"{ID}/.tmp-hostconfig.json9": b"", f"{ID}/hosts": b""})
    found, state = read(tmp_path)
    assert state == OK
    container = found[ID]
    assert container.config == Present(
        ContainerConfig(
            id=ID,
            name="/web",
            image=f"sha256:{'1' * 64}",
            image_reference="web:1",
            driver="overlay2",
            running=True,
            dead=False,
            removal_in_progress=False,
            has_config=True,
        )
    )
    assert container.host_config == Present(HostConfig(auto_remove=True, restart_policy="always"))
    assert container.temporaries == (".tmp-config.v2.json123", ".tmp-hostconfig.json9")


@pytest.mark.parametrize(("name", "field"), [("config.v2.json", "config"), ("hostconfig.json", "host_config")])
@pytest.mark.parametrize(
    ("planted", "reading"),
    [
        (None, ABSENT),
        (b"", EMPTY),
        (FIFO, Malformed("a regular file", SPECIAL)),
        (SOCKET, Malformed("a regular file", SPECIAL)),
        (DIRECTORY, Malformed("a regular file", "a directory")),
        (Link("/etc/passwd"), Malformed("a regular file", "a symlink")),
    ],
)
def test_what_stands_in_the_place_of_a_configuration(tmp_path, home, name, field, planted, reading):
    (home / ID / name).unlink()
    if planted is not None:
        place(home / ID / name, planted)
    found, state = read(tmp_path)
    assert (getattr(found[ID], field), state) == (reading, OK)
    other = "host_config" if field == "config" else "config"
    assert isinstance(getattr(found[ID], other), Present)


def test_a_configuration_that_does_not_parse_says_so_without_its_content(tmp_path, home):
    place(home / ID / "config.v2.json", CONFIG[:-1])
    config = read(tmp_path)[0][ID].config
    assert isinstance(config, Malformed)
    assert "SECRET" not in f"{config}"


@pytest.mark.parametrize("name", [".", "config.v2.json", "hostconfig.json"])
def test_the_ctime_is_the_newest_of_the_directory_and_the_two_files(tmp_path, home, name):
    before = read(tmp_path)[0][ID].ctime_ns
    changed = change_after(home / ID / name, before)
    assert read(tmp_path)[0][ID].ctime_ns == changed


def test_only_names_of_containers_are_containers(tmp_path, home):
    plant(home, {"stray": b"", f"{OTHER}x/config.v2.json": CONFIG, OTHER: b""})
    found, state = read(tmp_path)
    assert (found.keys(), state) == ({ID, OTHER}, OK)
    assert found[OTHER].config == Malformed("a directory", "a regular file")


def test_a_container_closed_to_us_is_unreadable_and_the_rest_is_read(tmp_path, home):
    plant(home, {f"{OTHER}/config.v2.json": CONFIG})
    tmp_path.chmod(0o755)
    (home / OTHER).chmod(0)
    with open_root(str(tmp_path)) as root, without_rights():
        files, state = read_container_files(root)
    (home / OTHER).chmod(0o755)
    found = containers_of(files)
    assert (found[OTHER].config, found[OTHER].host_config) == (Unreadable("EACCES"), Unreadable("EACCES"))
    assert (isinstance(found[ID].config, Present), state) == (True, OK)


def test_a_container_that_vanishes_between_listing_and_reading_is_not_there(tmp_path, home, monkeypatch):
    whole = Directory.list

    def list_then_remove(self, limit=1_000_000):
        listing = whole(self, limit)
        if ID in listing.entries:
            (home / ID).rename(tmp_path / "gone")
        return listing

    monkeypatch.setattr(Directory, "list", list_then_remove)
    assert read(tmp_path) == ({}, OK)


def test_several_readers_find_what_one_does(tmp_path, home, monkeypatch):
    monkeypatch.setattr("gcd.root.shares.BATCH", 2)
    plant(home, {f"{number:064x}/config.v2.json": CONFIG.replace(b"web", b"%d" % number) for number in range(9)})
    plant(home, {f"{OTHER}/config.v2.json": b"{", f"{OTHER}/hostconfig.json": FIFO, "c" * 64: b""})
    with open_root(str(tmp_path)) as root:
        assert read_container_files(root, Pace(readers=3)) == read_container_files(root)


@pytest.mark.parametrize(
    ("planted", "coverage", "why"),
    [
        (None, Coverage.ABSENT, "containers is not there"),
        (Link("/etc"), Coverage.UNREADABLE, "containers is not a directory but a symlink"),
    ],
)
def test_a_home_that_cannot_be_opened(tmp_path, planted, coverage, why):
    if planted is not None:
        plant(tmp_path, {"containers": planted})
    assert read(tmp_path) == ({}, SourceState(coverage, why))
