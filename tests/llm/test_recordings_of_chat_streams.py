"""Recorded traffic of real providers, over HTTP and in every cut."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatd.chattest.replay import ReplayServer, expected_chat, load_recording
from chatd.llm.client import stream
from chatd.llm.errors import ErrorKind
from chatd.llm.openai_chat import Decoder
from chatd.llm.types import (
    Finish,
    Provider,
    ReasoningDelta,
    Request,
    TextBlock,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UserMessage,
)
from tests.support.recordings import FILES, KINDS, MISSING

EXHAUSTIVE_BYTES = 8000  # every cut of longer bodies would take too long
SAMPLED_CUTS = 500

pytestmark = pytest.mark.recordings


@pytest.fixture(
    scope="module",
    params=FILES or [pytest.param(None, marks=MISSING)],
    ids=lambda path: f"{path.parent.name}/{path.stem}" if path else "none",
)
def path(request):
    return request.param


@pytest.fixture(scope="module")
def recording(path):
    return load_recording(path)


@pytest.fixture(scope="module")
def streams(recording):
    return [found for found in recording.interactions if "event-stream" in found.content_type]


def assert_expected(events, interaction):
    expected = expected_chat(interaction)
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    reasonings = [event.text for event in events if isinstance(event, ReasoningDelta)]
    calls = [(e.id, e.name, e.arguments) for e in events if isinstance(e, ToolCall)]
    finish = events[-1]
    assert "".join(texts) == expected.text
    assert "".join(reasonings) == expected.reasoning
    assert tuple(calls) == expected.tool_calls
    assert isinstance(finish, Finish)
    assert finish.reason.value == expected.finish_reason
    for name, number in expected.usage.items():
        assert (getattr(finish.usage, name) or 0) == number, name
    for call_id, _, arguments in calls:
        deltas = [e for e in events if isinstance(e, ToolCallDelta) and e.id == call_id]
        assert "".join(delta.arguments_delta for delta in deltas) == arguments


def decode(*chunks):
    decoder = Decoder(Provider(kind="openai-compat", base_url="http://x"))
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.close(), decoder.failure


async def test_a_replayed_recording_gives_what_was_recorded(path, recording):
    request = Request(model="m", messages=(UserMessage(blocks=(TextBlock(text="Hi"),)),))
    async with ReplayServer(recording) as server:
        target = Provider(kind=KINDS[path.parent.name], base_url=server.base_url, api_key="k")
        for interaction in recording.interactions:
            if "event-stream" not in interaction.content_type:
                pytest.skip("not a stream")
            events = [event async for event in stream(request, target)]
            assert_expected(events, interaction)
    assert len(server.requests) == len(recording.interactions)


def test_a_cut_at_any_byte_changes_nothing(streams):
    for interaction in streams:
        body = interaction.body
        whole = decode(body)
        cuts = range(len(body) + 1)
        if len(body) > EXHAUSTIVE_BYTES:
            cuts = random.Random(len(body)).sample(cuts, SAMPLED_CUTS)
        for cut in cuts:
            assert decode(body[:cut], body[cut:]) == whole, cut


def test_single_bytes_and_other_line_ends_change_nothing(streams):
    for interaction in streams:
        body = interaction.body
        whole = decode(body)
        assert decode(*(body[at : at + 1] for at in range(len(body)))) == whole
        assert decode(body.replace(b"\n", b"\r\n")) == whole


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=20))
def test_random_pieces_change_nothing(streams, sizes):
    for interaction in streams:
        body, pieces, at = interaction.body, [], 0
        while at < len(body):
            size = sizes[len(pieces) % len(sizes)]
            pieces.append(body[at : at + size])
            at += size
        assert decode(*pieces) == decode(body)


def test_a_stream_that_ends_anywhere_is_complete_or_a_retryable_break(streams):
    for interaction in streams:
        body = interaction.body
        for end in random.Random(len(body)).sample(range(len(body)), SAMPLED_CUTS):
            events, failure = decode(body[:end])
            finished = bool(events) and isinstance(events[-1], Finish)
            assert finished == (failure is None)
            assert failure is None or (failure.kind, failure.retryable) == (ErrorKind.TIMEOUT, True)


def test_damaged_bytes_end_in_events_or_in_a_typed_failure(streams):
    for interaction in streams:
        noise = random.Random(len(interaction.body))
        for _ in range(30):
            body = bytearray(interaction.body)
            for _ in range(noise.randint(1, 6)):
                body[noise.randrange(len(body))] = noise.randrange(256)
            events, failure = decode(bytes(body))
            assert failure is not None or isinstance(events[-1], Finish)
