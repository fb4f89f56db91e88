"""Trying a provider out: what is asked of it, what people are told, and what goes nowhere."""

import asyncio
import base64
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from chatd.chattest.demo import DemoServer
from chatd.chattest.server import LoopbackServer
from chatd.providers import probe
from chatd.providers.actions import save_provider
from chatd.providers.models import AIProvider
from tests.api.client import NOT_FOUND, Api
from tests.api.test_chats_create import UNKNOWN

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/api/v2/ai/providers/test"
KEY = "key-to-try-0123456789"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ModelsServer(LoopbackServer):
    """Answers `GET /v1/models` as a test says, and remembers the headers of each request."""

    def __init__(self) -> None:
        super().__init__(self._application)
        self.asked: list[dict[str, str]] = []
        self.answer: Handler = models("a", "b")

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        return app

    async def _models(self, http: web.Request) -> web.StreamResponse:
        self.asked.append(dict(http.headers))
        return await self.answer(http)

    @property
    def url(self) -> str:
        return f"{self.base_url}/v1"


def models(*names: str) -> Handler:
    async def answer(http: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [{"id": name} for name in names]})

    return answer


def refused(status: int, body: Any) -> Handler:
    async def answer(http: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers={"Location": "/elsewhere"})

    return answer


@pytest.fixture
def server() -> Iterator[ModelsServer]:
    with ModelsServer() as server:
        yield server


def new(server: ModelsServer, **fields: Any) -> dict[str, Any]:
    return {"type": "openai", "base_url": server.url, "api_keys": [KEY], **fields}


def tried(root: Api, body: dict[str, Any]) -> dict[str, Any]:
    answer = root.post(PATH, body)
    assert answer.status == 200, answer.body
    assert KEY not in answer.raw.decode()
    return answer.body  # type: ignore[no-any-return]


def test_a_provider_that_answers_shows_its_models(root: Api, server: ModelsServer) -> None:
    assert tried(root, new(server, display_name="Ours")) == {
        "ok": True,
        "detail": "Ours answered and offers 2 models.",
        "models": ["a", "b"],
    }
    (headers,) = server.asked
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert not AIProvider.objects.exists()


def test_the_demo_provider_passes(root: Api) -> None:
    with DemoServer() as demo:
        body = {"type": "openai-compat", "name": "demo", "base_url": demo.base_url}
        assert tried(root, body)["ok"] is True


def test_a_list_that_everybody_gets_says_nothing_about_the_key(
    root: Api, server: ModelsServer
) -> None:
    assert "nothing about the key" in tried(root, new(server, type="openrouter"))["detail"]


def test_a_stored_provider_is_tried_with_its_key_or_another(
    root: Api, server: ModelsServer
) -> None:
    row = AIProvider(type="openai", name="main", base_url=server.url)
    provider = save_provider(row, new_key="stored-key")
    asked = {"id": str(provider.pk)}
    assert tried(root, asked)["ok"] is True
    assert tried(root, asked | {"api_key": KEY})["ok"] is True
    assert [headers["Authorization"] for headers in server.asked] == [
        "Bearer stored-key",
        f"Bearer {KEY}",
    ]


def test_a_stored_key_goes_to_no_other_address(root: Api, server: ModelsServer) -> None:
    row = AIProvider(type="openai", name="main", base_url="http://127.0.0.1:9/v1")
    asked = {"id": str(save_provider(row, new_key="stored-key").pk), "base_url": server.url}
    answer = root.post(PATH, asked)
    assert answer.status == 400
    assert answer.message.startswith("Give the id of a stored provider or the fields")
    assert server.asked == []


