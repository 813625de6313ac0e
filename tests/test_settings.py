from __future__ import annotations

from pathlib import Path

import pytest

from gcd.model.errors import UsageError
from gcd.settings import FailOn, ReportFormat, load, sample

SAMPLE = Path(__file__).resolve().parent.parent / "config" / "gcd.toml"


@pytest.fixture
def directory(tmp_path, monkeypatch):
    for name in ("GCD_ROOT", "GCD_FORMAT", "GCD_FAIL_ON", "GCD_SKIP", "GCD_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "conf.d").mkdir()
    return tmp_path


def test_without_any_source_the_defaults_hold(directory):
    loaded = load({}, directory=directory)

    assert loaded.settings.root is None
    assert loaded.settings.state_dir == Path("/var/lib/gcd")
    assert loaded.settings.fail_on is FailOn.WARNING
    assert set(loaded.origins.values()) == {"default"}


def test_later_layers_win_and_each_value_knows_its_origin(directory, monkeypatch):
    (directory / "gcd.toml").write_text('root = "/a"\nformat = "json"\nfail_on = "never"\nskip = ["GCD104"]\n')
    (directory / "conf.d" / "20.toml").write_text('root = "/c"\nfail_on = "error"\n')
    (directory / "conf.d" / "10.toml").write_text('root = "/b"\n')
    monkeypatch.setenv("GCD_FAIL_ON", "warning")

    loaded = load({"format": "text", "root": None}, directory=directory)

    assert loaded.settings.root == Path("/c")
    assert loaded.settings.format is ReportFormat.TEXT
    assert loaded.settings.fail_on is FailOn.WARNING
    assert loaded.settings.skip == ("GCD104",)
    assert loaded.origins["root"] == str(directory / "conf.d" / "20.toml")
    assert loaded.origins["format"] == "flag"
    assert loaded.origins["fail_on"] == "GCD_FAIL_ON"
    assert loaded.origins["skip"] == str(directory / "gcd.toml")


def test_files_are_read_in_the_order_of_their_names(directory):
    for number in (50, 10, 90, 30, 70, 20, 80, 40, 60):
        (directory / "conf.d" / f"{number}.toml").write_text(f'root = "/{number}"\n')

    assert load({}, directory=directory).settings.root == Path("/90")


def test_codes_in_the_environment_are_separated_by_commas(directory, monkeypatch):
    monkeypatch.setenv("GCD_SKIP", "GCD104, GCD113,")

    assert load({}, directory=directory).settings.skip == ("GCD104", "GCD113")


def test_the_state_directory_moves_with_its_variable(directory, monkeypatch):
    monkeypatch.setenv("GCD_STATE_DIR", "/elsewhere")

    assert load({}, directory=directory).settings.state_dir == Path("/elsewhere")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('fial_on = "error"', "there is no setting 'fial_on'; did you mean fail_on?"),
        ('zzzz = "error"', "there is no setting 'zzzz'; the settings are root, state_dir, format,"),
        ('fail_on = "sometimes"', "fail_on = 'sometimes' does not fit: Input should be 'error', 'warning' or 'never'"),
        ("root = [", "cannot be read as TOML"),
        ("root = \xff", "cannot be read as TOML"),
        ("[root]\nfail_on = 1", "root = {'fail_on': 1} does not fit"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(directory, text, told):
    (directory / "gcd.toml").write_bytes(text.encode("latin-1"))

    with pytest.raises(UsageError, match=r"gcd\.toml") as raised:
        load({}, directory=directory)

    assert told in str(raised.value)


def test_a_bad_variable_is_named(directory, monkeypatch):
    monkeypatch.setenv("GCD_FORMAT", "yaml")

    with pytest.raises(UsageError, match="GCD_FORMAT: format = 'yaml' does not fit"):
        load({}, directory=directory)


def test_foreign_variables_are_remarked_upon_and_no_error(directory, monkeypatch):
    monkeypatch.setenv("GCD_SERVICE_PORT", "tcp://10.0.0.1:80")

    assert "GCD_SERVICE_PORT" in load({}, directory=directory).strangers


def test_the_sample_is_the_one_that_the_settings_give():
    assert SAMPLE.read_text() == sample()


def test_the_sample_uncommented_is_valid(directory):
    settings = [line.removeprefix("# ") for line in sample().splitlines() if line.startswith("# ")]
    lines = [line for line in settings if " = " in line or line.startswith("[")]
    (directory / "gcd.toml").write_text("\n".join(lines))

    assert set(load({}, directory=directory).origins.values()) == {str(directory / "gcd.toml")}
