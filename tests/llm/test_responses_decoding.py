"""Streams and whole answers of the Responses wire, event by event.

What the vendor sends is documented at
https://platform.openai.com/docs/api-reference/responses-streaming
"""

import json
from typing import Any

import pytest

from chatd.chattest.responses_wire import (
    CallTool,
    Citation,
    Reply,
    Say,
    Search,
    Think,
    event_bytes,
    events_of,
    items_of,
    response_of,
)
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Answer,
    Event,
    Finish,
    FinishReason,
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
from chatd.llm.wires.responses import answer as whole
from chatd.llm.wires.responses import parts, stream
from chatd.llm.wires.responses.stream import Decoder

OPENAI = Provider(kind="openai", base_url="http://x")
STORED = {"openai": {}}


def decoded(
    *frames: Any, options: Any = None, done: bool = False
) -> tuple[list[Event], LLMError | None]:
    """Return what a stream of these documents comes to."""
    body = b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)
    return decoded_bytes(body + (b"data: [DONE]\n\n" if done else b""), options)


def decoded_bytes(body: bytes, options: Any = None) -> tuple[list[Event], LLMError | None]:
    request = Request(model="gpt-5", messages=(), provider_options=options or {})
    decoder = Decoder(request, OPENAI)
    return decoder.feed(body) + decoder.close(), decoder.failure


def events(*frames: Any, options: Any = None, done: bool = False) -> list[Event]:
    found, failure = decoded(*frames, options=options, done=done)
    assert failure is None
    return found


def replayed(reply: Reply, options: Any = None) -> tuple[dict[str, Any], list[Event]]:
    """Return the response of a reply, and the events that its stream becomes."""
    items = items_of(reply, is_encrypted=True)
    response = response_of({"model": "gpt-5"}, reply, items)
    written = enumerate(events_of(response, reply))
    body = b"".join(event_bytes(event, number) for number, event in written)
    found, failure = decoded_bytes(body, options)
    assert failure is None
    return response, found


def completed(**fields: Any) -> dict[str, Any]:
    response = {"id": "resp_1", "status": "completed", "output": [], **fields}
    return {"type": f"response.{response['status']}", "response": response}


def said(text: str, index: int = 0, part: int = 0) -> dict[str, Any]:
    kind = "response.output_text.delta"
    return {"type": kind, "output_index": index, "content_index": part, "delta": text}


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "find",
    "arguments": '{"q":1}',
    "status": "completed",
}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello", "annotations": []}],
}


# text


def test_a_message_is_its_deltas_and_an_end_with_its_id() -> None:
    response, found = replayed(Reply(output=[Say(deltas=["Hel", "lo"])]), STORED)
    assert found[:-1] == [
        TextDelta(text="Hel"),
        TextDelta(text="lo"),
        TextEnd(provider_metadata={"openai": {"item_id": response["output"][0]["id"]}}),
    ]
    assert found[-1] == Finish(
        reason=FinishReason.STOP,
        usage=Usage(input=17, output=7, total=28, reasoning=2, cache_read=4),
        response_id=response["id"],
    )


@pytest.mark.parametrize("options", [{}, {"openai": {"store": False}}, {"vercel": {}}])
def test_what_the_provider_does_not_keep_has_no_ids(options: Any) -> None:
    reply = Reply(output=[Say(deltas=["Hi"]), CallTool(name="find", arguments="{}")])
    _, found = replayed(reply, options)
    kept = [getattr(event, "provider_metadata", None) for event in found]
    assert kept == [None] * len(found)
    assert isinstance(found[-1], Finish)
    assert found[-1].response_id is None


def test_a_refusal_is_text() -> None:
    _, found = replayed(Reply(output=[Say(deltas=["I ", "cannot"], is_refusal=True)]))
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["I ", "cannot"]


def test_two_messages_are_two_texts() -> None:
    _, found = replayed(Reply(output=[Say(deltas=["a"]), Say(deltas=["b"])]))
    kinds = [type(event) for event in found]
    assert kinds == [TextDelta, TextEnd, TextDelta, TextEnd, Finish]


