"""Every setting there is, as data. The API, the pages and the documentation read from here.

A key, once released, keeps its name and the form of its value: they are in people's databases.
Checks that need more than the value itself (does this model exist?) are made where that is known.
"""

from enum import StrEnum
from typing import Any
from uuid import UUID

from chatd.accounts.policy import SiteRight
from chatd.preferences import codecs, kinds
from chatd.preferences.codecs import Advisor, OverrideMode, PersonalOverride
from chatd.preferences.kinds import days_setting, flag_setting, model_setting, prompt_setting
from chatd.preferences.setting import Kind, Setting, SettingGroup

ADMINS = SiteRight.CONFIG_UPDATE
AUDITORS = SiteRight.CONFIG_READ


class ModelOverrideContext(StrEnum):
    """For what an administrator can name a model."""

    GENERAL = "general"
    EXPLORE = "explore"
    TITLE_GENERATION = "title_generation"


class PersonalOverrideContext(StrEnum):
    """For which chats a person can name a model: their own, and the sub-chats of those."""

    ROOT = "root"
    GENERAL = "general"
    EXPLORE = "explore"


# Settings of the deployment

SYSTEM_PROMPT = prompt_setting(
    "System prompt exceeds maximum length.",
    key="agents_chat_system_prompt",
    label="System prompt",
    help="Opens every new chat, after the built-in prompt where that is included.",
    read_right=ADMINS,
)
INCLUDE_DEFAULT_PROMPT = flag_setting(
    key="agents_chat_include_default_system_prompt",
    label="Include the built-in prompt",
    help="While nothing was chosen it is included until there is a system prompt.",
    default=True,
    read_right=ADMINS,
)
PLAN_MODE_INSTRUCTIONS = prompt_setting(
    "Plan mode instructions exceed maximum length.",
    key="agents_chat_plan_mode_instructions",
    label="Plan mode instructions",
    help="Go to the model beside the built-in ones while a chat is in plan mode.",
    in_effect=False,
    read_right=ADMINS,
)
MODEL_OVERRIDES = {
    ModelOverrideContext.GENERAL: model_setting(
        key="agents_chat_general_model_override",
        label="Model of sub-agents",
        help="Which model general sub-agents use; empty is that of their parent.",
        empty="The model of their parent",
        in_effect=False,
        read_right=AUDITORS,
    ),
    ModelOverrideContext.EXPLORE: model_setting(
        key="agents_chat_explore_model_override",
        label="Model of exploring sub-agents",
        help="Which model exploring sub-agents use; empty is that of their parent.",
        empty="The model of their parent",
        in_effect=False,
        read_right=AUDITORS,
    ),
    ModelOverrideContext.TITLE_GENERATION: model_setting(
        key="agents_chat_title_generation_model_override",
        label="Model of titles",
        help="Which model writes titles; empty chooses a small one.",
        empty="A small model, chosen by itself",
        read_right=AUDITORS,
    ),
}
PERSONAL_OVERRIDES_ALLOWED = flag_setting(
    key="agents_chat_personal_model_overrides_enabled",
    label="People choose their models",
    help="Lets everybody choose the models of their own chats and sub-agents.",
    read_right=AUDITORS,
)
DESKTOP_ENABLED = flag_setting(
    key="agents_desktop_enabled",
    label="Desktop",
    help="Lets agents use the desktop of a workspace.",
    in_effect=False,
)
COMPUTER_USE_PROVIDER = Setting(
    key="agents_computer_use_provider",
    label="Computer use",
    help="Kind of provider whose models use a desktop: anthropic or openai.",
    default="anthropic",
    decode=kinds.decode_computer_use,
    encode=str,
    check=kinds.check_computer_use,
    kind=Kind.CHOICE,
    choices=kinds.COMPUTER_USE_PROVIDERS,
    in_effect=False,
)
ADVISOR = Setting(
    key="agents_advisor_config",
    label="Advisor",
    help="Whether agents may ask an advisor, how often, at what length, of which model.",
    default=Advisor(),
    decode=codecs.decode_advisor,
    encode=codecs.encode_advisor,
    check=kinds.check_advisor,
    kind=Kind.ADVISOR,
    in_effect=False,
    notice="advisor_config",
)
DEBUG_LOGGING_ALLOWED = flag_setting(
    key="agents_chat_debug_logging_allow_users",
    label="People may record model calls",
    help="Lets everybody have the model calls of their own chats recorded.",
    read_right=AUDITORS,
)
WORKSPACE_TTL = Setting(
    key="agents_workspace_ttl",
    label="Lifetime of workspaces",
    help="How long a workspace that a chat made keeps running, 1 minute to 30 days; 0 is no end.",
    default=0,
    decode=kinds.decode_ttl,
    encode=codecs.encode_millis,
    check=kinds.check_ttl,
    kind=Kind.DURATION,
    in_effect=False,
)
TEMPLATE_ALLOWLIST: Setting[tuple[UUID, ...]] = Setting(
    key="agents_template_allowlist",
    label="Templates",
    help="Ids of the templates that chats may make workspaces of; empty is all.",
    default=(),
    decode=codecs.decode_ids,
    encode=codecs.encode_ids,
    check=kinds.check_templates,
    kind=Kind.IDS,
    in_effect=False,
    read_right=AUDITORS,
    hides_refused_writes=True,
)
RETENTION_DAYS = days_setting(
    "Retention",
    default=30,
    key="agents_chat_retention_days",
    label="Retention",
    help="Days that archived chats and files without a chat are kept; 0 is for ever.",
)
DEBUG_RETENTION_DAYS = days_setting(
    "Chat debug retention",
    default=30,
    key="agents_chat_debug_retention_days",
    label="Retention of debug runs",
    help="Days that recorded model calls are kept; 0 is for ever.",
)
AUTO_ARCHIVE_DAYS = days_setting(
    "Auto-archive",
    default=0,
    key="agents_chat_auto_archive_days",
    label="Auto-archive",
    help="Days without a message after which a chat is archived; 0 is never.",
)

