"""How long things are kept: settings of the deployment in days and milliseconds."""

from typing import Annotated

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.config import SettingViewSet
from chatd.api.documenting import Operation
from chatd.api.parsing import Int32, Int64, decode_body
from chatd.core.shapes import documented
from chatd.preferences import shapes
from chatd.preferences.kinds import MAX_DAYS, MAX_TTL_MILLIS, MIN_TTL_MILLIS
from chatd.preferences.registry import (
    AUTO_ARCHIVE_DAYS,
    DEBUG_RETENTION_DAYS,
    RETENTION_DAYS,
    WORKSPACE_TTL,
)

Days = Annotated[Int32 | None, documented(minimum=0, maximum=MAX_DAYS)]


class WorkspaceTTLRequest(Struct, kw_only=True):
    workspace_ttl_ms: Annotated[
        Int64 | None,
        documented(minimum=0, maximum=MAX_TTL_MILLIS),
        Meta(description=f"0 for no end, or at least {MIN_TTL_MILLIS}."),
    ] = None


class WorkspaceTTLViewSet(SettingViewSet):
    """`/chats/config/workspace-ttl`."""

    @Operation(
        "getWorkspaceTTL",
        "Get how long a workspace that a chat made keeps running; 0 is no end",
        answer=shapes.WorkspaceTTL,
    )
    def retrieve(self, request: Request) -> Response:
        body: shapes.WorkspaceTTL = {"workspace_ttl_ms": self.read(request, WORKSPACE_TTL)}
        return Response(body)

    @Operation(
        "updateWorkspaceTTL",
        "Choose how long a workspace that a chat made keeps running",
        status=204,
        body=WorkspaceTTLRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        return self.change(
            request,
            WORKSPACE_TTL,
            lambda: decode_body(request, WorkspaceTTLRequest).workspace_ttl_ms or 0,
        )


class RetentionDaysRequest(Struct, kw_only=True):
    retention_days: Days = None


class RetentionDaysViewSet(SettingViewSet):
    """`/chats/config/retention-days`."""

    @Operation(
        "getRetentionDays",
        "Get for how many days archived chats are kept; 0 is for ever",
        answer=shapes.RetentionDays,
    )
    def retrieve(self, request: Request) -> Response:
        body: shapes.RetentionDays = {"retention_days": self.read(request, RETENTION_DAYS)}
        return Response(body)

    @Operation(
        "updateRetentionDays",
        "Choose for how many days archived chats are kept",
        status=204,
        body=RetentionDaysRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        return self.change(
            request,
            RETENTION_DAYS,
            lambda: decode_body(request, RetentionDaysRequest).retention_days or 0,
        )


class DebugRetentionDaysRequest(Struct, kw_only=True):
    debug_retention_days: Days = None


class DebugRetentionDaysViewSet(SettingViewSet):
    """`/chats/config/debug-retention-days`."""

    @Operation(
        "getDebugRetentionDays",
        "Get for how many days recorded model calls are kept; 0 is for ever",
        answer=shapes.DebugRetentionDays,
    )
    def retrieve(self, request: Request) -> Response:
        days = self.read(request, DEBUG_RETENTION_DAYS)
        body: shapes.DebugRetentionDays = {"debug_retention_days": days}
        return Response(body)

    @Operation(
        "updateDebugRetentionDays",
        "Choose for how many days recorded model calls are kept",
        status=204,
        body=DebugRetentionDaysRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        return self.change(
            request,
            DEBUG_RETENTION_DAYS,
            lambda: decode_body(request, DebugRetentionDaysRequest).debug_retention_days or 0,
        )


class AutoArchiveDaysRequest(Struct, kw_only=True):
    auto_archive_days: Days = None


class AutoArchiveDaysViewSet(SettingViewSet):
    """`/chats/config/auto-archive-days`."""

    @Operation(
        "getAutoArchiveDays",
        "Get after how many days without a message a chat is archived; 0 is never",
        answer=shapes.AutoArchiveDays,
    )
    def retrieve(self, request: Request) -> Response:
        body: shapes.AutoArchiveDays = {"auto_archive_days": self.read(request, AUTO_ARCHIVE_DAYS)}
        return Response(body)

    @Operation(
        "updateAutoArchiveDays",
        "Choose after how many days without a message a chat is archived",
        status=204,
        body=AutoArchiveDaysRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        return self.change(
            request,
            AUTO_ARCHIVE_DAYS,
            lambda: decode_body(request, AutoArchiveDaysRequest).auto_archive_days or 0,
        )
