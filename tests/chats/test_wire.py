"""The JSON shapes of chats, messages and the queue: what is always there, what is left out."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from chatd.chats.models import Chat, ChatMessage, ChatQueuedMessage, PlanMode, Role, Status
from chatd.chats.wire import (
    UNKNOWN_ERROR_MESSAGE,
    chat_body,
    client_call_bodies,
    empty_diff_status,
    error_body,
    message_body,
    queued_body,
)
from tests.support.contract import CHAT_ALWAYS
from tests.support.people import text

pytestmark = pytest.mark.django_db

SOME_ID = UUID("0b0f8a4e-4c6f-4e0f-8d0a-6a3c1f7f9a01")
AT = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
AT_TEXT = "2026-01-02T03:04:05.678900Z"


def test_a_plain_chat_has_exactly_the_members_that_are_always_there(
    new_chat: Callable[..., Chat],
) -> None:
    chat = new_chat()
    body = chat_body(chat)
    assert set(body) == CHAT_ALWAYS
    assert body["root_chat_id"] == body["id"] == str(chat.pk)
    assert body["children"] == body["mcp_server_ids"] == []
    assert body["labels"] == {}
    assert body["last_turn_summary"] is None
    assert (body["status"], body["client_type"]) == ("pending", "api")
    assert body["has_unread"] is False


@pytest.mark.parametrize(
    ("fields", "name", "shown"),
    [
        ({"workspace_id": SOME_ID}, "workspace_id", str(SOME_ID)),
        ({"build_id": SOME_ID}, "build_id", str(SOME_ID)),
        ({"agent_id": SOME_ID}, "agent_id", str(SOME_ID)),
        ({"plan_mode": PlanMode.PLAN}, "plan_mode", "plan"),
        ({"created_at": AT}, "created_at", AT_TEXT),
        ({"last_turn_summary": "Fixed it"}, "last_turn_summary", "Fixed it"),
        ({"labels": {"a": "b"}}, "labels", {"a": "b"}),
        (
            {
                "last_injected_context": [
                    {"type": "skill", "skill_name": "s", "skill_dir": "/secret"}
                ]
            },
            "last_injected_context",
            [{"type": "skill", "skill_name": "s"}],
        ),
        (
            {"last_error": {"message": "m", "kind": "auth", "retryable": True}},
            "last_error",
            {"message": "m", "kind": "auth", "retryable": True},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_optional_member_appears_when_it_is_set(
    fields: dict[str, Any], name: str, shown: Any, new_chat: Callable[..., Chat]
) -> None:
    chat = new_chat()
    for field, value in fields.items():
        setattr(chat, field, value)
    assert chat_body(chat)[name] == shown


def test_a_sub_chat_names_its_parent_and_its_root(new_chat: Callable[..., Chat]) -> None:
    root, child, orphan = new_chat(), new_chat(), new_chat()
    child.parent_chat = child.root_chat = root
    orphan.parent_chat = root
    for chat in (child, orphan):
        body = chat_body(chat)
        assert (body["parent_chat_id"], body["root_chat_id"]) == (str(root.pk), str(root.pk))
    assert "parent_chat_id" not in chat_body(root)


def test_what_the_caller_knows_is_added_and_empty_extras_are_not(
    new_chat: Callable[..., Chat],
) -> None:
    chat = new_chat()
    diff = empty_diff_status(chat)
    body = chat_body(chat, diff_status=diff, files=[{"id": "f"}], warnings=["w"], has_unread=True)
    assert set(body) - CHAT_ALWAYS == {"diff_status", "files", "warnings"}
    assert body["has_unread"] is True
    assert diff["chat_id"] == str(chat.pk)
    assert set(chat_body(chat, files=[], warnings=[])) == CHAT_ALWAYS


def test_no_token_key_of_the_engine_is_shown(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat()
    shown = set(chat_body(chat))
    for internal in ("runner_id", "lease_expires_at", "snapshot_version", "user_acl", "retry"):
        assert internal not in shown


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (None, None),
        ({}, {"message": UNKNOWN_ERROR_MESSAGE, "kind": "generic", "retryable": False}),
        (
            {"message": "", "kind": "", "detail": "", "provider": "", "status_code": 0},
            {"message": UNKNOWN_ERROR_MESSAGE, "kind": "generic", "retryable": False},
        ),
        (
            {
                "message": "m",
                "detail": "d",
                "kind": "rate_limit",
                "provider": "openai",
                "retryable": True,
                "status_code": 429,
                "internal": "never shown",
            },
            {
                "message": "m",
                "detail": "d",
                "kind": "rate_limit",
                "provider": "openai",
                "retryable": True,
                "status_code": 429,
            },
        ),
    ],
)
def test_an_error_always_says_what_and_whether_to_try_again(
    stored: dict[str, Any] | None, shown: dict[str, Any] | None
) -> None:
    assert error_body(stored) == shown


def message(chat: Chat, **fields: Any) -> dict[str, Any]:
    row = ChatMessage(pk=7, chat=chat, revision=1, created_at=AT, **fields)
    return message_body(row)


def test_a_message_leaves_out_what_is_unset(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat()
    assert message(chat, role=Role.ASSISTANT, content=[]) == {
        "id": 7,
        "chat_id": str(chat.pk),
        "created_at": AT_TEXT,
        "role": "assistant",
    }


def test_usage_counts_a_zero_as_absent_and_is_left_out_when_empty(
    new_chat: Callable[..., Chat],
) -> None:
    chat = new_chat()
    body = message(
        chat, role=Role.ASSISTANT, input_tokens=5, output_tokens=0, context_limit=8, runtime_ms=99
    )
    assert body["usage"] == {"input_tokens": 5, "context_limit": 8}
    assert "usage" not in message(chat, role=Role.ASSISTANT, output_tokens=0, total_cost_micros=9)


def test_a_message_shows_its_writer_its_model_and_its_public_parts(
    new_chat: Callable[..., Chat],
) -> None:
    chat = new_chat()
    body = message(
        chat,
        role=Role.USER,
        created_by=SOME_ID,
        model_config_id=SOME_ID,
        api_key_id="secret",
        content=[{"type": "text", "text": "a", "provider_metadata": {"x": 1}}],
    )
    assert body["created_by"] == body["model_config_id"] == str(SOME_ID)
    assert body["content"] == text("a")
    assert set(body) == {
        "id",
        "chat_id",
        "created_at",
        "role",
        "created_by",
        "model_config_id",
        "content",
    }


def test_a_queued_message_always_has_its_content(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat()
    queued = ChatQueuedMessage(
        pk=3, chat=chat, content=text("a"), size_bytes=1, created_by=SOME_ID, created_at=AT
    )
    expected = {"id": 3, "chat_id": str(chat.pk), "content": text("a"), "created_at": AT_TEXT}
    assert queued_body(queued) == expected
    queued.model_config_id = SOME_ID
    assert queued_body(queued) == expected | {"model_config_id": str(SOME_ID)}


@pytest.mark.parametrize(
    ("call", "args"),
    [
        ({}, "{}"),
        ({"args": None}, "null"),
        ({"args": {"a": [1, "ä"]}}, '{"a":[1,"ä"]}'),
        ({"args": 2**70}, str(2**70)),
    ],
)
def test_the_arguments_of_an_open_call_are_text(call: dict[str, Any], args: str) -> None:
    assert client_call_bodies([{"tool_call_id": "c", "tool_name": "t", **call}]) == [
        {"tool_call_id": "c", "tool_name": "t", "args": args}
    ]


def test_every_status_is_shown_as_its_contract_word(new_chat: Callable[..., Chat]) -> None:
    chat = new_chat()
    for status in Status:
        chat.status = status
        assert chat_body(chat)["status"] == status.value
