"""Settings that name models: of the deployment, and one's own."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.parsing import Int32, Int64, decode_body, parse_uuid
from chatd.api.views import ResourceViewSet
from chatd.core.ids import NIL_UUID
from chatd.core.shapes import documented
from chatd.preferences import shapes
from chatd.preferences.codecs import Advisor, OverrideMode, PersonalOverride, encode_id
from chatd.preferences.registry import ADVISOR, ModelOverrideContext, PersonalOverrideContext
from chatd.preferences.selectors import read_intact_for
from chatd.preferences.setting import Stored
from chatd.providers.overrides import (
    ModelOverride,
    change_advisor,
    change_model_override,
    get_model_override_for,
)
from chatd.providers.personal import (
    choose_personal_override,
    choose_threshold,
    forget_threshold,
    list_thresholds,
    personal_overrides_of,
)

# For the deployment


ModelId = Annotated[str | None, Meta(description="An id, or empty for none.")]
Positive = Annotated[Int64 | None, documented(minimum=0)]


class ModelOverrideRequest(Struct, kw_only=True):
    model_config_id: ModelId = None


def model_override_body(override: ModelOverride) -> shapes.ModelOverride:
    """Return the ModelOverride object."""
    return {
        "context": str(override.context),
        "model_config_id": encode_id(override.model_config_id),
        "is_malformed": override.is_malformed,
    }


class ModelOverrideViewSet(ResourceViewSet):
    """`/chats/config/model-override/{context}`."""

    @Operation(
        "getModelOverride",
        "Get the model that the deployment uses for a job",
        answer=shapes.ModelOverride,
    )
    def retrieve(self, request: Request, context: str) -> Response:
        found = get_model_override_for(self.actor(request).user, context)
        return Response(model_override_body(found))

    @Operation(
        "updateModelOverride",
        "Choose the model that the deployment uses for a job",
        status=204,
        body=ModelOverrideRequest,
        refusals=[403],
    )
    def update(self, request: Request, context: str) -> Response:
        change_model_override(
            self.actor(request),
            context,
            lambda: decode_body(request, ModelOverrideRequest).model_config_id or "",
        )
        return Response(status=204)


class AdvisorRequest(Struct, kw_only=True):
    enabled: bool | None = None
    max_uses_per_run: Annotated[Positive, Meta(description="0 is any number.")] = None
    max_output_tokens: Annotated[Positive, Meta(description="0 is the default.")] = None
    model_config_id: Annotated[UUID | None, Meta(description="Nil: that of the chat.")] = None

    def checked(self) -> Advisor:
        return Advisor(
            enabled=bool(self.enabled),
            max_uses_per_run=self.max_uses_per_run or 0,
            max_output_tokens=self.max_output_tokens or 0,
            model_config_id=self.model_config_id or NIL_UUID,
        )


class AdvisorViewSet(ResourceViewSet):
    """`/chats/config/advisor`."""

    @Operation("getAdvisor", "Get the settings of the advisor", answer=shapes.Advisor)
    def retrieve(self, request: Request) -> Response:
        user = self.actor(request).user
        advisor = read_intact_for(user, ADVISOR, "Stored advisor configuration is invalid.")
        body: shapes.Advisor = {
            "enabled": advisor.enabled,
            "max_uses_per_run": advisor.max_uses_per_run,
            "max_output_tokens": advisor.max_output_tokens,
            "model_config_id": str(advisor.model_config_id),
        }
        return Response(body)

    @Operation(
        "updateAdvisor",
        "Replace the settings of the advisor",
        status=204,
        body=AdvisorRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        change_advisor(self.actor(request), lambda: decode_body(request, AdvisorRequest).checked())
        return Response(status=204)


# For oneself


class PersonalOverrideRequest(Struct, kw_only=True):
    mode: Annotated[str | None, documented(required=True, enum=list(OverrideMode))] = None
    model_config_id: ModelId = None

    def checked(self) -> tuple[str, str]:
        return self.mode or "", self.model_config_id or ""


def personal_override_body(
    context: PersonalOverrideContext, stored: Stored[PersonalOverride]
) -> shapes.PersonalModelOverride:
    """Return the PersonalModelOverride object."""
    return {
        "context": str(context),
        "mode": str(stored.value.mode),
        "model_config_id": encode_id(stored.value.model_config_id),
        "is_set": stored.is_set,
        "is_malformed": stored.is_malformed,
    }


class UserModelOverridesViewSet(ResourceViewSet):
    """`/chats/config/user-personal-model-overrides`, and `…/{context}` to choose one."""

    @Operation(
        "getUserModelOverrides",
        "Get which models one has chosen, and those of the deployment",
        answer=shapes.UserModelOverrides,
    )
    def retrieve(self, request: Request) -> Response:
        found = personal_overrides_of(self.actor(request).user)
        chosen = {
            context: personal_override_body(context, stored)
            for context, stored in found.chosen.items()
        }
        defaults = {
            context: model_override_body(override)
            for context, override in found.of_deployment.items()
        }
        body: shapes.UserModelOverrides = {
            "enabled": found.enabled,
            "root": chosen[PersonalOverrideContext.ROOT],
            "general": chosen[PersonalOverrideContext.GENERAL],
            "explore": chosen[PersonalOverrideContext.EXPLORE],
            "deployment_defaults": {
                "general": defaults[ModelOverrideContext.GENERAL],
                "explore": defaults[ModelOverrideContext.EXPLORE],
            },
        }
        return Response(body)

    @Operation(
        "updateUserModelOverride",
        "Choose one's own model for a kind of chats",
        status=204,
        body=PersonalOverrideRequest,
        refusals=[403],
    )
    def update(self, request: Request, context: str) -> Response:
        choose_personal_override(
            self.actor(request).user,
            context,
            lambda: decode_body(request, PersonalOverrideRequest).checked(),
        )
        return Response(status=204)


class CompactionThresholdRequest(Struct, kw_only=True):
    threshold_percent: Annotated[Int32 | None, documented(minimum=0, maximum=100)] = None


class CompactionThresholdViewSet(ResourceViewSet):
    """`/chats/config/user-compaction-thresholds` and `…/{config}`."""

    @Operation(
        "listUserCompactionThresholds",
        "List at which part of a model's context one has history summarised",
        answer=shapes.CompactionThresholds,
    )
    def list(self, request: Request) -> Response:
        thresholds = list_thresholds(self.actor(request).user)
        body: shapes.CompactionThresholds = {
            "thresholds": [_threshold_body(*each) for each in thresholds.items()]
        }
        return Response(body)

    @Operation(
        "updateUserCompactionThreshold",
        "Choose at which part of a model's context history is summarised",
        answer=shapes.CompactionThreshold,
        body=CompactionThresholdRequest,
    )
    def update(self, request: Request, config: str) -> Response:
        config_id = _config_id(config)
        percent = choose_threshold(
            self.actor(request).user,
            config_id,
            lambda: decode_body(request, CompactionThresholdRequest).threshold_percent or 0,
        )
        return Response(_threshold_body(config_id, percent))

    @Operation(
        "deleteUserCompactionThreshold", "Leave a threshold to the model config again", status=204
    )
    def destroy(self, request: Request, config: str) -> Response:
        forget_threshold(self.actor(request).user, _config_id(config))
        return Response(status=204)


def _threshold_body(config_id: UUID, percent: int) -> shapes.CompactionThreshold:
    return {"model_config_id": str(config_id), "threshold_percent": percent}


def _config_id(raw: str) -> UUID:
    return parse_uuid(raw, "Invalid chat model config ID.")
