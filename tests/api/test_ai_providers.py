"""AI providers: the order of the checks, the list of keys, what is shown and what never is."""

import base64
import re
import secrets
from typing import Any

import pytest

from chatd.audit.actions import Author
from chatd.audit.models import AuditEntry
from chatd.core.errors import ChatdError
from chatd.core.fields import open_secret
from chatd.core.masking import masked
from chatd.providers.administration import change_provider
from chatd.providers.drafts import ProviderChanges
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig
from chatd.providers.selectors import resolve_model_call
from tests.api.client import NOT_FOUND, Api, Chats
from tests.api.test_chats_create import UNKNOWN
from tests.conftest import Cast

pytestmark = pytest.mark.django_db

PATH = "/api/v2/ai/providers"
KEY = "provider-key-0123456789"
URL = "https://api.example.com/v1"
INVALID = "Invalid AI provider request."
BAD_JSON = "Request body must be valid JSON."
NO_KEYS = "Bedrock providers do not accept api_keys; configure access credentials via settings."
BEDROCK = {"_type": "bedrock", "_version": 1}


def new(**fields: Any) -> dict[str, Any]:
    return {"type": "openai", "name": "main", "enabled": True, "base_url": URL, **fields}


def made(root: Api, **fields: Any) -> dict[str, Any]:
    answer = root.post(PATH, new(**fields))
    assert answer.status == 201, answer.body
    return answer.body  # type: ignore[no-any-return]


def wrong(answer: Any) -> list[str]:
    assert (answer.status, answer.message) == (400, INVALID)
    return [entry["field"] for entry in answer.body["validations"]]


def stored_keys() -> list[str]:
    return [open_secret(key.api_key) for key in AIProviderKey.objects.order_by("created_at")]


# What is shown


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("", "..."),
        ("1234", "..."),
        ("12345", "1...5"),
        ("123456789", "1...9"),
        ("1234567890", "12...90"),
        ("1234567890123456789", "12...89"),
        ("12345678901234567890", "1234...7890"),
    ],
)
def test_a_key_is_shown_by_its_ends(secret: str, shown: str) -> None:
    assert masked(secret) == shown


def test_a_provider_is_made_and_shown_with_every_field(root: Api) -> None:
    body = made(root, api_keys=[KEY, "short"])
    (first, second) = body.pop("api_keys")
    for entry, shown in ((first, "prov...6789"), (second, "s...t")):
        assert entry["masked"] == shown
        assert entry.keys() == {"id", "masked", "created_at"}
    provider = AIProvider.objects.get()
    for name in ("created_at", "updated_at"):
        assert body.pop(name).endswith("Z")
    assert body == {
        "id": str(provider.pk),
        "type": "openai",
        "name": "main",
        "display_name": "main",
        "enabled": True,
        "base_url": URL,
        "settings": None,
    }
    assert stored_keys() == [KEY, "short"]
    assert root.get(f"{PATH}/main").body == root.get(f"{PATH}/{str(provider.pk).upper()}").body


def test_the_list_has_disabled_ones_and_no_deleted_ones_by_name(root: Api) -> None:
    for name in ("c", "a", "b"):
        made(root, name=name, enabled=name != "a")
    root.delete(f"{PATH}/b")
    assert [entry["name"] for entry in root.get(PATH).body] == ["a", "c"]


@pytest.mark.parametrize("count", [1, 20])
def test_the_cost_of_the_list_does_not_grow(
    root: Api, count: int, django_assert_num_queries: Any
) -> None:
    for number in range(count):
        made(root, name=f"p{number}", api_keys=[KEY, KEY])
    with django_assert_num_queries(3):
        assert len(root.get(PATH).body) == count


def test_a_key_that_cannot_be_read_any_more_says_so(root: Api, settings: Any) -> None:
    made(root, api_keys=[KEY])
    made(root, name="aws", type="bedrock", settings=BEDROCK | {"region": "eu-west-1"})
    settings.CHATD_ENCRYPTION_KEYS = (base64.b64encode(secrets.token_bytes(32)).decode(),)
    aws, main = root.get(PATH).body
    assert (main["api_keys"][0]["masked"], main["api_keys"][0]["unreadable"]) == ("...", True)
    assert aws["settings"] is None
    kept = [{"id": main["api_keys"][0]["id"]}, {"api_key": "another-one"}]
    assert root.patch(f"{PATH}/main", {"api_keys": kept}).status == 200
    assert root.patch(f"{PATH}/aws", {"settings": BEDROCK | {"region": "x"}}).status == 200


