"""GET /chats/{chat}/prompts: what people asked, newest first."""

import pytest

from chatd.chats.models import Chat, ChatMessage, Role, Visibility
from tests.api.client import queue
from tests.support.people import text


@pytest.fixture
def chat(chats) -> Chat:
    """A chat without any message."""
    made = chats.waiting()
    ChatMessage.objects.filter(chat=made).delete()
    return made


def add(chat: Chat, content, role: Role = Role.USER, **columns) -> int:
    columns = {"visibility": Visibility.BOTH, **columns}
    row = ChatMessage.objects.create(chat=chat, revision=1, role=role, content=content, **columns)
    return row.pk


def prompts(api, chat: Chat, query: str = "") -> list[dict]:
    answer = api.get(f"/chats/{chat.pk}/prompts{query}")
    assert answer.status == 200
    assert set(answer.body) == {"prompts"}
    return answer.body["prompts"]


def test_without_messages_there_is_an_empty_list(alice, chat):
    assert prompts(alice, chat) == []


def test_prompts_come_newest_first(alice, chat):
    ids = [add(chat, text(f"prompt {number}")) for number in range(3)]
    assert prompts(alice, chat) == [
        {"id": ids[number], "text": f"prompt {number}"} for number in (2, 1, 0)
    ]


def test_text_parts_are_joined_without_anything_between_them(alice, chat):
    reference = {"type": "file-reference", "file_name": "a", "start_line": 1, "end_line": 1}
    key = add(chat, [*text("one "), {**reference, "content": "x"}, *text("two"), *text("\n")])
    assert prompts(alice, chat) == [{"id": key, "text": "one two\n"}]


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        text(""),
        text(" \n\t\u00a0"),
        [*text(" "), *text("\n")],
        [{"type": "file-reference", "file_name": "a", "content": "x"}],
        [{"type": "file", "media_type": "image/png", "file_id": "x"}],
    ],
)
def test_a_message_without_text_is_left_out(alice, chat, content):
    add(chat, content)
    key = add(chat, text("kept"))
    add(chat, content)
    assert prompts(alice, chat) == [{"id": key, "text": "kept"}]
    assert prompts(alice, chat, "?limit=1") == [{"id": key, "text": "kept"}]


def test_only_what_people_sent_and_see_is_a_prompt(alice, chat, chats):
    add(chat, text("deleted"), deleted=True)
    add(chat, text("hidden"), visibility=Visibility.MODEL)
    for role in (Role.SYSTEM, Role.ASSISTANT, Role.TOOL):
        add(chat, text("of another role"), role)
    shown = [add(chat, text("seen"), visibility=Visibility.USER), add(chat, text("both"))]
    add(chats.waiting(), text("of another chat"))
    assert [prompt["id"] for prompt in prompts(alice, chat)] == shown[::-1]


def test_what_waits_in_the_queue_is_no_prompt_yet(alice, chats):
    chat = chats.running()
    queue(chat, "later")
    assert [prompt["text"] for prompt in prompts(alice, chat)] == ["hello"]


def test_an_edited_message_is_a_prompt_once(alice, chats):
    chat = chats.waiting()
    first = ChatMessage.objects.get(chat=chat, role=Role.USER)
    body = {"content": [{"type": "text", "text": "better"}]}
    assert alice.patch(f"/chats/{chat.pk}/messages/{first.pk}", body).status == 200
    assert [prompt["text"] for prompt in prompts(alice, chat)] == ["better"]


@pytest.mark.parametrize("words", ["a\x00b", "\ue000\ue001", "\U0001f600", "\u2028<b>"])
def test_any_character_comes_back(alice, chat, words):
    add(chat, text(words))
    assert prompts(alice, chat)[0]["text"] == words


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 500),
        ("?limit=", 500),
        ("?limit=0", 500),
        ("?limit=1", 1),
        ("?limit=+7", 7),
        ("?limit=501", 501),
        ("?limit=2000", 2000),
        ("?unknown=1", 500),
    ],
)
def test_there_are_five_hundred_prompts_unless_told(alice, chat, query, count):
    ChatMessage.objects.bulk_create(
        ChatMessage(chat=chat, revision=1, role=Role.USER, content=text(str(number)))
        for number in range(2001)
    )
    found = prompts(alice, chat, query)
    assert [prompt["text"] for prompt in found] == [str(2000 - index) for index in range(count)]


@pytest.mark.parametrize("value", ["2001", "9223372036854775807"])
def test_more_than_two_thousand_are_too_many(alice, chat, value):
    answer = alice.get(f"/chats/{chat.pk}/prompts?limit={value}")
    assert (answer.status, answer.body) == (400, {"message": "Invalid limit parameter (0-2000)."})


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "9223372036854775808", "%00", "\u0661"])
def test_a_limit_that_is_no_number_is_told(alice, chat, value):
    answer = alice.get(f"/chats/{chat.pk}/prompts?limit={value}")
    assert (answer.status, answer.message) == (400, "Query parameters have invalid values.")
    assert [entry["field"] for entry in answer.body["validations"]] == ["limit"]


@pytest.mark.parametrize("count", [1, 20, 450])
def test_the_cost_does_not_grow_with_the_messages(alice, chat, count, django_assert_num_queries):
    ChatMessage.objects.bulk_create(
        ChatMessage(chat=chat, revision=1, role=Role.USER, content=text("a")) for _ in range(count)
    )
    prompts(alice, chat)
    with django_assert_num_queries(4):
        assert len(prompts(alice, chat)) == count
