"""Request bodies are bounded before anything is stored of them."""

import asyncio
import errno
import json

import pytest

from chatd.core import bodies
from chatd.core.bodies import BodyLimit


class Request:
    """Drives an ASGI application with a body sent in pieces; `taken` counts those it received.

    A piece of None is a client that pauses for good.
    """

    def __init__(self, *pieces):
        self.scope = {"type": "http", "path": "/x"}
        self.pieces = list(pieces)
        self.taken = 0
        self.taken_before_the_answer = 0
        self.sent = []

    async def receive(self):
        piece = self.pieces[self.taken]
        self.taken += 1
        if piece is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": self.taken < len(self.pieces)}

    async def send(self, event):
        if event.get("body"):
            self.taken_before_the_answer = self.taken
        self.sent.append(event)

    async def through(self, application):
        await BodyLimit(application, lambda path: 10)(self.scope, self.receive, self.send)
        return self

    @property
    def answer(self):
        return b"".join(event.get("body", b"") for event in self.sent)

    @property
    def is_closed(self):
        return (b"connection", b"close") in self.sent[0]["headers"]


async def echo(scope, receive, send):
    body = b""
    while True:
        event = await receive()
        body += event["body"]
        if not event["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def test_a_body_within_the_limit_passes_untouched():
    request = await Request(b"12345", b"67890").through(echo)
    assert request.answer == b"1234567890"
    assert not request.is_closed
    assert len(request.sent) == 2


async def test_of_a_body_that_came_at_once_there_is_no_rest_to_throw_away():
    request = await Request(b"123456789012").through(echo)
    assert request.answer == b"12345678901"
    assert not request.is_closed


async def test_of_a_body_over_the_limit_one_byte_more_is_shown_and_the_rest_is_thrown_away():
    request = await Request(b"12345", b"6789012345", b"not shown", b"either").through(echo)
    assert request.answer == b"12345678901"
    assert request.taken_before_the_answer == 2
    assert request.taken == 4
    assert request.is_closed
    assert [event.get("more_body") for event in request.sent[1:]] == [True, None]


async def test_a_client_that_does_not_send_the_rest_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(bodies, "DISCARD_SECONDS", 0)
    request = await Request(b"x" * 11, None, b"").through(echo)
    assert request.answer == b"x" * 11
    assert request.sent[-1] == {"type": "http.response.body"}


async def test_an_answer_in_pieces_is_sent_whole_before_the_rest_is_thrown_away():
    async def in_pieces(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one ", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})

    request = await Request(b"x" * 11, b"the rest", b"").through(in_pieces)
    assert request.answer == b"one two"
    assert request.taken_before_the_answer == 1


async def test_who_waits_for_the_end_of_the_connection_is_shown_nothing_of_the_rest():
    async def listening(scope, receive, send):
        await receive()
        listener = asyncio.create_task(receive())
        await asyncio.sleep(0)
        assert not listener.done()
        listener.cancel()

    request = await Request(b"x" * 11, b"the rest").through(listening)
    assert request.taken == 1


async def test_an_application_that_reads_no_body_answers_and_the_connection_stays():
    async def deaf(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})

    request = await Request(b"x" * 99).through(deaf)
    assert (request.taken, request.is_closed) == (0, False)


async def spool_without_room(scope, receive, send):
    await receive()
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("pieces", [[b"12345"], [b"123", b"45", b""]])
async def test_a_body_that_the_disk_has_no_room_for_is_refused_cleanly(pieces):
    request = await Request(*pieces).through(spool_without_room)
    start = request.sent[0]
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"60"
    assert json.loads(request.answer)["message"].startswith("The server has no room")
    assert request.taken == len(pieces)
    assert request.is_closed is (len(pieces) > 1)


async def test_other_accidents_and_those_in_the_middle_of_an_answer_pass():
    async def answers_and_fails(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise OSError(errno.ENOSPC, "No space left on device")

    async def fails(scope, receive, send):
        raise ConnectionResetError

    for application in (answers_and_fails, fails):
        with pytest.raises(OSError, match=r"^$" if application is fails else "No space"):
            await Request(b"1").through(application)


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_not_http_is_left_alone(kind):
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])

    await BodyLimit(application, lambda path: 0)({"type": kind}, None, None)
    assert seen == [kind]
