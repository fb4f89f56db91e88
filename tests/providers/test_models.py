"""Model configs and keys: one default, what a turn needs, secrets at rest."""

import base64
import secrets
from dataclasses import replace
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from chatd.core.crypto import SecretState, UndecryptableError
from chatd.core.fields import open_secret, seal
from chatd.live import config
from chatd.llm.types import AwsAccess
from chatd.providers import bedrock
from chatd.providers.actions import save_provider
from chatd.providers.bedrock import BedrockSettings, seal_settings
from chatd.providers.keys import key_state
from chatd.providers.model_configs import delete_model_config, save_model_config
from chatd.providers.models import AIProvider, AIProviderKey, ModelConfig, ProviderType
from chatd.providers.selectors import (
    Unusable,
    UnusableModelError,
    default_model_config,
    existing_model_config,
    resolve_model_call,
)
from chatd.turns.failures import error_of_setup
from chatd.turns.model_calls import is_of_anthropic, provider_of

KEY = "live-very-secret-key"
NOBODY = uuid4()
"""Somebody without a key of their own."""


@pytest.fixture
def provider(db) -> AIProvider:
    return save_provider(
        AIProvider(
            type=ProviderType.OPENAI,
            name="team-openai",
            display_name="Team OpenAI",
            base_url="http://127.0.0.1:9/v1",
        ),
        new_key=KEY,
    )


@pytest.fixture
def add(provider):
    def save(model: str, **fields) -> ModelConfig:
        return save_model_config(ModelConfig(ai_provider=provider, model=model, **fields))

    return save


def defaults() -> list[str]:
    return [config.model for config in ModelConfig.objects.filter(is_default=True)]


# The default


def test_the_first_config_becomes_the_default(add):
    assert add("a").is_default is True
    assert add("b").is_default is False
    assert defaults() == ["a"]


def test_a_new_default_takes_over(add):
    first = add("a")
    assert add("b", is_default=True).is_default is True
    first.refresh_from_db()
    assert defaults() == ["b"]
    first.is_default = True
    save_model_config(first)
    assert defaults() == ["a"]


def test_the_sole_default_cannot_stop_being_one(add):
    only = add("a")
    only.is_default = False
    assert save_model_config(only).is_default is True


def test_a_default_that_stops_hands_over_to_another(add):
    first = add("a")
    add("b")
    first.is_default = False
    assert save_model_config(first).is_default is False
    assert defaults() == ["b"]


def test_deleting_the_default_picks_another_and_keeps_the_row(add):
    first = add("c")
    add("b")
    add("a")
    delete_model_config(first)
    assert defaults() == ["a"]
    first.refresh_from_db()
    assert (first.deleted, first.is_default, bool(first.deleted_at)) == (True, False, True)
    assert existing_model_config(first.pk) is None


def test_deleting_another_keeps_the_default(add):
    add("b")
    delete_model_config(add("a"))
    assert defaults() == ["b"]


def test_deleting_the_last_config_leaves_no_default(add):
    delete_model_config(add("a"))
    assert default_model_config() is None
    assert add("b").is_default is True


def test_a_deleted_config_is_never_picked(add):
    gone = add("a")
    kept = add("b")
    delete_model_config(gone)
    kept.is_default = False
    save_model_config(kept)
    assert defaults() == ["b"]


def test_the_database_allows_one_default(add):
    add("a")
    other = add("b")
    with pytest.raises(IntegrityError), transaction.atomic():
        ModelConfig.objects.filter(pk=other.pk).update(is_default=True)


def test_a_config_takes_the_type_of_its_provider_and_needs_one(add):
    assert add("a").provider == ProviderType.OPENAI
    with pytest.raises(ValueError, match="needs a provider"):
        save_model_config(ModelConfig(model="b"))


# What a turn needs


