"""Requests of the Gemini wire."""

import base64
import json
from typing import Any

import pytest

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
from chatd.llm.wires.gemini import CODEC
from chatd.llm.wires.gemini.contents import OPENING
from chatd.llm.wires.gemini.request import encode
from chatd.llm.wires.gemini.signatures import SKIP_SIGNATURE
from chatd.llm.wires.target import target_of

GOOGLE = Provider(kind="google", base_url="http://x", api_key=" k ")
PNG = b"\x89PNG"
FIND = ToolSpec(
    name="find",
    description="Finds.",
    parameters={"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
)


def body_of(*messages: Message, model: str = "gemini-2.5-flash", **fields: Any) -> dict[str, Any]:
    return json.loads(encode(Request(model=model, messages=messages, **fields), GOOGLE))


def contents_of(*messages: Message, **fields: Any) -> list[Any]:
    return [(each["role"], each["parts"]) for each in body_of(*messages, **fields)["contents"]]


def user(*blocks: Any) -> UserMessage:
    blocks = tuple(TextBlock(text=each) if isinstance(each, str) else each for each in blocks)
    return UserMessage(blocks=blocks)


def answer(*blocks: Any) -> AssistantMessage:
    blocks = tuple(TextBlock(text=each) if isinstance(each, str) else each for each in blocks)
    return AssistantMessage(blocks=blocks)


def call(call_id: str, name: str = "find", **fields: Any) -> ToolCallBlock:
    return ToolCallBlock(**{"id": call_id, "name": name, "arguments": '{"q":"x"}', **fields})


def results(*found: ToolResultBlock) -> ToolMessage:
    return ToolMessage(results=found)


def result(call_id: str, output: str = "ok", name: str = "find", **fields: Any) -> ToolResultBlock:
    return ToolResultBlock(call_id=call_id, name=name, output=output, **fields)


def google(**section: Any) -> dict[str, dict[str, Any]]:
    return {"google": section}


def called(call_id: str, name: str = "find") -> dict[str, Any]:
    return {"functionCall": {"id": call_id, "name": name, "args": {"q": "x"}}}


def responded(call_id: str, output: str = "ok", name: str = "find") -> dict[str, Any]:
    return {"functionResponse": {"id": call_id, "name": name, "response": {"result": output}}}


def inline(media_type: str, data: bytes) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": base64.b64encode(data).decode()}}


# Where it goes


@pytest.mark.parametrize(
    ("base_url", "root"),
    [
        ("", "https://generativelanguage.googleapis.com/v1beta"),
        ("http://x", "http://x/v1beta"),
        ("http://x/", "http://x/v1beta"),
        ("http://x/v1beta", "http://x/v1beta"),
        ("http://x/gateway/v1beta/", "http://x/gateway/v1beta"),
    ],
)
def test_the_address_has_the_version_once_and_the_key_is_a_header(base_url: str, root: str) -> None:
    provider = Provider(kind="google", base_url=base_url, api_key=" k ")
    request = Request(model="gemini-2.5-flash", messages=(user("Hi"),))
    streamed = target_of(CODEC, request, provider, is_stream=True)
    whole = target_of(CODEC, request, provider, is_stream=False)
    assert streamed.url == f"{root}/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert whole.url == f"{root}/models/gemini-2.5-flash:generateContent"
    assert streamed.headers["x-goog-api-key"] == "k"
    assert "Authorization" not in streamed.headers
    assert streamed.body == whole.body


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("models/gemini-2.5-pro", "/models/gemini-2.5-pro"),
        ("tunedModels/mine", "/tunedModels/mine"),
        ("odd name?", "/models/odd%20name%3F"),
    ],
)
def test_the_model_is_part_of_the_path(model: str, path: str) -> None:
    request = Request(model=model, messages=())
    assert CODEC.path(request, is_stream=False) == f"{path}:generateContent"


# What people say


