"""``gcd inspect`` beside what a real engine says of itself."""

from __future__ import annotations

import json
import os

import pytest

from gcd import cli, settings
from gcd.model.errors import ExitBits

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "CONFIG_DIR", tmp_path / "etc")


@pytest.fixture
def inspect(engine, capsys):
    def ask(word):
        assert cli.run(["inspect", "--root", str(engine.root), "--format", "json", word]) == ExitBits.CLEAN
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture
def web(engine):
    """What the engine says of a running container with a volume and a bind mount."""
    engine.docker(
        *("run", "-d", "--network=none", "--name", "web", "-v", "data:/data2", "-v", "/srv:/mnt:ro", "app"),
    )
    return engine.inspect("web")


def directory_of(engine, path):
    return path.removeprefix(f"{engine.root}/overlay2/").split("/")[0]


def test_a_container_is_shown_as_its_engine_says(engine, web, inspect):
    image = engine.inspect(web["Image"])
    driver = web["GraphDriver"]["Data"]
    below = [directory_of(engine, path) for path in driver["LowerDir"].split(":")]

    found = inspect("web")

    [container], [shown], [rw_layer] = found["containers"], found["images"], found["rw_layers"]
    assert (container["id"], container["name"], container["running"]) == (web["Id"], "web", True)
    assert (shown["id"], shown["references"]) == (image["Id"], image["RepoTags"])
    assert [layer["diff_id"] for layer in shown["layers"]] == image["RootFS"]["Layers"]
    assert [layer["cache_id"] for layer in found["layers"]] == below[:0:-1]
    assert (rw_layer["mount_id"], rw_layer["init_id"]) == (directory_of(engine, driver["UpperDir"]), below[0])
    assert sum(layer["size"] for layer in found["layers"]) == image["Size"]
    assert {
        (p["destination"], p["type"], p["name"], p["source"], p["writable"]) for p in container["mount_points"]
    } == {
        (mount["Destination"], mount["Type"], mount.get("Name", ""), mount["Source"], mount["RW"])
        for mount in web["Mounts"]
    }
    rw_dir = next(d for d in found["directories"] if d["id"] == rw_layer["mount_id"])
    assert rw_dir["lower"] == below
    assert (rw_dir["inodes"] > 0, rw_dir["lower_bound"]) == (True, False)
    assert {mount["merged_of"] for mount in found["mounts"]} >= {rw_layer["mount_id"]}
    assert web["State"]["Pid"] in {pid for mount in found["mounts"] for pid in mount["pids"]}
    assert found["findings"] == []


def test_every_path_that_the_engine_tells_leads_to_the_container(web, inspect):
    driver = web["GraphDriver"]["Data"]
    (volume,) = (mount["Name"] for mount in web["Mounts"] if mount["Type"] == "volume")
    paths = [
        *driver["LowerDir"].split(":"),
        driver["UpperDir"],
        driver["MergedDir"] + "/bin/busybox",
        driver["WorkDir"],
    ]

    for path in (*paths, web["ResolvConfPath"], web["LogPath"], volume, web["Id"][:12], web["Image"]):
        assert [container["id"] for container in inspect(path)["containers"]] == [web["Id"]]


def test_what_keeps_the_dirs_of_a_built_image(engine, inspect):
    image = engine.inspect("built")
    before = inspect("built")

    assert len(before["build"]["snapshots"]) >= len(image["RootFS"]["Layers"])
    assert {record["id"] for record in before["build"]["records"]} <= {
        lease["id"] for lease in before["build"]["leases"]
    }
    assert [(why["kept_by"], why["path"][0]["id"]) for why in before["why"]] == [("tag", "built:latest")] * len(
        image["RootFS"]["Layers"]
    )

    engine.docker("rmi", "built")

    directory = inspect(f"layer-dir:{before['why'][0]['directory']}")
    assert directory["images"] == []
    assert [why["kept_by"] for why in directory["why"]] == ["build"]
