"""The catalogue: which models can be chosen, by kind of provider, and why not."""

from uuid import uuid4

import pytest

from chatd.core.fields import seal
from chatd.llm.providers import PROVIDERS
from chatd.providers.actions import save_provider
from chatd.providers.catalog import CatalogProvider, list_catalog
from chatd.providers.model_configs import delete_model_config, save_model_config
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig, ProviderType

pytestmark = pytest.mark.django_db

MISSING = "user_api_key_required"
"""While people may bring a key of their own."""
NOBODY = uuid4()
_NAMES = iter(range(10**6))


def provider(kind: str = "openai", *, key: str = "a-key", **fields) -> AIProvider:
    named = {"name": f"p{next(_NAMES)}", "base_url": "http://127.0.0.1:9/v1", **fields}
    return save_provider(AIProvider(type=kind, **named), new_key=key)


def add(of: AIProvider, *models: str, **fields) -> ModelConfig:
    for model in models:
        config = save_model_config(ModelConfig(ai_provider=of, model=model, **fields))
    return config


def only() -> CatalogProvider:
    (entry,) = list_catalog(NOBODY)
    return entry


def shown() -> list[tuple[str, str]]:
    return [(model.model, model.display_name) for model in only().models]


# Which providers


def test_without_providers_there_is_nothing():
    assert list_catalog(NOBODY) == []


def test_kinds_come_in_their_fixed_order_and_copilot_never():
    for kind in reversed(ProviderType):
        add(provider(kind.value), "m")
    kinds = [entry.kind for entry in list_catalog(NOBODY)]
    assert kinds == [kind.name for kind in PROVIDERS]
    assert "copilot" not in kinds


@pytest.mark.parametrize("change", [{"enabled": False}, {"deleted": True}])
def test_a_disabled_or_deleted_provider_is_not_there_with_its_models(change):
    add(provider(**change), "gpt")
    assert list_catalog(NOBODY) == []


def test_a_provider_without_models_is_there_beside_others_and_alone():
    provider("openai")
    assert only().models == []
    add(provider("anthropic"), "claude")
    assert [(entry.kind, len(entry.models)) for entry in list_catalog(NOBODY)] == [
        ("anthropic", 1),
        ("openai", 0),
    ]


# Which models


def test_disabled_and_deleted_models_are_not_there():
    openai = provider()
    add(openai, "b")
    add(openai, "off", enabled=False)
    delete_model_config(add(openai, "gone"))
    assert shown() == [("b", "b")]


def test_models_come_by_their_id_whatever_they_are_called():
    openai = provider()
    add(openai, "c", display_name="1")
    add(openai, "b", display_name="2")
    add(openai, "B2", display_name="")
    assert shown() == [("B2", "B2"), ("b", "2"), ("c", "1")]


def test_a_model_is_there_once_whatever_the_case_and_the_latest_change_names_it():
    openai = provider()
    first = add(openai, "gpt-5", display_name="first")
    add(openai, "gpt-5", display_name="second")
    add(provider(), "GPT-6")
    add(openai, "gpt-6")
    assert shown() == [("GPT-6", "GPT-6"), ("gpt-5", "second")]
    save_model_config(first)
    assert shown()[1] == ("gpt-5", "first")


# Whether they can be used


@pytest.mark.parametrize("kind", [kind.name for kind in PROVIDERS])
def test_with_a_key_every_kind_can_be_used(kind):
    provider(kind)
    assert only().unavailable is None


@pytest.mark.parametrize("kind", [kind.name for kind in PROVIDERS])
def test_without_a_key_only_kinds_that_may_need_none_can_be_used(kind):
    provider(kind, key="")
    needs_none = kind in ("bedrock", "openai-compat")
    assert only().unavailable == (None if needs_none else MISSING)


def test_a_blank_key_is_none():
    AIProviderKey.objects.create(provider=provider(key=""), api_key=seal(""))
    assert only().unavailable == MISSING


@pytest.mark.parametrize("kind", [kind.name for kind in PROVIDERS])
def test_a_key_that_cannot_be_read_is_none(kind, settings):
    provider(kind)
    settings.CHATD_ENCRYPTION_KEYS = ()
    assert only().unavailable == MISSING


def test_models_that_cannot_be_used_are_shown_with_the_reason():
    add(provider(key=""), "a")
    add(provider(key=""), "b")
    assert only().unavailable == MISSING
    assert shown() == [("a", "a"), ("b", "b")]


def test_a_provider_that_can_be_used_hides_the_others_of_its_kind_and_only_those():
    add(provider("openai", key=""), "hidden")
    add(provider("openai"), "shown")
    add(provider("anthropic", key=""), "of-another-kind")
    anthropic, openai = list_catalog(NOBODY)
    assert [model.model for model in openai.models] == ["shown"]
    assert [model.model for model in anthropic.models] == ["of-another-kind"]
    assert (anthropic.unavailable, openai.unavailable) == (MISSING, None)


def test_providers_of_a_kind_that_can_be_used_are_shown_together():
    add(provider(), "b")
    add(provider(), "a")
    provider()
    assert shown() == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize("count", [0, 1, 100])
def test_the_cost_does_not_grow_with_providers_and_models(count, django_assert_num_queries):
    for number in range(count // 10 + 1):
        one = provider()
        ModelConfig.objects.bulk_create(
            ModelConfig(ai_provider=one, provider=one.type, model=f"m{number}-{n}")
            for n in range(count)
        )
    with django_assert_num_queries(3):
        list_catalog(NOBODY)
