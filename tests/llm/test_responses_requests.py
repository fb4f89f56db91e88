"""Requests of the Responses wire: which models take it, where they go, and what is sent."""

import base64
import json
from typing import Any

import pytest

from chatd.chattest.replay import load_recording
from chatd.llm.providers import Wire
from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
    Message,
    OutputSchema,
    Provider,
    ReasoningBlock,
    Request,
    SystemMessage,
    TextBlock,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    ToolSpec,
    UserMessage,
)
from chatd.llm.wires.choice import codec_for, wire_of
from chatd.llm.wires.responses.models import FAMILIES, is_reasoning_model
from chatd.llm.wires.responses.request import encode
from chatd.llm.wires.target import target_of
from tests.support.recordings import MISSING, RESPONSES_FILES

OPENAI = Provider(kind="openai", base_url="", api_key="k")
KEPT = {"openai": {}}
PNG = FileBlock(media_type="image/png", data=b"\x01\x02")
PDF = FileBlock(media_type="Application/PDF; x=y", data=b"%PDF", name="a.pdf")
SOUND = FileBlock(media_type="audio/mp3", data=b"la")


def body_of(*messages: Message, model: str = "gpt-5", **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        encode(Request(model=model, messages=messages, **fields), OPENAI)
    )
    return found


def items_of(*messages: Message, **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = body_of(*messages, **fields)["input"]
    return found


def user(*blocks: Any) -> UserMessage:
    return UserMessage(blocks=blocks)


def answer(*blocks: Any) -> AssistantMessage:
    return AssistantMessage(blocks=blocks)


def of(**section: Any) -> dict[str, dict[str, Any]]:
    """Return metadata of this wire."""
    return {"openai": section}


def thought(words: str = "", **section: Any) -> ReasoningBlock:
    return ReasoningBlock(text=words, provider_metadata=of(**section) if section else None)


def call(call_id: str = "c1", *, is_search: bool = False, **section: Any) -> ToolCallBlock:
    return ToolCallBlock(
        id=call_id,
        name="web_search" if is_search else "find",
        arguments="{}",
        provider_executed=is_search,
        provider_metadata=of(**section) if section else None,
    )


# which wire


@pytest.mark.parametrize("kind", ["openai", "azure", " OpenAI "])
@pytest.mark.parametrize(
    "model", ["gpt-3.5-turbo", "gpt-4", "gpt-4o-mini-2024-07-18", "gpt-5.2", "o3-mini", "o1"]
)
def test_known_models_of_openai_and_azure_take_the_responses_api(kind, model):
    assert wire_of(Provider(kind=kind, base_url=""), model) is Wire.OPENAI_RESPONSES


@pytest.mark.parametrize(
    "model", ["", "fake-model", "gpt-4o-2999-01-01", "GPT-4o", "openai/gpt-4o", "gpt-5-but-mine"]
)
def test_ids_that_are_not_known_exactly_take_chat_completions(model):
    assert wire_of(OPENAI, model) is Wire.OPENAI_CHAT


@pytest.mark.parametrize("kind", ["openai-compat", "openrouter", "vercel", "nobody"])
def test_other_kinds_take_their_own_wire_whatever_the_model(kind):
    assert wire_of(Provider(kind=kind, base_url=""), "gpt-4o") is Wire.OPENAI_CHAT


def test_an_id_belongs_to_one_family():
    ids = [model for models in FAMILIES.values() for model in models]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("o1", True),
        ("o3-mini", True),
        ("o4-mini-2025-04-16", True),
        ("gpt-5.1", True),
        ("gpt-oss-120b", True),
        ("codex-mini-latest", True),
        ("computer-use-preview", True),
        ("gpt-5-chat-latest", False),
        ("gpt-4o", False),
        ("gpt-4.1-mini", False),
    ],
)
def test_models_that_reason_are_told_by_their_ids(model, reasons):
    assert is_reasoning_model(model) is reasons


# where it goes