# Who and which


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_body_is_judged_before_the_right_to_send_it(alice: Api, method: str) -> None:
    path = PATH if method == "POST" else f"{PATH}/main"
    for bad in ({}, {"type": 1}, {"base_url": "x"}):
        assert alice.call(method, path, bad).status == 400
    answer = alice.call(method, path, new())
    assert (answer.status, answer.message) == (403, "Forbidden.")
    assert not AIProvider.objects.exists()


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_what_there_is_stays_unknown_to_others(alice: Api, root: Api, method: str) -> None:
    made(root)
    for reference in ("main", "none", UNKNOWN):
        assert alice.call(method, f"{PATH}/{reference}", {"enabled": True}).status == 403
    for reference in ("none", UNKNOWN):
        answer = root.call(method, f"{PATH}/{reference}", {"enabled": True})
        assert (answer.status, answer.body) == (404, NOT_FOUND)


@pytest.mark.parametrize("reference", ["Main", "a--b", "-a", "a_b", "%00", "a%0a", "ä", "{x}"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_reference_is_an_id_or_could_be_a_name(root: Api, method: str, reference: str) -> None:
    answer = root.call(method, f"{PATH}/{reference}", {"enabled": True})
    assert answer.status == 400
    assert answer.message.startswith("Invalid provider id or name: must be a UUID or match ^")


# Making one


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"type": ""}, ["type"]),
        ({"type": "x", "name": "A", "base_url": ""}, ["type", "name", "base_url"]),
        ({"name": ""}, ["name"]),
        ({"name": "a" * 65}, ["name"]),
        ({"name": "test"}, ["name"]),
        ({"name": "a\n"}, ["name"]),
        ({"display_name": "a" * 129}, ["display_name"]),
        ({"display_name": "a\x00"}, ["display_name"]),
        ({"base_url": "ftp://host/v1"}, ["base_url"]),
        ({"base_url": "api.example.com"}, ["base_url"]),
        ({"base_url": "/v1"}, ["base_url"]),
        ({"base_url": "http://"}, ["base_url"]),
        ({"base_url": "http://user:word@host/v1"}, ["base_url"]),
        ({"base_url": "http://host/\x00"}, ["base_url"]),
        ({"base_url": f"http://host/{'a' * 512}"}, ["base_url"]),
        ({"api_keys": ["", " k", "k\n", "ok"]}, ["api_keys"] * 3),
        ({"api_keys": ["ä" * 5121]}, ["api_keys"]),
        ({"type": "copilot", "api_keys": [KEY]}, ["api_keys"]),
        ({"type": "bedrock", "api_keys": [KEY]}, ["settings", "api_keys"]),
        ({"type": "bedrock"}, ["settings"]),
        ({"type": "bedrock", "settings": BEDROCK}, ["settings"]),
        ({"type": "bedrock", "settings": BEDROCK | {"access_key": "a"}}, ["settings"]),
        ({"type": "openai", "settings": BEDROCK | {"region": "x"}}, ["settings"]),
    ],
)
def test_everything_wrong_with_a_new_one_is_named(
    root: Api, alice: Api, fields: dict[str, Any], names: list[str]
) -> None:
    for api in (root, alice):
        assert wrong(api.post(PATH, new(**fields))) == names
    assert not AIProvider.objects.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"_type": "bedrock"},
        {"_version": 1},
        {"_type": "vertex", "_version": 1},
        {"_type": "bedrock", "_version": 2},
        {"_type": "bedrock", "_version": "1"},
        BEDROCK | {"region": 1},
        [],
        "x",
    ],
)
def test_settings_of_another_shape_are_no_json_of_this_route(root: Api, settings: Any) -> None:
    body = new(type="bedrock", settings=settings)
    assert root.post(PATH, body).message == BAD_JSON
    assert root.patch(f"{PATH}/main", {"settings": settings}).message == BAD_JSON


