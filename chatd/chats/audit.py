"""What the audit log tells of a chat: its settings, never its words beyond the title."""

from typing import Any

from chatd.audit.actions import Resource
from chatd.chats.models import Chat

_FIELDS = (
    "title",
    "labels",
    "archived",
    "pin_order",
    "workspace_id",
    "plan_mode",
    "user_acl",
    "group_acl",
)


def resource_of(chat: Chat) -> Resource:
    return Resource("chat", str(chat.pk), chat.title, chat.organization_id)


def audited_fields(chat: Chat) -> dict[str, Any]:
    """Return the fields whose changes are recorded."""
    return {name: getattr(chat, name) for name in _FIELDS}