@pytest.mark.parametrize(
    "frames",
    [
        [{"type": "response.output_text.done", "text": "Hello", "output_index": 0}, done(MESSAGE)],
        [done(MESSAGE)],
        [completed(output=[MESSAGE])],
        [said("Hello"), done(MESSAGE)],
        [said("Hello"), {"type": "response.output_text.done", "text": "Hello", "output_index": 0}],
    ],
)
def test_text_is_said_once_wherever_it_stands(frames: list[Any]) -> None:
    found = events(*frames, completed(output=[MESSAGE]))
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["Hello"]


def test_pages_that_are_cited_stand_behind_the_text_each_once() -> None:
    cites = [Citation(url="https://a", title="A"), Citation(url="https://b")]
    cites.append(Citation(url="https://a"))
    _, found = replayed(Reply(output=[Say(deltas=["So"], cites=cites)]))
    assert found[2:-1] == [
        Source(id="source_1", url="https://a", title="A"),
        Source(id="source_2", url="https://b", title=""),
    ]


def test_only_pages_are_sources() -> None:
    notes = [{"type": "file_citation", "url": "https://x"}, {"type": "url_citation"}, 7, None]
    frames = [{"type": "response.output_text.annotation.added", "annotation": n} for n in notes]
    assert not any(isinstance(event, Source) for event in events(*frames, completed()))


# reasoning


def test_each_part_of_a_summary_is_a_block_and_the_last_one_carries_the_rest() -> None:
    response, found = replayed(Reply(output=[Think(summary=["First.", "Then."])]), STORED)
    item = response["output"][0]
    kept = {"item_id": item["id"], "encrypted_content": item["encrypted_content"]}
    assert found[:-1] == [
        ReasoningDelta(text="First."),
        ReasoningEnd(),
        ReasoningDelta(text="Then."),
        ReasoningEnd(provider_metadata={"openai": kept}),
    ]


def test_reasoning_without_words_is_kept_for_what_is_encrypted() -> None:
    response, found = replayed(Reply(output=[Think()]))
    kept = {"encrypted_content": response["output"][0]["encrypted_content"]}
    assert found[:-1] == [ReasoningEnd(provider_metadata={"openai": kept})]


def test_reasoning_of_which_nothing_is_told_is_nothing() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": []}
    assert events(added(item), done(item), completed())[:-1] == []


def test_encrypted_reasoning_counts_as_it_is_when_it_is_done() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "early"}
    found = events(added(item), done({**item, "encrypted_content": "whole"}), completed())
    assert found[0] == ReasoningEnd(provider_metadata={"openai": {"encrypted_content": "whole"}})


def test_reasoning_in_full_is_told_like_a_summary() -> None:
    kind = "response.reasoning_text.delta"
    deltas = [
        {"type": kind, "output_index": 0, "content_index": at, "delta": text}
        for at, text in [(0, "a"), (0, "b"), (1, "c")]
    ]
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "content": []}
    found = events(*deltas, done(item), completed())
    expected = [
        ReasoningDelta(text="a"),
        ReasoningDelta(text="b"),
        ReasoningEnd(),
        ReasoningDelta(text="c"),
        ReasoningEnd(),
    ]
    assert found[:-1] == expected


@pytest.mark.parametrize(
    "frames",
    [
        [{"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": "hm"}],
        [],
    ],
)
def test_reasoning_that_was_not_streamed_is_told_when_it_is_done(frames: list[Any]) -> None:
    item = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]}
    found = events(*({**f, "output_index": 0} for f in frames), done(item), completed())
    assert found[:-1] == [ReasoningDelta(text="hm"), ReasoningEnd()]


# calls


