from __future__ import annotations

import os
import tomllib

import pytest

from gcd import cli, settings
from gcd.commands import config
from gcd.model.errors import ExitBits
from gcd.settings.keys import leaves


@pytest.fixture
def directory(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GCD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "CONFIG_DIR", tmp_path)
    monkeypatch.setattr(config, "CONFIG_DIR", tmp_path)
    return tmp_path


def shown(capsys):
    assert cli.run(["config", "show"]) == ExitBits.CLEAN
    return capsys.readouterr().out


def test_each_value_is_shown_with_its_origin(directory, monkeypatch, capsys):
    (directory / "gcd.toml").write_text('skip = ["GCD104"]\n')
    monkeypatch.setenv("GCD_FAIL_ON", "error")

    lines = dict(line.split("  # ") for line in map(str.strip, shown(capsys).splitlines()) if "  # " in line)

    origins = {key.strip(): origin for key, origin in lines.items()}
    assert origins["# root is unset"] == "default"
    assert origins['skip = ["GCD104"]'] == str(directory / "gcd.toml")
    assert origins['fail_on = "error"'] == "GCD_FAIL_ON"
    assert origins['format = "text"'] == "default"
    assert origins['policy.grace = "24h"'] == "default"
    assert len(origins) == len(list(leaves()))


@pytest.mark.parametrize("root", ['/srv/"odd"\\root', "/srv/\x1b[31m\n\t\x7f\u2028", "/srv/ü\U000e0001"])
def test_what_is_shown_is_toml_and_printable(directory, monkeypatch, capsys, root):
    monkeypatch.setenv("GCD_ROOT", root)

    assert directory.exists()
    text = shown(capsys)
    assert tomllib.loads(text)["root"] == root
    assert text.replace("\n", "").isprintable()


def test_bytes_that_are_no_utf8_are_escaped(directory, monkeypatch, capsys):
    monkeypatch.setenv("GCD_ROOT", os.fsdecode(b"/srv/\xff"))
    monkeypatch.setenv(os.fsdecode(b"GCD_\xff\x1b"), "1")

    assert directory.exists()
    text = shown(capsys)
    assert r'root = "/srv/\udcff"' in text
    assert r"# GCD_\xff\x1b is set and is no setting" in text


def test_variables_that_are_no_settings_are_remarked_upon(directory, monkeypatch, capsys):
    monkeypatch.setenv("GCD_FORMT", "json")

    assert directory.exists()
    assert "# GCD_FORMT is set and is no setting; did you mean GCD_FORMAT" in shown(capsys)


def test_a_bad_file_ends_it_with_16(directory, capsys):
    (directory / "gcd.toml").write_text("fail_onn = 1\n")

    assert cli.run(["config", "show"]) == ExitBits.USAGE
    assert capsys.readouterr().err.endswith("gcd.toml: there is no setting 'fail_onn'; did you mean fail_on?\n")
