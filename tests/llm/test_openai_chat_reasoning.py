"""Reasoning on the chat/completions wire: kept as it came, given back to whom it came from."""

import base64
import json
from typing import Any

import pytest

from chatd.chattest.replay import load_recording
from chatd.llm.types import (
    AssistantMessage,
    Event,
    Finish,
    GeneratedFile,
    Provider,
    ReasoningBlock,
    ReasoningDelta,
    ReasoningEnd,
    Request,
    TextBlock,
    TextDelta,
    ToolCallBlock,
    ToolMessage,
    ToolResultBlock,
    UserMessage,
)
from chatd.llm.wires.openai_chat import reasoning
from chatd.llm.wires.openai_chat.request import encode
from chatd.llm.wires.openai_chat.stream import Decoder
from tests.support.recordings import FILES, FOLDER, MISSING

SUMMARY = {"type": "reasoning.summary", "id": "rs", "format": "f", "index": 0}
SIGNED = {"type": "reasoning.text", "format": "f", "index": 0}


def provider(kind: str) -> Provider:
    return Provider(kind=kind, base_url="http://x")


def decode(kind: str, *deltas: dict[str, Any]) -> list[Event]:
    decoder = Decoder(Request(model="m", messages=()), provider(kind))
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    lines = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    events = [event for line in (*lines, b"data: [DONE]\n\n") for event in decoder.feed(line)]
    assert decoder.failure is None
    assert isinstance(events[-1], Finish)
    return events[:-1]


def ends(events: list[Event]) -> list[Any]:
    return [event.provider_metadata for event in events if isinstance(event, ReasoningEnd)]


def sent(kind: str, *messages: Any) -> list[dict[str, Any]]:
    body = json.loads(encode(Request(model="m", messages=messages), provider(kind)))
    found: list[dict[str, Any]] = body["messages"]
    return found


def asked(words: str) -> UserMessage:
    return UserMessage(blocks=(TextBlock(text=words),))


def thought(metadata: Any, text: str = "hm") -> AssistantMessage:
    call = ToolCallBlock(id="c", name="t", arguments="{}")
    return AssistantMessage(blocks=(ReasoningBlock(text=text, provider_metadata=metadata), call))


RESULT = ToolMessage(results=(ToolResultBlock(call_id="c", name="t", output="1"),))


def test_pieces_of_one_detail_are_put_together_and_end_where_the_answer_goes_on() -> None:
    events = decode(
        "vercel",
        {"reasoning": "a ", "reasoning_details": [{**SUMMARY, "summary": "a "}]},
        {"reasoning": "b", "reasoning_details": [{**SUMMARY, "summary": "b"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "gA", "index": 0}]},
        {"content": "So."},
    )
    details = [
        {**SUMMARY, "summary": "a b"},
        {"type": "reasoning.encrypted", "data": "gA", "index": 0},
    ]
    assert events == [
        ReasoningDelta(text="a "),
        ReasoningDelta(text="b"),
        ReasoningEnd(provider_metadata={"vercel": {"reasoning_details": details}}),
        TextDelta(text="So."),
    ]


def test_a_signature_that_comes_after_its_text_belongs_to_it() -> None:
    events = decode(
        "openrouter",
        {"reasoning_details": [{**SIGNED, "text": "a"}]},
        {"reasoning_details": [{**SIGNED, "text": "b"}]},
        {"reasoning_details": [{**SIGNED, "signature": "c2ln"}]},
    )
    kept = [{**SIGNED, "text": "ab", "signature": "c2ln"}]
    assert ends(events) == [{"openrouter": {"reasoning_details": kept}}]


def test_details_of_different_places_stay_apart() -> None:
    first, second = {**SIGNED, "text": "a"}, {**SIGNED, "index": 1, "text": "b"}
    events = decode("openrouter", {"reasoning_details": [first]}, {"reasoning_details": [second]})
    assert ends(events) == [{"openrouter": {"reasoning_details": [first, second]}}]


def test_reasoning_without_any_text_is_kept() -> None:
    hidden = {"type": "reasoning.encrypted", "data": "gA", "index": 0}
    events = decode("vercel", {"reasoning_details": [hidden]}, {"content": "So."})
    assert events == [
        ReasoningEnd(provider_metadata={"vercel": {"reasoning_details": [hidden]}}),
        TextDelta(text="So."),
    ]


def test_reasoning_after_text_is_a_block_of_its_own() -> None:
    events = decode(
        "openrouter",
        {"reasoning_details": [{**SIGNED, "text": "a"}]},
        {"content": "x"},
        {"reasoning_details": [{**SIGNED, "text": "b"}]},
    )
    assert [end["openrouter"]["reasoning_details"][0]["text"] for end in ends(events)] == ["a", "b"]


