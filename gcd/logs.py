"""
Logs: events on stderr, JSON lines where nobody sits at a terminal, text where somebody does.

Where stderr is the journal's own socket (``JOURNAL_STREAM``, systemd.exec(5)), each line begins with its priority as
``<6>``, which the journal takes off (sd-daemon(3)).

Results never go through here, and nothing of a container's environment or configuration ever does: events carry ids,
counts and durations. Both renderers escape what is not printable in a value; an event's name is a constant of gcd's.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from typing import TextIO

    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""Those of syslog(3), by the level of an event."""


def configure(level: str, *, json: bool, stream: TextIO | None = None, is_journal: bool | None = None) -> None:
    """
    Send events of at least `level` (a key of `LEVELS`) to `stream`, stderr if it is None; `is_journal` says whether
    that leads to the journal, None that it is to be found out.
    """
    renderer: Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    if is_journal is None:
        is_journal = leads_to_the_journal(sys.stderr if stream is None else stream)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _Prioritised(renderer) if is_journal else renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr if stream is None else stream),
        cache_logger_on_first_use=False,
    )


def leads_to_the_journal(stream: TextIO) -> bool:
    """Whether `stream` is what systemd connected to the journal; whoever redirected it wants no prefixes."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


class _Prioritised:
    """A renderer whose lines each begin with their priority."""

    def __init__(self, renderer: Processor) -> None:
        self._renderer = renderer

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> str:
        prefix = f"<{PRIORITIES[event['level']]}>"
        text = str(self._renderer(logger, name, event))
        return "\n".join(f"{prefix}{line}" for line in text.splitlines())
