"""What Anthropic said comes back to it as it wants it, through everything that a chat does with it.

The servers refuse what the vendor refuses: pairs that are torn, signatures that changed, roles that
do not alternate, fields that nobody knows.
"""

import base64
import json

import pytest

from chatd.chats.models import Role
from chatd.chats.selectors import PromptRow
from chatd.chattest.anthropic import OVERLOADED, AnthropicServer, Refusal
from chatd.chattest.anthropic_wire import (
    FakeAnswer,
    citation,
    redacted,
    search,
    text,
    thinking,
    tool_use,
)
from chatd.chattest.bedrock import BedrockServer
from chatd.llm.client import complete, list_models, stream
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    AwsAccess,
    Finish,
    OutputSchema,
    Provider,
    ReasoningDelta,
    Request,
    TextBlock,
    TextDelta,
    ToolCallDelta,
    UserMessage,
)
from tests.support import prompts
from tests.support.conversing import Conversation

KEY = "sk-ant-of-the-tests"
ACCESS_KEY, SECRET = "AKIAOFTHETESTS", "secret/of+the=tests"
THINKING = {"anthropic": {"thinking": {"budget_tokens": 2000}}}
SEARCHING = {"anthropic": {"web_search_enabled": True, "effort": "high"}}
GREETING = FakeAnswer(content=[text("Hello.")])
PNG = b"\x89PNG\r\n\x1a\n0000"


def scripted(*answers):
    """Return a handler that gives these answers, one after the other."""
    left = list(answers)
    return lambda request: left.pop(0)


def anthropic(server, **fields):
    return Provider(kind="anthropic", base_url=server.base_url, api_key=KEY, **fields)


def bedrock(server):
    access = AwsAccess(region="eu-west-1", access_key=ACCESS_KEY, access_key_secret=SECRET)
    return Provider(kind="bedrock", base_url=server.base_url, aws=access)


@pytest.fixture(params=["anthropic", "bedrock"])
def host(request):
    """Both hosts of the models: how to make their server, and the provider that calls it."""
    if request.param == "anthropic":
        return lambda *answers: AnthropicServer(scripted(*answers), key=KEY), anthropic
    secrets = {ACCESS_KEY: SECRET}
    return lambda *answers: BedrockServer(scripted(*answers), secrets=secrets), bedrock


async def test_reasoning_calls_and_results_come_back_unchanged(host):
    serve, provider = host
    calls = FakeAnswer(
        content=[
            thinking("Two at once, I think."),
            redacted(),
            text("Let me see."),
            tool_use("find", query="a"),
            tool_use("add", a=1),
        ]
    )
    async with serve(calls, calls, GREETING, GREETING) as server:
        chat = Conversation(provider(server), max_output_tokens=9000, provider_options=THINKING)
        chat.ask(prompts.text("Do both."))
        for _ in range(2):
            chat.answer(await chat.step(), {"found": 3})
        await chat.step()
        chat.ask(prompts.text("Thanks."))
        await chat.step()
        assert server.refusals == []
        sent = server.requests[-1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant"] * 3 + ["user"]
    assert [block["type"] for block in sent[1]["content"]] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
        "tool_use",
    ]
    assert server.requests[1].body["thinking"] == {"type": "enabled", "budget_tokens": 2000}


async def test_a_search_and_its_citations_come_back_unchanged():
    found = search("towns", "https://a.example", "https://b.example")
    cited = text("A town.", citation("https://a.example"))
    failed = search("more", error="max_uses_exceeded")
    searched = FakeAnswer(content=[*found, text("I found "), cited, *failed, text(" Done.")])
    async with AnthropicServer(scripted(searched, GREETING), key=KEY) as server:
        chat = Conversation(anthropic(server), provider_options=SEARCHING)
        chat.ask(prompts.text("Search."))
        result = await chat.step()
        chat.ask(prompts.text("Thanks."))
        await chat.step()
        assert server.refusals == []
        [first, second] = [request.body for request in server.requests]
    assert result.calls == []
    assert [part["url"] for part in result.content if part["type"] == "source"] == [
        "https://a.example",
        "https://b.example",
    ]
    assert first["tools"][-1] == {"type": "web_search_20250305", "name": "web_search"}
    came_back = second["messages"][1]["content"]
    assert came_back[2:4] == [text("I found "), cited]
    assert [block["type"] for block in came_back[:2]] == [block["type"] for block in found]
    error = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    assert came_back[5]["content"] == error


