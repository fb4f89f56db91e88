"""What chats have cost: of one person, and of everybody."""

from datetime import timedelta

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.accounts.selectors import get_user_for
from chatd.api.documenting import Operation, Parameter, integer, text
from chatd.api.parsing import QueryReader
from chatd.api.usage_limits import status_body
from chatd.api.views import ResourceViewSet
from chatd.chats import cost_shapes as shapes
from chatd.chats.costs import (
    ChatCost,
    ModelCost,
    PersonCost,
    Range,
    Totals,
    check_may_read_all_costs,
    check_may_read_costs_of,
    cost_summary,
    list_people_costs,
)
from chatd.core.clock import now, rfc3339
from chatd.spending.limits import Standing

DEFAULT_DAYS = 30
DEFAULT_LIMIT = 10
MAX_INT32 = 2**31 - 1

_DATES = ("start_date", "end_date")
_INVALID = "Invalid query parameters."
_RANGE = (
    text("start_date", "The first instant that counts; 30 days ago.", format="date-time"),
    text("end_date", "The first instant that counts no more; now.", format="date-time"),
)
_LIMIT = Parameter(
    "limit",
    {"type": "integer", "minimum": -MAX_INT32 - 1, "maximum": MAX_INT32},
    "How many at most; 10 for 0 and less.",
)


class CostViewSet(ResourceViewSet):
    """`/chats/cost/{user}/summary` and `/chats/cost/users`."""

    @Operation(
        "getChatCostSummary",
        "Get what a person's chats have cost, by model and by chat",
        description="Deleted messages count, and so do titles and labels.",
        answer=shapes.CostSummary,
        parameters=_RANGE,
        refusals=[403, 404],
    )
    def summary(self, request: Request, user: str) -> Response:
        reader = self.actor(request).user
        owner = get_user_for(reader, user)
        within = _range(_query(request, *_DATES))
        check_may_read_costs_of(reader, owner)
        found = cost_summary(owner, within)
        body: shapes.CostSummary = {
            "start_date": rfc3339(within.start),
            "end_date": rfc3339(within.end),
            **_totals(found.totals),
            **_limit(found.standing),
            "priced_message_count": found.priced,
            "unpriced_message_count": found.unpriced,
            "by_model": [_model_body(each) for each in found.by_model],
            "by_chat": [_chat_body(each) for each in found.by_chat],
        }
        return Response(body)

    @Operation(
        "listChatCostUsers",
        "List what each person's chats have cost, the most expensive first",
        description="People without an answer in the range are left out; deleted ones are not.",
        answer=shapes.PeopleCosts,
        parameters=[
            *_RANGE,
            text("username", "A part of a user name or name, in any letter case."),
            _LIMIT,
            integer("offset", "How many to leave out.", most=MAX_INT32),
        ],
        refusals=[403],
    )
    def users(self, request: Request) -> Response:
        check_may_read_all_costs(self.actor(request).user)
        query = _query(request, *_DATES, "username", "limit", "offset")
        search = query.text("username")
        limit = query.integer("limit", least=-MAX_INT32 - 1, largest=MAX_INT32)
        offset = query.integer("offset", largest=MAX_INT32)
        within = _range(query)
        limit = limit if limit > 0 else DEFAULT_LIMIT
        found = list_people_costs(within, search=search, limit=limit, offset=offset)
        body: shapes.PeopleCosts = {
            "start_date": rfc3339(within.start),
            "end_date": rfc3339(within.end),
            "count": found.count,
            "users": [_person_body(each) for each in found.people],
        }
        return Response(body)


def _query(request: Request, *known: str) -> QueryReader:
    query = QueryReader(request, _INVALID)
    query.refuse_others(*known)
    return query


def _range(query: QueryReader) -> Range:
    """Return the range asked for. Raises ChatdError 400 for anything wrong with the query."""
    start, end = (query.instant(name) for name in _DATES)
    query.check()
    at = now()
    return Range(start=start or at - timedelta(days=DEFAULT_DAYS), end=end or at)


def _totals(totals: Totals) -> shapes.CostTotals:
    return {
        "total_cost_micros": totals.cost_micros,
        "total_input_tokens": totals.input_tokens,
        "total_output_tokens": totals.output_tokens,
        "total_cache_read_tokens": totals.cache_read_tokens,
        "total_cache_creation_tokens": totals.cache_creation_tokens,
        "total_runtime_ms": totals.runtime_ms,
    }


def _limit(standing: Standing | None) -> shapes.CostLimit:
    return {} if standing is None else {"usage_limit": status_body(standing)}


def _model_body(found: ModelCost) -> shapes.ModelCosts:
    return {
        "model_config_id": str(found.config_id),
        "display_name": found.display_name,
        "provider": found.provider,
        "model": found.model,
        "message_count": found.messages,
        **_totals(found.totals),
    }


def _chat_body(found: ChatCost) -> shapes.ChatCosts:
    return {
        "root_chat_id": str(found.root_chat_id),
        "chat_title": found.title,
        "message_count": found.messages,
        **_totals(found.totals),
    }


def _person_body(found: PersonCost) -> shapes.PersonCosts:
    return {
        "user_id": str(found.user.pk),
        "username": found.user.username,
        "name": found.user.name,
        "avatar_url": found.user.avatar_url,
        "message_count": found.messages,
        "chat_count": found.chats,
        **_totals(found.totals),
    }
