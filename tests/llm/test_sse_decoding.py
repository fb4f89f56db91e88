"""The event-stream decoder: line ends, cuts, limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.llm.sse import MAX_EVENT_BYTES, EventDecoder, EventTooLargeError, ServerEvent


def decode(*chunks: bytes) -> list[ServerEvent]:
    decoder = EventDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.close()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_format_is_understood_at_every_cut(end):
    body = end.join(
        [b"event: ping", b"data: one", b"data:two", b"", b": note", b"data: 3", b"", b""]
    )
    wanted = [ServerEvent(name="ping", data=b"one\ntwo"), ServerEvent(name="", data=b"3")]
    for cut in range(len(body) + 1):
        assert decode(body[:cut], body[cut:]) == wanted
    assert decode(*(body[at : at + 1] for at in range(len(body)))) == wanted


def test_comments_and_lone_event_names_dispatch_nothing():
    assert decode(b": keep-alive\n\nevent: x\n\nid: 5\nretry: 10\n\n") == []


def test_an_event_name_does_not_leak_into_the_next_event():
    assert decode(b"event: x\n\ndata: 1\n\n") == [ServerEvent(name="", data=b"1")]


def test_a_byte_order_mark_is_skipped():
    assert decode(b"\xef\xbb\xbfdata: 1\n\n") == [ServerEvent(name="", data=b"1")]


def test_a_last_event_without_a_blank_line_is_given_at_the_end():
    assert decode(b"data: 1\n\ndata: 2") == [
        ServerEvent(name="", data=b"1"),
        ServerEvent(name="", data=b"2"),
    ]


def test_lines_that_are_no_fields_are_kept_apart():
    decoder = EventDecoder()
    assert decoder.feed(b'{"error": "no"}\n<html>\n') == []
    assert bytes(decoder.stray) == b'{"error": "no"}\n<html>\n'


def test_stray_lines_do_not_grow_without_bound():
    decoder = EventDecoder()
    for _ in range(300):
        decoder.feed(b"x" * 1000 + b"\n")
    assert len(decoder.stray) == 64 * 1024


@pytest.mark.parametrize("chunk", [b"data: " + b"x" * 65536, b"data: " + b"x" * 65536 + b"\n"])
def test_an_event_larger_than_the_limit_is_refused(chunk):
    decoder = EventDecoder()
    with pytest.raises(EventTooLargeError):
        for _ in range(MAX_EVENT_BYTES // 65536 + 1):
            decoder.feed(chunk)


def test_the_limit_counts_one_event_and_not_the_whole_stream():
    decoder = EventDecoder()
    for _ in range(20):
        assert len(decoder.feed(b"data: " + b"x" * 500_000 + b"\n\n")) == 1


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data: x\n\n", b"\r", b"\n"])))
def test_cuts_never_change_what_any_bytes_decode_to(pieces):
    assert decode(*pieces) == decode(b"".join(pieces))