def test_calls_grow_piece_by_piece_and_end_whole() -> None:
    reply = Reply(
        output=[
            CallTool(name="find", arguments='{"query":"x"}', call_id="c1"),
            CallTool(name="list", arguments="", call_id="c2"),
        ]
    )
    response, found = replayed(reply, STORED)
    ids = [item["id"] for item in response["output"]]
    assert found[:-1] == [
        ToolCallDelta(id="c1", name="find", arguments_delta=""),
        ToolCallDelta(id="c1", name="find", arguments_delta='{"query'),
        ToolCallDelta(id="c1", name="find", arguments_delta='":"x"}'),
        ToolCall(
            id="c1",
            name="find",
            arguments='{"query":"x"}',
            provider_metadata={"openai": {"item_id": ids[0]}},
        ),
        ToolCallDelta(id="c2", name="list", arguments_delta=""),
        ToolCall(
            id="c2",
            name="list",
            arguments="{}",
            provider_metadata={"openai": {"item_id": ids[1]}},
        ),
    ]
    assert isinstance(found[-1], Finish)
    assert found[-1].reason is FinishReason.TOOL_CALLS


def test_a_call_that_was_not_streamed_is_told_when_it_is_done() -> None:
    found = events(done(CALL), completed())
    assert found[:-1] == [
        ToolCallDelta(id="c1", name="find", arguments_delta=""),
        ToolCallDelta(id="c1", name="find", arguments_delta='{"q":1}'),
        ToolCall(id="c1", name="find", arguments='{"q":1}'),
    ]


def test_calls_side_by_side_are_told_apart_by_their_place() -> None:
    kind = "response.function_call_arguments.delta"
    one, two = {**CALL, "arguments": ""}, {**CALL, "call_id": "c2", "arguments": ""}
    found = events(
        added(one, 0),
        added(two, 1),
        {"type": kind, "output_index": 1, "item_id": "changing", "delta": "[2]"},
        {"type": kind, "output_index": 0, "item_id": "ids", "delta": "[1]"},
        done({**two, "arguments": "[2]"}, 1),
        done({**one, "arguments": "[1]"}, 0),
        completed(),
    )
    calls = {event.id: event.arguments for event in found if isinstance(event, ToolCall)}
    assert calls == {"c1": "[1]", "c2": "[2]"}


def test_calls_with_one_id_or_none_get_ids_of_their_own() -> None:
    found = events(
        done(CALL, 0), done(CALL, 1), done({"type": "function_call", "name": "x"}, 2), completed()
    )
    ids = [event.id for event in found if isinstance(event, ToolCall)]
    assert ids[0] == "c1"
    assert len(set(ids)) == 3
    assert all(ids)


