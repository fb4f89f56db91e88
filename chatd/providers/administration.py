"""Making, changing and deleting providers: the only writer of their rows, for API and admin.

A body is checked before the right to send it, as clients of the contract expect: who may not do
this learns what is wrong with the request, and nothing about what there is.
"""

import re
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, site_rights
from chatd.audit.actions import Author, Resource, audited, record
from chatd.audit.models import Action
from chatd.core.clock import now
from chatd.core.errors import bad_request, conflict, forbidden, not_found
from chatd.core.ids import canonical_uuid
from chatd.live.config import announce_config
from chatd.providers.access import live_providers
from chatd.providers.bedrock import readable_settings, seal_settings
from chatd.providers.drafts import (
    NewProvider,
    ProviderChanges,
    WantedKey,
    check_changed_provider,
    check_new_provider,
    check_provider_changes,
    check_takes_keys,
)
from chatd.providers.models import NAME_PATTERN, AIProvider
from chatd.providers.shared_keys import store_keys

FLAGS = (
    "central_api_key_enabled",
    "allow_user_api_key",
    "allow_central_api_key_fallback",
)
PLAIN_FIELDS = ("display_name", "enabled", "base_url", *FLAGS)


def check_may_administer(user: User) -> None:
    """Raise the 403 for who may not manage providers."""
    if SiteRight.PROVIDERS not in site_rights(user):
        raise forbidden(detail="Only administrators may manage AI providers.")


def parse_reference(raw: str) -> UUID | str:
    """Return what a path names a provider by: its id or its name. Raises ChatdError 400."""
    found = canonical_uuid(raw)
    if found is None and not re.fullmatch(NAME_PATTERN, raw):
        raise bad_request(f"Invalid provider id or name: must be a UUID or match {NAME_PATTERN}.")
    return found or raw


def list_providers_for(user: User) -> list[AIProvider]:
    """Return the providers, disabled ones included, by name. Raises ChatdError 403."""
    check_may_administer(user)
    return list(live_providers().prefetch_related("keys"))


def get_provider_for(user: User, reference: UUID | str) -> AIProvider:
    """Return a provider by id or name. Raises ChatdError 403, 404."""
    check_may_administer(user)
    named = {"pk": reference} if isinstance(reference, UUID) else {"name": reference}
    found = live_providers().prefetch_related("keys").filter(**named).first()
    if found is None:
        raise not_found()
    return found


def create_provider(actor: Actor, new: NewProvider) -> AIProvider:
    """Make a provider with its keys. Raises ChatdError 400, 403, 409 for a name that is taken."""
    check_new_provider(new)
    check_may_administer(actor.user)
    return insert_provider(actor.author, new)


def insert_provider(author: Author, new: NewProvider) -> AIProvider:
    """Store a provider that was checked. Raises ChatdError 409 for a name that is taken."""
    provider = AIProvider(
        type=new.type, name=new.name, **{name: getattr(new, name) for name in PLAIN_FIELDS}
    )
    if new.settings is not None:
        provider.settings = seal_settings(new.settings.applied_to(None))
    with transaction.atomic():
        try:
            with transaction.atomic():
                provider.save(force_insert=True)
        except IntegrityError:
            raise conflict(f'AI provider "{new.name}" already exists.') from None
        record(author, Action.CREATE, _resource(provider), after=_fields(provider))
        store_keys(author, provider, [WantedKey(api_key=key) for key in new.api_keys])
        announce_config("providers", provider.pk)
    return provider


def update_provider(actor: Actor, reference: UUID | str, changes: ProviderChanges) -> AIProvider:
    """Change a provider and its keys, all or nothing. Raises ChatdError 400, 403, 404."""
    check_provider_changes(changes)
    provider = get_provider_for(actor.user, reference)
    check_takes_keys(provider, changes)
    return change_provider(actor.author, provider, changes)


def change_provider(author: Author, provider: AIProvider, changes: ProviderChanges) -> AIProvider:
    """Store changes that may be made; what they do not go together with is a ChatdError 400."""

    def stored() -> dict[str, Any]:
        return _fields(AIProvider.objects.get(pk=provider.pk))

    with audited(author, _resource(provider), stored):
        row = live_providers().select_for_update().filter(pk=provider.pk).first()
        if row is None:  # it was deleted meanwhile
            raise not_found()
        _apply(changes, row)
        row.updated_at = now()
        row.save()
        if changes.api_keys is not None:
            store_keys(author, row, changes.api_keys)
        announce_config("providers", row.pk)
    return row


def _apply(changes: ProviderChanges, row: AIProvider) -> None:
    for name in PLAIN_FIELDS:
        if (value := getattr(changes, name)) is not None:
            setattr(row, name, value)
    settings = None
    if changes.settings is not None:
        settings = changes.settings.applied_to(readable_settings(row))
        row.settings = seal_settings(settings)
    check_changed_provider(row, changes, settings)


def delete_provider(actor: Actor, reference: UUID | str) -> None:
    """Delete a provider: its name is free, its models stay and cannot be called.

    Raises ChatdError 403, 404.
    """
    remove_provider(actor.author, get_provider_for(actor.user, reference))


@transaction.atomic
def remove_provider(author: Author, provider: AIProvider) -> None:
    """Soft-delete a provider that may be deleted."""
    record(author, Action.DELETE, _resource(provider), before=_fields(provider))
    changed = {"deleted": True, "enabled": False, "updated_at": now()}
    AIProvider.objects.filter(pk=provider.pk).update(**changed)
    announce_config("providers", provider.pk)


def _resource(provider: AIProvider) -> Resource:
    return Resource("ai_provider", str(provider.pk), provider.name)


def _fields(provider: AIProvider) -> dict[str, Any]:
    """Return what the audit log compares of a provider; it masks the credentials by their names."""
    settings = readable_settings(provider)
    return {
        "type": provider.type,
        **{name: getattr(provider, name) for name in PLAIN_FIELDS},
        "settings": asdict(settings) if settings else None,
    }
