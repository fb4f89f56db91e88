"""The older routes of providers and own keys: the same rows, seen as one per kind."""

from collections.abc import Callable
from typing import Any

import pytest

from chatd.core.fields import open_secret
from chatd.llm.providers import PROVIDERS
from chatd.providers.actions import save_provider
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig, UserAIProviderKey
from tests.api.client import NIL, NOT_FOUND, Api
from tests.api.test_chats_create import UNKNOWN

pytestmark = pytest.mark.django_db

PATH = "/chats/providers"
KEYS = "/chats/user-provider-configs"
NEEDS_KEY = "API key is required when central API key is enabled."
FLAGS = {
    "central_api_key_enabled": True,
    "allow_user_api_key": False,
    "allow_central_api_key_fallback": False,
}


def made(root: Api, kind: str = "openai", **fields: Any) -> dict[str, Any]:
    answer = root.post(PATH, {"provider": kind, "api_key": "the-key", **fields})
    assert answer.status == 201, answer.body
    return answer.body  # type: ignore[no-any-return]


def keys_of(provider_id: str) -> list[str]:
    return [open_secret(key.api_key) for key in AIProviderKey.objects.filter(provider=provider_id)]


def listed(root: Api, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in root.get(PATH).body if entry["provider"] == kind]


# The list


def test_every_kind_is_there_in_the_fixed_order_before_any_is_configured(root: Api) -> None:
    body = root.get(PATH).body
    assert [entry["provider"] for entry in body] == [kind.name for kind in PROVIDERS]
    assert body[0] == {
        "id": NIL,
        "provider": "anthropic",
        "display_name": "Anthropic",
        "enabled": False,
        "has_api_key": False,
        **FLAGS,
        "source": "supported",
        "created_at": "0001-01-01T00:00:00Z",
        "updated_at": "0001-01-01T00:00:00Z",
    }


def test_what_the_newer_routes_made_is_there_all_of_it(root: Api) -> None:
    for name, kind in (("a", "openai"), ("b", "openai"), ("c", "copilot")):
        body = {"type": kind, "name": name, "base_url": "http://127.0.0.1:9/v1"}
        assert root.post("/api/v2/ai/providers", body).status == 201
    root.delete("/api/v2/ai/providers/a")
    (only,) = listed(root, "openai")
    assert (only["display_name"], only["source"], only["has_api_key"]) == ("b", "database", False)
    assert all(only[flag] for flag in FLAGS)
    assert listed(root, "copilot") == []
    copilot = AIProvider.objects.get(name="c")
    assert root.patch(f"{PATH}/{copilot.pk}", {}).body == NOT_FOUND
    assert root.post(PATH, {"provider": "openai", "api_key": "k"}).status == 409


# Making one


def test_a_provider_of_a_kind_is_made_with_its_defaults(root: Api) -> None:
    body = made(root, " OpenAI ")
    for name in ("created_at", "updated_at"):
        assert body.pop(name).endswith("Z")
    provider = AIProvider.objects.get()
    assert body == {
        "id": str(provider.pk),
        "provider": "openai",
        "display_name": "OpenAI",
        "enabled": True,
        "has_api_key": True,
        **FLAGS,
        "source": "database",
    }
    assert provider.name == "openai"
    assert keys_of(body["id"]) == ["the-key"]
    answer = root.post(PATH, {"provider": "openai", "api_key": "k"})
    assert (answer.status, answer.message) == (409, "Chat provider already exists.")


def test_fields_are_trimmed_and_kept(root: Api) -> None:
    own = FLAGS | {"allow_user_api_key": True, "allow_central_api_key_fallback": True}
    given = own | {"display_name": " Ours ", "base_url": " http://host:1/v1 ", "enabled": False}
    body = made(root, api_key=" k ", **given)
    assert {name: body[name] for name in given} == given | {
        "display_name": "Ours",
        "base_url": "http://host:1/v1",
    }
    assert keys_of(body["id"]) == ["k"]


