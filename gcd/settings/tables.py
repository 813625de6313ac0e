"""
The tables of the settings: what may be done, what is never touched, how long things are kept, whom to tell, how the
daemon works and is listened to, and how often the content of layers is looked at.

A table is a frozen struct with its defaults, so that where nothing is said nothing has to be checked. What is said
somewhere is checked by what its annotations name: `gcd.settings.checked` resolves them with the types of
`gcd.settings.forms`. Until then nobody waits for them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from msgspec import Struct, field

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


class Table(Struct, frozen=True):
    """What the settings are made of."""


class About(Struct, frozen=True):
    """What an entry of a table is for, and for the sample an example where its default shows little."""

    description: str
    example: object = None


class WindowTable(Table, frozen=True, kw_only=True):
    """When things may be done: on `days`, between the two times of `hours`, by the clock of `zone`."""

    days: Days = tuple(Weekday)
    hours: Hours
    zone: Zone = "UTC"


class PolicyTable(Table, frozen=True):
    """What is done about findings. Without any verb nothing is: gcd reports."""

    codes: Annotated[
        dict[str, Verbs],
        About(
            "By code or its name, one verb or a list: ignore, report, repair, release, quarantine. Remedies "
            "that are opt-in (gcd rules) are done only by a verb here; manual ones by no policy.",
            example={"GCD101": "quarantine", "GCD211": ["release", "quarantine"]},
        ),
    ] = field(default_factory=dict)
    kinds: Annotated[
        dict[Kind, Verbs],
        About(
            "The same by kind, for codes that are not named: orphan, dangling, damaged, leftover, hazard.",
            example={"leftover": "quarantine", "hazard": "report"},
        ),
    ] = field(default_factory=dict)
    severities: Annotated[
        dict[Severity, Verbs],
        About(
            "The same by severity, for what neither its code nor its kind settles: info, warning, error, "
            "critical. What is only suspected has the severity info.",
            example={"info": "ignore"},
        ),
    ] = field(default_factory=dict)
    min_confidence: Annotated[
        Confidence,
        About(
            "proven, or suspected: what may belong to work under way too, once it was there for the grace and "
            "nothing is under way."
        ),
    ] = Confidence.PROVEN
    grace: Annotated[
        Duration,
        About(
            "How long what is suspected, and damage that is mended under a running engine, must have been seen "
            "(gcd check --record). While an engine runs it is never less than 24h."
        ),
    ] = timedelta(hours=24)
    min_size: Annotated[Size, About("Orphans and leftovers smaller than this are left alone.")] = 0
    max_items: Annotated[Count | None, About("The most findings that one run acts upon.", example=50)] = None
    max_bytes: Annotated[
        Size | None, About("The most bytes on disk that one run moves or releases.", example="20GiB")
    ] = None
    windows: Annotated[
        tuple[WindowTable, ...],
        About(
            "When things may be done: days (mon to sun, default all), hours, time zone (default UTC). Hours "
            "that end before they begin go over midnight. Unset: at any time.",
            example=[{"days": ["sat", "sun"], "hours": "22:00-04:30", "zone": "Europe/Berlin"}],
        ),
    ] = ()
    offline_node: Annotated[
        bool, About("This host cannot pull: never move or release a layer record or an image, not even a damaged one.")
    ] = False


class ProtectTable(Table, frozen=True):
    """What is never touched, whatever asks for it."""

    codes: Annotated[tuple[str, ...], About("By code or its name.", example=["GCD116"])] = ()
    findings: Annotated[
        tuple[str, ...], About("By the id of a finding, or a glob over ids.", example=["GCD101:layer-dir:13f2*"])
    ] = ()
    images: Annotated[
        tuple[str, ...],
        About(
            "What costs one of these images: globs over references as docker images shows them.",
            example=["registry.example.com/shop/*"],
        ),
    ] = ()
    containers: Annotated[
        tuple[str, ...], About("What costs one of these containers: globs over names.", example=["db-*"])
    ] = ()
    labels: Annotated[
        tuple[str, ...],
        About(
            "What costs an image or a container with one of these labels: a key, or a glob over key=value.",
            example=["com.example.keep", "tier=critical*"],
        ),
    ] = ()


class QuarantineTable(Table, frozen=True):
    """The quarantine, in .gcd below the root."""

    retention: Annotated[Duration, About("How long an entry is kept before gcd quarantine purge takes it.")] = (
        timedelta(days=14)
    )


class HooksTable(Table, frozen=True):
    """Commands, as lists of words and without a shell, that get an event as JSON on stdin. They decide nothing."""

    on_finding: Annotated[
        tuple[str, ...],
        About(
            "Called for each finding that gcd check --record sees for the first time.",
            example=["/usr/local/bin/tell", "--team", "storage"],
        ),
    ] = ()
    on_action: Annotated[
        tuple[str, ...], About("Called for each thing that was done or refused.", example=["/usr/local/bin/tell"])
    ] = ()
    timeout: Annotated[Patience, About("After this long a command is killed; 30s at most.")] = timedelta(seconds=10)


class DaemonTable(Table, frozen=True):
    """gcd run."""

    reconcile_interval: Annotated[
        Interval,
        About(
            "How often gcd run reads the whole root, whatever the watch saw: up to a tenth sooner, so that the "
            "hosts of a fleet do not do it together."
        ),
    ] = timedelta(minutes=15)
    settle: Annotated[
        Settling, About("How long it must be quiet below the root before gcd run looks at what changed.")
    ] = timedelta(milliseconds=200)
    act: Annotated[bool, About("Whether gcd run carries out the policy by itself. Else it reports, and no more.")] = (
        False
    )


class ScrubTable(Table, frozen=True):
    """Scrubs by ``gcd run``, which are told by what is said here; those by hand are told by flags alone."""

    every: Annotated[
        Period,
        About(
            "Within what time gcd run looks at the content of each layer, a part of all each day, those first "
            "that were not looked at for longest. After it a layer counts as pending. 0s: gcd run looks at none."
        ),
    ] = timedelta(days=30)
    depth: Annotated[
        Depth,
        About("quick: types, sizes and the CRC-64 of each file; full: the SHA-256 of each layer's whole stream too."),
    ] = Depth.QUICK
    max_duration: Annotated[Duration, About("After so long no further layer of a part is begun.")] = timedelta(hours=6)
    bandwidth: Annotated[Rate | None, About("The most bytes that are read a second.", example="50MiB")] = None


class WebTable(Table, frozen=True):
    """What gcd run serves over HTTP: metrics, health, findings, and a page for people."""

    listen_address: Annotated[
        Address, About("Where to listen: host:port, :port for all addresses, [::1]:port. Empty: nowhere.")
    ] = "127.0.0.1:9871"
    tls_cert: Annotated[Place | None, About("The certificate, as PEM, with tls_key.", example="/etc/gcd/tls.crt")] = (
        None
    )
    tls_key: Annotated[Place | None, About("The key of tls_cert, as PEM.", example="/etc/gcd/tls.key")] = None
    users: Annotated[
        dict[str, Hash],
        About(
            "Who may read, by name, with the bcrypt hash of the password. Unset: everybody who can connect.",
            example={"prometheus": "$2y$10$" + "." * 53},
        ),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both, or neither")
