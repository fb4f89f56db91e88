"""Recorded traffic of every wire: over HTTP, in every cut, damaged; the same laws for all."""

import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatd.chattest.anthropic_replay import expected_anthropic
from chatd.chattest.replay import (
    ExpectedAnswer,
    Interaction,
    Recording,
    ReplayServer,
    expected_chat,
    expected_gemini,
    expected_responses,
    load_recording,
)
from chatd.llm.client import complete, stream
from chatd.llm.errors import ErrorKind, LLMError
from chatd.llm.types import (
    Event,
    Finish,
    OutputSchema,
    Provider,
    ReasoningDelta,
    Request,
    Source,
    TextBlock,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
    UserMessage,
)
from chatd.llm.wires.choice import codec_for
from tests.support.recordings import FILES, KINDS, MISSING

ALL_CUTS = "CHATD_TEST_CUTS" in os.environ
EXHAUSTIVE_BYTES = 2**30 if ALL_CUTS else 8000  # every cut of longer bodies takes minutes
SAMPLED_CUTS = 300

EXPECTED: Mapping[str, Callable[[Interaction], ExpectedAnswer]] = {
    "anthropic": expected_anthropic,
    "bedrock": expected_anthropic,
    "google": expected_gemini,
    "azure-responses": expected_responses,
    "openai-responses": expected_responses,
}
"""The plainest reading of a stream by folder; others are of chat/completions."""

PERSON = OutputSchema(name="Person", schema={"type": "object"})

pytestmark = [pytest.mark.recordings, pytest.mark.timeout(3600 if ALL_CUTS else 600)]
several = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Wire:
    """The wire of a recording, and its streams."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parent.name
        self.recording: Recording = load_recording(path)
        self.streams = [
            each for each in self.recording.interactions if "stream" in each.content_type
        ]
        self.provider = Provider(kind=KINDS[self.folder], base_url="http://x", api_key="k")

    @property
    def is_framed(self) -> bool:
        return self.folder == "bedrock"

    def request(self, interaction: Interaction) -> Request:
        said = json.loads(interaction.request_body)
        is_whole = "stream" not in interaction.content_type
        # of OpenAI's models the name decides which wire it is
        takes_name = self.folder.endswith("responses")
        return Request(
            model=said["model"] if takes_name else "m",
            messages=(UserMessage(blocks=(TextBlock(text="Hi"),)),),
            output=PERSON if is_whole else None,
        )

    def decode(self, *chunks: bytes) -> tuple[list[Event], LLMError | None]:
        request = self.request(self.recording.interactions[0])
        decoder = codec_for(self.provider, request.model).decoder(request, self.provider)
        events = [event for chunk in chunks for event in decoder.feed(chunk)]
        return events + decoder.close(), decoder.failure

    def expected(self, interaction: Interaction) -> ExpectedAnswer:
        return EXPECTED.get(self.folder, expected_chat)(interaction)

    def assert_expected(self, events: Sequence[Event], interaction: Interaction) -> None:
        expected = self.expected(interaction)
        calls = [event for event in events if isinstance(event, ToolCall)]
        assert joined(events, TextDelta) == expected.text
        assert joined(events, ReasoningDelta) == expected.reasoning
        assert self._shown(calls, executed=False) == self._named(expected.tool_calls)
        assert self._shown(calls, executed=True) == self._named(expected.server_calls)
        assert tuple(e.url for e in events if isinstance(e, Source)) == expected.sources
        results = [event.call_id for event in events if isinstance(event, ToolResult)]
        assert results == [call.id for call in calls if call.provider_executed]
        assert len({call.id for call in calls}) == len(calls)
        for call in calls:
            deltas = [e for e in events if isinstance(e, ToolCallDelta) and e.id == call.id]
            assert "".join(delta.arguments_delta for delta in deltas) == call.arguments
        finish = events[-1]
        assert isinstance(finish, Finish)
        assert finish.reason.value == expected.finish_reason
        assert_usage(finish.usage, expected)

    @staticmethod
    def _shown(calls: Sequence[ToolCall], *, executed: bool) -> list[tuple[str, str, str]]:
        found = [call for call in calls if call.provider_executed is executed]
        return [(call.id, call.name, call.arguments) for call in found]

    def _named(self, calls: Sequence[tuple[str, str, str]]) -> list[Any]:
        """Return calls as they are recorded; where none has an id, any will do."""
        return [(each[0] or AnyText(), *each[1:]) for each in calls]


class AnyText(str):
    """Equal to every text: Gemini's calls have no ids, and get some here."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    __hash__ = str.__hash__


