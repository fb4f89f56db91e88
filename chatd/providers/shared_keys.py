"""The shared keys of a provider: storing them, with one entry in the audit log for each."""

from collections.abc import Iterable, Sequence

from chatd.audit.actions import Author, Resource, record
from chatd.audit.models import Action
from chatd.core.crypto import UndecryptableError
from chatd.core.errors import bad_request
from chatd.core.fields import open_secret, seal
from chatd.core.masking import masked
from chatd.providers.drafts import WantedKey
from chatd.providers.models import AIProvider, AIProviderKey

UNREADABLE = "..."


def store_keys(author: Author, provider: AIProvider, wanted: Sequence[WantedKey]) -> None:
    """Make `wanted` the keys of a provider, inside the caller's transaction.

    Raises ChatdError 400 for the id of a key that the provider does not have.
    """
    stored = {key.pk: key for key in provider.keys.all()}
    kept = {key.id for key in wanted if key.id}
    if not kept <= stored.keys():
        raise bad_request("api_keys references an unknown id for this provider")
    _remove(author, provider, [key for pk, key in stored.items() if pk not in kept])
    _add(author, provider, [key.api_key for key in wanted if key.api_key])


def shown_key(key: AIProviderKey) -> str | None:
    """Return a key as it may be shown; None for one that cannot be read any more."""
    try:
        return masked(open_secret(key.api_key))
    except UndecryptableError:
        return None


def _add(author: Author, provider: AIProvider, keys: Iterable[str]) -> None:
    for api_key in keys:
        key = AIProviderKey.objects.create(provider=provider, api_key=seal(api_key))
        record(author, Action.CREATE, _resource(provider, key), after=_fields(provider, key))


def _remove(author: Author, provider: AIProvider, keys: Iterable[AIProviderKey]) -> None:
    for key in keys:
        record(author, Action.DELETE, _resource(provider, key), before=_fields(provider, key))
        key.delete()


def _resource(provider: AIProvider, key: AIProviderKey) -> Resource:
    return Resource("ai_provider_key", str(key.pk), provider.name)


def _fields(provider: AIProvider, key: AIProviderKey) -> dict[str, object]:
    return {"provider_id": provider.pk, "masked": shown_key(key) or UNREADABLE}
