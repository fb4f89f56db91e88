"""What an interrupted step has streamed becomes messages that can be stored and shown again."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from chatd.chats.models import Chat, Role, Status
from chatd.chats.new_messages import NewMessage
from chatd.chats.partial import (
    INTERRUPTED_CALL,
    Partial,
    partial_from_log,
    partial_messages,
    synthetic_results,
)
from chatd.chats.selectors import visible_messages
from chatd.chats.states import interrupt
from chatd.core.clock import now, rfc3339
from chatd.live.messages import Episode, PartEntry, StreamedPart, encode
from chatd.live.writer import fold_parts
from tests.chats.situations import put_into

MODEL = UUID(int=7)


def text(words: str, kind: str = "text") -> StreamedPart:
    return StreamedPart(role="assistant", part={"type": kind, "text": words})


def delta(arguments: str, call_id: str = "c1", name: str = "search") -> StreamedPart:
    part = {
        "type": "tool-call",
        "tool_call_id": call_id,
        "tool_name": name,
        "args_delta": arguments,
    }
    return StreamedPart(role="assistant", part=part)


def call(args: Any, call_id: str = "c1", **more: Any) -> StreamedPart:
    part = {"type": "tool-call", "tool_call_id": call_id, "tool_name": "search", "args": args}
    return StreamedPart(role="assistant", part=part | more)


def result(call_id: str = "c1") -> StreamedPart:
    part = {"type": "tool-result", "tool_call_id": call_id, "tool_name": "search", "result": 4}
    return StreamedPart(role="tool", part=part)


def stored(*parts: StreamedPart) -> list[NewMessage]:
    return partial_messages(Partial(None, parts), model_config_id=MODEL)


def answer_of(*parts: StreamedPart) -> list[dict[str, Any]]:
    messages = stored(*parts)
    assert messages[0].role == Role.ASSISTANT
    return messages[0].content


def test_adjacent_deltas_of_one_kind_become_one_part() -> None:
    assert answer_of(text("a "), text("b"), text("c", "reasoning"), text("d"), text("e")) == [
        {"type": "text", "text": "a b"},
        {"type": "reasoning", "text": "c"},
        {"type": "text", "text": "de"},
    ]


def test_nothing_streamed_leaves_no_message() -> None:
    assert stored() == []


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_a_blank_text_is_not_stored(blank: str) -> None:
    assert stored(text(blank)) == []
    assert answer_of(text(blank), call({})) == [call({}).part]


def test_spaces_around_and_inside_a_text_are_kept() -> None:
    assert answer_of(text(" a"), text("\n"), text("b ")) == [{"type": "text", "text": " a\nb "}]


def test_the_arguments_of_a_call_are_joined_and_read() -> None:
    messages = stored(delta('{"q":'), delta(' "x"}'))
    assert messages[0].content == [
        {"type": "tool-call", "tool_call_id": "c1", "tool_name": "search", "args": {"q": "x"}}
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"q": "cut in the mid',
        "",
        "no JSON",
        '{"q": NaN}',
        '{"q": 1e999}',
        '{"q": "\\ud800"}',
        "[" * 5000,
        "[" * 300 + "]" * 300,
    ],
    ids=["cut", "empty", "words", "NaN", "infinite", "surrogate", "abyss", "deep"],
)
def test_arguments_that_cannot_be_stored_leave_a_call_without_any(arguments: str) -> None:
    [block] = answer_of(delta(arguments))
    assert block == {"type": "tool-call", "tool_call_id": "c1", "tool_name": "search"}


def test_a_large_number_in_the_arguments_is_kept_exactly() -> None:
    [block] = answer_of(delta('{"id": 123456789012345678901234567890}'))
    assert block["args"] == {"id": 123456789012345678901234567890}


def test_a_whole_call_replaces_its_deltas() -> None:
    whole = call({"q": "whole"}, created_at="2026-01-01T00:00:00Z")
    assert answer_of(delta('{"q":'), whole) == [whole.part]


def test_two_calls_that_stream_in_turns_are_kept_apart() -> None:
    blocks = answer_of(delta("[1", "c1"), delta("[2", "c2"), delta(",1]", "c1"), delta("]", "c2"))
    assert [(block["tool_call_id"], block["args"]) for block in blocks] == [
        ("c1", [1, 1]),
        ("c2", [2]),
    ]


def test_a_source_stays_where_it_came_and_parts_a_text_in_two() -> None:
    source = StreamedPart(role="assistant", part={"type": "source", "url": "https://a"})
    assert answer_of(text("a"), source, text("b")) == [
        {"type": "text", "text": "a"},
        {"type": "source", "url": "https://a"},
        {"type": "text", "text": "b"},
    ]


def test_a_call_without_a_result_gets_an_error_result_after_the_answer() -> None:
    assistant, tool = stored(text("let me look"), call({"q": 1}))
    assert (assistant.role, tool.role) == (Role.ASSISTANT, Role.TOOL)
    [part] = tool.content
    assert part.pop("created_at").endswith("Z")
    assert part == {
        "type": "tool-result",
        "tool_call_id": "c1",
        "tool_name": "search",
        "result": {"error": INTERRUPTED_CALL},
        "is_error": True,
    }


def test_a_result_that_was_streamed_is_kept_and_not_doubled() -> None:
    messages = stored(call({}, "c1"), call({}, "c2"), result("c1"))
    assert [m.content[0].get("tool_call_id") for m in messages[1:]] == ["c1", "c2"]
    assert messages[1].content == [result("c1").part]
    assert messages[2].content[0]["is_error"] is True


def test_a_call_that_the_provider_made_and_answered_stands_in_the_answer() -> None:
    part = {"type": "tool-result", "tool_call_id": "c1", "result": [], "provider_executed": True}
    found = StreamedPart(role="tool", part=part)
    (message,) = stored(call({}, provider_executed=True), found)
    assert [part["type"] for part in message.content] == ["tool-call", "tool-result"]


def test_a_call_that_the_provider_made_and_did_not_answer_is_dropped() -> None:
    (message,) = stored(text("a"), call({}, provider_executed=True))
    assert [part["type"] for part in message.content] == ["text"]


def test_blocks_end_where_they_ended_and_keep_what_their_provider_wants_back() -> None:
    signed = {"anthropic": {"signature": "c2ln"}}
    ended = StreamedPart(
        role="assistant",
        part={"type": "reasoning", "text": "m"},
        is_last=True,
        metadata=signed,
    )
    reasoning = text("h", "reasoning"), ended, text("more", "reasoning")
    assert answer_of(*reasoning) == [
        {"type": "reasoning", "text": "hm", "provider_metadata": signed},
        {"type": "reasoning", "text": "more"},
    ]


def test_what_a_provider_wants_back_with_a_call_goes_to_that_call() -> None:
    signed = {"google": {"thought_signature": "c2ln"}}
    whole = call({"q": 1})
    ended = StreamedPart(role=whole.role, part=whole.part, is_last=True, metadata=signed)
    first, second = answer_of(delta('{"q":', "c1"), delta("{}", "c2"), ended)
    assert first["provider_metadata"] == signed
    assert "provider_metadata" not in second


def test_a_partial_answer_counts_no_usage_and_names_the_model_of_the_chat() -> None:
    for message in stored(text("a"), call({})):
        assert message.model_config_id == MODEL
        assert message.created_by is None
        assert message.usage.output_tokens is None
        assert message.runtime_ms is None


def test_the_log_is_read_in_order_and_a_folded_entry_counts_as_what_it_stands_for() -> None:
    episode = Episode(3, 1)
    streamed = [text("a"), text("b"), delta("[1"), delta(",2]"), text("c")]
    pairs = [(item.role, item.part) for item in streamed]

    def entry(seq: int, some: list[tuple[str, dict[str, Any]]], *, folded: bool) -> PartEntry:
        raw = [msgspec.Raw(encode({"role": role, "part": part})) for role, part in some]
        return PartEntry(episode=episode, seq=seq, parts=raw, folded=folded)

    single = [entry(n + 1, [pair], folded=False) for n, pair in enumerate(pairs)]
    folded = [entry(5, fold_parts(pairs), folded=True)]
    by_piece = partial_from_log(episode, single)
    assert by_piece.episode == episode
    expected = [
        {"type": "text", "text": "ab"},
        {"type": "tool-call", "tool_call_id": "c1", "tool_name": "search", "args": [1, 2]},
        {"type": "text", "text": "c"},
    ]
    for partial in (by_piece, partial_from_log(episode, folded)):
        assert partial_messages(partial, model_config_id=MODEL)[0].content == expected


@pytest.mark.parametrize(("there", "kept"), [((1, 2, 4), "ab"), ((2, 3), ""), ((3, 4), "")])
def test_an_answer_whose_log_has_a_hole_is_kept_up_to_it(there: tuple[int, ...], kept: str) -> None:
    entries = [
        PartEntry(
            episode=Episode(3, 1),
            seq=seq,
            parts=[msgspec.Raw(encode({"role": "assistant", "part": text("_abcd"[seq]).part}))],
        )
        for seq in there
    ]
    partial = partial_from_log(Episode(3, 1), entries)
    assert "".join(item.part["text"] for item in partial.parts) == kept


def test_a_reason_is_the_result_of_every_open_client_side_call() -> None:
    calls = [{"tool_call_id": "c1", "tool_name": "ask"}, {"tool_call_id": "c2", "tool_name": "ask"}]
    messages = synthetic_results(calls, "stopped", model_config_id=MODEL)
    assert [message.role for message in messages] == [Role.TOOL, Role.TOOL]
    assert [message.content[0]["tool_call_id"] for message in messages] == ["c1", "c2"]
    for message in messages:
        assert message.content[0]["result"] == "stopped"
        assert message.content[0]["is_error"] is True


@pytest.mark.django_db
def test_what_a_model_streams_can_always_be_stored_and_read_back(
    new_chat: Callable[..., Chat],
) -> None:
    chat = put_into(new_chat(), Status.RUNNING)
    partial = Partial(
        None,
        (
            text("nul \x00, mark \ue000, pair \ue000\ue001, face \U0001f600"),
            delta('{"a\\u0000": ["\\u0000"], "n": 99999999999999999999}', str(uuid4())),
        ),
    )
    interrupt(chat.pk, partial=partial)
    *_, message, tool = visible_messages(chat.pk).order_by("id")
    assert message.content[0]["text"] == "nul \x00, mark \ue000, pair \ue000\ue001, face \U0001f600"
    assert message.content[1]["args"] == {"a\x00": ["\x00"], "n": 99999999999999999999}
    assert tool.role == Role.TOOL


def test_how_a_compaction_shows_itself_is_no_part_of_an_answer() -> None:
    named = {"tool_call_id": "chat_summarized_1", "tool_name": "chat_summarized"}
    begun = StreamedPart(role="assistant", part={"type": "tool-call", **named})
    ended = StreamedPart(role="tool", part={"type": "tool-result", **named, "result": {}})
    assert stored(begun) == stored(begun, ended) == stored(ended) == []
    assert stored(ended, text("On it goes.")) == stored(text("On it goes."))


def test_reasoning_that_was_cut_keeps_its_times_and_ends_with_the_interrupt() -> None:
    before = rfc3339(now())
    begun = msgspec.structs.replace(text("h", "reasoning"), began_at="2026-01-01T00:00:01Z")
    [block] = answer_of(begun, text("m", "reasoning"))
    assert before <= block.pop("completed_at") <= rfc3339(now())
    assert block == {"type": "reasoning", "text": "hm", "created_at": "2026-01-01T00:00:01Z"}


@pytest.mark.parametrize("is_ended", [True, False], ids=["said", "seen by what follows"])
def test_reasoning_that_had_ended_before_an_interrupt_keeps_its_end(*, is_ended: bool) -> None:
    first, second = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"
    begun = msgspec.structs.replace(text("hm", "reasoning"), began_at=first)
    answered = text("So: ")
    if is_ended:
        begun = msgspec.structs.replace(begun, is_last=True, ended_at=second)
    else:
        answered = msgspec.structs.replace(answered, began_at=second)
    assert answer_of(begun, answered) == [
        {"type": "reasoning", "text": "hm", "created_at": first, "completed_at": second},
        {"type": "text", "text": "So: "},
    ]
