"""Requests of the Anthropic Messages wire and of Bedrock."""

import base64
import json

import pytest

from chatd.chattest.replay import load_recording
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    AssistantMessage,
    AwsAccess,
    FileBlock,
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
from chatd.llm.wires import anthropic
from chatd.llm.wires.anthropic.guard import REFUSED
from chatd.llm.wires.choice import codec_for
from chatd.llm.wires.target import target_of
from tests.support.recordings import FOLDER

ANTHROPIC = Provider(kind="anthropic", base_url="", api_key="sk-ant")
BEDROCK = Provider(kind="bedrock", base_url="", api_key="key", aws=AwsAccess(region="us-east-1"))
TOOL = ToolSpec(name="find", description="Finds.", parameters={"properties": {}})
SIGNED = {"anthropic": {"signature": "sig"}}


def user(*texts):
    return UserMessage(blocks=tuple(TextBlock(text=text) for text in texts))


def said(*blocks):
    return AssistantMessage(blocks=blocks)


def call(call_id="c1", arguments='{"a":1}', **fields):
    return ToolCallBlock(id=call_id, name="find", arguments=arguments, **fields)


def result(call_id="c1", output="done", **fields):
    return ToolResultBlock(call_id=call_id, name="find", output=output, **fields)


def body_of(*messages, provider=ANTHROPIC, options=None, **parameters):
    request = Request(
        model="claude-x",
        messages=messages or (user("Hi"),),
        provider_options={} if options is None else {"anthropic": options},
        **parameters,
    )
    return json.loads(codec_for(provider).encode(request, provider, is_stream=True))


def bare(messages):
    """Return messages without marks for the cache."""
    return [
        {
            "role": message["role"],
            "content": [
                {key: value for key, value in block.items() if key != "cache_control"}
                for block in message["content"]
            ],
        }
        for message in messages
    ]


def test_a_plain_question_has_a_default_length_and_nothing_that_was_not_asked_for():
    marked = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    assert body_of() == {
        "model": "claude-x",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [marked]}],
        "stream": True,
    }


def test_on_bedrock_model_and_stream_stand_in_the_address_and_nothing_is_marked():
    assert body_of(SystemMessage(text="Be kind."), user("Hi"), provider=BEDROCK) == {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }


def test_parameters_are_sent_and_penalties_are_not():
    body = body_of(
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        presence_penalty=1.0,
        frequency_penalty=1.0,
    )
    assert body["max_tokens"] == 9
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.5, 0.9, 7)
    assert not {"presence_penalty", "frequency_penalty"} & body.keys()


@pytest.mark.parametrize("options", [{"thinking": {"budget_tokens": 2000}}, {"effort": "LOW "}])
def test_thinking_drops_what_it_excludes(options):
    body = body_of(options=options, temperature=0.5, top_p=0.9, top_k=7)
    assert not {"temperature", "top_p", "top_k"} & body.keys()


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({}, {}),
        (
            {"thinking": {"budget_tokens": 2000}},
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        ({"thinking": {}}, {}),
        (
            {"effort": " High ", "thinking": {"budget_tokens": 2000}},
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        ({"effort": "enormous"}, {}),
        ({"effort": " "}, {}),
        ({"send_reasoning": False}, {}),
        ({"disable_parallel_tool_use": True}, {}),
        ({"web_search_enabled": False, "allowed_domains": ["a.b"]}, {}),
    ],
)
def test_options_become_their_fields_and_nothing_else(options, fields):
    plain = body_of()
    assert body_of(options=options) == plain | fields


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_of_nothing_is_an_error_of_the_request(budget):
    with pytest.raises(LLMError) as caught:
        body_of(options={"thinking": {"budget_tokens": budget}})
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.CONFIG, False)


def test_tools_have_schemas_of_objects_and_a_choice_only_when_it_was_made():
    body = body_of(tools=(TOOL,))
    schema = {"type": "object", "properties": {}}
    assert body["tools"] == [{"name": "find", "description": "Finds.", "input_schema": schema}]
    assert "tool_choice" not in body
    for disabled in (True, False):
        body = body_of(tools=(TOOL,), options={"disable_parallel_tool_use": disabled})
        assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": disabled}


def test_alternatives_at_the_top_of_a_schema_are_left_out():
    parameters = {"properties": {"a": {"anyOf": [{"type": "string"}]}}, "anyOf": [{}], "oneOf": []}
    body = body_of(tools=(ToolSpec(name="find", description="", parameters=parameters),))
    schema = {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}]}}}
    assert body["tools"][0]["input_schema"] == schema


@pytest.mark.parametrize(
    ("options", "domains"),
    [
        ({}, {}),
        ({"allowed_domains": [" a.b ", ""]}, {"allowed_domains": ["a.b"]}),
        ({"blocked_domains": ["c.d"]}, {"blocked_domains": ["c.d"]}),
        (
            {"allowed_domains": ["a.b"], "blocked_domains": ["c.d"]},
            {"allowed_domains": ["a.b"]},
        ),
    ],
)
def test_the_search_of_the_vendor_is_a_tool_of_its_own(options, domains):
    body = body_of(tools=(TOOL,), options={"web_search_enabled": True} | options)
    search = {"type": "web_search_20250305", "name": "web_search"}
    assert body["tools"][1:] == [search | domains]
    on_bedrock = body_of(provider=BEDROCK, options={"web_search_enabled": True} | options)
    assert "tools" not in on_bedrock


