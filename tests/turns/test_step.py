"""One model call: what is streamed at once, and what is stored at the end."""

from typing import Any
from uuid import uuid4

import pytest

from chatd.llm.errors import LLMError
from chatd.llm.types import (
    Finish,
    FinishReason,
    GeneratedFile,
    ReasoningDelta,
    ReasoningEnd,
    Source,
    TextDelta,
    TextEnd,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from chatd.turns import step
from chatd.turns.step import StepCollector


class Writer:
    """Takes the place of a part log; remembers what was streamed."""

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self.roles: list[str] = []
        self.ends: list[tuple[int, Any]] = []

    def add(self, role: str, part: dict[str, Any]) -> None:
        self.parts.append(part)
        self.roles.append(role)

    def end_block(self, role: str, metadata: Any = None) -> None:
        self.ends.append((len(self.parts), metadata))


@pytest.fixture
def writer() -> Writer:
    return Writer()


def collect(writer: Writer, *events: Any) -> step.StepResult:
    collector = StepCollector(writer, context_limit=1000)  # type: ignore[arg-type]
    for event in events:
        collector.add(event)
    return collector.result()


def test_text_and_reasoning_become_blocks_in_order_with_the_times_of_reasoning(
    writer: Writer,
) -> None:
    result = collect(
        writer,
        ReasoningDelta(text="hm"),
        ReasoningDelta(text="m"),
        TextDelta(text="a"),
        TextDelta(text="b"),
        Finish(reason=FinishReason.STOP, usage=None),
    )
    reasoning, text = result.content
    assert reasoning["text"] == "hmm"
    assert reasoning["created_at"] <= reasoning["completed_at"]
    assert text == {"type": "text", "text": "ab"}
    assert [part["text"] for part in writer.parts] == ["hm", "m", "a", "b"]


def test_a_call_streams_its_arguments_and_is_stored_whole(writer: Writer) -> None:
    result = collect(
        writer,
        ToolCallDelta(id="1", name="find", arguments_delta='{"q":'),
        ToolCallDelta(id="1", name="find", arguments_delta="2}"),
        ToolCall(id="1", name="find", arguments='{"q":2}'),
        Finish(reason=FinishReason.TOOL_CALLS, usage=None),
    )
    assert [part.get("args_delta") for part in writer.parts] == ['{"q":', "2}", None]
    assert result.calls == result.content
    assert result.content[0]["args"] == {"q": 2}
    assert result.content[0]["created_at"]


@pytest.mark.parametrize("arguments", ['{"q":', "NaN", "[" * 500])
def test_arguments_that_do_not_parse_are_left_out(writer: Writer, arguments: str) -> None:
    result = collect(writer, ToolCall(id="1", name="find", arguments=arguments))
    assert "args" not in result.content[0]


def test_usage_is_stored_as_reported_beside_the_context_limit(writer: Writer) -> None:
    usage = Usage(input=1, output=2, total=3, reasoning=4, cache_read=5, cache_write=6)
    result = collect(
        writer, TextDelta(text="a"), Finish(reason=FinishReason.STOP, usage=usage)
    ).usage
    assert (result.input_tokens, result.output_tokens, result.total_tokens) == (1, 2, 3)
    assert (result.reasoning_tokens, result.cache_read_tokens) == (4, 5)
    assert (result.cache_creation_tokens, result.context_limit) == (6, 1000)


def test_a_source_keeps_its_url_and_drops_what_is_empty(writer: Writer) -> None:
    result = collect(writer, Source(id="", url="https://example.com", title=""))
    assert result.content == [{"type": "source", "url": "https://example.com"}]


def test_an_answer_that_is_as_long_as_a_message_may_be_ends_there(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MAX_ANSWER_BYTES", 40)
    collector = StepCollector(writer, context_limit=1)  # type: ignore[arg-type]
    collector.add(TextDelta(text="ab"))
    assert not collector.is_full
    collector.add(TextDelta(text="c" * 1000))
    assert collector.is_full
    result = collector.result()
    assert result.reason is FinishReason.LENGTH
    assert result.content[0]["text"] == "ab" + "c" * 6 + step.CUT
    assert writer.parts[-1]["text"].endswith(step.CUT), "followers see that it was cut"


def test_what_takes_more_room_as_json_is_measured_as_json(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MAX_ANSWER_BYTES", 40)
    collector = StepCollector(writer, context_limit=1)  # type: ignore[arg-type]
    collector.add(TextDelta(text="\x01" * 10))
    assert collector.is_full


def test_reasoning_over_its_bound_is_left_out_and_the_answer_is_kept(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MAX_REASONING_BYTES", 10)
    result = collect(
        writer,
        ReasoningDelta(text="short"),
        ReasoningDelta(text="much too long"),
        TextDelta(text="ok"),
        Finish(reason=FinishReason.STOP, usage=None),
    )
    assert [part["text"] for part in result.content] == ["short", "ok"]


def test_a_tool_call_that_is_too_large_is_an_error(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(LLMError) as caught:
        collect(writer, ToolCallDelta(id="1", name="find", arguments_delta="x" * 20))
    assert (caught.value.message, caught.value.retryable) == (step.TOO_LARGE, False)


def test_nothing_said_is_no_message(writer: Writer) -> None:
    result = collect(writer, Finish(reason=FinishReason.STOP, usage=None))
    assert result.message(uuid4()) is None


SIGNED = {"anthropic": {"signature": "c2ln"}}


def test_blocks_end_where_the_provider_says_and_keep_what_it_wants_back(writer: Writer) -> None:
    result = collect(
        writer,
        ReasoningDelta(text="one"),
        ReasoningEnd(provider_metadata=SIGNED),
        ReasoningDelta(text="two"),
        ReasoningEnd(),
        TextDelta(text="a"),
        TextEnd(),
        TextDelta(text="b"),
    )
    found = [(part["type"], part["text"], part.get("provider_metadata")) for part in result.content]
    assert found == [
        ("reasoning", "one", SIGNED),
        ("reasoning", "two", None),
        ("text", "a", None),
        ("text", "b", None),
    ]
    assert writer.ends == [(1, SIGNED), (2, None), (3, None)]
    assert all("provider_metadata" not in part for part in writer.parts)


def test_reasoning_without_text_is_kept_for_its_provider(writer: Writer) -> None:
    (part,) = collect(writer, ReasoningEnd(provider_metadata=SIGNED)).content
    assert (part["text"], part["provider_metadata"]) == ("", SIGNED)
    assert writer.ends == [(1, SIGNED)]


def test_an_end_without_anything_before_it_and_without_metadata_is_nothing(writer: Writer) -> None:
    assert collect(writer, ReasoningEnd(), TextEnd()).content == []
    assert (writer.parts, writer.ends) == ([], [])


def test_what_the_provider_carries_out_stands_in_the_answer_and_is_nobody_s_to_do(
    writer: Writer,
) -> None:
    result = collect(
        writer,
        ToolCallDelta(id="s", name="web_search", arguments_delta="{}", provider_executed=True),
        ToolCall(id="s", name="web_search", arguments='{"query":"q"}', provider_executed=True),
        ToolResult(call_id="s", name="web_search", output=[{"url": "u"}], provider_metadata=SIGNED),
    )
    call, found = result.content
    assert result.calls == []
    assert call["args"] == {"query": "q"}
    assert call["provider_executed"] is found["provider_executed"] is True
    assert found["result"] == [{"url": "u"}]
    assert found["provider_metadata"] == SIGNED
    assert [part["type"] for part in writer.parts] == ["tool-call", "tool-call", "tool-result"]
    assert all(part["provider_executed"] for part in writer.parts)
    assert writer.roles == ["assistant", "assistant", "tool"]


def test_a_failed_search_is_marked_as_an_error(writer: Writer) -> None:
    failed = ToolResult(call_id="s", name="web_search", output={"error": "no"}, is_error=True)
    (part,) = collect(writer, failed).content
    assert part["is_error"] is True


def test_a_file_of_the_model_is_kept_with_its_bytes(writer: Writer) -> None:
    (part,) = collect(writer, GeneratedFile(media_type="image/png", data=b"\x89PNG")).content
    assert part == {"type": "file", "media_type": "image/png", "data": "iVBORw=="}
    assert writer.parts == [part]


def test_a_file_too_large_for_a_message_ends_the_call(writer: Writer, monkeypatch: Any) -> None:
    monkeypatch.setattr(step, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(LLMError, match="too large"):
        collect(writer, GeneratedFile(media_type="image/png", data=b"x" * 20))


def test_reasoning_that_was_cut_loses_its_signature_and_later_reasoning_keeps_its_own(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MAX_REASONING_BYTES", 10)
    signed = {"anthropic": {"signature": "s"}}
    result = collect(
        writer,
        ReasoningDelta(text="123"),
        ReasoningDelta(text="4567890123"),
        ReasoningEnd(provider_metadata=signed),
        ReasoningDelta(text="1"),
        ReasoningEnd(provider_metadata=signed),
    )
    assert [part["text"] for part in result.content] == ["123", "1"]
    assert [part.get("provider_metadata") for part in result.content] == [None, signed]
    assert [metadata for _, metadata in writer.ends] == [None, signed]
