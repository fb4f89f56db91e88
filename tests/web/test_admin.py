"""The administration pages: providers and models by hand, secrets that never come back."""

import re
from base64 import b64encode
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.actions import create_token
from chatd.accounts.models import APIKey
from chatd.audit.models import AuditEntry
from chatd.chats.models import Chat
from chatd.core.coverage import secrets_notice
from chatd.core.fields import open_secret
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig
from tests.conftest import Cast
from tests.support.people import pending_chat
from tests.web.administration import PROVIDER, SECRET, model_form

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(client: Client, cast: Cast) -> Client:
    client.force_login(cast.root)
    return client


def test_an_owner_adds_a_provider_whose_key_is_stored_encrypted(root: Client) -> None:
    answer = root.post("/admin/providers/aiprovider/add/", PROVIDER)
    assert answer.status_code == 302
    key = AIProviderKey.objects.get(provider__name="team-gateway")
    assert SECRET not in key.api_key
    assert open_secret(key.api_key) == SECRET


def test_no_admin_page_shows_a_stored_key(root: Client) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    provider = AIProvider.objects.get(name="team-gateway")
    stored = AIProviderKey.objects.get().api_key
    for path in ("", f"{provider.pk}/change/", f"{provider.pk}/history/"):
        page = root.get(f"/admin/providers/aiprovider/{path}").content.decode()
        assert SECRET not in page
        assert stored not in page


def test_keys_are_kept_added_and_deleted_one_by_one(
    root: Client,
) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    provider = AIProvider.objects.get(name="team-gateway")
    change = f"/admin/providers/aiprovider/{provider.pk}/change/"
    kept = {"keep_keys": [str(AIProviderKey.objects.get().pk)]}
    root.post(change, PROVIDER | kept | {"new_key": "", "display_name": "Renamed"})
    assert _keys() == [SECRET]
    root.post(change, PROVIDER | kept | {"new_key": "another-key"})
    assert _keys() == [SECRET, "another-key"]
    root.post(change, PROVIDER | {"new_key": "", "keep_keys": [str(_stored("another-key").pk)]})
    assert _keys() == ["another-key"]


def _keys() -> list[str]:
    return [open_secret(key.api_key) for key in AIProviderKey.objects.all()]


def _stored(secret: str) -> AIProviderKey:
    return next(key for key in AIProviderKey.objects.all() if open_secret(key.api_key) == secret)


LOST = (b64encode(bytes(32)).decode(),)


def test_every_page_and_each_provider_tell_of_a_secret_that_cannot_be_read(
    root: Client, settings: Any
) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    root.post("/admin/providers/aiprovider/add/", PROVIDER | {"name": "keyless", "new_key": ""})
    detail = f"{AIProvider.objects.get(name='team-gateway').pk}/change/"
    lost = "needs to be entered again: its encryption key is missing"
    for keys, key in ((settings.CHATD_ENCRYPTION_KEYS, "stored"), (LOST, lost)):
        settings.CHATD_ENCRYPTION_KEYS = keys
        for path in ("", detail):
            page = root.get(f"/admin/providers/aiprovider/{path}").content.decode()
            assert len(re.findall(rf">\s*{key}\s*<", page)) == 1
            assert ("none needed" in page) == (path == "")
            assert SECRET not in page
        index = root.get("/admin/").content.decode()
        assert ("1 of 1 stored secrets cannot be read" in index) == (key == lost)


def test_strangers_are_not_told_of_secrets(client: Client, root: Client, settings: Any) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    settings.CHATD_ENCRYPTION_KEYS = LOST
    page = Client().get("/admin/", follow=True).content.decode()
    assert secrets_notice()
    assert "cannot be read" not in page


def test_entering_a_lost_key_again_makes_it_whole(root: Client, settings: Any) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    settings.CHATD_ENCRYPTION_KEYS = LOST
    change = f"/admin/providers/aiprovider/{AIProvider.objects.get().pk}/change/"
    kept = {"keep_keys": [str(AIProviderKey.objects.get().pk)]}
    root.post(change, PROVIDER | kept | {"new_key": "", "display_name": "Renamed"})
    assert secrets_notice()
    root.post(change, PROVIDER)
    assert secrets_notice() == ""
    assert open_secret(AIProviderKey.objects.get().api_key) == SECRET


def test_without_encryption_keys_a_new_secret_is_refused_with_what_to_do(
    root: Client, settings: Any
) -> None:
    settings.CHATD_ENCRYPTION_KEYS = ()
    answer = root.post("/admin/providers/aiprovider/add/", PROVIDER)
    assert answer.status_code == 200
    assert "CHATD_ENCRYPTION_KEYS is empty" in answer.content.decode()
    assert not AIProvider.objects.exists()
    root.post("/admin/providers/aiprovider/add/", PROVIDER | {"new_key": ""})
    assert AIProvider.objects.count() == 1


