"""
Settings: what may be said in files, in the environment and on the command line, and where each value came from.

::

    model.py    `Settings`, all that can be set
    tables.py   its tables: policy, protection, quarantine, hooks, daemon, scrub, web
    units.py    durations, hours, time zones and ends, as they are written
    places.py   paths, as they are written
    keys.py     which keys there are, and the nearest one of a key that there is not
    layers.py   what is said, layer over layer
    checked.py  the tables as pydantic checks them
    forms.py    the types of their values, as pydantic reads them
    sample.py   settings as TOML, and the annotated sample

Later layers win: defaults, ``/etc/gcd/gcd.toml``, ``/etc/gcd/conf.d/*.toml`` in the order of their names, variables
``GCD_<KEY>`` (``GCD_<TABLE>__<KEY>`` within a table), flags. A key that does not exist, at whatever depth, or a value
that does not fit, is a `UsageError` that names its place and the nearest key. Variables of the environment that begin
with ``GCD_`` and are no setting are only remarked upon by ``gcd config show``: container platforms inject such names
for services of their own.

``python -m gcd.settings`` prints the annotated sample that is kept as ``config/gcd.toml``.
"""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from gcd.model.errors import UsageError
from gcd.settings.keys import DEFAULT, leaves, nearest, variable
from gcd.settings.model import ENV_BELOW, ENV_PREFIX, FailOn, LogFormat, LogLevel, ReportFormat, Settings
from gcd.settings.places import place_of
from gcd.settings.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "CONFIG_DIR",
    "DEFAULT",
    "FailOn",
    "LogFormat",
    "LogLevel",
    "ReportFormat",
    "Settings",
    "load",
    "nearest",
    "variable",
]

T = TypeVar("T")

CONFIG_DIR = Path("/etc/gcd")
FLAG = "flag"

WORDS: Mapping[str, Callable[[Any], Any]] = {
    "root": place_of,
    "format": ReportFormat,
    "fail_on": FailOn,
    "log_level": LogLevel,
    "only": tuple,
    "skip": tuple,
}
"""What flags say in words that click has checked, and what makes values of them."""


class Loaded(Struct, frozen=True):
    """
    `origins` gives, by key (``policy.grace``), what set the value; `strangers` are variables that look like settings
    and are none.
    """

    settings: Settings
    origins: Mapping[str, str]
    strangers: tuple[str, ...]

    def value(self, key: str) -> object:
        found: object = self.settings
        for name in key.split("."):
            found = getattr(found, name)
        return found


def load(flags: Mapping[str, Any], *, directory: Path | None = None) -> Loaded:
    """
    The settings in force; `flags` holds what the command line said, None where it said nothing.

    Where no file and no variable is, and no flag but those of `WORDS`, nothing has to be checked.
    """
    said = {key: value for key, value in flags.items() if value is not None}
    files = list(_files(CONFIG_DIR if directory is None else directory))
    if not files and not any(map(_is_ours, os.environ)) and said.keys() <= WORDS.keys():
        with suppress(ValueError):  # of which the check has more to say
            settings = replace(Settings(), **{key: WORDS[key](word) for key, word in said.items()})
            return Loaded(settings, {**dict.fromkeys(leaves(), DEFAULT), **dict.fromkeys(said, FLAG)}, ())
    with _importing():
        from gcd.settings.layers import Layer, layered  # noqa: PLC0415 - pydantic, for those who say something

    settings, origins = layered(files, Layer(FLAG, said))
    return Loaded(settings, origins, tuple(_strangers()))


@contextmanager
def _importing() -> Iterator[None]:
    """Modules stay as long as the process does: nobody looks for cycles among them meanwhile."""
    is_looking = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_looking:
            gc.enable()


def _files(directory: Path) -> Iterator[Path]:
    """
    All that is there, whether or not it can be read: what it says may protect something. Of ``conf.d`` what a shell
    finds by ``*.toml``, which leaves out what editors keep there.
    """
    file, drop_ins = directory / "gcd.toml", directory / "conf.d"
    if _found(os.lstat, file) is not None:
        yield file
    for name in sorted(_found(os.listdir, drop_ins) or ()):
        if name.endswith(".toml") and not name.startswith("."):
            yield drop_ins / name


def _found(look: Callable[[Path], T], path: Path) -> T | None:
    """What `look` says of `path`; None where there is no such thing."""
    try:
        return look(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _is_ours(variable: str) -> bool:
    return variable.upper().startswith(ENV_PREFIX)


def _strangers() -> Iterator[str]:
    defaults = {name: getattr(Settings(), name) for name in Settings.__struct_fields__}
    for name in sorted(filter(_is_ours, os.environ)):
        key, below, _ = name[len(ENV_PREFIX) :].lower().partition(ENV_BELOW)
        if key not in defaults or (below and not isinstance(defaults[key], Table | dict)):
            yield name
