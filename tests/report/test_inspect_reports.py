from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from msgspec.structs import replace
from support.golden import assert_golden
from support.inventories import (
    BASE_CHAIN,
    BASE_DIFF,
    BASE_DIR,
    BASE_LINK,
    CONTAINER,
    IMAGE,
    RW_DIR,
    TOP_CHAIN,
    TOP_DIFF,
    TOP_DIR,
    TOP_LINK,
    YOUNG_NS,
    build_id,
    container,
    container_config,
    digest,
    dir_id,
    graph_of,
    healthy_inventory,
    image,
    layer,
    layer_dir,
    link_id,
    rw_layer,
    symlink,
    with_records,
    without,
)

from gcd.inspect.names import Names
from gcd.inspect.picture import picture
from gcd.inspect.view import Disk, Form, Kept
from gcd.model.facts import (
    BuildLease,
    BuildRecord,
    BuildSnapshot,
    ImageMetadata,
    KernelMount,
    MountPoint,
    RemovingRecord,
    SnapshotKind,
    WriteSet,
)
from gcd.model.finding import Node, NodeKind
from gcd.model.ids import ContainerId, DiffId, ImageId, LayerDirId, RwLayerName, init_dir_of
from gcd.model.inventory import Coverage, Source, SourceState
from gcd.model.reading import ABSENT, EMPTY, Malformed, Present, Unreadable
from gcd.report.inspect_json import SCHEMA, inspect_json, inspect_object
from gcd.report.inspect_text import inspect_text
from gcd.report.inspect_why import why_text
from gcd.rules.table import find
from gcd.run import ALL_CODES

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "docs" / "inspect.schema.json"
HOSTILE = "\x1b[31m\u202e\udcff"


@pytest.fixture(scope="module")
def schema():
    return json.loads(SCHEMA_FILE.read_text())


def view_of(inventory, word):
    graph = graph_of(inventory)
    findings, _ = find(inventory, graph, ALL_CODES)
    [asked] = Names(inventory, graph).meant_by(word)
    return picture(inventory, graph, findings, asked)


def busy_host():
    """The healthy inventory with a bit of everything around its image."""
    snapshot, step = build_id("exported"), build_id("step")
    points = (
        MountPoint("/data", "volume", "data", "/var/lib/docker/volumes/data/_data", "local", is_writable=True),
        MountPoint("/etc/app", "bind", "", "/srv/app", "", is_writable=False),
    )
    mount = KernelMount(
        "/", "overlay", "mnt:[4026532177]", (891, 892), "app", frozenset({RW_DIR}), frozenset({TOP_LINK}), None
    )
    inventory = with_records(
        healthy_inventory(),
        container(config=Present(container_config(running=True, mount_points=points))),
        ImageMetadata(IMAGE, Present(ImageId(digest("parent"))), ABSENT),
        ImageMetadata(ImageId(digest("child")), Present(IMAGE), ABSENT),
        BuildSnapshot(snapshot, SnapshotKind.COMMITTED, TOP_DIR, "", TOP_CHAIN),
        BuildSnapshot(step, SnapshotKind.ACTIVE, step, snapshot, None),
        BuildRecord(build_id("record"), snapshot, "", "regular"),
        BuildLease(build_id("lease"), (snapshot,), temporary=True),
    )
    return replace(
        inventory,
        mounts=(mount, replace(mount, mount_point=f"/r/{RW_DIR}/merged", merged_of=RW_DIR, namespace="mnt:[1]")),
    )


def damaged_host():
    """Readings of every sort, hostile names, an orphan."""
    other, stray = ContainerId(digest("other")[7:]), dir_id("stray")
    inventory = with_records(
        busy_host(),
        layer(TOP_DIFF, TOP_DIR, BASE_CHAIN, size=EMPTY),
        replace(layer(BASE_DIFF, BASE_DIR), cache_id=Malformed("a layer dir id", "../../etc")),
        container(other, Present(container_config(other, name=f"/{HOSTILE}", dead=True))),
        container(ContainerId(digest("third")[7:]), Unreadable("EIO")),
        layer_dir(BASE_DIR, EMPTY, unreadable="EIO"),
        layer_dir(stray, link_id("stray"), (BASE_LINK,)),
        rw_layer(mount_id=EMPTY),
        RemovingRecord(f"{TOP_CHAIN[7:]}-{digest('x')[7:]}-removing", TOP_CHAIN, Present(TOP_DIR), ABSENT, 0),
        WriteSet("write-set-1", Present(TOP_DIR), 0),
    )
    sources = {**inventory.sources, Source.BUILD_LEASES: SourceState(Coverage.BUSY, f"changed {HOSTILE}")}
    return replace(inventory, root=f"/srv/{HOSTILE}", candidates=inventory.candidates | {stray}, sources=sources)


