"""The JSON shapes of chats, messages and the queue, as REST answers and sockets show them.

Pure functions from rows to dictionaries; they run no queries beyond what the caller selected.
"""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from chatd.chats.models import Chat, ChatDiffStatus, ChatFile, ChatMessage, ChatQueuedMessage
from chatd.chats.parts import public_parts
from chatd.core.clock import rfc3339

_USAGE_FIELDS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "reasoning_tokens",
    "cache_creation_tokens",
    "cache_read_tokens",
    "context_limit",
)

UNKNOWN_ERROR_MESSAGE = "The chat request failed unexpectedly."


def chat_body(
    chat: Chat,
    *,
    has_unread: bool = False,
    children: Sequence[dict[str, Any]] = (),
    diff_status: dict[str, Any] | None = None,
    files: Sequence[dict[str, Any]] = (),
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the Chat object. The chat's `owner` must have been selected."""
    body: dict[str, Any] = {
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
    }
    optional = {
        "owner_username": chat.owner.username,
        "owner_name": chat.owner.name,
        "workspace_id": _id(chat.workspace_id),
        "build_id": _id(chat.build_id),
        "agent_id": _id(chat.agent_id),
        "workspace_agent_id": _id(chat.agent_id),
        "parent_chat_id": _id(chat.parent_chat_id),
        "plan_mode": chat.plan_mode,
        "last_error": error_body(chat.last_error),
        "diff_status": diff_status,
        "files": list(files),
        "last_injected_context": public_parts(chat.last_injected_context),
        "warnings": list(warnings),
        "snippet": chat.found.snippet if chat.found else None,
        "snippet_message_id": chat.found.message_id if chat.found else None,
    }
    body.update({key: value for key, value in optional.items() if value})
    return body


def empty_diff_status(chat: Chat) -> dict[str, Any]:
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


_DIFF_ALWAYS = (
    "pull_request_title",
    "pull_request_draft",
    "changes_requested",
    "additions",
    "deletions",
    "changed_files",
)
_DIFF_OPTIONAL = (
    "url",
    "pull_request_state",
    "author_login",
    "author_avatar_url",
    "base_branch",
    "head_branch",
    "pr_number",
    "commits",
    "approved",
    "reviewer_count",
)
_GITHUB = re.compile(
    r"^(?:https?://(?:[^@/]+@)?|ssh://git@|git@)github\.com[:/]([^/\s]+)/([^/\s]+?)(?:\.git)?/?$"
)


def diff_status_body(status: ChatDiffStatus) -> dict[str, Any]:
    """Return the DiffStatus object; without a stored URL it points at the branch on GitHub."""
    body: dict[str, Any] = {"chat_id": str(status.chat_id)}
    body |= {name: getattr(status, name) for name in _DIFF_ALWAYS}
    for name in _DIFF_OPTIONAL:
        value = getattr(status, name)
        if value is not None and value != "":
            body[name] = value
    branch = _branch_url(status.git_remote_origin, status.git_branch)
    if "url" not in body and branch:
        body["url"] = branch
    body["stale_at"] = rfc3339(status.stale_at)
    if status.refreshed_at is not None:
        body["refreshed_at"] = rfc3339(status.refreshed_at)
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


def diff_status_or_empty(chat: Chat) -> dict[str, Any]:
    """Return the DiffStatus object of a chat, the empty one when nothing is known."""
    known = known_diff_status(chat)
    return diff_status_body(known) if known else empty_diff_status(chat)


def error_body(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a ChatError; a stored one without kind or message gets the generic ones."""
    if stored is None:
        return None
    body: dict[str, Any] = {
        "message": stored.get("message") or UNKNOWN_ERROR_MESSAGE,
        "kind": stored.get("kind") or "generic",
        "retryable": bool(stored.get("retryable")),
    }
    for key in ("detail", "provider", "status_code"):
        if stored.get(key):
            body[key] = stored[key]
    return body


def message_body(message: ChatMessage) -> dict[str, Any]:
    """Return the ChatMessage object without internal fields."""
    body: dict[str, Any] = {
        "id": message.pk,
        "chat_id": str(message.chat_id),
        "created_at": rfc3339(message.created_at),
        "role": str(message.role),
    }
    optional = {
        "created_by": _id(message.created_by),
        "model_config_id": _id(message.model_config_id),
        "content": public_parts(message.content),
        "usage": {name: getattr(message, name) for name in _USAGE_FIELDS if getattr(message, name)},
    }
    body.update({key: value for key, value in optional.items() if value})
    return body


def queued_body(queued: ChatQueuedMessage) -> dict[str, Any]:
    """Return the ChatQueuedMessage object."""
    body: dict[str, Any] = {
        "id": queued.pk,
        "chat_id": str(queued.chat_id),
        "content": public_parts(queued.content),
        "created_at": rfc3339(queued.created_at),
    }
    if queued.model_config_id:
        body["model_config_id"] = str(queued.model_config_id)
    return body


def file_body(file: ChatFile) -> dict[str, Any]:
    """Return the FileMetadata object."""
    return {
        "id": str(file.pk),
        "owner_id": str(file.owner_id),
        "organization_id": str(file.organization_id),
        "name": file.name,
        "mime_type": file.mimetype,
        "created_at": rfc3339(file.created_at),
    }


def client_call_bodies(calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return open client-side calls as `action_required` shows them: `args` is JSON **text**."""
    return [
        {
            "tool_call_id": call.get("tool_call_id", ""),
            "tool_name": call.get("tool_name", ""),
            "args": msgspec.json.encode(call["args"]).decode() if "args" in call else "{}",
        }
        for call in calls
    ]


def _id(value: object) -> str | None:
    return str(value) if value else None
