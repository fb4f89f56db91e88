"""What a person can use: providers with the key that a call of theirs is made with."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery

from chatd.core.crypto import SecretState
from chatd.core.fields import secret_state
from chatd.providers.keys import (
    KeyChoice,
    KeyPolicy,
    choose_key,
    key_state,
    needs_key,
    policy_of,
)
from chatd.providers.models import AIProvider, UserAIProviderKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderAccess:
    """A provider as one person has it.

    `has_shared_key` is true for a stored one that is switched on; `choice` is what a call of the
    person is made with now, with the reason when there can be none. A key that is chosen and
    cannot be read, as `own_key` or `shared_key` tells, fails the call: it must be entered again.
    """

    provider: AIProvider
    policy: KeyPolicy
    own_key: SecretState
    shared_key: SecretState
    choice: KeyChoice

    @property
    def has_own_key(self) -> bool:
        return self.own_key is not SecretState.BLANK

    @property
    def has_shared_key(self) -> bool:
        return self.policy.shared and self.shared_key is not SecretState.BLANK

    @property
    def shared_key_stands_in(self) -> bool:
        """Who has no key of their own can call with a shared one, or without any."""
        ready = self.has_shared_key or not needs_key(self.provider)
        return self.policy.shared and self.policy.fallback and ready


def list_access(user_id: UUID, providers: QuerySet[AIProvider]) -> list[ProviderAccess]:
    """Return providers as a person has them, in the order given, in two queries."""
    own = UserAIProviderKey.objects.filter(provider=OuterRef("pk"), user_id=user_id)
    annotated = providers.annotate(own_key=Subquery(own.values("api_key")))
    annotated = annotated.prefetch_related("keys")
    return [_access(provider) for provider in annotated]


def access_to(user_id: UUID, provider_id: UUID) -> ProviderAccess | None:
    """Return a provider as a person has it; None for an unknown or deleted one."""
    return next(iter(list_access(user_id, live_providers().filter(pk=provider_id))), None)


def list_key_states(user_id: UUID) -> list[ProviderAccess]:
    """Return the enabled providers by name, and those that are off but have a key of the person."""
    kept = UserAIProviderKey.objects.filter(user_id=user_id).values("provider")
    shown = AIProvider.objects.filter(Q(enabled=True, deleted=False) | Q(pk__in=kept))
    return list_access(user_id, shown.order_by("name", "id"))


def live_providers() -> QuerySet[AIProvider]:
    """Return the providers that are not deleted, disabled ones included, by name."""
    return AIProvider.objects.filter(deleted=False).order_by("name")


def enabled_providers() -> QuerySet[AIProvider]:
    """Return the enabled providers, the oldest first."""
    return live_providers().filter(enabled=True).order_by("created_at", "id")


def _access(provider: AIProvider) -> ProviderAccess:
    """`provider` carries the annotation of `list_access`, and its keys."""
    policy = policy_of(provider)
    own = secret_state(provider.own_key)  # type: ignore[attr-defined]
    shared = key_state(provider)
    lost = shared.needs_reentry  # a turn would fail with it, also where no key is needed
    choice = choose_key(
        policy,
        has_own=own is not SecretState.BLANK,
        has_shared=shared is not SecretState.BLANK and not lost,
        needs_key=needs_key(provider) or lost,
    )
    return ProviderAccess(
        provider=provider,
        policy=policy,
        own_key=own,
        shared_key=shared,
        choice=choice,
    )
