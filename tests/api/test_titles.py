"""Titles that a model writes: `title/regenerate` and `title/propose`, against a real fake model."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections

from chatd.api import idempotency
from chatd.api.models import StoredAnswer
from chatd.chats import runs, states, transition
from chatd.chats.models import Chat, ChatMessage, Status
from chatd.chats.partial import Partial
from chatd.chats.titles import LOCK_KEPT, TITLE_LOCKED
from chatd.chattest import faults
from chatd.chattest.openai import (
    OpenAICompletion,
    OpenAIHandler,
    OpenAIRequest,
    OpenAIResponse,
    OpenAIServer,
    non_streaming_response,
)
from chatd.core.clock import now
from chatd.preferences.registry import MODEL_OVERRIDES, ModelOverrideContext
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import delete_model_config, save_model_config
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.providers.pricing import Prices
from chatd.turns import model_calls, titles
from config.env import env
from tests.api.client import NOT_FOUND, Answer, Api, Chats, assistant, fresh, start
from tests.chats.recorder import Recorder
from tests.support.contract import CHAT_ALWAYS
from tests.support.people import user_content
from tests.support.settings import put_site

KEY = "the-key-of-the-fake-model"
IDEMPOTENT = {"Idempotency-Key": "title-1"}
FAILED = {
    "regenerate": "Failed to regenerate chat title.",
    "propose": "Failed to generate chat title.",
}

both = pytest.mark.parametrize("route", ["regenerate", "propose"])
committed = pytest.mark.django_db(transaction=True)


class Titler:
    """A model whose next answers a test decides."""

    def __init__(self) -> None:
        self.handler: OpenAIHandler = lambda request: non_streaming_response("A new title")
        self.server = OpenAIServer(self._answer, side_handler=None)

    @property
    def requests(self) -> list[OpenAIRequest]:
        return self.server.requests

    def says(self, text: str, *, prompt_tokens: int = 10) -> None:
        completion = OpenAICompletion(text=text, prompt_tokens=prompt_tokens)
        self.handler = lambda request: OpenAIResponse(completion=completion)

    def does(self, act: Callable[[], Any], text: str = "A new title") -> None:
        """Have something happen, on a connection of its own, while the request is waited for."""

        def handler(request: OpenAIRequest) -> OpenAIResponse:
            try:
                act()
            finally:
                connections.close_all()
            return non_streaming_response(text)

        self.handler = handler

    def answers(self, *handlers: OpenAIHandler) -> None:
        """Answer the first request with the first handler, and so on."""
        left = list(handlers)
        self.handler = lambda request: left.pop(0)(request)

    def _answer(self, request: OpenAIRequest) -> Any:
        return self.handler(request)


@pytest.fixture
def titler() -> Iterator[Titler]:
    made = Titler()
    with made.server:
        yield made


@pytest.fixture
def model(titler: Titler, db: None) -> ModelConfig:
    provider = AIProvider(
        type=ProviderType.OPENAI_COMPAT, name="fake", base_url=titler.server.base_url
    )
    return save_model_config(
        ModelConfig(ai_provider=save_provider(provider, new_key=KEY), model="fake-model")
    )


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(transition, "live_backend", lambda: recorder)
    return recorder


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_calls, "env", dataclasses.replace(env, retry_first_delay_seconds=0))


def ask(api: Api, chat: Chat, route: str = "regenerate", **options: Any) -> Answer:
    return api.post(f"/chats/{chat.pk}/title/{route}", **options)


def events(recorder: Recorder) -> list[tuple[str, str]]:
    told = [json.loads(payload) for payload in recorder.watch_payloads]
    return [(event["kind"], event["chat"]["title"]) for event in told]


def costs(chat: Chat) -> list[ChatMessage]:
    return list(ChatMessage.objects.filter(chat=chat, deleted=True))


def assert_untouched(chat: Chat) -> None:
    found = fresh(chat)
    assert (found.title, found.updated_at) == (chat.title, chat.updated_at)
    assert (found.title_lock_id, found.title_locked_at) == (None, None)


# a title is made


@committed
def test_a_new_title_is_stored_answered_and_told(alice, chats, titler, recorder) -> None:
    chat = chats.waiting()
    recorder.clear()
    answer = ask(alice, chat)
    assert (answer.status, answer.body["title"]) == (200, "A new title")
    found = fresh(chat)
    assert (found.title, found.title_lock_id) == ("A new title", None)
    assert found.updated_at > chat.updated_at
    assert events(recorder) == [("title_change", "A new title")]
    assert set(answer.body) >= CHAT_ALWAYS
    assert answer.body["children"] == []
    assert not {"files", "diff_status", "warnings"} & set(answer.body)


@committed
def test_a_proposed_title_is_answered_and_nothing_but_its_cost_is_stored(
    alice, chats, titler, recorder
) -> None:
    chat = chats.waiting()
    recorder.clear()
    answer = ask(alice, chat, "propose")
    assert (answer.status, answer.body) == (200, {"title": "A new title"})
    assert_untouched(chat)
    assert events(recorder) == []
    assert len(costs(chat)) == 1


def test_the_model_is_asked_once_without_a_stream_for_a_title_alone(alice, chats, titler) -> None:
    chat = chats.waiting()
    ask(alice, chat)
    [request] = titler.requests
    assert (request.stream, request.model) == (False, "fake-model")
    assert request.body["max_tokens"] == 256
    assert request.body["response_format"]["json_schema"]["name"] == "propose_title"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["X-Coder-Chat-Id"] == str(chat.pk)
    assert request.headers["X-Coder-Owner-Id"] == str(chat.owner_id)
    system, user = request.messages
    assert (system.role, user.role, user.content) == ("system", "user", "hello")
    assert "hello" in system.content
    assert "You are a test." not in system.content, "hidden messages are not told"


@pytest.mark.parametrize("text", ['{"title":"In some words"}', "In some words"])
def test_json_and_plain_words_are_both_titles(alice, chats, titler, text) -> None:
    titler.says(text)
    assert ask(alice, chats.waiting()).body["title"] == "In some words"


@committed
def test_the_same_title_changes_nothing(alice, chats, titler, recorder) -> None:
    chat = chats.waiting()
    titler.says("A chat")
    recorder.clear()
    assert ask(alice, chat).body["title"] == "A chat"
    assert_untouched(chat)
    assert events(recorder) == []


@both
def test_a_chat_in_which_nobody_wrote_words_is_left_as_it_is(alice, chats, titler, route) -> None:
    chat = chats.unwritten()
    words = [{"type": "file", "file_id": str(chat.pk), "media_type": "image/png"}]
    for content in (None, words, [{"type": "text", "text": " "}]):
        if content:
            ChatMessage.objects.create(chat=chat, revision=9, role="user", content=content)
        answer = ask(alice, chat, route)
        assert (answer.status, answer.body["title"]) == (
            200,
            "" if route == "propose" else chat.title,
        )
    assert titler.requests == []
    assert_untouched(chat)


def test_the_first_and_the_last_messages_are_told_of_a_long_chat(alice, chats, titler) -> None:
    chat = chats.waiting()
    for number in range(150):
        ChatMessage.objects.create(
            chat=chat, revision=9, role="user", content=[{"type": "text", "text": f"n{number}."}]
        )
    ask(alice, chat)
    system, user = titler.requests[0].messages
    assert user.content == "n149."
    assert "began with:\nhello" in system.content
    assert "user: n147." in system.content
    assert "[... 96 earlier turns omitted ...]" in system.content


@pytest.mark.parametrize("status", [Status.RUNNING, Status.ERROR, Status.REQUIRES_ACTION])
@both
def test_a_title_can_be_made_in_every_state_but_pending(alice, chats, status, route) -> None:
    chat = chats.in_status(status)
    assert ask(alice, chat, route).body["title"] == "A new title"
    assert fresh(chat).status == status


@both
def test_a_title_can_be_made_for_an_archived_chat(alice, chats, route) -> None:
    assert ask(alice, chats.archived(), route).body["title"] == "A new title"


# what it costs


@both
def test_the_cost_is_stored_where_nobody_reads_it(alice, chats, titler, route) -> None:
    chat = chats.waiting()
    before = alice.get(f"/chats/{chat.pk}/messages").body
    titler.says("A new title", prompt_tokens=40)
    ask(alice, chat, route)
    [row] = costs(chat)
    assert (row.role, row.visibility, row.content) == ("assistant", "model", [])
    assert (row.input_tokens, row.output_tokens, row.total_tokens) == (40, 5, 45)
    assert (row.model_config_id, row.context_limit) == (chats.model.pk, 128_000)
    assert alice.get(f"/chats/{chat.pk}/messages").body == before


@both
def test_the_cost_of_a_priced_model_is_in_dollars_too(alice, chats, titler, route) -> None:
    chat = chats.waiting()
    save_model_config(chats.model, prices=Prices(input=Decimal("2.5"), output=Decimal("10")))
    titler.says("A new title", prompt_tokens=41)
    ask(alice, chat, route)
    assert [row.total_cost_micros for row in costs(chat)] == [153]  # 41 * 2.5 + 5 * 10, up


def test_an_answer_that_is_no_title_was_paid_for_all_the_same(alice, chats, titler) -> None:
    chat = chats.waiting()
    titler.says("Of course! Here is a good title for your chat: Hello")
    answer = ask(alice, chat)
    assert (answer.status, answer.message, answer.detail) == (
        500,
        FAILED["regenerate"],
        titles.NOT_A_TITLE,
    )
    assert [row.input_tokens for row in costs(chat)] == [10]
    assert_untouched(chat)


def test_where_no_numbers_are_reported_no_row_is_stored(alice, chats, titler) -> None:
    chat = chats.waiting()
    document = {"choices": [{"message": {"content": "A new title"}}]}
    titler.handler = faults.http_error(200, document)
    assert ask(alice, chat).body["title"] == "A new title"
    assert costs(chat) == []


def small_model(titler: Titler, **fields: Any) -> ModelConfig:
    provider = AIProvider(
        type=fields.pop("type", ProviderType.OPENAI), name="big", base_url=titler.server.base_url
    )
    key = fields.pop("key", "another-key")
    return save_model_config(
        ModelConfig(
            **{
                "ai_provider": save_provider(provider, new_key=key),
                "model": "gpt-4o-mini",
                **fields,
            }
        )
    )


def title_model(root: Api, model: ModelConfig, name: str) -> ModelConfig:
    """Add a model at the same server and have the site owner set it for titles."""
    config = save_model_config(ModelConfig(ai_provider=model.ai_provider, model=name))
    body = {"model_config_id": str(config.pk)}
    assert root.put("/chats/config/model-override/title_generation", body).status == 204
    return config


@committed
@both
def test_the_model_that_is_set_for_titles_is_the_only_one_asked(
    alice, root, chats, titler, model, route
) -> None:
    small_model(titler)
    title_model(root, model, "the-title-model")
    assert ask(alice, chats.waiting(), route).status == 200
    assert [request.model for request in titler.requests] == ["the-title-model"]
    root.put("/chats/config/model-override/title_generation", {})
    ask(alice, chats.waiting(), route)
    assert titler.requests[-1].model == "gpt-4o-mini"


@committed
@both
@pytest.mark.parametrize("spoil", ["disabled", "deleted", "malformed"])
def test_no_other_model_takes_the_place_of_the_one_that_is_set(
    alice, root, chats, titler, model, route, spoil
) -> None:
    config = title_model(root, model, "the-title-model")
    if spoil == "malformed":
        put_site(MODEL_OVERRIDES[ModelOverrideContext.TITLE_GENERATION], "nonsense")
        assert ask(alice, chats.waiting(), route).status == 200
        return
    if spoil == "disabled":
        config.enabled = False
        save_model_config(config)
    else:
        delete_model_config(config)
    answer = ask(alice, chats.waiting(), route)
    assert (answer.status, answer.message) == (500, FAILED[route])
    assert answer.detail == (
        "The model that is set for this cannot be used. Contact your chatd administrator."
    )
    assert titler.requests == []


def test_a_small_model_is_asked_where_there_is_one(alice, chats, titler) -> None:
    chat = chats.waiting()
    small = small_model(titler)
    answer = ask(alice, chat)
    [request] = titler.requests
    assert (request.model, request.headers["Authorization"]) == (
        "gpt-4o-mini",
        "Bearer another-key",
    )
    assert costs(chat)[0].model_config_id == small.pk
    assert answer.body["last_model_config_id"] == str(chats.model.pk)


# a title is not made


REFUSAL = {"error": {"message": f"the key {KEY} is not good"}}
FAULTS: dict[str, tuple[OpenAIHandler, str]] = {
    "wrong key": (
        faults.http_error(401, REFUSAL),
        "Authentication with fake failed. Check the API key and permissions."
        " the key [redacted] is not good",
    ),
    "server error": (
        faults.http_error(500, REFUSAL),
        "Fake returned an unexpected error. the key [redacted] is not good",
    ),
    "garbage": (faults.garbage(), "Fake sent an answer that cannot be read."),
    "rate limit": (
        faults.http_error(429, "", {"Retry-After": "3000"}),
        "Fake is rate limiting requests.",
    ),
    "silence": (faults.hang(), "Fake did not start responding in time."),
    "no words": (lambda request: non_streaming_response(" "), titles.NOT_A_TITLE),
}


@both
@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_is_a_500_that_says_why_and_changes_nothing(
    alice, chats, titler, monkeypatch, route, fault
) -> None:
    chat = chats.waiting()
    titler.handler, detail = FAULTS[fault]
    if fault == "silence":
        monkeypatch.setattr(titles, "TITLE_SECONDS", 0.2)
    answer = ask(alice, chat, route)
    assert (answer.status, answer.message) == (500, FAILED[route])
    assert answer.detail.lower() == detail.lower()
    assert KEY not in answer.raw.decode()
    assert_untouched(chat)


def test_a_provider_that_is_not_there_is_a_failure_too(alice, chats, model) -> None:
    chat = chats.waiting()
    with faults.refuse() as closed:
        AIProvider.objects.update(base_url=closed)
        answer = ask(alice, chat)
    assert (answer.status, answer.message) == (500, FAILED["regenerate"])
    assert_untouched(chat)


@both
def test_a_model_that_was_switched_off_is_named_as_the_reason(alice, chats, titler, route) -> None:
    chat = chats.waiting()
    ModelConfig.objects.update(enabled=False)
    answer = ask(alice, chat, route)
    assert (answer.status, answer.message) == (500, FAILED[route])
    assert answer.detail.startswith("The model of this chat has been disabled.")
    assert titler.requests == []
    assert_untouched(chat)


def test_a_failure_that_may_pass_is_tried_again(alice, chats, titler) -> None:
    titler.answers(
        faults.http_error(503), faults.http_error(500), lambda _: non_streaming_response("At last")
    )
    assert ask(alice, chats.waiting()).body["title"] == "At last"
    assert len(titler.requests) == 3


def test_a_failure_that_stays_is_not_tried_again(alice, chats, titler) -> None:
    titler.handler = faults.http_error(401)
    ask(alice, chats.waiting())
    assert len(titler.requests) == 1


def test_nobody_waits_for_a_retry_that_would_come_too_late(alice, chats, titler) -> None:
    titler.handler = faults.http_error(429, "", {"Retry-After": "31"})
    ask(alice, chats.waiting())
    assert len(titler.requests) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "This response_format type is unavailable now"),
        (422, "This response_format type is unavailable now"),
        (400, "Thinking may not be enabled when tool_choice forces tool use."),
    ],
)
def test_a_server_that_knows_no_schemas_is_asked_without_one(
    alice, chats, titler, status, words
) -> None:
    refusal = {"error": {"message": words}}
    titler.answers(
        faults.http_error(status, refusal), lambda _: non_streaming_response("Without a schema")
    )
    assert ask(alice, chats.waiting()).body["title"] == "Without a schema"
    first, second = titler.requests
    assert "response_format" in first.body
    assert "response_format" not in second.body


# the lock


@both
def test_a_pending_chat_is_refused_before_its_messages_are_read(
    alice, chats, titler, route
) -> None:
    chat = chats.pending()
    ChatMessage.objects.filter(chat=chat).delete()
    answer = ask(alice, chat, route)
    assert (answer.status, answer.body) == (409, {"message": TITLE_LOCKED})
    assert titler.requests == []


@both
def test_a_chat_for_which_a_title_is_being_made_is_refused_for_a_minute(
    alice, chats, titler, route
) -> None:
    chat = chats.waiting()
    locked_at = now() - LOCK_KEPT + timedelta(seconds=5)
    Chat.objects.filter(pk=chat.pk).update(title_lock_id=chat.pk, title_locked_at=locked_at)
    answer = ask(alice, chat, route)
    assert (answer.status, answer.body) == (409, {"message": TITLE_LOCKED})
    Chat.objects.update(title_locked_at=locked_at - timedelta(seconds=10))
    assert ask(alice, chat, route).status == 200


@committed
@both
def test_meanwhile_titles_and_renames_are_refused(alice, chats, titler, route) -> None:
    chat = chats.waiting()
    seen: list[tuple[int, Any]] = []

    def meanwhile() -> None:
        others = (
            ask(alice, chat, "regenerate"),
            ask(alice, chat, "propose"),
            alice.patch(f"/chats/{chat.pk}", {"title": "By hand"}),
        )
        seen.extend((other.status, other.body) for other in others)
        seen.append((alice.patch(f"/chats/{chat.pk}", {"title": chat.title}).status, None))

    titler.does(meanwhile)
    assert ask(alice, chat, route).status == 200
    assert seen == [(409, {"message": TITLE_LOCKED})] * 3 + [(204, None)]
    assert len(titler.requests) == 1


# what happens meanwhile


@committed
def test_a_running_chat_renamed_meanwhile_keeps_the_name(alice, chats, titler) -> None:
    chat = chats.running()
    titler.does(lambda: alice.patch(f"/chats/{chat.pk}", {"title": "By hand"}))
    answer = ask(alice, chat)
    assert (answer.status, answer.body["title"]) == (200, "By hand")
    assert fresh(chat).title == "By hand"
    assert len(costs(chat)) == 1


@committed
def test_a_message_sent_meanwhile_is_worked_on_and_the_title_stored(alice, chats, titler) -> None:
    chat = chats.waiting()
    titler.does(lambda: states.send_message(chat.pk, user_content(chat.owner_id, "more")))
    answer = ask(alice, chat)
    assert (answer.body["title"], answer.body["status"]) == ("A new title", "pending")
    assert runs.finish(start(chat), [assistant()]).status == Status.WAITING


@committed
@both
def test_a_chat_archived_meanwhile_is_answered_all_the_same(alice, chats, titler, route) -> None:
    chat = chats.waiting()
    titler.does(lambda: states.archive_chat(chat.pk, partials={chat.pk: Partial(None)}))
    assert ask(alice, chat, route).body["title"] == "A new title"
    assert fresh(chat).archived


@committed
@both
def test_a_chat_deleted_meanwhile_is_a_404(alice, chats, titler, route) -> None:
    chat = chats.waiting()
    titler.does(lambda: Chat.objects.filter(pk=chat.pk).delete())
    answer = ask(alice, chat, route)
    assert (answer.status, answer.body) == (404, NOT_FOUND)


@committed
def test_a_lock_lost_to_another_stores_nothing(alice, chats, titler) -> None:
    chat = chats.waiting()
    heir = chats.owner.pk
    titler.does(lambda: Chat.objects.update(title_lock_id=heir, title_locked_at=now()))
    answer = ask(alice, chat)
    assert (answer.status, answer.body["title"]) == (200, chat.title)
    assert fresh(chat).title_lock_id == heir


# Idempotency-Key


@committed
@both
def test_with_a_key_the_model_is_asked_once_and_the_answer_is_repeated(
    alice, chats, titler, route
) -> None:
    chat = chats.waiting()
    first = ask(alice, chat, route, headers=IDEMPOTENT)
    titler.says("Another title")
    again = ask(alice, chat, route, headers=IDEMPOTENT)
    assert (again.status, again.raw) == (200, first.raw)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (len(titler.requests), len(costs(chat))) == (1, 1)


@committed
def test_no_transaction_is_open_while_the_model_is_asked(alice, chats, titler) -> None:
    chat, other = chats.waiting(), chats.waiting()

    def write() -> None:
        assert alice.patch(f"/chats/{other.pk}", {"title": "By hand"}).status == 204

    titler.does(write)
    assert ask(alice, chat, headers=IDEMPOTENT).status == 200
    assert fresh(other).title == "By hand"


@committed
@both
def test_the_same_request_sent_meanwhile_is_told_to_come_back(alice, chats, titler, route) -> None:
    chat = chats.waiting()
    seen: list[Answer] = []
    titler.does(lambda: seen.append(ask(alice, chat, route, headers=IDEMPOTENT)))
    first = ask(alice, chat, route, headers=IDEMPOTENT)
    [early] = seen
    assert (early.status, early.headers["Retry-After"]) == (409, "2")
    assert "still being carried out" in early.message
    assert ask(alice, chat, route, headers=IDEMPOTENT).raw == first.raw
    assert len(titler.requests) == 1


@committed
def test_another_request_under_the_key_is_refused_meanwhile_too(alice, chats, titler) -> None:
    chat = chats.waiting()
    seen: list[Answer] = []
    titler.does(lambda: seen.append(ask(alice, chat, "propose", headers=IDEMPOTENT)))
    ask(alice, chat, headers=IDEMPOTENT)
    assert (seen[0].status, "another request" in seen[0].message) == (409, True)


@pytest.mark.parametrize("status", [401, 409, 500])
def test_a_refusal_leaves_the_key_free(alice, chats, titler, status) -> None:
    chat = chats.pending() if status == 409 else chats.waiting()
    titler.handler = faults.http_error(status)
    assert ask(alice, chat, headers=IDEMPOTENT).status == (409 if status == 409 else 500)
    assert not StoredAnswer.objects.exists()
    if status != 409:
        titler.says("A new title")
        assert ask(alice, chat, headers=IDEMPOTENT).status == 200


@committed
def test_a_key_whose_holder_died_is_taken_over_after_a_minute(alice, chats, titler) -> None:
    chat = chats.waiting()
    ask(alice, chat, headers=IDEMPOTENT)
    died_at = now() - idempotency.CLAIM_KEPT
    StoredAnswer.objects.update(status=0, body=b"", created_at=died_at + timedelta(seconds=5))
    assert ask(alice, chat, headers=IDEMPOTENT).status == 409
    StoredAnswer.objects.update(created_at=died_at - timedelta(seconds=5))
    titler.says("The second try")
    assert ask(alice, chat, headers=IDEMPOTENT).body["title"] == "The second try"
    assert ask(alice, chat, headers=IDEMPOTENT).body["title"] == "The second try"
    assert len(titler.requests) == 2


@committed
def test_a_holder_whose_key_was_taken_over_writes_nothing(alice, chats, titler, recorder) -> None:
    chat = chats.waiting()
    recorder.clear()
    heir_since = now() + timedelta(seconds=1)
    titler.does(lambda: StoredAnswer.objects.update(created_at=heir_since))
    assert ask(alice, chat, headers=IDEMPOTENT).status == 409
    assert_untouched(chat)
    assert (events(recorder), costs(chat)) == ([], [])
    assert StoredAnswer.objects.get().created_at == heir_since


def test_an_answer_and_what_it_tells_of_are_stored_together(
    alice, chats, titler, monkeypatch
) -> None:
    chat = chats.waiting()

    def broken(claim: StoredAnswer, answer: Any) -> Any:
        raise RuntimeError("the process is gone")

    monkeypatch.setattr(idempotency, "_keep", broken)
    assert ask(alice, chat, headers=IDEMPOTENT).status == 500
    assert_untouched(chat)
    assert (costs(chat), StoredAnswer.objects.count()) == ([], 0)


# how much it asks of the database


@pytest.mark.parametrize("messages", [1, 60])
def test_the_cost_does_not_grow_with_the_messages(
    alice, chats: Chats, titler, messages, django_assert_num_queries
) -> None:
    chat = chats.waiting()
    ChatMessage.objects.bulk_create(
        ChatMessage(chat=chat, revision=9, role="user", content=[{"type": "text", "text": "x"}])
        for _ in range(messages)
    )
    with django_assert_num_queries(29):
        assert ask(alice, chat).status == 200
