"""Trying a provider out: its list of models is asked for, which costs nothing.

Where it may be is up to the administrators who may do this, addresses inside of their own network
included: that is where many models run. No redirect is followed.
"""

from dataclasses import dataclass
from uuid import UUID

from asgiref.sync import async_to_sync

from chatd.accounts.actor import Actor
from chatd.core.crypto import UndecryptableError
from chatd.core.fields import open_secret
from chatd.core.threads import give_back_connections
from chatd.llm.client import list_models
from chatd.llm.errors import LLMError
from chatd.llm.types import AwsAccess, Provider
from chatd.providers.administration import check_may_administer, get_provider_for
from chatd.providers.bedrock import access_of, access_with
from chatd.providers.drafts import NewProvider, check_new_provider
from chatd.providers.keys import needs_key
from chatd.providers.models import AIProvider, ProviderType
from chatd.providers.selectors import shared_key

PROBE_SECONDS = 10.0

_LISTED_TO_EVERYBODY = frozenset({ProviderType.OPENROUTER, ProviderType.VERCEL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What came of it, in words without secrets; `models` are ids at the provider."""

    ok: bool
    detail: str
    models: tuple[str, ...] = ()


def probe_draft(actor: Actor, draft: NewProvider) -> Probe:
    """Try a provider that is not stored. Raises ChatdError 400, 403."""
    check_new_provider(draft)
    check_may_administer(actor.user)
    settings = "given" if draft.settings else ""
    row = AIProvider(
        type=draft.type,
        name=draft.name,
        display_name=draft.display_name,
        base_url=draft.base_url,
        settings=settings,
    )
    aws = access_with(draft.settings.applied_to(None)) if draft.settings else None
    return _probe(row, next(iter(draft.api_keys), ""), aws)


def probe_stored(actor: Actor, provider_id: UUID, api_key: str) -> Probe:
    """Try a stored provider with a key, or with the shared one. Raises ChatdError 403, 404.

    A key that is stored goes only where the provider is stored to be.
    """
    provider = get_provider_for(actor.user, provider_id)
    try:
        key = api_key or open_secret(shared_key(provider.pk))
        return _probe(provider, key, access_of(provider))
    except UndecryptableError:
        return Probe(ok=False, detail="The stored key cannot be read any more. Enter it again.")


def _probe(provider: AIProvider, api_key: str, aws: AwsAccess | None) -> Probe:
    """Ask a provider for its models; waits, so it must not be called in a transaction."""
    if needs_key(provider) and not api_key:
        return Probe(ok=False, detail="There is no shared key to try it with. Enter one.")
    target = Provider(
        kind=provider.type,
        base_url=provider.base_url,
        api_key=api_key,
        display_name=str(provider),
        aws=aws,
    )
    give_back_connections()
    try:
        models = async_to_sync(list_models)(target, seconds=PROBE_SECONDS)
    except LLMError as error:
        return Probe(ok=False, detail=f"{error.message} {error.detail}".strip())
    return Probe(ok=True, detail=_praise(provider, len(models)), models=tuple(models))


def _praise(provider: AIProvider, count: int) -> str:
    answered = f"{provider} answered and offers {count} model{'' if count == 1 else 's'}."
    if provider.type not in _LISTED_TO_EVERYBODY:
        return answered
    return f"{answered} It tells them to everybody, so this says nothing about the key."
