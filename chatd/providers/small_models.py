"""Small, fast models for small jobs such as titles, as data, and which of them can be called."""

from collections.abc import Iterator
from functools import reduce
from operator import or_
from uuid import UUID

from django.db.models import Q

from chatd.providers.models import ModelConfig, ProviderType
from chatd.providers.selectors import ModelCall, UnusableModelError, resolve_model_call

SMALL_MODELS: tuple[tuple[ProviderType, str], ...] = (
    (ProviderType.ANTHROPIC, "claude-haiku-4-5"),
    (ProviderType.OPENAI, "gpt-4o-mini"),
    (ProviderType.GOOGLE, "gemini-2.5-flash"),
    (ProviderType.AZURE, "gpt-4o-mini"),
    (ProviderType.BEDROCK, "anthropic.claude-haiku-4-5-20251001-v1:0"),
    (ProviderType.OPENROUTER, "anthropic/claude-3.5-haiku"),
    (ProviderType.VERCEL, "anthropic/claude-haiku-4.5"),
)
"""Types of provider and their models, the first choice first."""


def usable_small_models(*, user_id: UUID) -> Iterator[ModelCall]:
    """Yield what is needed to call each configured small model that a person has a key for."""
    ranks = {pair: rank for rank, pair in enumerate(SMALL_MODELS)}
    known = (Q(ai_provider__type=kind, model=model) for kind, model in ranks)
    configs = ModelConfig.objects.select_related("ai_provider").filter(
        reduce(or_, known), deleted=False, enabled=True
    )
    for config in sorted(configs.order_by("created_at", "id"), key=lambda each: ranks[_pair(each)]):
        try:
            call = resolve_model_call(config.pk, user_id=user_id)
        except UnusableModelError:
            continue
        if call.api_key or (call.aws and call.aws.can_sign):
            yield call


def _pair(config: ModelConfig) -> tuple[ProviderType, str]:
    assert config.ai_provider is not None
    return ProviderType(config.ai_provider.type), config.model
