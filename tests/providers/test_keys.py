"""Whose key pays: the table of the contract row by row, and the same through turns and lists."""

import base64
import secrets
from collections.abc import Callable
from itertools import product

import pytest

from chatd.accounts.models import User
from chatd.core.crypto import SecretState
from chatd.core.fields import seal
from chatd.providers.access import list_key_states
from chatd.providers.actions import save_provider
from chatd.providers.catalog import can_be_used, list_catalog
from chatd.providers.keys import (
    KeyChoice,
    KeyPolicy,
    KeyState,
    Unavailable,
    choose_key,
    needs_key,
    policy_of,
)
from chatd.providers.model_configs import save_model_config
from chatd.providers.models import AIProvider, ModelConfig, ProviderType, UserAIProviderKey
from chatd.providers.selectors import Unusable, UnusableModelError, resolve_model_call
from tests.conftest import Cast

OWN = KeyChoice(KeyState.OWN)
SHARED = KeyChoice(KeyState.SHARED)
WITHOUT = KeyChoice(KeyState.NONE)
BRING = KeyChoice(KeyState.NONE, Unavailable.USER_API_KEY_REQUIRED)
MISSING = KeyChoice(KeyState.NONE, Unavailable.MISSING_API_KEY)

CENTRAL, USER, BOTH, FALLBACK = (
    KeyPolicy(shared=True, own=False, fallback=False),
    KeyPolicy(shared=False, own=True, fallback=False),
    KeyPolicy(shared=True, own=True, fallback=False),
    KeyPolicy(shared=True, own=True, fallback=True),
)
TABLE = [
    # policy, has own, has shared: with a kind that needs a key, with one that needs none
    (CENTRAL, False, False, MISSING, WITHOUT),
    (CENTRAL, False, True, SHARED, SHARED),
    (CENTRAL, True, False, MISSING, WITHOUT),
    (CENTRAL, True, True, SHARED, SHARED),
    (USER, False, False, BRING, BRING),
    (USER, False, True, BRING, BRING),
    (USER, True, False, OWN, OWN),
    (USER, True, True, OWN, OWN),
    (BOTH, False, False, BRING, BRING),
    (BOTH, False, True, BRING, BRING),
    (BOTH, True, False, OWN, OWN),
    (BOTH, True, True, OWN, OWN),
    (FALLBACK, False, False, BRING, WITHOUT),
    (FALLBACK, False, True, SHARED, SHARED),
    (FALLBACK, True, False, OWN, OWN),
    (FALLBACK, True, True, OWN, OWN),
]


def test_every_policy_with_every_pair_of_keys_has_its_row() -> None:
    rows = [(policy, own, shared) for policy, own, shared, _, _ in TABLE]
    bools = (False, True)
    assert rows == list(product((CENTRAL, USER, BOTH, FALLBACK), bools, bools))


@pytest.mark.parametrize(("policy", "own", "shared", "keyed", "keyless"), TABLE)
def test_the_table_of_keys(
    policy: KeyPolicy, own: bool, shared: bool, keyed: KeyChoice, keyless: KeyChoice
) -> None:
    assert choose_key(policy, has_own=own, has_shared=shared) == keyed
    assert choose_key(policy, has_own=own, has_shared=shared, needs_key=False) == keyless


def test_the_switch_of_the_deployment_takes_keys_of_ones_own_away_and_nothing_else(
    byok: Callable[[bool], None],
) -> None:
    flags = {"central_api_key_enabled": True, "allow_central_api_key_fallback": False}
    both = AIProvider(**flags, allow_user_api_key=True)
    central = AIProvider(**flags, allow_user_api_key=False)
    assert (policy_of(both), policy_of(central), policy_of(AIProvider())) == (
        BOTH,
        CENTRAL,
        FALLBACK,
    )
    byok(False)
    assert (policy_of(both), policy_of(central)) == (CENTRAL, CENTRAL)
    # without keys of one's own there is nothing that a shared key would have to stand in for
    choice = choose_key(policy_of(both), has_own=True, has_shared=True)
    assert choice == SHARED
    alone = AIProvider(central_api_key_enabled=False, allow_central_api_key_fallback=False)
    assert choose_key(policy_of(alone), has_own=True, has_shared=True) == MISSING


def test_kinds_that_may_need_no_key_are_bedrock_and_servers_of_ones_own() -> None:
    without = [kind for kind in ProviderType if not needs_key(AIProvider(type=kind))]
    assert without == [ProviderType.BEDROCK, ProviderType.OPENAI_COMPAT]
    assert not needs_key(AIProvider(type=ProviderType.ANTHROPIC, settings="v1:sealed"))


