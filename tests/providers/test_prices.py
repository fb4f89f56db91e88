"""Prices with dates: which one holds when, what is planned, and what can never change."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext

from chatd.audit.models import AuditEntry
from chatd.core.clock import now
from chatd.core.errors import ChatdError
from chatd.providers.model_configs import DEPLOYMENT, resource_of, save_model_config
from chatd.providers.models import ModelConfig
from chatd.providers.price_models import ModelPrice
from chatd.providers.prices import plan_prices, price_at, price_list, prices_at, withdraw_prices
from chatd.providers.pricing import Prices

HOUR = timedelta(hours=1)


def costs(price: str) -> Prices:
    return Prices(input=Decimal(price), output=Decimal("0"))


def plan(config: ModelConfig, price: str, at: datetime) -> ModelPrice:
    plan_prices(DEPLOYMENT, resource_of(config), costs(price), at)
    return ModelPrice.objects.get(model_config=config, valid_from=at)


def test_a_model_without_a_price_is_unpriced(model: ModelConfig) -> None:
    assert price_at(model.pk, now()) == Prices()
    assert prices_at([model.pk], now()) == {}
    assert price_list(model.pk, now()).at(now()) == Prices()


def test_a_change_holds_from_its_moment_and_history_stays(
    model: ModelConfig, clock: time_machine.Traveller
) -> None:
    start = now()
    for price in ("1", "2", "2", "3"):
        save_model_config(model, prices=costs(price))
        clock.shift(HOUR)
    assert ModelPrice.objects.count() == 3
    seen = [price_at(model.pk, start + n * HOUR).input for n in range(-1, 5)]
    assert seen == [None, 1, 2, 2, 3, 3]
    listed = price_list(model.pk, start)
    assert [listed.at(start + n * HOUR).input for n in range(5)] == seen[1:]


def test_a_save_without_prices_leaves_them(model: ModelConfig) -> None:
    save_model_config(model, prices=costs("1"))
    save_model_config(model)
    assert price_at(model.pk, now()) == costs("1")
    save_model_config(model, prices=Prices())
    assert price_at(model.pk, now()) == Prices()
    assert ModelPrice.objects.count() == 2


@pytest.mark.parametrize(
    "price", ["0", "0.1", "123456789012.123456789012", "0.000000000001", "100"]
)
def test_a_price_is_stored_exactly(model: ModelConfig, price: str) -> None:
    save_model_config(model, prices=costs(price))
    stored = price_at(model.pk, now())
    assert (stored, stored.texts()) == (costs(price), costs(price).texts())


def test_a_planned_price_holds_from_its_moment(
    model: ModelConfig, clock: time_machine.Traveller
) -> None:
    save_model_config(model, prices=costs("1"))
    at = now() + HOUR
    plan(model, "9", at)
    plan(model, "2", at)
    listed = price_list(model.pk, now())
    assert (price_at(model.pk, now()), listed.at(now())) == (costs("1"), costs("1"))
    assert (price_at(model.pk, at), listed.at(at)) == (costs("2"), costs("2"))
    save_model_config(model, prices=costs("5"))
    assert (price_at(model.pk, now()), price_at(model.pk, at)) == (costs("5"), costs("2"))
    clock.shift(HOUR)
    assert price_at(model.pk, now()) == costs("2")
    assert AuditEntry.objects.filter(changes__has_key="price_from").count() == 2


def test_a_price_of_the_past_can_be_neither_planned_nor_withdrawn(
    model: ModelConfig, clock: time_machine.Traveller
) -> None:
    with pytest.raises(ChatdError, match="Invalid model config"):
        plan(model, "1", now())
    planned = plan(model, "1", now() + HOUR)
    clock.shift(HOUR)
    with pytest.raises(ChatdError, match="what was billed stays"):
        withdraw_prices(DEPLOYMENT, resource_of(model), planned)
    assert price_at(model.pk, now()) == costs("1")


def test_a_planned_price_can_be_withdrawn(model: ModelConfig) -> None:
    planned = plan(model, "1", now() + HOUR)
    withdraw_prices(DEPLOYMENT, resource_of(model), planned)
    assert not ModelPrice.objects.exists()
    assert AuditEntry.objects.latest("pk").changes["price"]["old"]["input"] == "1"


@pytest.mark.parametrize("name", ["input", "output", "cache_read", "cache_write"])
def test_the_database_refuses_a_negative_price(model: ModelConfig, name: str) -> None:
    columns = {name: Decimal("-0.5")}
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        ModelPrice.objects.create(model_config=model, valid_from=now(), **columns)


def test_prices_of_many_models_are_one_query_each_way(model: ModelConfig) -> None:
    many = [
        save_model_config(
            ModelConfig(ai_provider=model.ai_provider, model=f"m{n}"), prices=costs(str(n))
        )
        for n in range(5)
    ]
    with CaptureQueriesContext(connection) as captured:
        found = prices_at([config.pk for config in many], now())
        price_list(many[0].pk, now())
    assert [found[config.pk].input for config in many] == [0, 1, 2, 3, 4]
    assert len(captured) == 2


@pytest.mark.django_db(transaction=True)
def test_prices_that_were_kept_among_the_options_are_moved() -> None:
    key = "{}_price_per_million_tokens".format
    executor = MigrationExecutor(connection)
    executor.migrate([("providers", "0001_initial")])
    try:
        old = executor.loader.project_state([("providers", "0001_initial")]).apps
        config = old.get_model("providers", "ModelConfig").objects.create(
            model="m",
            provider="openai",
            deleted=True,
            options={
                "top_p": 1,
                "cost": {key("input"): "2.5", key("output"): None, "odd": 1},
                key("input"): 9,
                key("output"): 3,
                key("cache_read"): "cheap",
                key("cache_write"): -1,
            },
        )
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    moved = ModelConfig.objects.get(pk=config.pk)
    assert moved.options == {"top_p": 1}
    assert price_at(moved.pk, moved.created_at) == Prices(input=Decimal("2.5"), output=Decimal("3"))
