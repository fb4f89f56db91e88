"""Routes below `/chats/config`: path, viewset, and which of its methods serves each HTTP one."""

from collections.abc import Mapping

from chatd.api.config import (
    ComputerUseViewSet,
    DebugLoggingViewSet,
    DesktopEnabledViewSet,
    PersonalModelOverridesViewSet,
    TemplateAllowlistViewSet,
    UserDebugLoggingViewSet,
)
from chatd.api.config_models import (
    AdvisorViewSet,
    CompactionThresholdViewSet,
    ModelOverrideViewSet,
    UserModelOverridesViewSet,
)
from chatd.api.config_periods import (
    AutoArchiveDaysViewSet,
    DebugRetentionDaysViewSet,
    RetentionDaysViewSet,
    WorkspaceTTLViewSet,
)
from chatd.api.config_prompts import (
    PlanModeInstructionsViewSet,
    SystemPromptViewSet,
    UserPromptViewSet,
)
from chatd.api.views import ResourceViewSet

_CONTEXT = r"(?P<context>[^/]+)"
_ONE = {"get": "retrieve", "put": "update"}

CONFIG_ROUTES: list[tuple[str, type[ResourceViewSet], Mapping[str, str]]] = [
    ("system-prompt", SystemPromptViewSet, _ONE),
    ("plan-mode-instructions", PlanModeInstructionsViewSet, _ONE),
    (rf"model-override/{_CONTEXT}", ModelOverrideViewSet, _ONE),
    ("personal-model-overrides", PersonalModelOverridesViewSet, _ONE),
    ("user-personal-model-overrides", UserModelOverridesViewSet, {"get": "retrieve"}),
    (rf"user-personal-model-overrides/{_CONTEXT}", UserModelOverridesViewSet, {"put": "update"}),
    ("desktop-enabled", DesktopEnabledViewSet, _ONE),
    ("computer-use-provider", ComputerUseViewSet, _ONE),
    ("debug-logging", DebugLoggingViewSet, _ONE),
    ("user-debug-logging", UserDebugLoggingViewSet, _ONE),
    ("advisor", AdvisorViewSet, _ONE),
    ("user-prompt", UserPromptViewSet, _ONE),
    ("user-compaction-thresholds", CompactionThresholdViewSet, {"get": "list"}),
    (
        r"user-compaction-thresholds/(?P<config>[^/]+)",
        CompactionThresholdViewSet,
        {"put": "update", "delete": "destroy"},
    ),
    ("workspace-ttl", WorkspaceTTLViewSet, _ONE),
    ("retention-days", RetentionDaysViewSet, _ONE),
    ("debug-retention-days", DebugRetentionDaysViewSet, _ONE),
    ("auto-archive-days", AutoArchiveDaysViewSet, _ONE),
    ("template-allowlist", TemplateAllowlistViewSet, _ONE),
]