def test_a_call_that_is_cut_ends_by_length() -> None:
    growing = {**CALL, "arguments": "", "status": "in_progress"}
    delta = {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"q'}
    end = completed(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    for frames in (
        [added(growing), delta, end],
        [added(growing), delta, done({**CALL, "arguments": '{"q', "status": "incomplete"}), end],
    ):
        found = events(*frames)
        assert found[-2] == ToolCall(id="c1", name="find", arguments='{"q')
        assert isinstance(found[-1], Finish)
        assert found[-1].reason is FinishReason.LENGTH


def test_a_call_that_is_whole_counts_even_if_the_answer_is_not() -> None:
    end = completed(status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    found = events(added(CALL), done(CALL), end)
    assert isinstance(found[-1], Finish)
    assert found[-1].reason is FinishReason.TOOL_CALLS


def test_arguments_without_end_break_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_ARGUMENTS_CHARS", 10)
    found, failure = decoded(done({**CALL, "arguments": "x" * 11}), completed())
    assert not any(isinstance(event, Finish) for event in found)
    assert failure is not None
    assert failure.detail == stream.TOO_LARGE


def test_items_without_end_break_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_OPEN_ITEMS", 3)
    for frames in ([said("x", at) for at in range(9)], [done(CALL, at) for at in range(9)]):
        _, failure = decoded(*frames, completed())
        assert failure is not None
        assert failure.detail == stream.TOO_MUCH


# searches


def test_a_search_is_a_call_and_a_result_of_the_provider() -> None:
    reply = Reply(output=[Think(), Search(query="x"), Say(deltas=["So"])])
    response, found = replayed(reply, STORED)
    search_id = response["output"][1]["id"]
    assert found[1:4] == [
        ToolCallDelta(
            id=search_id, name=parts.WEB_SEARCH, arguments_delta="", provider_executed=True
        ),
        ToolCall(
            id=search_id,
            name=parts.WEB_SEARCH,
            arguments='{"type":"search","query":"x"}',
            provider_executed=True,
            provider_metadata={"openai": {"item_id": search_id}},
        ),
        ToolResult(call_id=search_id, name=parts.WEB_SEARCH, output={"status": "completed"}),
    ]
    assert isinstance(found[-1], Finish)
    assert found[-1].reason is FinishReason.STOP


def test_a_failed_search_is_an_error_and_sources_are_its_result() -> None:
    _, found = replayed(Reply(output=[Search(query="x", is_failed=True)]))
    assert [event.is_error for event in found if isinstance(event, ToolResult)] == [True]
    sources = [{"type": "url", "url": "https://a"}]
    action = {"type": "search", "query": "x", "sources": sources}
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": action}
    [result] = [event for event in events(done(item), completed()) if type(event) is ToolResult]
    assert result.output == {"status": "completed", "sources": sources}


# the end


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("max_output_tokens", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("steered", FinishReason.UNKNOWN),
        (None, FinishReason.UNKNOWN),
        ({}, FinishReason.UNKNOWN),
    ],
)
def test_an_incomplete_answer_says_why(reason: Any, expected: FinishReason) -> None:
    end = completed(status="incomplete", incomplete_details={"reason": reason})
    found = events(said("Hel"), end)
    assert isinstance(found[-1], Finish)
    assert found[-1].reason is expected
    body = json.dumps({**end["response"], "output": [MESSAGE]}).encode()
    assert whole.decode(body, Request(model="gpt-5", messages=()), OPENAI).reason is expected


@pytest.mark.parametrize("frames", [[], [said("Hel")], [said("Hel"), done(MESSAGE)]])
def test_a_stream_without_its_last_event_is_broken(frames: list[Any]) -> None:
    _, failure = decoded(*frames)
    assert failure is not None
    assert (failure.kind, failure.retryable) == (ErrorKind.TIMEOUT, True)
    assert failure.message == "OpenAI stream closed unexpectedly before the response completed."


def test_text_and_an_end_mark_are_a_whole_answer() -> None:
    found = events(said("Hel", 0), said("lo", 1), done=True)
    assert found == [
        TextDelta(text="Hel"),
        TextDelta(text="lo"),
        Finish(reason=FinishReason.STOP, usage=None),
    ]


@pytest.mark.parametrize("frames", [[], [done(CALL)], [said("Hi"), done(CALL, 1)]])
def test_an_end_mark_without_text_or_with_calls_is_a_broken_stream(frames: list[Any]) -> None:
    _, failure = decoded(*frames, done=True)
    assert failure is not None
    assert (failure.kind, failure.retryable) == (ErrorKind.TIMEOUT, True)


def test_nothing_counts_behind_the_end() -> None:
    found = events(said("Hi"), completed(), said("more"), {"type": "error"}, done=True)
    assert [type(event) for event in found] == [TextDelta, Finish]


def test_unknown_events_items_and_fields_are_ignored() -> None:
    found = events(
        {"type": "response.created", "response": {"id": 7, "new": {}}},
        {"type": "response.from_the_future", "delta": "no"},
        {"type": ["odd"]},
        {},
        added({"type": "mcp_call", "id": "m"}),
        done({"type": "image_generation_call", "result": "x"}),
        done({"type": "message", "content": "odd"}),
        {"type": "response.output_item.done", "item": "odd"},
        {"type": "response.output_text.delta", "delta": {"odd": 1}},
        completed(usage="odd", id=None),
        options=STORED,
    )
    assert found == [Finish(reason=FinishReason.STOP, usage=None)]


def test_an_answer_that_only_its_beginning_names_is_known_by_that() -> None:
    begun = {"type": "response.created", "response": {"id": "resp_1"}}
    end = completed(id=None)
    found = events(begun, said("Hi"), end, options=STORED)
    assert isinstance(found[-1], Finish)
    assert found[-1].response_id == "resp_1"


@pytest.mark.parametrize("response", [None, "odd", [1], 7])
def test_a_last_event_without_a_response_is_a_broken_stream(response: Any) -> None:
    _, failure = decoded(said("Hi"), {"type": "response.completed", "response": response})
    assert failure is not None
    assert failure.retryable


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
            Usage(input=3, output=2, total=5),
        ),
        (
            {"input_tokens": 3, "input_tokens_details": {"cached_tokens": 9}, "output_tokens": 1},
            Usage(input=0, output=1, cache_read=9),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
            Usage(input=3, output=2, total=5),
        ),
        ({"input_tokens": True, "output_tokens": "2"}, None),
        ([], None),
    ],
)
def test_usage_has_one_normal_form(usage: Any, expected: Usage | None) -> None:
    found = events(completed(usage=usage))
    assert found == [Finish(reason=FinishReason.STOP, usage=expected)]


