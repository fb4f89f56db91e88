"""Whose key pays for a call: a person's own, a shared one, or none. The only place that decides.

A provider carries three flags, and the deployment one switch (CHATD_ALLOW_BYOK). Together:

- Keys of one's own count where the provider allows them *and* the deployment does.
- Shared keys count where the provider has them switched on.
- Where both count, one's own comes first. Who has none gets the shared one only if the provider
  lets it stand in; otherwise they have to bring a key.
- Where the deployment switches keys of one's own off, a provider is as if it did not allow them:
  its shared key serves everybody, also people whose own key is still stored.

Providers made by `/api/v2/ai/providers` and the admin have all three flags on, so the switch alone
decides for them. Those made by the older routes carry what was asked for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chatd.core.crypto import SecretState
from chatd.core.errors import ChatdError, bad_request, forbidden
from chatd.core.fields import secret_state
from chatd.providers.models import AIProvider, ProviderType
from config.env import env

MAX_KEY_BYTES = 10_240

_WORKS_WITHOUT_KEY = frozenset({ProviderType.BEDROCK, ProviderType.OPENAI_COMPAT})
"""Bedrock takes the credentials of its surroundings; servers of one's own, as that of the demo
model, may ask for no key and are called without one."""


class KeyState(StrEnum):
    """What a person sees about a provider: which key their calls are made with."""

    OWN = "own"
    SHARED = "shared"
    NONE = "none"


class Unavailable(StrEnum):
    """Why a provider cannot be used."""

    MISSING_API_KEY = "missing_api_key"
    USER_API_KEY_REQUIRED = "user_api_key_required"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """Which keys count at a provider; `fallback` lets shared ones stand in for one's own."""

    shared: bool
    own: bool
    fallback: bool


@dataclass(frozen=True, slots=True)
class KeyChoice:
    """The key of a call. With the state `none` it is made without one, unless `unavailable`."""

    state: KeyState
    unavailable: Unavailable | None = None


def policy_of(provider: AIProvider) -> KeyPolicy:
    """Return what the flags of a provider and the switch of the deployment mean together."""
    return KeyPolicy(
        shared=provider.central_api_key_enabled,
        own=provider.allow_user_api_key and env.allow_byok,
        fallback=provider.allow_central_api_key_fallback,
    )


def needs_key(provider: AIProvider) -> bool:
    """Tell whether a provider cannot be called without a key."""
    return provider.type not in _WORKS_WITHOUT_KEY and not provider.settings


def choose_key(
    policy: KeyPolicy, *, has_own: bool, has_shared: bool, needs_key: bool = True
) -> KeyChoice:
    """Return which of the stored keys a call is made with."""
    if policy.own and has_own:
        return KeyChoice(KeyState.OWN)
    may_share = policy.shared and (policy.fallback or not policy.own)
    if may_share and has_shared:
        return KeyChoice(KeyState.SHARED)
    if may_share and not needs_key:
        return KeyChoice(KeyState.NONE)
    if policy.own:
        return KeyChoice(KeyState.NONE, Unavailable.USER_API_KEY_REQUIRED)
    return KeyChoice(KeyState.NONE, Unavailable.MISSING_API_KEY)


def key_in_use(stored: Iterable[str]) -> str:
    """Return which of a provider's stored keys, the oldest first, calls are made with.

    That is the first one that can be read, else the first; blank without any.
    """
    keys = [key for key in stored if key]
    readable = (key for key in keys if not secret_state(key).needs_reentry)
    return next(readable, keys[0] if keys else "")


def key_state(provider: AIProvider) -> SecretState:
    """Return the state of the shared key that calls to a provider are made with."""
    return secret_state(key_in_use(key.api_key for key in provider.keys.all()))


def check_byok() -> None:
    """Raise the 403 where the deployment allows no keys of one's own."""
    if not env.allow_byok:
        raise byok_is_disabled("This deployment does not allow API keys of one's own.")


def byok_is_disabled(detail: str) -> ChatdError:
    return forbidden("BYOK is disabled.", detail=detail)


def byok_enabled() -> bool:
    """Tell whether the deployment allows keys of one's own."""
    return env.allow_byok


def check_key_size(api_key: str) -> None:
    """Raise the 400 for a key that is longer than any."""
    if len(api_key.encode()) > MAX_KEY_BYTES:
        raise bad_request(
            "API key too large.",
            detail=f"API key exceeds maximum size of 10 KB ({MAX_KEY_BYTES} bytes)",
        )
