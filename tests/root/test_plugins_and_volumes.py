from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.trees import DIRECTORY, FIFO, Link, plant, within, without_rights

from gcd.model.inventory import Coverage, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.root.plugins import read_plugins
from gcd.root.tree import open_root
from gcd.root.volumes import read_volumes

if TYPE_CHECKING:
    from pathlib import Path

OK = SourceState(Coverage.OK)
ID = "a" * 64
REMOVING = f"{'b' * 64}-removing"
SPECIAL = "a FIFO, socket or device"


def read(tmp_path: Path, reader, tree: dict):
    plant(tmp_path, tree)
    with open_root(str(tmp_path)) as root, within(5):
        return reader(root)


def test_plugins_and_those_being_removed(tmp_path):
    found, state = read(
        tmp_path,
        read_plugins,
        {
            f"plugins/{ID}/config.json": b"{}",
            f"plugins/{ID}/rootfs/x": b"",
            f"plugins/{REMOVING}": DIRECTORY,
            "plugins/storage/x": b"",
            "plugins/tmp": DIRECTORY,
        },
    )
    assert state == OK
    assert {name: plugin.config for name, plugin in found.items()} == {ID: Present(None), REMOVING: ABSENT}
    assert found[REMOVING].ctime_ns == (tmp_path / "plugins" / REMOVING).stat().st_ctime_ns


@pytest.mark.parametrize(
    ("planted", "reading"),
    [
        (b"", EMPTY),
        (FIFO, Malformed("a regular file", SPECIAL)),
        (DIRECTORY, Malformed("a regular file", "a directory")),
        (Link("/etc/passwd"), Malformed("a regular file", "a symlink")),
    ],
)
def test_what_stands_in_the_place_of_either_file(tmp_path, planted, reading):
    plugins = read(tmp_path, read_plugins, {f"plugins/{ID}/config.json": planted})[0]
    volumes = read(tmp_path, read_volumes, {"volumes/v/opts.json": planted})[0]
    assert (plugins[ID].config, volumes["v"].options) == (reading, reading)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"MountType": 7}'])
def test_options_at_which_the_engine_does_not_start(tmp_path, content):
    found, state = read(tmp_path, read_volumes, {"volumes/v/opts.json": content})
    assert isinstance(found["v"].options, Malformed)
    assert state == OK


def test_volumes_are_what_the_local_driver_takes_for_some(tmp_path):
    found, state = read(
        tmp_path,
        read_volumes,
        {
            "volumes/plain/_data/user": b"x",
            "volumes/nfs/opts.json": b'{"MountType":"nfs","MountOpts":"addr=x","MountDevice":":/x","Quota":{"Size":0}}',
            "volumes/nothing": DIRECTORY,
            "volumes/metadata.db": b"x",
            "volumes/backingFsBlockDev": FIFO,
            "volumes/linked": Link("plain"),
        },
    )
    assert state == OK
    assert {name: volume.options for name, volume in found.items()} == {"plain": ABSENT, "nfs": Present(None)}


def test_a_volume_closed_to_us_is_unreadable(tmp_path):
    plant(tmp_path, {"volumes/v/_data": DIRECTORY})
    tmp_path.chmod(0o755)
    (tmp_path / "volumes/v").chmod(0)
    with open_root(str(tmp_path)) as root, without_rights():
        found, state = read_volumes(root)
    (tmp_path / "volumes/v").chmod(0o755)
    assert (found["v"].options, state) == (Unreadable("EACCES"), OK)


@pytest.mark.parametrize(("reader", "name"), [(read_plugins, "plugins"), (read_volumes, "volumes")])
def test_a_home_that_cannot_be_opened(tmp_path, reader, name):
    assert read(tmp_path, reader, {}) == ({}, SourceState(Coverage.ABSENT, f"{name} is not there"))
    assert read(tmp_path, reader, {name: Link("/etc")}) == (
        {},
        SourceState(Coverage.UNREADABLE, f"{name} is not a directory but a symlink"),
    )