# whole answers


def answered(document: Any, options: Any = None) -> Answer:
    request = Request(model="gpt-5", messages=(), provider_options=options or {})
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return whole.decode(body, request, OPENAI)


def test_a_whole_answer_is_the_text_of_its_messages() -> None:
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    refused = {"type": "message", "content": [{"type": "refusal", "refusal": "No"}]}
    output = [{"type": "reasoning", "summary": []}, MESSAGE, refused]
    document = {"id": "resp_1", "status": "completed", "output": output, "usage": usage}
    assert answered(document, STORED) == Answer(
        text="Hello No",
        reason=FinishReason.STOP,
        usage=Usage(input=3, output=2, total=5),
        response_id="resp_1",
    )
    assert answered(document).response_id is None
    assert answered({**document, "output": [CALL]}).reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize("document", [b"", b"<html>", [], {}, {"output": None}, {"output": "x"}])
def test_what_is_no_answer_cannot_be_read(document: Any) -> None:
    with pytest.raises(LLMError) as caught:
        answered(document)
    assert not caught.value.retryable


# errors


# https://platform.openai.com/docs/api-reference/responses/object#responses/object-error and
# https://platform.openai.com/docs/guides/error-codes have the codes.
ERRORS = [
    ("server_error", "The server had an error while processing your request.", "generic", True),
    ("rate_limit_exceeded", "Rate limit reached for gpt-5 in organization", "rate_limit", True),
    ("insufficient_quota", "You exceeded your current quota.", "usage_limit", False),
    ("context_length_exceeded", "Your input exceeds the context window.", "config", False),
    ("vector_store_timeout", "Timed out.", "timeout", True),
    ("invalid_prompt", "Your prompt was flagged.", "generic", False),
    ("model_not_found", "The model 'x' does not exist.", "config", False),
]


@pytest.mark.parametrize(("code", "message", "kind", "retryable"), ERRORS)
def test_an_error_is_judged_by_its_words_wherever_it_stands(
    code: str, message: str, kind: str, retryable: bool
) -> None:
    error = {"code": code, "message": message}
    frames = [
        {"type": "error", "param": None, "sequence_number": 1, **error},
        {"type": "error", "error": {"type": "x", "param": None, **error}},
        {"error": {"type": "x", **error}},
        {"type": "response.failed", "response": {"status": "failed", "error": error}},
        {"type": "response.completed", "response": {"status": "completed", "error": error}},
    ]
    failures = [decoded(said("Hel"), frame)[1] for frame in frames]
    for document in (frames[3]["response"], {"error": error}):
        with pytest.raises(LLMError) as caught:
            answered(document)
        failures.append(caught.value)
    for failure in failures:
        assert failure is not None
        assert (str(failure.kind), failure.retryable) == (kind, retryable)
        assert failure.detail == message


@pytest.mark.parametrize("response", [None, {}, {"status": "failed", "error": None}, 7])
def test_a_failure_that_says_nothing_may_pass(response: Any) -> None:
    _, failure = decoded({"type": "response.failed", "response": response})
    assert failure is not None
    assert (failure.kind, failure.retryable) == (ErrorKind.GENERIC, True)


def test_an_error_instead_of_a_stream_is_read() -> None:
    body = json.dumps({"error": {"message": "no", "code": "rate_limit_exceeded"}}).encode()
    _, failure = decoded_bytes(body)
    assert failure is not None
    assert failure.kind is ErrorKind.RATE_LIMIT
