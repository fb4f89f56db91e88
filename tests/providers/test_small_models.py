"""Which small models can be called, in which order."""

from uuid import uuid4

import pytest

from chatd.core.fields import seal
from chatd.providers.actions import save_provider
from chatd.providers.bedrock import BedrockSettings, seal_settings
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig, ProviderType
from chatd.providers.small_models import SMALL_MODELS, usable_small_models
from tests.support.product import SMALL

pytestmark = pytest.mark.django_db

NOBODY = uuid4()
"""Somebody without a key of their own."""
BASE_URL = "http://127.0.0.1:9/v1"


def configured(kind: ProviderType, model: str, *, key: str = "k", **fields: bool) -> ModelConfig:
    name = f"{kind}-{ModelConfig.objects.count()}"
    provider = save_provider(AIProvider(type=kind, name=name, base_url=BASE_URL), new_key=key)
    return save_model_config(ModelConfig(ai_provider=provider, model=model, **fields))


def usable() -> list[str]:
    return [str(call.config_id) for call in usable_small_models(user_id=NOBODY)]


def test_without_small_models_there_is_none() -> None:
    configured(ProviderType.OPENAI, "gpt-5.2")
    configured(ProviderType.OPENAI_COMPAT, "gpt-4o-mini")
    assert usable() == []


def test_they_come_in_the_order_of_the_list_and_the_oldest_of_two_first() -> None:
    vercel = configured(ProviderType.VERCEL, "anthropic/claude-haiku-4.5")
    azure = configured(ProviderType.AZURE, "gpt-4o-mini")
    younger = configured(ProviderType.OPENAI, "gpt-4o-mini")
    youngest = configured(ProviderType.OPENAI, "gpt-4o-mini")
    assert usable() == [str(each.pk) for each in (younger, youngest, azure, vercel)]


def test_a_call_has_what_is_needed() -> None:
    configured(ProviderType.OPENAI, "gpt-4o-mini", key="the key")
    [call] = usable_small_models(user_id=NOBODY)
    assert (call.model, call.base_url, call.api_key) == ("gpt-4o-mini", BASE_URL, "the key")


@pytest.mark.parametrize("reason", ["switched off", "deleted", "provider off", "no key", "bad key"])
def test_one_that_cannot_be_called_is_left_out(reason: str) -> None:
    small = configured(ProviderType.OPENAI, "gpt-4o-mini", key="" if reason == "no key" else "k")
    match reason:
        case "switched off":
            ModelConfig.objects.update(enabled=False)
        case "deleted":
            ModelConfig.objects.update(deleted=True, is_default=False)
        case "provider off":
            AIProvider.objects.update(enabled=False)
        case "bad key":
            AIProviderKey.objects.update(api_key=seal("k")[:-4])
    assert small.pk
    assert usable() == []


def test_every_kind_has_its_turn_and_whole_products_of_tests_know_them_all() -> None:
    for kind, model in SMALL_MODELS:
        configured(kind, model)
    found = [(call.provider_type, call.model) for call in usable_small_models(user_id=NOBODY)]
    assert found == list(SMALL_MODELS)
    assert set(found) == SMALL


def test_credentials_of_aws_are_as_good_as_a_key() -> None:
    [(kind, model)] = [pair for pair in SMALL_MODELS if pair[0] == "bedrock"]
    small = configured(kind, model, key="")
    assert usable() == []
    settings = BedrockSettings(region="eu-west-1", access_key="a", access_key_secret="s")
    AIProvider.objects.update(settings=seal_settings(settings))
    assert usable() == [str(small.pk)]
