"""People's own keys: whose one may touch, in which order things are refused, what is shown."""

from collections.abc import Callable
from typing import Any

import pytest

from chatd.accounts.actions import create_user
from chatd.accounts.models import SiteRole, User
from chatd.audit.actions import Author
from chatd.audit.models import AuditEntry
from chatd.core.fields import open_secret
from chatd.providers.actions import save_provider
from chatd.providers.models import AIProvider, UserAIProviderKey
from chatd.providers.own_keys import drop_keys_of
from tests.api.client import NOT_FOUND, Api, api_of
from tests.api.conftest import make_admin
from tests.api.test_chats_create import UNKNOWN
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

PATH = "/users/me/ai-provider-keys"
KEY = "a-key-of-alice"


@pytest.fixture
def provider(db: None) -> AIProvider:
    return add("main")


def add(name: str, *, key: str = "", **fields: Any) -> AIProvider:
    row = AIProvider(type="openai", name=name, base_url="http://127.0.0.1:9/v1", **fields)
    return save_provider(row, new_key=key)


def put(api: Api, provider: object, key: Any = KEY, *, who: str = "me") -> Any:
    return api.call("PUT", f"/users/{who}/ai-provider-keys/{provider}", {"api_key": key})


def key_of(user: User) -> str:
    return open_secret(UserAIProviderKey.objects.get(user=user).api_key)


def test_a_key_is_stored_shown_as_there_replaced_and_deleted(
    alice: Api, cast: Cast, provider: AIProvider
) -> None:
    shown = {
        "provider": {
            "id": str(provider.pk),
            "type": "openai",
            "name": "main",
            "display_name": "main",
            "enabled": True,
            "deleted": False,
        },
        "has_user_api_key": False,
        "has_provider_api_key": False,
        "byok_enabled": True,
    }
    assert alice.get(PATH).body == [shown]
    answer = put(alice, provider.pk)
    assert (answer.status, answer.body) == (200, shown | {"has_user_api_key": True})
    assert key_of(cast.alice) == KEY
    assert KEY not in UserAIProviderKey.objects.get().api_key
    put(alice, str(provider.pk).upper(), "another")
    assert key_of(cast.alice) == "another"
    for _ in range(2):
        assert alice.delete(f"{PATH}/{provider.pk}").status == 204
        assert alice.get(PATH).body == [shown]
    changes = AuditEntry.objects.filter(resource_type="user_ai_provider_key").order_by("pk")
    assert [entry.action for entry in changes] == ["create", "write", "delete"]


def test_the_list_has_what_is_on_and_what_one_has_a_key_for(alice: Api, bob: Api) -> None:
    names = ["on", "off", "gone", "off-without"]
    rows = {name: add(name, key="shared" if name == "on" else "") for name in names}
    for name in ("off", "gone"):
        put(alice, rows[name].pk)
    AIProvider.objects.exclude(name="on").update(enabled=False)
    AIProvider.objects.filter(name="gone").update(deleted=True)
    assert [
        (entry["provider"]["name"], entry["provider"]["deleted"], entry["has_user_api_key"])
        for entry in alice.get(PATH).body
    ] == [("gone", True, True), ("off", False, True), ("on", False, False)]
    (of_bob,) = bob.get(PATH).body
    assert (of_bob["provider"]["name"], of_bob["has_provider_api_key"]) == ("on", True)


def test_refusals_come_in_the_order_of_the_contract(
    alice: Api, provider: AIProvider, byok: Callable[[bool], None]
) -> None:
    def refusal(reference: object, key: Any = " ") -> tuple[int, str, str]:
        answer = put(alice, reference, key)
        return answer.status, answer.message, answer.detail

    byok(False)
    assert refusal("x")[:2] == (403, "BYOK is disabled.")
    byok(True)
    assert refusal("main")[:2] == (400, "Invalid AI provider ID.")
    assert refusal(UNKNOWN)[:2] == (404, "AI provider not found.")
    AIProvider.objects.update(enabled=False)
    assert refusal(provider.pk)[:2] == (412, "AI provider is disabled.")
    AIProvider.objects.update(
        enabled=True, allow_user_api_key=False, allow_central_api_key_fallback=False
    )
    assert refusal(provider.pk)[:2] == (403, "BYOK is disabled.")
    assert [entry["byok_enabled"] for entry in alice.get(PATH).body] == [False]
    AIProvider.objects.update(allow_user_api_key=True)
    too_large = "API key exceeds maximum size of 10 KB (10240 bytes)"
    assert refusal(provider.pk, "ä" * 5120 + " ") == (400, "API key too large.", too_large)
    assert refusal(provider.pk, "")[:2] == (400, "API key is required.")
    for untrimmed in (" ", "\t\n", " k", "k\n"):
        message = "API key must not contain leading or trailing whitespace."
        assert refusal(provider.pk, untrimmed)[:2] == (400, message)
    assert refusal(provider.pk, 1)[:2] == (400, "Request body must be valid JSON.")
    assert not UserAIProviderKey.objects.exists()
    assert put(alice, provider.pk, "ä" * 5120).status == 200


