"""What recordings of the Responses API show of deltas, and events that no recording has."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatd.chattest.replay import load_recording
from chatd.llm.errors import LLMError
from chatd.llm.types import (
    Finish,
    Provider,
    ReasoningDelta,
    Request,
    TextBlock,
    TextDelta,
    ToolCallDelta,
    UserMessage,
)
from chatd.llm.wires.responses.answer import decode as decode_whole
from chatd.llm.wires.responses.stream import Decoder
from tests.support.recordings import MISSING, RESPONSES_FILES

pytestmark = pytest.mark.recordings


@pytest.fixture(
    scope="module",
    params=RESPONSES_FILES or [pytest.param(None, marks=MISSING)],
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


def request_of(interaction):
    return Request(
        model=json.loads(interaction.request_body)["model"],
        messages=(UserMessage(blocks=(TextBlock(text="Hi"),)),),
    )


def decode(*chunks):
    provider = Provider(kind="openai", base_url="http://x")
    decoder = Decoder(Request(model="gpt-5", messages=()), provider)
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.close(), decoder.failure


def deltas_in(events):
    for event in events:
        match event:
            case TextDelta(text=text) | ReasoningDelta(text=text):
                yield text
            case ToolCallDelta(arguments_delta=text) if text:
                yield text


def test_each_delta_comes_at_once_as_it_was_sent(streams):
    for interaction in streams:
        decoder = Decoder(request_of(interaction), Provider(kind="openai", base_url="http://x"))
        for piece in interaction.pieces:
            sent = json.loads(piece.decode().partition("data:")[2])
            expected = [sent["delta"]] if "delta" in sent else []
            assert list(deltas_in(decoder.feed(piece))) == expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "id", "text", "content", "summary", "call_id", "error", "url"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
NAMES = [*sorted(Decoder._READERS), "error", "response.unheard_of", ""]
MEMBERS = (
    *("delta", "text", "refusal", "arguments", "item", "item_id", "output_index"),
    *("content_index", "summary_index", "annotation", "response", "error", "code", "message"),
)
FRAMES = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(NAMES) | JSON}, optional=dict.fromkeys(MEMBERS, JSON)
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(frames=FRAMES)
def test_made_up_events_end_in_a_finish_or_in_a_typed_failure(frames):
    events, failure = decode(*(f"data: {json.dumps(frame)}\n\n".encode() for frame in frames))
    assert (failure is None) == (bool(events) and isinstance(events[-1], Finish))


@settings(max_examples=300, deadline=None)
@given(document=JSON)
def test_made_up_whole_answers_are_read_or_refused(document):
    provider = Provider(kind="openai", base_url="http://x")
    body = json.dumps(document).encode()
    try:
        answer = decode_whole(body, Request(model="gpt-5", messages=()), provider)
    except LLMError:
        return
    assert isinstance(answer.text, str)
