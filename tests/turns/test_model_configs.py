"""What a model config does to a turn: its options are sent, its prices stored with each message."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from math import ceil
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatd.chats import runs
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chattest.openai import OpenAIRequest, OpenAIServer
from chatd.core.clock import now
from chatd.core.threads import in_database_thread
from chatd.live.backend import live_backend
from chatd.llm.client import create_session
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import DEPLOYMENT, resource_of, save_model_config
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.providers.prices import plan_prices
from chatd.providers.pricing import Prices
from chatd.turns.runner import TurnRunner, _set_up
from tests.conftest import Cast
from tests.e2e.provider import answer, calls
from tests.support.people import pending_chat
from tests.support.threads import close_database_threads

pytestmark = pytest.mark.django_db(transaction=True)

PRICES = Prices(input=Decimal("2.5"), output=Decimal("10"))


@pytest.fixture
def between() -> list[Callable[[], None]]:
    """What happens while the first call of a turn is answered."""
    return []


@pytest.fixture
def asked() -> list[Mapping[str, Any]]:
    """The bodies of the calls of a turn."""
    return []


@pytest.fixture
def server(
    between: list[Callable[[], None]], asked: list[Mapping[str, Any]]
) -> Iterator[OpenAIServer]:
    """A provider that calls a tool nobody has, and then answers."""

    def handler(request: OpenAIRequest):  # type: ignore[no-untyped-def]
        asked.append(request.body)
        if len(request.messages) > 2:
            return answer("done")(request)
        for happening in between:
            happening()
        return calls(("call-1", "nothing", "{}"))(request)

    with OpenAIServer(handler) as started:
        yield started


@pytest.fixture
def model(server: OpenAIServer, db: None) -> ModelConfig:
    provider = AIProvider(type=ProviderType.OPENAI_COMPAT, name="fake", base_url=server.base_url)
    return save_model_config(ModelConfig(ai_provider=save_provider(provider), model="fake-model"))


@pytest.fixture
def chat(cast: Cast, model: ModelConfig) -> Chat:
    return pending_chat(cast.alice, cast.organization, model)


def run_turn(chat: Chat) -> None:
    async def go() -> None:
        runner_id = uuid4()
        async with create_session() as session:
            taken = await in_database_thread(runs.acquire, chat.pk, runner_id, lease_seconds=60)
            assert taken is not None
            await TurnRunner(chat.pk, runner_id, live_backend(), session).run(taken)

    try:
        asyncio.run(go())
    finally:
        close_database_threads()


def cost_of(message: ChatMessage, prices: Prices) -> Decimal:
    assert message.input_tokens
    assert message.output_tokens
    assert prices.input is not None
    assert prices.output is not None
    return message.input_tokens * prices.input + message.output_tokens * prices.output


def answers(chat: Chat) -> list[ChatMessage]:
    found = ChatMessage.objects.filter(chat=chat, role=Role.ASSISTANT).order_by("pk")
    assert len(found) == 2
    return list(found)


def test_the_options_of_the_model_are_sent_with_every_call(
    chat: Chat, model: ModelConfig, asked: list[Mapping[str, Any]]
) -> None:
    model.options = {"top_p": 0.5, "provider_options": {"openaicompat": {"user": "u"}}}
    save_model_config(model)
    run_turn(chat)
    assert len(asked) == 2
    for body in asked:
        own = {"model", "messages", "stream", "stream_options"}
        sent = {name: value for name, value in body.items() if name not in own}
        assert sent == {"top_p": 0.5, "user": "u", "max_tokens": 32_000}


def test_each_step_carries_what_it_cost(chat: Chat, model: ModelConfig) -> None:
    save_model_config(model, prices=PRICES)
    run_turn(chat)
    for message in answers(chat):
        assert message.total_cost_micros == ceil(cost_of(message, PRICES))
    others = ChatMessage.objects.filter(chat=chat).exclude(role=Role.ASSISTANT)
    assert set(others.values_list("total_cost_micros", flat=True)) == {None}


def test_a_turn_of_an_unpriced_model_has_no_cost_and_one_of_a_free_model_costs_nothing(
    chat: Chat, model: ModelConfig, cast: Cast
) -> None:
    run_turn(chat)
    assert [message.total_cost_micros for message in answers(chat)] == [None, None]
    save_model_config(model, prices=Prices(input=Decimal(0)))
    free = pending_chat(cast.alice, cast.organization, model)
    run_turn(free)
    assert [message.total_cost_micros for message in answers(free)] == [0, 0]


def test_a_planned_price_counts_from_the_first_call_after_its_moment(
    clock: time_machine.Traveller,
    chat: Chat,
    model: ModelConfig,
    between: list[Callable[[], None]],
) -> None:
    save_model_config(model, prices=PRICES)
    dearer = Prices(input=Decimal(100), output=Decimal(100))
    hour = timedelta(hours=1)
    plan_prices(DEPLOYMENT, resource_of(model), dearer, now() + hour)
    between.append(lambda: clock.shift(hour))
    run_turn(chat)
    first, second = answers(chat)
    assert first.total_cost_micros == ceil(cost_of(first, PRICES))
    assert second.total_cost_micros == cost_of(second, dearer)


def test_a_change_of_the_price_does_not_touch_what_was_billed(
    chat: Chat, model: ModelConfig
) -> None:
    save_model_config(model, prices=PRICES)
    run_turn(chat)
    before = [message.total_cost_micros for message in answers(chat)]
    save_model_config(model, prices=Prices(input=Decimal(1000)))
    assert [message.total_cost_micros for message in answers(chat)] == before


def test_prices_are_read_once_at_the_start_of_a_turn(chat: Chat, model: ModelConfig) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            _set_up(chat)
        return len([each for each in captured if "modelprice" in each["sql"]])

    assert queries() == 1
    for price in range(3):
        save_model_config(model, prices=Prices(input=Decimal(price)))
    assert queries() == 1
