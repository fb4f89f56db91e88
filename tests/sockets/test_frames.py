"""Frames: arrays of events, bounded by count and by size."""

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.sockets.events import MAX_FRAME_BYTES, MAX_FRAME_EVENTS, EventEncoder, frames

CHAT = UUID("a1a1a1a1-0000-4000-8000-000000000000")
encode = EventEncoder(CHAT)


def event(size: int) -> bytes:
    return json.dumps("x" * (size - 2)).encode()


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (256, [256]), (257, [256, 1]), (513, [256, 256, 1])],
)
def test_a_frame_has_at_most_256_events(count, sizes):
    assert [len(json.loads(frame)) for frame in frames([event(9)] * count)] == sizes


@given(st.lists(st.integers(2, MAX_FRAME_BYTES // 2).map(event), max_size=20))
def test_frames_hold_every_event_once_in_order_and_stay_small(events):
    made = list(frames(events))
    assert [entry for frame in made for entry in json.loads(frame)] == [
        json.loads(entry) for entry in events
    ]
    for frame in made:
        assert frame.endswith("]\n")
        assert 1 <= len(json.loads(frame)) <= MAX_FRAME_EVENTS
        assert len(frame) <= MAX_FRAME_BYTES + 300


def test_an_event_that_is_larger_than_a_frame_goes_alone():
    made = list(frames([event(10), event(3 * MAX_FRAME_BYTES), event(10)]))
    assert [len(json.loads(frame)) for frame in made] == [1, 1, 1]


def test_every_event_names_its_type_its_chat_and_one_payload():
    payloads = {
        "status": encode.status("running"),
        "message": encode.message({"id": 1}),
        "queued_messages": encode.queue([{"id": 1}]),
        "retry": encode.retry({"attempt": 1}),
        "error": encode.error({"message": "x"}),
        "action_required": encode.action_required([]),
    }
    for payload, raw in payloads.items():
        body = json.loads(raw)
        assert body["chat_id"] == str(CHAT)
        assert set(body) == {"type", "chat_id", payload}
    assert set(json.loads(encode.queue([]))) == {"type", "chat_id"}