def everything(inventory):
    graph = graph_of(inventory)
    findings, _ = find(inventory, graph, ALL_CODES)
    for _, candidate in (*Names(inventory, graph)._ids, *Names(inventory, graph)._words):
        view = picture(inventory, graph, findings, candidate)
        yield replace(view, disk={directory.id: Disk(4096, 3, is_lower_bound=True) for directory in view.directories})


def test_the_text_of_a_busy_host():
    view = view_of(busy_host(), "web")
    disk = {directory.id: Disk(28_672, 7, is_lower_bound=False) for directory in view.directories}

    assert_golden("inspect-container.txt", inspect_text(replace(view, disk=disk)))


def test_the_text_of_a_broken_layer():
    assert_golden("inspect-damaged.txt", inspect_text(view_of(damaged_host(), TOP_DIR)))


def test_many_images_and_containers_are_only_named_and_the_asked_layer_comes_first():
    diffs = [DiffId(digest(f"diff {n}")) for n in range(30)]
    inventory = with_records(
        healthy_inventory(),
        *(image(BASE_DIFF, diff, image_id=ImageId(digest(f"image {diff}"))) for diff in diffs),
        *(container(ContainerId(digest(diff)[7:])) for diff in diffs),
        *(rw_layer(name=RwLayerName(digest(diff)[7:]), mount=LayerDirId(digest(f"rw {diff}")[7:])) for diff in diffs),
    )
    lines = inspect_text(view_of(inventory, f"layer-dir:{BASE_DIR}")).splitlines()

    assert lines[3] == "├── layer"
    assert "├── 31 images" in lines
    assert "├── 31 containers" in lines or "└── 31 containers" in lines
    assert len(lines) < 160
    assert sum("and 11 more; --format json lists all" in line for line in lines) >= 2


def test_nothing_hostile_reaches_a_terminal():
    for view in everything(damaged_host()):
        for text in (inspect_text(view), why_text(view)):
            assert all(line.isprintable() for line in text.splitlines())
        assert all(c == "\n" or " " <= c <= "~" for c in inspect_json(view))


def test_every_view_fits_the_schema(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for inventory in (healthy_inventory(), busy_host(), damaged_host()):
        for view in everything(inventory):
            validator.validate(json.loads(inspect_json(view)))


def test_the_schema_knows_every_word(schema):
    properties = schema["properties"]

    assert properties["schema"]["const"] == SCHEMA
    assert set(properties["subject"]["properties"]["named_by"]["enum"]) == set(Form)
    assert set(properties["why"]["items"]["properties"]["kept_by"]["enum"]) == set(Kept)
    kinds = properties["build"]["properties"]["snapshots"]["items"]["properties"]["kind"]["enum"]
    assert set(kinds) == set(SnapshotKind)


def test_the_schema_describes_every_member_that_is_written(schema):
    written = inspect_object(view_of(busy_host(), "web"))
    properties = schema["properties"]

    assert set(written) <= set(properties)
    for name in ("images", "containers", "layers", "rw_layers", "directories", "mounts", "why"):
        assert set(written[name][0]) == set(properties[name]["items"]["properties"])
    for name in ("snapshots", "records", "leases"):
        described = properties["build"]["properties"][name]["items"]["properties"]
        assert set(written["build"][name][0]) == set(described)
    assert set(written["subject"]) == set(properties["subject"]["properties"])


def test_what_a_file_should_say_and_does_not_is_null_with_its_reason():
    found = inspect_object(view_of(damaged_host(), TOP_CHAIN))
    base, top = found["layers"]

    assert (base["cache_id"], base["unread"]) == (None, {"cache_id": "malformed: ../../etc"})
    assert (top["size"], top["unread"]) == (None, {"size": "empty"})
    assert top["broken_at"] == base["chain_id"]


def test_what_is_only_named_says_so():
    view = view_of(without(healthy_inventory(), Node(NodeKind.LAYER_DIR, TOP_DIR)), TOP_DIR)

    assert inspect_object(view)["subject"]["exists"] is False
    assert inspect_text(view).startswith(f"directory {TOP_DIR}  is not there, only named\n")
    assert why_text(view).endswith("(there is no such directory: GCD201 missing-layer-dir)\n") or why_text(
        view
    ).endswith("(there is no such directory)\n")


def test_a_container_that_another_uses_a_layer_with_is_told():
    other = ContainerId(digest("other")[7:])
    inventory = with_records(
        healthy_inventory(),
        container(other, Present(container_config(other, name="/other"))),
        rw_layer(name=RwLayerName(other), mount=dir_id("other rw")),
    )
    found = inspect_object(view_of(inventory, "web"))

    assert [one["id"] for one in found["containers"]] == [CONTAINER]
    assert {one["names"][0] for one in found["layers"][0]["used_by"]["containers"]} == {"web", "other"}
    assert f"container other ({other})" in inspect_text(view_of(inventory, "web"))


@pytest.mark.parametrize(
    ("record", "word", "line"),
    [
        (image(config=EMPTY), IMAGE, "config is empty"),
        (replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), diff_id=EMPTY), TOP_CHAIN, "diff is empty"),
        (layer_dir(TOP_DIR, EMPTY, (BASE_LINK,)), TOP_DIR, "link is empty"),
        (layer_dir(TOP_DIR, TOP_LINK, Unreadable("EIO")), TOP_DIR, "lower is unreadable (EIO)"),
        (rw_layer(init_id=EMPTY), "web", "init-id is empty"),
        (rw_layer(parent=None), "web", "on no layer"),
        (container(config=Unreadable("EIO")), CONTAINER, "config.v2.json is unreadable (EIO)"),
    ],
)
def test_what_a_file_does_not_say_is_told_where_it_should_stand(record, word, line):
    lines = inspect_text(view_of(with_records(healthy_inventory(), record), word)).splitlines()

    assert sum(shown.endswith(f"── {line}") for shown in lines) == 1


