"""Traces for an OpenTelemetry collector, where one is configured; nothing at all where none is.

Belongs here: spans and the way a trace takes from process to process. Does not belong here: what a
span is about (`middleware`, `turns/traces.py`, `tools/batch.py`).

Spans hold ids, names, numbers and kinds of failures. They never hold what people or models wrote,
addresses of people, or texts of exceptions, any of which may carry a secret. For the same reason
the tracer is chatd's own and not the global one of OpenTelemetry, which libraries would write to.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Literal

from config.env import env

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as SdkSpan
    from opentelemetry.trace import Tracer

Attribute = str | bool | int | float | Sequence[str] | None
Kind = Literal["internal", "server", "client", "consumer"]

TRACEPARENT = "traceparent"
"""The header of the W3C that carries a trace, of HTTP requests and of broker messages."""


class Span:
    """Work in progress as a trace shows it. This one is of no trace: what it is told is lost."""

    is_recorded = False

    def name(self, name: str) -> None:
        """Call the span something else than when it began."""

    def set(self, attributes: Mapping[str, Attribute]) -> None:
        """Add attributes; those that are None are left out."""

    def fail(self, kind: str) -> None:
        """Say that the work failed, by a word that has few values; never by a message."""


class _Recorded(Span):
    """A span that is sent when it has ended."""

    is_recorded = True

    def __init__(self, span: "SdkSpan") -> None:
        self._span = span
        self._has_failed = False

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, attributes: Mapping[str, Attribute]) -> None:
        self._span.set_attributes({k: v for k, v in attributes.items() if v is not None})

    def fail(self, kind: str) -> None:
        from opentelemetry.trace import StatusCode

        if self._has_failed:
            return  # what was said first is closer to the cause
        self._has_failed = True
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)


NO_SPAN = Span()
_NOTHING = nullcontext(NO_SPAN)


def is_on() -> bool:
    """Tell whether traces are sent anywhere."""
    return env.traces is not None


def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    attributes: Mapping[str, Attribute] | None = None,
) -> AbstractContextManager[Span]:
    """Trace what is in it, as a part of the span around it or of `parent`, a `traceparent`.

    A blank or unreadable parent begins a new trace. An exception that passes is a failure named by
    its class; a cancellation is none. Can be entered in async and in plain code.
    """
    if env.traces is None:
        return _NOTHING
    return _recorded(name, kind, parent, attributes or {})


@contextmanager
def _recorded(
    name: str, kind: Kind, parent: str | None, attributes: Mapping[str, Attribute]
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind, use_span

    begun = _tracer().start_span(
        name,
        context=None if parent is None else _context_of(parent),
        kind=SpanKind[kind.upper()],
    )
    # What an exception says may quote a prompt or a key: its class has to do.
    with use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        shown = _shown(begun)
        shown.set(attributes)
        try:
            yield shown
        except Exception as error:
            shown.fail(type(error).__name__)
            raise


def _shown(found: "SdkSpan") -> Span:
    return _Recorded(found) if found.is_recording() else NO_SPAN


def traceparent() -> str:
    """Return where the trace of the caller stands, for `span` elsewhere; blank without one."""
    if env.traces is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(TRACEPARENT, "")


def _context_of(parent: str) -> "Context":
    """Return the context of a `traceparent`: an empty one, not that around the caller, if blank."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: parent}, context=Context())


_guard = Lock()


def _tracer() -> "Tracer":
    with _guard:
        return _made_tracer()


@cache
def _made_tracer() -> "Tracer":
    """Return the tracer of this process; what is left at the end is sent before it ends."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    assert env.traces is not None
    about: dict[str, str | int] = {
        "service.name": env.traces.service_name,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    provider = TracerProvider(resource=Resource.create(about))
    exporter = OTLPSpanExporter(endpoint=env.traces.url, headers=env.traces.headers or None)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider.get_tracer("chatd")