@pytest.mark.parametrize(
    "moment", [(TextDelta,), (ReasoningDelta,), (ToolCallDelta,)], ids=lambda each: each[0].__name__
)
async def test_after_an_interrupt_the_history_is_still_taken(host, moment):
    serve, provider = host
    said = FakeAnswer(
        content=[thinking("Hm, a search it is."), text("Let me see."), tool_use("find", query="a")]
    )
    async with serve(said, GREETING) as server:
        chat = Conversation(provider(server), max_output_tokens=9000, provider_options=THINKING)
        chat.ask(prompts.text("Go."))
        await chat.interrupted(*moment)
        chat.ask(prompts.text("And now?"))
        await chat.step()
        assert server.refusals == []


async def test_an_interrupted_search_leaves_nothing_that_is_refused():
    said = FakeAnswer(content=[thinking("Hm."), *search("towns", "https://a.example"), text("So.")])
    async with AnthropicServer(scripted(said, GREETING), key=KEY) as server:
        chat = Conversation(anthropic(server), provider_options=SEARCHING)
        chat.ask(prompts.text("Go."))
        await chat.interrupted(ToolCallDelta)
        chat.ask(prompts.text("And now?"))
        await chat.step()
        assert server.refusals == []


async def test_a_search_that_was_paused_is_stored_and_sent_without_its_open_call():
    paused = FakeAnswer(content=[text("Wait."), search("x", "u")[0]], stop_reason="pause_turn")
    async with AnthropicServer(scripted(paused, GREETING), key=KEY) as server:
        chat = Conversation(anthropic(server), provider_options=SEARCHING)
        chat.ask(prompts.text("Go."))
        await chat.step()
        assert [part["type"] for part in chat.rows[-1].content] == ["text"]
        chat.ask(prompts.text("And now?"))
        await chat.step()
        assert server.refusals == []


async def test_calls_that_were_cut_by_the_length_are_answered_for():
    cut = FakeAnswer(content=[tool_use("find", query="a")], stop_reason="max_tokens")
    async with AnthropicServer(scripted(cut, GREETING), key=KEY) as server:
        chat = Conversation(anthropic(server))
        chat.ask(prompts.text("Go."))
        await chat.step()
        chat.ask(prompts.text("And now?"))
        await chat.step()
        assert server.refusals == []
        [result, _] = server.requests[-1].body["messages"][-1]["content"]
        assert result["is_error"] is True