def test_a_tool_of_that_name_takes_the_place_of_the_search():
    own = ToolSpec(name="web_search", description="", parameters={})
    body = body_of(tools=(own,), options={"web_search_enabled": True})
    assert body["tools"] == [{"name": "web_search", "input_schema": {"type": "object"}}]


def test_a_wanted_form_is_a_tool_that_has_to_be_called_and_excludes_thinking():
    output = OutputSchema(name="Person", schema={"properties": {"name": {"type": "string"}}})
    options = {"effort": "low", "web_search_enabled": True}
    body = body_of(output=output, options=options, temperature=0.1)
    [tool] = body["tools"]
    assert tool["name"] == "Person"
    assert tool["input_schema"] == {"type": "object", "properties": {"name": {"type": "string"}}}
    assert body["tool_choice"] == {"type": "tool", "name": "Person"}
    assert "thinking" not in body
    assert body["temperature"] == 0.1
    assert "cache_control" not in body["messages"][0]["content"][0]


def test_messages_alternate_and_results_come_first():
    body = body_of(
        SystemMessage(text="One."),
        SystemMessage(text=" "),
        user("a"),
        user("b", " ", ""),
        said(TextBlock(text="c")),
        said(TextBlock(text=" "), call("c1"), call("c2", arguments="[1]")),
        ToolMessage(results=(result("c1"),)),
        user("d"),
        ToolMessage(results=(result("c2", " ", is_error=True),)),
        SystemMessage(text="Two."),
        tools=(TOOL,),
    )
    text = {"type": "text"}
    assert [block["text"] for block in body["system"]] == ["One.", "Two."]
    assert bare(body["messages"]) == [
        {"role": "user", "content": [text | {"text": "a"}, text | {"text": "b"}]},
        {
            "role": "assistant",
            "content": [
                text | {"text": "c"},
                {"type": "tool_use", "id": "c1", "name": "find", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "find", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "content": [{"type": "text", "text": "done"}],
                },
                {"type": "tool_result", "tool_use_id": "c2", "is_error": True},
                text | {"text": "d"},
            ],
        },
    ]


def test_a_history_that_begins_with_an_answer_gets_a_question_before_it():
    roles = [
        message["role"] for message in body_of(said(TextBlock(text="a")), user("b"))["messages"]
    ]
    assert roles == ["user", "assistant", "user"]
    assert len(body_of(user(" "))["messages"]) == 1


def test_marks_for_the_cache_stand_on_the_last_system_text_and_the_final_two_messages():
    body = body_of(
        SystemMessage(text="One."),
        SystemMessage(text="Two."),
        user("a"),
        said(TextBlock(text="b")),
        user("c"),
        said(ReasoningBlock(text="hm", provider_metadata=SIGNED), TextBlock(text="d")),
        user("e", "f"),
    )
    blocks = [*body["system"], *(b for m in body["messages"] for b in m["content"])]
    marked = [block["text"] for block in blocks if "cache_control" in block]
    assert marked == ["Two.", "d", "f"]
    assert {"type": "ephemeral"} in [block.get("cache_control") for block in blocks]


def test_only_reasoning_that_is_signed_goes_back_and_none_where_it_is_switched_off():
    answer = said(
        ReasoningBlock(text="signed", provider_metadata=SIGNED),
        ReasoningBlock(text="", provider_metadata={"anthropic": {"redacted_data": "x"}}),
        ReasoningBlock(text="unsigned"),
        ReasoningBlock(text="of another", provider_metadata={"openai": {"signature": "y"}}),
        TextBlock(text="So."),
    )
    messages = bare(body_of(user("a"), answer, user("b"))["messages"])
    assert messages[1]["content"] == [
        {"type": "thinking", "thinking": "signed", "signature": "sig"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "So."},
    ]
    without = body_of(user("a"), answer, user("b"), options={"send_reasoning": False})
    assert bare(without["messages"])[1]["content"] == [{"type": "text", "text": "So."}]


def test_an_answer_never_ends_with_reasoning():
    answer = said(TextBlock(text="So."), ReasoningBlock(text="hm", provider_metadata=SIGNED))
    messages = bare(body_of(user("a"), answer, user("b"))["messages"])
    assert messages[1]["content"] == [{"type": "text", "text": "So."}]
    alone = said(ReasoningBlock(text="hm", provider_metadata=SIGNED))
    assert len(body_of(user("a"), alone, user("b"))["messages"]) == 1