def test_a_stored_key_that_cannot_be_read_is_to_be_entered_again(
    root: Api, server: ModelsServer, settings: Any
) -> None:
    row = AIProvider(type="openai", name="main", base_url=server.url)
    provider = save_provider(row, new_key="stored-key")
    settings.CHATD_ENCRYPTION_KEYS = (base64.b64encode(secrets.token_bytes(32)).decode(),)
    shown = tried(root, {"id": str(provider.pk)})
    assert shown == {
        "ok": False,
        "detail": "The stored key cannot be read any more. Enter it again.",
    }
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "begins"),
    [
        (refused(401, {"error": {"message": f"no: {KEY}"}}), "Authentication with x failed."),
        (refused(429, {}), "X is rate limiting requests."),
        (refused(503, {}), "X is temporarily unavailable."),
        (refused(302, {}), "X returned an unexpected error."),
        (refused(404, {}), "X returned an unexpected error."),
        (refused(200, {"models": []}), "X sent an answer that cannot be read."),
        (refused(200, [1]), "X sent an answer that cannot be read."),
    ],
)
def test_what_goes_wrong_is_told_in_words_of_ours_and_without_the_key(
    root: Api, server: ModelsServer, answer: Handler, begins: str
) -> None:
    server.answer = answer
    shown = tried(root, new(server, name="x"))
    assert shown["ok"] is False
    assert shown["detail"].lower().startswith(begins.lower()), shown
    assert len(server.asked) == 1, "no redirect is followed"


def test_a_name_that_repeats_the_key_is_shown_without_it(root: Api, server: ModelsServer) -> None:
    server.answer = models(f"model-{KEY}")
    assert tried(root, new(server))["models"] == ["model-[redacted]"]


def test_nothing_that_listens_is_told(root: Api) -> None:
    body = {"type": "openai-compat", "base_url": "http://127.0.0.1:9/v1"}
    shown = tried(root, body)
    assert shown["ok"] is False
    assert "temporarily unavailable" in shown["detail"]


def test_a_provider_that_is_silent_is_given_up(
    root: Api, server: ModelsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert probe.PROBE_SECONDS == 10
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.2)

    async def silent(http: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    server.answer = silent
    assert "did not start responding in time" in tried(root, new(server))["detail"]


def test_anthropic_is_asked_with_its_own_headers(root: Api, server: ModelsServer) -> None:
    shown = tried(root, new(server, type="anthropic"))
    assert shown["ok"] is True
    (headers,) = server.asked
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert "Authorization" not in headers


def test_bedrock_has_no_list_to_try_it_with(root: Api, server: ModelsServer) -> None:
    on_bedrock = {"_type": "bedrock", "_version": 1, "region": "eu-west-1"}
    shown = tried(root, new(server, type="bedrock", settings=on_bedrock, api_keys=[]))
    assert shown["detail"] == "AWS Bedrock does not tell which models it has."
    assert server.asked == []


def test_without_a_key_nothing_is_asked_of_a_kind_that_needs_one(
    root: Api, server: ModelsServer
) -> None:
    shown = tried(root, new(server, api_keys=[]))
    assert shown == {"ok": False, "detail": "There is no shared key to try it with. Enter one."}
    assert server.asked == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://h/", "http://u:p@h/", "", "//h"])
def test_only_plain_web_addresses_are_asked(root: Api, url: str) -> None:
    answer = root.post(PATH, {"type": "openai", "base_url": url, "api_keys": [KEY]})
    assert (answer.status, answer.message) == (400, "Invalid AI provider request.")


def test_the_body_is_judged_before_the_right(root: Api, alice: Api, server: ModelsServer) -> None:
    assert alice.post(PATH, {}).status == 400
    assert alice.post(PATH, new(server)).status == 403
    assert alice.post(PATH, {"id": UNKNOWN}).status == 403
    assert root.post(PATH, {"id": UNKNOWN}).body == NOT_FOUND
    assert server.asked == []


def test_with_an_idempotency_key_a_provider_is_asked_once(root: Api, server: ModelsServer) -> None:
    headers = {"Idempotency-Key": "try-1"}
    first = root.post(PATH, new(server), headers=headers)
    second = root.post(PATH, new(server), headers=headers)
    assert first.body == second.body
    assert len(server.asked) == 1
