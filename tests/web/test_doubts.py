"""Tool calls in doubt on the page of their chat: what they were, and three buttons."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from django.test import Client

from chatd.accounts.models import User
from chatd.chats.models import Chat, ChatMessage, Role, Status
from chatd.chats.open_steps import CallState, OpenCall, calls_in_doubt
from chatd.chats.runs import IN_DOUBT
from chatd.chats.step_models import OpenStep
from tests.web.conftest import add_message, browser_of

CALL = {
    "type": "tool-call",
    "tool_call_id": "call-1",
    "tool_name": "bank__transfer",
    "args": {"to": "<b>bob</b>"},
}


@pytest.fixture
def doubting(new_chat: Callable[..., Chat]) -> Chat:
    chat = new_chat("Pay bob", status="error", last_error=IN_DOUBT)
    add_message(chat, CALL)
    left = [OpenCall(call=CALL, state=CallState.IN_DOUBT)]
    OpenStep.objects.create(chat=chat, calls=msgspec.to_builtins(left))
    return chat


def decide(client: Client, chat: Chat, decision: str) -> Any:
    [call] = calls_in_doubt(chat)
    address = f"/chats/{chat.pk}/doubts/{call.id}"
    assert address in client.get(f"/chats/{chat.pk}").content.decode()
    return client.post(address, {"decision": decision})


def test_a_call_in_doubt_is_shown_with_what_it_was(page: Client, doubting: Chat) -> None:
    html = page.get(f"/chats/{doubting.pk}").content.decode()
    assert IN_DOUBT["message"] in html
    section = html[html.index('id="doubts"') :]
    assert "bank__transfer" in section
    assert "&lt;b&gt;bob" in section
    for button in ("Carry out again", "It was done", "Skip it"):
        assert button in section


@pytest.mark.parametrize(("decision", "results"), [("retry", 0), ("done", 1), ("skip", 1)])
def test_a_decision_lets_the_turn_go_on(
    page: Client, doubting: Chat, decision: str, results: int
) -> None:
    answer = decide(page, doubting, decision)
    assert answer.status_code == 302
    doubting.refresh_from_db()
    assert doubting.status == Status.PENDING
    stored = ChatMessage.objects.filter(chat=doubting, role=Role.TOOL)
    assert stored.count() == results


def test_no_decision_is_told_and_changes_nothing(page: Client, doubting: Chat) -> None:
    answer = decide(page, doubting, "")
    assert answer.status_code == 400
    assert "Choose what to do with the tool call." in answer.content.decode()
    assert len(calls_in_doubt(doubting)) == 1


def test_who_only_reads_sees_the_call_and_no_buttons(doubting: Chat, carol: User) -> None:
    doubting.user_acl = {str(carol.pk): {"permissions": ["read"]}}
    doubting.save()
    html = browser_of(carol).get(f"/chats/{doubting.pk}").content.decode()
    assert "bank__transfer" in html
    assert "Carry out again" not in html
