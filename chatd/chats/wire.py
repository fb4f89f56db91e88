"""The JSON shapes of chats, messages and the queue, as REST answers and sockets show them.

Pure functions from rows to dictionaries; they run no queries beyond what the caller selected.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from chatd.chats import shapes
from chatd.chats.models import Chat, ChatDiffStatus, ChatFile, ChatMessage, ChatQueuedMessage
from chatd.chats.parts import public_parts
from chatd.core.clock import rfc3339
from chatd.core.shapes import shaped

UNKNOWN_ERROR_MESSAGE = "The chat request failed unexpectedly."


def chat_body(
    chat: Chat,
    *,
    has_unread: bool = False,
    children: Sequence[shapes.Chat] = (),
    diff_status: shapes.DiffStatus | None = None,
    files: Sequence[shapes.FileMetadata] = (),
    warnings: Sequence[str] = (),
) -> shapes.Chat:
    """Return the Chat object. The chat's `owner` must have been selected."""
    body: shapes.Chat = {
        "id": str(chat.id),
        "organization_id": str(chat.organization_id),
        "owner_id": str(chat.owner_id),
        "root_chat_id": str(chat.root_id),
        "last_model_config_id": str(chat.last_model_config_id),
        "title": chat.title,
        "status": str(chat.status),
        "last_turn_summary": chat.last_turn_summary,
        "created_at": rfc3339(chat.created_at),
        "updated_at": rfc3339(chat.updated_at),
        "archived": chat.archived,
        "pin_order": chat.pin_order,
        "mcp_server_ids": list(chat.mcp_server_ids),
        "labels": dict(chat.labels),
        "has_unread": has_unread,
        "client_type": str(chat.client_type),
        "children": list(children),
        "owner_username": chat.owner.username,
        "owner_name": chat.owner.name,
        "workspace_id": _id(chat.workspace_id),
        "build_id": _id(chat.build_id),
        "agent_id": _id(chat.agent_id),
        "workspace_agent_id": _id(chat.agent_id),
        "parent_chat_id": _id(chat.parent_chat_id),
        "plan_mode": chat.plan_mode or "",
        "files": list(files),
        "last_injected_context": public_parts(chat.last_injected_context),
        "warnings": list(warnings),
        "snippet": chat.found.snippet if chat.found else "",
        "snippet_message_id": (chat.found.message_id if chat.found else None) or 0,
    }
    error = error_body(chat.last_error)
    if error is not None:
        body["last_error"] = error
    if diff_status is not None:
        body["diff_status"] = diff_status
    return shaped(shapes.Chat, body)


def empty_diff_status(chat: Chat) -> shapes.DiffStatus:
    """Return the DiffStatus of a chat about whose repository nothing is known."""
    return {
        "chat_id": str(chat.id),
        "pull_request_title": "",
        "pull_request_draft": False,
        "changes_requested": False,
        "additions": 0,
        "deletions": 0,
        "changed_files": 0,
    }


_GITHUB = re.compile(
    r"^(?:https?://(?:[^@/]+@)?|ssh://git@|git@)github\.com[:/]([^/\s]+)/([^/\s]+?)(?:\.git)?/?$"
)


def diff_status_body(status: ChatDiffStatus) -> shapes.DiffStatus:
    """Return the DiffStatus object; without a stored URL it points at the branch on GitHub."""
    texts: shapes.DiffStatus = {
        "chat_id": str(status.chat_id),
        "pull_request_title": status.pull_request_title,
        "pull_request_draft": status.pull_request_draft,
        "changes_requested": status.changes_requested,
        "additions": status.additions,
        "deletions": status.deletions,
        "changed_files": status.changed_files,
        "url": status.url or _branch_url(status.git_remote_origin, status.git_branch),
        "pull_request_state": status.pull_request_state or "",
        "author_login": status.author_login or "",
        "author_avatar_url": status.author_avatar_url or "",
        "base_branch": status.base_branch or "",
        "head_branch": status.head_branch or "",
        "stale_at": rfc3339(status.stale_at),
        "refreshed_at": rfc3339(status.refreshed_at) if status.refreshed_at else "",
    }
    body = shaped(shapes.DiffStatus, texts)
    # Unlike an empty text, a zero or a no among these is something that is known.
    if status.pr_number is not None:
        body["pr_number"] = status.pr_number
    if status.commits is not None:
        body["commits"] = status.commits
    if status.approved is not None:
        body["approved"] = status.approved
    if status.reviewer_count is not None:
        body["reviewer_count"] = status.reviewer_count
    return body


