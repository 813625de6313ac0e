"""
The commands that change a root, from end to end on a real engine: the leak of a killed pull goes to nothing while
containers run, and what needs the engine stopped says how.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from support.engine import SETTLE, disk_usage
from support.scenes import judge, kill_during_pull, told

from gcd import cli, settings
from gcd.demo.faults import layers
from gcd.demo.faults.targets import find_targets
from gcd.model.errors import ExitBits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.engine import Engine

pytestmark = [pytest.mark.engine, pytest.mark.slow]

DONE, LEFT, NOT_DONE = ExitBits.MENDED, ExitBits.FINDINGS_LEFT, ExitBits.NOT_DONE


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GCD_") and name != "GCD_ENGINE_CHROOT"]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "CONFIG_DIR", tmp_path / "etc")
    monkeypatch.setenv("GCD_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc"


@pytest.fixture
def leaking(make_engine: Callable[..., Engine], base_root: Path, several_layers: str) -> Engine:
    """A running engine with a container that runs, on a root with the remains of a killed pull."""
    engine = make_engine(base_root)
    kill_during_pull(engine, several_layers)
    time.sleep(SETTLE)
    engine.start()
    engine.docker("run", "-d", "--network=none", "--name", "live", "app")
    return engine


def gcd(engine: Engine, *arguments: str) -> ExitBits:
    return cli.run([arguments[0], "--root", str(engine.root), *arguments[1:]])


def findings(engine: Engine) -> set[str]:
    return {finding.code for finding in judge(engine).findings}


def orphaned_bytes(engine: Engine) -> int:
    return judge(engine).summary.orphaned_bytes


def test_the_leak_of_a_killed_pull_goes_to_nothing_by_name(leaking: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    before = disk_usage(leaking.overlay2)
    leaked = orphaned_bytes(leaking)
    assert {"GCD101", "GCD211", "GCD601"} <= findings(leaking)

    # The dir that was being unpacked stands on the layers below it.
    assert gcd(leaking, "release", "--yes") == LEFT
    assert gcd(leaking, "quarantine", "--yes") == DONE | LEFT
    assert findings(leaking) == {"GCD211"}
    assert gcd(leaking, "release", "--yes") == DONE
    assert told(judge(leaking)) == []
    assert orphaned_bytes(leaking) == 0
    assert before - disk_usage(leaking.overlay2) >= leaked * 0.99

    assert leaking.docker("exec", "live", "/bin/busybox", "cat", "/data/one") == "one"
    capsys.readouterr()
    assert gcd(leaking, "history") == ExitBits.CLEAN
    history = capsys.readouterr().out
    assert history.count("\n  ") == history.count("released GCD211:") + history.count("quarantined GCD")
    leaking.docker("kill", "live")
    leaking.restart()
    assert told(judge(leaking)) == []
    leaking.docker("run", "--rm", "--network=none", "built", "/bin/busybox", "cat", "/built")


def test_the_same_by_the_policy_in_one_run(leaking: Engine, own_settings: Path) -> None:
    (own_settings / "gcd.toml").write_text(
        '[policy.kinds]\norphan = ["release", "quarantine"]\nleftover = "quarantine"\n'
    )
    assert gcd(leaking, "apply", "--yes") == DONE
    assert told(judge(leaking)) == []
    assert orphaned_bytes(leaking) == 0
    assert leaking.docker("exec", "live", "/bin/busybox", "cat", "/data/one") == "one"


def test_what_needs_the_engine_stopped_says_how(
    make_engine: Callable[..., Engine], base_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = make_engine(base_root)
    engine.stop()
    layer = layers.empty_size(engine.root, find_targets(engine.root)["layer"])
    engine.start()
    capsys.readouterr()

    assert gcd(engine, "repair", "--yes", f"GCD204:{layer}") == LEFT | NOT_DONE

    out = capsys.readouterr().out
    assert f"Nothing is to be done in {engine.root} (the engine is running).\n" in out
    assert out.endswith(
        "\nWith the engine stopped, and containers with it, this does the rest:\n"
        "  systemctl stop docker.socket docker.service\n"
        f"  gcd repair --root {engine.root} GCD204:{layer}\n"
        "  systemctl start docker.socket docker.service\n"
    )
    engine.stop()
    assert gcd(engine, "repair", "--yes", f"GCD204:{layer}") == DONE
    engine.start()
    assert told(judge(engine)) == []


def test_an_engine_that_cannot_be_asked_is_one_sentence(
    make_engine: Callable[..., Engine], base_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S2: nothing is done beside an engine whose images and containers are not known."""
    engine = make_engine(base_root)
    engine.socket.unlink()

    assert gcd(engine, "quarantine", "--yes") == NOT_DONE

    err = capsys.readouterr().err
    assert err.startswith(f"gcd: No unix socket of dockerd (pid {engine.pid}) was found ")
    assert err.endswith("name it with --socket.\n")
