"""The cast and the chats that the tests of the pages work with."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from chatd.accounts.actions import create_user
from chatd.accounts.models import SiteRole, User
from chatd.chats.actions import Actor, NewChat, create_chat
from chatd.chats.content import InputPart
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.core.clock import now
from chatd.providers.actions import save_model_config
from chatd.providers.models import AIProvider, ModelConfig

PASSWORD = "correct horse battery"


@pytest.fixture
def alice(db: None) -> User:
    return create_user(
        username="alice", email="alice@example.com", password=PASSWORD, name="Alice Ames"
    )


@pytest.fixture
def carol(db: None) -> User:
    """Not the owner of anything of Alice's."""
    return create_user(username="carol", email="carol@example.com", password=PASSWORD)


@pytest.fixture
def root(db: None) -> User:
    return create_user(
        username="root",
        email="root@example.com",
        password=PASSWORD,
        site_roles=[SiteRole.OWNER],
    )


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
        chat = create_chat(Actor(alice), NewChat(organization_id=organization, content=[part]))
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