@pytest.mark.parametrize(
    ("kind", "base", "url"),
    [
        ("openai", "", "https://api.openai.com/v1/responses"),
        ("openai", "http://127.0.0.1:9/", "http://127.0.0.1:9/responses"),
        ("azure", "https://a.openai.azure.com", "https://a.openai.azure.com/openai/v1/responses"),
        ("azure", "https://a.openai.azure.com/", "https://a.openai.azure.com/openai/v1/responses"),
        (
            "azure",
            "https://a.openai.azure.com/openai",
            "https://a.openai.azure.com/openai/v1/responses",
        ),
        (
            "azure",
            "https://a.services.ai.azure.com/openai/v1/",
            "https://a.services.ai.azure.com/openai/v1/responses",
        ),
        ("azure", "https://gateway.example/llm", "https://gateway.example/llm/responses"),
        ("azure", "http://[", "http://[/responses"),
    ],
)
def test_calls_go_to_the_address_as_it_is_configured(kind, base, url):
    provider = Provider(kind=kind, base_url=base)
    request = Request(model="gpt-5", messages=())
    codec = codec_for(provider, request.model)
    assert target_of(codec, request, provider, is_stream=True).url == url


def test_a_bare_resource_of_azure_is_completed_for_chat_completions_too():
    provider = Provider(kind="azure", base_url="https://a.openai.azure.com")
    request = Request(model="my-deployment", messages=())
    target = target_of(codec_for(provider, request.model), request, provider, is_stream=True)
    assert target.url == "https://a.openai.azure.com/openai/v1/chat/completions"


def test_the_key_goes_where_each_kind_wants_it():
    request = Request(model="gpt-5", messages=())
    headers = {}
    for kind in ("openai", "azure"):
        provider = Provider(kind=kind, base_url="https://x", api_key=" k ")
        codec = codec_for(provider, request.model)
        headers[kind] = target_of(codec, request, provider, is_stream=True).headers
    assert headers["openai"]["Authorization"] == headers["azure"]["Authorization"] == "Bearer k"
    assert headers["azure"]["api-key"] == "k"
    assert "api-key" not in headers["openai"]


# parameters


def test_a_plain_question_is_a_stream_that_is_not_kept_and_nothing_else():
    assert body_of(SystemMessage(text="Be kind."), user(TextBlock(text="Hi"))) == {
        "model": "gpt-5",
        "input": [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        ],
        "stream": True,
        "store": False,
    }


def test_models_that_do_not_reason_get_system_messages():
    [item] = items_of(SystemMessage(text="Be kind."), model="gpt-4o")
    assert item == {"role": "system", "content": "Be kind."}


def test_sampling_goes_to_models_that_do_not_reason_and_the_rest_to_none():
    wanted = {
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.25,
        "top_k": 3,
        "presence_penalty": 1.0,
        "frequency_penalty": 1.0,
    }
    plain, reasoning = body_of(model="gpt-4o", **wanted), body_of(model="o3", **wanted)
    sent = {name: plain[name] for name in wanted if name in plain}
    assert sent == {"max_output_tokens": 9, "temperature": 0.5, "top_p": 0.25}
    assert {name: reasoning[name] for name in wanted if name in reasoning} == {
        "max_output_tokens": 9
    }


def test_a_whole_answer_is_not_asked_for_as_a_stream():
    assert b"stream" not in encode(Request(model="gpt-5", messages=()), OPENAI, is_stream=False)


def test_a_schema_of_the_answer_stands_beside_the_verbosity():
    output = OutputSchema(name="title", schema={"type": "object"})
    body = body_of(output=output, provider_options={"openai": {"text_verbosity": "low"}})
    assert body["text"] == {
        "format": {
            "type": "json_schema",
            "name": "title",
            "schema": {"type": "object"},
            "strict": True,
        },
        "verbosity": "low",
    }


def test_tools_are_functions_and_nothing_is_said_about_their_choice():
    tool = ToolSpec(name="find", description="Finds", parameters={"type": "object"})
    body = body_of(tools=(tool,))
    assert body["tools"] == [
        {
            "type": "function",
            "name": "find",
            "description": "Finds",
            "parameters": {"type": "object"},
            "strict": False,
        }
    ]
    assert "tool_choice" not in body


def test_a_chain_is_named_by_its_last_response():
    assert body_of(previous_response_id="resp_1")["previous_response_id"] == "resp_1"


# what was said


