"""Chats of Gemini with a server that is as strict as Google, through everything that is stored."""

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from chatd.chattest.google import Failure, GoogleRequest, GoogleServer, refusal
from chatd.chattest.google_wire import (
    call,
    chunk,
    grounding,
    image,
    numbers,
    search,
    search_result,
    text,
)
from tests.support.client import Client, text_of
from tests.support.product import Product

RUNS_ON = "embedded"

TOOL = {
    "name": "find",
    "description": "Finds.",
    "input_schema": {
        "type": "object",
        "properties": {"q": {"type": ["string", "null"], "format": "uri"}},
        "additionalProperties": False,
    },
}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
DONE = [chunk(text("Done."), reason="STOP")]
BUSY = refusal("The model is overloaded.", code=503, status="UNAVAILABLE")

Answer = Callable[[GoogleRequest], Any]


class Google(GoogleServer):
    """Answers each chat from a script of its own, found by the first words of a person."""

    def __init__(self) -> None:
        super().__init__(self._next)
        self.scripts: dict[str, list[Any]] = {}
        self.asked: dict[str, list[GoogleRequest]] = {}

    def script(self, *answers: Any) -> str:
        """Return words that a chat has to begin with to be answered so."""
        words = f"Question {uuid4().hex[:12]}"
        self.scripts[words], self.asked[words] = list(answers), []
        return words

    def _next(self, request: GoogleRequest) -> Any:
        said = request.body["contents"][0]["parts"][-1].get("text", "")
        self.asked.setdefault(said, []).append(request)
        answer = self.scripts[said].pop(0) if said in self.scripts else DONE
        return answer(request) if callable(answer) else answer


@pytest.fixture(scope="module")
def google() -> Iterator[Google]:
    with Google() as server:
        yield server


@pytest.fixture(scope="module")
def models(product: Product, google: Google) -> dict[str, str]:
    searching = {"provider_options": {"google": {"web_search_enabled": True}}}
    rows = [
        {"model": "gemini-3-pro-preview", "options": searching},
        {"model": "gemini-2.5-pro", "options": searching},
        {"model": "gemma-3-27b-it"},
    ]
    made = product.add_models(
        *({"base_url": google.base_url, "kind": "google", **row} for row in rows)
    )
    return dict(zip(("new", "old", "gemma"), made, strict=True))


def finished(client: Client, chat_id: str) -> list[Any]:
    with client.follow(chat_id) as follower:
        follower.wait_for_status("waiting", "error")
        assert follower.status == "waiting", follower.errors
    return [each for each in client.messages(chat_id) if each["role"] == "assistant"]


def test_a_chat_with_tools_search_and_signatures_goes_on(
    client: Client, google: Google, models: dict[str, str]
) -> None:
    words = google.script(
        [
            chunk(text("Let me think.", thought=True)),
            chunk(search("x", call_id="s1", signature="s-1"), search_result(call_id="s1")),
            chunk(text("I look"), text(" it up.", signature="s-2")),
            chunk(call("find", {"q": "a"}, call_id="f.1", signature="s-3")),
            chunk(
                call("find", {"q": "b"}, call_id="f.2"),
                reason="STOP",
                usage=numbers(100, 20, thoughts=30, cached=40),
            ),
        ],
        [chunk(text("It ")), chunk(text("is.")), chunk(text("", signature="s-4"), reason="STOP")],
        DONE,
    )
    chat = client.create_chat(words, model=models["new"], tools=(TOOL,))
    with client.follow(chat["id"]) as follower:
        follower.wait_for_status("requires_action", "error")
        assert follower.errors == []
        first, second = (each["tool_call_id"] for each in follower.actions[-1])
        client.submit_results(chat["id"], {second: "B", first: "A"})
        follower.wait_for_answers(2)
    client.send(chat["id"], "Thanks.")
    asked, answered, _ = finished(client, chat["id"])
    assert text_of(asked, "reasoning") == "Let me think."
    assert (text_of(asked), text_of(answered)) == ("I look it up.", "It is.")
    usage = {name: asked["usage"][f"{name}_tokens"] for name in ("input", "output", "cache_read")}
    assert usage == {"input": 60, "output": 50, "cache_read": 40}
    assert google.refused == []
    contents = google.asked[words][-1].body["contents"]
    kinds = [[next(iter(part)) for part in each["parts"]] for each in contents]
    assert kinds[1:4] == [
        ["toolCall", "toolResponse", "text", "text", "functionCall", "functionCall"],
        ["functionResponse", "functionResponse"],
        ["text", "text"],
    ]


def test_sources_of_a_search_and_an_image_are_stored_and_the_chat_goes_on(
    client: Client, google: Google, models: dict[str, str]
) -> None:
    found = grounding("x", ("https://a.example/", "A"))
    words = google.script(
        [
            chunk(text("Here:"), image(PNG, signature="s-image")),
            chunk(text("Nice."), reason="STOP", groundingMetadata=found),
        ],
        DONE,
    )
    chat = client.create_chat(words, model=models["old"])
    (answer,) = finished(client, chat["id"])
    assert [part["type"] for part in answer["content"]] == [
        "text",
        "file",
        "text",
        "tool-call",
        "tool-result",
        "source",
    ]
    client.send(chat["id"], "Again.")
    finished(client, chat["id"])
    assert google.refused == []
    assert image(PNG, signature="s-image") in google.asked[words][-1].body["contents"][1]["parts"]


def test_an_interrupted_answer_is_taken_back(
    client: Client, google: Google, models: dict[str, str]
) -> None:
    gate = threading.Event()

    async def slowly(request: GoogleRequest) -> Any:
        yield chunk(text("hm", thought=True, signature="s-5"))
        yield chunk(text("Some"), text(" words", signature="s-6"))
        yield chunk(call("find", {"q": "a"}, call_id="f.3", signature="s-7"))
        await asyncio.to_thread(gate.wait, 30)

    words = google.script(slowly, DONE)
    chat = client.create_chat(words, model=models["new"], tools=(TOOL,))
    with client.follow(chat["id"]) as follower:
        follower.wait(lambda f: "tool-call" in str(f.events), "a call")
        client.interrupt(chat["id"])
        follower.wait_for_status("waiting")
    gate.set()
    client.send(chat["id"], "Go on.")
    finished(client, chat["id"])
    assert google.refused == []
    parts = google.asked[words][-1].body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["s-5", None, "s-6", "s-7"]


def test_failures_that_may_pass_are_tried_again(
    client: Client, google: Google, models: dict[str, str]
) -> None:
    begun = (chunk(text("Hal")),)
    words = google.script(
        Failure(status=503, body=BUSY),
        Failure(after=begun, body=BUSY),
        Failure(after=begun, body=BUSY, is_event=False),
        Failure(after=begun),
        DONE,
    )
    chat = client.create_chat(words, model=models["old"])
    (answer,) = finished(client, chat["id"])
    assert text_of(answer) == "Done."
    assert len(google.asked[words]) == 5


def test_gemma_answers_with_the_system_text_in_the_first_message(
    client: Client, google: Google, models: dict[str, str]
) -> None:
    chat = client.create_chat("Hi Gemma", model=models["gemma"])
    with client.follow(chat["id"]) as follower:
        follower.wait_for_status("waiting", "error")
    sent = [each for each in google.requests if each.model.startswith("gemma")]
    assert google.refused == []
    assert "systemInstruction" not in sent[0].body
    assert sent[0].body["contents"][0]["parts"][-1] == {"text": "Hi Gemma"}
