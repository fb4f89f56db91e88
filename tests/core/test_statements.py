"""Compiled statements: they find, lock and write what the QuerySets they are written as do."""

from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import BigIntegerField, CharField, Count, F, UUIDField
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from chatd.chats.models import Chat, ChatMessage
from chatd.core.clock import now
from chatd.core.statements import Parameter, Select, Update, insert
from chatd.preferences.models import UserSetting
from chatd.providers.models import ModelConfig
from tests.api.client import Chats
from tests.conftest import Cast

_CHAT_ID = Parameter("chat_id", UUIDField())


@pytest.fixture
def chats(cast: Cast, model: ModelConfig) -> Chats:
    return Chats(cast.alice, cast.organization, model)


def _columns(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


@pytest.mark.django_db
def test_a_row_is_the_one_that_the_queryset_gives_with_what_it_is_related_to(chats: Chats) -> None:
    chat = chats.failed(labels={"a": "b"})
    rows = Chat.objects.select_related("owner", "diff_status", "parent_chat")
    found = Select(lambda: rows.filter(pk=_CHAT_ID)[:1]).first(chat_id=chat.pk)
    assert found is not None
    assert _columns(found) == _columns(rows.get(pk=chat.pk))
    with CaptureQueriesContext(connection) as later:
        assert _columns(found.owner) == _columns(chat.owner)
        assert found.parent_chat is None
        assert not hasattr(found, "diff_status")
    assert not later.captured_queries
    assert (found._state.adding, found._state.db) == (False, "default")


@pytest.mark.django_db
def test_it_is_built_once_and_run_with_other_values(chats: Chats) -> None:
    built = []

    def build() -> Any:
        built.append(1)
        return Chat.objects.filter(pk=_CHAT_ID).values_list("pk", flat=True)[:1]

    statement, two = Select(build), [chats.waiting(), chats.waiting()]
    assert [statement.first(chat_id=chat.pk) for chat in two] == [chat.pk for chat in two]
    assert statement.first(chat_id=uuid4()) is None
    assert len(built) == 1
    with CaptureQueriesContext(connection) as captured:
        statement.first(chat_id=two[0].pk)
    [query] = captured.captured_queries
    assert '"chats_chat"."id" = ' in query["sql"]
    assert two[0].pk.hex in query["sql"].replace("-", "")
    with pytest.raises(KeyError, match="chat_id"):
        statement.first()


@pytest.mark.django_db
def test_columns_are_converted_and_a_list_of_values_is_compared_one_by_one(chats: Chats) -> None:
    chat = chats.waiting(labels={"a": ["\x00"]})
    one, two = (Parameter(name, CharField()) for name in ("one", "two"))
    statement = Select(
        lambda: Chat.objects.filter(status__in=[one, two]).values_list("pk", "labels", "created_at")
    )
    [stored] = statement.all(one="waiting", two="error")
    assert stored == (chat.pk, {"a": ["\x00"]}, chat.created_at)
    assert statement.all(one="running", two="error") == []


def test_what_it_cannot_return_is_refused() -> None:
    for rows in (
        Chat.objects.annotate(count=Count("messages")),
        Chat.objects.prefetch_related("messages"),
        Chat.objects.values("pk"),
    ):
        with pytest.raises(TypeError):
            Select(partial(_same, rows)).all()


def _same(rows: Any) -> Any:
    return rows


@pytest.mark.django_db(transaction=True)
def test_rows_are_locked_only_in_a_transaction(chats: Chats) -> None:
    chat = chats.waiting()
    statement = Select(lambda: Chat.objects.select_for_update().filter(pk=_CHAT_ID)[:1])
    for _ in range(2):
        with pytest.raises(TransactionManagementError):
            statement.first(chat_id=chat.pk)
        with transaction.atomic():
            assert statement.first(chat_id=chat.pk) == chat


@pytest.mark.django_db
def test_an_update_writes_the_columns_it_is_given(chats: Chats) -> None:
    chat, other = chats.waiting(), chats.waiting()
    update = Update(
        lambda: Chat.objects.filter(
            pk=_CHAT_ID, snapshot_version=Parameter("snapshot_version", BigIntegerField())
        )
    )
    where, at = {"chat_id": chat.pk, "snapshot_version": chat.snapshot_version}, now()
    assert update.run(where, {"title": "two", "dynamic_tools": None, "updated_at": at}) == 1
    assert update.run(where, {"labels": {"a": "b"}, "dynamic_tools": [{"name": "y"}]}) == 1
    assert update.run(where, {"snapshot_version": 70, "title": "three"}) == 1
    assert update.run(where, {"title": "four"}) == 0
    for expected in (71, 72):
        where = {"chat_id": chat.pk, "snapshot_version": expected - 1}
        assert update.run(where, {"snapshot_version": F("snapshot_version") + 1}) == 1
    chat.refresh_from_db()
    stored = (chat.title, chat.labels, chat.dynamic_tools, chat.updated_at, chat.snapshot_version)
    assert stored == ("three", {"a": "b"}, [{"name": "y"}], at, 72)
    other.refresh_from_db()
    assert other.title == "A chat"


@pytest.mark.django_db
def test_new_rows_have_keys_and_what_was_given(chats: Chats) -> None:
    chat = chats.waiting()

    def row(text: str) -> ChatMessage:
        content = [{"type": "text", "text": text}]
        return ChatMessage(chat=chat, revision=1, role="user", content=content, created_at=now())

    for rows in ([row("\x00 one")], [row("two")], [row("three"), row("four")], []):
        assert insert(rows) is rows
        for made in rows:
            assert not made._state.adding
            assert _columns(made) == _columns(ChatMessage.objects.get(pk=made.pk))
    assert insert([]) == []


@pytest.mark.django_db
def test_a_key_that_is_taken_is_refused_as_by_the_orm(chats: Chats) -> None:
    owner = chats.waiting().owner
    for number in range(2):
        setting = UserSetting(user=owner, key="a", value=str(number))
        if number:
            with pytest.raises(IntegrityError), transaction.atomic():
                insert([setting])
        else:
            insert([setting])


@pytest.mark.django_db
def test_postgresql_keeps_the_plan_of_a_statement_and_of_no_other(chats: Chats) -> None:
    if connection.vendor != "postgresql":
        return  # SQLite's driver keeps those of all
    chat = chats.waiting()
    statement = Select(lambda: Chat.objects.filter(pk=_CHAT_ID).values_list("title", flat=True)[:1])
    for _ in range(3):
        statement.first(chat_id=chat.pk)
        Chat.objects.filter(pk=chat.pk).values_list("status", flat=True).first()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        kept = [text for (text,) in cursor.fetchall() if '"chats_chat"' in text]
    assert sum('SELECT "chats_chat"."title"' in text for text in kept) == 1
    assert not any('SELECT "chats_chat"."status"' in text for text in kept)
