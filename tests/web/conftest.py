"""The cast and the chats that the tests of the pages work with."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.chats.actions import NewChat, create_chat
from chatd.chats.content import InputPart
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.core.clock import now
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from tests.conftest import Cast


@pytest.fixture
def alice(cast: Cast) -> User:
    return cast.alice


@pytest.fixture
def carol(cast: Cast) -> User:
    return cast.carol


@pytest.fixture
def root(cast: Cast) -> User:
    return cast.root


@pytest.fixture
def model(db: None) -> ModelConfig:
    provider = AIProvider.objects.create(
        type="openai-compat", name="demo", base_url="http://127.0.0.1:9/v1"
    )
    return save_model_config(
        ModelConfig(ai_provider=provider, model="demo-1", display_name="Demo", is_default=True)
    )


@pytest.fixture
def page(alice: User) -> Client:
    """Alice's browser."""
    return browser_of(alice)


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def new_chat(alice: User, model: ModelConfig) -> Callable[..., Chat]:
    """Create a chat of Alice's with a first message; it is pending, as nothing runs it."""

    def build(text: str = "Hello there", **columns: Any) -> Chat:
        part = InputPart(type="text", text=text)
        organization = alice.memberships.get().organization_id
        chat = create_chat(Actor(alice), NewChat(organization_id=organization, content=[part])).chat
        # A state is set as it is, because what leads to it is not the pages' concern.
        Chat.objects.filter(pk=chat.pk).update(**columns)
        chat.refresh_from_db()
        return chat

    return build


def add_message(chat: Chat, *parts: dict[str, Any], role: Role = Role.ASSISTANT) -> ChatMessage:
    return ChatMessage.objects.create(
        chat=chat, revision=chat.snapshot_version, role=role, content=list(parts), created_at=now()
    )


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}
