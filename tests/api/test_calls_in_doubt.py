"""Tool calls that may have been carried out, or not: a person decides."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from chatd.chats import runs, states
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chats.open_steps import calls_in_doubt, open_calls
from tests.api.client import Api, Chats, fresh, start
from tests.support.people import user_content

pytestmark = pytest.mark.django_db


def path(chat: Chat, call: UUID | str | None = None) -> str:
    return f"/chats/{chat.pk}/calls-in-doubt" + (f"/{call}" if call else "")


def results_of(chat: Chat) -> dict[str, Any]:
    """Return the results in the history, by call id."""
    rows = ChatMessage.objects.filter(chat=chat, role=Role.TOOL, deleted=False).order_by("id")
    return {part["tool_call_id"]: part for row in rows for part in row.content}


def test_a_lost_worker_leaves_its_calls_in_doubt_and_the_chat_says_so(
    alice: Api, chats: Chats
) -> None:
    chat = chats.doubting("call-1", "call-2")
    assert chat.status == Status.ERROR
    assert chat.last_error == runs.IN_DOUBT
    listed = alice.get(path(chat)).body
    assert [call["tool_call_id"] for call in listed] == ["call-1", "call-2"]
    assert (listed[0]["tool_name"], listed[0]["args"]) == ("lookup", '{"q":"call-1"}')
    shown = alice.get(f"/chats/{chat.pk}/messages").body["messages"]
    assert [part["type"] for part in shown[0]["content"]] == ["tool-call", "tool-call"]


def test_the_turn_goes_on_with_the_last_decision(alice: Api, chats: Chats) -> None:
    chat = chats.doubting("call-1", "call-2", "call-3")
    first, second, third = (call.id for call in calls_in_doubt(chat))
    assert alice.post(path(chat, first), {"decision": "done", "output": [1]}).status == 204
    assert alice.post(path(chat, second), {"decision": "skip"}).status == 204
    assert fresh(chat).status == Status.ERROR
    assert alice.post(path(chat, third), {"decision": "retry"}).status == 204
    assert fresh(chat).status == Status.PENDING
    results = results_of(chat)
    assert results["call-1"]["result"] == [1]
    assert "is_error" not in results["call-1"]
    assert results["call-2"]["is_error"] is True
    assert "call-3" not in results
    [left] = open_calls(chat.pk)
    assert (left.call_id, left.state) == ("call-3", "again")
    assert alice.get(path(chat)).body == []


def test_what_is_done_without_an_output_says_that_it_was_confirmed(
    alice: Api, chats: Chats
) -> None:
    chat = chats.doubting()
    [call] = calls_in_doubt(chat)
    assert alice.post(path(chat, call.id), {"decision": "done"}).status == 204
    assert results_of(chat)["call-1"]["result"] == states.CONFIRMED
    row = ChatMessage.objects.get(chat=chat, role=Role.TOOL)
    assert row.created_by == chat.owner_id
    assert fresh(chat).status == Status.PENDING


@pytest.mark.parametrize("body", [{}, {"decision": "maybe"}, {"decision": ""}])
def test_a_decision_is_one_of_three(alice: Api, chats: Chats, body: Any) -> None:
    chat = chats.doubting()
    [call] = calls_in_doubt(chat)
    refused = alice.post(path(chat, call.id), body)
    assert (refused.status, refused.body["validations"][0]["field"]) == (400, "decision")
    assert len(calls_in_doubt(chat)) == 1


def test_a_call_is_decided_once(alice: Api, chats: Chats) -> None:
    chat = chats.doubting("call-1", "call-2")
    first = calls_in_doubt(chat)[0].id
    assert alice.post(path(chat, first), {"decision": "skip"}).status == 204
    assert alice.post(path(chat, first), {"decision": "retry"}).status == 404
    assert alice.post(path(chat, uuid4()), {"decision": "retry"}).status == 404
    assert alice.post(path(chats.waiting(), first), {"decision": "retry"}).status == 409


def test_a_message_instead_of_a_decision_tells_the_model_that_nobody_knows(
    chats: Chats,
) -> None:
    chat = chats.doubting()
    states.send_message(chat.pk, user_content(chat.owner_id, "go on"))
    assert "not known whether" in results_of(chat)["call-1"]["result"]["error"]
    assert fresh(chat).status == Status.PENDING
    assert open_calls(chat.pk) == []


def test_a_call_that_is_lost_again_is_in_doubt_again(chats: Chats) -> None:
    chat = chats.doubting()
    [call] = calls_in_doubt(chat)
    states.decide_call(chat.pk, call.id, states.Decision.RETRY, decided_by=chat.owner_id)
    fence = start(chat)
    left = open_calls(chat.pk)
    left[0].state = type(left[0].state).BEGUN
    runs.open_step(fence, None, left)
    assert runs.release(chat.pk, fence.runner_id)
    assert fresh(chat).status == Status.ERROR
    assert [each.call_id for each in calls_in_doubt(chat)] == ["call-1"]
    assert ChatMessage.objects.filter(chat=chat, role=Role.ASSISTANT).count() == 1