def test_a_name_is_taken_by_a_live_provider_alone(root: Api) -> None:
    first = made(root)
    answer = root.post(PATH, new(type="google"))
    assert (answer.status, answer.message) == (409, 'AI provider "main" already exists.')
    assert root.delete(f"{PATH}/main").status == 204
    second = made(root)
    assert root.get(f"{PATH}/main").body["id"] == second["id"] != first["id"]
    gone = AIProvider.objects.get(pk=first["id"])
    assert (gone.deleted, gone.enabled) == (True, False)
    for method in ("GET", "DELETE", "PATCH"):
        assert root.call(method, f"{PATH}/{first['id']}", {"enabled": True}).status == 404


# Changing one


@pytest.mark.parametrize("body", [{}, {"settings": None}, {"type": "google", "name": "x"}])
def test_a_change_of_nothing_is_refused(root: Api, alice: Api, body: dict[str, Any]) -> None:
    made(root)
    for api in (root, alice):
        answer = api.patch(f"{PATH}/main", body)
        assert (answer.status, answer.message) == (400, "At least one field must be provided.")


def test_each_field_is_changed_alone(root: Api) -> None:
    before = made(root, display_name="Main", api_keys=[KEY])
    changes: list[dict[str, Any]] = [
        {"display_name": "Renamed"},
        {"enabled": False},
        {"base_url": "http://other:1/v1"},
    ]
    for change in changes:
        after = root.patch(f"{PATH}/main", change).body
        assert after.pop("updated_at") > before.pop("updated_at")
        assert after == before | change
        before = root.get(f"{PATH}/main").body
    assert root.patch(f"{PATH}/main", {"display_name": ""}).body["display_name"] == "main"
    unchangeable = {"type": "google", "name": "other", "enabled": True}
    assert root.patch(f"{PATH}/main", unchangeable).body["type"] == "openai"


def test_the_list_of_keys_is_the_one_that_is_wanted(root: Api) -> None:
    first, second = made(root, api_keys=["key-number-one", "key-number-two"])["api_keys"]

    def wish(*entries: dict[str, Any]) -> list[str]:
        answer = root.patch(f"{PATH}/main", {"api_keys": list(entries)})
        assert answer.status == 200
        assert [entry["masked"] for entry in answer.body["api_keys"]] == [
            masked(key) for key in stored_keys()
        ]
        return stored_keys()

    assert wish({"id": second["id"]}, {"api_key": "key-three"}) == ["key-number-two", "key-three"]
    assert root.patch(f"{PATH}/main", {"enabled": True}).status == 200
    assert len(stored_keys()) == 2, "absent keeps all"
    assert wish() == []
    foreign = made(root, name="other", api_keys=[KEY])["api_keys"][0]["id"]
    for unknown in (first["id"], foreign, UNKNOWN):
        answer = root.patch(
            f"{PATH}/main", {"enabled": False, "api_keys": [{"api_key": "k"}, {"id": unknown}]}
        )
        assert answer.message == "api_keys references an unknown id for this provider"
    assert root.get(f"{PATH}/main").body["enabled"] is True
    assert stored_keys() == [KEY]


@pytest.mark.parametrize(
    "entries",
    [
        [{}],
        [{"id": UNKNOWN, "api_key": "k"}],
        [{"id": UNKNOWN}, {"id": UNKNOWN.upper()}],
        [{"api_key": ""}],
        [{"api_key": " k"}],
    ],
)
def test_an_entry_is_either_kept_or_new(root: Api, alice: Api, entries: list[Any]) -> None:
    made(root)
    for api in (root, alice):
        assert wrong(api.patch(f"{PATH}/main", {"api_keys": entries})) == ["api_keys"]


def test_a_changed_provider_is_used_by_the_next_turn(
    root: Api, chats: Chats, model: ModelConfig, cast: Cast
) -> None:
    def call() -> tuple[str, str]:
        found = resolve_model_call(model.pk, user_id=cast.alice.pk)
        return found.base_url, found.api_key

    assert call() == ("http://127.0.0.1:9/v1", "fake-provider-key")
    root.patch(f"{PATH}/fake", {"base_url": URL, "api_keys": [{"api_key": KEY}]})
    assert call() == (URL, KEY)


def test_a_change_that_comes_after_the_deletion_revives_nothing(root: Api) -> None:
    made(root)
    stale = AIProvider.objects.get()
    root.delete(f"{PATH}/main")
    with pytest.raises(ChatdError, match="not found"):
        change_provider(Author(None, "a test"), stale, ProviderChanges(enabled=True))
    assert AIProvider.objects.get().enabled is False


