"""People's own keys: who may store and remove whose, and the rules a key has to meet."""

from collections.abc import Callable
from uuid import UUID

from django.db import transaction

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight
from chatd.accounts.selectors import get_user_for
from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import ChatdError, ErrorCode, bad_request, not_found
from chatd.core.fields import seal
from chatd.core.ids import canonical_uuid
from chatd.live.config import announce_config
from chatd.providers.access import ProviderAccess, access_to, list_key_states
from chatd.providers.keys import byok_is_disabled, check_byok, check_key_size
from chatd.providers.models import AIProvider, UserAIProviderKey


def list_key_states_for(actor: Actor, raw_user: str) -> list[ProviderAccess]:
    """Return which keys a person's calls are made with. Raises ChatdError 403, 404."""
    return list_key_states(_whose(actor, raw_user).pk)


def choose_own_key(
    actor: Actor, raw_user: str, raw_provider: str, wanted: Callable[[], str]
) -> ProviderAccess:
    """Store a person's key for a provider in place of an earlier one.

    `wanted` decodes the key. Raises ChatdError 400, 403, 404, 412.
    """
    user = _whose(actor, raw_user)
    check_byok()
    provider_id = _parse_id(raw_provider)
    api_key = wanted()
    access = access_to(user.pk, provider_id)
    if access is None:
        raise not_found("AI provider not found.")
    if not access.provider.enabled:
        raise ChatdError(ErrorCode.PRECONDITION_FAILED, "AI provider is disabled.")
    if not access.policy.own:
        raise byok_is_disabled("This provider does not allow API keys of one's own.")
    _check_key(api_key)
    return keep_own_key(actor.author, user, access.provider, api_key)


def forget_own_key(actor: Actor, raw_user: str, raw_provider: str) -> None:
    """Delete a person's key for a provider; none is a success. Raises ChatdError 400, 403, 404."""
    user = _whose(actor, raw_user)
    drop_own_key(actor.author, user, _parse_id(raw_provider))


@transaction.atomic
def keep_own_key(author: Author, user: User, provider: AIProvider, api_key: str) -> ProviderAccess:
    """Store a key that was checked, and return the provider as the person has it now."""
    earlier = UserAIProviderKey.objects.filter(user=user, provider=provider)
    replaced = earlier.values_list("updated_at", flat=True).first()
    key, _ = UserAIProviderKey.objects.update_or_create(
        user=user, provider=provider, defaults={"api_key": seal(api_key), "updated_at": now()}
    )
    if replaced is None:
        record(author, Action.CREATE, _resource(key), after=_fields(key))
    else:
        before, after = {"updated_at": replaced}, {"updated_at": key.updated_at}
        record(author, Action.WRITE, _resource(key), before=before, after=after)
    announce_config("providers", provider.pk)
    access = access_to(user.pk, provider.pk)
    if access is None:
        raise not_found("AI provider not found.")
    return access


@transaction.atomic
def drop_own_key(author: Author, user: User, provider_id: UUID) -> None:
    """Delete a key where there is one."""
    for key in UserAIProviderKey.objects.filter(user=user, provider_id=provider_id):
        record(author, Action.DELETE, _resource(key), before=_fields(key))
        key.delete()
        announce_config("providers", provider_id)


@transaction.atomic
def drop_keys_of(author: Author, user: User) -> None:
    """Delete all keys of a person, as when the person is deleted."""
    for provider_id in UserAIProviderKey.objects.filter(user=user).values_list("provider"):
        drop_own_key(author, user, *provider_id)


def _whose(actor: Actor, raw_user: str) -> User:
    return get_user_for(actor.user, raw_user, SiteRight.PERSONAL)


def _parse_id(raw: str) -> UUID:
    found = canonical_uuid(raw)
    if found is None:
        raise bad_request("Invalid AI provider ID.", detail=f'"{raw}" is not a UUID.')
    return found


def _check_key(api_key: str) -> None:
    check_key_size(api_key)
    if not api_key:
        raise bad_request("API key is required.")
    if api_key != api_key.strip():
        raise bad_request("API key must not contain leading or trailing whitespace.")


def _resource(key: UserAIProviderKey) -> Resource:
    return Resource("user_ai_provider_key", str(key.pk), key.provider.name)


def _fields(key: UserAIProviderKey) -> dict[str, object]:
    return {"user_id": key.user_id, "provider_id": key.provider_id}