async def test_pictures_documents_and_media_of_tools_are_taken(host):
    serve, provider = host
    pdf = {"type": "file", "media_type": "application/pdf", "data": "JVBERi0=", "name": "a.pdf"}
    image = {"type": "file", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    media = {"data": base64.b64encode(PNG).decode(), "mime_type": "image/png", "text": ""}
    async with serve(FakeAnswer(content=[tool_use("find")]), GREETING) as server:
        chat = Conversation(provider(server))
        chat.ask(prompts.text("See."), pdf, image)
        chat.answer(await chat.step(), media, is_media=True)
        await chat.step()
        assert server.refusals == []
        messages = server.requests[-1].body["messages"]
    assert [block["type"] for block in messages[0]["content"]] == ["text", "document", "image"]
    assert messages[0]["content"][1]["title"] == "a.pdf"
    assert [block["type"] for block in messages[2]["content"][0]["content"]] == ["image"]


async def test_a_history_of_other_providers_is_taken(host):
    serve, provider = host
    foreign = {"openai": {"item_id": "rs_1", "reasoning_encrypted_content": "x"}}
    async with serve(GREETING) as server:
        chat = Conversation(provider(server), provider_options=THINKING, max_output_tokens=9000)
        for _ in range(2):
            chat.ask(prompts.text("Go."))
            chat.rows += [
                PromptRow(
                    0,
                    Role.ASSISTANT,
                    [
                        prompts.reasoning("hm", provider_metadata=foreign),
                        prompts.call("ws_1", "web_search", provider_executed=True),
                        prompts.result("ws_1", {}, provider_executed=True),
                        prompts.text(" "),
                        prompts.text("Let me."),
                        prompts.call("call_0", "odd name!", args={"a": 1}),
                    ],
                ),
                PromptRow(0, Role.TOOL, [prompts.result("call_0", "")]),
            ]
        await chat.step()
        assert server.refusals == []
        body = server.requests[0].body
    assert "thinking" not in body  # the calls were made without any
    ids = [b["id"] for m in body["messages"] for b in m["content"] if b["type"] == "tool_use"]
    assert ids == ["call_0", "call_0_2"]


async def test_a_search_of_anthropics_does_not_go_to_bedrock():
    searched = FakeAnswer(
        content=[*search("towns", "https://a.example"), text("A.", citation("https://a.example"))]
    )
    async with (
        AnthropicServer(scripted(searched), key=KEY) as first,
        BedrockServer(scripted(GREETING), secrets={ACCESS_KEY: SECRET}) as second,
    ):
        chat = Conversation(anthropic(first), provider_options=SEARCHING)
        chat.ask(prompts.text("Search."))
        await chat.step()
        chat.provider = bedrock(second)
        chat.ask(prompts.text("Thanks."))
        await chat.step()
        assert second.refusals == []
        assert second.requests[0].body["messages"][1]["content"] == [text("A.")]


async def test_a_call_without_tools_may_have_calls_in_its_history(host):
    serve, provider = host
    async with serve(FakeAnswer(content=[tool_use("find")]), GREETING) as server:
        chat = Conversation(provider(server))
        chat.ask(prompts.text("Go."))
        chat.answer(await chat.step())
        chat.parameters["tools"] = ()
        assert (await complete(chat.request(), chat.provider, seconds=60)).text == "Hello."
        assert server.refusals == []


async def test_an_answer_in_a_form_is_the_call_of_a_tool(host):
    serve, provider = host
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    request = Request(
        model="claude-haiku-4-5",
        messages=(UserMessage(blocks=(TextBlock(text="Hi"),)),),
        output=OutputSchema(name="propose_title", schema=schema),
        provider_options=THINKING | {},
    )
    async with serve() as server:
        answer = await complete(request, provider(server), seconds=60)
        [sent] = server.side_requests
    assert json.loads(answer.text) == {"title": "A title of the fake"}
    assert sent.body["tool_choice"] == {"type": "tool", "name": "propose_title"}
    assert "thinking" not in sent.body


async def test_the_models_are_listed_with_any_form_of_the_address():
    async with AnthropicServer(scripted(), key=KEY) as server:
        for address in (server.base_url, f"{server.base_url}/v1", f"{server.base_url}/v1/"):
            provider = Provider(kind="anthropic", base_url=address, api_key=KEY)
            assert await list_models(provider, seconds=60) == ["claude-sonnet-4-5", "claude-x"]


@pytest.mark.parametrize(
    ("said", "kind", "retryable"),
    [
        (OVERLOADED, ErrorKind.OVERLOADED, True),
        (
            Refusal(
                status=429,
                type="rate_limit_error",
                message="This request would exceed your organization's rate limit",
                headers={"retry-after": "17"},
            ),
            ErrorKind.RATE_LIMIT,
            True,
        ),
        (Refusal(status=500, type="api_error", message="Internal"), ErrorKind.GENERIC, True),
        (
            Refusal(
                status=400,
                type="invalid_request_error",
                message="Your credit balance is too low to access the Anthropic API. Please go to"
                " Plans & Billing to upgrade or purchase credits.",
            ),
            ErrorKind.USAGE_LIMIT,
            False,
        ),
        (
            Refusal(status=404, type="not_found_error", message="model: claude-x"),
            ErrorKind.GENERIC,
            False,
        ),
        (FakeAnswer(error=("overloaded_error", "Overloaded")), ErrorKind.OVERLOADED, True),
        (FakeAnswer(error=("api_error", "Internal server error")), ErrorKind.GENERIC, True),
        (FakeAnswer(error=("rate_limit_error", "Slow down")), ErrorKind.RATE_LIMIT, True),
        (FakeAnswer(content=[text("Hel")], cut_after=4), ErrorKind.TIMEOUT, True),
        (FakeAnswer(content=[text("Hel")], hang=True), ErrorKind.STARTUP_TIMEOUT, True),
    ],
    ids=str,
)
async def test_failures_are_what_they_are(said, kind, retryable):
    """Types and statuses: https://platform.claude.com/docs/en/api/errors"""
    async with AnthropicServer(scripted(said), key=KEY) as server:
        chat = Conversation(anthropic(server))
        chat.ask(prompts.text("Go."))
        patience = 0.4 if kind is ErrorKind.STARTUP_TIMEOUT else 60
        with pytest.raises(LLMError) as caught:
            async for _ in stream(chat.request(), chat.provider, silence_seconds=patience):
                pass
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)
    if kind is ErrorKind.RATE_LIMIT and isinstance(said, Refusal):
        assert caught.value.retry_after_seconds == 17


