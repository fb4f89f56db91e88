"""What Google said, stored and sent back to a server that is as strict as Google.

Each answer goes through the form that messages are stored in, and through the prompt made of it.
"""

import base64
import json
from typing import Any

import pytest

from chatd.chats.models import Role
from chatd.chats.partial import Partial, partial_messages
from chatd.chats.selectors import PromptRow
from chatd.chattest.google import Failure, GoogleRequest, GoogleServer, refusal
from chatd.chattest.google_wire import (
    call,
    chunk,
    grounding,
    image,
    search,
    search_result,
    text,
)
from chatd.live.messages import StreamedPart
from chatd.llm.client import complete, list_models, stream
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Event,
    Finish,
    FinishReason,
    OutputSchema,
    Provider,
    Request,
    SystemMessage,
    TextDelta,
    ToolSpec,
)
from chatd.llm.wires.gemini.signatures import SKIP_SIGNATURE
from chatd.turns.prompt import prompt_from
from chatd.turns.step import StepCollector
from tests.support.prompts import result, row
from tests.support.prompts import text as text_part

NEW, OLD = "gemini-3-pro-preview", "gemini-2.5-flash"
PNG = base64.b64encode(b"\x89PNG").decode()
FIND = ToolSpec(
    name="find",
    description="Finds.",
    parameters={
        "type": "object",
        "properties": {"q": {"type": ["string", "null"], "format": "uri"}},
        "additionalProperties": False,
    },
)
ANSWER = [chunk(text("Done."), reason="STOP")]


class Writer:
    """Takes the place of a part log; remembers what was streamed."""

    def __init__(self) -> None:
        self.streamed: list[StreamedPart] = []

    def add(self, role: str, part: dict[str, Any]) -> None:
        self.streamed.append(StreamedPart(role=role, part=part))

    def end_block(self, role: str, metadata: Any = None) -> None:
        last = self.streamed[-1]
        self.streamed[-1] = StreamedPart(
            role=last.role, part=last.part, is_last=True, metadata=metadata
        )


class Conversation:
    """A chat of one model with a server that answers with one script after the other."""

    def __init__(self, model: str, *script: Any, **section: Any) -> None:
        self.script = list(script)
        self.rows: list[PromptRow] = [row(Role.SYSTEM, text_part("Be kind."))]
        self.writer = Writer()
        self._model, self._section = model, section
        self.server = GoogleServer(lambda request: self.script.pop(0))

    async def __aenter__(self) -> "Conversation":
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *caught: Any) -> None:
        await self.server.__aexit__(*caught)

    @property
    def sent(self) -> list[Any]:
        """Return the contents of the last request."""
        return list(self.server.requests[-1].body["contents"])

    def say(self, words: str) -> None:
        self.rows.append(row(Role.USER, text_part(words)))

    def tell(self, *results: dict[str, Any]) -> None:
        self.rows += [row(Role.TOOL, each) for each in results]

    def request(self, *tools: ToolSpec) -> Request:
        return Request(
            model=self._model,
            messages=prompt_from(self.rows, {}),
            tools=tools,
            provider_options={"google": self._section},
        )

    async def go(self, *tools: ToolSpec, cut: int | None = None) -> list[dict[str, Any]]:
        """Have the model answer; `cut` is after how many events a person interrupts it."""
        self.writer = Writer()
        collector = StepCollector(self.writer, context_limit=1000)  # type: ignore[arg-type]
        events = [event async for event in stream(self.request(*tools), target(self.server))]
        for event in events[:cut]:
            collector.add(event)
        if cut is None:
            content = json.loads(json.dumps(collector.result().content))
            self.rows.append(row(Role.ASSISTANT, *content))
            return list(content)
        partial = Partial(None, tuple(self.writer.streamed))
        for message in partial_messages(partial, model_config_id=None):
            self.rows.append(row(message.role, *message.content))
        return []


def target(server: GoogleServer) -> Provider:
    return Provider(kind="google", base_url=server.base_url, api_key="k")


def ids(content: list[dict[str, Any]]) -> list[str]:
    return [part["tool_call_id"] for part in content if part["type"] == "tool-call"]


async def test_signed_thoughts_parallel_calls_and_text_come_back_as_they_were() -> None:
    first = [
        chunk(text("Let me think.", thought=True)),
        chunk(text("I look", signature="sig-text"), text(" it up.")),
        chunk(call("find", {"q": "a"}, call_id="fc.1", signature="sig-call")),
        chunk(call("find", {"q": "b"}, call_id="fc.2"), reason="STOP"),
    ]
    second = [
        chunk(call("find", {}, call_id="fc.3", signature="sig-again"), reason="STOP"),
    ]
    last = [chunk(text("It ")), chunk(text("is.")), chunk(text("", signature="s"), reason="STOP")]
    async with Conversation(NEW, first, second, last, ANSWER, include_thoughts=True) as chat:
        chat.say("Where?")
        one, two = ids(await chat.go(FIND))
        chat.tell(result(two, {"b": 1}), result(one, "a"))
        (three,) = ids(await chat.go(FIND))
        chat.tell(result(three, {"error": "gone"}, is_error=True))
        stored = await chat.go(FIND)
        assert [part["text"] for part in stored] == ["It is."]
        chat.say("Thanks.")
        await chat.go(FIND)
        assert chat.server.refused == []
        assert [len(content["parts"]) for content in chat.sent] == [1, 4, 2, 1, 1, 2, 1]
        assert chat.sent[5]["parts"] == [{"text": "It is."}, {"text": "", "thoughtSignature": "s"}]
        assert chat.sent[2]["parts"][0]["functionResponse"]["id"] == "fc.1"