def test_a_call_has_everything_and_hides_its_key(add, provider):
    config = add("gpt", context_limit=9, options={"temperature": 1})
    call = resolve_model_call(config.pk, user_id=NOBODY)
    assert (call.config_id, call.model, call.context_limit) == (config.pk, "gpt", 9)
    assert (call.provider_type, call.provider_name) == ("openai", "Team OpenAI")
    assert (call.base_url, call.api_key) == (provider.base_url, KEY)
    assert call.options == {"temperature": 1}
    assert KEY not in repr(call)


@pytest.mark.parametrize("kind", [ProviderType.ANTHROPIC, ProviderType.BEDROCK])
def test_a_call_on_bedrock_has_the_region_and_the_credentials_and_hides_them(db, kind):
    settings = BedrockSettings(region=" eu-west-3 ", access_key="AKIA-X", access_key_secret=KEY)
    provider = AIProvider(type=kind, name="aws", base_url="http://127.0.0.1:9")
    provider.settings = seal_settings(settings)
    save_provider(provider)
    config = save_model_config(ModelConfig(ai_provider=provider, model="anthropic.claude-x"))
    call = resolve_model_call(config.pk, user_id=NOBODY)
    assert call.aws == AwsAccess(region="eu-west-3", access_key="AKIA-X", access_key_secret=KEY)
    assert not is_of_anthropic(call)
    target = provider_of(call, uuid4())
    assert target.aws == call.aws
    for shown in (repr(call), repr(target)):
        assert KEY not in shown
        assert "AKIA-X" not in shown


def test_a_region_that_is_not_set_is_that_of_the_surroundings(db, monkeypatch):
    monkeypatch.setattr(bedrock, "env", replace(bedrock.env, aws_region="ap-south-1"))
    provider = AIProvider(type=ProviderType.BEDROCK, name="aws", base_url="http://127.0.0.1:9")
    save_provider(provider)
    config = save_model_config(ModelConfig(ai_provider=provider, model="anthropic.claude-x"))
    assert resolve_model_call(config.pk, user_id=NOBODY).aws == AwsAccess(region="ap-south-1")


def test_anthropic_without_settings_does_not_run_on_bedrock(db):
    provider = AIProvider(type=ProviderType.ANTHROPIC, name="a", base_url="http://127.0.0.1:9")
    save_provider(provider, new_key=KEY)
    config = save_model_config(ModelConfig(ai_provider=provider, model="claude-x"))
    call = resolve_model_call(config.pk, user_id=NOBODY)
    assert call.aws is None
    assert is_of_anthropic(call)


def unusable(config_id) -> UnusableModelError:
    with pytest.raises(UnusableModelError) as caught:
        resolve_model_call(config_id, user_id=NOBODY)
    return caught.value


def test_without_any_config_there_is_no_model(db):
    assert unusable(None).reason is Unusable.NO_MODEL


def test_a_deleted_config_is_replaced_by_the_default(add):
    gone, default = add("a"), add("b", is_default=True)
    delete_model_config(gone)
    assert resolve_model_call(gone.pk, user_id=NOBODY).config_id == default.pk
    assert resolve_model_call(None, user_id=NOBODY).config_id == default.pk


def test_a_disabled_config_is_named(add):
    error = unusable(add("a", enabled=False).pk)
    assert (error.reason, error.provider) == (Unusable.MODEL_DISABLED, "Team OpenAI")


@pytest.mark.parametrize("change", [{"enabled": False}, {"deleted": True}])
def test_a_disabled_or_deleted_provider_is_named(add, provider, change):
    config = add("a")
    AIProvider.objects.filter(pk=provider.pk).update(**change)
    error = unusable(config.pk)
    assert (error.reason, error.provider) == (Unusable.PROVIDER_DISABLED, "Team OpenAI")


def test_azure_is_not_called_without_an_address(add, provider):
    config = add("a")
    AIProvider.objects.filter(pk=provider.pk).update(type=ProviderType.AZURE, base_url=" ")
    error = unusable(config.pk)
    assert (error.reason, error.provider) == (Unusable.NO_ADDRESS, "Team OpenAI")
    assert str(error) == "AZURE_OPENAI_BASE_URL is not set"