def test_images_and_pdfs_become_data_urls_and_other_files_are_left_out():
    empty = FileBlock(media_type="image/png", data=b"")
    [item] = items_of(user(TextBlock(text="See"), PNG, PDF, SOUND, empty))
    assert item["content"] == [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": "data:image/png;base64,AQI="},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": f"data:application/pdf;base64,{base64.b64encode(b'%PDF').decode()}",
        },
    ]


def test_a_message_without_anything_to_send_is_left_out():
    assert items_of(user(TextBlock(text=""), SOUND), answer(thought("hm"))) == []


def test_media_of_results_follow_all_outputs_as_the_users():
    results = ToolMessage(
        results=(
            ToolResultBlock(call_id="a b", name="shoot", output="", media=PNG),
            ToolResultBlock(call_id="c", name="shoot", output="two", media=SOUND),
            ToolResultBlock(call_id="d", name="find", output="found"),
        )
    )
    assert items_of(results) == [
        {
            "type": "function_call_output",
            "call_id": "a_b",
            "output": "[image/png content that is shown in the next message]",
        },
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": "two\n[audio/mp3 content that cannot be shown here]",
        },
        {"type": "function_call_output", "call_id": "d", "output": "found"},
        {
            "role": "user",
            "content": [{"type": "input_image", "image_url": "data:image/png;base64,AQI="}],
        },
    ]


def test_ids_of_calls_that_are_too_long_are_shortened_in_pairs():
    ids = ["x" * 64, "y" * 65, "y" * 66]
    results = tuple(ToolResultBlock(call_id=each, name="find", output="") for each in ids)
    items = items_of(answer(*map(call, ids)), ToolMessage(results=results))
    sent = [item["call_id"] for item in items]
    assert sent[:3] == sent[3:]
    assert sent[0] == ids[0]
    assert len(set(sent)) == 3
    assert max(map(len, sent)) <= 64


STORED = answer(
    thought("First. "),
    thought("Then.", item_id="rs_1", encrypted_content="e1"),
    TextBlock(text="So", provider_metadata=of(item_id="msg_1")),
    call(item_id="fc_1"),
)


def test_an_answer_that_is_kept_is_referred_to_by_its_ids():
    assert items_of(STORED, provider_options=KEPT) == [
        {"type": "item_reference", "id": "rs_1"},
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "content": [{"type": "output_text", "text": "So", "annotations": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "find", "arguments": "{}"},
    ]


def test_without_a_store_reasoning_goes_back_encrypted_and_nothing_has_an_id():
    assert items_of(STORED) == [
        {
            "type": "reasoning",
            "summary": [
                {"type": "summary_text", "text": "First. "},
                {"type": "summary_text", "text": "Then."},
            ],
            "encrypted_content": "e1",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "So"}],
        },
        {"type": "function_call", "call_id": "c1", "name": "find", "arguments": "{}"},
    ]


def test_reasoning_that_was_not_kept_goes_back_encrypted_to_a_store():
    kinds = [
        item["type"]
        for item in items_of(answer(thought(encrypted_content="e"), call()), provider_options=KEPT)
    ]
    assert kinds == ["reasoning", "function_call"]


@pytest.mark.parametrize(
    "foreign",
    [
        thought("hm"),
        ReasoningBlock(text="hm", provider_metadata={"anthropic": {"signature": "s"}}),
        ReasoningBlock(text="hm", provider_metadata={"openai": {"item_id": 7}}),
    ],
)
@pytest.mark.parametrize("options", [KEPT, {}])
def test_reasoning_that_is_not_of_this_wire_is_left_out(foreign, options):
    [item] = items_of(answer(foreign, TextBlock(text="So")), provider_options=options)
    assert item["role"] == "assistant"
    assert "id" not in item


@pytest.mark.parametrize("options", [KEPT, {}])
def test_reasoning_that_nothing_came_of_is_left_out(options):
    lone = answer(thought("hm", item_id="rs_1", encrypted_content="e"))
    assert items_of(lone, provider_options=options) == []


def test_reasoning_is_not_referred_to_without_what_came_of_it():
    cut = answer(thought("hm", item_id="rs_1"), TextBlock(text="So f"), call(item_id="fc_1"))
    items = items_of(cut, provider_options=KEPT)
    assert [item["type"] for item in items] == ["message", "function_call"]
    assert not any("id" in item for item in items)