def joined(events: Sequence[Event], kind: type) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def assert_usage(usage: Usage | None, expected: ExpectedAnswer) -> None:
    assert usage is not None
    for name, number in expected.usage.items():
        assert (getattr(usage, name) or 0) == number, name


def ended_well(events: Sequence[Event]) -> bool:
    assert sum(isinstance(event, Finish) for event in events) <= 1
    return bool(events) and isinstance(events[-1], Finish)


@pytest.fixture(
    scope="module",
    params=FILES or [pytest.param(None, marks=MISSING)],
    ids=lambda path: f"{path.parent.name}/{path.stem}" if path else "none",
)
def wire(request: pytest.FixtureRequest) -> Wire:
    return Wire(request.param)


async def test_a_replayed_recording_gives_what_was_recorded(wire: Wire) -> None:
    async with ReplayServer(wire.recording) as server:
        target = Provider(kind=wire.provider.kind, base_url=server.base_url, api_key="k")
        for interaction in wire.recording.interactions:
            request = wire.request(interaction)
            if interaction in wire.streams:
                events = [event async for event in stream(request, target)]
                wire.assert_expected(events, interaction)
            else:
                answer = await complete(request, target, seconds=10)
                assert isinstance(json.loads(answer.text), dict)
                assert answer.usage is not None
                assert (answer.usage.total or 0) > (answer.usage.output or 0) > 0
    assert len(server.requests) == len(wire.recording.interactions)


def test_a_cut_at_any_byte_changes_nothing(wire: Wire) -> None:
    for body in (each.body for each in wire.streams):
        whole = wire.decode(body)
        assert whole[1] is None
        cuts = list(range(len(body) + 1))
        if len(body) > EXHAUSTIVE_BYTES:
            cuts = random.Random(len(body)).sample(cuts, SAMPLED_CUTS)
        for cut in cuts:
            assert wire.decode(body[:cut], body[cut:]) == whole, cut


def test_single_bytes_and_other_line_ends_change_nothing(wire: Wire) -> None:
    for body in (each.body for each in wire.streams):
        whole = wire.decode(body)
        assert wire.decode(*(body[at : at + 1] for at in range(len(body)))) == whole
        if not wire.is_framed:
            lines = body.replace(b"\r\n", b"\n")
            assert wire.decode(lines) == wire.decode(lines.replace(b"\n", b"\r\n")) == whole


@several
@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=20))
def test_random_pieces_change_nothing(wire: Wire, sizes: list[int]) -> None:
    for body in (each.body for each in wire.streams):
        pieces, at = list[bytes](), 0
        while at < len(body):
            size = sizes[len(pieces) % len(sizes)]
            pieces.append(body[at : at + size])
            at += size
        assert wire.decode(*pieces) == wire.decode(body)


def test_a_stream_that_ends_anywhere_is_complete_or_a_retryable_break(wire: Wire) -> None:
    for body in (each.body for each in wire.streams):
        ends = range(len(body))
        for end in random.Random(len(body)).sample(ends, min(len(body), SAMPLED_CUTS)):
            events, failure = wire.decode(body[:end])
            assert ended_well(events) == (failure is None), end
            assert failure is None or (failure.kind, failure.retryable) == (ErrorKind.TIMEOUT, True)


@several
@given(noise=st.randoms(use_true_random=False), is_cut=st.booleans())
def test_damaged_bytes_end_in_a_finish_or_in_a_typed_failure(
    wire: Wire, noise: random.Random, is_cut: bool
) -> None:
    for interaction in wire.streams:
        body = bytearray(interaction.body)
        for _ in range(noise.randint(1, 6)):
            body[noise.randrange(len(body))] = noise.randrange(256)
        events, failure = wire.decode(bytes(body[: noise.randrange(len(body)) if is_cut else None]))
        assert ended_well(events) == (failure is None)


@several
@given(order=st.randoms(use_true_random=False))
def test_events_in_any_order_end_in_a_finish_or_in_a_typed_failure(
    wire: Wire, order: random.Random
) -> None:
    for interaction in wire.streams:
        pieces = list(interaction.pieces)
        order.shuffle(pieces)
        events, failure = wire.decode(*pieces)
        assert ended_well(events) == (failure is None)


@several
@given(junk=st.binary(max_size=300))
def test_junk_is_never_an_answer(wire: Wire, junk: bytes) -> None:
    events, failure = wire.decode(junk)
    assert failure is not None
    assert events == []
