"""Request bodies are bounded before anything is stored of them."""

import pytest

from chatd.core.bodies import BodyLimit, Refusal


class Request:
    """Drives an ASGI application with a body sent in pieces."""

    def __init__(self, pieces, headers=()):
        self.scope = {"type": "http", "path": "/x", "headers": list(headers)}
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
        limited = BodyLimit(
            application, lambda path: (10, Refusal(413, "Too much.", "At most 10."))
        )
        await limited(self.scope, self.receive, self.send)
        return self


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
    request = await Request([b"12345", b"67890"]).through(echo)
    assert request.sent[1]["body"] == b"1234567890"


async def test_a_body_over_the_limit_is_refused_without_reading_the_rest():
    request = await Request([b"12345", b"678901", b"never read"]).through(echo)
    assert request.sent[0]["status"] == 413
    assert b"Too much." in request.sent[1]["body"]
    assert request.taken == 2


async def test_a_declared_length_over_the_limit_is_refused_unread():
    request = Request([b"x"], headers=[(b"content-length", b"11")])
    await request.through(echo)
    assert request.sent[0]["status"] == 413
    assert request.taken == 0


async def test_an_application_that_answers_the_failure_itself_does_not_hide_the_refusal():
    async def stubborn(scope, receive, send):
        try:
            await echo(scope, receive, send)
        except Exception:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"oops"})

    request = await Request([b"12345678901"]).through(stubborn)
    assert [event.get("status") for event in request.sent] == [413, None]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_is_not_http_is_left_alone(kind):
    seen = []

    async def application(scope, receive, send):
        seen.append(scope["type"])

    await BodyLimit(application, lambda path: (0, Refusal(413, "", "")))({"type": kind}, None, None)
    assert seen == [kind]
