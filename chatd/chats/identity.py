"""What a request to a model or to a tool server says of the chat that it is made for."""

from uuid import UUID


def identity_headers(
    chat_id: UUID, *, owner_id: UUID | None = None, parent_chat_id: UUID | None = None
) -> dict[str, str]:
    """Return the headers that name a chat; a sub-chat names its parent, and itself beside it."""
    headers = {"X-Coder-Chat-Id": str(parent_chat_id or chat_id)}
    if owner_id:
        headers["X-Coder-Owner-Id"] = str(owner_id)
    if parent_chat_id:
        headers["X-Coder-Subchat-Id"] = str(chat_id)
    return headers
