"""When a chat gets a title by itself, and which models are asked for it."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatd.chats import runs, states
from chatd.chats.content import initial_title
from chatd.chats.debug_models import DebugRunKind
from chatd.chats.models import Chat, ChatMessage, ClientType, Role, Status, Visibility
from chatd.chats.moves import UserContent
from chatd.chats.partial import Partial
from chatd.chattest import faults
from chatd.chattest.openai import OpenAIRequest, OpenAIServer, non_streaming_response
from chatd.llm.client import create_session
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.spending.ledger_models import CallKind
from chatd.turns.first_titles import is_new, unnamed_question
from chatd.turns.short_calls import Question, Words, candidates, first_words
from chatd.turns.title_text import TitlePrompt, read_title, title_request
from chatd.turns.titles import title_models
from tests.chats.situations import answer, fence_of, put_into
from tests.conftest import Cast
from tests.support.people import text, user_content

pytestmark = pytest.mark.django_db

LONG = "please write down why the sky is blue"
FILE = {"type": "file", "file_id": "f", "media_type": "image/png", "name": "a.png"}
REFERENCE = {"type": "file-reference", "file_name": "a.py", "start_line": 1, "end_line": 2}

NewChat = Callable[..., Chat]


@pytest.fixture
def new_chat(cast: Cast, model: ModelConfig) -> NewChat:
    """Make a chat of alice as the API does."""

    def create(content: list[dict[str, Any]] | None = None) -> Chat:
        content = content or text(LONG)
        return states.create_chat(
            owner=cast.alice,
            organization=cast.organization,
            model_config=model,
            title=initial_title(content),
            hidden_texts=["Be kind."],
            message=UserContent(content=content, size_bytes=1, created_by=cast.alice.pk),
            client_type=ClientType.API,
        )

    return create


def is_unnamed(chat: Chat) -> bool:
    return unnamed_question(chat.pk, Chat.objects.get(pk=chat.pk).title) is not None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (text(LONG), True),
        (text("short"), True),
        ([*text("look at this"), FILE], True),
        ([FILE, *text("look at this")], True),
        ([*text("read it"), REFERENCE], True),
        (text("x" * 200), True),
        ([FILE], False),
        ([REFERENCE], False),
        (text("  \n "), False),
    ],
)
def test_a_chat_that_was_just_made_is_unnamed_if_its_question_has_text(
    content: list[dict[str, Any]], expected: bool, new_chat: NewChat
) -> None:
    assert is_unnamed(new_chat(content)) == expected


@pytest.mark.parametrize(
    ("title", "expected"), [("", True), (" ", True), ("A name", False), ("Please write", False)]
)
def test_only_a_blank_title_and_the_first_words_are_replaced(
    title: str, expected: bool, new_chat: NewChat
) -> None:
    chat = new_chat()
    Chat.objects.filter(pk=chat.pk).update(title=title)
    assert is_unnamed(chat) == expected


@pytest.mark.parametrize("role", [Role.USER, Role.ASSISTANT, Role.TOOL])
def test_nothing_visible_may_follow_the_question(role: Role, new_chat: NewChat) -> None:
    chat = new_chat()
    row = ChatMessage.objects.create(
        chat=chat, revision=1, role=role, content=text("x"), visibility=Visibility.MODEL
    )
    assert is_unnamed(chat)
    ChatMessage.objects.filter(pk=row.pk).update(visibility=Visibility.BOTH)
    assert not is_unnamed(chat)
    ChatMessage.objects.filter(pk=row.pk).update(deleted=True)
    assert is_unnamed(chat)


def acquired(chat: Chat) -> Chat:
    found = runs.acquire(chat.pk, uuid4(), lease_seconds=60)
    assert found is not None
    return found


def test_the_row_tells_a_first_turn_from_later_ones_without_a_query(
    new_chat: NewChat, cast: Cast
) -> None:
    chat = new_chat()
    first = acquired(chat)
    with CaptureQueriesContext(connection) as queries:
        assert is_new(first)
    assert len(queries) == 0
    runs.finish(fence_of(first), [answer()])
    states.send_message(chat.pk, user_content(cast.alice.pk, "more"))
    assert not is_new(acquired(chat))


def test_a_turn_that_was_given_back_or_cut_is_still_a_first_one(
    new_chat: NewChat, cast: Cast
) -> None:
    chat = new_chat()
    first = acquired(chat)
    assert first.runner_id
    runs.release(chat.pk, first.runner_id)
    again = acquired(chat)
    assert is_new(again)
    runs.finish(fence_of(again), [answer()])
    question = chat.messages.filter(role=Role.USER).earliest("id")
    states.edit_message(chat.pk, question.pk, user_content(cast.alice.pk, "another question"))
    assert is_new(acquired(chat))
    assert not is_unnamed(chat)  # it is not called by the words of this question


def test_an_interrupt_before_any_word_leaves_the_chat_new(new_chat: NewChat) -> None:
    chat = new_chat()
    acquired(chat)
    states.interrupt(chat.pk, partial=Partial(None))
    assert is_new(Chat.objects.get(pk=chat.pk))


def test_a_chat_with_a_history_is_not_new(new_chat: NewChat) -> None:
    assert not is_unnamed(put_into(new_chat(), Status.WAITING))


# which models are asked


REQUEST = title_request(TitlePrompt(instructions="Name it.", latest="why"))


def add_model(url: str, name: str, kind: ProviderType = ProviderType.OPENAI) -> ModelConfig:
    provider = AIProvider(type=kind, name=f"at-{name}", base_url=url)
    return save_model_config(
        ModelConfig(ai_provider=save_provider(provider, new_key="k"), model=name)
    )


def named(chat: Chat, seconds: float) -> Words:
    question = Question(
        chat=chat,
        request=REQUEST,
        asked=candidates(title_models(chat)),
        read=read_title,
        kind=DebugRunKind.TITLE_GENERATION,
        call_kind=CallKind.TITLE,
        is_recorded=False,
    )

    async def ask() -> Words:
        deadline = asyncio.get_running_loop().time() + seconds
        async with create_session() as session:
            return await first_words(question, deadline=deadline, session=session)

    return asyncio.run(ask())


@pytest.mark.parametrize("bad", ["refuses", "hangs", "says too much"])
def test_when_a_small_model_fails_the_next_one_is_asked(bad: str, new_chat: NewChat) -> None:
    failing = {
        "refuses": faults.http_error(401, "no"),
        "hangs": faults.hang(),
        "says too much": lambda _: non_streaming_response("one " * 9),
    }[bad]

    def handler(request: OpenAIRequest) -> Any:
        if request.model == "gpt-4o-mini":
            return failing(request)
        return non_streaming_response('{"title": "Made by the other"}')

    chat = new_chat()
    with OpenAIServer(handler, side_handler=None) as server:
        small = add_model(server.base_url, "gpt-4o-mini")
        other = add_model(server.base_url, "other-model")
        Chat.objects.filter(pk=chat.pk).update(last_model_config=other)
        made = named(Chat.objects.get(pk=chat.pk), seconds=6 if bad == "hangs" else 60)
        models = [request.model for request in server.requests]
    assert made.text == "Made by the other"
    assert models == ["gpt-4o-mini", "other-model"]
    paid = [cost.model_config_id for cost in made.costs]
    assert paid == ([small.pk] if bad == "says too much" else []) + [other.pk]


def test_the_small_model_of_the_chat_is_asked_once(new_chat: NewChat) -> None:
    chat = new_chat()
    with OpenAIServer(lambda _: non_streaming_response(""), side_handler=None) as server:
        small = add_model(server.base_url, "gpt-4o-mini")
        Chat.objects.filter(pk=chat.pk).update(last_model_config=small)
        made = named(Chat.objects.get(pk=chat.pk), seconds=60)
        assert len(server.requests) == 1
    assert (made.text, len(made.costs)) == ("", 1)
