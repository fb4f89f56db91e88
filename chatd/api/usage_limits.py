"""Usage limits: that of everybody, of single people and groups, and how one stands to it."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts.models import Group, User
from chatd.accounts.selectors import member_counts
from chatd.api.documenting import Operation
from chatd.api.parsing import Int64, decode_body, parse_uuid
from chatd.api.views import ResourceViewSet
from chatd.core.clock import ZERO_TIME, rfc3339
from chatd.core.shapes import documented
from chatd.providers.prices import count_unpriced_models
from chatd.spending import shapes
from chatd.spending.actions import (
    OF_GROUP,
    OF_USER,
    WantedLimit,
    remove_override,
    set_override,
    set_usage_limit,
)
from chatd.spending.limits import Standing
from chatd.spending.models import UsageLimitConfig
from chatd.spending.periods import Period
from chatd.spending.selectors import (
    check_may_read_limits,
    list_group_overrides,
    list_user_overrides,
    standing_of,
    usage_limit,
)


class UsageLimitRequest(Struct, kw_only=True):
    """Body of `PUT /chats/usage-limits`."""

    spend_limit_micros: Annotated[
        Int64 | None,
        documented(minimum=1),
        Meta(description="null or absent: nobody has a limit."),
    ] = None
    period: Annotated[
        str | None,
        documented(enum=[*Period.values, "", None]),
        Meta(description="Needed with a limit; without one, empty is a month."),
    ] = None

    def wanted(self) -> WantedLimit:
        return WantedLimit(spend_limit_micros=self.spend_limit_micros, period=self.period or "")


class OverrideRequest(Struct, kw_only=True):
    """Body of the PUT of a limit of a person or a group."""

    spend_limit_micros: Annotated[Int64 | None, documented(required=True, minimum=1)] = None


class UsageLimitViewSet(ResourceViewSet):
    """`/chats/usage-limits` and `/chats/usage-limits/status`."""

    @Operation(
        "getUsageLimits",
        "Get the limit of everybody, and who has another one",
        answer=shapes.UsageLimits,
        refusals=[403],
    )
    def retrieve(self, request: Request) -> Response:
        check_may_read_limits(self.actor(request).user)
        groups = list_group_overrides()
        members = member_counts(groups)
        body: shapes.UsageLimits = {
            **_limit_body(usage_limit()),
            "unpriced_model_count": count_unpriced_models(),
            "overrides": [_override_body(user) for user in list_user_overrides()],
            "group_overrides": [
                _group_override_body(group, members.get(group.pk, 0)) for group in groups
            ],
        }
        return Response(body)

    @Operation(
        "updateUsageLimits",
        "Set the limit of everybody who has no other, or switch limits off",
        description="A new period counts at once, with what was spent since it began.",
        answer=shapes.UsageLimit,
        body=UsageLimitRequest,
        refusals=[403],
    )
    def update(self, request: Request) -> Response:
        stored = set_usage_limit(
            self.actor(request), lambda: decode_body(request, UsageLimitRequest).wanted()
        )
        return Response(_limit_body(stored))

    @Operation(
        "getUsageLimitStatus",
        "Get one's own limit, and what one has spent of it in the running period",
        description="Chats of an organisation can have a limit of their own, which counts what was"
        " spent there alone; this is the one for all of them together.",
        answer=shapes.UsageLimitStatus,
    )
    def status(self, request: Request) -> Response:
        return Response(status_body(standing_of(self.actor(request).user.pk)))


class UsageLimitOverrideViewSet(ResourceViewSet):
    """`/chats/usage-limits/overrides/{user_id}`."""

    @Operation(
        "updateUsageLimitOverride",
        "Give a person a limit",
        answer=shapes.UsageLimitOverride,
        body=OverrideRequest,
        refusals=[403],
    )
    def update(self, request: Request, user_id: str) -> Response:
        user = set_override(
            self.actor(request), OF_USER, lambda: _user_id(user_id), lambda: _micros(request)
        )
        return Response(_override_body(user))

    @Operation(
        "deleteUsageLimitOverride", "Take the limit of a person away", status=204, refusals=[403]
    )
    def destroy(self, request: Request, user_id: str) -> Response:
        remove_override(self.actor(request), OF_USER, lambda: _user_id(user_id))
        return Response(status=204)


class UsageLimitGroupOverrideViewSet(ResourceViewSet):
    """`/chats/usage-limits/group-overrides/{group_id}`."""

    @Operation(
        "updateUsageLimitGroupOverride",
        "Give everybody in a group a limit",
        answer=shapes.UsageLimitGroupOverride,
        body=OverrideRequest,
        refusals=[403],
    )
    def update(self, request: Request, group_id: str) -> Response:
        group = set_override(
            self.actor(request), OF_GROUP, lambda: _group_id(group_id), lambda: _micros(request)
        )
        return Response(_group_override_body(group, member_counts([group]).get(group.pk, 0)))

    @Operation(
        "deleteUsageLimitGroupOverride",
        "Take the limit of a group away",
        status=204,
        refusals=[403],
    )
    def destroy(self, request: Request, group_id: str) -> Response:
        remove_override(self.actor(request), OF_GROUP, lambda: _group_id(group_id))
        return Response(status=204)


def _user_id(raw: str) -> UUID:
    return parse_uuid(raw, "Invalid chat usage limit user ID.")


def _group_id(raw: str) -> UUID:
    return parse_uuid(raw, "Invalid group ID.")


def _micros(request: Request) -> int:
    return decode_body(request, OverrideRequest).spend_limit_micros or 0


def _limit_body(stored: UsageLimitConfig | None) -> shapes.UsageLimit:
    return {
        "spend_limit_micros": stored.spend_limit_micros if stored else None,
        "period": str(stored.period) if stored else "",
        "updated_at": rfc3339(stored.updated_at) if stored else ZERO_TIME,
    }


def _override_body(user: User) -> shapes.UsageLimitOverride:
    assert user.chat_spend_limit_micros is not None
    return {
        "user_id": str(user.pk),
        "username": user.username,
        "name": user.name,
        "avatar_url": user.avatar_url,
        "spend_limit_micros": user.chat_spend_limit_micros,
    }


def _group_override_body(group: Group, members: int) -> shapes.UsageLimitGroupOverride:
    assert group.chat_spend_limit_micros is not None
    return {
        "group_id": str(group.pk),
        "group_name": group.name,
        "group_display_name": group.display_name,
        "group_avatar_url": group.avatar_url,
        "member_count": members,
        "spend_limit_micros": group.chat_spend_limit_micros,
    }


def status_body(standing: Standing | None) -> shapes.UsageLimitStatus:
    if standing is None:
        return {
            "is_limited": False,
            "current_spend": 0,
            "period_start": ZERO_TIME,
            "period_end": ZERO_TIME,
        }
    return {
        "is_limited": True,
        "period": str(standing.period),
        "spend_limit_micros": standing.limit_micros,
        "current_spend": standing.spent_micros,
        "period_start": rfc3339(standing.window.start),
        "period_end": rfc3339(standing.window.end),
    }
