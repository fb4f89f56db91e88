"""Streams and answers of the Gemini wire that no recording has."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Answer,
    Event,
    Finish,
    FinishReason,
    GeneratedFile,
    Message,
    Provider,
    ReasoningDelta,
    ReasoningEnd,
    Request,
    Source,
    TextDelta,
    TextEnd,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    UserMessage,
)
from chatd.llm.wires.gemini import stream
from chatd.llm.wires.gemini.answer import decode as decode_answer
from chatd.llm.wires.gemini.models import decode as decode_models
from chatd.llm.wires.gemini.stream import Decoder

GOOGLE = Provider(kind="google", base_url="http://x", api_key="secret-key")
ANY = Request(model="m", messages=())
HIGH_DEMAND = {
    "error": {
        "code": 503,
        "message": "This model is currently experiencing high demand. Please try again later.",
        "status": "UNAVAILABLE",
    }
}


def frames(*documents: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in documents)


def run(body: bytes) -> tuple[list[Event], LLMError | None]:
    decoder = Decoder(ANY, GOOGLE)
    events = decoder.feed(body)
    return events + decoder.close(), decoder.failure


def events_of(*documents: Any) -> list[Event]:
    events, failure = run(frames(*documents))
    assert failure is None
    return events


def finish_of(*documents: Any) -> Finish:
    finish = events_of(*documents)[-1]
    assert isinstance(finish, Finish)
    return finish


def failure_of(body: bytes) -> LLMError:
    events, failure = run(body)
    assert failure is not None
    assert not any(isinstance(event, Finish) for event in events)
    return failure


def signed(signature: str) -> dict[str, Any]:
    return {"google": {"thought_signature": signature}}


# Text and thoughts


def test_thoughts_and_text_are_blocks_with_an_end_each() -> None:
    events = events_of(
        chunk(text("Let ", thought=True)),
        chunk(text("me.", thought=True), text("It ")),
        chunk(text("is."), text(""), reason="STOP"),
    )
    assert events[:-1] == [
        ReasoningDelta(text="Let "),
        ReasoningDelta(text="me."),
        ReasoningEnd(),
        TextDelta(text="It "),
        TextDelta(text="is."),
        TextEnd(),
    ]


def test_each_delta_is_told_with_the_event_that_brings_it() -> None:
    decoder = Decoder(ANY, GOOGLE)
    assert decoder.feed(frames(chunk(text("a")))) == [TextDelta(text="a")]
    assert decoder.feed(frames(chunk(text("b"), reason="STOP"))) == [TextDelta(text="b")]
    found = decoder.feed(frames(chunk(call("f", {}, call_id="c"))))
    assert [type(event) for event in found] == [TextEnd, ToolCallDelta, ToolCall]


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([text("ab", signature="s")], signed("s")),
        (
            [text("ab"), text("cd", signature="s"), text("e")],
            {"google": {"thought_signatures": [[2, 4, "s"]]}},
        ),
        (
            [text("é"), text("", signature="s")],
            {"google": {"thought_signatures": [[1, 1, "s"]]}},
        ),
        ([text("", signature="s")], signed("s")),
        ([{"thoughtSignature": "s"}], signed("s")),
        ([text("a", signature=""), {"text": 1, "thoughtSignature": 2}], None),
    ],
)
def test_a_block_knows_which_of_its_characters_were_a_signed_part(
    parts: list[Any], expected: Any
) -> None:
    events = events_of(*(chunk(part) for part in parts), chunk(reason="STOP"))
    assert events[-2] == TextEnd(provider_metadata=expected)


def test_a_signed_thought_keeps_its_signature() -> None:
    events = events_of(chunk(text("hm", thought=True, signature="s"), reason="STOP"))
    assert events[:-1] == [ReasoningDelta(text="hm"), ReasoningEnd(provider_metadata=signed("s"))]


# Calls


def test_calls_come_whole_and_only_what_was_signed_has_a_signature() -> None:
    first, second = (
        call("add", {"a": 1}, call_id="x.1", signature="s"),
        call("now", {}, call_id="b"),
    )
    events = events_of(chunk(first, second, reason="STOP"))
    assert events[:-1] == [
        ToolCallDelta(id="x.1", name="add", arguments_delta='{"a":1}'),
        ToolCall(
            id="x.1",
            name="add",
            arguments='{"a":1}',
            provider_metadata={"google": {"thought_signature": "s", "call_id": "x.1"}},
        ),
        ToolCallDelta(id="b", name="now", arguments_delta="{}"),
        ToolCall(id="b", name="now", arguments="{}"),
    ]
    assert events[-1].reason is FinishReason.TOOL_CALLS  # type: ignore[union-attr]


def test_calls_without_ids_or_with_one_twice_get_ids_of_ours() -> None:
    parts = [call("a", {}), call("b", {}), call("c", {}, call_id="x"), call("d", {}, call_id="x")]
    calls = [e for e in events_of(chunk(*parts, reason="STOP")) if isinstance(e, ToolCall)]
    assert len({each.id for each in calls}) == 4
    assert calls[2].id == "x"
    assert calls[3].provider_metadata == {"google": {"call_id": "x"}}
    other = events_of(chunk(call("a", {}), reason="STOP", response_id="another"))
    assert calls[0].id not in {each.id for each in other if isinstance(each, ToolCall)}


def test_a_server_that_names_all_its_answers_alike_gets_other_ids_in_the_next_step() -> None:
    def id_after(*messages: Message) -> str:
        decoder = Decoder(Request(model="m", messages=messages), GOOGLE)
        found = decoder.feed(frames(chunk(call("a", {}), reason="STOP")))
        return next(each.id for each in found if isinstance(each, ToolCall))

    said = UserMessage(blocks=())
    assert id_after(said) == id_after(said)
    assert id_after(said) != id_after(said, said)


@pytest.mark.parametrize("args", [None, [], "x", 1])
def test_arguments_that_are_no_object_are_none(args: Any) -> None:
    found = events_of(chunk({"functionCall": {"name": "f", "args": args}}, reason="STOP"))
    assert [e.arguments for e in found if isinstance(e, ToolCall)] == ["{}"]


def test_too_much_to_keep_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_KEPT_CHARS", 100)
    failure = failure_of(frames(*[chunk(call("f", {"a": "x" * 40}))] * 3, chunk(reason="STOP")))
    assert failure.detail == "The tool calls are too large."
    assert failure_of(frames(chunk(text("a", signature="s" * 200), reason="STOP"))).retryable


# Files, searches


def test_an_image_is_a_file_and_a_sketch_of_it_is_not() -> None:
    data = base64.b64encode(b"\x89PNG").decode()
    sketch = {**image(data), "thought": True}
    found = events_of(
        chunk(sketch, image("no base64!?"), image(""), image(data, signature="s"), reason="STOP")
    )
    files = [event for event in found if isinstance(event, GeneratedFile)]
    expected = GeneratedFile(media_type="image/png", data=b"\x89PNG", provider_metadata=signed("s"))
    assert files == [expected]


def test_what_a_search_found_becomes_a_call_its_result_and_sources_once() -> None:
    first = grounding("x?", ("https://a", "A"))
    both = grounding("x?", ("https://a", "A"), ("https://b", "B"))
    events = events_of(
        chunk(text("It is."), groundingMetadata=first),
        chunk(reason="STOP", groundingMetadata=both),
    )
    call_id = next(event.id for event in events if isinstance(event, ToolCall))
    output = {"sources": [{"url": "https://a", "title": "A"}, {"url": "https://b", "title": "B"}]}
    arguments = '{"queries":["x?"]}'
    assert events[2:-1] == [
        ToolCallDelta(
            id=call_id, name="web_search", arguments_delta=arguments, provider_executed=True
        ),
        ToolCall(id=call_id, name="web_search", arguments=arguments, provider_executed=True),
        ToolResult(call_id=call_id, name="web_search", output=output),
        Source(id="source_1", url="https://a", title="A"),
        Source(id="source_2", url="https://b", title="B"),
    ]
    assert events[-1].reason is FinishReason.STOP  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "odd", [[], "x", {"groundingChunks": "x"}, {"groundingChunks": [1, {"web": 2}, {"web": {}}]}]
)
def test_odd_grounding_is_ignored(odd: Any) -> None:
    found = events_of(chunk(text("a"), reason="STOP", groundingMetadata=odd))
    assert [type(event) for event in found] == [TextDelta, TextEnd, Finish]


def test_a_search_that_is_told_is_a_call_of_the_provider_that_comes_back_as_it_was() -> None:
    asked, found = search("x?", call_id="s1", signature="s"), search_result(call_id="s1")
    events = events_of(
        chunk(asked, found, text("It is."), groundingMetadata=grounding("x?", ("https://a", "A"))),
        chunk(reason="STOP"),
    )
    kept = {"google": {"thought_signature": "s", "tool_call": asked["toolCall"]}}
    assert events[1] == ToolCall(
        id="s1",
        name="web_search",
        arguments='{"queries":["x?"]}',
        provider_executed=True,
        provider_metadata=kept,
    )
    assert events[2] == ToolResult(
        call_id="s1",
        name="web_search",
        output={"found": "a page"},
        provider_metadata={"google": {"tool_response": found["toolResponse"]}},
    )
    assert len([event for event in events if isinstance(event, ToolCall)]) == 1
    assert [event.url for event in events if isinstance(event, Source)] == ["https://a"]


# The end


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("SAFETY", FinishReason.CONTENT_FILTER),
        ("RECITATION", FinishReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("BLOCKLIST", FinishReason.CONTENT_FILTER),
        ("SPII", FinishReason.CONTENT_FILTER),
        ("IMAGE_SAFETY", FinishReason.CONTENT_FILTER),
        ("OTHER", FinishReason.UNKNOWN),
        ("MALFORMED_FUNCTION_CALL", FinishReason.UNKNOWN),
        ("SOMETHING_NEW", FinishReason.UNKNOWN),
    ],
)
def test_reasons(reason: str, expected: FinishReason) -> None:
    assert finish_of(chunk(text("a"), reason=reason)).reason is expected


def test_calls_that_were_cut_by_the_limit_do_not_go_on() -> None:
    assert finish_of(chunk(call("f", {}), reason="MAX_TOKENS")).reason is FinishReason.LENGTH


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"])
def test_a_call_that_nobody_can_read_and_nothing_else_is_an_error_worth_another_try(
    reason: str,
) -> None:
    thought = text("hm", thought=True)
    failure = failure_of(frames(chunk(thought), chunk(reason=reason, finishMessage="print(x")))
    assert (failure.kind, failure.retryable) == (ErrorKind.GENERIC, True)
    assert failure.message == "The model made a tool call that cannot be read."
    assert failure.detail == "print(x"


def test_a_prompt_that_was_blocked_ends_with_the_filter() -> None:
    feedback = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": numbers()}
    finish = finish_of(feedback)
    assert finish.reason is FinishReason.CONTENT_FILTER
    assert finish.usage is not None


def test_what_comes_behind_the_reason_still_counts() -> None:
    late = {"usageMetadata": numbers(20, 7), "responseId": "late"}
    finish = finish_of(chunk(text("a"), reason="STOP", usage={}), late)
    assert finish.usage == Usage(input=20, output=7, total=27)
    assert finish.response_id == "rsp-of-the-fake"


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (
            numbers(100, 5, thoughts=30, cached=60),
            Usage(input=40, output=35, total=135, reasoning=30, cache_read=60),
        ),
        (
            {"promptTokenCount": 9, "totalTokenCount": 12, "thoughtsTokenCount": 3},
            Usage(input=9, output=3, total=12, reasoning=3),
        ),
        ({"promptTokenCount": 1, "cachedContentTokenCount": 5}, Usage(input=0, cache_read=5)),
        (
            {
                "promptTokenCount": 10,
                "candidatesTokenCount": 5,
                "toolUsePromptTokenCount": 7,
                "totalTokenCount": 22,
            },
            Usage(input=10, output=5, total=22),
        ),
        ({"promptTokenCount": "x", "candidatesTokenCount": True}, None),
    ],
)
def test_usage_in_normal_form(reported: Any, expected: Usage | None) -> None:
    assert finish_of(chunk(text("a"), reason="STOP", usage=reported)).usage == expected


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"])
def test_a_stream_without_a_reason_was_cut(end: bytes) -> None:
    failure = failure_of(frames(chunk(text("a"))) + end)
    assert (failure.kind, failure.retryable) == (ErrorKind.TIMEOUT, True)
    assert failure.message == "Google stream closed unexpectedly before the response completed."


def test_an_end_mark_of_a_gateway_ends_a_whole_answer() -> None:
    events, failure = run(frames(chunk(text("a"), reason="STOP")) + b"data: [DONE]\n\n")
    assert failure is None
    assert isinstance(events[-1], Finish)


@pytest.mark.parametrize(
    "tail",
    [
        frames(HIGH_DEMAND),
        frames([HIGH_DEMAND]),
        json.dumps(HIGH_DEMAND, indent=2).encode(),
        json.dumps([HIGH_DEMAND], indent=2).encode(),
    ],
)
@pytest.mark.parametrize("before", [b"", frames(chunk(text("a")))])
def test_an_error_is_told_as_an_event_and_as_json_behind_the_events(
    before: bytes, tail: bytes
) -> None:
    failure = failure_of(before + tail)
    assert (failure.kind, failure.retryable, failure.status_code) == (ErrorKind.TIMEOUT, True, 503)
    assert failure.message == "Google is temporarily unavailable."
    assert failure.detail.startswith("This model is currently experiencing high demand.")


@pytest.mark.parametrize(
    "body", [b"data: {\n\n", b"data: []\n\n", b"data: 1\n\n", b'data: {"candidates":1}\n\n']
)
def test_an_event_that_is_no_chunk_breaks_the_stream(body: bytes) -> None:
    assert failure_of(body).detail == "A streamed event could not be read."


def test_a_page_in_place_of_a_stream_is_no_answer() -> None:
    assert (
        failure_of(b"<html></html>").detail == "The provider did not answer with an event stream."
    )


def test_other_candidates_and_parts_that_nobody_knows_are_ignored() -> None:
    other = {"index": 1, "content": {"parts": [{"text": "no"}]}, "finishReason": "SAFETY"}
    odd = {"executableCode": {"code": "x"}}
    whole = chunk(odd, text("a"), reason="STOP")
    whole["candidates"].append(other)
    whole["mystery"] = {"a": 1}
    assert [type(event) for event in events_of(whole)] == [TextDelta, TextEnd, Finish]
    nothing = {"candidates": [{"content": {}, "finishReason": "STOP"}], "promptFeedback": "x"}
    assert [type(event) for event in events_of(nothing)] == [Finish]


# Anything at all

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | st.just("YQ=="),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
NAMES = ("text", "thought", "thoughtSignature", "functionCall", "inlineData", "toolCall")
CALLS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("id", "name", "args", "toolType", "mimeType", "data"), ANYTHING)
)
PARTS = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys(NAMES, ANYTHING | CALLS), "toolResponse": ANYTHING | CALLS}
)
CANDIDATES = st.fixed_dictionaries(
    {},
    optional={
        "index": ANYTHING,
        "content": ANYTHING | st.fixed_dictionaries({"parts": st.lists(PARTS, max_size=3)}),
        "finishReason": st.sampled_from(["STOP", "SAFETY", "MALFORMED_FUNCTION_CALL", "", None]),
        "finishMessage": ANYTHING,
        "groundingMetadata": ANYTHING | st.just({"webSearchQueries": ["q"]}),
    },
)
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "candidates": st.lists(CANDIDATES, max_size=2) | ANYTHING,
        "promptFeedback": ANYTHING | st.just({"blockReason": "OTHER"}),
        "usageMetadata": ANYTHING | st.dictionaries(st.just("promptTokenCount"), ANYTHING),
        "responseId": ANYTHING,
        "error": ANYTHING,
    },
)


@settings(max_examples=300, deadline=None)
@given(documents=st.lists(CHUNKS | ANYTHING, max_size=5))
def test_whatever_comes_ends_in_a_finish_or_a_typed_failure(documents: list[Any]) -> None:
    events, failure = run(frames(*documents))
    finished = bool(events) and isinstance(events[-1], Finish)
    assert finished == (failure is None)
    calls = [event.id for event in events if isinstance(event, ToolCall)]
    assert all(isinstance(call_id, str) and call_id for call_id in calls)
    for document in documents:
        with suppress(LLMError):
            answered(document)


# Whole answers


def answered(document: Any) -> Answer:
    return decode_answer(json.dumps(document).encode(), ANY, GOOGLE)


def test_a_whole_answer_is_its_text_without_thoughts() -> None:
    parts = text("hm", thought=True), text("Hel"), text("lo")
    assert answered(chunk(*parts, reason="STOP", usage=numbers(3, 2))) == Answer(
        text="Hello",
        reason=FinishReason.STOP,
        usage=Usage(input=3, output=2, total=5),
        response_id="rsp-of-the-fake",
    )


def test_a_whole_answer_may_be_blocked_or_empty() -> None:
    blocked = answered({"promptFeedback": {"blockReason": "SAFETY"}})
    assert (blocked.text, blocked.reason) == ("", FinishReason.CONTENT_FILTER)
    assert answered({"candidates": []}).reason is FinishReason.UNKNOWN


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'{"candidates":1}'])
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(LLMError) as caught:
        decode_answer(body, ANY, GOOGLE)
    assert caught.value.message == "Google sent an answer that cannot be read."


def test_errors_of_whole_answers() -> None:
    with pytest.raises(LLMError) as caught:
        answered(HIGH_DEMAND)
    assert caught.value.kind is ErrorKind.TIMEOUT
    with pytest.raises(LLMError) as caught:
        answered(chunk(reason="MALFORMED_FUNCTION_CALL"))
    assert caught.value.detail == "MALFORMED_FUNCTION_CALL"


# The list of models


def test_models_that_can_answer_are_listed_by_their_ids() -> None:
    listed = {
        "models": [
            {"name": "models/gemini-2.5-pro", "supportedGenerationMethods": ["generateContent"]},
            {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]},
            {"name": "of-a-gateway"},
        ]
    }
    found = decode_models(json.dumps(listed).encode(), GOOGLE)
    assert found == ["gemini-2.5-pro", "of-a-gateway"]
    with pytest.raises(LLMError):
        decode_models(b"[]", GOOGLE)
