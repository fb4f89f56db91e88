"""The administration of models: options as fields, prices with dates and suggestions."""

from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.audit.models import AuditEntry
from chatd.core.clock import now
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from chatd.providers.price_catalogue import suggest_prices
from chatd.providers.price_models import ModelPrice
from chatd.providers.prices import price_at
from chatd.providers.pricing import Prices
from tests.conftest import Cast
from tests.web.administration import model_form

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client, cast: Cast) -> Client:
    client.force_login(cast.root)
    return client


# Options and prices

INPUT = "input_price_per_million_tokens"
REASONING = "option:provider_options.openai.reasoning_effort"
DOMAINS = "option:provider_options.openai.allowed_domains"


def _add(root: Client, provider: AIProvider, **changes: str) -> str:
    """Post the form of a new model; return the page that refused it, or nothing."""
    answer = root.post("/admin/providers/modelconfig/add/", model_form(provider, **changes))
    return unescape(answer.content.decode()) if answer.status_code == 200 else ""


@pytest.fixture
def openai(db: None) -> AIProvider:
    return AIProvider.objects.create(type="openai", name="o", base_url="http://127.0.0.1:9/v1")


def test_options_and_prices_are_entered_and_shown_in_fields_of_their_own(
    root: Client, openai: AIProvider
) -> None:
    given = {REASONING: "high", DOMAINS: "a.example\r\n\r\n b.example ", "option:top_p": "0.5"}
    assert not _add(root, openai, **given, **{INPUT: "2.50"})
    config = ModelConfig.objects.get()
    assert config.options == {
        "top_p": 0.5,
        "provider_options": {
            "openai": {"reasoning_effort": "high", "allowed_domains": ["a.example", "b.example"]}
        },
    }
    assert price_at(config.pk, now()) == Prices(input=Decimal("2.5"))
    page = root.get(f"/admin/providers/modelconfig/{config.pk}/change/").content.decode()
    assert 'value="2.5"' in page
    assert "a.example\nb.example" in page
    entry = AuditEntry.objects.get(resource_type="model_config")
    assert (entry.actor_name, entry.action) == ("root", "create")


def test_the_form_has_the_options_of_the_kind_and_no_others(
    root: Client, openai: AIProvider
) -> None:
    anthropic = AIProvider.objects.create(
        type="anthropic", name="a", base_url="http://127.0.0.1:9/v1"
    )
    has = {}
    for provider in (openai, anthropic):
        add = f"/admin/providers/modelconfig/add/?ai_provider={provider.pk}"
        has[provider.type] = root.get(add).content.decode()
    assert REASONING in has["openai"]
    assert REASONING not in has["anthropic"]
    assert "option:presence_penalty" not in has["anthropic"]
    assert "option:provider_options.anthropic.thinking.budget_tokens" in has["anthropic"]
    assert "Controls the level of reasoning effort" in has["openai"]


def test_saving_a_form_as_it_was_shown_changes_nothing(root: Client, openai: AIProvider) -> None:
    options = {
        "temperature": 0.0,
        "provider_options": {
            "anthropic": {"thinking": {"budget_tokens": 5}, "effort": "odd"},
            "openai": {"store": False, "reasoning_effort": "high", "metadata": {"a": 1}},
        },
    }
    config = save_model_config(
        ModelConfig(ai_provider=openai, model="m", options=options), prices=Prices(input=Decimal(3))
    )
    change = f"/admin/providers/modelconfig/{config.pk}/change/"
    before = AuditEntry.objects.count()
    form = root.get(change).context["adminform"].form
    shown = {name: form[name].value() for name in form.fields}
    posted = {
        name: value for name, value in shown.items() if value is not None and value is not False
    }
    assert root.post(change, posted).status_code == 302
    assert ModelConfig.objects.get().options == options
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("option:temperature", "3", "less than or equal to 2"),
        ("option:max_output_tokens", "x", "Enter a whole number"),
        (REASONING, "extreme", "extreme is not one of the available choices"),
        ("option:provider_options.openai.metadata", "{", "Enter a valid JSON"),
        ("option:provider_options.openai.metadata", "[1]", "Expected `object"),
        ("option:provider_options.openai.metadata", '"text"', "Expected `object"),
        (INPUT, "-1", "greater than or equal to 0"),
        (INPUT, "x", "Enter a number"),
        (INPUT, "1e13", "must be less than"),
    ],
)
def test_options_that_are_wrong_are_refused_by_the_form_and_kept_in_it(
    root: Client, openai: AIProvider, field: str, value: str, why: str
) -> None:
    page = _add(root, openai, **{field: value, "display_name": "Typed already"})
    assert why in page
    assert "Typed already" in page
    assert not ModelConfig.objects.exists()


