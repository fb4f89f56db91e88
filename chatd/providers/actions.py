"""Writes to providers and their keys; model configs have a module of their own."""

from django.db import transaction

from chatd.core.clock import now
from chatd.core.fields import seal
from chatd.live.config import announce_config
from chatd.providers.models import AIProvider, AIProviderKey


@transaction.atomic
def save_provider(provider: AIProvider, *, new_key: str = "") -> AIProvider:
    """Store a provider of the deployment itself; a non-empty `new_key` replaces its shared keys.

    What people ask for goes through `administration`, which asks who they are.
    """
    provider.updated_at = now()
    provider.save()
    if new_key:
        AIProviderKey.objects.filter(provider=provider).delete()
        AIProviderKey.objects.create(provider=provider, api_key=seal(new_key))
    announce_config("providers", provider.pk)
    return provider