# Bedrock


def test_credentials_go_in_and_never_come_out(root: Api) -> None:
    given = {"region": "eu-west-1", "model": "m", "small_fast_model": "s"}
    credentials = {"access_key": "AKIA-the-access-key", "access_key_secret": "the-secret-of-it"}
    body = made(root, type="bedrock", name="aws", settings=BEDROCK | given | credentials)
    assert body["settings"] == BEDROCK | given
    stored = AIProvider.objects.get().settings
    assert stored.startswith("v1:")
    assert "the-access-key" in open_secret(stored)

    def change(**fields: str) -> tuple[dict[str, Any], str]:
        answer = root.patch(f"{PATH}/aws", {"settings": BEDROCK | fields})
        assert answer.status == 200, answer.body
        return answer.body["settings"], open_secret(AIProvider.objects.get().settings)

    shown, kept = change(region="us-east-1")
    assert shown == BEDROCK | {"region": "us-east-1"}, "what is left out of the others is gone"
    assert "AKIA-the-access-key" in kept
    assert "the-secret-of-it" in kept
    _, cleared = change(region="us-east-1", access_key="")
    assert "AKIA-the-access-key" not in cleared
    assert "the-secret-of-it" in cleared
    bare = {"settings": BEDROCK | {"access_key_secret": ""}}
    assert wrong(root.patch(f"{PATH}/aws", bare)) == ["settings"]


def test_keys_and_bedrock_settings_do_not_go_together(root: Api) -> None:
    settings = BEDROCK | {"region": "eu-west-1"}
    both = new(type="anthropic", settings=settings, api_keys=[KEY])
    assert root.post(PATH, both).message == NO_KEYS
    made(root, type="anthropic", name="with-keys", api_keys=[KEY])
    made(root, type="anthropic", name="on-bedrock", settings=settings)
    made(root, type="bedrock", name="aws", settings=settings)
    keys = {"api_keys": [{"api_key": KEY}]}
    assert root.patch(f"{PATH}/with-keys", {"settings": settings}).message == NO_KEYS
    assert root.patch(f"{PATH}/on-bedrock", keys).message == NO_KEYS
    assert wrong(root.patch(f"{PATH}/aws", keys)) == ["api_keys"]
    moved = root.patch(f"{PATH}/with-keys", {"settings": settings, "api_keys": []})
    assert (moved.status, moved.body["api_keys"]) == (200, [])


# The audit log


def entries(kind: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(resource_type=kind).order_by("pk"))


def test_every_change_and_every_key_has_its_entry(root: Api) -> None:
    made(root, api_keys=[KEY])
    kept = root.get(f"{PATH}/main").body["api_keys"][0]["id"]
    root.patch(f"{PATH}/main", {"enabled": False, "api_keys": [{"api_key": "another-key"}]})
    root.patch(f"{PATH}/main", {"api_keys": [{"id": kept}]})
    root.delete(f"{PATH}/main")
    providers, keys = entries("ai_provider"), entries("ai_provider_key")
    assert [(each.action, each.refused) for each in providers] == [
        ("create", ""),
        ("write", ""),
        ("write", "api_keys references an unknown id for this provider"),
        ("delete", ""),
    ]
    assert providers[1].changes == {"enabled": {"old": True, "new": False}}
    assert [(each.action, each.resource_name) for each in keys] == [
        ("create", "main"),
        ("delete", "main"),
        ("create", "main"),
    ]
    assert keys[0].changes["masked"] == {"old": None, "new": "prov...6789"}
    assert keys[1].changes["masked"] == {"old": "prov...6789", "new": None}
    assert {each.actor_name for each in providers + keys} == {"root"}


def test_a_changed_credential_is_in_the_log_and_its_text_is_not(root: Api) -> None:
    before = {"region": "x", "access_key": "AKIAxxxxxx", "access_key_secret": "abcdefxx1234"}
    after = {"region": "x", "access_key": "AKIAxxxxxx", "access_key_secret": "abcdefyy1234"}
    made(root, type="bedrock", name="aws", settings=BEDROCK | before)
    root.patch(f"{PATH}/aws", {"settings": BEDROCK | after})
    assert [each.action for each in entries("ai_provider")] == ["create", "write"]
    logged = str(list(AuditEntry.objects.values()))
    assert not re.search("AKIAx|abcdef", logged)
