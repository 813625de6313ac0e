"""``gcd boot`` on synthetic roots: what keeps the engine from starting is mended, and nothing else (S23)."""

from __future__ import annotations

import json
import signal
import time

import pytest
from support.fingerprint import differences, fingerprint
from support.seeds import own_seed

from gcd import cli
from gcd.commands import boot
from gcd.demo.dockerroot import DockerRoot
from gcd.demo.faults import builds, containers, host, images, layers, overlay2
from gcd.demo.faults.targets import find_targets
from gcd.model.errors import ExitBits
from gcd.root.usage import measure

LEFT = ExitBits.FINDINGS_LEFT | ExitBits.NOT_DONE


@pytest.fixture
def two_hours_later(monkeypatch):
    """What was done to a root has settled, and can be proven."""
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 2 * 3_600_000_000_000)


@pytest.fixture
def root(tmp_path):
    with DockerRoot(tmp_path / "docker", seed=own_seed()) as built:
        image = built.image("web:1", layers=3)
        built.container("api", image=image)
        built.build_step()
    return tmp_path / "docker"


def booted(root):
    return cli.run(["boot", "--root", str(root)])


def names(root):
    return json.loads((root / "image/overlay2/repositories.json").read_text())["Repositories"]


@pytest.mark.parametrize("harm", [images.empty_repositories, images.cut_repositories])
def test_names_that_cannot_be_read_come_back(root, harm, capsys):
    healthy = names(root)
    harm(root, "")

    assert booted(root) == ExitBits.CLEAN
    told = capsys.readouterr()
    assert names(root) == healthy
    assert told.out.startswith("repaired  GCD403:")
    assert told.err == ""
    assert booted(root) == ExitBits.CLEAN
    assert capsys.readouterr().out == "Nothing that gcd knows of keeps the engine from starting.\n"


def test_a_healthy_root_is_left_as_it_is(root):
    before = fingerprint(root)

    assert booted(root) == ExitBits.CLEAN
    assert differences(before, fingerprint(root)) == []
    assert not (root / ".gcd").exists()


@pytest.mark.usefixtures("two_hours_later")
def test_a_boot_does_not_wait_until_orphans_are_measured(root, monkeypatch):
    overlay2.add_layer_dir(root, "")
    images.empty_repositories(root, "")
    measured = []

    def note(directory, groups, **how):
        measured.extend(groups)
        return measure(directory, groups, **how)

    monkeypatch.setattr("gcd.run.measure", note)

    assert booted(root) == ExitBits.CLEAN
    assert [name for name in measured if not name.startswith("GCD403:")] == []


@pytest.mark.parametrize(
    ("harm", "target"),
    [
        (layers.empty_size, "layer"),
        (images.drop_repositories, "root"),
        (images.name_missing_image, "root"),
        (containers.empty_rw_parent, "container"),
        (containers.empty_container_config, "container"),
    ],
)
@pytest.mark.usefixtures("two_hours_later")
def test_what_an_engine_starts_with_is_not_touched(root, harm, target, capsys):
    harm(root, find_targets(root).get(target, ""))
    before = fingerprint(root)

    assert booted(root) == ExitBits.CLEAN
    assert differences(before, fingerprint(root)) == []
    assert capsys.readouterr().out == "Nothing that gcd knows of keeps the engine from starting.\n"


@pytest.mark.usefixtures("two_hours_later")
def test_nothing_of_a_container_is_touched_unasked(root, capsys):
    containers.nullify_process_config(root, find_targets(root)["container"])
    before = fingerprint(root)

    assert booted(root) == LEFT
    assert differences(before, fingerprint(root)) == []
    assert "gcd: the engine will not start: GCD307:container:" in capsys.readouterr().err


@pytest.mark.usefixtures("two_hours_later")
def test_a_container_is_moved_aside_where_the_policy_names_it(root, own_settings):
    (own_settings / "gcd.toml").write_text('[policy.codes]\nGCD307 = "quarantine"\nGCD404 = "repair"\n')
    containers.nullify_process_config(root, find_targets(root)["container"])

    assert len(list((root / "containers").glob("*/config.v2.json"))) == 1
    assert booted(root) == ExitBits.CLEAN
    assert list((root / "containers").glob("*/config.v2.json")) == []


@pytest.mark.usefixtures("two_hours_later")
def test_what_has_no_remedy_is_told_beside_what_was_mended(root, capsys):
    healthy = names(root)
    host.empty_volume_options(root, "")
    images.empty_repositories(root, "")

    assert booted(root) == LEFT
    told = capsys.readouterr()
    assert names(root) == healthy
    assert told.err.startswith("gcd: the engine will not start: GCD805:")
    assert told.err.count("\n") == 1


def test_nothing_is_mended_that_something_unread_could_speak_against(root, capsys):
    builds.spoil_build_snapshots(root, "")
    images.empty_repositories(root, "")
    before = fingerprint(root)

    assert booted(root) == LEFT
    assert differences(before, fingerprint(root)) == []
    codes = [line.split(": ")[2].split(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert codes == ["GCD403", "GCD501"]


def test_what_is_too_young_to_be_sure_is_told(root, capsys):
    containers.nullify_process_config(root, find_targets(root)["container"])

    assert booted(root) == ExitBits.NOT_DONE
    assert capsys.readouterr().err.startswith(
        "gcd: perhaps the engine will not start, this is too young to be sure: GCD3"
    )


def test_what_is_protected_is_not_mended(root, own_settings, capsys):
    (own_settings / "gcd.toml").write_text('[protect]\ncodes = ["GCD403"]\n')
    images.empty_repositories(root, "")
    before = fingerprint(root)

    assert booted(root) == LEFT
    assert differences(before, fingerprint(root)) == []
    assert "(the settings protect GCD403)" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "docker"])
def test_where_no_root_is_there_is_nothing_to_mend(tmp_path, content, capsys):
    if content:
        (tmp_path / content).mkdir()

    assert booted(tmp_path / "docker") == ExitBits.CLEAN
    assert capsys.readouterr().out.startswith("There is nothing to mend: ")


def test_a_boot_is_not_held_up_for_longer_than_its_time(root, monkeypatch, capsys):
    monkeypatch.setattr(boot, "SECONDS", 0.2)
    monkeypatch.setattr(boot, "detect_store", lambda _: time.sleep(60))
    began = time.monotonic()

    assert booted(root) == ExitBits.NOT_DONE
    assert time.monotonic() - began < 30
    assert (
        capsys.readouterr().err == "gcd: the 0.2 s of gcd boot are over; what was begun is undone at the next start\n"
    )
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
