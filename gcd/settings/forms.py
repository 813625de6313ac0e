"""
The types that settings have, as pydantic reads them: what may be written for each, and what is said of anything else.
The tables name them only in their annotations: nobody pays for pydantic who says nothing.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr, TypeAdapter
from pydantic_settings import NoDecode

from gcd.policy.policy import Verb
from gcd.policy.windows import Weekday
from gcd.settings.places import place_of
from gcd.settings.units import duration_of, hours_of, until_of, zone_of

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*):([0-9]{1,5})")
_HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_ALONE = frozenset({Verb.IGNORE, Verb.REPORT})


def _split(value: object) -> object:
    """A variable of the environment holds codes separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _agreeing(verbs: tuple[Verb, ...]) -> tuple[Verb, ...]:
    if not verbs or (len(verbs) > 1 and _ALONE & set(verbs)):
        raise ValueError("it must be ignore or report alone, or one or more of repair, release and quarantine")
    return verbs


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("it must be a whole number")  # noqa: TRY004 - as pydantic takes it
    return value


def _size(value: object) -> int:
    try:
        return _BYTES.validate_python(_number(value))
    except ValueError:
        raise ValueError("it must be a whole number of bytes, or a text such as 10MiB or 20GiB") from None


def _hours(text: str) -> str:
    hours_of(text)
    return text


def _zone(name: str) -> str:
    zone_of(name)
    return name


def _patience(value: timedelta) -> timedelta:
    if value > timedelta(seconds=30):
        raise ValueError("it must be 30s at most, for gcd run gives no sign of life meanwhile")
    return value


def _interval(value: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= value <= timedelta(days=1):
        raise ValueError("it must lie between 1s and 24h")
    return value


def _settling(value: timedelta) -> timedelta:
    if value > timedelta(seconds=10):
        raise ValueError("it must be 10s at most")
    return value


def _period(value: timedelta) -> timedelta:
    if value and not timedelta(minutes=1) <= value <= timedelta(days=3650):
        raise ValueError("it must be 0s, for never, or lie between 1m and 3650d")
    return value


def _rate(value: int) -> int:
    if value == 0:
        raise ValueError("it must be more than nothing, or a scrub would never end")
    return value


def _address(text: str) -> str:
    match = _ADDRESS.fullmatch(text)
    if text and (match is None or int(match[2]) > 65_535):
        raise ValueError("it must be a host and a port such as 127.0.0.1:9871, :9871 or [::1]:9871, or empty")
    return text


def _hash(secret: SecretStr) -> SecretStr:
    if _HASH.fullmatch(secret.get_secret_value()) is None:
        raise ValueError("it must be the bcrypt hash of a password, as htpasswd -nB prints it")
    return secret


_BYTES = TypeAdapter(Annotated[ByteSize, Field(ge=0)])

Place = Annotated[Path, BeforeValidator(place_of)]
Until = Annotated[datetime | date, BeforeValidator(until_of)]
Reason = Annotated[str, Field(min_length=1)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=1)]
Codes = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Verbs = Annotated[tuple[Verb, ...], BeforeValidator(_one_or_more), AfterValidator(_agreeing)]
Days = Annotated[tuple[Weekday, ...], Field(min_length=1)]
Hours = Annotated[str, AfterValidator(_hours)]
Zone = Annotated[str, AfterValidator(_zone)]
Duration = Annotated[timedelta, BeforeValidator(duration_of)]
Patience = Annotated[Duration, AfterValidator(_patience)]
Interval = Annotated[Duration, AfterValidator(_interval)]
Settling = Annotated[Duration, AfterValidator(_settling)]
Period = Annotated[Duration, AfterValidator(_period)]
Size = Annotated[int, BeforeValidator(_size)]
"""In bytes."""
Rate = Annotated[Size, AfterValidator(_rate)]
Address = Annotated[str, AfterValidator(_address)]
Hash = Annotated[SecretStr, AfterValidator(_hash)]