async def test_a_wrong_key_is_an_authentication_error_that_hides_it():
    async with AnthropicServer(scripted(GREETING), key="another") as server:
        chat = Conversation(anthropic(server))
        chat.ask(prompts.text("Go."))
        with pytest.raises(LLMError) as caught:
            await anext(stream(chat.request(), chat.provider))
    assert caught.value.kind is ErrorKind.AUTH
    assert caught.value.message == (
        "Authentication with Anthropic failed. Check the API key and permissions."
    )


@pytest.mark.parametrize(
    ("kind_of_exception", "kind", "retryable"),
    [
        ("throttlingException", ErrorKind.RATE_LIMIT, True),
        ("internalServerException", ErrorKind.GENERIC, True),
        ("modelStreamErrorException", ErrorKind.GENERIC, True),
        ("modelTimeoutException", ErrorKind.TIMEOUT, True),
        ("serviceUnavailableException", ErrorKind.TIMEOUT, True),
        ("validationException", ErrorKind.GENERIC, False),
    ],
)
async def test_exceptions_in_a_stream_of_bedrock_are_what_they_are(
    kind_of_exception, kind, retryable
):
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ResponseStream.html"""
    said = FakeAnswer(content=[text("Hel")], error=(kind_of_exception, "Please wait a moment."))
    async with BedrockServer(scripted(said), secrets={ACCESS_KEY: SECRET}) as server:
        chat = Conversation(bedrock(server))
        chat.ask(prompts.text("Go."))
        with pytest.raises(LLMError) as caught:
            async for _ in stream(chat.request(), chat.provider):
                pass
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)
    assert caught.value.detail == "Please wait a moment."


async def test_a_signature_is_checked_by_somebody_else():
    async with BedrockServer(scripted(GREETING, GREETING), secrets={ACCESS_KEY: SECRET}) as server:
        access = AwsAccess(region="eu-west-1", access_key=ACCESS_KEY, access_key_secret=SECRET)
        for model, asked in (
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", "eu.anthropic"),
            ("arn:aws:bedrock:eu-west-1:1:inference-profile/a b", "arn:aws"),
        ):
            provider = Provider(kind="anthropic", base_url=server.base_url, aws=access)
            chat = Conversation(provider, model=model)
            chat.ask(prompts.text("Go."))
            await chat.step()
            assert server.models[-1].startswith(asked)
        assert server.regions == ["eu-west-1", "eu-west-1"]
        wrong = AwsAccess(region="eu-west-1", access_key=ACCESS_KEY, access_key_secret="wrong")
        chat.provider = Provider(kind="bedrock", base_url=server.base_url, aws=wrong)
        with pytest.raises(LLMError) as caught:
            await anext(stream(chat.request(), chat.provider))
    assert caught.value.kind is ErrorKind.AUTH
    assert "does not match" in caught.value.detail


async def test_a_key_of_bedrock_is_a_bearer_and_goes_before_credentials():
    async with BedrockServer(scripted(GREETING), key=KEY) as server:
        access = AwsAccess(region="us-west-2", access_key=ACCESS_KEY, access_key_secret=SECRET)
        provider = Provider(kind="bedrock", base_url=server.base_url, api_key=KEY, aws=access)
        chat = Conversation(provider, model="anthropic.claude-x")
        chat.ask(prompts.text("Go."))
        await chat.step()
        assert server.models == ["us.anthropic.claude-x"]


async def test_the_last_event_of_a_good_answer_is_its_finish(host):
    serve, provider = host
    usage = {
        "input_tokens": 4,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 20,
    }
    said = FakeAnswer(content=[text("Hi.")], usage=usage, output_tokens=6)
    async with serve(said) as server:
        chat = Conversation(provider(server))
        chat.ask(prompts.text("Go."))
        events = [event async for event in stream(chat.request(), chat.provider)]
    finish = events[-1]
    assert isinstance(finish, Finish)
    tokens = finish.usage
    assert (tokens.input, tokens.output, tokens.total) == (4, 6, 10)
    assert (tokens.cache_read, tokens.cache_write) == (30, 20)