SITE_GROUPS: tuple[SettingGroup, ...] = (
    SettingGroup("Prompts", (SYSTEM_PROMPT, INCLUDE_DEFAULT_PROMPT, PLAN_MODE_INSTRUCTIONS)),
    SettingGroup("Models", (*MODEL_OVERRIDES.values(), PERSONAL_OVERRIDES_ALLOWED)),
    SettingGroup("Agents", (DESKTOP_ENABLED, COMPUTER_USE_PROVIDER, ADVISOR)),
    SettingGroup("Recording", (DEBUG_LOGGING_ALLOWED,)),
    SettingGroup("Workspaces", (WORKSPACE_TTL, TEMPLATE_ALLOWLIST)),
    SettingGroup("Retention", (RETENTION_DAYS, DEBUG_RETENTION_DAYS, AUTO_ARCHIVE_DAYS)),
)
SITE_SETTINGS = tuple(setting for group in SITE_GROUPS for setting in group.settings)

NOT_IN_EFFECT = "Not in effect yet."
"""Said of a setting that is kept and shown while what it governs is not part of this version."""

# Settings of people


def _sub_agents(context: str, label: str) -> Setting[PersonalOverride]:
    return Setting(
        key=f"chat_personal_model_override:{context}",
        label=label,
        help="`deployment_default`, `chat_default` (the model of the chat), or `model:` and an id.",
        default=PersonalOverride(OverrideMode.DEPLOYMENT_DEFAULT),
        decode=codecs.decode_personal_override,
        encode=codecs.encode_personal_override,
        hint="What agents that a chat starts for a part of its work are to use.",
        kind=Kind.PERSONAL_MODEL,
        in_effect=False,
    )


CUSTOM_PROMPT = prompt_setting(
    "Custom prompt exceeds maximum length.",
    key="chat_custom_prompt",
    label="Own instructions",
    help="Go to the model with every chat of this person.",
    hint="Go to the model with every chat of yours, from the next message on.",
    notice="user_prompt",
)
PERSONAL_DEBUG_LOGGING = flag_setting(
    key="chat_debug_logging_enabled",
    label="Record model calls",
    help="Records the model calls of this person's chats, while that is allowed.",
    hint="What is sent to models in your chats, and what comes back, is kept for you to look at.",
)
PERSONAL_OVERRIDES = {
    PersonalOverrideContext.ROOT: Setting(
        key="chat_personal_model_override:root",
        label="Model of own chats",
        help="`chat_default`, or `model:` and the id of a model config; counts while allowed.",
        default=PersonalOverride(OverrideMode.CHAT_DEFAULT),
        decode=codecs.decode_root_override,
        encode=codecs.encode_personal_override,
        kind=Kind.PERSONAL_MODEL,
        check=kinds.check_root_override,
        hint="What new chats use when no other model is picked for them.",
    ),
    PersonalOverrideContext.GENERAL: _sub_agents("general", "Model of own sub-agents"),
    PersonalOverrideContext.EXPLORE: _sub_agents("explore", "Model of own exploring sub-agents"),
}
COMPACTION_THRESHOLD: Setting[int | None] = Setting(
    key="chat_compaction_threshold_pct:",
    parameter="model config id",
    label="Compaction",
    help="Percent of the model's context at which history is summarised; 100 is never.",
    hint="How full the context of a model may get, in percent, before what was said earlier is"
    " summarised. 100 is never.",
    default=None,
    decode=kinds.decode_percent,
    encode=kinds.encode_percent,
    check=kinds.check_percent,
    kind=Kind.PERCENT,
)

PERSONAL_SETTINGS: tuple[Setting[Any], ...] = (
    CUSTOM_PROMPT,
    COMPACTION_THRESHOLD,
    *PERSONAL_OVERRIDES.values(),
    PERSONAL_DEBUG_LOGGING,
)