def test_refusals_of_a_new_one_come_in_the_order_of_the_contract(root: Api, alice: Api) -> None:
    body: dict[str, Any] = {
        "provider": "other",
        "api_key": "k" * 10_241,
        "base_url": "host",
        "central_api_key_enabled": False,
    }

    def refusal(**changes: Any) -> str:
        body.update(changes)
        answer = root.post(PATH, body)
        assert answer.status == 400
        return answer.message

    assert alice.call("POST", PATH, raw=b"{").status == 403
    assert root.call("POST", PATH, raw=b"{").message == "Request body must be valid JSON."
    assert refusal() == "Invalid provider."
    assert refusal(provider="openai") == "API key too large."
    assert refusal(api_key=" ") == "Invalid provider base URL."
    assert refusal(base_url="") == "Invalid credential policy."
    assert refusal(central_api_key_enabled=True, allow_central_api_key_fallback=True) == (
        "Invalid credential policy."
    )
    assert refusal(allow_central_api_key_fallback=False) == NEEDS_KEY
    assert not AIProvider.objects.exists()
    assert root.post(PATH, body | {"provider": "bedrock"}).body["has_api_key"] is False
    only_own = {"provider": "openai", "central_api_key_enabled": False, "allow_user_api_key": True}
    assert root.post(PATH, only_own).status == 201


def test_a_name_that_is_taken_by_another_kind_is_numbered(root: Api) -> None:
    body = {"type": "google", "name": "openai", "base_url": "http://127.0.0.1:9/v1"}
    root.post("/api/v2/ai/providers", body)
    assert AIProvider.objects.get(pk=made(root)["id"]).name == "openai-2"


# Changing one


def test_each_field_is_changed_alone_and_blank_names_are_kept(root: Api) -> None:
    before = made(root, display_name="Ours", base_url="http://host/v1")
    changes: list[dict[str, Any]] = [
        {"display_name": "Other"},
        {"base_url": "http://other/v1"},
        {"enabled": False},
        {"allow_user_api_key": True},
        {"allow_central_api_key_fallback": True},
    ]
    path = f"{PATH}/{before['id']}"
    for change in changes:
        after = root.patch(path, change).body
        assert after.pop("updated_at") > before.pop("updated_at")
        assert after == before | change
        (before,) = listed(root, "openai")
    for nothing in ({}, {"display_name": " "}, {"provider": "google"}):
        assert root.patch(path, nothing).body["display_name"] == "Other"
    assert "base_url" not in root.patch(path, {"base_url": ""}).body
    assert keys_of(before["id"]) == ["the-key"]


def test_a_key_is_replaced_and_cleared_where_nothing_needs_it(root: Api) -> None:
    provider_id = made(root)["id"]
    path = f"{PATH}/{provider_id}"
    assert root.patch(path, {"api_key": " next "}).body["has_api_key"] is True
    assert keys_of(provider_id) == ["next"]
    assert root.patch(path, {"api_key": ""}).message == NEEDS_KEY
    own = {"central_api_key_enabled": False, "allow_user_api_key": True}
    assert root.patch(path, own).body["has_api_key"] is False, "it is stored, and switched off"
    assert keys_of(provider_id) == ["next"]
    assert root.patch(path, {"api_key": ""}).status == 200
    assert keys_of(provider_id) == []
    assert root.patch(path, {"central_api_key_enabled": True}).message == NEEDS_KEY
    both = {"central_api_key_enabled": True, "api_key": "again"}
    assert root.patch(path, both).body["has_api_key"] is True


def test_a_key_of_bedrock_can_be_set_and_cleared(root: Api) -> None:
    path = f"{PATH}/{made(root, 'bedrock')['id']}"
    assert root.patch(path, {"api_key": "next"}).body["has_api_key"] is True
    assert root.patch(path, {"api_key": ""}).body["has_api_key"] is False


@pytest.mark.parametrize(
    "policy",
    [
        {"central_api_key_enabled": False},
        {"allow_central_api_key_fallback": True},
    ],
)
def test_a_policy_is_judged_as_it_will_be(root: Api, policy: dict[str, bool]) -> None:
    provider_id = made(root)["id"]
    answer = root.patch(f"{PATH}/{provider_id}", policy)
    assert (answer.status, answer.message) == (400, "Invalid credential policy.")
    provider = AIProvider.objects.get()
    assert {flag: getattr(provider, flag) for flag in FLAGS} == FLAGS


def test_a_server_without_a_key_that_the_newer_routes_made_can_be_switched_off(root: Api) -> None:
    save_provider(AIProvider(type="openai-compat", name="own", base_url="http://127.0.0.1:9/v1"))
    path = f"{PATH}/{AIProvider.objects.get().pk}"
    assert root.patch(path, {"enabled": False}).body["enabled"] is False


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_an_id_is_checked_after_the_right_and_before_the_body(
    root: Api, alice: Api, method: str
) -> None:
    assert alice.call(method, f"{PATH}/x", raw=b"{").status == 403
    assert root.call(method, f"{PATH}/x", raw=b"{").message == "Invalid chat provider ID."
    assert root.call(method, f"{PATH}/{UNKNOWN}", {}).body == NOT_FOUND


