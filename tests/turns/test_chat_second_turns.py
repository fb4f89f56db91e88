"""Histories of every kind, sent to a server that is as strict as OpenAI's chat/completions."""

import base64
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatd.chats.models import Role
from chatd.chats.selectors import PromptRow
from chatd.chattest.openai import (
    OpenAIChunk,
    OpenAIServer,
    finish_chunk,
    streaming_response,
    text_chunks,
    tool_call_chunk,
    usage_chunk,
)
from chatd.chattest.openai_rules import strictly
from chatd.llm.types import Provider, TextDelta, ToolCallDelta
from tests.support.conversing import Conversation
from tests.support.prompts import call, reasoning, result, text

PNG = base64.b64encode(b"\x89PNG").decode()
PLAIN: dict[str, Any] = {}
DETAILS = ("reasoning_details", "reasoning")
KINDS: dict[str, dict[str, Any]] = {
    "openai": PLAIN,
    "azure": PLAIN,
    "openai-compat": {"answer_fields": (*DETAILS, "reasoning_content")},
    "openrouter": {"body_fields": ("usage",), "answer_fields": DETAILS},
    "vercel": {"answer_fields": DETAILS},
}
"""Kinds of provider on this wire, and what their servers take beside what OpenAI's does."""

FOREIGN = [
    reasoning("signed", provider_metadata={"anthropic": {"signature": "c2ln"}}),
    reasoning("", provider_metadata={"openai": {"item_id": "rs_1", "encrypted_content": "g"}}),
    text("Signed words.", provider_metadata={"google": {"thought_signature": "c2ln"}}),
    call("srv", "web_search", provider_executed=True, args={"query": "q"}),
    result("srv", [{"url": "https://a"}], provider_executed=True),
    {"type": "source", "url": "https://a"},
    {"type": "file", "media_type": "image/png", "data": PNG},
]


def provider(kind: str, url: str) -> Provider:
    return Provider(kind=kind, base_url=url, api_key="k")


def chat(kind: str, url: str, model: str = "our-model") -> Conversation:
    return Conversation(provider(kind, url), model=model)


def answers(*scripts: Any) -> Any:
    """Answer the first request with the first script, and so on; then with words."""
    left = list(scripts)
    return lambda request: (
        left.pop(0) if left else streaming_response(*text_chunks("So."), finish())
    )


def finish(reason: str = "stop") -> OpenAIChunk:
    return finish_chunk(reason)


def two_calls() -> Any:
    return streaming_response(
        *text_chunks("I look."),
        tool_call_chunk("find", '{"q":1}', call_id="call_1", index=0),
        tool_call_chunk("add", "{}", call_id="call_2", index=1),
        finish("tool_calls"),
        usage_chunk(1, 1),
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_results_and_pictures_are_taken_back(kind: str) -> None:
    async with OpenAIServer(strictly(answers(two_calls()), **KINDS[kind])) as server:
        talk = chat(kind, server.base_url)
        talk.ask(text("See."), {"type": "file", "media_type": "image/png", "data": PNG})
        talk.answer(await talk.step(), {"found": [1]})
        await talk.step()
        talk.ask(text("And now?"))
        assert (await talk.step()).content[0]["text"] == "So."
    assert len(server.requests) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_reasoning_of_ones_own_is_taken_back_with_its_calls(kind: str) -> None:
    details = [{"type": "reasoning.text", "text": "hm", "signature": "c2ln", "index": 0}]
    thought = {
        "choices": [{"index": 0, "delta": {"reasoning": "hm", "reasoning_details": details}}]
    }
    script = streaming_response(
        thought, tool_call_chunk("find", "{}", call_id="c"), finish("tool_calls")
    )
    async with OpenAIServer(strictly(answers(script), **KINDS[kind])) as server:
        talk = chat(kind, server.base_url)
        talk.ask(text("Think."))
        talk.answer(await talk.step())
        await talk.step()
    message = server.requests[1].body["messages"][2]
    assert message.get("reasoning_details") == (details if KINDS[kind] else None)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_other_providers_left_is_no_hindrance(kind: str) -> None:
    async with OpenAIServer(strictly(answers(), **KINDS[kind])) as server:
        talk = chat(kind, server.base_url)
        talk.ask(text("Search."))
        talk.rows += [
            PromptRow(0, Role.ASSISTANT, [*FOREIGN, call("toolu." + "x" * 60, args={"a": 1})]),
            PromptRow(0, Role.TOOL, [result("toolu." + "x" * 60, "found")]),
        ]
        talk.ask(text("And now?"))
        await talk.step()
    (request,) = server.requests
    assert "anthropic" not in str(request.body)
    assert "encrypted" not in str(request.body)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [TextDelta, ToolCallDelta])
