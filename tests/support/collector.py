"""A collector of OpenTelemetry over HTTP, which keeps every span that it is sent."""

import gzip
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.product import wait_until

ERROR = Status.StatusCode.STATUS_CODE_ERROR


@dataclass(frozen=True)
class Seen:
    """One span as it was sent; ids are in hexadecimal digits."""

    name: str
    trace: str
    id: str
    parent: str
    kind: str
    is_error: bool
    attributes: dict[str, Any]
    process: dict[str, Any]
    raw: str = field(repr=False)


class Collector:
    """Serves `/v1/traces` on a port of its own while it is entered."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.headers: list[dict[str, str]] = []
        self.bodies = b""
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Keep what one request carried."""
        spans = [
            _seen(span, _plain(resource.resource.attributes))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._guard:
            self.headers.append(headers)
            self.bodies += body
            self.spans += spans

    def of_trace(self, trace: str) -> list[Seen]:
        with self._guard:
            return [span for span in self.spans if span.trace == trace]

    def wait_for(self, trace: str, *names: str, seconds: float = 60.0) -> list[Seen]:
        """Return the spans of a trace once those of these names are among them."""
        wait_until(
            lambda: set(names) <= {span.name for span in self.of_trace(trace)},
            seconds,
            f"a trace with {names}, got {sorted(span.name for span in self.spans)}",
        )
        return self.of_trace(trace)

    def turn_of(self, chat_id: str, seconds: float = 60.0) -> Seen:
        """Return the span of the only turn of a chat, once it has ended."""

        def turns() -> list[Seen]:
            with self._guard:
                return [
                    span
                    for span in self.spans
                    if span.attributes.get("gen_ai.operation.name") == "invoke_agent"
                    and span.attributes["gen_ai.conversation.id"] == chat_id
                ]

        wait_until(lambda: bool(turns()), seconds, f"a turn of {chat_id}")
        (turn,) = turns()
        return turn


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                collector.take({k.lower(): v for k, v in self.headers.items()}, body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing of each request."""

    return Handler


def _seen(span: Span, process: dict[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        is_error=span.status.code == ERROR,
        attributes=_plain(span.attributes),
        process=process,
        raw=str(span),
    )


def _plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None
