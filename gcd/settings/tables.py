"""
The tables of the settings: what may be done, what is never touched, how long things are kept, whom to tell, how the
daemon works and is listened to, and how often the content of layers is looked at.

A table is a frozen dataclass with its defaults, so that where nothing is said nothing has to be checked. What is said
somewhere is checked by what its annotations name: `gcd.settings.checked` resolves them with the types of
`gcd.settings.forms`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from gcd.model.content import Depth
from gcd.model.finding import Confidence, Kind, Severity
from gcd.policy.windows import Weekday

if TYPE_CHECKING:
    from gcd.settings.forms import (
        Address,
        Count,
        Days,
        Duration,
        Hash,
        Hours,
        Interval,
        Patience,
        Period,
        Place,
        Rate,
        Settling,
        Size,
        Verbs,
        Zone,
    )

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """What the settings are made of."""


def setting(default: T, description: str, *, example: object = None) -> T:
    """A field of a table: its default, what it is for, and for the sample an example where the default shows little."""
    metadata = {"description": description, "example": default if example is None else example}
    if isinstance(default, dict):
        return field(default_factory=partial(copy, default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class WindowTable(Table):
    """When things may be done: on `days`, between the two times of `hours`, by the clock of `zone`."""

    days: Days = tuple(Weekday)
    hours: Hours
    zone: Zone = "UTC"


@dataclass(frozen=True)
class PolicyTable(Table):
    """What is done about findings. Without any verb nothing is: gcd reports."""

    codes: dict[str, Verbs] = setting(
        {},
        "By code or its name, one verb or a list: ignore, report, repair, release, quarantine. Remedies "
        "that are opt-in (gcd rules) are done only by a verb here; manual ones by no policy.",
        example={"GCD101": "quarantine", "GCD211": ["release", "quarantine"]},
    )
    kinds: dict[Kind, Verbs] = setting(
        {},
        "The same by kind, for codes that are not named: orphan, dangling, damaged, leftover, hazard.",
        example={"leftover": "quarantine", "hazard": "report"},
    )
    severities: dict[Severity, Verbs] = setting(
        {},
        "The same by severity, for what neither its code nor its kind settles: info, warning, error, "
        "critical. What is only suspected has the severity info.",
        example={"info": "ignore"},
    )
    min_confidence: Confidence = setting(
        Confidence.PROVEN,
        "proven, or suspected: what may belong to work under way too, once it was there for the grace and "
        "nothing is under way.",
    )
    grace: Duration = setting(
        timedelta(hours=24),
        "How long what is suspected, and damage that is mended under a running engine, must have been seen "
        "(gcd check --record). While an engine runs it is never less than 24h.",
    )
    min_size: Size = setting(0, "Orphans and leftovers smaller than this are left alone.")
    max_items: Count | None = setting(None, "The most findings that one run acts upon.", example=50)
    max_bytes: Size | None = setting(None, "The most bytes on disk that one run moves or releases.", example="20GiB")
    windows: tuple[WindowTable, ...] = setting(
        (),
        "When things may be done: days (mon to sun, default all), hours, time zone (default UTC). Hours "
        "that end before they begin go over midnight. Unset: at any time.",
        example=[{"days": ["sat", "sun"], "hours": "22:00-04:30", "zone": "Europe/Berlin"}],
    )
    offline_node: bool = setting(
        default=False,
        description="This host cannot pull: never move or release a layer record or an image, not even a damaged one.",
    )


@dataclass(frozen=True)
class ProtectTable(Table):
    """What is never touched, whatever asks for it."""

    codes: tuple[str, ...] = setting((), "By code or its name.", example=["GCD116"])
    findings: tuple[str, ...] = setting(
        (), "By the id of a finding, or a glob over ids.", example=["GCD101:layer-dir:13f2*"]
    )
    images: tuple[str, ...] = setting(
        (),
        "What costs one of these images: globs over references as docker images shows them.",
        example=["registry.example.com/shop/*"],
    )
    containers: tuple[str, ...] = setting((), "What costs one of these containers: globs over names.", example=["db-*"])
    labels: tuple[str, ...] = setting(
        (),
        "What costs an image or a container with one of these labels: a key, or a glob over key=value.",
        example=["com.example.keep", "tier=critical*"],
    )


@dataclass(frozen=True)
class QuarantineTable(Table):
    """The quarantine, in .gcd below the root."""

    retention: Duration = setting(timedelta(days=14), "How long an entry is kept before gcd quarantine purge takes it.")


@dataclass(frozen=True)
class HooksTable(Table):
    """Commands, as lists of words and without a shell, that get an event as JSON on stdin. They decide nothing."""

    on_finding: tuple[str, ...] = setting(
        (),
        "Called for each finding that gcd check --record sees for the first time.",
        example=["/usr/local/bin/tell", "--team", "storage"],
    )
    on_action: tuple[str, ...] = setting(
        (), "Called for each thing that was done or refused.", example=["/usr/local/bin/tell"]
    )
    timeout: Patience = setting(timedelta(seconds=10), "After this long a command is killed; 30s at most.")


@dataclass(frozen=True)
class DaemonTable(Table):
    """gcd run."""

    reconcile_interval: Interval = setting(
        timedelta(minutes=15),
        "How often gcd run reads the whole root, whatever the watch saw: up to a tenth sooner, so that the "
        "hosts of a fleet do not do it together.",
    )
    settle: Settling = setting(
        timedelta(milliseconds=200),
        "How long it must be quiet below the root before gcd run looks at what changed.",
    )
    act: bool = setting(
        default=False, description="Whether gcd run carries out the policy by itself. Else it reports, and no more."
    )


@dataclass(frozen=True)
class ScrubTable(Table):
    """Scrubs by ``gcd run``, which are told by what is said here; those by hand are told by flags alone."""

    every: Period = setting(
        timedelta(days=30),
        "Within what time gcd run looks at the content of each layer, a part of all each day, those first "
        "that were not looked at for longest. After it a layer counts as pending. 0s: gcd run looks at none.",
    )
    depth: Depth = setting(
        Depth.QUICK,
        "quick: types, sizes and the CRC-64 of each file; full: the SHA-256 of each layer's whole stream too.",
    )
    max_duration: Duration = setting(timedelta(hours=6), "After so long no further layer of a part is begun.")
    bandwidth: Rate | None = setting(None, "The most bytes that are read a second.", example="50MiB")


@dataclass(frozen=True)
class WebTable(Table):
    """What gcd run serves over HTTP: metrics, health, findings, and a page for people."""

    listen_address: Address = setting(
        "127.0.0.1:9871",
        "Where to listen: host:port, :port for all addresses, [::1]:port. Empty: nowhere.",
    )
    tls_cert: Place | None = setting(None, "The certificate, as PEM, with tls_key.", example="/etc/gcd/tls.crt")
    tls_key: Place | None = setting(None, "The key of tls_cert, as PEM.", example="/etc/gcd/tls.key")
    users: dict[str, Hash] = setting(
        {},
        "Who may read, by name, with the bcrypt hash of the password. Unset: everybody who can connect.",
        example={"prometheus": "$2y$10$" + "." * 53},
    )

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both, or neither")
