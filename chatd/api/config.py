"""Settings of the deployment with a route each: switches, templates, debug logging."""

from collections.abc import Callable
from typing import Annotated, TypeVar
from uuid import UUID

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.parsing import decode_body, parse_uuid
from chatd.api.views import ResourceViewSet
from chatd.core.shapes import documented
from chatd.preferences import shapes
from chatd.preferences.actions import change_setting
from chatd.preferences.debug_logging import choose_debug_logging, debug_logging_of, is_forced
from chatd.preferences.kinds import COMPUTER_USE_PROVIDERS
from chatd.preferences.registry import (
    COMPUTER_USE_PROVIDER,
    DEBUG_LOGGING_ALLOWED,
    DESKTOP_ENABLED,
    PERSONAL_OVERRIDES_ALLOWED,
    TEMPLATE_ALLOWLIST,
)
from chatd.preferences.selectors import read_intact_for, read_setting_for
from chatd.preferences.setting import Setting

T = TypeVar("T")

HIDDEN = [404]
"""Refusals of settings that not everybody may see."""


class SettingViewSet(ResourceViewSet):
    """Base of the routes of one setting: GET shows it, PUT replaces it."""

    def read(self, request: Request, setting: Setting[T]) -> T:
        return read_setting_for(self.actor(request).user, setting)

    def change(self, request: Request, setting: Setting[T], wanted: Callable[[], T]) -> Response:
        change_setting(self.actor(request), setting, wanted)
        return Response(status=204)


# Switches


class AllowUsersRequest(Struct, kw_only=True):
    allow_users: bool | None = None


class PersonalModelOverridesViewSet(SettingViewSet):
    """`/chats/config/personal-model-overrides`."""

    @Operation(
        "getPersonalModelOverrides",
        "Get whether people may choose their models",
        answer=shapes.AllowUsers,
        refusals=HIDDEN,
    )
    def retrieve(self, request: Request) -> Response:
        body: shapes.AllowUsers = {"allow_users": self.read(request, PERSONAL_OVERRIDES_ALLOWED)}
        return Response(body)

    @Operation(
        "updatePersonalModelOverrides",
        "Let people choose their models, or not",
        status=204,
        body=AllowUsersRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        return self.change(
            request,
            PERSONAL_OVERRIDES_ALLOWED,
            lambda: bool(decode_body(request, AllowUsersRequest).allow_users),
        )


class DesktopEnabledRequest(Struct, kw_only=True):
    enable_desktop: bool | None = None


class DesktopEnabledViewSet(SettingViewSet):
    """`/chats/config/desktop-enabled`."""

    @Operation(
        "getDesktopEnabled",
        "Get whether agents may use the desktop of a workspace",
        answer=shapes.DesktopEnabled,
    )
    def retrieve(self, request: Request) -> Response:
        body: shapes.DesktopEnabled = {"enable_desktop": self.read(request, DESKTOP_ENABLED)}
        return Response(body)

    @Operation(
        "updateDesktopEnabled",
        "Let agents use the desktop of a workspace, or not",
        status=204,
        body=DesktopEnabledRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        return self.change(
            request,
            DESKTOP_ENABLED,
            lambda: bool(decode_body(request, DesktopEnabledRequest).enable_desktop),
        )


class ComputerUseRequest(Struct, kw_only=True):
    provider: Annotated[
        str | None, documented(required=True, enum=list(COMPUTER_USE_PROVIDERS))
    ] = None


class ComputerUseViewSet(SettingViewSet):
    """`/chats/config/computer-use-provider`."""

    @Operation(
        "getComputerUseProvider",
        "Get the kind of provider whose models use a desktop",
        answer=shapes.ComputerUseProvider,
    )
    def retrieve(self, request: Request) -> Response:
        body: shapes.ComputerUseProvider = {"provider": self.read(request, COMPUTER_USE_PROVIDER)}
        return Response(body)

    @Operation(
        "updateComputerUseProvider",
        "Choose the kind of provider whose models use a desktop",
        status=204,
        body=ComputerUseRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        return self.change(
            request,
            COMPUTER_USE_PROVIDER,
            lambda: decode_body(request, ComputerUseRequest).provider or "",
        )


# Templates


class TemplateAllowlistRequest(Struct, kw_only=True):
    template_ids: Annotated[
        list[str] | None, documented(items={"type": "string", "format": "uuid"})
    ] = None


class TemplateAllowlistViewSet(SettingViewSet):
    """`/chats/config/template-allowlist`."""

    @Operation(
        "getTemplateAllowlist",
        "List the templates that chats may make workspaces of; empty is all",
        answer=shapes.TemplateAllowlist,
        refusals=HIDDEN,
    )
    def retrieve(self, request: Request) -> Response:
        ids = read_intact_for(
            self.actor(request).user, TEMPLATE_ALLOWLIST, "Stored template allowlist is invalid."
        )
        body: shapes.TemplateAllowlist = {"template_ids": [str(each) for each in ids]}
        return Response(body)

    @Operation(
        "updateTemplateAllowlist",
        "Choose the templates that chats may make workspaces of",
        status=204,
        body=TemplateAllowlistRequest,
        refusals=HIDDEN,
    )
    def update(self, request: Request) -> Response:
        def wanted() -> tuple[UUID, ...]:
            raw = decode_body(request, TemplateAllowlistRequest).template_ids or ()
            return tuple(parse_uuid(each, "Invalid template ID in allowlist.") for each in raw)

        return self.change(request, TEMPLATE_ALLOWLIST, wanted)


# Debug logging


class DebugLoggingViewSet(SettingViewSet):
    """`/chats/config/debug-logging`."""

    @Operation(
        "getDebugLogging",
        "Get whether people may have the model calls of their chats recorded",
        answer=shapes.DebugLoggingAllowed,
        refusals=HIDDEN,
    )
    def retrieve(self, request: Request) -> Response:
        body: shapes.DebugLoggingAllowed = {
            "allow_users": self.read(request, DEBUG_LOGGING_ALLOWED),
            "forced_by_deployment": is_forced(),
        }
        return Response(body)

    @Operation(
        "updateDebugLogging",
        "Let people have the model calls of their chats recorded, or not",
        status=204,
        body=AllowUsersRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        return self.change(
            request,
            DEBUG_LOGGING_ALLOWED,
            lambda: bool(decode_body(request, AllowUsersRequest).allow_users),
        )


class UserDebugLoggingRequest(Struct, kw_only=True):
    debug_logging_enabled: bool | None = None


class UserDebugLoggingViewSet(ResourceViewSet):
    """`/chats/config/user-debug-logging`."""

    @Operation(
        "getUserDebugLogging",
        "Get whether the model calls of one's own chats are recorded",
        answer=shapes.UserDebugLogging,
    )
    def retrieve(self, request: Request) -> Response:
        logging = debug_logging_of(self.actor(request).user.pk)
        body: shapes.UserDebugLogging = {
            "debug_logging_enabled": logging.enabled,
            "user_toggle_allowed": logging.may_choose,
            "forced_by_deployment": is_forced(),
        }
        return Response(body)

    @Operation(
        "updateUserDebugLogging",
        "Have the model calls of one's own chats recorded, or not",
        status=204,
        body=UserDebugLoggingRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        choose_debug_logging(
            self.actor(request).user,
            lambda: bool(decode_body(request, UserDebugLoggingRequest).debug_logging_enabled),
        )
        return Response(status=204)