async def test_calls_without_ids_come_back_in_their_order() -> None:
    first = [chunk(call("find", {"q": "a"}, signature="s"), call("now", {}), reason="STOP")]
    async with Conversation(OLD, first, ANSWER) as chat:
        chat.say("Where?")
        one, two = ids(await chat.go(FIND))
        chat.tell(result(one, "1"), result(two, "2", tool_name="now"))
        await chat.go(FIND)
        assert chat.server.refused == []
        responses = [part["functionResponse"] for part in chat.sent[-1]["parts"]]
        assert [(each["name"], each["response"]) for each in responses] == [
            ("find", {"result": "1"}),
            ("now", {"result": "2"}),
        ]


@pytest.mark.parametrize("model", [NEW, OLD])
async def test_images_of_tools_and_of_the_model_come_back(model: str) -> None:
    drawn = [chunk(image(PNG, signature="sig-image")), chunk(text("Like this."), reason="STOP")]
    looked = [chunk(call("find", {}, call_id="c", signature="s"), reason="STOP")]
    async with Conversation(model, drawn, looked, ANSWER) as chat:
        chat.say("Draw.")
        await chat.go(FIND)
        chat.say("And look.")
        (call_id,) = ids(await chat.go(FIND))
        media = {"data": PNG, "mime_type": "image/png", "text": "seen"}
        chat.tell(result(call_id, media, is_media=True))
        await chat.go(FIND)
        assert chat.server.refused == []
        assert chat.sent[1]["parts"][0] == image(PNG, signature="sig-image")
        assert PNG in json.dumps(chat.sent[-1])


async def test_searches_of_googles_own_beside_functions_come_back() -> None:
    first = [
        chunk(search("x", call_id="s1", signature="a"), search_result(call_id="s1", signature="b")),
        chunk(call("find", {"q": "a"}, call_id="c1", signature="c"), reason="STOP"),
    ]
    async with Conversation(NEW, first, ANSWER, web_search_enabled=True) as chat:
        chat.say("Where?")
        content = await chat.go(FIND)
        assert [part.get("provider_executed") for part in content] == [True, True, None]
        chat.tell(result("c1", "a"))
        await chat.go(FIND)
        assert chat.server.refused == []
        assert [next(iter(part)) for part in chat.sent[1]["parts"]] == [
            "toolCall",
            "toolResponse",
            "functionCall",
        ]


async def test_a_grounded_answer_is_stored_with_its_sources_and_comes_back_as_text() -> None:
    found = grounding("x", ("https://a", "A"))
    first = [chunk(text("It is.")), chunk(reason="STOP", groundingMetadata=found)]
    async with Conversation(OLD, first, ANSWER, web_search_enabled=True) as chat:
        chat.say("Where?")
        content = await chat.go()
        assert [part["type"] for part in content] == ["text", "tool-call", "tool-result", "source"]
        chat.say("Sure?")
        await chat.go()
        assert chat.server.refused == []
        assert chat.sent[1]["parts"] == [{"text": "It is."}]


@pytest.mark.parametrize("model", [NEW, OLD])
async def test_an_answer_that_was_interrupted_anywhere_comes_back(model: str) -> None:
    first = [
        chunk(text("Let me think.", thought=True, signature="s0")),
        chunk(text("I look"), text(" it up.", signature="s1")),
        chunk(search("x", call_id="w1", signature="s2")),
        chunk(search_result(call_id="w1", signature="s3")),
        chunk(call("find", {"q": "a"}, call_id="c1", signature="s4")),
        chunk(call("find", {"q": "b"}, call_id="c2"), reason="STOP"),
    ]
    for cut in range(1, 15):
        async with Conversation(model, first, ANSWER) as chat:
            chat.say("Where?")
            await chat.go(FIND, cut=cut)
            chat.say("Go on.")
            await chat.go(FIND)
            assert chat.server.refused == [], cut