@pytest.mark.parametrize(
    ("file", "sent"),
    [
        (
            FileBlock(media_type="image/jpg; q=1", data=b"\x01\x02"),
            {"type": "image", "media_type": "image/jpeg", "title": None},
        ),
        (
            FileBlock(media_type="application/pdf", data=b"%PDF", name="a.pdf"),
            {"type": "document", "media_type": "application/pdf", "title": "a.pdf"},
        ),
        (FileBlock(media_type="application/zip", data=b"PK"), None),
        (FileBlock(media_type="image/svg+xml", data=b"<svg/>"), None),
        (FileBlock(media_type="image/png", data=b""), None),
    ],
)
def test_pictures_and_documents_are_sent_and_other_files_dropped(file, sent):
    body = body_of(UserMessage(blocks=(TextBlock(text="See"), file)))
    files = body["messages"][0]["content"][1:]
    assert [
        {"type": b["type"], "media_type": b["source"]["media_type"], "title": b.get("title")}
        for b in files
    ] == ([sent] if sent else [])


def test_media_of_tools_that_cannot_be_shown_are_told_of():
    zipped = FileBlock(media_type="application/zip", data=b"PK")
    answer = ToolMessage(results=(result(output="", media=zipped),))
    body = body_of(user("a"), said(call()), answer, tools=(TOOL,))
    [block] = body["messages"][-1]["content"]
    assert block["content"] == [
        {"type": "text", "text": "[application/zip content that cannot be shown here]"}
    ]


def test_a_budget_is_left_out_where_the_last_calls_began_without_reasoning():
    messages = (user("a"), said(call()), ToolMessage(results=(result(),)))
    budget = {"thinking": {"budget_tokens": 2000}}
    assert "thinking" not in body_of(*messages, tools=(TOOL,), options=budget)
    assert "thinking" in body_of(*messages, tools=(TOOL,), options={"effort": "low"})


def test_calls_of_a_history_without_tools_bring_their_own():
    messages = (user("a"), said(call()), ToolMessage(results=(result(),)))
    body = body_of(*messages)
    assert [tool["name"] for tool in body["tools"]] == ["find"]
    assert body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    "messages",
    [
        (user("a"), said(call()), user("b")),
        (user("a"), said(TextBlock(text="b")), ToolMessage(results=(result(),))),
        (user("a"), said(call()), ToolMessage(results=(result("c2"),))),
        (user("a"), said(call("s1", provider_executed=True)), user("b")),
        (
            user("a"),
            said(
                result(
                    "s1",
                    provider_executed=True,
                    provider_metadata={"anthropic": {"content": []}},
                ),
                call("s1", provider_executed=True),
            ),
            user("b"),
        ),
    ],
)
def test_a_torn_history_is_refused_before_it_is_sent(messages):
    with pytest.raises(LLMError) as caught:
        body_of(*messages, tools=(TOOL,))
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.GENERIC, False)
    assert caught.value.message == REFUSED
    assert caught.value.message.endswith("Start a new chat to continue.")


@pytest.mark.parametrize(
    "address", ["", "https://api.anthropic.com", "https://api.anthropic.com/v1/"]
)
def test_the_address_is_the_same_with_and_without_the_version(address):
    provider = Provider(kind="anthropic", base_url=address, api_key=" sk-ant ")
    request = Request(model="claude-x", messages=(user("Hi"),))
    target = target_of(anthropic.CODEC, request, provider, is_stream=True)
    assert target.url == "https://api.anthropic.com/v1/messages"
    assert target.headers["x-api-key"] == "sk-ant"
    assert target.headers["anthropic-version"] == "2023-06-01"
    assert "Authorization" not in target.headers


@pytest.mark.recordings
@pytest.mark.skipif(not FOLDER.exists(), reason=f"no recordings in {FOLDER}")
def test_a_wanted_form_means_what_the_recorded_client_sent():
    """What differs: the tool's description is our own, and parallel calls are not spoken of."""
    [exchange] = load_recording(FOLDER / "anthropic/object.yaml").interactions
    recorded = json.loads(exchange.request_body)
    [tool] = recorded["tools"]
    output = OutputSchema(name=tool["name"], schema=tool["input_schema"])
    prompt = recorded["messages"][0]["content"][0]["text"]
    sent = body_of(user(prompt), output=output, max_output_tokens=recorded["max_tokens"])
    assert sent["messages"] == recorded["messages"]
    assert sent["tools"][0]["input_schema"] == tool["input_schema"]
    assert sent["tool_choice"].items() <= recorded["tool_choice"].items()


@pytest.mark.recordings
@pytest.mark.skipif(not FOLDER.exists(), reason=f"no recordings in {FOLDER}")
def test_a_picture_means_what_the_recorded_client_sent():
    """What differs are the marks for the cache."""
    [exchange] = load_recording(FOLDER / "anthropic/image.yaml").interactions
    recorded = json.loads(exchange.request_body)
    [message] = recorded["messages"]
    source = message["content"][1]["source"]
    picture = FileBlock(media_type=source["media_type"], data=base64.b64decode(source["data"]))
    asked = UserMessage(blocks=(TextBlock(text=message["content"][0]["text"]), picture))
    system = SystemMessage(text=recorded["system"][0]["text"])
    sent = body_of(system, asked, max_output_tokens=recorded["max_tokens"])
    assert bare(sent["messages"]) == recorded["messages"]
    assert sent["system"][0].items() >= recorded["system"][0].items()
    assert sent.keys() == recorded.keys()