def test_a_plain_question_has_nothing_else() -> None:
    assert body_of(SystemMessage(text="Be kind."), SystemMessage(text="Be brief."), user("Hi")) == {
        "systemInstruction": {"parts": [{"text": "Be kind."}, {"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
    }


def test_images_and_pdfs_go_along_and_a_text_stands_for_images_that_google_refuses() -> None:
    blocks = (
        FileBlock(media_type="image/PNG; x=y", data=PNG),
        FileBlock(media_type="application/pdf", data=b"%PDF", name="a.pdf"),
        FileBlock(media_type="audio/mp3", data=b"x"),
        FileBlock(media_type="image/png", data=b""),
        FileBlock(media_type="image/gif", data=b"GIF"),
        FileBlock(media_type="image/jpg", data=b"x"),
        "See",
        "",
    )
    assert contents_of(user(*blocks)) == [
        (
            "user",
            [
                inline("image/png", PNG),
                inline("application/pdf", b"%PDF"),
                {"text": "[image/gif content that cannot be shown here]"},
                inline("image/jpeg", b"x"),
                {"text": "See"},
            ],
        )
    ]


def test_roles_alternate_and_a_person_begins() -> None:
    assert contents_of(answer("A"), answer("B"), user("C"), user("D"), answer("E"), user()) == [
        ("user", [{"text": OPENING}]),
        ("model", [{"text": "A"}, {"text": "B"}]),
        ("user", [{"text": "C"}, {"text": "D"}]),
        ("model", [{"text": "E"}]),
    ]


@pytest.mark.parametrize("model", ["gemma-3-27b-it", "models/Gemma-3n"])
def test_gemma_gets_the_system_text_from_the_first_person_and_no_schema(model: str) -> None:
    messages = (SystemMessage(text="Be kind."), SystemMessage(text="Be brief."), user("Hi"))
    output = OutputSchema(name="x", schema={"type": "object"})
    assert body_of(*messages, model=model, output=output) == {
        "contents": [{"role": "user", "parts": [{"text": "Be kind.\n\nBe brief."}, {"text": "Hi"}]}]
    }
    assert contents_of(SystemMessage(text="Go."), model=model) == [("user", [{"text": "Go."}])]


# Calls and results


def test_responses_stand_behind_their_calls_in_the_same_order_under_the_same_names() -> None:
    found = contents_of(
        user("Q"),
        answer("Let me see.", call("a"), call("b", "other tool")),
        results(result("b", "2", "ignored")),
        results(result("a", "1")),
        user("And?"),
    )
    assert found == [
        ("user", [{"text": "Q"}]),
        ("model", [{"text": "Let me see."}, called("a"), called("b", "other_tool")]),
        ("user", [responded("a", "1"), responded("b", "2", "other_tool"), {"text": "And?"}]),
    ]


def test_an_error_says_so_and_arguments_that_are_no_object_are_none() -> None:
    _, (_, asked), (_, told) = contents_of(
        user("Q"),
        answer(call("a", arguments="[1]"), call("b", arguments="")),
        results(result("a", "no", is_error=True), result("b")),
    )
    assert [part["functionCall"]["args"] for part in asked] == [{}, {}]
    assert told[0]["functionResponse"]["response"] == {"error": "no"}


def test_an_id_that_google_gave_comes_back_as_it_was() -> None:
    metadata = google(call_id="fc.1/x")
    _, (_, asked), (_, told) = contents_of(
        user("Q"), answer(call("fc_1_x", provider_metadata=metadata)), results(result("fc_1_x"))
    )
    assert asked == [called("fc.1/x")]
    assert told == [responded("fc.1/x")]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "gemini-3-pro-preview",
            [
                {
                    "functionResponse": {
                        **responded("a", "seen")["functionResponse"],
                        "parts": [inline("image/png", PNG)],
                    }
                },
                responded("b"),
            ],
        ),
        (
            "gemini-2.5-flash",
            [responded("a", "seen"), responded("b"), inline("image/png", PNG)],
        ),
    ],
)
def test_an_image_of_a_tool_is_in_its_response_or_beside_it(model: str, expected: Any) -> None:
    media = FileBlock(media_type="image/png", data=PNG)
    *_, (_, told) = contents_of(
        user("Q"),
        answer(call("a"), call("b")),
        results(result("a", "seen", media=media), result("b")),
        model=model,
    )
    assert told == expected


def test_media_that_cannot_be_sent_is_named() -> None:
    media = FileBlock(media_type="audio/mp3", data=b"x")
    *_, (_, told) = contents_of(user("Q"), answer(call("a")), results(result("a", "", media=media)))
    assert told == [responded("a", "[audio/mp3 content that cannot be shown here]")]


def test_tools_are_declared_with_clean_schemas_and_one_without_parameters_has_none() -> None:
    nothing = ToolSpec(name="now", description="", parameters={"type": "object", "properties": {}})
    assert body_of(user("Q"), tools=(FIND, nothing))["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "find",
                    "description": "Finds.",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"q": {"type": "STRING"}},
                        "required": ["q"],
                    },
                },
                {"name": "now"},
            ]
        }
    ]