def test_an_implausible_price_must_be_confirmed(root: Client, openai: AIProvider) -> None:
    given = {INPUT: "0.0000001", "model": "gpt-4o-mini"}
    assert "far from the usual" in _add(root, openai, **given)
    assert not ModelConfig.objects.exists()
    assert not _add(root, openai, **given, confirm_price="on")
    assert price_at(ModelConfig.objects.get().pk, now()).input == Decimal("0.0000001")


def test_known_prices_are_filled_in_and_nothing_is_stored_yet(
    root: Client, openai: AIProvider
) -> None:
    asked = {"model": "gpt-4o-mini", "context_limit": "", "_suggest": "1"}
    page = _add(root, openai, **asked)
    known = suggest_prices("openai", "gpt-4o-mini")
    assert known is not None
    for text in (*known.prices.texts().values(), str(known.context_limit)):
        assert f'value="{text}"' in page
    assert "Look it over" in page
    assert not ModelConfig.objects.exists()
    assert "No prices are known" in _add(root, openai, model="mystery", _suggest="1")


def test_a_price_is_planned_and_withdrawn_but_history_stays(
    root: Client, openai: AIProvider
) -> None:
    later = (now() + timedelta(days=2)).replace(microsecond=0)
    moment = {"price_from_0": f"{later:%Y-%m-%d}", "price_from_1": f"{later:%H:%M:%S}"}
    _add(root, openai, **{INPUT: "1"})
    config = ModelConfig.objects.get()
    change = f"/admin/providers/modelconfig/{config.pk}/change/"
    root.post(change, model_form(openai, **{INPUT: "2"}, **moment))
    assert price_at(config.pk, now()).input == 1
    assert price_at(config.pk, later).input == 2
    old, planned = ModelPrice.objects.order_by("valid_from")
    assert root.get("/admin/providers/modelprice/").status_code == 200
    for price, status in ((old, 403), (planned, 302)):
        path = f"/admin/providers/modelprice/{price.pk}/delete/"
        assert root.post(path, {"post": "yes"}).status_code == status
    assert list(ModelPrice.objects.all()) == [old]


def test_a_price_of_the_past_is_refused(root: Client, openai: AIProvider) -> None:
    past = {"price_from_0": "2020-01-01", "price_from_1": "00:00:00"}
    assert "Choose a moment to come" in _add(root, openai, **past)


def test_deleting_a_model_is_soft_and_picks_another_default(
    root: Client, model: ModelConfig
) -> None:
    root.post(
        "/admin/providers/modelconfig/add/",
        model_form(model.ai_provider, model="other"),  # type: ignore[arg-type]
    )
    root.post(f"/admin/providers/modelconfig/{model.pk}/delete/", {"post": "yes"})
    assert ModelConfig.objects.get(pk=model.pk).deleted
    assert ModelConfig.objects.get(is_default=True).model == "other"


def test_five_hundred_models_are_listed_with_as_many_queries_as_one(
    root: Client, openai: AIProvider
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert root.get("/admin/providers/modelconfig/").status_code == 200
        return len(captured)

    save_model_config(ModelConfig(ai_provider=openai, model="first"))
    before = queries()
    many = [
        ModelConfig(ai_provider=openai, model=f"m{n}", provider="openai", context_limit=1)
        for n in range(500)
    ]
    for config in ModelConfig.objects.bulk_create(many):
        ModelPrice.objects.create(model_config=config, valid_from=now(), input=Decimal(1))
    assert queries() == before


def test_models_and_their_providers_are_switched_off_and_on_together(
    root: Client, openai: AIProvider
) -> None:
    models = [ModelConfig(ai_provider=openai, model=name) for name in ("one", "two")]
    rows: list[Any] = [openai, *map(save_model_config, models)]
    before = AuditEntry.objects.count()
    for action, enabled in (("switch_off", False), ("switch_on", True)):
        for kind, chosen in (("modelconfig", rows[1:]), ("aiprovider", rows[:1])):
            asked = {"action": action, "_selected_action": [str(row.pk) for row in chosen]}
            answer = root.post(f"/admin/providers/{kind}/", asked, follow=True)
            assert "switched o" in answer.content.decode()
        assert {type(row).objects.get(pk=row.pk).enabled for row in rows} == {enabled}
    assert AuditEntry.objects.count() == before + 6
