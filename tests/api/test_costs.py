"""Every list and page asks the database as often for a hundred rows as for one."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatd.accounts.actions import create_token
from chatd.accounts.models import (
    Group,
    GroupMember,
    Organization,
    OrganizationMember,
    User,
)
from chatd.chats.models import (
    Chat,
    ChatDiffStatus,
    ChatFile,
    ChatFileLink,
    ChatMessage,
    ChatQueuedMessage,
    Role,
)
from chatd.core.clock import now
from chatd.providers.models import ModelConfig
from tests.api.client import Api, Chats
from tests.support.people import text

WORKSPACE = "b1b1b1b1-0000-4000-8000-{:012d}"
READ = {"permissions": ["read"]}


def roots(chats: Chats, chat: Chat, count: int) -> None:
    columns = {"title": "match", "labels": {"a": "b"}, "updated_at": now() - timedelta(hours=1)}
    made = [_copy(chat, workspace_id=WORKSPACE.format(n), **columns) for n in range(count)]
    Chat.objects.bulk_create(made)
    ChatDiffStatus.objects.bulk_create(
        ChatDiffStatus(
            chat=one,
            url="http://h/1",
            pr_number=1,
            pull_request_state="open",
            pull_request_title="Fix",
        )
        for one in made
    )
    Chat.objects.bulk_create(_copy(chat, parent_chat=one, root_chat=one) for one in made)


def _copy(chat: Chat, **fields: object) -> Chat:
    return Chat(
        id=uuid4(),
        owner=chat.owner,
        organization=chat.organization,
        last_model_config=chat.last_model_config,
        **fields,
    )


def sub_chats(chats: Chats, chat: Chat, count: int) -> None:
    Chat.objects.bulk_create(_copy(chat, parent_chat=chat, root_chat=chat) for _ in range(count))


def messages(chats: Chats, chat: Chat, count: int) -> None:
    ChatMessage.objects.bulk_create(
        ChatMessage(chat=chat, revision=1, role=Role.USER, content=text("x")) for _ in range(count)
    )
    ChatQueuedMessage.objects.bulk_create(
        ChatQueuedMessage(chat=chat, content=text("x"), size_bytes=1) for _ in range(count)
    )


def answers(chats: Chats, chat: Chat, count: int) -> None:
    """Answers of so many models in so many chats."""
    config = chat.last_model_config
    configs = ModelConfig.objects.bulk_create(
        ModelConfig(ai_provider=config.ai_provider, provider=config.provider, model=uuid4().hex)
        for _ in range(count)
    )
    made = Chat.objects.bulk_create(_copy(chat) for _ in range(count))
    _answer(zip(made, configs, strict=True))


def spenders(chats: Chats, chat: Chat, count: int) -> None:
    """People with an answer in a chat of theirs."""
    users = User.objects.bulk_create(User(username=uuid4().hex) for _ in range(count))
    made = [_copy(chat) for _ in users]
    for one, user in zip(made, users, strict=True):
        one.owner = user
    _answer((one, None) for one in Chat.objects.bulk_create(made))


def _answer(about: Iterable[tuple[Chat, ModelConfig | None]]) -> None:
    answer = {"revision": 1, "role": Role.ASSISTANT, "content": [], "total_cost_micros": 5}
    ChatMessage.objects.bulk_create(
        ChatMessage(chat=chat, model_config=config, **answer) for chat, config in about
    )


def files(chats: Chats, chat: Chat, count: int) -> None:
    columns = {"owner": chat.owner, "organization": chat.organization, "data": b"x"}
    made = ChatFile.objects.bulk_create(
        ChatFile(name="a.png", mimetype="image/png", **columns) for _ in range(count)
    )
    ChatFileLink.objects.bulk_create(ChatFileLink(chat=chat, file=file) for file in made)


def readers(chats: Chats, chat: Chat, count: int) -> None:
    users = User.objects.bulk_create(User(username=uuid4().hex) for _ in range(count))
    groups = Group.objects.bulk_create(
        Group(organization=chat.organization, name=uuid4().hex) for _ in range(count)
    )
    Chat.objects.filter(pk=chat.pk).update(
        user_acl={str(user.pk): READ for user in users},
        group_acl={str(group.pk): READ for group in groups},
    )


def people(chats: Chats, chat: Chat, count: int) -> None:
    """Members of the organisation, in groups, with organisations of their own, and tokens."""
    users = User.objects.bulk_create(
        User(username=f"u{uuid4().hex[:20]}", rbac_roles=["auditor"]) for _ in range(count)
    )
    own = Organization.objects.bulk_create(Organization(name=uuid4().hex) for _ in users)
    groups = Group.objects.bulk_create(
        Group(organization=chat.organization, name=uuid4().hex) for _ in range(count)
    )
    for user, theirs, group in zip(users, own, groups, strict=True):
        OrganizationMember.objects.bulk_create(
            OrganizationMember(user=user, organization=organization)
            for organization in (chat.organization, theirs)
        )
        GroupMember.objects.create(user=user, group=group)
        create_token(user=chat.owner)


QUERY = 'title:match has_unread:false pr_status:open repo:h pr:1 pr_title:F diff_url:"http://h/1"'
Fill = Callable[[Chats, Chat, int], None]
WORKSPACES = ",".join(WORKSPACE.format(number) for number in range(25))
COSTS: list[tuple[str, Fill, int, int]] = [
    ("/chats?limit=200", roots, 100, 4),
    (f"/chats?limit=200&label=a:b&q={quote(QUERY)}", roots, 100, 4),
    ("/chats?limit=200&after_id={chat}", roots, 100, 5),
    (f"/chats/by-workspace?workspace_ids={WORKSPACES}", roots, 25, 5),
    ("/chats", sub_chats, 100, 4),
    ("/chats/{chat}", sub_chats, 100, 5),
    ("/chats/{chat}", files, 100, 5),
    ("/chats/{chat}/messages?limit=200", messages, 100, 5),
    ("/chats/{chat}/messages?limit=200&after_id=1", messages, 100, 4),
    ("/chats/{chat}/prompts", messages, 100, 4),
    ("/chats/{chat}/acl", readers, 100, 6),
    ("/chats/cost/me/summary", answers, 100, 10),
    ("/chats/cost/users?limit=200", spenders, 100, 4),
    ("/api/v2/users?limit=200", people, 100, 4),
    ("/api/v2/users?limit=200&q=u", people, 100, 4),
    ("/api/v2/users/me/keys/tokens", people, 100, 2),
    ("/api/v2/organizations", people, 100, 2),
    ("/api/v2/organizations/default/members", people, 100, 4),
    ("/api/v2/organizations/default/groups", people, 100, 6),
    ("/api/v2/groups", people, 100, 4),
]
"""A path, what it lists, how many of those there are, and how many queries it makes."""


@pytest.mark.parametrize(
    ("path", "fill", "many", "cost"),
    COSTS,
    ids=[f"{path[:40]} {fill.__name__}" for path, fill, *_ in COSTS],
)
def test_a_hundred_rows_cost_as_much_as_one(
    path: str, fill: Fill, many: int, cost: int, alice: Api, root: Api, chats: Chats
) -> None:
    chat = chats.pending()
    api = root if fill in (people, spenders) and "/me/" not in path else alice
    called = path.replace("{chat}", str(chat.pk))
    api.get(called)  # the first use of a token is recorded
    sizes = []
    for count in (1, many - 1):
        fill(chats, chat, count)
        with CaptureQueriesContext(connection) as captured:
            answer = api.get(called)
        assert (answer.status, len(captured)) == (200, cost)
        sizes.append(len(answer.raw))
    assert sizes[1] > 5 * sizes[0]
