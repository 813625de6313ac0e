"""
Logs: events on stderr, JSON lines where nobody sits at a terminal, text where somebody does.

Results never go through here, and nothing of a container's environment or configuration ever does: events carry ids,
counts and durations. Both renderers escape what is not printable in a value; an event's name is a constant of gcd's.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from typing import TextIO

    from structlog.typing import Processor

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, *, json: bool, stream: TextIO | None = None) -> None:
    """Send events of at least `level` (a key of `LEVELS`) to `stream`, stderr if it is None."""
    renderer: Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr if stream is None else stream),
        cache_logger_on_first_use=False,
    )
