"""The judge notices what it is there for."""

from types import SimpleNamespace
from typing import Any

import pytest

from chatd.chattest.openai import OpenAIMessage, OpenAIRequest
from tests.faults.caller import Answer, wrong_with
from tests.faults.load import Work
from tests.faults.provider import BOOKING_TOOL, FaultProvider
from tests.faults.verdict import Verdict, _behind, judge_chat

GOOD = {"status": "waiting", "last_error": None, "queued": 0}
CALL = {"type": "tool-call", "tool_call_id": "c", "tool_name": "book", "args": {}}
RESULT = {"type": "tool-result", "tool_call_id": "c", "result": {}}


def row(number: int, role: str, *parts: Any, deleted: bool = False) -> dict[str, Any]:
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return {"id": number, "role": role, "content": content, "deleted": deleted}


ASKED, ANSWERED = row(1, "user", "hello"), row(2, "assistant", "hello answer 1 end")
WITH_TOOL = [ASKED, row(3, "assistant", CALL), row(4, "tool", RESULT), row(5, "assistant", "one")]


def judged(rows: list[dict[str, Any]], chat: Any = GOOD, *, kind: str = "plain") -> list[int]:
    provider: Any = SimpleNamespace(given={"hello": {"hello answer 1 end", "one"}})
    work = Work(kind, person=None, id="x", promised=["hello"])  # type: ignore[arg-type]
    found = Verdict()
    judge_chat(found, work, chat, rows, provider)
    return found.counts()[:4]


@pytest.mark.parametrize(
    ("rows", "chat", "counts"),
    [
        ([ASKED, ANSWERED], GOOD, [0, 0, 0, 0]),
        (WITH_TOOL, GOOD, [0, 0, 0, 0]),
        ([ASKED, ANSWERED], None, [1, 0, 0, 0]),
        ([], GOOD, [1, 0, 0, 0]),
        ([ASKED], GOOD, [1, 0, 0, 0]),
        ([ASKED, row(2, "assistant", "hello answer 1")], GOOD, [1, 0, 0, 0]),
        ([ASKED, ANSWERED], GOOD | {"queued": 1}, [1, 0, 0, 0]),
        ([*WITH_TOOL[:2], *WITH_TOOL[3:]], GOOD, [1, 0, 0, 0]),
        (
            [ASKED, ANSWERED, row(3, "user", "hello"), row(4, "assistant", "one")],
            GOOD,
            [0, 1, 0, 0],
        ),
        ([ASKED, ANSWERED, row(3, "assistant", "one")], GOOD, [0, 1, 0, 0]),
        ([ASKED, ANSWERED | {"deleted": True}, ANSWERED], GOOD, [0, 1, 0, 0]),
        ([ASKED, ANSWERED], GOOD | {"status": "running"}, [0, 0, 1, 0]),
        ([ASKED, row(2, "assistant", "what nobody said")], GOOD, [1, 0, 0, 1]),
    ],
)
def test_what_is_wrong_with_a_chat_is_counted(
    rows: list[dict[str, Any]], chat: Any, counts: list[int]
) -> None:
    assert judged(rows, chat) == counts


def test_an_interrupted_answer_may_be_short_or_missing() -> None:
    assert judged([ASKED], kind="interrupting") == [0, 0, 0, 0]
    assert judged([ASKED, row(2, "assistant", "hello a")], kind="interrupting") == [0, 0, 0, 0]


def test_a_follower_has_to_show_what_is_stored() -> None:
    reader = SimpleNamespace(messages={1: ASKED, 2: ANSWERED}, status="waiting", queue=[])
    assert not _behind(reader, [ASKED, ANSWERED])
    assert "stored are [1]" in _behind(reader, [ASKED, ANSWERED | {"deleted": True}])
    reader.status = "running"
    assert _behind(reader, [ASKED, ANSWERED]) == "shows running"


@pytest.mark.parametrize(("tools", "noticed"), [([], ["book-1"]), ([BOOKING_TOOL], [])])
async def test_a_message_that_came_without_its_tool_is_noticed(
    tools: list[str], noticed: list[str]
) -> None:
    provider = FaultProvider()
    await provider._answer(
        OpenAIRequest(
            path="/chat/completions",
            model="fake",
            messages=(OpenAIMessage(role="user", content="book-1", raw={}),),
            stream=True,
            headers={},
            body={"tools": [{"function": {"name": name}} for name in tools]},
            raw=b"",
        )
    )
    assert provider.unequipped == noticed


@pytest.mark.parametrize(
    ("status", "headers", "raw", "is_clean"),
    [
        (503, {"Retry-After": "1"}, b'{"message": "Away."}', True),
        (503, {}, b'{"message": "Away."}', False),
        (503, {"Retry-After": "1"}, b"<h1>Away</h1>", False),
        (500, {"Retry-After": "1"}, b'{"message": "Away."}', False),
    ],
)
def test_a_503_has_a_form(status: int, headers: Any, raw: bytes, is_clean: bool) -> None:
    assert bool(wrong_with(Answer(status, headers, raw))) is not is_clean
