"""Reads: who sees what, lists in their order, windows of messages, what the model sees."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db.models import QuerySet

from chatd.accounts.policy import ChatRight
from chatd.chats.models import Chat, ChatMessage, ChatQueuedMessage, Role, Status, Visibility
from chatd.chats.selectors import (
    PromptRow,
    get_chat_for,
    get_own_chat_for,
    list_chats_for,
    list_children_for,
    list_queue,
    newest_assistant_id,
    open_client_calls,
    page_messages,
    prompt_messages,
    visible_messages,
    with_unread,
)
from chatd.core.clock import now
from chatd.core.errors import ChatdError, ErrorCode
from tests.chats.situations import CLIENT_TOOL, call_part, result_of
from tests.conftest import Cast
from tests.support.people import text

pytestmark = pytest.mark.django_db

NewChat = Callable[..., Chat]


def row(chat: Chat, role: Role = Role.USER, **fields: Any) -> ChatMessage:
    fields.setdefault("content", text("words"))
    return ChatMessage.objects.create(chat=chat, revision=1, role=role, **fields)


def ids(rows: Sequence[Any] | QuerySet[Any]) -> list[Any]:
    return [item.pk for item in rows]


# one chat


def test_a_chat_is_there_for_those_who_may_read_it(new_chat: NewChat, cast: Cast) -> None:
    chat = new_chat()
    assert get_chat_for(cast.alice, chat.pk).pk == chat.pk
    assert get_chat_for(cast.root, chat.pk).pk == chat.pk
    missing = uuid4()
    texts = set()
    for user, chat_id in (
        (cast.carol, chat.pk),
        (cast.bob, chat.pk),
        (cast.alice, missing),
        (cast.root, missing),
    ):
        with pytest.raises(ChatdError) as refused:
            get_chat_for(user, chat_id)
        assert refused.value.code is ErrorCode.NOT_FOUND
        texts.add(refused.value.message)
    assert len(texts) == 1, "missing and not yours read the same"


def test_only_the_owner_writes_even_where_others_may_update(new_chat: NewChat, cast: Cast) -> None:
    chat = new_chat()
    assert get_own_chat_for(cast.alice, chat.pk, may="write").pk == chat.pk
    assert get_chat_for(cast.root, chat.pk, ChatRight.UPDATE).pk == chat.pk
    with pytest.raises(ChatdError) as refused:
        get_own_chat_for(cast.root, chat.pk, may="send messages")
    assert refused.value.code is ErrorCode.FORBIDDEN
    assert refused.value.message == "Only the chat owner may send messages."


# lists


@pytest.fixture
def shelf(new_chat: NewChat) -> dict[str, UUID]:
    """Chats of alice: two pinned, three not (two of one instant), and some that are not listed."""
    instant = now()
    plan = {
        "pinned second": {"pin_order": 2, "updated_at": instant},
        "old": {"updated_at": instant - timedelta(days=2)},
        "pinned first": {"pin_order": 1, "updated_at": instant - timedelta(days=9)},
        "twin a": {"updated_at": instant - timedelta(hours=1)},
        "twin b": {"updated_at": instant - timedelta(hours=1)},
        "archived": {"archived": True, "archived_at": instant, "status": Status.WAITING},
        "child": {},
    }
    made = {}
    for name, fields in plan.items():
        chat = new_chat()
        Chat.objects.filter(pk=chat.pk).update(title=name, **fields)
        made[name] = chat.pk
    Chat.objects.filter(pk=made["child"]).update(parent_chat=made["old"], root_chat=made["old"])
    return made


@pytest.fixture
def expected(shelf: dict[str, UUID]) -> list[UUID]:
    twins = sorted([shelf["twin a"], shelf["twin b"]], reverse=True)
    return [shelf["pinned first"], shelf["pinned second"], *twins, shelf["old"]]


def test_a_list_has_pinned_chats_first_and_then_the_newest(
    cast: Cast, expected: list[UUID]
) -> None:
    assert ids(list_chats_for(cast.alice)) == expected


def test_nobody_else_lists_the_chats_of_alice(cast: Cast, expected: list[UUID]) -> None:
    for user in (cast.bob, cast.carol, cast.root):
        assert list_chats_for(user) == []


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_pages_by_cursor_give_every_chat_once_and_in_order(
    size: int, cast: Cast, expected: list[UUID]
) -> None:
    found: list[UUID] = []
    while page := list_chats_for(cast.alice, limit=size, after_id=found[-1] if found else None):
        assert len(page) <= size
        found += ids(page)
    assert found == expected


def test_pages_by_offset_give_the_same(cast: Cast, expected: list[UUID]) -> None:
    assert ids(list_chats_for(cast.alice, limit=2, offset=2)) == expected[2:4]
    assert list_chats_for(cast.alice, offset=5) == []


def test_a_page_after_an_unknown_chat_is_empty(cast: Cast, expected: list[UUID]) -> None:
    assert list_chats_for(cast.alice, after_id=uuid4()) == []


def test_a_list_has_fifty_chats_by_default(cast: Cast, new_chat: NewChat) -> None:
    for _ in range(51):
        new_chat()
    assert len(list_chats_for(cast.alice)) == 50
    assert len(list_chats_for(cast.alice, limit=51)) == 51


def test_children_are_listed_with_a_root_of_the_same_archived_state(
    cast: Cast, new_chat: NewChat
) -> None:
    root, active, archived = new_chat(), new_chat(), new_chat()
    for child in (active, archived):
        Chat.objects.filter(pk=child.pk).update(parent_chat=root, root_chat=root)
    off = {"status": Status.WAITING, "archived": True, "archived_at": now()}
    Chat.objects.filter(pk=archived.pk).update(**off)
    root.refresh_from_db()
    assert ids(list_children_for(cast.alice, [root])[root.pk]) == [active.pk]
    Chat.objects.filter(pk=root.pk).update(**off)
    root.refresh_from_db()
    assert ids(list_children_for(cast.alice, [root])[root.pk]) == [archived.pk]
    assert list_children_for(cast.alice, []) == {}


def test_a_chat_is_unread_when_an_answer_is_newer_than_the_cursor(new_chat: NewChat) -> None:
    chat = new_chat()

    def unread() -> bool:
        return bool(with_unread(Chat.objects.filter(pk=chat.pk)).get().unread)

    assert not unread(), "one's own message is read"
    first = row(chat, Role.ASSISTANT)
    assert unread()
    Chat.objects.filter(pk=chat.pk).update(last_read_message_id=first.pk)
    assert not unread()
    row(chat, Role.TOOL)
    assert not unread()
    second = row(chat, Role.ASSISTANT)
    assert unread()
    assert newest_assistant_id(chat.pk) == second.pk
    ChatMessage.objects.filter(pk=second.pk).update(deleted=True)
    assert not unread()
    assert newest_assistant_id(chat.pk) == first.pk


# messages


@pytest.fixture
def history(new_chat: NewChat) -> tuple[Chat, list[int]]:
    """A chat with ten visible messages between others that people do not see."""
    chat = new_chat()
    ChatMessage.objects.filter(chat=chat).delete()
    visible = []
    for number in range(10):
        row(chat, Role.SYSTEM, visibility=Visibility.MODEL)
        row(chat, deleted=True)
        kind = Visibility.USER if number % 2 else Visibility.BOTH
        visible.append(row(chat, visibility=kind).pk)
    return chat, visible


def test_people_see_what_is_theirs_and_not_deleted(history: tuple[Chat, list[int]]) -> None:
    chat, visible = history
    assert sorted(ids(visible_messages(chat.pk))) == visible


@pytest.mark.parametrize(
    ("before", "after", "limit", "expected", "more"),
    [
        (None, None, 50, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], False),
        (None, None, 10, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], False),
        (None, None, 3, [9, 8, 7], True),
        (5, None, 3, [4, 3, 2], True),
        (3, None, 3, [2, 1, 0], False),
        (0, None, 3, [], False),
        (None, 5, 3, [6, 7, 8], True),
        (None, 6, 3, [7, 8, 9], False),
        (None, 9, 3, [], False),
        (8, 2, 3, [7, 6, 5], True),
        (6, 2, 3, [5, 4, 3], False),
        (3, 2, 3, [], False),
    ],
)
def test_a_window_of_messages(
    before: int | None,
    after: int | None,
    limit: int,
    expected: list[int],
    more: bool,
    history: tuple[Chat, list[int]],
) -> None:
    chat, visible = history
    page = page_messages(
        chat.pk,
        before_id=0 if before is None else visible[before],
        after_id=0 if after is None else visible[after],
        limit=limit,
    )
    assert ids(page.messages) == [visible[index] for index in expected]
    assert page.has_more is more


@pytest.mark.parametrize("after", [5, 6])
def test_cursors_that_cross_are_refused(after: int, history: tuple[Chat, list[int]]) -> None:
    chat, _ = history
    with pytest.raises(ChatdError) as refused:
        page_messages(chat.pk, before_id=5, after_id=after)
    assert refused.value.message == "after_id must be less than before_id."


def test_polling_with_a_cursor_leaves_no_gap(history: tuple[Chat, list[int]]) -> None:
    chat, visible = history
    found: list[int] = [visible[0]]
    while page := page_messages(chat.pk, after_id=found[-1], limit=4).messages:
        found += ids(page)
    assert found == visible


def test_the_queue_is_listed_by_instant_and_then_by_number(new_chat: NewChat) -> None:
    chat, instant = new_chat(), now()

    def queued(seconds: int) -> int:
        at = instant + timedelta(seconds=seconds)
        return ChatQueuedMessage.objects.create(
            chat=chat, content=[], size_bytes=2, created_at=at
        ).pk

    late, first, second = queued(9), queued(1), queued(1)
    assert ids(list_queue(chat.pk)) == [first, second, late]
    assert list_queue(uuid4()) == []


# what the model sees


def test_the_model_sees_hidden_messages_and_not_those_for_people(new_chat: NewChat) -> None:
    chat = new_chat()
    hidden, asked = chat.messages.order_by("id")
    row(chat, visibility=Visibility.USER)
    row(chat, deleted=True)
    answered = row(chat, Role.ASSISTANT)
    assert ids(prompt_messages(chat.pk)) == [hidden.pk, asked.pk, answered.pk]


def test_a_summary_stands_for_all_before_it_but_system_messages(new_chat: NewChat) -> None:
    chat = new_chat()
    system = chat.messages.get(role=Role.SYSTEM)
    row(chat, Role.ASSISTANT)
    row(chat, Role.USER, visibility=Visibility.MODEL, compressed=True)
    row(chat, Role.ASSISTANT, visibility=Visibility.USER, compressed=True)
    between = row(chat, Role.SYSTEM, visibility=Visibility.MODEL)
    row(chat, Role.USER)
    latest = row(chat, Role.USER, visibility=Visibility.MODEL, compressed=True)
    shown = row(chat, Role.TOOL, visibility=Visibility.BOTH, compressed=True)
    after = row(chat, Role.USER)
    row(chat, Role.USER, visibility=Visibility.MODEL, compressed=True, deleted=True)
    assert ids(prompt_messages(chat.pk)) == [system.pk, between.pk, latest.pk, after.pk]
    assert shown.pk not in ids(prompt_messages(chat.pk))


def test_files_of_a_workspace_outlive_a_summary(new_chat: NewChat, cast: Cast) -> None:
    chat = new_chat()
    system = chat.messages.get(role=Role.SYSTEM)
    content = [{"type": "context-file", "context_file_path": "a.md"}]
    injected = row(chat, Role.USER, content=content)
    row(chat, Role.USER, content=content, created_by=cast.alice.pk)
    row(chat, Role.USER, content=content, compressed=True)
    row(chat, Role.USER, content=content, deleted=True)
    row(chat, Role.ASSISTANT, content=content)
    row(chat, Role.USER)
    summary = row(chat, Role.USER, visibility=Visibility.MODEL, compressed=True)
    found = prompt_messages(chat.pk)
    assert ids(found) == [system.pk, injected.pk, summary.pk]
    assert [each.is_summary for each in found] == [False, False, True]


def test_a_history_that_was_cut_before_its_summary_is_seen_again(new_chat: NewChat) -> None:
    chat = new_chat()
    hidden, asked = chat.messages.order_by("id")
    row(chat, visibility=Visibility.MODEL, compressed=True, deleted=True)
    again = row(chat)
    assert ids(prompt_messages(chat.pk)) == [hidden.pk, asked.pk, again.pk]


def test_a_prompt_row_is_what_was_stored(new_chat: NewChat) -> None:
    chat = new_chat()
    answered = row(chat, Role.ASSISTANT, content=None)
    found = prompt_messages(chat.pk)[-1]
    assert found == PromptRow(answered.pk, Role.ASSISTANT, None, is_summary=False)


@pytest.mark.parametrize("count", [1, 10])
@pytest.mark.parametrize("is_summed_up", [True, False])
def test_a_prompt_is_read_in_one_query_and_in_two_behind_a_summary(
    new_chat: NewChat, django_assert_num_queries: Any, count: int, is_summed_up: bool
) -> None:
    chat = new_chat()
    for _ in range(count):
        row(chat, visibility=Visibility.MODEL, compressed=is_summed_up)
        row(chat, Role.ASSISTANT)
    with django_assert_num_queries(2 if is_summed_up else 1):
        prompt_messages(chat.pk)


def test_without_a_summary_the_model_sees_no_compressed_message(new_chat: NewChat) -> None:
    chat = new_chat()
    before = ids(prompt_messages(chat.pk))
    row(chat, Role.TOOL, compressed=True)
    assert ids(prompt_messages(chat.pk)) == before


def test_open_calls_are_those_of_declared_tools_in_the_last_answer(new_chat: NewChat) -> None:
    chat = new_chat(dynamic_tools=[CLIENT_TOOL])
    assert open_client_calls(chat) == []
    earlier, answered, waits = call_part(), call_part(), call_part()
    foreign, provider = call_part("built_in"), call_part() | {"provider_executed": True}
    row(chat, Role.ASSISTANT, content=[earlier])
    row(chat, Role.ASSISTANT, content=[*text("a"), answered, foreign, provider, waits])
    row(chat, Role.TOOL, content=result_of(answered).content)
    gone = row(chat, Role.TOOL, content=result_of(waits).content)
    assert open_client_calls(chat) == []
    ChatMessage.objects.filter(pk=gone.pk).update(deleted=True)
    assert open_client_calls(chat) == [waits]
    row(chat, Role.ASSISTANT, content=[call_part()], deleted=True)
    assert open_client_calls(chat) == [waits]
    chat.dynamic_tools = None
    assert open_client_calls(chat) == []