def test_a_key_of_another_ring_is_named_and_not_shown(add, settings):
    config = add("a")
    settings.CHATD_ENCRYPTION_KEYS = (base64.b64encode(secrets.token_bytes(32)).decode(),)
    error = unusable(config.pk)
    assert error.reason is Unusable.KEY_UNREADABLE
    assert KEY not in str(error)


def test_a_key_that_cannot_be_read_stands_back_behind_one_that_can(add, provider, settings):
    config = add("a")
    AIProviderKey.objects.create(provider=provider, api_key="v1:of another ring:AAAA")
    assert resolve_model_call(config.pk, user_id=NOBODY).api_key == KEY
    AIProviderKey.objects.update(api_key="v1:of another ring:AAAA")
    assert key_state(provider) is SecretState.KEY_MISSING
    AIProviderKey.objects.create(provider=provider, api_key=seal("newer"))
    assert key_state(provider) is SecretState.CURRENT
    assert resolve_model_call(config.pk, user_id=NOBODY).api_key == "newer"


def test_a_turn_that_needs_a_lost_key_fails_with_what_to_do(add, settings):
    config = add("a")
    settings.CHATD_ENCRYPTION_KEYS = ()
    shown = error_of_setup(unusable(config.pk))
    assert (shown["kind"], shown["retryable"]) == ("config", False)
    assert "key of the Team OpenAI provider cannot be read" in shown["message"]
    assert "enter it again" in shown["message"]


def test_a_server_of_ones_own_is_called_without_a_key(add, provider):
    config = add("a")
    AIProviderKey.objects.all().delete()
    AIProvider.objects.update(type=ProviderType.OPENAI_COMPAT)
    assert resolve_model_call(config.pk, user_id=NOBODY).api_key == ""


def test_the_oldest_key_that_is_not_blank_is_used(add, provider):
    config = add("a")
    AIProviderKey.objects.all().delete()
    for stored in ("", seal("older"), seal("newer")):
        AIProviderKey.objects.create(provider=provider, api_key=stored)
    assert resolve_model_call(config.pk, user_id=NOBODY).api_key == "older"


# Secrets at rest


def test_no_plain_text_of_a_key_is_in_the_database(provider):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM providers_aiproviderkey")
        (row,) = cursor.fetchall()
    shown = str(row)
    for piece in (KEY, KEY[3:12], base64.b64encode(KEY.encode()).decode()):
        assert piece not in shown
    stored = AIProviderKey.objects.get().api_key
    assert stored.startswith("v1:")
    assert open_secret(stored) == KEY


def test_a_new_key_replaces_the_old_ones_and_no_key_keeps_them(provider):
    save_provider(provider)
    assert open_secret(AIProviderKey.objects.get().api_key) == KEY
    save_provider(provider, new_key="sk-next")
    assert open_secret(AIProviderKey.objects.get().api_key) == "sk-next"


def test_a_blank_secret_stays_blank():
    assert seal("") == ""
    assert open_secret("") == ""


def test_a_damaged_secret_is_refused(db):
    with pytest.raises(UndecryptableError):
        open_secret(seal(KEY)[:-8] + "AAAAAAA=")


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"context_limit": 0}, "context"),
        ({"compression_threshold": 101}, "threshold"),
        ({"compression_threshold": -1}, "threshold"),
    ],
)
def test_the_database_refuses_numbers_without_a_meaning(add, fields, constraint):
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        add("a", **fields)


def test_a_changed_provider_or_model_is_announced_after_the_commit(
    model, monkeypatch, django_capture_on_commit_callbacks
):
    heard = []
    backend = type("Backend", (), {"publish": staticmethod(heard.extend)})
    monkeypatch.setattr(config, "live_backend", lambda: backend)
    with django_capture_on_commit_callbacks(execute=True):
        save_provider(model.ai_provider)
        save_model_config(model)
        assert heard == []
    assert [(notice.kind, notice.entity_id) for notice in heard] == [
        ("providers", model.ai_provider.pk),
        ("model_config", model.pk),
    ]
