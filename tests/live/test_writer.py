"""The writer of parts: the first at once, then one flush per window; numbered and bounded.

The window is either 0 or so long that it never ends by itself, so nothing here takes time.
"""

import asyncio
import itertools
import json
import math
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from chatd.core.clock import now, rfc3339
from chatd.live import writer as writer_module
from chatd.live.local import LocalBackend
from chatd.live.messages import Episode, PartEntry, StreamedPart, decode_onto
from chatd.live.writer import BEAT_SECONDS, PartWriter, fold_parts, streaming
from tests.support.metrics import Exposition

EPISODE = Episode(5, 2)
CHAT = UUID(int=5)
NEVER = 3600.0


class Log(LocalBackend):
    """A part log that remembers what it was asked, and can fail or stall."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[PartEntry] = []
        self.folded: list[PartEntry] = []
        self.retired: list[Episode] = []
        self.failures = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, chat_id: UUID, entry: PartEntry) -> bool:
        assert chat_id == CHAT
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("the line is dead")
        self.appended.append(entry)
        return True

    async def fold(self, chat_id: UUID, entry: PartEntry) -> bool:
        self.folded.append(entry)
        return True

    async def retire(self, chat_id: UUID, episode: Episode) -> None:
        self.retired.append(episode)

    def texts(self) -> list[list[str]]:
        return [texts_of(entry) for entry in self.appended]


def texts_of(entry: PartEntry) -> list[str]:
    return [json.loads(bytes(raw))["part"]["text"] for raw in entry.parts]


@pytest.fixture
async def log() -> Log:
    return Log()


def writer(log: Log, window: float = NEVER) -> PartWriter:
    return PartWriter(log, CHAT, EPISODE, window_seconds=window)


def text(words: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": words}


async def turn_of_the_loop() -> None:
    """Let everything that is ready run, and what that makes ready."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_first_part_goes_out_at_once_and_the_rest_waits_for_the_window(
    log: Log,
) -> None:
    parts = writer(log)
    parts.add("assistant", text("a"))
    await turn_of_the_loop()
    assert log.texts() == [["a"]]
    for words in ("b", "c", "d"):
        parts.add("assistant", text(words))
        await turn_of_the_loop()
    assert log.texts() == [["a"]]
    await parts.flush()
    assert log.texts() == [["a"], ["bcd"]]
    parts.stop_timer()


async def test_without_a_window_everything_goes_out_at_once(log: Log) -> None:
    parts = writer(log, window=0)
    for words in ("a", "b", "c"):
        parts.add("assistant", text(words))
        await turn_of_the_loop()
    assert log.texts() == [["a"], ["b"], ["c"]]


