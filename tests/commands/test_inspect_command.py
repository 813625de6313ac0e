"""``gcd inspect`` from end to end: the article's root, whose every id leads to the whole picture, and built roots."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jsonschema
import pytest
from support import article
from support.seeds import own_seed

from gcd import cli
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.scene import build_scene
from gcd.inspect.names import Names
from gcd.inspect.picture import picture
from gcd.inspect.view import Kept
from gcd.inspect.why import Keepers
from gcd.model.errors import ExitBits
from gcd.model.storegraph import StoreGraph
from gcd.root.discover import detect_store
from gcd.root.read import read_inventory
from gcd.run import look

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = json.loads((DOCS / "inspect.schema.json").read_text())
CHECK_SCHEMA = json.loads((DOCS / "check.schema.json").read_text())
HOURS = 3_600_000_000_000

LAYER_WORDS = [
    word
    for layer in article.LAYERS
    for word in (
        layer.diff_id,
        layer.chain_id,
        layer.cache_id,
        layer.link,
        layer.cache_id[:8],
        f"overlay2/{layer.cache_id}/diff/invented",
        f"overlay2/l/{layer.link}",
        f"image/overlay2/layerdb/sha256/{layer.chain_id[7:]}/cache-id",
        f"image/overlay2/distribution/v2metadata-by-diffid/sha256/{layer.diff_id[7:]}",
    )
]
IMAGE_WORDS = [
    *article.REFERENCES,
    article.IMAGE,
    "1ddc7a18ba0b",
    "sha256:224ced85b5f8b679a8664a39b69c1b8feb09f8ba4343d834bd5b69433081389e",
    f"image/overlay2/imagedb/content/sha256/{article.IMAGE[7:]}",
]
CONTAINER_WORDS = [
    "openresty-app-1",
    article.CONTAINER,
    "4ec800c3ec10",
    f"containers/{article.CONTAINER}/config.v2.json",
    f"image/overlay2/layerdb/mounts/{article.CONTAINER}/init-id",
    article.MOUNT_ID,
    article.INIT_ID,
    article.RW_LINK,
    article.INIT_LINK,
    f"overlay2/{article.MOUNT_ID}/diff/test-layer.20201209.txt",
]


@pytest.fixture(scope="module")
def article_root(tmp_path_factory):
    return article.write_article(tmp_path_factory.mktemp("article") / "docker")


@pytest.fixture(scope="module")
def demo_root(tmp_path_factory):
    """Damaged in 21 ways."""
    return build_scene(tmp_path_factory.mktemp("demo") / "docker").root


def inspect(root, *arguments):
    return cli.run(["inspect", "--root", str(root), *map(str, arguments)])


def object_of(capsys, root, *arguments):
    assert inspect(root, "--format", "json", *arguments) == ExitBits.CLEAN
    told = capsys.readouterr()
    assert told.err == ""
    found = json.loads(told.out)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    finding_schema = {"$defs": CHECK_SCHEMA["$defs"], "$ref": "#/$defs/finding"}
    for finding in found["findings"]:
        jsonschema.Draft202012Validator(finding_schema).validate(finding)
    return found


@pytest.mark.parametrize("word", [*IMAGE_WORDS, *LAYER_WORDS, *CONTAINER_WORDS])
def test_every_id_of_the_article_leads_to_its_whole_picture(word, article_root, capsys):
    found = object_of(capsys, article_root, word)

    [image] = found["images"]
    assert image["id"] == article.IMAGE
    assert image["references"] == sorted(article.REFERENCES)
    assert image["created"] == "2020-09-18T16:25:11.080239395Z"
    assert [(layer["chain_id"], layer["diff_id"]) for layer in image["layers"]] == [
        (layer.chain_id, layer.diff_id) for layer in article.LAYERS
    ]
    assert [
        (layer["diff_id"], layer["chain_id"], layer["cache_id"], layer["size"], layer["parent"])
        for layer in found["layers"]
    ] == [
        (layer.diff_id, layer.chain_id, layer.cache_id, layer.size, article.LAYERS[n - 1].chain_id if n else None)
        for n, layer in enumerate(article.LAYERS)
    ]
    [container] = found["containers"]
    assert (container["id"], container["name"], container["image"]) == (
        article.CONTAINER,
        "openresty-app-1",
        article.IMAGE,
    )
    [rw_layer] = found["rw_layers"]
    assert (rw_layer["mount_id"], rw_layer["init_id"], rw_layer["parent"]) == (
        article.MOUNT_ID,
        article.INIT_ID,
        article.LAYERS[-1].chain_id,
    )
    assert {directory["id"]: (directory["link"], directory["symlinks"]) for directory in found["directories"]} == {
        **{layer.cache_id: (layer.link, [layer.link]) for layer in article.LAYERS},
        article.MOUNT_ID: (article.RW_LINK, [article.RW_LINK]),
        article.INIT_ID: (article.INIT_LINK, [article.INIT_LINK]),
    }
    assert all(directory["disk_bytes"] > 0 for directory in found["directories"])
    assert found["findings"] == []


@pytest.mark.parametrize("word", ["1ddc7a18ba0b", article.LAYERS[1].link, "openresty-app-1"])
def test_the_text_of_the_article_holds_all_of_its_values(word, article_root, capsys):
    assert inspect(article_root, word) == ExitBits.CLEAN
    text = capsys.readouterr().out

    ids = [value for layer in article.LAYERS for value in (layer.diff_id, layer.chain_id, layer.cache_id, layer.link)]
    others = (article.IMAGE, article.CONTAINER, article.MOUNT_ID, article.INIT_ID, article.RW_LINK, article.INIT_LINK)
    for value in (*ids, *others, *article.REFERENCES, *(f"({layer.size} bytes)" for layer in article.LAYERS)):
        assert value in text
    assert text.count("← this") == 1
    assert "\x1b" not in text


def test_why_names_the_way_to_each_directory(article_root, capsys):
    layer = article.LAYERS[2]

    assert inspect(article_root, layer.link, "--why") == ExitBits.CLEAN
    assert capsys.readouterr().out == (
        f"overlay2/{layer.cache_id}: tag openresty/openresty:1.17.8.2-5-alpine → image {article.IMAGE}"
        f" → layer {layer.chain_id} → overlay2/{layer.cache_id}\n"
    )


def test_a_path_may_be_absolute_or_begin_in_the_working_directory(article_root, capsys, monkeypatch):
    directory = article.LAYERS[0].cache_id
    absolute = article_root / "overlay2" / directory / "diff/invented/0"
    monkeypatch.chdir(article_root / "overlay2")

    for word in (absolute, f"{directory}/diff/invented/0", f"../overlay2/{directory}/diff/invented/0"):
        subject = object_of(capsys, article_root, word)["subject"]
        assert (subject["id"], subject["inside"]) == (directory, "diff/invented/0")


def test_a_path_through_a_symlink_to_the_root_leads_there_as_well(article_root, tmp_path, capsys):
    link = tmp_path / "docker"
    link.symlink_to(article_root)

    found = object_of(capsys, link, link / "overlay2" / article.MOUNT_ID)

    assert found["subject"]["id"] == article.MOUNT_ID


def test_what_is_unknown_names_the_nearest(article_root, capsys):
    assert inspect(article_root, "openresty-app-2") == ExitBits.USAGE
    assert "is called 'openresty-app-2'; did you mean openresty-app-1" in capsys.readouterr().err
    assert inspect(article_root, "1dd") == ExitBits.USAGE
    assert "of an id at least 4 characters are needed" in capsys.readouterr().err
    assert inspect(article_root, "\x1b[31m") == ExitBits.USAGE
    assert "\x1b" not in capsys.readouterr().err


def test_what_is_ambiguous_lists_its_candidates(tmp_path, capsys):
    with DockerRoot(tmp_path / "docker") as built:
        base = built.image("base:1", layers=1)
        for name in ("one", "two"):
            built.container("twin", image=base, content={name: b""})

    assert inspect(tmp_path / "docker", "twin") == ExitBits.USAGE
    told = capsys.readouterr().err
    assert "'twin' can mean 2 things; say more of it, or KIND:ID:" in told
    assert told.count("  container:") == 2


def test_an_orphan_is_shown_with_its_finding_and_kept_by_nothing(tmp_path, capsys, monkeypatch):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        base = built.image("base:1", layers=2)
        orphan = built.layer_dir(parent=base.top.cache_id)
    ahead = time.time_ns() + 2 * HOURS
    monkeypatch.setattr("gcd.commands.inspect.time.time_ns", lambda: ahead)

    found = object_of(capsys, tmp_path / "docker", f"layer-dir:{orphan}")

    assert [finding["code"] for finding in found["findings"]] == ["GCD101"]
    [why] = found["why"]
    assert (why["kept_by"], why["path"], why["findings"]) == ("nothing", [], [found["findings"][0]["id"]])
    assert inspect(tmp_path / "docker", orphan, "--why") == ExitBits.CLEAN
    assert capsys.readouterr().out.endswith(": nothing: GCD101 orphaned-layer-dir, proven\n")


def test_names_from_the_root_are_escaped(tmp_path, capsys):
    with DockerRoot(tmp_path / "docker") as built:
        base = built.image("base:1", layers=1)
        container = built.container("evil\x1b[31m", image=base)
    config = tmp_path / "docker/containers" / container.id / "config.v2.json"
    said = json.loads(config.read_text())
    said["MountPoints"] = {
        "/\x1b]0;x\x07": {"Type": "bind", "Source": "/srv/\x9b\u202e", "Destination": "/\x1b]0;x\x07", "RW": True}
    }
    config.write_text(json.dumps(said))

    assert inspect(tmp_path / "docker", container.id) == ExitBits.CLEAN
    text = capsys.readouterr().out
    assert all(line.isprintable() for line in text.splitlines())
    assert "container evil\\x1b[31m" in text
    assert "/\\x1b]0;x\\x07: bind from /srv/\\u009b\\u202e" in text
    found = object_of(capsys, tmp_path / "docker", container.id)
    assert found["containers"][0]["name"] == "evil\\x1b[31m"
    assert found["containers"][0]["mount_points"][0]["source"] == "/srv/\\u009b\\u202e"


def test_no_environment_and_no_label_is_shown(tmp_path, capsys):
    with DockerRoot(tmp_path / "docker") as built:
        container = built.container("web", image=built.image("base:1", layers=1))
    config = tmp_path / "docker/containers" / container.id / "config.v2.json"
    said = json.loads(config.read_text())
    said["Config"] |= {"Env": ["TOKEN=hunter2"], "Labels": {"secret": "hunter2"}, "Cmd": ["hunter2"]}
    config.write_text(json.dumps(said))

    for form in ("text", "json"):
        inspect(tmp_path / "docker", "web", "--format", form)
    assert "hunter2" not in capsys.readouterr().out


def test_a_source_that_was_not_read_is_told_and_counts(tmp_path, capsys):
    with DockerRoot(tmp_path / "docker") as built:
        built.image("base:1", layers=1)
        built.build_step()
    (tmp_path / "docker/buildkit/snapshots.db").write_bytes(b"no database")

    assert inspect(tmp_path / "docker", "base:1") == ExitBits.NOT_DONE
    assert "build-snapshots was not read completely, and is missing here" in capsys.readouterr().out


def test_who_else_uses_a_layer(tmp_path, capsys):
    with DockerRoot(tmp_path / "docker") as built:
        base = built.image("base:1", layers=1)
        web = built.image("web:1", base=base, layers=1)
        api = built.container("api", image=web)
        built.build_export(built.build_step(), parent=base.top)

    shared, own = object_of(capsys, tmp_path / "docker", "web:1")["layers"]

    assert [user["names"] for user in shared["used_by"]["images"]] == [["base:1"], ["web:1"]]
    assert [user["names"] for user in own["used_by"]["images"]] == [["web:1"]]
    assert [user["id"] for user in own["used_by"]["containers"]] == [api.id]
    assert inspect(tmp_path / "docker", "web:1") == ExitBits.CLEAN
    told = [line.lstrip("│├└─ ") for line in capsys.readouterr().out.splitlines()]
    assert told[told.index("shared with") + 1] == f"image base:1 ({base.id})"


def test_nothing_keeps_exactly_what_is_not_alive(demo_root):
    """The answer of --why and the closure that decides what an orphan is never differ."""
    store = detect_store(str(demo_root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    for now_ns in (time.time_ns(), time.time_ns() + 2 * HOURS):
        graph = StoreGraph(inventory, inventory.engine.proof_bound(now_ns))
        keepers = Keepers(inventory, graph, look(inventory, now_ns)[0])
        kept = {directory for directory in inventory.layer_dirs if keepers.why(directory).kept is not Kept.NOTHING}
        assert kept == graph.live_dirs


def test_everything_in_a_broken_root_can_be_asked_for(demo_root):
    store = detect_store(str(demo_root))
    inventory = read_inventory(store.path, driver=store.driver, dormant=store.dormant)
    graph = StoreGraph(inventory, inventory.engine.proof_bound(time.time_ns()))
    findings, _ = look(inventory, time.time_ns())
    names = Names(inventory, graph)
    for finding in findings:
        for candidate in names.meant_by(finding.id):
            assert finding in picture(inventory, graph, findings, candidate).findings
