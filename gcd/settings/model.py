"""`Settings`: all that can be set, checked. The descriptions are those of the sample file."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from gcd.model.finding import Acceptance
from gcd.settings.tables import (
    DaemonTable,
    HooksTable,
    PolicyTable,
    ProtectTable,
    QuarantineTable,
    ScrubTable,
    WebTable,
)

ENV_PREFIX = "GCD_"
ENV_BELOW = "__"
"""Between the name of a table and that of its entry in a variable."""


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


Codes = Annotated[tuple[str, ...], NoDecode]


class Accepted(BaseModel):
    """Why findings are accepted, and until when: the end of a day in UTC, or an instant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: str = Field(min_length=1)
    until: datetime | date | None = None

    @property
    def until_ns(self) -> int | None:
        """The first nanosecond of the wall clock at which the acceptance is over; None: it never is."""
        if self.until is None:
            return None
        if not isinstance(self.until, datetime):
            moment = datetime.combine(self.until + timedelta(days=1), datetime.min.time(), UTC)
        else:
            moment = self.until if self.until.tzinfo else self.until.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000_000


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_BELOW, env_ignore_empty=True, extra="forbid", frozen=True
    )

    root: Path | None = Field(
        default=None,
        description="The Docker root. Unset: that of the running engine, else of daemon.json, else /var/lib/docker.",
        examples=["/var/lib/docker"],
    )
    state_dir: Path = Field(
        default=Path("/var/lib/gcd"),
        description="Where `gcd run` and `gcd check --record` keep history (state.db). Never below a Docker root.",
    )
    format: ReportFormat = Field(default=ReportFormat.TEXT, description="The form of reports: text or json.")
    fail_on: FailOn = Field(
        default=FailOn.WARNING,
        description="The least severity of a finding that makes the exit status non-zero: error, warning, or never.",
    )
    only: Codes = Field(default=(), description="Run only the rules of these codes.", examples=[["GCD101", "GCD116"]])
    skip: Codes = Field(default=(), description="Do not run the rules of these codes.", examples=[["GCD104"]])
    log_level: LogLevel = Field(
        default=LogLevel.WARNING, description="The least level that is logged: debug, info, warning or error."
    )
    log_format: LogFormat = Field(
        default=LogFormat.AUTO, description="text, json, or auto: text on a terminal, JSON lines elsewhere."
    )
    accept: dict[str, Accepted] = Field(
        default={},
        description="Findings to live with, by id or glob: why, and until when. They are shown apart, counted nowhere.",
        examples=[
            {"GCD802:store:aufs": {"reason": "the old driver's tree, kept until the move", "until": date(2027, 1, 31)}}
        ],
    )
    policy: PolicyTable = Field(
        default=PolicyTable(), description="What gcd apply does about findings. Without any verb nothing is done."
    )
    protect: ProtectTable = Field(default=ProtectTable(), description="What is never touched, by policy or by name.")
    quarantine: QuarantineTable = Field(
        default=QuarantineTable(), description="What was moved, in .gcd below the root."
    )
    hooks: HooksTable = Field(
        default=HooksTable(),
        description="Commands, as lists of words and without a shell, that get an event as JSON on stdin. They never "
        "decide anything.",
    )
    daemon: DaemonTable = Field(default=DaemonTable(), description="gcd run, which watches a root all the time.")
    scrub: ScrubTable = Field(
        default=ScrubTable(), description="How gcd run looks at the content of layers. It reads, and writes nothing."
    )
    web: WebTable = Field(default=WebTable(), description="What gcd run serves over HTTP.")

    @property
    def acceptances(self) -> tuple[Acceptance, ...]:
        return tuple(Acceptance(pattern, a.reason, a.until_ns) for pattern, a in self.accept.items())

    @field_validator("only", "skip", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """A variable of the environment holds codes separated by commas."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over, already layered: it alone knows the origin of each value."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)
