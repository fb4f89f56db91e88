"""GET /chats/models: the catalogue as clients see it."""

import pytest

from chatd.launch.first_start import ensure_demo_model
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig
from tests.api.client import Api


def catalog(api: Api) -> list[dict]:
    answer = api.get("/chats/models")
    assert answer.status == 200
    assert set(answer.body) == {"providers"}
    return answer.body["providers"]


def add_provider(kind: str, key: str = "") -> AIProvider:
    row = AIProvider(type=kind, name=kind, base_url="http://127.0.0.1:9/v1")
    return save_provider(row, new_key=key)


def test_without_providers_there_is_an_empty_list(alice):
    assert catalog(alice) == []


def test_a_provider_is_shown_with_its_models(alice, model):
    named = ModelConfig(ai_provider=model.ai_provider, model="z:a/b", display_name="Zed")
    save_model_config(named)
    assert catalog(alice) == [
        {
            "provider": "openai-compat",
            "available": True,
            "models": [
                {
                    "id": "openai-compat:fake-model",
                    "provider": "openai-compat",
                    "model": "fake-model",
                    "display_name": "fake-model",
                },
                {
                    "id": "openai-compat:z:a/b",
                    "provider": "openai-compat",
                    "model": "z:a/b",
                    "display_name": "Zed",
                },
            ],
        }
    ]


def test_a_provider_that_cannot_be_used_says_why_and_lists_are_never_null(alice):
    add_provider("bedrock")
    add_provider("anthropic")
    assert catalog(alice) == [
        {
            "provider": "anthropic",
            "available": False,
            "unavailable_reason": "user_api_key_required",
            "models": [],
        },
        {"provider": "bedrock", "available": True, "models": []},
    ]


def test_the_demo_model_of_a_first_start_can_be_used_without_a_key(alice):
    ensure_demo_model(base_url="http://127.0.0.1:9/v1", model="demo")
    assert catalog(alice) == [
        {
            "provider": "openai-compat",
            "available": True,
            "models": [
                {
                    "id": "openai-compat:demo",
                    "provider": "openai-compat",
                    "model": "demo",
                    "display_name": "Demo model (offline)",
                }
            ],
        }
    ]


def test_everybody_who_is_signed_in_sees_the_same(request, model):
    add_provider("openai", key="a-key")
    seen = [catalog(request.getfixturevalue(who)) for who in ("alice", "bob", "carol", "root")]
    assert all(body == seen[0] for body in seen)
    assert [entry["provider"] for entry in seen[0]] == ["openai", "openai-compat"]


def test_no_key_and_no_address_is_shown(alice):
    add_provider("openai", key="a-secret-key")
    raw = alice.get("/chats/models").raw
    assert b"secret" not in raw
    assert b"127.0.0.1" not in raw


@pytest.mark.parametrize("count", [1, 100])
def test_the_cost_does_not_grow_with_the_models(alice, model, count, django_assert_num_queries):
    ModelConfig.objects.bulk_create(
        ModelConfig(ai_provider=model.ai_provider, provider="openai-compat", model=f"m{n}")
        for n in range(count)
    )
    catalog(alice)  # the first use of a token is recorded
    with django_assert_num_queries(4):
        assert len(catalog(alice)[0]["models"]) == count + 1
