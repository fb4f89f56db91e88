"""The catalogue of models: what can be chosen, as providers, models and keys stand now.

Nothing is asked of the providers themselves.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.db.models import QuerySet

from chatd.core.crypto import SecretState
from chatd.llm.providers import PROVIDERS
from chatd.providers.models import AIProvider, ModelConfig, ProviderType
from chatd.providers.selectors import key_state

_WORKS_WITHOUT_KEY = frozenset({ProviderType.BEDROCK, ProviderType.OPENAI_COMPAT})
"""Bedrock takes the credentials of its surroundings; servers of one's own, as that of the demo
model, may ask for no key and are called without one."""


class Unavailable(StrEnum):
    """Why a kind of provider cannot be used."""

    MISSING_API_KEY = "missing_api_key"


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A model by its id at the provider; `display_name` is never empty."""

    model: str
    display_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogProvider:
    """All enabled providers of one kind together; `unavailable` is None when one can be used."""

    kind: str
    unavailable: Unavailable | None
    models: Sequence[CatalogModel]


def list_catalog() -> list[CatalogProvider]:
    """Return the enabled providers by kind, in the order of the kinds, in three queries."""
    by_kind: dict[str, list[AIProvider]] = defaultdict(list)
    for provider in _enabled_providers():
        by_kind[provider.type].append(provider)
    models = _enabled_models()
    return [
        _together(kind.name, by_kind[kind.name], models)
        for kind in PROVIDERS
        if kind.name in by_kind
    ]


def can_be_used(provider_id: UUID) -> bool:
    """Tell whether a provider is enabled and there is what it takes to call it."""
    provider = _enabled_providers().filter(pk=provider_id).first()
    return provider is not None and _why_unavailable(provider) is None


def _together(
    kind: str,
    providers: Sequence[AIProvider],
    models: Mapping[UUID, Sequence[CatalogModel]],
) -> CatalogProvider:
    """Providers that can be used hide the others of their kind."""
    reasons = {provider.pk: _why_unavailable(provider) for provider in providers}
    usable = [key for key, reason in reasons.items() if reason is None]
    return CatalogProvider(
        kind=kind,
        unavailable=None if usable else next(iter(reasons.values())),
        models=_distinct(model for key in usable or reasons for model in models.get(key, ())),
    )


def _distinct(models: Iterable[CatalogModel]) -> list[CatalogModel]:
    """Return the models by id, each once whatever the case of its letters."""
    found: dict[str, CatalogModel] = {}
    for model in sorted(models, key=lambda model: model.model):
        found.setdefault(model.model.lower(), model)
    return list(found.values())


def _why_unavailable(provider: AIProvider) -> Unavailable | None:
    """Keys that people bring themselves will count here, and nowhere else.

    A key that cannot be read is none, also where none is needed: turns fail because of it.
    """
    state = key_state(provider)
    if state is SecretState.BLANK:
        usable = provider.type in _WORKS_WITHOUT_KEY
    else:
        usable = not state.needs_reentry
    return None if usable else Unavailable.MISSING_API_KEY


def _enabled_providers() -> QuerySet[AIProvider]:
    """Return the enabled providers with their keys, the oldest first."""
    enabled = AIProvider.objects.filter(enabled=True, deleted=False)
    return enabled.order_by("created_at", "id").prefetch_related("keys")


def _enabled_models() -> Mapping[UUID, Sequence[CatalogModel]]:
    """Return the enabled models by provider, the latest change first."""
    rows = (
        ModelConfig.objects.filter(enabled=True, deleted=False)
        .order_by("-updated_at", "-id")
        .values_list("ai_provider_id", "model", "display_name")
    )
    found: dict[UUID, list[CatalogModel]] = defaultdict(list)
    for provider_id, model, display_name in rows:
        assert provider_id is not None  # a constraint, unless it is deleted
        found[provider_id].append(CatalogModel(model, display_name or model))
    return found
