"""The administration pages: providers and models by hand, secrets that never come back."""

from base64 import b64encode
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.actions import create_token
from chatd.accounts.models import APIKey
from chatd.audit.models import AuditEntry
from chatd.chats.models import Chat
from chatd.core.clock import now
from chatd.core.coverage import secrets_notice
from chatd.core.fields import open_secret
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig
from chatd.providers.price_models import ModelPrice
from chatd.providers.prices import price_at
from chatd.providers.pricing import Prices
from tests.conftest import Cast
from tests.support.people import pending_chat

pytestmark = pytest.mark.django_db

SECRET = "the-provider-key-0123456789"
PROVIDER = {
    "type": "openai-compat",
    "name": "team-gateway",
    "display_name": "Team gateway",
    "enabled": "on",
    "base_url": "http://gateway:4000/v1",
    "central_api_key_enabled": "on",
    "new_key": SECRET,
}


@pytest.fixture
def root(client: Client, cast: Cast) -> Client:
    client.force_login(cast.root)
    return client


def _model_form(provider: AIProvider, **changes: str) -> dict[str, str]:
    form = {
        "ai_provider": str(provider.pk),
        "model": "some-model",
        "display_name": "Some model",
        "enabled": "on",
        "context_limit": "128000",
        "compression_threshold": "70",
        "model_config": "{}",
    }
    return form | changes


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


def test_saving_a_provider_without_a_key_keeps_the_key_and_with_one_replaces_it(
    root: Client,
) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    provider = AIProvider.objects.get(name="team-gateway")
    change = f"/admin/providers/aiprovider/{provider.pk}/change/"
    root.post(change, PROVIDER | {"new_key": "", "display_name": "Renamed"})
    assert open_secret(AIProviderKey.objects.get().api_key) == SECRET
    root.post(change, PROVIDER | {"new_key": "another-key"})
    assert open_secret(AIProviderKey.objects.get().api_key) == "another-key"


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
            assert page.count(f">{key}<") == 1
            assert page.count(">none<") == (path == "")
            assert SECRET not in page
        index = root.get("/admin/").content.decode()
        assert ("1 of 1 stored secrets cannot be read" in index) == (key == lost)


def test_strangers_are_not_told_of_secrets(client: Client, root: Client, settings: Any) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    settings.CHATD_ENCRYPTION_KEYS = LOST
    page = Client().get("/admin/login/").content.decode()
    assert secrets_notice()
    assert "cannot be read" not in page


def test_entering_a_lost_key_again_makes_it_whole(root: Client, settings: Any) -> None:
    root.post("/admin/providers/aiprovider/add/", PROVIDER)
    settings.CHATD_ENCRYPTION_KEYS = LOST
    change = f"/admin/providers/aiprovider/{AIProvider.objects.get().pk}/change/"
    root.post(change, PROVIDER | {"new_key": "", "display_name": "Renamed"})
    assert secrets_notice()
    root.post(change, PROVIDER)
    assert secrets_notice() == ""
    assert open_secret(AIProviderKey.objects.get().api_key) == SECRET


def test_without_encryption_keys_a_new_secret_is_refused_with_what_to_do(
    root: Client, settings: Any
) -> None:
    settings.CHATD_ENCRYPTION_KEYS = ()
    answer = root.post("/admin/providers/aiprovider/add/", PROVIDER)
    assert answer.status_code == 503
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
    root.post("/admin/providers/modelconfig/add/", _model_form(provider))
    assert ModelConfig.objects.get().is_default
    root.post(
        "/admin/providers/modelconfig/add/", _model_form(provider, model="better", is_default="on")
    )
    assert list(ModelConfig.objects.filter(is_default=True).values_list("model", flat=True)) == [
        "better"
    ]


def test_a_model_without_a_provider_is_refused(root: Client, model: ModelConfig) -> None:
    form = _model_form(model.ai_provider, ai_provider="")  # type: ignore[arg-type]
    assert root.post("/admin/providers/modelconfig/add/", form).status_code == 200
    assert ModelConfig.objects.count() == 1


# Options and prices

INPUT = "input_price_per_million_tokens"


def _add(root: Client, provider: AIProvider, options: str, **changes: str) -> str:
    """Post the form of a new model; return the page that refused it, or nothing."""
    form = _model_form(provider, model_config=options, **changes)
    answer = root.post("/admin/providers/modelconfig/add/", form)
    return unescape(answer.content.decode()) if answer.status_code == 200 else ""


@pytest.fixture
def openai(db: None) -> AIProvider:
    return AIProvider.objects.create(type="openai", name="o", base_url="http://127.0.0.1:9/v1")


def test_options_and_cost_are_entered_and_shown_as_the_api_has_them(
    root: Client, openai: AIProvider
) -> None:
    _add(root, openai, f'{{"top_p": 0.5, "mystery": 1, "cost": {{"{INPUT}": 2.50}}}}')
    config = ModelConfig.objects.get()
    assert config.options == {"top_p": 0.5}
    assert price_at(config.pk, now()) == Prices(input=Decimal("2.5"))
    page = root.get(f"/admin/providers/modelconfig/{config.pk}/change/").content.decode()
    assert f'"{INPUT}": "2.5"' in unescape(page)
    entry = AuditEntry.objects.get(resource_type="model_config")
    assert (entry.actor_name, entry.action) == ("root", "create")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"top_k": "x"}', "Expected `int | null`"),
        (f'{{"cost": {{"{INPUT}": -1}}}}', "must be greater than or equal to zero"),
        (f'{{"cost": {{"{INPUT}": "x"}}}}', "Expected a decimal"),
    ],
)
def test_options_that_are_wrong_are_refused_by_the_form(
    root: Client, openai: AIProvider, options: str, why: str
) -> None:
    assert why in _add(root, openai, options)
    assert not ModelConfig.objects.exists()


def test_an_implausible_price_must_be_confirmed(root: Client, openai: AIProvider) -> None:
    options = f'{{"cost": {{"{INPUT}": "0.0000001"}}}}'
    assert "far from the usual" in _add(root, openai, options, model="gpt-4o-mini")
    assert not ModelConfig.objects.exists()
    assert not _add(root, openai, options, model="gpt-4o-mini", confirm_price="on")
    assert price_at(ModelConfig.objects.get().pk, now()).input == Decimal("0.0000001")


def test_a_price_is_planned_and_withdrawn_but_history_stays(
    root: Client, openai: AIProvider
) -> None:
    later = (now() + timedelta(days=2)).replace(microsecond=0)
    moment = {"price_from_0": f"{later:%Y-%m-%d}", "price_from_1": f"{later:%H:%M:%S}"}
    _add(root, openai, f'{{"cost": {{"{INPUT}": 1}}}}')
    config = ModelConfig.objects.get()
    change = f"/admin/providers/modelconfig/{config.pk}/change/"
    root.post(change, _model_form(openai, model_config=f'{{"cost": {{"{INPUT}": 2}}}}', **moment))
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
    assert "Choose a moment to come" in _add(root, openai, "{}", **past)


def test_deleting_a_model_is_soft_and_picks_another_default(
    root: Client, model: ModelConfig
) -> None:
    root.post(
        "/admin/providers/modelconfig/add/",
        _model_form(model.ai_provider, model="other"),  # type: ignore[arg-type]
    )
    root.post(f"/admin/providers/modelconfig/{model.pk}/delete/", {"post": "yes"})
    assert ModelConfig.objects.get(pk=model.pk).deleted
    assert ModelConfig.objects.get(is_default=True).model == "other"


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
        ({"type": "copilot"}, "Copilot providers do not accept api_keys."),
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