def test_deleting_one_deletes_its_models_and_picks_another_default(
    root: Api, model: ModelConfig
) -> None:
    provider = AIProvider.objects.get(pk=made(root)["id"])
    for name in ("a", "b"):
        save_model_config(ModelConfig(ai_provider=provider, model=name, is_default=True))
    assert root.delete(f"{PATH}/{provider.pk}").status == 204
    live = ModelConfig.objects.filter(deleted=False)
    assert list(live.values_list("pk", "is_default")) == [(model.pk, True)]
    assert root.delete(f"{PATH}/{provider.pk}").body == NOT_FOUND
    assert [entry["source"] for entry in listed(root, "openai")] == ["supported"]
    made(root)


def test_the_newer_route_leaves_the_models(root: Api, model: ModelConfig) -> None:
    assert root.delete("/api/v2/ai/providers/fake").status == 204
    assert ModelConfig.objects.filter(deleted=False, is_default=True).exists()


# People's own keys


@pytest.fixture
def open_to_keys(root: Api) -> str:
    """The id of a provider that people may bring keys for."""
    return str(made(root, allow_user_api_key=True)["id"])


def test_a_key_of_ones_own_comes_and_goes(alice: Api, open_to_keys: str) -> None:
    shown = {
        "provider_id": open_to_keys,
        "provider": "openai",
        "display_name": "OpenAI",
        "has_user_api_key": False,
        "has_central_api_key_fallback": False,
        "byok_enabled": True,
    }
    assert alice.get(KEYS).body == [shown]
    answer = alice.call("PUT", f"{KEYS}/{open_to_keys}", {"api_key": " mine "})
    assert (answer.status, answer.body) == (200, shown | {"has_user_api_key": True})
    assert open_secret(UserAIProviderKey.objects.get().api_key) == "mine"
    for _ in range(2):
        assert alice.delete(f"{KEYS}/{open_to_keys}").status == 204
    assert alice.get(KEYS).body == [shown]
    assert alice.delete(f"{KEYS}/x").message == "Invalid chat provider ID."


def test_refusals_of_a_key_come_in_the_order_of_the_contract(
    alice: Api, open_to_keys: str, byok: Callable[[bool], None]
) -> None:
    def refusal(reference: str = open_to_keys, key: Any = " ") -> tuple[int, str]:
        answer = alice.call("PUT", f"{KEYS}/{reference}", {"api_key": key})
        return answer.status, answer.message

    byok(False)
    assert refusal("x") == (403, "BYOK is disabled.")
    assert alice.get(KEYS).body[0]["byok_enabled"] is False
    byok(True)
    assert refusal("x") == (400, "Invalid chat provider ID.")
    assert refusal(UNKNOWN) == (404, NOT_FOUND["message"])
    AIProvider.objects.update(enabled=False, allow_user_api_key=False)
    assert refusal() == (400, "Provider is disabled.")
    AIProvider.objects.update(enabled=True)
    assert refusal() == (400, "Provider does not allow user API keys.")
    AIProvider.objects.update(allow_user_api_key=True)
    assert refusal(key="k" * 10_241) == (400, "API key too large.")
    assert refusal() == (400, "API key is required.")


def test_a_stored_key_survives_what_is_switched_off(
    root: Api, alice: Api, open_to_keys: str
) -> None:
    alice.call("PUT", f"{KEYS}/{open_to_keys}", {"api_key": "mine"})
    for off, on in (
        ({"enabled": False}, {"enabled": True}),
        ({"allow_user_api_key": False}, {"allow_user_api_key": True}),
    ):
        root.patch(f"{PATH}/{open_to_keys}", off)
        assert alice.get(KEYS).body == []
        root.patch(f"{PATH}/{open_to_keys}", on)
        assert alice.get(KEYS).body[0]["has_user_api_key"] is True


def test_the_shared_key_stands_in_where_it_may_and_is_there(root: Api, alice: Api) -> None:
    own = {"allow_user_api_key": True, "allow_central_api_key_fallback": True}
    made(root, "anthropic", **own)
    made(root, "google", allow_user_api_key=True)
    assert root.post(PATH, {"provider": "bedrock", **own}).status == 201
    stands_in = {
        entry["provider"]: entry["has_central_api_key_fallback"] for entry in alice.get(KEYS).body
    }
    assert list(stands_in.items()) == [("anthropic", True), ("bedrock", True), ("google", False)]
    AIProviderKey.objects.all().delete()
    assert [entry["has_central_api_key_fallback"] for entry in alice.get(KEYS).body] == [
        False,
        True,
        False,
    ]