def test_parts_of_one_message_stay_one():
    kept = of(item_id="msg_1")
    blocks = [TextBlock(text=text, provider_metadata=kept) for text in "ab"]
    [item] = items_of(answer(*blocks), provider_options=KEPT)
    assert [part["text"] for part in item["content"]] == ["a", "b"]
    [item] = items_of(answer(TextBlock(text="a"), TextBlock(text="b")))
    assert [part["text"] for part in item["content"]] == ["a", "b"]


SEARCHED = answer(
    thought(item_id="rs_1", encrypted_content="e1"),
    call("ws_1", is_search=True, item_id="ws_1"),
    call("ws_2", is_search=True, item_id="ws_2"),
    ToolResultBlock(call_id="ws_2", name="web_search", output="{}", provider_executed=True),
    thought(item_id="rs_2", encrypted_content="e2"),
    TextBlock(text="So", provider_metadata=of(item_id="msg_1")),
)


def test_searches_that_came_of_reasoning_are_referred_to():
    items = items_of(SEARCHED, provider_options=KEPT)
    assert [item["id"] for item in items] == ["rs_1", "ws_1", "ws_2", "rs_2", "msg_1"]


def test_without_a_store_searches_are_left_out_with_their_reasoning():
    items = items_of(SEARCHED)
    assert [item["type"] for item in items] == ["reasoning", "message"]
    assert items[0]["encrypted_content"] == "e2"


def test_a_search_without_reasoning_is_left_out():
    said = answer(call("ws_1", is_search=True, item_id="ws_1"), TextBlock(text="So"))
    [item] = items_of(said, model="gpt-4o", provider_options=KEPT)
    assert item["type"] == "message"


# recorded requests


def _blocks(item: dict[str, Any]) -> Message:
    match item.get("type", item.get("role")):
        case "developer" | "system":
            return SystemMessage(text=item["content"])
        case "user":
            return user(*(TextBlock(text=part["text"]) for part in item["content"]))
        case "function_call":
            return answer(
                ToolCallBlock(id=item["call_id"], name=item["name"], arguments=item["arguments"])
            )
        case "function_call_output":
            result = ToolResultBlock(call_id=item["call_id"], name="", output=item["output"])
            return ToolMessage(results=(result,))
    raise AssertionError(item)


def _rebuilt(recorded: dict[str, Any]) -> Request:
    wanted = (recorded.get("text") or {}).get("format")
    reasoning = recorded.get("reasoning") or {}
    section = {
        "store": recorded["store"],
        "reasoning_effort": reasoning.get("effort"),
        "reasoning_summary": reasoning.get("summary"),
    }
    return Request(
        model=recorded["model"],
        messages=tuple(map(_blocks, recorded["input"])),
        tools=tuple(
            ToolSpec(
                name=tool["name"], description=tool["description"], parameters=tool["parameters"]
            )
            for tool in recorded.get("tools") or ()
        ),
        output=OutputSchema(name=wanted["name"], schema=wanted["schema"]) if wanted else None,
        max_output_tokens=recorded.get("max_output_tokens"),
        provider_options={"openai": section} if "include" in recorded else {},
    )


def _alike(body: dict[str, Any]) -> dict[str, Any]:
    """Return a body without what may differ.

    `tool_choice` "auto" is the default; so is a strict schema of an answer.
    """
    alike = {key: value for key, value in body.items() if (key, value) != ("tool_choice", "auto")}
    (alike.get("text") or {}).get("format", {}).pop("strict", None)
    return alike


@pytest.mark.recordings
@pytest.mark.parametrize(
    "path",
    RESPONSES_FILES or [pytest.param(None, marks=MISSING)],
    ids=lambda path: f"{path.parent.name}/{path.stem}" if path else "none",
)
def test_recorded_requests_are_made_of_the_same_values_again(path):
    for interaction in load_recording(path).interactions:
        recorded = json.loads(interaction.request_body)
        plain = all(
            item.get("type", item.get("role"))
            in ("developer", "system", "user", "function_call", "function_call_output")
            for item in recorded["input"]
        )
        if not plain:
            continue
        is_stream = bool(recorded.get("stream"))
        ours = json.loads(encode(_rebuilt(recorded), OPENAI, is_stream=is_stream))
        assert _alike(ours) == _alike(recorded)
