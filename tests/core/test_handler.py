"""A request is one visit to one of a few threads; its answer is sent without one."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.signals import request_finished, request_started
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from chatd.core.errors import ChatdError
from chatd.core.gate import Gate
from chatd.core.handler import OneThreadHandler

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/chats",
    "raw_path": b"/chats",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
}


def refuse(request: HttpRequest, error: ChatdError) -> HttpResponseBase:
    return HttpResponse(f"{request.path}: {error}", status=error.http_status)


class Handler(OneThreadHandler):
    """Answers with a view of the test, and notes on which threads things happen."""

    def __init__(self, view: Callable[[], HttpResponseBase], *, threads: int = 2) -> None:
        gate = Gate(at_once=threads, waiting=0, patience_seconds=5)
        super().__init__(gate, refuse, threads=threads)
        self._view = view
        self.seen: list[str] = []

    def note(self, **_: Any) -> None:
        self.seen.append(threading.current_thread().name)

    def get_response(self, request: HttpRequest) -> Any:
        self.note()
        return self._view()


@pytest.fixture
def noting() -> Iterator[Callable[[Handler], Handler]]:
    connected: list[Any] = []

    def note(handler: Handler) -> Handler:
        for signal in (request_started, request_finished):
            signal.connect(handler.note, sender=Handler, weak=False)
            connected.append((signal, handler.note))
        return handler

    yield note
    for signal, receiver in connected:
        signal.disconnect(receiver, sender=Handler)


async def asked(
    handler: Handler, events: list[dict[str, Any]] | None = None, **scope: Any
) -> list[dict[str, Any]]:
    waiting = [{"type": "http.request", "body": b""}] if events is None else events
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await handler(SCOPE | scope, receive, send)
    return sent


async def test_the_signals_and_the_view_share_a_thread_that_stays(
    noting: Callable[[Handler], Handler],
) -> None:
    handler = noting(Handler(lambda: HttpResponse("yes"), threads=1))
    for _ in range(3):
        start, body = await asked(handler)
        assert (start["status"], body["body"]) == (200, b"yes")
    assert len(handler.seen) == 9
    assert set(handler.seen) == {"chatd-http_0"}


async def test_what_is_over_the_gate_is_refused_and_probes_are_not() -> None:
    held, entered = threading.Event(), threading.Event()

    def view() -> HttpResponseBase:
        entered.set()
        held.wait(10)
        return HttpResponse("late")

    handler = Handler(view, threads=1)
    first = asyncio.create_task(asked(handler))
    await asyncio.to_thread(entered.wait, 10)
    start, body = await asked(handler)
    assert start["status"] == 503
    assert body["body"].startswith(b"/chats: ")
    probe = asyncio.create_task(asked(handler, path="/healthz"))
    while len(handler.seen) < 2:
        await asyncio.sleep(0.01)
    held.set()
    assert [sent[0]["status"] for sent in await asyncio.gather(first, probe)] == [200, 200]
    assert handler.seen[1].startswith("chatd-probe")


async def test_an_answer_that_is_made_while_it_is_sent_is_closed_after_that(
    noting: Callable[[Handler], Handler],
) -> None:
    closed: list[str] = []

    async def pieces() -> Any:
        for piece in ("one", "two"):
            closed.append(f"{piece} of {len(handler.seen)}")
            yield await sync_to_async(lambda piece=piece: piece)()

    handler = noting(Handler(lambda: StreamingHttpResponse(pieces())))
    start, *body = await asked(handler)
    assert start["status"] == 200
    assert b"".join(event.get("body", b"") for event in body) == b"onetwo"
    assert closed == ["one of 2", "two of 2"]  # the request has begun and its view has answered
    assert len(handler.seen) == 3  # and it has finished


async def test_who_leaves_while_sending_is_not_answered() -> None:
    handler = Handler(lambda: HttpResponse("never"))
    left = [
        {"type": "http.request", "body": b"some", "more_body": True},
        {"type": "http.disconnect"},
    ]
    assert await asked(handler, left) == []
    assert handler.seen == []