def _branch_url(origin: str, branch: str) -> str:
    match = _GITHUB.match(origin)
    if match is None or not branch:
        return ""
    return f"https://github.com/{match[1]}/{match[2]}/tree/{quote(branch)}"


def known_diff_status(chat: Chat) -> ChatDiffStatus | None:
    """Return the selected diff status of a chat, None when nothing is known."""
    try:
        return chat.diff_status
    except ChatDiffStatus.DoesNotExist:
        return None


def diff_status_or_empty(chat: Chat) -> shapes.DiffStatus:
    """Return the DiffStatus object of a chat, the empty one when nothing is known."""
    known = known_diff_status(chat)
    return diff_status_body(known) if known else empty_diff_status(chat)


def error_body(stored: Mapping[str, Any] | None) -> shapes.ChatError | None:
    """Return a ChatError; a stored one without kind or message gets the generic ones."""
    if stored is None:
        return None
    body: shapes.ChatError = {
        "message": stored.get("message") or UNKNOWN_ERROR_MESSAGE,
        "kind": stored.get("kind") or "generic",
        "retryable": bool(stored.get("retryable")),
        "detail": stored.get("detail") or "",
        "provider": stored.get("provider") or "",
        "status_code": stored.get("status_code") or 0,
    }
    return shaped(shapes.ChatError, body)


def message_body(message: ChatMessage) -> shapes.ChatMessage:
    """Return the ChatMessage object without internal fields."""
    body: shapes.ChatMessage = {
        "id": message.pk,
        "chat_id": str(message.chat_id),
        "created_at": rfc3339(message.created_at),
        "role": str(message.role),
        "created_by": _id(message.created_by),
        "model_config_id": _id(message.model_config_id),
        "content": public_parts(message.content),
        "usage": _usage_body(message),
    }
    return shaped(shapes.ChatMessage, body)


def _usage_body(message: ChatMessage) -> shapes.MessageUsage:
    body: shapes.MessageUsage = {
        "input_tokens": message.input_tokens or 0,
        "output_tokens": message.output_tokens or 0,
        "total_tokens": message.total_tokens or 0,
        "reasoning_tokens": message.reasoning_tokens or 0,
        "cache_creation_tokens": message.cache_creation_tokens or 0,
        "cache_read_tokens": message.cache_read_tokens or 0,
        "context_limit": message.context_limit or 0,
    }
    return shaped(shapes.MessageUsage, body)


def queued_body(queued: ChatQueuedMessage) -> shapes.ChatQueuedMessage:
    """Return the ChatQueuedMessage object."""
    body: shapes.ChatQueuedMessage = {
        "id": queued.pk,
        "chat_id": str(queued.chat_id),
        "content": public_parts(queued.content),
        "created_at": rfc3339(queued.created_at),
        "model_config_id": _id(queued.model_config_id),
    }
    return shaped(shapes.ChatQueuedMessage, body)


def file_body(file: ChatFile) -> shapes.FileMetadata:
    """Return the FileMetadata object."""
    return {
        "id": str(file.pk),
        "owner_id": str(file.owner_id),
        "organization_id": str(file.organization_id),
        "name": file.name,
        "mime_type": file.mimetype,
        "created_at": rfc3339(file.created_at),
    }


def client_call_bodies(calls: Sequence[dict[str, Any]]) -> list[shapes.ClientToolCall]:
    """Return open client-side calls as `action_required` shows them: `args` is JSON **text**."""
    return [
        {
            "tool_call_id": call.get("tool_call_id", ""),
            "tool_name": call.get("tool_name", ""),
            "args": msgspec.json.encode(call["args"]).decode() if "args" in call else "{}",
        }
        for call in calls
    ]


def _id(value: object) -> str:
    return str(value) if value else ""
