"""`Settings`: all that can be set. The descriptions are those of the sample file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gcd.model.finding import Acceptance
from gcd.settings.tables import (
    DaemonTable,
    HooksTable,
    PolicyTable,
    ProtectTable,
    QuarantineTable,
    ScrubTable,
    Table,
    WebTable,
    setting,
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


@dataclass(frozen=True)
class Accepted(Table):
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


@dataclass(frozen=True)
class Settings(Table):
    """What is in force. Whoever writes ``Settings()`` has the defaults."""

    root: Place | None = setting(
        None,
        "The Docker root. Unset: that of the running engine, else of daemon.json, else /var/lib/docker.",
        example="/var/lib/docker",
    )
    state_dir: Place = setting(
        Path("/var/lib/gcd"),
        "Where `gcd run` and `gcd check --record` keep history (state.db). Never below a Docker root.",
    )
    format: ReportFormat = setting(ReportFormat.TEXT, "The form of reports: text or json.")
    fail_on: FailOn = setting(
        FailOn.WARNING,
        "The least severity of a finding that makes the exit status non-zero: error, warning, or never.",
    )
    only: Codes = setting((), "Run only the rules of these codes.", example=["GCD101", "GCD116"])
    skip: Codes = setting((), "Do not run the rules of these codes.", example=["GCD104"])
    log_level: LogLevel = setting(LogLevel.WARNING, "The least level that is logged: debug, info, warning or error.")
    log_format: LogFormat = setting(LogFormat.AUTO, "text, json, or auto: text on a terminal, JSON lines elsewhere.")
    accept: dict[str, Accepted] = setting(
        {},
        "Findings to live with, by id or glob: why, and until when. They are shown apart, counted nowhere.",
        example={
            "GCD802:store:aufs": {"reason": "the old driver's tree, kept until the move", "until": date(2027, 1, 31)}
        },
    )
    policy: PolicyTable = setting(
        PolicyTable(), "What gcd apply does about findings. Without any verb nothing is done."
    )
    protect: ProtectTable = setting(ProtectTable(), "What is never touched, by policy or by name.")
    quarantine: QuarantineTable = setting(QuarantineTable(), "What was moved, in .gcd below the root.")
    hooks: HooksTable = setting(
        HooksTable(),
        "Commands, as lists of words and without a shell, that get an event as JSON on stdin. They never "
        "decide anything.",
    )
    daemon: DaemonTable = setting(DaemonTable(), "gcd run, which watches a root all the time.")
    scrub: ScrubTable = setting(
        ScrubTable(), "How gcd run looks at the content of layers. It reads, and writes nothing."
    )
    web: WebTable = setting(WebTable(), "What gcd run serves over HTTP.")

    @property
    def acceptances(self) -> tuple[Acceptance, ...]:
        return tuple(Acceptance(pattern, a.reason, a.until_ns) for pattern, a in self.accept.items())
