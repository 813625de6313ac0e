"""
The tables of the settings: what may be done, what is never touched, how long things are kept, whom to tell, how the
daemon works and is listened to, and how often the content of layers is looked at.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, model_validator

from gcd.model.content import Depth
from gcd.model.finding import Confidence, Kind, Severity
from gcd.policy.policy import Verb, Weekday
from gcd.settings.units import Address, Duration, Hash, Hours, Size, Zone

_ALONE = frozenset({Verb.IGNORE, Verb.REPORT})


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _agreeing(verbs: tuple[Verb, ...]) -> tuple[Verb, ...]:
    if not verbs or (len(verbs) > 1 and _ALONE & set(verbs)):
        raise ValueError("it must be ignore or report alone, or one or more of repair, release and quarantine")
    return verbs


Verbs = Annotated[tuple[Verb, ...], BeforeValidator(_one_or_more), AfterValidator(_agreeing)]


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowTable(Table):
    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = tuple(Weekday)
    hours: Hours
    zone: Zone = "UTC"


class PolicyTable(Table):
    """What is done about findings. Without any verb nothing is: gcd reports."""

    codes: dict[str, Verbs] = Field(
        default={},
        description="By code or its name, one verb or a list: ignore, report, repair, release, quarantine. Remedies "
        "that are opt-in (gcd rules) are done only by a verb here; manual ones by no policy.",
        examples=[{"GCD101": "quarantine", "GCD211": ["release", "quarantine"]}],
    )
    kinds: dict[Kind, Verbs] = Field(
        default={},
        description="The same by kind, for codes that are not named: orphan, dangling, damaged, leftover, hazard.",
        examples=[{"leftover": "quarantine", "hazard": "report"}],
    )
    severities: dict[Severity, Verbs] = Field(
        default={},
        description="The same by severity, for what neither its code nor its kind settles: info, warning, error, "
        "critical. What is only suspected has the severity info.",
        examples=[{"info": "ignore"}],
    )
    min_confidence: Confidence = Field(
        default=Confidence.PROVEN,
        description="proven, or suspected: what may belong to work under way too, once it was there for the grace and "
        "nothing is under way.",
    )
    grace: Duration = Field(
        default=timedelta(hours=24),
        description="How long what is suspected, and damage that is mended under a running engine, must have been seen "
        "(gcd check --record). While an engine runs it is never less than 24h.",
    )
    min_size: Size = Field(default=ByteSize(0), description="Orphans and leftovers smaller than this are left alone.")
    max_items: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most findings that one run acts upon.", examples=[50]
    )
    max_bytes: Size | None = Field(
        default=None, description="The most bytes on disk that one run moves or releases.", examples=["20GiB"]
    )
    windows: tuple[WindowTable, ...] = Field(
        default=(),
        description="When things may be done: days (mon to sun, default all), hours, time zone (default UTC). Hours "
        "that end before they begin go over midnight. Unset: at any time.",
        examples=[[{"days": ["sat", "sun"], "hours": "22:00-04:30", "zone": "Europe/Berlin"}]],
    )
    offline_node: bool = Field(
        default=False,
        description="This host cannot pull: never move or release a layer record or an image, not even a damaged one.",
    )


class ProtectTable(Table):
    """What is never touched, whatever asks for it."""

    codes: tuple[str, ...] = Field(default=(), description="By code or its name.", examples=[["GCD116"]])
    findings: tuple[str, ...] = Field(
        default=(), description="By the id of a finding, or a glob over ids.", examples=[["GCD101:layer-dir:13f2*"]]
    )
    images: tuple[str, ...] = Field(
        default=(),
        description="What costs one of these images: globs over references as docker images shows them.",
        examples=[["registry.example.com/shop/*"]],
    )
    containers: tuple[str, ...] = Field(
        default=(), description="What costs one of these containers: globs over names.", examples=[["db-*"]]
    )
    labels: tuple[str, ...] = Field(
        default=(),
        description="What costs an image or a container with one of these labels: a key, or a glob over key=value.",
        examples=[["com.example.keep", "tier=critical*"]],
    )


class QuarantineTable(Table):
    """The quarantine, in .gcd below the root."""

    retention: Duration = Field(
        default=timedelta(days=14), description="How long an entry is kept before gcd quarantine purge takes it."
    )


def _hook_time(value: timedelta) -> timedelta:
    if value > timedelta(seconds=30):
        raise ValueError("it must be 30s at most, for gcd run gives no sign of life meanwhile")
    return value


class HooksTable(Table):
    """Commands, as lists of words and without a shell, that get an event as JSON on stdin. They decide nothing."""

    on_finding: tuple[str, ...] = Field(
        default=(),
        description="Called for each finding that gcd check --record sees for the first time.",
        examples=[["/usr/local/bin/tell", "--team", "storage"]],
    )
    on_action: tuple[str, ...] = Field(
        default=(), description="Called for each thing that was done or refused.", examples=[["/usr/local/bin/tell"]]
    )
    timeout: Annotated[Duration, AfterValidator(_hook_time)] = Field(
        default=timedelta(seconds=10), description="After this long a command is killed; 30s at most."
    )


def _interval(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= timedelta(days=1):
        raise ValueError("it must lie between 1s and 24h")
    return value


def _settling(value: timedelta) -> timedelta:
    if value > timedelta(seconds=10):
        raise ValueError("it must be 10s at most")
    return value


class DaemonTable(Table):
    """gcd run."""

    reconcile_interval: Annotated[Duration, AfterValidator(_interval)] = Field(
        default=timedelta(minutes=15),
        description="How often gcd run reads the whole root, whatever the watch saw: up to a tenth sooner, so that the "
        "hosts of a fleet do not do it together.",
    )
    settle: Annotated[Duration, AfterValidator(_settling)] = Field(
        default=timedelta(milliseconds=200),
        description="How long it must be quiet below the root before gcd run looks at what changed.",
    )
    act: bool = Field(
        default=False, description="Whether gcd run carries out the policy by itself. Else it reports, and no more."
    )


def _period(value: timedelta) -> timedelta:
    if value and not timedelta(minutes=1) <= value <= timedelta(days=3650):
        raise ValueError("it must be 0s, for never, or lie between 1m and 3650d")
    return value


def _rate(value: ByteSize) -> ByteSize:
    if value == 0:
        raise ValueError("it must be more than nothing, or a scrub would never end")
    return value


class ScrubTable(Table):
    """Scrubs by ``gcd run``, which are told by what is said here; those by hand are told by flags alone."""

    every: Annotated[Duration, AfterValidator(_period)] = Field(
        default=timedelta(days=30),
        description="Within what time gcd run looks at the content of each layer, a part of all each day, those first "
        "that were not looked at for longest. After it a layer counts as pending. 0s: gcd run looks at none.",
    )
    depth: Depth = Field(
        default=Depth.QUICK,
        description="quick: types, sizes and the CRC-64 of each file; full: the SHA-256 of each layer's whole stream "
        "too.",
    )
    max_duration: Duration = Field(
        default=timedelta(hours=6), description="After so long no further layer of a part is begun."
    )
    bandwidth: Annotated[Size, AfterValidator(_rate)] | None = Field(
        default=None, description="The most bytes that are read a second.", examples=["50MiB"]
    )


class WebTable(Table):
    """What gcd run serves over HTTP: metrics, health, findings, and a page for people."""

    listen_address: Address = Field(
        default="127.0.0.1:9871",
        description="Where to listen: host:port, :port for all addresses, [::1]:port. Empty: nowhere.",
    )
    tls_cert: Path | None = Field(
        default=None, description="The certificate, as PEM, with tls_key.", examples=["/etc/gcd/tls.crt"]
    )
    tls_key: Path | None = Field(
        default=None, description="The key of tls_cert, as PEM.", examples=["/etc/gcd/tls.key"]
    )
    users: dict[str, Hash] = Field(
        default={},
        description="Who may read, by name, with the bcrypt hash of the password. Unset: everybody who can connect.",
        examples=[{"prometheus": "$2y$10$" + "." * 53}],
    )

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both, or neither")
        return self
