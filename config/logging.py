"""Logging: structlog in front of the standard library, one line per event, no query strings.

Lines carry the correlation id of the request or the turn (`chatd.core.context`). The format is
`console` for people or `json` for collectors.
"""

import logging.config
import time
from typing import Any

import structlog
from structlog.typing import Processor

from config.env import Environment

SPARING_SECONDS = 10.0

_REPETITIVE = (
    "channels_redis.pubsub",  # a traceback each second while Redis is away
    "psycopg.pool",  # a line for each connection that was lost, and each that could not be had
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",  # lines while a collector is away
    "opentelemetry.sdk._shared_internal",  # the same, when it is away for long
)

_QUIET = {
    # uvicorn writes request lines with their query string, where a session token may stand.
    "uvicorn.error": "WARNING",
    "uvicorn.access": "WARNING",
    "websockets": "WARNING",
    "celery.worker.strategy": "WARNING",
    "celery.app.trace": "WARNING",
    "celery.beat": "WARNING",
    "kombu": "WARNING",
    "aiohttp.access": "WARNING",
    "django.request": "ERROR",
    "django.security": "ERROR",
    # of each variable that is not there it writes the whole context, with passwords shown once.
    "django.template": "INFO",
    "asyncio": "WARNING",
    # The MCP SDK writes URLs and session ids; what goes wrong is logged where it is called.
    "mcp": "CRITICAL",
    "client": "CRITICAL",
    "httpx2": "WARNING",
    "httpcore2": "WARNING",
}


class OneLine(logging.Filter):
    """Lets a line through every `SPARING_SECONDS`, with the last line of its traceback alone."""

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        instant = time.monotonic()
        if instant < self._quiet_until:
            return False
        self._quiet_until = instant + SPARING_SECONDS
        if record.exc_info:
            record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]}", ()
            record.exc_info = record.exc_text = None
        return True


def configure_logging(env: Environment) -> None:
    """Route structlog and standard logging through one formatter on standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Processor
    if env.log_format == "json":
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    else:
        # Tracebacks with local variables would print keys and headers.
        renderer = structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    logging.config.dictConfig(_dict_config(env, shared, renderer))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _dict_config(env: Environment, shared: list[Processor], renderer: Processor) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": shared,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    renderer,
                ],
            }
        },
        "filters": {name: {"()": OneLine} for name in _REPETITIVE},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "structured"},
        },
        "root": {"handlers": ["stderr"], "level": env.log_level},
        "loggers": {
            **{name: {"level": level} for name, level in _QUIET.items()},
            **{name: {"filters": [name]} for name in _REPETITIVE},
        },
    }
