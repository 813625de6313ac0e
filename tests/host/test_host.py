"""
gcd as docs/install.md installs it, on a whole Docker host: what systemd, the engine and the journal say of it.

The host is shared by the tests of a process, and each leaves it as it found it: gcd.service runs, reports, and has no
settings.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.debian import CHECKOUT
from support.host import Host, host_lack, wait_for

pytestmark = [pytest.mark.root, pytest.mark.slow]

UNITS = (
    *("gcd.service", "gcd-boot.service"),
    *("gcd-check.service", "gcd-check.timer", "gcd-scrub.service", "gcd-scrub.timer"),
)
OFFLINE = "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/root/wheels"
IMPATIENT = "[Service]\nNice=0\nIOSchedulingClass=best-effort\n"
"""The tests wait for gcd, and should not wait until all others beside them have nothing to do."""

REPOSITORIES = "/var/lib/docker/image/overlay2/repositories.json"
ORPHAN, LINK = f"{7:064x}", "A" * 26
SCRAPE = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9871/metrics').read().decode())"
PAGE = CHECKOUT / "docs/install.md"


def commands_of(title, text):
    """What is typed below the heading `title` of a page, line by line."""
    below = text.split(f"# {title}\n")[1]
    block = below.split("```console\n")[1].split("```")[0]
    return [line.removeprefix("# ") for line in block.splitlines()]


@pytest.fixture(scope="module", autouse=True)
def possible():
    if (lack := host_lack()) is not None:
        pytest.skip(lack)


@pytest.fixture(scope="module")
def host():
    made = Host()
    try:
        made.boot()
        made.shell("""tar -c -C /usr/bin busybox | docker import -c 'CMD ["/busybox", "sleep", "9999"]' - app:1""")
        quick = commands_of("gcd as a service", PAGE.read_text())
        assert len(quick) == 4
        write(made, "/etc/systemd/system/gcd.service.d/impatient.conf", IMPATIENT)
        made.shell("\n".join(["cd /root/gcd", OFFLINE, *quick]), limit=300)
        yield made
        made.shell("\n".join(commands_of("Removing it", PAGE.read_text())))
        left = made.run("systemctl", "list-unit-files", "--no-legend", "gcd*").stdout
        failed = made.command("systemctl", "--failed", "--no-legend")
        assert (left, failed) == ("", "")
    finally:
        made.dispose()


def write(host, path, text):
    """The file at `path` of the host, which need not be on."""
    place = host.disk / path.removeprefix("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


@contextlib.contextmanager
def drop_in(host, unit, *lines):
    """`unit` with these lines of [Service] more; a service that runs is started anew before and after."""
    path = f"/etc/systemd/system/{unit}.d/test.conf"
    write(host, path, "\n".join(["[Service]", *lines, ""]))
    host.command("systemctl", "daemon-reload")
    host.command("systemctl", "try-restart", unit)
    try:
        yield
    finally:
        (host.disk / path.removeprefix("/")).unlink()
        host.shell(f"systemctl daemon-reload; systemctl reset-failed; systemctl try-restart {unit}")


@contextlib.contextmanager
def settings(host, text):
    write(host, "/etc/gcd/gcd.toml", text)
    try:
        yield
    finally:
        (host.disk / "etc/gcd/gcd.toml").unlink()


def pid_of(host):
    return int(host.property("gcd.service", "MainPID"))


def events(lines, *names):
    """The events of these names in lines of a journal."""
    told = [json.loads(line) for line in lines if line.startswith("{")]
    return [event for event in told if event["event"] in names]


def status_of(host):
    return host.property("gcd.service", "StatusText")


def test_the_units_are_what_systemd_takes_them_for(host):
    done = host.run("systemd-analyze", "verify", *(f"/etc/systemd/system/{unit}" for unit in UNITS))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", ["gcd.service", "gcd-check.service", "gcd-scrub.service", "gcd-boot.service"])
def test_the_exposure_is_low(host, unit):
    said = host.command("systemd-analyze", "security", "--offline=yes", "--no-pager", f"/etc/systemd/system/{unit}")

    assert float(said.splitlines()[-1].split(":")[1].split()[0]) <= 2.5


def test_it_is_ready_and_says_how_the_root_is(host):
    shown = [host.property("gcd.service", name) for name in ("Type", "ActiveState", "SubState", "NRestarts")]
    wait_for(lambda: status_of(host).startswith("/var/lib/docker: "))
    scraped = host.command("/opt/gcd/bin/python", "-c", SCRAPE).splitlines()

    assert "gcd_up 1.0" in scraped
    assert shown == ["notify", "active", "running", "0"]
    assert re.fullmatch(
        r"/var/lib/docker: healthy; 0 B orphaned; engine running; read in full at \S+Z", status_of(host)
    )
    assert [event["root"] for event in events(host.journal("gcd.service"), "watching")] == ["/var/lib/docker"]


def test_a_loop_that_hangs_is_killed_and_comes_back(host):
    with drop_in(host, "gcd.service", "WatchdogSec=2", "RestartSec=100ms"):
        before = len(host.journal("gcd.service"))
        hung = pid_of(host)
        host.shell(f"kill -STOP {hung}")
        wait_for(lambda: pid_of(host) not in {0, hung} and host.property("gcd.service", "SubState") == "running")
        said = host.journal("gcd.service")[before:]
        counted = host.property("gcd.service", "NRestarts")

    assert counted == "1"
    assert [line for line in said if line.startswith("gcd.service: ") and " Consumed " not in line] == [
        "gcd.service: Watchdog timeout (limit 2s)!",
        f"gcd.service: Killing process {hung} (gcd) with signal SIGABRT.",
        "gcd.service: Main process exited, code=killed, status=6/ABRT",
        "gcd.service: Failed with result 'watchdog'.",
        "gcd.service: Scheduled restart job, restart counter is at 1.",
    ]


def test_settings_are_read_again_and_bad_ones_refused(host):
    pid = pid_of(host)
    with settings(host, '[daemon]\nreconcile_interval = "10m"\n'):
        before = len(host.journal("gcd.service"))
        host.command("systemctl", "reload", "gcd.service")
        wait_for(lambda: events(host.journal("gcd.service")[before:], "settings_reloaded", "settings_kept"))
        good = events(host.journal("gcd.service")[before:], "settings_reloaded", "settings_kept")
    with settings(host, "nonsense = 1\n"):
        before = len(host.journal("gcd.service"))
        host.command("systemctl", "reload", "gcd.service")
        wait_for(lambda: events(host.journal("gcd.service")[before:], "settings_reloaded", "settings_kept"))
        bad = events(host.journal("gcd.service")[before:], "settings_reloaded", "settings_kept")

    assert [event["event"] for event in good] == ["settings_reloaded"]
    assert [event["event"] for event in bad] == ["settings_kept"]
    assert bad[0]["why"].startswith("/etc/gcd/gcd.toml: there is no setting 'nonsense'; ")
    assert (pid_of(host), host.property("gcd.service", "ActiveState")) == (pid, "active")


def test_wrong_settings_at_the_start_are_not_tried_again(host):
    with settings(host, "nonsense = 1\n"):
        failed = host.run("systemctl", "restart", "gcd.service")
        state = [host.property("gcd.service", name) for name in ("ActiveState", "ExecMainStatus", "NRestarts")]
    host.shell("systemctl reset-failed gcd.service; systemctl start gcd.service")

    assert failed.returncode == 1
    assert state == ["failed", "16", "0"]


def test_the_engine_removes_what_ran_before_and_what_ran_after_gcd_came(host):
    host.command("docker", "run", "-d", "--name=before", "--network=none", "app:1")
    host.command("systemctl", "restart", "gcd.service")
    host.command("docker", "run", "-d", "--name=after", "--network=none", "app:1")
    merged = host.command("docker", "inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", "before", "after").split()
    seen = f"/proc/{pid_of(host)}/mountinfo"
    while_running = [path in host.command("cat", seen) for path in merged]
    removed = host.command("docker", "rm", "-f", "before", "after")

    assert while_running == [True, True]
    assert removed.split() == ["before", "after"]
    assert "overlay2" not in host.command("cat", seen)
    assert [host.run("test", "-e", path).returncode for path in merged] == [1, 1]


def test_the_unit_that_reports_can_write_to_its_own_place_alone(host):
    places = [
        *("/var/lib/docker/x", "/var/lib/docker/overlay2/x", REPOSITORIES, "/etc/x", "/opt/gcd/x", "/home/x", "/run/x"),
        *("/proc/sys/kernel/hostname", "/sys/fs/cgroup/x", "/var/lib/gcd/x"),
    ]
    script = f"for place in {' '.join(places)}; do (echo x >>$place) 2>/dev/null && echo wrote $place; done; ls /run"
    before = len(host.journal("gcd.service"))
    with drop_in(host, "gcd.service", f"ExecStartPre=/bin/sh -c '{script}'"):
        said = host.journal("gcd.service")[before:]
    (host.disk / "var/lib/gcd/x").unlink()

    assert [line for line in said if line.startswith("wrote ")] == ["wrote /var/lib/gcd/x"]
    assert [line for line in said if line in {"docker.sock", "systemd", "dbus"}] == ["systemd"]


def test_it_acts_only_where_the_unit_lets_it(host):
    # What is older than the engine is proven to be nobody's.
    host.shell(f"""
        cd /var/lib/docker/overlay2
        mkdir -p {ORPHAN}/diff && echo lost >{ORPHAN}/diff/file
        chmod 700 {ORPHAN}/diff && chown -R 1234 {ORPHAN}/diff
        printf %s {LINK} >{ORPHAN}/link && ln -s ../{ORPHAN}/diff l/{LINK}
        sleep 5 && systemctl restart docker.service
    """)
    with settings(host, '[daemon]\nact = true\n[policy.kinds]\norphan = "quarantine"\n'):
        before = len(host.journal("gcd.service"))
        host.command("systemctl", "restart", "gcd.service")
        wait_for(lambda: events(host.journal("gcd.service")[before:], "run_refused"))
        refused = events(host.journal("gcd.service")[before:], "run_refused", "quarantine_done")
        stays = (host.disk / f"var/lib/docker/overlay2/{ORPHAN}").exists()

        before = len(host.journal("gcd.service"))
        host.shell("\n".join(["cd /root/gcd", *commands_of("Acting", PAGE.read_text())]))
        wait_for(lambda: events(host.journal("gcd.service")[before:], "quarantine_done"))
        done = events(host.journal("gcd.service")[before:], "run_refused", "quarantine_done")
        moved = host.command("find", "/var/lib/docker/.gcd", "-name", "file", "-uid", "1234")
        host.command("rm", "/etc/systemd/system/gcd.service.d/act.conf")
        host.command("systemctl", "daemon-reload")
    host.command("systemctl", "restart", "gcd.service")
    purged = host.run("/opt/gcd/bin/gcd", "quarantine", "purge", "--yes", done[0]["entry"])

    assert [event["why"] for event in refused] == ["the file system of this root is mounted read-only"]
    assert stays
    assert [(event["event"], event["finding"]) for event in done] == [("quarantine_done", f"GCD101:layer-dir:{ORPHAN}")]
    assert len(moved.splitlines()) == 1
    assert purged.returncode == 1


def test_a_check_by_the_clock_is_kept_and_told(host):
    host.command("systemctl", "start", "gcd-check.service")
    result = [host.property("gcd-check.service", name) for name in ("Result", "ExecMainStatus")]
    said = host.journal("gcd-check.service")
    host.command("systemctl", "enable", "--now", "gcd-check.timer")
    timer = [host.property("gcd-check.timer", name) for name in ("Persistent", "RandomizedDelayUSec", "ActiveState")]
    host.command("systemctl", "disable", "--now", "gcd-check.timer")

    assert result == ["success", "0"]
    assert "Healthy. Nothing to get back." in said
    assert (host.disk / "var/lib/gcd/state.db").exists()
    assert timer == ["yes", "1h", "active"]


def test_a_part_of_the_layers_is_verified_by_the_clock(host):
    host.command("systemctl", "start", "gcd-scrub.service")
    result = [host.property("gcd-scrub.service", name) for name in ("Result", "ExecMainStatus")]
    known = json.loads(host.command("/opt/gcd/bin/gcd", "scrub", "status", "--format", "json"))
    host.command("systemctl", "enable", "--now", "gcd-scrub.timer")
    timer = [host.property("gcd-scrub.timer", name) for name in ("Persistent", "RandomizedDelayUSec", "ActiveState")]
    host.command("systemctl", "disable", "--now", "gcd-scrub.timer")

    assert result == ["success", "0"]
    assert known["layers"]["verified"] >= 1
    assert known["layers"]["damaged"] == 0
    assert timer == ["yes", "1h", "active"]


def test_the_daemon_verifies_layers_in_its_sandbox(host):
    with settings(host, '[scrub]\nevery = "1m"\n'), drop_in(host, "gcd.service", "WatchdogSec=4"):
        before = len(host.journal("gcd.service"))
        host.command("systemctl", "restart", "gcd.service")
        wait_for(lambda: events(host.journal("gcd.service")[before:], "scrub_ended", "scrub_failed"))
        told = events(host.journal("gcd.service")[before:], "scrub_begun", "scrub_ended", "scrub_failed")
        before = len(host.journal("gcd.service"))
        host.command("systemctl", "stop", "gcd.service")
        ended = events(host.journal("gcd.service")[before:], "stopped")
    host.command("systemctl", "restart", "gcd.service")

    assert [event["event"] for event in told][:2] == ["scrub_begun", "scrub_ended"]
    assert len(ended) == 1


def test_a_check_by_the_clock_can_write_figures_for_another_exporter(host):
    block = PAGE.read_text().split("```ini\n")[1].split("```")[0]
    folder = "/var/lib/prometheus/node-exporter"
    host.command("mkdir", "-p", folder)
    write(host, "/etc/systemd/system/gcd-check.service.d/test.conf", block)
    host.shell("systemctl daemon-reload; systemctl start gcd-check.service")
    figures = host.command("cat", f"{folder}/gcd.prom").splitlines()
    mode = host.command("stat", "-c", "%a", f"{folder}/gcd.prom")
    host.shell("rm -r /etc/systemd/system/gcd-check.service.d; systemctl daemon-reload")

    assert "gcd_up 1.0" in figures
    assert mode == "644"


def test_a_guard_that_takes_too_long_does_not_keep_the_engine_from_starting(host):
    host.command("systemctl", "enable", "gcd-boot.service")
    with drop_in(host, "gcd-boot.service", "ExecStart=", "ExecStart=/bin/sleep 60", "TimeoutStartSec=1"):
        host.command("systemctl", "restart", "docker.service")
        guard, engine = host.property("gcd-boot.service", "Result"), host.property("docker.service", "ActiveState")
    host.command("systemctl", "disable", "gcd-boot.service")

    assert (guard, engine) == ("timeout", "active")


def test_what_a_power_cut_did_to_the_tags_is_mended_before_the_engine_starts(host):
    host.command("docker", "run", "-d", "--name=api", "--network=none", "--restart=always", "app:1")
    host.command("systemctl", "stop", "docker.socket", "docker.service")
    write(host, REPOSITORIES, "")
    alone = host.run("systemctl", "start", "docker.service").returncode
    why = [line for line in host.journal("docker.service") if "reference store" in line]
    host.command("systemctl", "enable", "gcd-boot.service")
    host.crash()
    host.boot()

    guard = [host.property("gcd-boot.service", name) for name in ("Result", "ExecMainStatus", "ActiveState")]
    ended = int(host.property("gcd-boot.service", "ExecMainExitTimestampMonotonic"))
    began = int(host.property("docker.service", "ExecMainStartTimestampMonotonic"))
    said = [line for line in host.journal("gcd-boot.service") if "GCD403" in line]
    tags = host.command("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
    names = host.command("docker", "ps", "--format", "{{.Names}}")
    state = host.command("systemctl", "is-system-running")
    host.command("systemctl", "disable", "gcd-boot.service")
    host.command("docker", "rm", "-f", "api")

    assert alone == 1
    assert why == ["failed to start daemon: Couldn't create reference store repository: EOF"]
    assert guard == ["success", "0", "inactive"]
    assert ended < began
    assert [line.split(", entry ")[0] for line in said] == [
        f"repaired  GCD403:repositories:{REPOSITORIES.removeprefix('/var/lib/docker/')} repositories-unreadable"
    ]
    assert (tags, names, state) == ("app:1", "api", "running")


_BOOTED_AND_LEFT = """
import time
from support.host import Host
host = Host()
host.boot()
print(host.pid, flush=True)
time.sleep(60)
"""


def test_nothing_runs_on_when_a_test_is_killed():
    test = subprocess.Popen(
        [sys.executable, "-c", _BOOTED_AND_LEFT],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tests")},
        stdout=subprocess.PIPE,
        text=True,
    )
    with test:
        pid = int(test.stdout.readline())
        cgroup = Path(f"/proc/{pid}/cgroup").read_text().split("0::/")[1].split("/")[0]
        while_alive = running_in(cgroup)
        test.send_signal(signal.SIGKILL)
    wait_for(lambda: not running_in(cgroup))

    assert while_alive >= {"systemd", "systemd-journal", "containerd", "dockerd"}


def running_in(cgroup):
    """The names of all processes in and below `cgroup`."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"0::/{cgroup}/" in (process / "cgroup").read_text():
                found.add((process / "comm").read_text().strip())
    return found