async def test_an_interrupted_step_is_taken_back(kind: str, last: type) -> None:
    async with OpenAIServer(strictly(answers(two_calls()), **KINDS[kind])) as server:
        talk = chat(kind, server.base_url)
        talk.ask(text("Go."))
        await talk.interrupted(last)
        talk.ask(text("Once more."))
        await talk.step()
    assert len(server.requests) == 2


@pytest.mark.parametrize("model", ["gpt-5-of-ours", "o3-of-ours", "our-model"])
async def test_models_that_reason_are_sent_the_parameters_they_take(model: str) -> None:
    async with OpenAIServer(strictly(answers())) as server:
        talk = Conversation(
            provider("openai", server.base_url),
            model=model,
            max_output_tokens=100,
            temperature=0.5,
            top_p=0.5,
            presence_penalty=0.1,
            frequency_penalty=0.1,
            provider_options={"openai": {"logit_bias": {"1": 2}, "reasoning_effort": "low"}},
        )
        talk.ask(text("Go."))
        await talk.step()
    assert len(server.requests) == 1


PARTS = st.sampled_from(
    [*FOREIGN, text("a"), text(""), call("c1"), call("c2"), call("c1", "other")]
)
ROWS = st.lists(
    st.one_of(
        st.tuples(st.just(Role.USER), st.lists(st.just(text("q")), max_size=2)),
        st.tuples(st.just(Role.ASSISTANT), st.lists(PARTS, max_size=5)),
        st.tuples(
            st.just(Role.TOOL),
            st.lists(st.sampled_from([result("c1", 1), result("c2", {}), result("c9", "x")])),
        ),
    ),
    max_size=8,
)


@given(rows=ROWS, kind=st.sampled_from(sorted(KINDS)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
async def test_whatever_stands_in_a_history_is_taken(rows: Any, kind: str) -> None:
    async with OpenAIServer(strictly(answers(), **KINDS[kind])) as server:
        talk = chat(kind, server.base_url)
        talk.rows += [PromptRow(0, role, list(parts)) for role, parts in rows]
        talk.ask(text("And now?"))
        await talk.step()


REFUSED: list[dict[str, Any]] = [
    {"mystery": 1},
    {"messages": []},
    {"messages": [{"role": "user", "content": None}]},
    {"messages": [{"role": "user", "content": "a", "x": 1}]},
    {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}]},
    {"messages": [{"role": "tool", "content": "a", "tool_call_id": "c"}]},
    {"messages": [{"role": "poet", "content": "a"}]},
    {"model": "gpt-5", "max_tokens": 1},
    {"model": "o3", "temperature": 1},
    {"max_tokens": 1, "max_completion_tokens": 1},
    {"tools": [{"type": "function", "function": {"name": "a b"}}]},
]


def calling(**changes: Any) -> dict[str, Any]:
    made = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, **changes}
    return {"role": "assistant", "content": None, "tool_calls": [made]}


def told(call_id: str = "c") -> dict[str, Any]:
    return {"role": "tool", "content": "1", "tool_call_id": call_id}


USER = {"role": "user", "content": "a"}
REFUSED += [
    {"messages": [calling()]},
    {"messages": [calling(), USER]},
    {"messages": [calling(), told("d")]},
    {"messages": [calling(), told(), told()]},
    {"messages": [calling(id="x" * 41), told("x" * 41)]},
    {"messages": [calling(function={"name": "a b", "arguments": "{}"}), told()]},
    {"messages": [calling(function={"name": "f", "arguments": "["}), told()]},
]


@pytest.mark.parametrize("changes", REFUSED, ids=str)
async def test_the_server_is_strict(changes: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [USER], "stream": True, **changes}
    async with OpenAIServer(strictly(answers())) as server:
        status, refusal = await posted(server.base_url, body)
    assert (status, refusal["error"]["type"]) == (400, "invalid_request_error")


async def posted(url: str, body: Any) -> tuple[int, Any]:
    path = f"{url}/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(path, json=body) as answer:
        return answer.status, await answer.json()
