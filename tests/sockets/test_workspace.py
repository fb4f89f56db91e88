"""The sockets of workspaces, which no chat has here: texts that clients recognise."""

import json
import uuid

import pytest
from websockets.exceptions import InvalidStatus

from chatd.chats.models import Chat
from tests.api.client import API


@pytest.fixture
def refusal(server):
    """Return a function that connects, is refused, and gives back status and message."""

    def connect(chat: Chat, kind: str, token: str) -> tuple[int, str]:
        with pytest.raises(InvalidStatus) as caught:
            server.connect(f"{API}/chats/{chat.pk}/stream/{kind}", token)
        response = caught.value.response
        return response.status_code, json.loads(response.body)["message"]

    return connect


@pytest.mark.parametrize(
    ("kind", "text"),
    [("git", "Chat has no workspace to watch."), ("desktop", "Chat has no workspace.")],
)
def test_a_chat_without_a_workspace_is_refused_with_the_exact_text(
    refusal, chats, tokens, kind, text
):
    assert refusal(chats.pending(), kind, tokens.alice) == (400, text)


@pytest.mark.parametrize("kind", ["git", "desktop"])
def test_a_workspace_that_is_gone_is_not_found(refusal, chats, tokens, kind):
    chat = chats.pending()
    Chat.objects.filter(pk=chat.pk).update(workspace_id=uuid.uuid4())
    assert refusal(chat, kind, tokens.alice) == (400, "Chat workspace not found.")


@pytest.mark.parametrize("kind", ["git", "desktop"])
def test_an_outsider_is_not_told_that_the_chat_exists(refusal, chats, tokens, kind):
    status, _ = refusal(chats.pending(), kind, tokens.carol)
    assert status == 404
