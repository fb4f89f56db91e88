"""The REST API through the real server: what only its own parsers can get wrong."""

import http.client
import json

import pytest

from chatd.core.gate import Gate
from config.asgi import django_application
from tests.api.client import API, HEADER, JSON_TYPE, text_part


@pytest.fixture
def ask(server, tokens):
    """Return a function that sends a request and returns status, type and decoded body."""
    token = tokens.alice

    def send(method: str, path: str, body: bytes | None = None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        try:
            connection.request(method, path, body, {HEADER: token, **headers})
            response = connection.getresponse()
            raw = response.read()
            return response.status, response.headers["Content-Type"], raw and json.loads(raw)
        finally:
            connection.close()

    return send


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/chats", 200),
        ("/chats/%00", 400),
        ("/chats/%ff%fe", 400),
        ("/chats/%ed%a0%80", 400),
        ("/chats?limit=%00", 400),
        ("/chats?limit=%ff", 400),
        ("/chats?limit=%ed%a0%80", 400),
        ("/chats/%2e%2e/x", 404),
        ("/nothing/%00", 404),
        ("/chats/" + "a" * 20_000, 400),
        ("/chats?" + "a=1&" * 5_000, 400),
    ],
)
def test_odd_paths_are_answered_in_json(ask, path, status):
    answer = ask("GET", API + path)
    assert answer[:2] == (status, JSON_TYPE)


@pytest.mark.parametrize("size", [262_145, 5 * 2**20, 20 * 2**20])
def test_a_body_that_is_too_large_is_answered_and_not_cut_off(ask, size):
    status, kind, body = ask("POST", f"{API}/chats", b" " * size)
    assert (status, kind) == (400, JSON_TYPE)
    assert "too large" in body["detail"]


def test_a_chat_is_created_read_and_interrupted_without_any_content_type(ask, chats):
    body = json.dumps({"content": [text_part("h\u00e9llo \u0000")]}).encode()
    status, kind, chat = ask("POST", f"{API}/chats", body)
    assert (status, kind) == (201, JSON_TYPE)
    status, _, page = ask("GET", f"{API}/chats/{chat['id']}/messages")
    assert page["messages"][0]["content"] == [{"type": "text", "text": "h\u00e9llo \u0000"}]
    assert ask("POST", f"{API}/chats/{chat['id']}/interrupt")[0] == 200


def test_an_answer_without_content_has_no_body_and_no_type(ask, chats):
    chat = chats.running()
    assert ask("DELETE", f"{API}/chats/{chat.pk}/queue/1") == (204, None, b"")


def test_head_has_the_type_and_no_body(ask):
    assert ask("HEAD", f"{API}/chats") == (200, JSON_TYPE, b"")


@pytest.mark.parametrize("cookie", ['sessionid="\\000aaaaaaaaaa"', "\xe9=\xff", "=;=;"])
def test_an_odd_cookie_beside_a_token_does_no_harm(ask, cookie):
    assert ask("GET", f"{API}/chats", Cookie=cookie)[0] == 200


@pytest.fixture
def no_place(monkeypatch):
    """Let nobody pass the gate, nor wait."""
    gate = Gate(at_once=1, waiting=0, patience_seconds=1)
    monkeypatch.setattr(django_application, "_gate", gate)
    monkeypatch.setattr(gate._free, "_value", 0)


def test_a_request_too_many_is_refused_in_the_form_of_its_route(server, tokens, no_place):
    for path, kind in ((f"{API}/chats", JSON_TYPE), ("/chats", "text/html; charset=utf-8")):
        answer = whole_answer(server, path, tokens.alice)
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"] == kind


def test_how_the_process_does_is_told_when_nothing_else_is(server, tokens, no_place):
    assert whole_answer(server, "/healthz", tokens.alice).status == 200


def whole_answer(server, path: str, token: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.request("GET", path, headers={HEADER: token})
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()
