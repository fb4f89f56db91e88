"""Short cuts to people and chats for tests."""

from typing import Any
from uuid import UUID

from chatd.accounts.actions import create_token
from chatd.accounts.models import Organization, User
from chatd.chats import states
from chatd.chats.models import Chat, ClientType
from chatd.chats.moves import UserContent
from chatd.providers.models import ModelConfig


def token_for(user: User) -> str:
    """Return a fresh API token."""
    return create_token(user=user)[1]


def text(words: str) -> list[dict[str, Any]]:
    """Return stored content of one text part."""
    return [{"type": "text", "text": words}]


def user_content(user_id: UUID, words: str = "hello") -> UserContent:
    return UserContent(content=text(words), size_bytes=len(words), created_by=user_id)


def pending_chat(
    owner: User, organization: Organization, model: ModelConfig, **fields: Any
) -> Chat:
    """Return a fresh pending chat of `owner` with one user message."""
    return states.create_chat(
        owner=owner,
        organization=organization,
        model_config=model,
        title="A chat",
        hidden_texts=["You are a test."],
        message=user_content(owner.pk),
        client_type=ClientType.API,
        **fields,
    )
