"""Shapes of settings as clients see them. Named like the objects in the contract."""

from typing import Annotated, TypedDict

from msgspec import Meta

from chatd.core.shapes import Uuid, documented
from chatd.preferences.codecs import OverrideMode
from chatd.preferences.kinds import COMPUTER_USE_PROVIDERS
from chatd.preferences.registry import ModelOverrideContext, PersonalOverrideContext

UuidOrNone = Annotated[str, Meta(description="An id, or empty for none.")]


class SystemPrompt(TypedDict):
    system_prompt: str
    include_default_system_prompt: bool
    default_system_prompt: str


class PlanModeInstructions(TypedDict):
    plan_mode_instructions: str


class CustomPrompt(TypedDict):
    custom_prompt: str


class AllowUsers(TypedDict):
    allow_users: bool


class DesktopEnabled(TypedDict):
    enable_desktop: bool


class ComputerUseProvider(TypedDict):
    provider: Annotated[str, documented(enum=list(COMPUTER_USE_PROVIDERS))]


class DebugLoggingAllowed(TypedDict):
    allow_users: bool
    forced_by_deployment: bool


class UserDebugLogging(TypedDict):
    debug_logging_enabled: bool
    user_toggle_allowed: bool
    forced_by_deployment: bool


class WorkspaceTTL(TypedDict):
    workspace_ttl_ms: int


class RetentionDays(TypedDict):
    retention_days: int


class DebugRetentionDays(TypedDict):
    debug_retention_days: int


class AutoArchiveDays(TypedDict):
    auto_archive_days: int


class TemplateAllowlist(TypedDict):
    template_ids: list[Uuid]


class ModelOverride(TypedDict):
    context: Annotated[str, documented(enum=list(ModelOverrideContext))]
    model_config_id: UuidOrNone
    is_malformed: bool


class Advisor(TypedDict):
    """`model_config_id` is nil for the model of the chat."""

    enabled: bool
    max_uses_per_run: int
    max_output_tokens: int
    model_config_id: Uuid


class PersonalModelOverride(TypedDict):
    context: Annotated[str, documented(enum=list(PersonalOverrideContext))]
    mode: Annotated[str, documented(enum=list(OverrideMode))]
    model_config_id: UuidOrNone
    is_set: bool
    is_malformed: bool


class ModelOverrideDefaults(TypedDict):
    general: ModelOverride
    explore: ModelOverride


class UserModelOverrides(TypedDict):
    enabled: bool
    root: PersonalModelOverride
    general: PersonalModelOverride
    explore: PersonalModelOverride
    deployment_defaults: ModelOverrideDefaults


class CompactionThreshold(TypedDict):
    model_config_id: Uuid
    threshold_percent: int


class CompactionThresholds(TypedDict):
    thresholds: list[CompactionThreshold]
