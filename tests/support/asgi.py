"""The real ASGI application behind an HTTP client of `requests`, without a server in between.

The application's views run in the thread that sends, so that a test may roll back what they wrote.
"""

from asyncio import Event
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote_to_bytes, urlsplit

from asgiref.sync import async_to_sync, sync_to_async
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from requests import PreparedRequest, Response, Session
from requests.adapters import BaseAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from chatd.core.handler import OneThreadHandler
from config.asgi import application

ORIGIN = "http://localhost"


@contextmanager
def asgi_session() -> Iterator[Session]:
    """Give a session that sends what goes to `ORIGIN` to the application.

    Views run in the thread that asks, and between requests its connection to the database stays
    open, with the test's transaction.
    """
    session = Session()
    session.mount(ORIGIN, _ApplicationAdapter())
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    try:
        with patch.object(OneThreadHandler, "visit", _in_this_thread):
            yield session
    finally:
        for signal in (request_started, request_finished):
            signal.connect(close_old_connections)


async def _in_this_thread(_: Any, __: Any, exchange: Callable[[], Any]) -> Any:
    return await sync_to_async(exchange)()


class _ApplicationAdapter(BaseAdapter):
    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        sent: list[dict[str, Any]] = async_to_sync(_exchange)(_scope(request), _body(request))
        start, *chunks = sent
        headers = HTTPHeaderDict()
        for name, value in start["headers"]:
            headers.add(name.decode(), value.decode("latin-1"))
        response = Response()
        response.status_code = start["status"]
        response.headers.update(headers)
        response.raw = HTTPResponse(status=start["status"], headers=headers, preload_content=False)
        response._content = b"".join(chunk.get("body", b"") for chunk in chunks)
        response.request = request
        response.url = request.url or ""
        return response

    def close(self) -> None:
        """There is no connection."""


async def _exchange(scope: dict[str, Any], body: bytes) -> list[dict[str, Any]]:
    events = [{"type": "http.request", "body": body}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not events:
            await Event().wait()  # the client stays until it is answered
        return events.pop()

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await application(scope, receive, send)
    return sent


def _scope(request: PreparedRequest) -> dict[str, Any]:
    target = urlsplit(request.url or "")
    raw = target.path.encode()
    headers = [(b"host", target.netloc.encode())]
    for name, value in request.headers.items():
        text = value if isinstance(value, bytes) else value.encode("latin-1")
        headers.append((name.lower().encode("latin-1"), text))
    return {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote_to_bytes(raw).decode(errors="replace"),
        "raw_path": raw,
        "root_path": "",
        "query_string": target.query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }


def _body(request: PreparedRequest) -> bytes:
    body = request.body or b""
    return body.encode() if isinstance(body, str) else body
