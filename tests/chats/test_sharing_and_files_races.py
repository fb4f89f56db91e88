"""Two people share a chat, or attach files to it, at the same moment."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from chatd.accounts.actor import Actor
from chatd.chats import sharing, transition
from chatd.chats.actions import NewMessageRequest, Stored, send_message
from chatd.chats.content import InputPart
from chatd.chats.models import Chat, ChatFile, ChatFileLink
from chatd.chats.sharing import AclChanges, update_acl
from chatd.providers.models import ModelConfig
from tests.chats.interleaving import Overlap
from tests.conftest import Cast
from tests.support.people import pending_chat

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def overlap(monkeypatch: pytest.MonkeyPatch) -> Overlap:
    monkeypatch.setattr(sharing, "lock_chat", lambda chat_id: transition.lock_chat(chat_id))
    return Overlap(monkeypatch)


@pytest.fixture
def chat(cast: Cast, model: ModelConfig) -> Chat:
    return pending_chat(cast.alice, cast.organization, model)


def test_of_two_shares_at_once_both_count(cast: Cast, chat: Chat, overlap: Overlap) -> None:
    def share(user_id: UUID) -> None:
        changes = AclChanges(user_roles={str(user_id): "read"})
        update_acl(Actor(cast.alice), chat.pk, lambda: changes)

    outcomes = overlap.run(lambda: share(cast.bob.pk), lambda: share(cast.carol.pk))
    assert outcomes == (None, None)
    chat.refresh_from_db()
    assert set(chat.user_acl) == {str(cast.bob.pk), str(cast.carol.pk)}


def test_of_two_batches_of_files_at_once_one_is_over_the_limit_as_a_whole(
    cast: Cast, chat: Chat, overlap: Overlap
) -> None:
    columns = {"owner": cast.alice, "organization": cast.organization, "data": b"x"}
    made = ChatFile.objects.bulk_create(
        ChatFile(name="a.png", mimetype="image/png", **columns) for _ in range(60)
    )

    def send(files: Sequence[ChatFile]) -> Stored:
        content = [InputPart(type="file", file_id=file.pk) for file in files]
        request = NewMessageRequest(content=content)
        return send_message(Actor(cast.alice), chat.pk, lambda: request)

    first, second = overlap.run(lambda: send(made[:30]), lambda: send(made[30:]))
    assert first.warnings == []
    assert second.warnings == ["file linking skipped: batch of 30 file(s) would exceed limit of 50"]
    linked = ChatFileLink.objects.filter(chat=chat).values_list("file_id", flat=True)
    assert set(linked) == {file.pk for file in made[:30]}