# The same through what asks


@pytest.fixture
def gpt(cast: Cast) -> ModelConfig:
    provider = AIProvider(type="openai", name="openai", base_url="http://127.0.0.1:9/v1")
    return save_model_config(ModelConfig(ai_provider=save_provider(provider), model="gpt"))


def give(user: User, config: ModelConfig, key: str) -> None:
    UserAIProviderKey.objects.create(user=user, provider=config.ai_provider, api_key=seal(key))


def share(config: ModelConfig, key: str) -> None:
    assert config.ai_provider is not None
    save_provider(config.ai_provider, new_key=key)


def key_of(user: User, config: ModelConfig) -> str:
    return resolve_model_call(config.pk, user_id=user.pk).api_key


def refusal(user: User, config: ModelConfig) -> Unusable:
    with pytest.raises(UnusableModelError) as caught:
        key_of(user, config)
    return caught.value.reason


def test_a_turn_uses_the_key_of_its_person_then_the_shared_one(
    cast: Cast, gpt: ModelConfig
) -> None:
    assert refusal(cast.alice, gpt) is Unusable.OWN_KEY_NEEDED
    share(gpt, "of all")
    give(cast.alice, gpt, "of alice")
    assert key_of(cast.alice, gpt) == "of alice"
    assert key_of(cast.bob, gpt) == "of all"


def test_a_turn_without_keys_of_ones_own_uses_the_shared_one(
    cast: Cast, gpt: ModelConfig, byok: Callable[[bool], None]
) -> None:
    give(cast.alice, gpt, "of alice")
    byok(False)
    assert refusal(cast.alice, gpt) is Unusable.KEY_MISSING
    share(gpt, "of all")
    assert key_of(cast.alice, gpt) == "of all"


def test_a_key_of_ones_own_that_cannot_be_read_is_not_replaced_by_the_shared_one(
    cast: Cast, gpt: ModelConfig, settings
) -> None:
    give(cast.alice, gpt, "of alice")
    settings.CHATD_ENCRYPTION_KEYS = (base64.b64encode(secrets.token_bytes(32)).decode(),)
    share(gpt, "of all")
    assert refusal(cast.alice, gpt) is Unusable.OWN_KEY_UNREADABLE
    assert key_of(cast.bob, gpt) == "of all"


def test_the_catalogue_is_that_of_the_person(
    cast: Cast, gpt: ModelConfig, byok: Callable[[bool], None]
) -> None:
    assert gpt.ai_provider is not None

    def reason(user: User) -> str | None:
        (entry,) = list_catalog(user.pk)
        assert can_be_used(user.pk, gpt.ai_provider_id) == (entry.unavailable is None)
        return entry.unavailable

    give(cast.alice, gpt, "of alice")
    assert (reason(cast.alice), reason(cast.bob)) == (None, "user_api_key_required")
    byok(False)
    assert (reason(cast.alice), reason(cast.bob)) == ("missing_api_key", "missing_api_key")
    share(gpt, "of all")
    assert (reason(cast.alice), reason(cast.bob)) == (None, None)


def test_a_person_sees_which_key_is_used_of_what_is_on_or_holds_a_key_of_theirs(
    cast: Cast, gpt: ModelConfig, django_assert_num_queries
) -> None:
    def add(name: str, **fields: bool) -> AIProvider:
        row = AIProvider(type="openai", name=name, base_url="http://127.0.0.1:9/v1", **fields)
        return save_provider(row, new_key=f"of all {name}")

    add("shared")
    off, own = add("off", enabled=False), add("own")
    add("invisible", enabled=False)
    for provider in (off, own):
        UserAIProviderKey.objects.create(user=cast.alice, provider=provider, api_key=seal("k"))
    with django_assert_num_queries(2):
        states = list_key_states(cast.alice.pk)
    assert [(each.provider.name, each.choice.state) for each in states] == [
        ("off", KeyState.OWN),
        ("openai", KeyState.NONE),
        ("own", KeyState.OWN),
        ("shared", KeyState.SHARED),
    ]


def test_a_person_sees_whether_their_key_can_be_read(
    cast: Cast, gpt: ModelConfig, settings
) -> None:
    def state() -> tuple[bool, SecretState]:
        (access,) = list_key_states(cast.alice.pk)
        return access.has_own_key, access.own_key

    assert state() == (False, SecretState.BLANK)
    give(cast.alice, gpt, "of alice")
    assert state() == (True, SecretState.CURRENT)
    settings.CHATD_ENCRYPTION_KEYS = (base64.b64encode(secrets.token_bytes(32)).decode(),)
    assert state() == (True, SecretState.KEY_MISSING)
