from __future__ import annotations

import re
import tempfile

import pytest

from gcd import cli
from gcd.commands import demo
from gcd.model.errors import ExitBits


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_the_demo_finds_what_it_planted_and_leaves_it_there(place, capsys):
    assert cli.run(["demo"]) == ExitBits.CLEAN

    out = capsys.readouterr().out
    [folder] = place.iterdir()
    assert (folder / "docker" / "overlay2" / "l").is_dir()
    assert f" check --root {folder}/docker --format json" in out
    assert int(re.search(r"planted (\d+) faults", out)[1]) >= 12
    assert re.search(r"\nNot healthy: .* can be had back", out)


def test_the_demo_can_be_run_again(place):
    assert cli.run(["demo"]) == ExitBits.CLEAN
    assert cli.run(["demo"]) == ExitBits.CLEAN

    assert len(list(place.iterdir())) == 2


def test_a_fault_that_is_not_found_is_told(place, monkeypatch, capsys):
    build = demo.build_scene

    def build_and_mend(path):
        scene = build(path)
        [lost] = [planted for planted in scene.planted if planted.code == "GCD204"]
        size = path / "image/overlay2/layerdb" / lost.node.id.replace(":", "/") / "size"
        size.write_text("10")
        return scene

    monkeypatch.setattr(demo, "build_scene", build_and_mend)

    assert cli.run(["demo"]) == ExitBits.NOT_DONE
    assert "does not find what it planted itself: GCD204 at layer:" in capsys.readouterr().err
    assert place.exists()