def test_a_layer_that_only_an_image_names_has_no_record():
    inventory = without(healthy_inventory(), Node(NodeKind.LAYER, TOP_CHAIN))

    lines = inspect_text(view_of(inventory, "app")).splitlines()

    assert sum(line.endswith("── no layer record") for line in lines) == 1


def test_a_path_says_what_goes_on_inside():
    lines = inspect_text(view_of(healthy_inventory(), f"overlay2/{TOP_DIR}/diff/etc")).splitlines()

    assert lines[1] == "├── inside  diff/etc"


def test_colour_only_when_asked_for():
    view = view_of(damaged_host(), TOP_DIR)

    assert "\x1b[" in inspect_text(view, colour=True)
    assert "\x1b[" not in inspect_text(view)
    assert max(map(len, inspect_text(view, width=60).splitlines())) <= 60


def test_a_link_that_does_not_lead_back_is_shown():
    inventory = with_records(healthy_inventory(), symlink(TOP_LINK, BASE_DIR))
    text = inspect_text(view_of(inventory, f"layer-dir:{TOP_DIR}"))

    assert f"link      {TOP_LINK}, and l/{TOP_LINK} does not lead here" in text
    assert f"l/{TOP_LINK} leads here, and its link file says otherwise" in text


def ways(inventory, word):
    return why_text(view_of(inventory, word)).splitlines()


def test_the_way_says_what_kind_of_keeper_it_ends_at():
    young, stray, pair = dir_id("young"), dir_id("stray"), dir_id("pair")
    bare = without(healthy_inventory(repositories=ABSENT), Node(NodeKind.CONTAINER, CONTAINER))
    inventory = with_records(
        bare,
        layer_dir(stray, link_id("stray")),
        layer_dir(young, link_id("young"), (link_id("stray"),), ctime_ns=YOUNG_NS),
        layer_dir(init_dir_of(pair), link_id("init pair"), ctime_ns=YOUNG_NS),
        layer_dir(pair, link_id("pair")),
    )
    inventory = replace(inventory, candidates=frozenset(inventory.layer_dirs))

    assert ways(inventory, TOP_DIR) == [
        (
            f"overlay2/{TOP_DIR}: image {IMAGE} → layer {TOP_CHAIN} → overlay2/{TOP_DIR}"
            " (no tag: the engine keeps it until it is removed or pruned)"
        )
    ]
    assert ways(inventory, RW_DIR) == [
        (
            f"overlay2/{RW_DIR}: rw layer record {CONTAINER} → overlay2/{RW_DIR}"
            " (a record that nothing names: GCD304 ghost-rw-layer)"
        )
    ]
    assert ways(inventory, young) == [
        f"overlay2/{young}: nothing known, but it may belong to work under way: GCD101 orphaned-layer-dir"
    ]
    assert ways(inventory, stray) == [
        (
            f"overlay2/{stray}: overlay2/{young} → by its lower → overlay2/{stray}"
            " (that may belong to work under way: GCD101 orphaned-layer-dir)"
        )
    ]
    assert ways(inventory, pair) == [
        (
            f"overlay2/{pair}: overlay2/{pair}-init → its pair → overlay2/{pair}"
            " (that may belong to work under way: GCD116 orphaned-rw-dir)"
        )
    ]


def test_what_may_belong_to_something_damaged_is_not_called_nothings():
    stray = dir_id("stray")
    inventory = with_records(
        healthy_inventory(),
        replace(layer(TOP_DIFF, TOP_DIR, BASE_CHAIN), cache_id=EMPTY),
        layer_dir(stray, link_id("stray"), (BASE_LINK,)),
    )
    inventory = replace(inventory, candidates=frozenset(inventory.layer_dirs))
    [line] = ways(inventory, stray)

    assert line == (
        f"overlay2/{stray}: nothing: GCD101 orphaned-layer-dir, proven, but it may belong to GCD206:layer:{TOP_CHAIN}"
    )
    unread = {**inventory.sources, Source.BUILD_LEASES: SourceState(Coverage.BUSY, "busy")}
    [line] = ways(replace(inventory, sources=unread), stray)
    assert line.endswith("; but build-leases could not be read completely, so this proves nothing")
