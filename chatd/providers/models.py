"""Providers, their keys and people's own, and model configs.

Changes go through `administration`, `own_keys`, `older_routes` and `actions`.
"""

import uuid
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from chatd.accounts.models import User
from chatd.core.clock import now
from chatd.core.fields import EncryptedTextField, NulSafeJSONField
from chatd.providers import price_models  # noqa: F401 - Django looks for models here

DEMO_PROVIDER = "demo"
"""Name of the offline provider that a first start creates."""

NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"
MAX_NAME = 64
MAX_DISPLAY_NAME = 128
MAX_BASE_URL = 512


def validate_http_url(value: str) -> None:
    """Refuse what is not an absolute http(s) URL; any host will do, also one without a dot."""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        valid = False
    if not valid or any(character.isspace() or character < " " for character in value):
        raise ValidationError("Enter an absolute URL that starts with http:// or https://.")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("Leave user name and password out; the key has a field of its own.")


class ProviderType(models.TextChoices):
    """Kinds of provider, in the fixed order in which they are listed everywhere."""

    ANTHROPIC = "anthropic", "Anthropic"
    AZURE = "azure", "Azure OpenAI"
    BEDROCK = "bedrock", "AWS Bedrock"
    GOOGLE = "google", "Google"
    OPENAI = "openai", "OpenAI"
    OPENAI_COMPAT = "openai-compat", "OpenAI Compatible"
    OPENROUTER = "openrouter", "OpenRouter"
    VERCEL = "vercel", "Vercel AI Gateway"
    COPILOT = "copilot", "Copilot"


class AIProvider(models.Model):
    """An endpoint that serves models. Deleting is soft: model configs keep referring to it.

    The three flags say whose key pays for a call; `keys` has what they mean together. `settings`
    is encrypted JSON, for Bedrock alone so far; blank for none.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    type = models.CharField(max_length=32, choices=ProviderType.choices)
    name = models.CharField(
        max_length=MAX_NAME,
        validators=[
            RegexValidator(
                NAME_PATTERN,
                "Use lower-case letters, digits and single dashes, e.g. team-openai.",
            )
        ],
    )
    display_name = models.CharField(max_length=MAX_DISPLAY_NAME, blank=True, default="")
    enabled = models.BooleanField(default=True)
    deleted = models.BooleanField(default=False)
    base_url = models.CharField(max_length=MAX_BASE_URL, validators=[validate_http_url])
    settings = EncryptedTextField(blank=True, default="", editable=False)
    central_api_key_enabled = models.BooleanField("use the shared keys", default=True)
    allow_user_api_key = models.BooleanField("let people use keys of their own", default=True)
    allow_central_api_key_fallback = models.BooleanField(
        "use the shared keys for people without one of their own", default=True
    )
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "AI provider"
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(deleted=False), name="provider_name_unique"
            ),
            models.CheckConstraint(
                condition=Q(central_api_key_enabled=True) | Q(allow_user_api_key=True),
                name="provider_has_a_source_of_keys",
                violation_error_message="Allow shared keys, keys of one's own, or both.",
            ),
            models.CheckConstraint(
                condition=Q(allow_central_api_key_fallback=False)
                | Q(central_api_key_enabled=True, allow_user_api_key=True),
                name="provider_fallback_needs_both",
                violation_error_message="Shared keys can only stand in for keys of one's own"
                " where both are allowed.",
            ),
        ]

    def __str__(self) -> str:
        return self.display_name or self.name

    @property
    def is_on(self) -> bool:
        """Its models may be called."""
        return self.enabled and not self.deleted


class AIProviderKey(models.Model):
    """A central key of a provider, encrypted. The oldest one is used."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(AIProvider, on_delete=models.CASCADE, related_name="keys")
    api_key = EncryptedTextField()
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "provider key"
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return f"key of {self.provider_id}"


class UserAIProviderKey(models.Model):
    """A person's own key for a provider, encrypted. It outlives what forbids its use."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="ai_provider_keys")
    provider = models.ForeignKey(AIProvider, on_delete=models.CASCADE, related_name="user_keys")
    api_key = EncryptedTextField()
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "own provider key"
        constraints = [
            models.UniqueConstraint(fields=["user", "provider"], name="user_provider_key_unique"),
            models.CheckConstraint(condition=~Q(api_key=""), name="user_provider_key_not_blank"),
        ]

    def __str__(self) -> str:
        return f"key of {self.user_id} for {self.provider_id}"


class ModelConfig(models.Model):
    """A model that chats can use, with its options. At most one is the default.

    Prices have dates, and rows of their own: `price_models`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    ai_provider = models.ForeignKey(
        AIProvider, on_delete=models.PROTECT, related_name="model_configs", null=True
    )
    provider = models.CharField(max_length=32, choices=ProviderType.choices, editable=False)
    model = models.CharField(max_length=256)
    display_name = models.CharField(max_length=128, blank=True, default="")
    enabled = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    context_limit = models.BigIntegerField(default=128_000)
    compression_threshold = models.IntegerField(default=70)
    options = NulSafeJSONField(default=dict, blank=True)
    created_by = models.UUIDField(null=True, blank=True, editable=False)
    updated_by = models.UUIDField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        verbose_name = "model config"
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"],
                condition=Q(is_default=True, deleted=False),
                name="model_config_single_default",
            ),
            models.CheckConstraint(
                condition=Q(context_limit__gt=0), name="model_config_context_limit_positive"
            ),
            models.CheckConstraint(
                condition=Q(compression_threshold__gte=0, compression_threshold__lte=100),
                name="model_config_threshold_percent",
            ),
            models.CheckConstraint(
                condition=Q(deleted=True) | Q(ai_provider__isnull=False),
                name="model_config_has_provider",
            ),
        ]
        indexes = [
            models.Index(fields=["provider", "model"], name="model_config_by_model"),
        ]

    def __str__(self) -> str:
        return self.display_name or self.model
