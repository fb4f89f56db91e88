"""Streams and whole answers of the Anthropic Messages wire that no recording has."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Finish,
    FinishReason,
    OutputSchema,
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
)
from chatd.llm.wires.anthropic import answer, stream

ANTHROPIC = Provider(kind="anthropic", base_url="")
REQUEST = Request(model="m", messages=())
START = {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3}}}
STOP = {"type": "message_stop"}


def begins(index, kind, **fields):
    block = {"type": kind, **fields}
    return {"type": "content_block_start", "index": index, "content_block": block}


def grows(index, kind, **fields):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def ends(index):
    return {"type": "content_block_stop", "index": index}


def because(reason, **usage):
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def decoded(*events, done=True):
    tail = (STOP,) if done else ()
    decoder = stream.Decoder(REQUEST, ANTHROPIC)
    found = []
    for event in (*events, *tail):
        raw = event if isinstance(event, bytes) else json.dumps(event).encode()
        found += decoder.feed(b"data: " + raw + b"\n\n")
    return found + decoder.close(), decoder.failure


def events_of(*events):
    found, failure = decoded(*events)
    assert failure is None
    return found


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("pause_turn", FinishReason.STOP),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("another", FinishReason.UNKNOWN),
        ({}, FinishReason.UNKNOWN),
        (None, FinishReason.UNKNOWN),
    ],
)
def test_reasons_have_their_meaning(theirs, ours):
    [finish] = events_of(START, because(theirs))
    assert finish.reason is ours
    assert finish.response_id == "msg_1"


def test_numbers_at_the_end_replace_those_of_the_beginning_and_what_is_missing_stays():
    start = {"input_tokens": 3, "cache_read_input_tokens": 8, "output_tokens": 1}
    details = {"thinking_tokens": 20}
    [finish] = events_of(
        {"type": "message_start", "message": {"usage": start}},
        because("end_turn", output_tokens=50, input_tokens=None, output_tokens_details=details),
    )
    assert finish.usage == Usage(input=3, output=50, total=53, reasoning=20, cache_read=8)


def test_numbers_of_bedrock_count_where_there_are_no_others():
    metrics = {"inputTokenCount": 5, "outputTokenCount": 6, "cacheReadInputTokenCount": 7}
    found, _ = decoded(
        because("end_turn"), STOP | {"amazon-bedrock-invocationMetrics": metrics}, done=False
    )
    assert found[-1].usage == Usage(input=5, output=6, total=11, cache_read=7)


def test_reasoning_without_text_and_redacted_reasoning_keep_what_they_need():
    assert events_of(
        begins(0, "thinking", thinking="", signature=""),
        grows(0, "signature_delta", signature="a"),
        grows(0, "signature_delta", signature="b"),
        ends(0),
        begins(1, "redacted_thinking", data="x"),
        ends(1),
        begins(2, "thinking", thinking="hm"),
        ends(2),
    )[:-1] == [
        ReasoningEnd(provider_metadata={"anthropic": {"signature": "ab"}}),
        ReasoningEnd(provider_metadata={"anthropic": {"redacted_data": "x"}}),
        ReasoningDelta(text="hm"),
        ReasoningEnd(),
    ]


def test_a_call_may_bring_its_input_whole_or_none_at_all():
    assert events_of(
        begins(0, "tool_use", id="t1", name="find", input={"a": 1}),
        ends(0),
        begins(1, "tool_use", id="t2", name="find", input={}),
        ends(1),
        begins(2, "tool_use", id="t3", name="find", input={}),
        grows(2, "input_json_delta", partial_json='{"cut'),
    )[:-1] == [
        ToolCallDelta(id="t1", name="find", arguments_delta=""),
        ToolCall(id="t1", name="find", arguments='{"a":1}'),
        ToolCallDelta(id="t2", name="find", arguments_delta=""),
        ToolCall(id="t2", name="find", arguments="{}"),
        ToolCallDelta(id="t3", name="find", arguments_delta=""),
        ToolCallDelta(id="t3", name="find", arguments_delta='{"cut'),
    ]


def test_two_calls_with_one_id_get_different_ones():
    found = events_of(
        *(
            each
            for at in (0, 1)
            for each in (begins(at, "tool_use", id="t", name="find", input={}), ends(at))
        )
    )
    ids = [event.id for event in found if isinstance(event, ToolCall)]
    assert ids[0] == "t"
    assert len(set(ids)) == 2


def test_a_search_that_failed_is_an_error_and_its_content_is_kept():
    error = {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}
    found = events_of(
        begins(0, "server_tool_use", id="srvtoolu_1", name="web_search", input={"query": "a"}),
        ends(0),
        begins(1, "web_search_tool_result", tool_use_id="srvtoolu_1", content=error),
        ends(1),
    )
    [result] = [event for event in found if isinstance(event, ToolResult)]
    assert (result.name, result.is_error) == ("web_search", True)
    assert result.output == {"error": "max_uses_exceeded"}
    kept = {"type": "web_search_tool_result", "content": error}
    assert result.provider_metadata == {"anthropic": kept}


def test_other_tools_of_the_vendor_are_kept_as_they_came():
    content = {"type": "web_fetch_result", "url": "https://a.example"}
    found = events_of(
        begins(0, "server_tool_use", id="srvtoolu_1", name="web_fetch", input={}),
        ends(0),
        begins(1, "web_fetch_tool_result", tool_use_id="srvtoolu_1", content=content),
        ends(1),
        begins(2, "web_fetch_tool_result", tool_use_id="srvtoolu_2", content=content),
        ends(2),
    )
    [result] = [event for event in found if isinstance(event, ToolResult)]
    assert result.name == "web_fetch"
    assert result.provider_metadata["anthropic"]["content"] == content


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


@pytest.mark.parametrize(
    "event",
    [
        begins(0, "tool_use", id="t", name="f", input={"a": nested(400)}),
        begins(1, "web_search_tool_result", tool_use_id="srvtoolu_1", content=nested(400)),
        grows(2, "citations_delta", citation={"a": nested(400)}),
    ],
    ids=["input", "result", "citation"],
)
def test_what_is_nested_too_deeply_breaks_the_stream(event):
    search = begins(9, "server_tool_use", id="srvtoolu_1", name="web_search", input={})
    _, failure = decoded(search, begins(2, "text", text=""), event)
    assert failure.detail == stream.TOO_DEEP


def test_a_form_that_is_nested_too_deeply_cannot_be_read():
    call = {"type": "tool_use", "name": "Person", "input": nested(400)}
    with pytest.raises(LLMError, match="cannot be read"):
        whole([call], OutputSchema(name="Person", schema={}))


def test_a_source_comes_behind_the_text_that_cites_it_and_never_inside():
    cited = {
        "type": "web_search_result_location",
        "cited_text": "c",
        "url": "https://a.example",
        "title": None,
        "encrypted_index": "i",
        "file_id": "unknown to requests",
    }
    found = events_of(
        begins(0, "text", text="", citations=[]),
        grows(0, "text_delta", text="A"),
        grows(0, "citations_delta", citation=cited),
        grows(0, "citations_delta", citation={"type": "char_location", "document_index": 0}),
        grows(0, "text_delta", text="B"),
        ends(0),
    )
    kept = {key: value for key, value in cited.items() if key != "file_id"}
    assert found[:-1] == [
        TextDelta(text="A"),
        TextDelta(text="B"),
        TextEnd(provider_metadata={"anthropic": {"citations": [kept]}}),
        Source(id="source_1", url="https://a.example", title=""),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "a_new_event", "delta": 5},
        {"type": ["ping"]},
        {"delta": {"text": "no type"}},
        grows(7, "text_delta", text="of no block"),
        grows(0, "a_new_delta", text="x"),
        grows(0, "text_delta", text=5),
        grows(0, "input_json_delta", partial_json="not of a call"),
        {"type": "content_block_delta", "index": [0], "delta": {}},
        {"type": "content_block_start", "index": 9, "content_block": "text"},
        {"type": "content_block_stop", "index": 9},
        {"type": "message_delta", "delta": 5, "usage": [1]},
        b"[DONE]",
    ],
    ids=str,
)
def test_what_nobody_knows_is_ignored(odd):
    found = events_of(
        START, begins(0, "text", text=""), odd, grows(0, "text_delta", text="a"), ends(0)
    )
    assert found[:2] == [TextDelta(text="a"), TextEnd()]


def test_a_ping_is_no_sign_of_progress():
    decoder = stream.Decoder(REQUEST, ANTHROPIC)
    decoder.feed(b'event: ping\ndata: {"type": "ping"}\n\n')
    assert decoder.events_seen == 0
    decoder.feed(b'data: {"type": "content_block_stop", "index": 0}\n\n')
    assert decoder.events_seen == 1


def test_without_its_end_the_answer_is_a_broken_stream():
    found, failure = decoded(
        START, begins(0, "text", text="a"), ends(0), because("end_turn"), done=False
    )
    assert not any(isinstance(event, Finish) for event in found)
    assert (failure.kind, failure.retryable) == (ErrorKind.TIMEOUT, True)
    assert failure.message == (
        "Anthropic stream closed unexpectedly before the response completed."
    )


def test_an_answer_that_is_too_large_is_given_up(monkeypatch):
    monkeypatch.setattr(stream, "MAX_KEPT_CHARS", 100)
    piece = grows(0, "input_json_delta", partial_json="x" * 60)
    _, failure = decoded(begins(0, "tool_use", id="t", name="f", input={}), piece, piece)
    assert failure.detail == "The answer is too large."


@pytest.mark.parametrize("raw", [b"{", b"[" * 100_000, b'"text"', b"\xff"])
def test_an_event_that_cannot_be_read_breaks_the_stream(raw):
    _, failure = decoded(raw)
    assert (failure.kind, failure.retryable) == (ErrorKind.TIMEOUT, True)


TYPES = st.sampled_from(
    "message_start content_block_start content_block_delta content_block_stop message_delta"  # noqa: SIM905
    " message_stop text thinking redacted_thinking tool_use server_tool_use text_delta"
    " web_search_tool_result citations_delta input_json_delta signature_delta"
    " thinking_delta".split()
)
KEYS = st.sampled_from(
    "type index delta content_block message usage content citation text thinking signature data"  # noqa: SIM905
    " partial_json id name input tool_use_id url title stop_reason input_tokens".split()
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | TYPES | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
EVENT = st.fixed_dictionaries(
    {"type": TYPES, "index": st.integers(0, 2)},
    optional={
        "delta": st.fixed_dictionaries({"type": TYPES}, optional={"text": ANYTHING}) | ANYTHING,
        "content_block": st.dictionaries(KEYS, ANYTHING, max_size=5) | ANYTHING,
        "message": ANYTHING,
        "usage": ANYTHING,
    },
)


@settings(max_examples=400, deadline=None)
@given(events=st.lists(EVENT, max_size=12))
def test_whatever_comes_ends_in_an_answer_or_in_a_typed_failure(events):
    found, failure = decoded(*events)
    assert failure is not None or isinstance(found[-1], Finish)


def whole(content, output=None, **fields):
    request = Request(model="m", messages=(), output=output)
    body = json.dumps({"type": "message", "id": "msg_1", "content": content, **fields}).encode()
    return answer.decode(body, request, ANTHROPIC)


def test_a_whole_answer_is_its_text_without_reasoning():
    found = whole(
        [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "Hello"},
            "odd",
            {"type": "text", "text": "there."},
        ],
        stop_reason="end_turn",
        usage={"input_tokens": 1, "output_tokens": 2},
    )
    assert (found.text, found.reason, found.response_id) == (
        "Hello there.",
        FinishReason.STOP,
        "msg_1",
    )
    assert found.usage == Usage(input=1, output=2, total=3)


def test_a_whole_answer_in_a_form_is_the_input_of_its_tool_and_else_the_text():
    form = OutputSchema(name="Person", schema={})
    call = {"type": "tool_use", "name": "Person", "input": {"name": "Alice"}}
    other = {"type": "tool_use", "name": "find", "input": {}}
    text = {"type": "text", "text": "words"}
    assert whole([text, other, call], form).text == '{"name":"Alice"}'
    assert whole([text, other], form).text == "words"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"content": 5}', b"<html>", b"[" * 100_000])
def test_what_is_no_answer_is_an_error_that_is_not_tried_again(raw):
    with pytest.raises(LLMError) as caught:
        answer.decode(raw, REQUEST, ANTHROPIC)
    assert (caught.value.kind, caught.value.retryable) == (ErrorKind.GENERIC, False)


def test_an_error_in_place_of_an_answer_is_that_error():
    raw = b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'
    with pytest.raises(LLMError) as caught:
        answer.decode(raw, REQUEST, ANTHROPIC)
    assert caught.value.kind is ErrorKind.OVERLOADED