# Signatures


def test_a_signature_comes_back_in_the_part_that_it_came_in() -> None:
    whole = google(thought_signature="s")
    ranges = google(thought_signatures=[[0, 2, "s1"], [2, 2, "s2"], [4, 6, "s3"]])
    found = contents_of(
        user("Q"),
        answer(
            ReasoningBlock(text="think", provider_metadata=whole),
            ReasoningBlock(text="unsigned"),
            TextBlock(text="abcdefgh", provider_metadata=ranges),
            TextBlock(text="", provider_metadata=whole),
            FileBlock(media_type="image/png", data=PNG, provider_metadata=whole),
            call("a", provider_metadata=whole),
            call("b"),
        ),
        results(result("a"), result("b")),
    )
    assert found[1][1] == [
        {"text": "think", "thought": True, "thoughtSignature": "s"},
        {"text": "ab", "thoughtSignature": "s1"},
        {"text": "", "thoughtSignature": "s2"},
        {"text": "cd"},
        {"text": "ef", "thoughtSignature": "s3"},
        {"text": "gh"},
        {"text": "", "thoughtSignature": "s"},
        {**inline("image/png", PNG), "thoughtSignature": "s"},
        {**called("a"), "thoughtSignature": "s"},
        called("b"),
    ]


@pytest.mark.parametrize(
    "damaged", ["x", [1], [[0, 99, "s"]], [[3, 1, "s"]], [["0", 1, "s"]], [[0, 1, 2]], None, {}]
)
def test_ranges_that_do_not_fit_the_text_are_left_out(damaged: Any) -> None:
    block = TextBlock(text="abc", provider_metadata=google(thought_signatures=damaged))
    assert contents_of(user("Q"), answer(block))[1] == ("model", [{"text": "abc"}])


@pytest.mark.parametrize("family", ["anthropic", "openai", "openrouter"])
def test_what_another_provider_signed_is_not_sent(family: str) -> None:
    metadata = {family: {"signature": "s", "thought_signature": "s", "id": "x"}}
    found = contents_of(
        user("Q"),
        answer(
            ReasoningBlock(text="foreign", provider_metadata=metadata),
            TextBlock(text="", provider_metadata=metadata),
            TextBlock(text="A", provider_metadata=metadata),
            call("s1", "web_search", provider_executed=True, provider_metadata=metadata),
            result("s1", name="web_search", provider_executed=True, provider_metadata=metadata),
        ),
    )
    assert found[1] == ("model", [{"text": "A"}])


def test_gemini_3_gets_a_mark_for_calls_of_the_turn_that_nobody_signed() -> None:
    signed = google(thought_signature="s")
    messages = (
        user("Before"),
        answer(call("old")),
        results(result("old")),
        user("Now"),
        answer(call("a"), call("b")),
        results(result("a"), result("b")),
        answer(call("c", provider_metadata=signed)),
        results(result("c")),
    )
    found = contents_of(*messages, model="gemini-3-flash-preview")
    marks = [
        part.get("thoughtSignature")
        for _, parts in found
        for part in parts
        if "functionCall" in part
    ]
    assert marks == [None, SKIP_SIGNATURE, None, "s"]
    latest = json.dumps(contents_of(*messages, model="gemini-flash-latest"))
    older = json.dumps(contents_of(*messages, model="gemini-2.5-pro"))
    assert SKIP_SIGNATURE in latest
    assert SKIP_SIGNATURE not in older


def test_a_search_of_googles_own_comes_back_as_it_was_and_never_without_its_result() -> None:
    asked = {"id": "s1", "toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["x"]}}
    found = {"id": "s1", "toolType": "GOOGLE_SEARCH_WEB", "response": {"a": 1}}
    lost = {**asked, "id": "s2"}

    def search(part: dict[str, Any]) -> ToolCallBlock:
        kept = google(tool_call=part, thought_signature="s")
        return call(part["id"], "web_search", provider_executed=True, provider_metadata=kept)

    kept = google(tool_response=found)
    told = result("s1", name="web_search", provider_executed=True, provider_metadata=kept)
    made_up = call("s3", "web_search", provider_executed=True)
    blocks = (search(asked), told, search(lost), made_up, result("s3", provider_executed=True), "A")
    assert contents_of(user("Q"), answer(*blocks))[1][1] == [
        {"toolCall": asked, "thoughtSignature": "s"},
        {"toolResponse": found},
        {"text": "A"},
    ]