async def test_the_end_of_a_window_flushes_what_has_come(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = writer(log)
    parts.add("assistant", text("a"))
    await turn_of_the_loop()
    ended: list[Any] = []
    loop = asyncio.get_running_loop()
    unpatched = loop.call_at

    def call_at(when: float, callback: Any) -> asyncio.TimerHandle:
        assert 0 < when - loop.time() <= NEVER + BEAT_SECONDS
        ended.append(callback)
        return unpatched(when + NEVER, lambda: None)

    monkeypatch.setattr(loop, "call_at", call_at)
    parts.add("assistant", text("b"))
    parts.add("assistant", text("c"))
    assert len(ended) == 1, "one timer for all of them"
    ended[0]()
    await turn_of_the_loop()
    assert log.texts() == [["a"], ["bc"]]


async def test_the_windows_of_turns_that_began_apart_end_together() -> None:
    logs = [Log(), Log()]
    loop = asyncio.get_running_loop()
    beat = math.ceil(loop.time() / BEAT_SECONDS) * BEAT_SECONDS
    for log, share in zip(logs, (0.2, 0.6), strict=True):
        while loop.time() < beat + share * BEAT_SECONDS:
            await asyncio.sleep(0)
        parts = writer(log, window=5 * BEAT_SECONDS)
        parts.add("assistant", text("a"))
        await turn_of_the_loop()
        parts.add("assistant", text("b"))
        assert parts._timer is not None
        assert math.isclose(parts._timer.when(), beat + 6 * BEAT_SECONDS)
        parts.stop_timer()
        assert log.texts() == [["a"]]


async def test_entries_are_numbered_without_gaps_and_name_their_episode(log: Log) -> None:
    parts = writer(log)
    for words in ("a", "b", "c"):
        parts.add("assistant", text(words))
        await parts.flush()
    assert [entry.seq for entry in log.appended] == [1, 2, 3]
    assert {entry.episode for entry in log.appended} == {EPISODE} == {parts.episode}
    parts.stop_timer()


async def test_what_comes_while_a_flush_is_under_way_goes_out_after_it_in_order(
    log: Log,
) -> None:
    parts = writer(log, window=0)
    log.gate.clear()
    parts.add("assistant", text("a"))
    await turn_of_the_loop()
    parts.add("assistant", text("b"))
    parts.add("assistant", text("c"))
    flushed = asyncio.ensure_future(parts.flush())
    await turn_of_the_loop()
    assert not flushed.done()
    assert log.appended == []
    log.gate.set()
    await flushed
    assert log.texts() == [["a"], ["bc"]]
    assert [entry.seq for entry in log.appended] == [1, 2]


async def test_a_flush_that_is_given_up_does_not_lose_what_is_being_sent(log: Log) -> None:
    parts = writer(log, window=0)
    log.gate.clear()
    parts.add("assistant", text("a"))
    flushed = asyncio.ensure_future(parts.flush())
    await turn_of_the_loop()
    flushed.cancel()
    await turn_of_the_loop()
    assert flushed.cancelled()
    log.gate.set()
    await parts.flush()
    assert log.texts() == [["a"]]


async def test_a_flush_of_nothing_sends_nothing(log: Log) -> None:
    parts = writer(log)
    await parts.flush()
    await parts.retire()
    assert log.appended == []
    assert log.retired == []


async def test_a_log_that_fails_loses_neither_later_parts_nor_the_turn(log: Log) -> None:
    parts = writer(log)
    log.failures = 1
    parts.add("assistant", text("lost"))
    await parts.flush()
    parts.add("assistant", text("b"))
    await parts.flush()
    assert log.texts() == [["b"]]
    assert [entry.seq for entry in log.appended] == [2], "the gap tells that something is missing"


async def test_after_a_failed_append_the_log_is_written_anew_with_everything(log: Log) -> None:
    parts = writer(log)
    log.failures = 1
    parts.add("assistant", text("lost "))
    await parts.flush()
    parts.add("assistant", text("b"))
    await parts.flush()
    parts.add("assistant", text("c"))
    await parts.flush()
    assert [texts_of(entry) for entry in log.folded] == [["lost b"]], "once, and whole"
    assert log.folded[0].seq == 2


async def test_what_waits_behind_a_failed_flush_is_sent_by_the_same_call(log: Log) -> None:
    parts = writer(log)
    log.gate.clear()
    log.failures = 1
    parts.add("assistant", text("lost"))
    await turn_of_the_loop()
    parts.add("assistant", text("b"))
    log.gate.set()
    await parts.flush()
    assert log.texts() == [["b"]]


async def test_retiring_sends_the_rest_first(log: Log) -> None:
    parts = writer(log)
    parts.add("assistant", text("a"))
    await turn_of_the_loop()
    parts.add("assistant", text("b"))
    await parts.retire()
    assert log.texts() == [["a"], ["b"]]
    assert log.retired == [EPISODE]


async def test_after_the_attempt_has_ended_nothing_is_sent_by_itself(log: Log) -> None:
    parts = writer(log)
    parts.add("assistant", text("a"))
    await turn_of_the_loop()
    parts.add("assistant", text("b"))
    parts.stop_timer()
    await turn_of_the_loop()
    assert log.texts() == [["a"]]


# bounds


async def test_after_so_many_entries_the_log_is_folded_into_one(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_ENTRIES", 3)
    parts = writer(log)
    for number in range(7):
        parts.add("assistant", text(str(number)))
        await parts.flush()
    assert [entry.seq for entry in log.appended] == [1, 2, 3, 4, 5, 6, 7]
    assert [(e.seq, e.folded) for e in log.folded] == [(3, True), (6, True)]
    assert [json.loads(bytes(raw))["part"]["text"] for e in log.folded for raw in e.parts] == [
        "012",
        "012345",
    ]
    parts.stop_timer()


async def test_after_so_many_bytes_the_log_is_folded_and_then_only_when_it_has_doubled(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_BYTES", 1000)
    parts = writer(log)
    for _ in range(40):
        parts.add("assistant", text("x" * 500))
        await parts.flush()
    lengths = [len(json.loads(bytes(e.parts[0]))["part"]["text"]) for e in log.folded]
    assert lengths[0] == 1000
    assert all(later >= 1.8 * earlier for earlier, later in itertools.pairwise(lengths))
    assert 3 <= len(lengths) <= 7
    parts.stop_timer()


# folding


def call(arguments: str | None = None, call_id: str = "c", **more: Any) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "tool-call", "tool_call_id": call_id, "tool_name": "t", **more}
    return part if arguments is None else part | {"args_delta": arguments}


@pytest.mark.parametrize(
    ("streamed", "folded"),
    [
        ([], []),
        ([("assistant", text("a")), ("assistant", text("b"))], [("assistant", text("ab"))]),
        (
            [("assistant", text("a", "reasoning")), ("assistant", text("b", "reasoning"))],
            [("assistant", text("ab", "reasoning"))],
        ),
        ([("assistant", call("[1")), ("assistant", call("]"))], [("assistant", call("[1]"))]),
    ],
)
def test_adjacent_deltas_of_one_thing_are_joined(streamed: Any, folded: Any) -> None:
    assert fold_parts(streamed) == folded


@pytest.mark.parametrize(
    "streamed",
    [
        [("assistant", text("a")), ("assistant", text("b", "reasoning"))],
        [("assistant", text("a")), ("tool", text("b"))],
        [("assistant", call("a", "c1")), ("assistant", call("b", "c2"))],
        [("assistant", call("a")), ("assistant", call(None, args={}))],
        [("assistant", call(None, args={})), ("assistant", call(None, args={}))],
        [("assistant", {"type": "source", "url": "a"})] * 2,
        [("tool", {"type": "tool-result", "result": "a"})] * 2,
    ],
)
def test_parts_of_different_things_stay_apart(streamed: Any) -> None:
    assert fold_parts(streamed) == streamed


def test_folding_leaves_the_parts_it_was_given_as_they_were() -> None:
    first, second = text("a"), text("b")
    fold_parts([("assistant", first), ("assistant", second)])
    assert (first, second) == (text("a"), text("b"))


def test_folding_twice_is_folding_once() -> None:
    streamed = [
        ("assistant", text(words, kind))
        for words, kind in [("a", "text"), ("b", "text"), ("c", "reasoning"), ("d", "text")]
    ]
    streamed += [("assistant", call("[", str(uuid4())))]
    once = fold_parts(streamed)
    assert fold_parts(once) == once
    in_pieces = fold_parts([*fold_parts(streamed[:1]), *fold_parts(streamed[1:])])
    assert in_pieces == once


# ends of blocks


def ends_of(entry: PartEntry) -> list[tuple[int, Any]]:
    return [(end.after, end.metadata) for end in entry.ends]


async def test_the_end_of_a_block_travels_beside_the_parts_and_keeps_blocks_apart(
    log: Log,
) -> None:
    parts = writer(log)
    parts.add("assistant", text("a"))
    await parts.flush()
    parts.add("assistant", text("b"))
    parts.end_block("assistant", {"anthropic": {"signature": "s"}})
    parts.add("assistant", text("c"))
    parts.add("assistant", text("d"))
    await parts.flush()
    assert log.texts() == [["a"], ["b", "cd"]]
    assert ends_of(log.appended[1]) == [(1, {"anthropic": {"signature": "s"}})]
    parts.stop_timer()


async def test_an_end_that_comes_alone_is_an_entry_without_parts(log: Log) -> None:
    parts = writer(log)
    parts.add("assistant", text("a"))
    await parts.flush()
    parts.end_block("assistant")
    await parts.flush()
    assert log.texts() == [["a"], []]
    assert ends_of(log.appended[1]) == [(0, None)]
    parts.stop_timer()


async def test_a_folded_log_keeps_the_ends(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_ENTRIES", 3)
    parts = writer(log)
    for words in ("a", "b", "c"):
        parts.add("assistant", text(words))
        parts.end_block("assistant", words)
        await parts.flush()
    (folded,) = log.folded
    assert texts_of(folded) == ["a", "b", "c"]
    assert ends_of(folded) == [(1, "a"), (2, "b"), (3, "c")]
    parts.stop_timer()


async def test_when_reasoning_began_and_ended_travels_beside_the_parts(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_ENTRIES", 2)
    parts = writer(log)
    before = rfc3339(now())
    parts.add("assistant", text("one", "reasoning"))
    parts.add("assistant", text(" more", "reasoning"))
    parts.end_block("assistant")
    parts.add("assistant", text("two", "reasoning"))
    await parts.flush()
    parts.add("assistant", text(" on", "reasoning"))
    parts.add("assistant", text("a"))
    parts.add("assistant", text("b"))
    await parts.flush()
    (folded,) = log.folded
    by_entry: list[StreamedPart] = []
    for entry in log.appended:
        decode_onto(by_entry, entry)
    at_once: list[StreamedPart] = []
    decode_onto(at_once, folded)
    for found in (by_entry, at_once):
        timed = [part for part in found if part.began_at]
        assert [part.part["text"].split()[0] for part in timed] == ["one", "two", "ab"]
        (ended,) = [part for part in found if part.ended_at]
        times = [timed[0].began_at, ended.ended_at, timed[1].began_at, timed[2].began_at]
        assert [before, *times] == sorted([before, *times])
    assert all(set(json.loads(bytes(raw))["part"]) == {"type", "text"} for raw in folded.parts)
    parts.stop_timer()


class Refusing(Log):
    """A part log that takes nothing new, and says so, until it is written anew."""

    async def append(self, chat_id: UUID, entry: PartEntry) -> bool:
        return False


async def test_what_the_log_did_not_take_is_counted(exposed: Callable[[], Exposition]) -> None:
    name = "coderd_chatd_stream_buffer_dropped_total"
    before = exposed().value(name)
    parts = writer(Refusing())
    for each in ("a", "b"):
        parts.add("assistant", text(each))
        await parts.flush()
    assert exposed().value(name) == before + 2


async def test_streams_are_shown_while_they_last(
    log: Log, exposed: Callable[[], Exposition]
) -> None:
    prefix = "coderd_chatd_stream"
    gauges = ("s_active", "_buffer_events", "_buffer_size_max")

    def shown() -> list[float]:
        exposition = exposed()
        return [exposition.value(prefix + name) for name in gauges]

    short, long = writer(log), writer(log)
    with streaming(short):
        with streaming(long):
            for parts, count in ((short, 1), (long, 3)):
                for _ in range(count):
                    parts.add("assistant", text("a"))
                    await parts.flush()
            assert shown() == [2, 4, 3]
        assert shown() == [1, 1, 1]
    assert shown() == [0, 0, 0]