async def test_what_other_providers_said_is_taken() -> None:
    foreign = [
        {"type": "reasoning", "text": "", "provider_metadata": {"anthropic": {"signature": "x"}}},
        {"type": "reasoning", "text": "hm", "provider_metadata": {"openai": {"item_id": "rs"}}},
        text_part("I look.", provider_metadata={"openai": {"item_id": "m"}}),
        {
            "type": "tool-call",
            "tool_call_id": "w",
            "tool_name": "web_search",
            "provider_executed": True,
            "args": {},
        },
        result("w", {"a": 1}, provider_executed=True, provider_metadata={"anthropic": {"x": 1}}),
        {
            "type": "tool-call",
            "tool_call_id": "call.1/x",
            "tool_name": "made up!",
            "args": {"q": 1},
        },
    ]
    async with Conversation(NEW, ANSWER) as chat:
        chat.say("Where?")
        chat.rows.append(row(Role.ASSISTANT, *foreign))
        chat.tell(result("call.1/x", "a", tool_name="made up!"), result("orphan", "b"))
        await chat.go(FIND)
        assert chat.server.refused == []
        signatures = [
            part.get("thoughtSignature")
            for content in chat.sent
            for part in content["parts"]
            if "functionCall" in part
        ]
        assert set(signatures) == {SKIP_SIGNATURE}


async def test_gemma_is_told_the_system_text_by_the_first_person() -> None:
    async with Conversation("gemma-3-27b-it", ANSWER, ANSWER) as chat:
        chat.say("Hi")
        await chat.go()
        chat.say("Again")
        await chat.go()
        assert chat.server.refused == []
        assert chat.sent[0]["parts"] == [{"text": "Be kind."}, {"text": "Hi"}]


# Whole answers, the list of models


async def test_a_whole_answer_and_the_models_of_the_strict_server() -> None:
    output = OutputSchema(
        name="title",
        schema={
            "type": "object",
            "properties": {"title": {"type": "string", "maxLength": 9}},
            "additionalProperties": False,
        },
    )
    async with GoogleServer(lambda request: ANSWER, models=("a", "b")) as server:
        request = Request(
            model=OLD, messages=prompt_from([row(Role.USER, text_part("Hi"))], {}), output=output
        )
        answer = await complete(request, target(server), seconds=5)
        assert json.loads(answer.text)["title"] == "A title of the fake"
        assert server.refused == []
        assert await list_models(target(server), seconds=5) == ["a", "b"]


# Ways to fail


async def said(given: Any, **fields: Any) -> tuple[list[Event], LLMError | None]:
    request = Request(model=OLD, messages=prompt_from([row(Role.USER, text_part("Hi"))], {}))
    events: list[Event] = []
    async with GoogleServer(lambda asked: given) as server:
        try:
            async for event in stream(request, target(server), **fields):
                events += [event]
        except LLMError as error:
            return events, error
    return events, None


BUSY = refusal("The model is overloaded. Please try again later.", code=503, status="UNAVAILABLE")
SLOW = refusal("Resource exhausted.", code=429, status="RESOURCE_EXHAUSTED")
BEGUN = (chunk(text("Hal")),)


@pytest.mark.parametrize(
    ("failure", "kind", "seconds"),
    [
        (Failure(status=503, body=BUSY), ErrorKind.OVERLOADED, None),
        (Failure(status=429, body=SLOW, headers={"Retry-After": "7"}), ErrorKind.RATE_LIMIT, 7.0),
        (Failure(after=BEGUN, body=BUSY), ErrorKind.OVERLOADED, None),
        (Failure(after=BEGUN, body=BUSY, is_event=False), ErrorKind.OVERLOADED, None),
        (Failure(after=BEGUN), ErrorKind.TIMEOUT, None),
    ],
)
async def test_failures_that_may_pass_are_worth_another_try(
    failure: Failure, kind: ErrorKind, seconds: float | None
) -> None:
    events, error = await said(failure)
    assert error is not None
    assert (error.kind, error.retryable) == (kind, True)
    assert error.retry_after_seconds == seconds
    assert events == [TextDelta(text="Hal")] * len(failure.after)


async def test_a_server_that_falls_silent_is_left_alone() -> None:
    _, error = await said(Failure(after=BEGUN, hangs=True), silence_seconds=0.3)
    assert error is not None
    assert error.kind is ErrorKind.STARTUP_TIMEOUT


async def test_an_answer_whose_connection_stays_open_is_whole_all_the_same() -> None:
    whole = (chunk(text("Hi"), reason="STOP"),)
    events, error = await said(Failure(after=whole, hangs=True), silence_seconds=1)
    assert error is None
    finish = events[-1]
    assert isinstance(finish, Finish)
    assert finish.reason is FinishReason.STOP


async def test_a_request_without_a_key_is_refused() -> None:
    async with GoogleServer(lambda asked: ANSWER) as server:
        nobody = Provider(kind="google", base_url=server.base_url)
        request = Request(model=OLD, messages=(SystemMessage(text="x"),))
        with pytest.raises(LLMError) as caught:
            await anext(stream(request, nobody))
    assert (caught.value.kind, caught.value.status_code) == (ErrorKind.AUTH, 403)


async def test_what_the_strict_server_refuses_is_told_in_its_words() -> None:
    def handler(request: GoogleRequest) -> Any:
        return ANSWER

    async with GoogleServer(handler) as server:
        request = Request(model=OLD, messages=())
        with pytest.raises(LLMError) as caught:
            await anext(stream(request, target(server)))
    assert caught.value.detail == "* GenerateContentRequest.contents: contents is not specified"
