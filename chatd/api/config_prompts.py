"""Prompts of the deployment, and one's own."""

from typing import Annotated

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.config import HIDDEN, SettingViewSet
from chatd.api.documenting import Operation
from chatd.api.parsing import decode_body
from chatd.api.views import ResourceViewSet
from chatd.chats.prompts import DEFAULT_SYSTEM_PROMPT
from chatd.core.shapes import documented
from chatd.preferences import shapes
from chatd.preferences.actions import change_system_prompt, store_personal
from chatd.preferences.kinds import MAX_PROMPT_BYTES
from chatd.preferences.registry import (
    CUSTOM_PROMPT,
    INCLUDE_DEFAULT_PROMPT,
    PLAN_MODE_INSTRUCTIONS,
    SYSTEM_PROMPT,
)
from chatd.preferences.selectors import (
    check_may_read,
    includes_default_prompt,
    personal_value,
    site_values,
)

MAX_PROMPT_BODY_BYTES = 2 * MAX_PROMPT_BYTES

PromptText = Annotated[
    str | None,
    documented(maxLength=MAX_PROMPT_BODY_BYTES),
    Meta(description=f"At most {MAX_PROMPT_BYTES} bytes, without what is cleaned away."),
]


class SystemPromptRequest(Struct, kw_only=True):
    """Without `include_default_system_prompt` that stays as it is."""

    system_prompt: PromptText = None
    include_default_system_prompt: bool | None = None

    def checked(self) -> tuple[str, bool | None]:
        return self.system_prompt or "", self.include_default_system_prompt


class SystemPromptViewSet(ResourceViewSet):
    """`/chats/config/system-prompt`."""

    @Operation(
        "getSystemPrompt",
        "Get the prompt that opens every new chat",
        answer=shapes.SystemPrompt,
        refusals=HIDDEN,
    )
    def retrieve(self, request: Request) -> Response:
        check_may_read(self.actor(request).user, SYSTEM_PROMPT)
        values = site_values(SYSTEM_PROMPT, INCLUDE_DEFAULT_PROMPT)
        body: shapes.SystemPrompt = {
            "system_prompt": values[SYSTEM_PROMPT],
            "include_default_system_prompt": includes_default_prompt(values),
            "default_system_prompt": DEFAULT_SYSTEM_PROMPT,
        }
        return Response(body)

    @Operation(
        "updateSystemPrompt",
        "Choose the prompt that opens every new chat",
        status=204,
        body=SystemPromptRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        change_system_prompt(
            self.actor(request),
            lambda: decode_body(request, SystemPromptRequest, cap=MAX_PROMPT_BODY_BYTES).checked(),
        )
        return Response(status=204)


class PlanModeInstructionsRequest(Struct, kw_only=True):
    plan_mode_instructions: PromptText = None


class PlanModeInstructionsViewSet(SettingViewSet):
    """`/chats/config/plan-mode-instructions`."""

    @Operation(
        "getPlanModeInstructions",
        "Get what models are told in plan mode beside the built-in text",
        answer=shapes.PlanModeInstructions,
        refusals=HIDDEN,
    )
    def retrieve(self, request: Request) -> Response:
        body: shapes.PlanModeInstructions = {
            "plan_mode_instructions": self.read(request, PLAN_MODE_INSTRUCTIONS)
        }
        return Response(body)

    @Operation(
        "updatePlanModeInstructions",
        "Choose what models are told in plan mode beside the built-in text",
        status=204,
        body=PlanModeInstructionsRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        def wanted() -> str:
            body = decode_body(request, PlanModeInstructionsRequest, cap=MAX_PROMPT_BODY_BYTES)
            return body.plan_mode_instructions or ""

        return self.change(request, PLAN_MODE_INSTRUCTIONS, wanted)


class UserPromptRequest(Struct, kw_only=True):
    custom_prompt: PromptText = None


class UserPromptViewSet(ResourceViewSet):
    """`/chats/config/user-prompt`: one's own instructions. PUT answers with what was stored."""

    @Operation("getUserPrompt", "Get one's own instructions for models", answer=shapes.CustomPrompt)
    def retrieve(self, request: Request) -> Response:
        body: shapes.CustomPrompt = {
            "custom_prompt": personal_value(self.actor(request).user.pk, CUSTOM_PROMPT)
        }
        return Response(body)

    @Operation(
        "updateUserPrompt",
        "Give models instructions of one's own; answers with what was stored",
        answer=shapes.CustomPrompt,
        body=UserPromptRequest,
    )
    def update(self, request: Request) -> Response:
        wanted = decode_body(request, UserPromptRequest, cap=MAX_PROMPT_BODY_BYTES)
        assignment = CUSTOM_PROMPT.to(wanted.custom_prompt or "")
        store_personal(self.actor(request).user, assignment)
        body: shapes.CustomPrompt = {"custom_prompt": assignment.text}
        return Response(body)
