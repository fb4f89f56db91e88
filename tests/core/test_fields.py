"""JSON that keeps every character, in a real database."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatd.chats.models import Chat, ChatMessage, Role
from chatd.core.fields import escape_nul, unescape_nul
from tests.support.people import pending_chat

TEXT = st.text(st.sampled_from('a\x00\ue000\ue001\ue002"\\\u2028\U0001f600'), max_size=12)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | TEXT
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e15, 1e15) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(ANY_TEXT)
def test_escaping_is_undone_exactly_and_leaves_no_nul(text):
    escaped = escape_nul(text)
    assert "\x00" not in escaped
    assert unescape_nul(escaped) == text


@given(TEXT, TEXT)
def test_two_texts_are_never_escaped_to_the_same(one, other):
    assert (escape_nul(one) == escape_nul(other)) == (one == other)


def test_an_ordinary_text_is_stored_as_it_is():
    text = "ordinary \u00e9 \U0001f600"
    assert escape_nul(text) is text


@pytest.fixture
def chat(cast, model) -> Chat:
    return pending_chat(cast.alice, cast.organization, model)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=VALUES)
def test_any_json_value_comes_back_from_the_database(chat, value):
    created = ChatMessage.objects.create(chat=chat, revision=1, role=Role.USER, content=value)
    made = ChatMessage(chat=chat, revision=1, role=Role.USER, content=value)
    (bulk,) = ChatMessage.objects.bulk_create([made])
    updated = ChatMessage.objects.create(chat=chat, revision=1, role=Role.USER, content=[])
    ChatMessage.objects.filter(pk=updated.pk).update(content=value)
    for row in (created, bulk, updated):
        # Equal as values: PostgreSQL writes numbers its own way, 1e3 as 1000.
        assert ChatMessage.objects.get(pk=row.pk).content == value
    loaded = ChatMessage.objects.filter(pk=created.pk).values_list("content", flat=True)[0]
    assert loaded == value


@pytest.mark.django_db
def test_json_kept_as_text_gives_back_keys_in_order_and_numbers_as_they_were(chat):
    content = [{"type": "tool-call", "args": {"b": 1, "a": 2**70, "nul": "\x00", "e": 1.5}}]
    chat.dynamic_tools = content
    chat.save()
    chat.refresh_from_db()
    assert list(chat.dynamic_tools[0]["args"]) == ["b", "a", "nul", "e"]
    assert chat.dynamic_tools == content