def test_details_without_bounds_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoning, "MAX_DETAIL_CHARS", 100)
    piece = {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x" * 60}]}
    assert ends(decode("vercel", piece, piece, piece)) == []


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_plain_reasoning_goes_back_in_its_field_while_the_turn_lasts(name: str) -> None:
    (metadata,) = ends(decode("openai-compat", {name: "hm"}))
    assert metadata == {"openaicompat": {"field": name}}
    messages = sent("openai-compat", asked("go"), thought(metadata), RESULT)
    assert messages[1][name] == "hm"
    later = sent("openai-compat", asked("go"), thought(metadata), RESULT, asked("and now"))
    assert name not in later[1]


@pytest.mark.parametrize("kind", ["openai", "azure"])
def test_kinds_that_take_no_reasoning_back_are_sent_none(kind: str) -> None:
    assert decode(kind, {"reasoning_content": "hm"}) == [ReasoningDelta(text="hm")]
    kept = {"openai": {"field": "reasoning_content"}}
    assert set(sent(kind, asked("go"), thought(kept), RESULT)[1]) == {
        "role",
        "content",
        "tool_calls",
    }


def test_details_go_back_in_every_turn_and_to_their_gateway_alone() -> None:
    details = [{**SIGNED, "text": "hm", "signature": "c2ln"}]
    kept = {"openrouter": {"reasoning_details": details}}
    history = (asked("go"), thought(kept), RESULT, asked("and now"))
    assert sent("openrouter", *history)[1]["reasoning_details"] == details
    for other in ("vercel", "openai-compat", "openai"):
        assert "reasoning_details" not in sent(other, *history)[1]


def test_reasoning_of_other_wires_is_left_out() -> None:
    signed = {"anthropic": {"signature": "c2ln"}}
    for kind in ("openrouter", "openai-compat", "openai"):
        message = sent(kind, asked("go"), thought(signed), RESULT)[1]
        assert set(message) == {"role", "content", "tool_calls"}


@pytest.mark.recordings
@pytest.mark.parametrize(
    ("file", "kind", "names"),
    [
        ("vercel/thinking", "vercel", {"format", "index", "type", "summary", "data"}),
        ("vercel/tool", "vercel", {"format", "index", "type", "data"}),
        ("openai-compat/llama-cpp-thinking", "openai-compat", set()),
    ]
    if FILES
    else [pytest.param("", "", set(), marks=MISSING)],
)
def test_recorded_second_requests_give_the_same_reasoning_back(
    file: str, kind: str, names: set[str]
) -> None:
    first, second = load_recording(FOLDER / f"{file}.yaml").interactions[:2]
    decoder = Decoder(Request(model="m", messages=()), provider(kind))
    events = [*decoder.feed(first.body), *decoder.close()]
    (metadata,) = ends(events)
    text = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    ours = sent(kind, asked("go"), thought(metadata, text), RESULT)[1]
    recorded = next(m for m in json.loads(second.request_body)["messages"] if "tool_calls" in m)
    assert ours.get("reasoning_content") == recorded.get("reasoning_content")
    mine, theirs = (
        [{key: detail.get(key) for key in names} for detail in each.get("reasoning_details", [])]
        for each in (ours, recorded)
    )
    assert mine == theirs


def test_images_of_a_model_are_files() -> None:
    png = base64.b64encode(b"\x89PNG").decode()
    good = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
    bad = [
        {"image_url": {"url": "https://x/y.png"}},
        {"image_url": {"url": "data:image/png;base64,%%"}},
        {"image_url": {"url": "data:image/png;base64,"}},
        {"image_url": 5},
        7,
    ]
    events = decode("openrouter", {"content": "Here:", "images": [good, *bad]})
    assert events == [
        TextDelta(text="Here:"),
        GeneratedFile(media_type="image/png", data=b"\x89PNG"),
    ]


@pytest.mark.parametrize(
    "written",
    [
        {"prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20}},
        {"prompt_tokens_details": {"cached_tokens": 30}, "cache_creation_input_tokens": 20},
    ],
)
def test_tokens_written_to_a_cache_are_counted_apart(written: dict[str, Any]) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105, **written}
    decoder = Decoder(Request(model="m", messages=()), provider("openrouter"))
    body = f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"
    *_, finish = decoder.feed(body.encode())
    assert isinstance(finish, Finish)
    assert finish.usage is not None
    assert (finish.usage.input, finish.usage.cache_read, finish.usage.cache_write) == (50, 30, 20)
