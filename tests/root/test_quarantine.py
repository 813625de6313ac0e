"""Reading the quarantine: every entry, and what the records in it keep alive."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from support.trees import FIFO, Link, place
from support.units import RUN, finding_for, leaked_root, quarantined

from gcd.actions.manifest import OpenEntry
from gcd.actions.place import open_place
from gcd.actions.repair import prepare
from gcd.model import layout
from gcd.model.edges import dir_node, layer_node
from gcd.model.entry import EntryState
from gcd.model.facts import QuarantineEntry
from gcd.model.ids import chain_ids
from gcd.model.inventory import Coverage, Source
from gcd.model.plan import Mend, WriteFile
from gcd.model.reading import ABSENT, Malformed, Present
from gcd.model.storegraph import StoreGraph
from gcd.root.images import images_of, read_imagedb
from gcd.root.quarantine import read_quarantine
from gcd.root.read import read_inventory
from gcd.root.tree import open_root


@pytest.fixture
def made(tmp_path):
    return leaked_root(tmp_path / "docker")


@pytest.fixture
def root(made):
    return made[0]


@pytest.fixture
def units(made):
    return made[1]


def read(root):
    with open_root(str(root)) as directory:
        return read_quarantine(directory)


def names_in(unit):
    """The chain and the dir of a unit."""
    return f"sha256:{Path(unit[0]).name}", Path(unit[1]).name


def test_a_root_without_one_has_been_seen_whole(root):
    found, state = read(root)

    assert (found, state.coverage) == ({}, Coverage.OK)


def test_a_whole_unit_refers_to_nothing(root, units):
    (deed,) = quarantined(root, units[:1])

    found, state = read(root)

    assert state.coverage is Coverage.OK
    assert found[deed.entry].state is EntryState.CLOSED
    assert isinstance(found[deed.entry].manifest, Present)
    assert found[deed.entry].refers_to == frozenset()


def test_a_bare_record_refers_to_its_dir_and_its_parent(root, units):
    (deed,) = quarantined(root, [units[0][:1]])

    assert read(root)[0][deed.entry].refers_to == {dir_node(names_in(units[0])[1]), layer_node(names_in(units[1])[0])}


def test_a_bare_rw_layer_record_refers_to_both_its_dirs_and_its_parent(root):
    (record,) = (root / "image/overlay2/layerdb/mounts").iterdir()
    says = {name: (record / name).read_text() for name in ("mount-id", "init-id", "parent")}
    (deed,) = quarantined(root, [(str(record.relative_to(root)),)])

    assert read(root)[0][deed.entry].refers_to == {
        dir_node(says["mount-id"]),
        dir_node(says["init-id"]),
        layer_node(says["parent"]),
    }


def test_an_image_config_refers_to_its_layers(root):
    with open_root(str(root)) as directory:
        (image,) = images_of(read_imagedb(directory, "overlay2")[0]).values()
    (deed,) = quarantined(root, [(layout.image_config(image.id),)])

    assert read(root)[0][deed.entry].refers_to == set(map(layer_node, chain_ids(image.config.value.diff_ids)))


def test_a_temporary_file_of_an_image_config_refers_to_nothing(root):
    """No engine loads an image of that name, whatever comes back."""
    with open_root(str(root)) as directory:
        (image,) = images_of(read_imagedb(directory, "overlay2")[0]).values()
    config = root / layout.image_config(image.id)
    temporary = config.with_name(f".tmp-{config.name}346601921")
    temporary.write_bytes(config.read_bytes())
    (deed,) = quarantined(root, [(str(temporary.relative_to(root)),)])

    assert read(root)[0][deed.entry].refers_to == frozenset()


@pytest.mark.parametrize("state", ["open", "entries"])
def test_without_a_manifest_every_record_is_a_bare_one(root, units, state):
    (deed,) = quarantined(root, units[:1])
    folder = (root / ".gcd/entries" / deed.entry).rename(root / ".gcd" / state / deed.entry)
    (folder / "manifest.json").write_bytes(b"{}")

    entry = read(root)[0][deed.entry]

    assert isinstance(entry.manifest, Malformed)
    assert entry.refers_to == {dir_node(names_in(units[0])[1]), layer_node(names_in(units[1])[0])}


def test_what_is_made_and_not_taken_yet_has_a_manifest(root, units):
    step = Mend(finding_for("x"), (WriteFile(f"{units[0][0]}/size", b"12", like=units[0][0]),))
    with open_root(str(root)) as directory, open_place(directory, create=True) as held:
        prepared = prepare(held, step, run_id=RUN, now_ns=time.time_ns())
        assert isinstance(prepared, OpenEntry)
        with prepared as entry:
            assert read(root)[0] == {entry.id: QuarantineEntry(entry.id, EntryState.OPEN, Present(entry.manifest))}


def test_what_is_being_purged_keeps_nothing(root, units):
    (deed,) = quarantined(root, [units[0][:1]])
    (root / ".gcd/entries" / deed.entry).rename(root / ".gcd/purging" / deed.entry)

    assert read(root)[0][deed.entry].refers_to == frozenset()


@pytest.mark.parametrize("what", [FIFO, Link("/etc"), b""], ids=["fifo", "symlink", "file"])
def test_what_stands_in_an_entrys_place_is_told(root, units, what):
    quarantined(root, units[:1])
    place(root / ".gcd/entries/20200101T000000-0001", what)

    found, state = read(root)

    assert state.coverage is Coverage.OK
    assert isinstance(found["20200101T000000-0001"].manifest, Malformed)


@pytest.mark.parametrize("what", [FIFO, Link("/etc"), b""], ids=["fifo", "symlink", "file"])
@pytest.mark.parametrize("name", [".gcd", ".gcd/entries"])
def test_a_quarantine_that_cannot_be_read_is_not_an_empty_one(root, units, name, what):
    quarantined(root, units[:1])
    shutil.rmtree(root / name)
    place(root / name, what)

    _, state = read(root)
    inventory = read_inventory(str(root))

    assert state.coverage is Coverage.UNREADABLE
    assert inventory.sources[Source.LAYERS].coverage is Coverage.UNREADABLE


def test_an_entry_without_anything_is_one(root, units):
    (deed,) = quarantined(root, units[:1])
    shutil.rmtree(root / ".gcd/entries" / deed.entry)
    (root / ".gcd/open" / deed.entry).mkdir()

    assert read(root)[0] == {deed.entry: QuarantineEntry(deed.entry, EntryState.OPEN, ABSENT)}


def test_what_a_bare_record_names_is_no_orphan_until_it_is_purged(root, units):
    """Without its record the dir, and all that it stands on, would be nobody's."""
    (deed,) = quarantined(root, [units[0][:1]])
    chain, layer_dir = names_in(units[1])

    inventory = read_inventory(str(root))
    graph = StoreGraph(inventory, bound_ns=2**63)
    assert names_in(units[0])[1] in graph.referenced_dirs
    assert {chain, names_in(units[2])[0]}.isdisjoint(graph.unkept_layers)
    assert layer_dir in graph.referenced_dirs

    shutil.rmtree(root / ".gcd/entries" / deed.entry)
    graph = StoreGraph(read_inventory(str(root)), bound_ns=2**63)
    assert names_in(units[0])[1] not in graph.referenced_dirs
    assert chain in graph.unkept_layers
