"""Streams of the chat/completions wire, in every dialect and every cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.llm.errors import ErrorKind
from chatd.llm.types import (
    Finish,
    FinishReason,
    Provider,
    ReasoningDelta,
    Request,
    Source,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from chatd.llm.wires.openai_chat import stream

COMPAT = Provider(kind="openai-compat", base_url="http://x", display_name="Acme")
DONE = b"data: [DONE]\n\n"


def event(document):
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def choice(delta=None, *, index=0, **rest):
    return event({"id": "r1", "choices": [{"index": index, "delta": delta, **rest}]})


def calls(*deltas):
    return choice({"tool_calls": list(deltas)})


def decode(*chunks):
    decoder = stream.Decoder(Request(model="m", messages=()), COMPAT)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.close(), decoder.failure


def answer(*chunks):
    events, failure = decode(*chunks)
    assert failure is None
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(event, Finish) for event in events) == 1
    return events


def whole_calls(*chunks):
    found = [event for event in answer(*chunks) if isinstance(event, ToolCall)]
    return [(call.id, call.name, call.arguments) for call in found]


def test_text_of_every_choice_is_one_text_in_arrival_order():
    chunks = [choice({"content": text}, index=n) for n, text in enumerate("abc")]
    assert answer(*chunks, DONE)[:3] == [TextDelta(text=text) for text in "abc"]


def test_a_choice_without_a_delta_and_unknown_fields_are_ignored():
    chunks = [event({"choices": [{"index": 0}], "extra": {"a": 1}}), event({"type": "ping"})]
    assert answer(*chunks, choice(None), choice({"content": None, "x": 1}), DONE) == [
        Finish(reason=FinishReason.UNKNOWN, usage=None, response_id="r1")
    ]


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("tool_calls", FinishReason.UNKNOWN),
        ("surprise", FinishReason.UNKNOWN),
    ],
)
def test_finish_reasons_are_translated(wire, reason):
    assert answer(choice({}, finish_reason=wire), DONE)[-1].reason is reason


def test_any_tool_call_means_tool_calls_whatever_the_reason_says():
    call = calls({"index": 0, "id": "a", "function": {"name": "t", "arguments": "{}"}})
    assert (
        answer(call, choice({}, finish_reason="stop"), DONE)[-1].reason is FinishReason.TOOL_CALLS
    )
    assert answer(call, DONE)[-1].reason is FinishReason.TOOL_CALLS


def test_a_finish_reason_without_the_end_marker_is_a_complete_answer():
    assert answer(choice({"content": "x"}, finish_reason="stop"))[-1].reason is FinishReason.STOP


def test_a_torn_last_event_after_the_finish_reason_does_no_harm():
    chunks = answer(choice({"content": "x"}, finish_reason="stop"), b'data: {"usa')
    assert chunks[-1].reason is FinishReason.STOP


@pytest.mark.parametrize(
    "body", [b"", choice({"content": "x"}), b": ping\n\n", b"<html>no</html>", b'{"choices": []}']
)
def test_neither_end_marker_nor_finish_reason_is_a_broken_stream(body):
    events, failure = decode(body)
    assert not any(isinstance(event, Finish) for event in events)
    assert failure.kind is ErrorKind.TIMEOUT
    assert failure.retryable
    assert failure.message == "Acme stream closed unexpectedly before the response completed."


@pytest.mark.parametrize(
    "data",
    [
        b"{broken",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"choices": 5}',
        b'{"choices":[{"index":"a"}]}',
        b"[" * 5000,
    ],
)
def test_an_unreadable_event_is_a_broken_stream_after_the_text_before_it(data):
    events, failure = decode(choice({"content": "x"}) + b"data: " + data + b"\n\n" + DONE)
    assert events == [TextDelta(text="x")]
    assert (failure.kind, failure.retryable) == (ErrorKind.TIMEOUT, True)


def test_everything_after_the_end_marker_is_ignored():
    assert len(answer(choice({"content": "x"}), DONE, choice({"content": "y"}), DONE)) == 2


def test_the_end_marker_is_understood_without_blank_line_and_without_space():
    assert answer(choice({"content": "x"}), b"data:[DONE]")[-1].reason is FinishReason.UNKNOWN


def test_arguments_in_many_deltas_become_one_call_at_the_end():
    events = answer(
        calls({"index": 0, "id": "a", "function": {"name": "t", "arguments": ""}}),
        calls({"index": 0, "function": {"arguments": '{"x"'}}),
        calls({"index": 0, "function": {"arguments": ""}}),
        calls({"index": 0, "function": {"arguments": ":1}"}}),
        DONE,
    )
    assert events[:4] == [
        ToolCallDelta(id="a", name="t", arguments_delta=""),
        ToolCallDelta(id="a", name="t", arguments_delta='{"x"'),
        ToolCallDelta(id="a", name="t", arguments_delta=":1}"),
        ToolCall(id="a", name="t", arguments='{"x":1}'),
    ]


def test_interleaved_calls_are_told_apart_by_index_and_kept_in_order():
    chunks = [
        calls({"index": 1, "id": "b", "function": {"name": "u", "arguments": "{"}}),
        calls({"index": 0, "id": "a", "function": {"name": "t", "arguments": "{"}}),
        calls({"index": 1, "function": {"arguments": "}"}}, {"function": {"arguments": "}"}}),
    ]
    assert whole_calls(*chunks, DONE) == [("b", "u", "{}"), ("a", "t", "{}")]


def test_a_new_id_at_the_same_index_begins_a_new_call():
    chunks = [
        calls({"index": 0, "id": "a", "function": {"name": "t", "arguments": '{"n":1}'}}),
        calls({"index": 0, "id": "b", "function": {"name": "t", "arguments": '{"n":2}'}}),
    ]
    assert whole_calls(*chunks, DONE) == [("a", "t", '{"n":1}'), ("b", "t", '{"n":2}')]


def test_a_repeated_id_continues_its_call():
    chunks = [
        calls({"index": 0, "id": "a", "function": {"name": "t", "arguments": "{"}}),
        calls({"index": 0, "id": "a", "function": {"name": "t", "arguments": "}"}}),
    ]
    assert whole_calls(*chunks, DONE) == [("a", "t", "{}")]


def test_calls_without_index_and_id_are_separate_and_get_ids():
    delta = {"function": {"name": "t", "arguments": "{}"}}
    found = whole_calls(calls(delta, delta), DONE)
    assert [call[1:] for call in found] == [("t", "{}"), ("t", "{}")]
    assert len({call[0] for call in found}) == 2
    assert all(call[0].startswith("call_") for call in found)


def test_an_id_used_for_two_calls_is_made_unique():
    deltas = [{"index": n, "id": "same", "function": {"name": "t"}} for n in range(2)]
    found = whole_calls(calls(*deltas), DONE)
    assert found[0][0] == "same"
    assert found[1][0] != "same"


def test_a_late_id_does_not_change_the_id_already_announced():
    events = answer(
        calls({"index": 0, "function": {"name": "t", "arguments": "{"}}),
        calls({"index": 0, "id": "late", "function": {"arguments": "}"}}),
        calls({"index": 0, "id": "late", "function": {"arguments": " "}}),
        DONE,
    )
    assert len({event.id for event in events[:-1]}) == 1


def test_arguments_as_an_object_and_missing_arguments_are_understood():
    chunks = [
        calls({"id": "a", "function": {"name": "t", "arguments": {"x": 1}}}),
        calls({"index": 1, "id": "b", "function": {"name": "t", "arguments": None}}),
        calls({"index": 2, "id": "c"}),
    ]
    assert whole_calls(*chunks, DONE) == [("a", "t", '{"x":1}'), ("b", "t", "{}"), ("c", "", "{}")]


def test_endless_arguments_are_cut_off(monkeypatch):
    monkeypatch.setattr(stream, "MAX_ARGUMENTS_CHARS", 10)
    piece = calls({"index": 0, "id": "a", "function": {"name": "t", "arguments": "123456"}})
    assert decode(piece, piece)[1].kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]},
        {"reasoning": {"odd": 1}, "reasoning_content": "hm"},
    ],
)
def test_reasoning_is_read_once_from_whichever_field_has_it(delta):
    assert answer(choice(delta), DONE)[0] == ReasoningDelta(text="hm")


@pytest.mark.parametrize("delta", [{"reasoning_details": [5]}, {"reasoning": ""}])
def test_empty_reasoning_says_nothing(delta):
    assert answer(choice(delta), DONE)[:-1] == []


def test_content_parts_and_refusals_are_text():
    chunks = [choice({"content": [{"type": "text", "text": "a"}, {}]}), choice({"refusal": "no"})]
    assert answer(*chunks, DONE)[:-1] == [TextDelta(text="a"), TextDelta(text="no")]


def test_cited_pages_become_sources_once():
    cited = {"type": "url_citation", "url_citation": {"url": "http://a", "title": "A"}}
    chunk = choice({"annotations": [cited, {"type": "x"}, 3]})
    assert answer(chunk, chunk, DONE)[:-1] == [Source(id="source_1", url="http://a", title="A")]


def usage_of(*usages):
    return answer(*(event({"choices": [], **usage}) for usage in usages), DONE)[-1].usage


NUMBERS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def test_usage_has_normal_form():
    detailed = {
        **NUMBERS,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert usage_of({"usage": detailed}) == Usage(
        input=6, output=5, total=15, reasoning=3, cache_read=4
    )


def test_reasoning_counted_beside_the_completion_is_added_to_the_output():
    beside = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 18,
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert usage_of({"usage": beside}).output == 8


def test_more_cached_than_prompt_tokens_never_make_a_negative_number():
    over = {**NUMBERS, "prompt_tokens_details": {"cached_tokens": 99}}
    assert usage_of({"usage": over}).input == 0


def test_the_last_usage_wins_and_silence_or_null_does_not_erase_it():
    later = {"usage": {**NUMBERS, "prompt_tokens": 11}}
    found = usage_of({"usage": NUMBERS}, later, {}, {"usage": None}, {"usage": {}})
    assert (found.input, found.output) == (11, 5)


def test_usage_of_groq_is_read_where_groq_puts_it():
    assert usage_of({"x_groq": {"id": "r", "usage": NUMBERS}}).total == 15


@pytest.mark.parametrize("odd", ["many", {"prompt_tokens": "3"}, {"total_tokens": -1}, [1], True])
def test_odd_usage_is_no_usage(odd):
    assert usage_of({"usage": odd}) is None


def test_an_error_inside_the_stream_is_classified_after_the_text_before_it():
    error = event({"error": {"message": "Rate limit reached", "code": 429}})
    events, failure = decode(choice({"content": "x"}) + error + DONE)
    assert events == [TextDelta(text="x")]
    assert (failure.kind, failure.status_code) == (ErrorKind.RATE_LIMIT, 429)
    assert failure.detail == "Rate limit reached"


@pytest.mark.parametrize(
    "document",
    [
        {"error": "The server is overloaded"},
        {"object": "error", "message": "overloaded"},
        {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
    ],
)
def test_errors_of_other_shapes_are_classified_too(document):
    assert decode(event(document))[1].kind is ErrorKind.OVERLOADED


def test_a_plain_json_error_in_place_of_a_stream_is_classified():
    body = json.dumps({"error": {"message": "invalid api key"}}, indent=1).encode()
    assert decode(body)[1].kind is ErrorKind.AUTH


def test_an_event_above_the_memory_limit_is_a_broken_stream():
    chunk = b"data: " + b"x" * 1_000_000
    assert decode(*[chunk] * 6)[1].kind is ErrorKind.TIMEOUT


def test_nothing_is_decoded_after_a_failure():
    decoder = stream.Decoder(Request(model="m", messages=()), COMPAT)
    decoder.feed(b"data: {\n\n")
    assert decoder.feed(choice({"content": "x"})) == []
    assert decoder.close() == []


FRAGMENTS = st.sampled_from(
    [
        choice({"content": "x"}),
        calls({"index": 0, "id": "a", "function": {"name": "t", "arguments": "{"}}),
        event({"usage": NUMBERS}),
        choice({}, finish_reason="stop"),
        DONE,
        b"data: ",
        b"\n\n",
        b"\r",
        b'{"choices":[{"delta":{"content":',
    ]
)


@given(st.lists(FRAGMENTS | st.binary(max_size=30), max_size=12))
def test_any_bytes_end_in_one_finish_or_in_a_typed_failure(pieces):
    events, failure = decode(*pieces)
    finishes = [event for event in events if isinstance(event, Finish)]
    assert len(finishes) == (0 if failure else 1)
    assert events[-1:] == finishes or failure


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "choices",
                        "delta",
                        "content",
                        "tool_calls",
                        "function",
                        "arguments",
                        "index",
                        "usage",
                        "error",
                        "reasoning_details",
                        "annotations",
                        "x_groq",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_document_is_an_event_or_a_typed_failure(document):
    _, failure = decode(event(document), DONE)
    assert failure is None or failure.message
