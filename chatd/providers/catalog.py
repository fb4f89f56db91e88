"""The catalogue of models: what can be chosen, as providers, models and keys stand now.

Nothing is asked of the providers themselves.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from chatd.llm.providers import PROVIDERS
from chatd.providers.access import ProviderAccess, access_to, enabled_providers, list_access
from chatd.providers.keys import Unavailable
from chatd.providers.models import ModelConfig


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


def list_catalog(user_id: UUID) -> list[CatalogProvider]:
    """Return the enabled providers as a person has them, by kind, in three queries."""
    by_kind: dict[str, list[ProviderAccess]] = defaultdict(list)
    for access in list_access(user_id, enabled_providers()):
        by_kind[access.provider.type].append(access)
    models = _enabled_models()
    return [
        _together(kind.name, by_kind[kind.name], models)
        for kind in PROVIDERS
        if kind.name in by_kind
    ]


def can_be_used(user_id: UUID, provider_id: UUID) -> bool:
    """Tell whether a provider is enabled and there is what it takes for a person to call it."""
    access = access_to(user_id, provider_id)
    return access is not None and access.provider.enabled and not access.choice.unavailable


def _together(
    kind: str,
    providers: Sequence[ProviderAccess],
    models: Mapping[UUID, Sequence[CatalogModel]],
) -> CatalogProvider:
    """Providers that can be used hide the others of their kind."""
    reasons = {access.provider.pk: access.choice.unavailable for access in providers}
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
