"""`Settings`: all that can be set. The descriptions are those of the sample file."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import field

from gcd.model.finding import Acceptance
from gcd.settings.tables import (
    About,
    DaemonTable,
    HooksTable,
    PolicyTable,
    ProtectTable,
    QuarantineTable,
    ScrubTable,
    Table,
    WebTable,
)

if TYPE_CHECKING:
    from gcd.settings.forms import Codes, Place, Reason, Until

ENV_PREFIX = "GCD_"
ENV_BELOW = "__"
"""Between the name of a table and that of its entry in a variable."""


_EPOCH = date(1970, 1, 1).toordinal()


class ReportFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


class FailOn(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


class LogFormat(StrEnum):
    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Accepted(Table, frozen=True):
    """Why findings are accepted, and until when: the end of a day in UTC, or an instant."""

    reason: Reason
    until: Until | None = None

    @property
    def until_ns(self) -> int | None:
        """The first nanosecond of the wall clock at which the acceptance is over; None: it never is."""
        if self.until is None:
            return None
        if not isinstance(self.until, datetime):
            return (self.until.toordinal() + 1 - _EPOCH) * 86_400 * 1_000_000_000
        moment = self.until if self.until.tzinfo else self.until.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000_000


class Settings(Table, frozen=True):
    """What is in force. Whoever writes ``Settings()`` has the defaults."""

    root: Annotated[
        Place | None,
        About(
            "The Docker root. Unset: that of the running engine, else of daemon.json, else /var/lib/docker.",
            example="/var/lib/docker",
        ),
    ] = None
    state_dir: Annotated[
        Place, About("Where `gcd run` and `gcd check --record` keep history (state.db). Never below a Docker root.")
    ] = Path("/var/lib/gcd")
    format: Annotated[ReportFormat, About("The form of reports: text or json.")] = ReportFormat.TEXT
    fail_on: Annotated[
        FailOn, About("The least severity of a finding that makes the exit status non-zero: error, warning, or never.")
    ] = FailOn.WARNING
    only: Annotated[Codes, About("Run only the rules of these codes.", example=["GCD101", "GCD116"])] = ()
    skip: Annotated[Codes, About("Do not run the rules of these codes.", example=["GCD104"])] = ()
    log_level: Annotated[LogLevel, About("The least level that is logged: debug, info, warning or error.")] = (
        LogLevel.WARNING
    )
    log_format: Annotated[LogFormat, About("text, json, or auto: text on a terminal, JSON lines elsewhere.")] = (
        LogFormat.AUTO
    )
    accept: Annotated[
        dict[str, Accepted],
        About(
            "Findings to live with, by id or glob: why, and until when. They are shown apart, counted nowhere.",
            example={
                "GCD802:store:aufs": {
                    "reason": "the old driver's tree, kept until the move",
                    "until": date(2027, 1, 31),
                }
            },
        ),
    ] = field(default_factory=dict)
    policy: Annotated[PolicyTable, About("What gcd apply does about findings. Without any verb nothing is done.")] = (
        PolicyTable()
    )
    protect: Annotated[ProtectTable, About("What is never touched, by policy or by name.")] = ProtectTable()
    quarantine: Annotated[QuarantineTable, About("What was moved, in .gcd below the root.")] = QuarantineTable()
    hooks: Annotated[
        HooksTable,
        About(
            "Commands, as lists of words and without a shell, that get an event as JSON on stdin. They never "
            "decide anything."
        ),
    ] = HooksTable()
    daemon: Annotated[DaemonTable, About("gcd run, which watches a root all the time.")] = DaemonTable()
    scrub: Annotated[ScrubTable, About("How gcd run looks at the content of layers. It reads, and writes nothing.")] = (
        ScrubTable()
    )
    web: Annotated[WebTable, About("What gcd run serves over HTTP.")] = WebTable()

    @property
    def acceptances(self) -> tuple[Acceptance, ...]:
        return tuple(Acceptance(pattern, a.reason, a.until_ns) for pattern, a in self.accept.items())