def test_a_key_can_be_deleted_whatever_is_off(
    alice: Api, provider: AIProvider, byok: Callable[[bool], None]
) -> None:
    put(alice, provider.pk)
    byok(False)
    AIProvider.objects.update(enabled=False, deleted=True)
    assert [entry["byok_enabled"] for entry in alice.get(PATH).body] == [False]
    assert alice.delete(f"{PATH}/{provider.pk}").status == 204
    assert alice.delete(f"{PATH}/{UNKNOWN}").status == 204
    assert alice.delete(f"{PATH}/x").message == "Invalid AI provider ID."
    assert not UserAIProviderKey.objects.exists()


def with_role(role: SiteRole) -> User:
    name = role.value
    return create_user(username=name, email=f"{name}@x.example", password=None, site_roles=[role])


def organization_admin(cast: Cast) -> User:
    make_admin(cast.bob)
    return cast.bob


CALLERS: dict[str, tuple[Callable[[Cast], User], int]] = {
    "a site owner": (lambda cast: cast.root, 200),
    "a user admin": (lambda cast: with_role(SiteRole.USER_ADMIN), 200),
    "an auditor": (lambda cast: with_role(SiteRole.AUDITOR), 403),
    "an organisation's admin": (organization_admin, 403),
    "a member": (lambda cast: cast.bob, 404),
    "an outsider": (lambda cast: cast.carol, 404),
}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("reference", ["alice", "ALICE", "{id}"])
def test_keys_of_others_are_for_who_may_see_what_is_personal(
    caller: str, reference: str, cast: Cast, provider: AIProvider
) -> None:
    make, expected = CALLERS[caller]
    api, who = api_of(make(cast)), reference.replace("{id}", str(cast.alice.pk))
    listed = api.get(f"/users/{who}/ai-provider-keys")
    written = put(api, provider.pk, who=who)
    assert (listed.status, written.status) == (expected, expected)
    if expected == 404:
        assert listed.body == written.body == NOT_FOUND
    assert UserAIProviderKey.objects.filter(user=cast.alice).exists() == (expected == 200)
    deleted = api.delete(f"/users/{who}/ai-provider-keys/{provider.pk}")
    assert deleted.status == (204 if expected == 200 else expected)


@pytest.mark.parametrize("who", ["nobody", UNKNOWN, "%00", "%ff", "a" * 3000, "me%20"])
def test_an_unknown_person_is_a_404_also_for_administrators(root: Api, who: str) -> None:
    assert root.get(f"/users/{who}/ai-provider-keys").body == NOT_FOUND


def test_all_keys_of_a_person_can_be_deleted_at_once(cast: Cast, alice: Api, bob: Api) -> None:
    for name in ("a", "b"):
        provider = add(name)
        put(alice, provider.pk)
        put(bob, provider.pk)
    drop_keys_of(Author(None, "a test"), cast.alice)
    assert set(UserAIProviderKey.objects.values_list("user__username", flat=True)) == {"bob"}
    assert AuditEntry.objects.filter(action="delete").count() == 2


@pytest.mark.parametrize("count", [1, 20])
def test_the_cost_of_the_list_does_not_grow(
    alice: Api, count: int, django_assert_num_queries: Any
) -> None:
    for number in range(count):
        put(alice, add(f"p{number}", key="shared").pk)
    with django_assert_num_queries(3):
        assert len(alice.get(PATH).body) == count
