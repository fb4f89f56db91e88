"""Requests of the chat/completions wire."""

import json

import pytest

from chatd.llm.types import (
    AssistantMessage,
    FileBlock,
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
from chatd.llm.wires.openai_chat.request import encode

COMPAT = Provider(kind="openai-compat", base_url="http://x")


def body_of(*messages, model="m", provider=COMPAT, **parameters):
    return json.loads(encode(Request(model=model, messages=messages, **parameters), provider))


def user(*blocks):
    return UserMessage(blocks=blocks)


def test_a_plain_question_is_a_stream_with_usage_and_nothing_else():
    body = body_of(SystemMessage(text="Be kind."), user(TextBlock(text="Hi")))
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_several_text_blocks_become_one_plain_string():
    body = body_of(user(TextBlock(text="a"), TextBlock(text=""), TextBlock(text="b")))
    assert body["messages"] == [{"role": "user", "content": "a\n\nb"}]


def test_images_and_pdfs_become_data_urls():
    body = body_of(
        user(
            TextBlock(text="See"),
            FileBlock(media_type="image/png", data=b"\x01\x02"),
            FileBlock(media_type="application/pdf", data=b"%PDF", name="a.pdf"),
        )
    )
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQI="}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        },
    ]


def test_other_files_are_dropped_and_an_empty_message_with_them():
    zipped = FileBlock(media_type="application/zip", data=b"PK")
    assert body_of(user(zipped))["messages"] == []
    assert body_of(user(TextBlock(text="a"), zipped))["messages"][0]["content"] == "a"


def test_calls_and_results_keep_their_safe_ids_and_reasoning_stays_here():
    body = body_of(
        AssistantMessage(
            blocks=(
                ReasoningBlock(text="hmm"),
                TextBlock(text="I will "),
                TextBlock(text="add."),
                ToolCallBlock(id="functions.add:0", name="add", arguments='{"a":1}'),
                ToolCallBlock(id="w", name="search", arguments="{}", provider_executed=True),
            )
        ),
        ToolMessage(results=(ToolResultBlock(call_id="functions.add:0", name="add", output="2"),)),
    )
    assert body["messages"] == [
        {
            "role": "assistant",
            "content": "I will add.",
            "tool_calls": [
                {
                    "id": "functions_add_0",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a":1}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "functions_add_0", "content": "2"},
    ]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("find", "find"),
        ("declared.tool", "declared.tool"),
        ("multi_tool_use.parallel", "multi_tool_use_parallel"),
        ("find a file\x00", "find_a_file_"),
        ("x" * 65, "x" * 64),
        ("", "unknown"),
    ],
)
def test_a_name_that_a_model_made_up_does_not_spoil_later_requests(name, sent):
    declared = ToolSpec(name="declared.tool", description="", parameters={"type": "object"})
    call = ToolCallBlock(id="a", name=name, arguments="{}")
    body = body_of(AssistantMessage(blocks=(call,)), tools=(declared,))
    assert body["messages"][0]["tool_calls"][0]["function"]["name"] == sent


def test_an_assistant_message_of_reasoning_alone_is_dropped():
    assert body_of(AssistantMessage(blocks=(ReasoningBlock(text="hmm"),)))["messages"] == []


def test_what_a_provider_carried_out_and_what_it_wants_back_stays_here():
    kept = {"anthropic": {"signature": "c2lnbmVk"}}
    body = body_of(
        AssistantMessage(
            blocks=(
                ReasoningBlock(text="", provider_metadata=kept),
                ToolCallBlock(id="w", name="search", arguments="{}", provider_executed=True),
                ToolResultBlock(call_id="w", name="search", output="1", provider_executed=True),
                FileBlock(media_type="image/png", data=b"made"),
                TextBlock(text="Found.", provider_metadata=kept),
            )
        )
    )
    assert body["messages"] == [{"role": "assistant", "content": "Found."}]


@pytest.mark.parametrize(
    ("output", "sent"),
    [("a screen", "a screen"), ("", "[image/png content that cannot be shown here]")],
)
def test_media_of_a_tool_is_told_as_text(output, sent):
    screen = FileBlock(media_type="image/png", data=b"png")
    result = ToolResultBlock(call_id="a", name="look", output=output, media=screen)
    assert body_of(ToolMessage(results=(result,)))["messages"] == [
        {"role": "tool", "tool_call_id": "a", "content": sent}
    ]


def test_tools_are_functions_that_are_never_strict():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    body = body_of(tools=(ToolSpec(name="t", description="d", parameters=schema),))
    function = {"name": "t", "description": "d", "parameters": schema, "strict": False}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert "tool_choice" not in body


SAMPLING = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 3,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "max_output_tokens": 7,
}


def test_sampling_parameters_are_sent_without_top_k():
    body = body_of(model="gpt-4o", **SAMPLING)
    assert {name: body.get(name) for name in (*SAMPLING, "max_tokens")} == {
        **SAMPLING,
        "top_k": None,
        "max_output_tokens": None,
        "max_tokens": 7,
    }


@pytest.mark.parametrize(
    "model", ["o1", "o3-mini", "o4-mini", "x-o3", "gpt-5-mini", "openai/gpt-5"]
)
def test_reasoning_models_get_only_the_completion_limit(model):
    body = body_of(model=model, **SAMPLING)
    assert set(body) == {"model", "messages", "stream", "stream_options", "max_completion_tokens"}


@pytest.mark.parametrize("model", ["gpt-4o", "kimi-k2", "pro1", "llama-3"])
def test_other_models_are_not_taken_for_reasoning_models(model):
    assert "max_tokens" in body_of(model=model, max_output_tokens=1)


def test_text_that_is_no_valid_unicode_is_reported_as_a_type_error():
    with pytest.raises(TypeError):
        body_of(user(TextBlock(text="\ud800")))
