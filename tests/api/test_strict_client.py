"""A client that is strict about types: what it sends for nothing, and what it can read.

The shapes are those of the Go client: a field without a default is never left out, and nothing is
null but what may be.
"""

import re
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import UNSET, Struct, UnsetType

from chatd.chats.models import Chat, ChatDiffStatus, ChatFile, ChatFileLink, Role
from tests.api.client import NIL, Api, Chats, fresh, queue
from tests.conftest import Cast

ZERO_TIME = "0001-01-01T00:00:00Z"


class Error(Struct, forbid_unknown_fields=True):
    message: str
    retryable: bool
    kind: str
    detail: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    status_code: int | UnsetType = UNSET


class File(Struct, forbid_unknown_fields=True):
    id: UUID
    owner_id: UUID
    organization_id: UUID
    name: str
    mime_type: str
    created_at: datetime


class DiffStatus(Struct, forbid_unknown_fields=True):
    chat_id: UUID
    pull_request_title: str
    pull_request_draft: bool
    changes_requested: bool
    additions: int
    deletions: int
    changed_files: int
    url: str | UnsetType = UNSET
    pull_request_state: str | UnsetType = UNSET
    author_login: str | UnsetType = UNSET
    author_avatar_url: str | UnsetType = UNSET
    base_branch: str | UnsetType = UNSET
    head_branch: str | UnsetType = UNSET
    pr_number: int | UnsetType = UNSET
    commits: int | UnsetType = UNSET
    approved: bool | UnsetType = UNSET
    reviewer_count: int | UnsetType = UNSET
    refreshed_at: datetime | UnsetType = UNSET
    stale_at: datetime | UnsetType = UNSET


class ChatShape(Struct, forbid_unknown_fields=True):
    id: UUID
    organization_id: UUID
    owner_id: UUID
    root_chat_id: UUID
    last_model_config_id: UUID
    title: str
    status: Literal["waiting", "pending", "running", "error", "requires_action"]
    last_turn_summary: str | None
    created_at: datetime
    updated_at: datetime
    archived: bool
    pin_order: int
    mcp_server_ids: list[UUID]
    labels: dict[str, str]
    has_unread: bool
    client_type: Literal["ui", "api"]
    children: "list[ChatShape]"
    owner_username: str | UnsetType = UNSET
    owner_name: str | UnsetType = UNSET
    workspace_id: UUID | UnsetType = UNSET
    build_id: UUID | UnsetType = UNSET
    agent_id: UUID | UnsetType = UNSET
    workspace_agent_id: UUID | UnsetType = UNSET
    parent_chat_id: UUID | UnsetType = UNSET
    plan_mode: Literal["plan"] | UnsetType = UNSET
    last_error: Error | UnsetType = UNSET
    diff_status: DiffStatus | UnsetType = UNSET
    files: list[File] | UnsetType = UNSET
    last_injected_context: list[dict[str, Any]] | UnsetType = UNSET
    warnings: list[str] | UnsetType = UNSET


class Message(Struct, forbid_unknown_fields=True):
    id: int
    chat_id: UUID
    created_at: datetime
    role: Literal["user", "assistant", "tool"]
    created_by: UUID | UnsetType = UNSET
    model_config_id: UUID | UnsetType = UNSET
    content: list[dict[str, Any]] | UnsetType = UNSET
    usage: dict[str, int] | UnsetType = UNSET


class Queued(Struct, forbid_unknown_fields=True):
    id: int
    chat_id: UUID
    content: list[dict[str, Any]]
    created_at: datetime
    model_config_id: UUID | UnsetType = UNSET


class Page(Struct, forbid_unknown_fields=True):
    messages: list[Message]
    queued_messages: list[Queued]
    has_more: bool


class Prompt(Struct, forbid_unknown_fields=True):
    id: int
    text: str


class Prompts(Struct, forbid_unknown_fields=True):
    prompts: list[Prompt]


class SentNow(Struct, forbid_unknown_fields=True):
    queued: Literal[False]
    message: Message
    warnings: list[str] | UnsetType = UNSET


class SentLater(Struct, forbid_unknown_fields=True):
    queued: Literal[True]
    queued_message: Queued
    warnings: list[str] | UnsetType = UNSET


class Edited(Message, forbid_unknown_fields=True, kw_only=True):
    """The message stands at the top level too, for older clients."""

    message: Message


class AclUser(Struct, forbid_unknown_fields=True):
    id: UUID
    username: str
    role: Literal["read", ""]
    name: str | UnsetType = UNSET
    avatar_url: str | UnsetType = UNSET


class AclGroup(Struct, forbid_unknown_fields=True):
    id: UUID
    name: str
    display_name: str
    organization_id: UUID
    members: list[Any]
    total_member_count: int
    avatar_url: str
    quota_allowance: int
    source: Literal["user", "oidc"]
    organization_name: str
    organization_display_name: str
    role: Literal["read", ""]


class Acl(Struct, forbid_unknown_fields=True):
    users: list[AclUser]
    groups: list[AclGroup]


class Diff(Struct, forbid_unknown_fields=True):
    chat_id: UUID
    pull_request_url: str | UnsetType = UNSET


def read(answer: Any, shape: Any) -> Any:
    """Decode an answer strictly, and look at its times and ids as text."""
    assert answer.status in (200, 201)
    text = answer.raw.decode()
    for name, value in re.findall(r'"([a-z_]+_at)":"([^"]*)"', text):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", value), name
    for name, value in re.findall(r'"((?:[a-z_]+_)?id)":"([^"]*)"', text):
        assert name == "tool_call_id" or str(UUID(value)) == value
    return msgspec.json.decode(answer.raw, type=shape)


