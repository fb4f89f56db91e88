"""Request bodies are bounded before anything is stored of them."""

import asyncio

import pytest

from chatd.core.bodies import BodyLimit


class Request:
    """Drives an ASGI application with a body sent in pieces; `taken` counts those it received."""

    def __init__(self, *pieces):
        self.scope = {"type": "http", "path": "/x"}
        self.pieces = list(pieces)
        self.taken = 0
        self.sent = []

    async def receive(self):
        piece = self.pieces[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": piece, "more_body": self.taken < len(self.pieces)}

    async def send(self, event):
        self.sent.append(event)

    async def through(self, application):
        await BodyLimit(application, lambda path: 10)(self.scope, self.receive, self.send)
        return self

    @property
    def closes(self):
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
    assert request.sent[1]["body"] == b"1234567890"
    assert not request.closes


async def test_of_a_body_over_the_limit_one_byte_more_is_shown_and_the_rest_stays_unread():
    request = await Request(b"12345", b"6789012345", b"never read").through(echo)
    assert request.sent[1]["body"] == b"12345678901"
    assert request.taken == 2
    assert request.closes


async def test_who_waits_for_the_end_of_the_connection_is_shown_nothing_of_the_rest():
    waits = asyncio.Event()

    async def listening(scope, receive, send):
        await echo(scope, receive, send)
        listener = asyncio.create_task(receive())
        listener.add_done_callback(lambda _: waits.set())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waits.is_set()
        listener.cancel()

    request = await Request(b"x" * 11, b"the rest").through(listening)
    assert request.taken == 1


async def test_an_application_that_reads_no_body_answers_and_the_connection_stays():
    async def deaf(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})

    request = await Request(b"x" * 99).through(deaf)
    assert (request.taken, request.closes) == (0, False)


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_not_http_is_left_alone(kind):
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])

    await BodyLimit(application, lambda path: 0)({"type": kind}, None, None)
    assert seen == [kind]