@pytest.mark.parametrize(
    "url", ["gateway:4000", "ftp://gateway/v1", "/v1", "http://", "http://a b", "http://u:p@h/"]
)
def test_a_base_url_that_is_not_absolute_http_is_refused_and_nothing_is_stored(
    root: Client, url: str
) -> None:
    answer = root.post("/admin/providers/aiprovider/add/", PROVIDER | {"base_url": url})
    assert answer.status_code == 200
    assert not AIProvider.objects.exists()


def test_a_name_that_is_taken_is_refused_by_the_form(root: Client) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    answer = root.post("/admin/providers/aiprovider/add/", PROVIDER)
    assert answer.status_code == 200
    assert "Another provider has this name." in answer.content.decode()
    assert AIProvider.objects.count() == 1


def test_credentials_in_a_base_url_are_refused(root: Client) -> None:
    form = PROVIDER | {"base_url": "http://user:word@gateway/v1"}
    assert root.post("/admin/providers/aiprovider/add/", form).status_code == 200
    assert not AIProvider.objects.exists()


def test_the_first_model_becomes_the_default_and_a_new_default_takes_over(root: Client) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    provider = AIProvider.objects.get()
    root.post("/admin/providers/modelconfig/add/", model_form(provider))
    assert ModelConfig.objects.get().is_default
    root.post(
        "/admin/providers/modelconfig/add/", model_form(provider, model="better", is_default="on")
    )
    assert list(ModelConfig.objects.filter(is_default=True).values_list("model", flat=True)) == [
        "better"
    ]


def test_a_model_without_a_provider_is_refused(root: Client, model: ModelConfig) -> None:
    form = model_form(model.ai_provider, ai_provider="")  # type: ignore[arg-type]
    assert root.post("/admin/providers/modelconfig/add/", form).status_code == 200
    assert ModelConfig.objects.count() == 1


def test_people_who_are_not_owners_are_sent_away(client: Client, cast: Cast) -> None:
    client.force_login(cast.alice)
    for path in ("/admin/", "/admin/providers/aiprovider/", "/admin/accounts/apikey/"):
        assert client.get(path).status_code == 302


def test_chats_can_be_looked_at_but_not_changed(
    root: Client, cast: Cast, model: ModelConfig
) -> None:
    chat = pending_chat(cast.alice, cast.organization, model)
    assert root.get("/admin/chats/chat/").status_code == 200
    page = f"/admin/chats/chat/{chat.pk}/change/"
    assert root.get(page).status_code == 200
    assert root.post(page, {"title": "changed"}).status_code == 403
    assert Chat.objects.get(pk=chat.pk).title == "A chat"


def test_a_token_can_be_revoked_but_never_read(root: Client, cast: Cast) -> None:
    key, text = create_token(user=cast.alice, name="script")
    secret = text.split("-")[1]
    page = root.get(f"/admin/accounts/apikey/{key.pk}/change/").content.decode()
    assert secret not in page
    assert key.hashed_secret not in page
    root.post(f"/admin/accounts/apikey/{key.pk}/delete/", {"post": "yes"})
    assert not APIKey.objects.filter(pk=key.pk).exists()


def test_the_lists_open_with_a_constant_number_of_queries(
    root: Client,
    cast: Cast,
    model: ModelConfig,
) -> None:
    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert root.get(path).status_code == 200
        return len(captured)

    pending_chat(cast.alice, cast.organization, model)
    before = queries("/admin/chats/chat/")
    for _ in range(5):
        pending_chat(cast.bob, cast.organization, model)
    assert queries("/admin/chats/chat/") == before


def test_the_form_of_a_provider_goes_the_way_of_the_api(root: Client) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    provider = AIProvider.objects.get()
    change = f"/admin/providers/aiprovider/{provider.pk}/change/"
    root.post(change, PROVIDER | {"new_key": "another-key", "display_name": ""})
    assert [
        (entry.actor_name, entry.action, entry.resource_type)
        for entry in AuditEntry.objects.order_by("pk")
    ] == [
        ("root", "create", "ai_provider"),
        ("root", "create", "ai_provider_key"),
        ("root", "delete", "ai_provider_key"),
        ("root", "create", "ai_provider_key"),
        ("root", "write", "ai_provider"),
    ]
    logged = str(list(AuditEntry.objects.values()))
    assert SECRET not in logged
    assert "another-key" not in logged
    assert str(AIProvider.objects.get()) == "team-gateway"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "bedrock", "new_key": ""}, "Bedrock providers need a region or credentials"),
        ({"name": "test"}, "is reserved"),
        ({"new_key": "k" * 10_241}, "a key must be at most 10240 bytes"),
        ({"central_api_key_enabled": ""}, "Allow shared keys, keys of one&#x27;s own, or both."),
        ({"allow_central_api_key_fallback": "on"}, "where both are allowed."),
    ],
)
def test_what_the_api_refuses_the_form_refuses_too(
    root: Client, changes: dict[str, str], words: str
) -> None:
    answer = root.post("/admin/providers/aiprovider/add/", PROVIDER | changes)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not AIProvider.objects.exists()