@pytest.fixture
def rich(chats: Chats, cast: Cast) -> Chat:
    """A chat that has everything a chat can show, and a bare sub-chat."""
    chat = chats.failed(labels={"a": "b"}, plan_mode="plan")
    chats.child_of(chat)
    columns = {"owner": cast.alice, "organization": cast.organization, "data": b"x"}
    file = ChatFile.objects.create(name="a.png", mimetype="image/png", **columns)
    ChatFileLink.objects.create(chat=chat, file=file)
    ChatDiffStatus.objects.create(
        chat=chat, url="https://host/pull/1", pull_request_state="open", pr_number=1, approved=False
    )
    Chat.objects.filter(pk=chat.pk).update(
        workspace_id=cast.bob.pk,
        last_injected_context=[{"type": "skill", "skill_name": "s"}],
        user_acl={str(cast.bob.pk): {"permissions": ["read"]}},
        group_acl={str(cast.organization.pk): {"permissions": ["read"]}},
    )
    return fresh(chat)


READS: dict[str, Any] = {
    "": ChatShape,
    "/messages": Page,
    "/prompts": Prompts,
    "/acl": Acl,
    "/diff": Diff,
    "/diff-status": DiffStatus,
    "/git-changes": list[Any],
}


@pytest.mark.parametrize("path", READS)
def test_every_read_of_a_chat_fits_its_shape(path: str, alice: Api, chats: Chats, rich: Chat):
    bare = chats.child_of(rich) if path != "/acl" else chats.pending()
    busy = chats.running()
    queue(busy)
    for chat in (rich, bare, busy, chats.requiring_action(), chats.archived()):
        read(alice.get(f"/chats/{chat.pk}{path}"), READS[path])


def test_the_list_fits_its_shape(alice: Api, chats: Chats, rich: Chat):
    chats.running()
    roots = read(alice.get("/chats"), list[ChatShape])
    assert [len(root.children) for root in roots] == [0, 1]
    assert read(alice.get("/chats/by-workspace"), dict[UUID, UUID]) == {}


def test_every_write_fits_its_shape_and_takes_what_a_go_client_sends(
    alice: Api, chats: Chats, cast: Cast, model: Any
):
    """Parts carry a nil file id, unset structures zero times, empty slices and maps stand."""
    unset = {"created_at": ZERO_TIME, "updated_at": ZERO_TIME, "context_file_agent_id": NIL}
    content = [
        {"type": "text", "text": "hi", "file_id": NIL},
        {
            "type": "file-reference",
            "file_id": NIL,
            "file_name": "a.go",
            "start_line": 1,
            "end_line": 2,
            "content": "x",
        },
    ]
    body = unset | {
        "organization_id": str(cast.organization.pk),
        "content": content,
        "workspace_id": NIL,
        "mcp_server_ids": [],
        "labels": {},
        "unsafe_dynamic_tools": [],
    }
    created = read(alice.post("/chats", body), ChatShape)
    message = unset | {"content": content}
    sent = read(alice.post(f"/chats/{created.id}/messages", message), SentLater)
    assert [part["type"] for part in sent.queued_message.content] == ["text", "file-reference"]
    read(alice.post(f"/chats/{created.id}/interrupt"), ChatShape)
    read(alice.post(f"/chats/{chats.waiting().pk}/messages", message), SentNow)
    chat = chats.waiting()
    first = chat.messages.get(role=Role.USER)
    read(alice.patch(f"/chats/{chat.pk}/messages/{first.pk}", message), Edited)
    assert alice.patch(f"/chats/{chat.pk}", unset | {"workspace_id": NIL}).status == 204
    assert alice.patch(f"/chats/{chat.pk}/acl", {"user_roles": {}, "group_roles": {}}).status == 204
    waits = chats.requiring_action()
    results = {"results": [{"tool_call_id": "call-1", "output": None, "is_error": False}]}
    assert alice.post(f"/chats/{waits.pk}/tool-results", unset | results).status == 204


CLEARED: list[tuple[str, Any, Any, Any]] = [
    ("plan_mode", "plan", "", None),
    ("labels", {"a": "b"}, {}, {}),
]


@pytest.mark.parametrize(("name", "before", "empty", "after"), CLEARED)
def test_absent_and_null_keep_and_empty_clears(
    name: str, before: Any, empty: Any, after: Any, alice: Api, chats: Chats
):
    chat = chats.waiting(**{name: before})
    for body in ({}, {name: None}):
        assert alice.patch(f"/chats/{chat.pk}", body).status == 204
        assert getattr(fresh(chat), name) == before
    assert alice.patch(f"/chats/{chat.pk}", {name: empty}).status == 204
    assert getattr(fresh(chat), name) == after


def test_of_a_send_absent_servers_are_kept_and_an_empty_list_clears_them(alice: Api, chats: Chats):
    chat = chats.waiting(mcp_server_ids=[NIL])
    path = f"/chats/{chat.pk}/messages"
    content = [{"type": "text", "text": "x", "file_id": NIL}]
    assert alice.post(path, {"content": content}).status == 200
    assert fresh(chat).mcp_server_ids == [NIL]
    assert alice.post(path, {"content": content, "mcp_server_ids": []}).status == 200
    assert fresh(chat).mcp_server_ids == []


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_ids_of_a_path_count_in_any_letter_case(change: Any, alice: Api, chats: Chats):
    chat = chats.waiting()
    assert alice.get(f"/chats/{change(str(chat.pk))}").body["id"] == str(chat.pk)
