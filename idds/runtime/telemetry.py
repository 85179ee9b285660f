"""Logs: one line an event."""

import logging
import sys
from typing import TextIO

import structlog


def configure_logs(level: str = "info", *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Send the logs of the service, and warnings of its libraries, to `stream` (None: standard error)."""
    stream = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    # Tracebacks come plain: the pretty ones show what local variables hold, secrets too.
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if as_json else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=stream, force=True)
