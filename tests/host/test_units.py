"""
The units as they are written: gcd-check.service, gcd-scrub.service and gcd-boot.service have the sandbox of
gcd.service, where each line has its reason, but for what is named here.
"""

from __future__ import annotations

import pytest
from support.debian import CHECKOUT

ITS_OWN = {"Type", "NotifyAccess", "ExecStart", "ExecReload", "WatchdogSec", "Restart", "RestartSec"} | {
    *("RestartPreventExitStatus", "SuccessExitStatus", "TimeoutStartSec", "TimeoutStopSec")
}
"""What a unit does and when it ends is no part of its sandbox."""


def sandbox(unit):
    """The lines of [Service] that say what `unit` may do, each name with all its values."""
    section = (CHECKOUT / "deploy/systemd" / unit).read_text().split("[Service]")[1].split("[Install]")[0]
    found = {}
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return {name: values for name, values in found.items() if name not in ITS_OWN}


def difference(unit):
    one, other = sandbox("gcd.service"), sandbox(unit)
    return {name: other.get(name) for name in one | other if one.get(name) != other.get(name)}


@pytest.mark.parametrize("unit", ["gcd-check.service", "gcd-scrub.service"])
def test_what_runs_by_the_clock_has_the_sandbox_of_the_daemon(unit):
    assert difference(unit) == {"BindReadOnlyPaths": ["-/run/systemd/journal -/run/systemd/resolve"]}


def test_the_boot_guard_may_write_to_the_root_and_has_no_network_and_no_manners():
    assert difference("gcd-boot.service") == {
        "BindReadOnlyPaths": ["-/run/systemd/journal"],
        "CPUWeight": None,
        "CapabilityBoundingSet": [
            "CAP_DAC_READ_SEARCH CAP_SYS_PTRACE CAP_DAC_OVERRIDE CAP_FOWNER CAP_CHOWN",
        ],
        "IOSchedulingClass": None,
        "IOWeight": None,
        "MemoryHigh": None,
        "Nice": None,
        "OOMScoreAdjust": None,
        "PrivateNetwork": ["yes"],
        "ReadWritePaths": ["-/var/lib/docker"],
        "RestrictAddressFamilies": ["AF_UNIX"],
        "SystemCallFilter": ["@system-service", "~@privileged @resources", "@chown"],
    }


def test_none_starts_the_engine_or_ends_with_it():
    lines = [line for path in (CHECKOUT / "deploy/systemd").iterdir() for line in path.read_text().splitlines()]

    assert [line for line in lines if line.startswith(("Requires=", "Wants=", "BindsTo=", "PartOf="))] == []
