"""What one has spent: of which limit, on which days and in which chats."""

from dataclasses import dataclass
from datetime import timedelta

from django.http import HttpRequest, HttpResponse

from chatd.accounts.actor import acting
from chatd.accounts.models import User
from chatd.chats.models import Chat
from chatd.core.clock import now
from chatd.spending.reports import held_now, list_lines, overview_of
from chatd.spending.scopes import NOTHING, By, Line, Scope
from chatd.spending.selectors import standing_of
from chatd.spending.standings import limit_holder
from chatd.web.settings_pages.frame import Refused, Shown, answer_form, settings_view
from chatd.web.spend.chart import chart_of

ROUTE = "settings_spending"
DAYS = 30
CHATS = 25
"""How many chats are named: those that cost most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLine:
    """What a chat cost; `title` is None where it was deleted."""

    line: Line
    title: str | None

    @property
    def is_known(self) -> bool:
        return bool(self.line.key != NOTHING)


@settings_view
def spending(request: HttpRequest) -> HttpResponse:
    """Show what one has spent, and what is left; there is nothing to change."""
    if request.method == "POST":
        return answer_form(request, {}, _show, route=ROUTE, blamed={})
    return _show(request)


def _show(request: HttpRequest, last: Refused | None = None) -> HttpResponse:
    user, today = acting(request).user, now().date()
    scope = Scope(first=today - timedelta(days=DAYS - 1), last=today, user=user.pk)
    overview, standing = overview_of(scope), standing_of(user.pk)
    lines = list_lines(scope, By.CHAT, (), limit=CHATS + 1)
    held_by, group = limit_holder(user) if standing else (None, None)
    context = {
        "standing": standing,
        "limit_of": held_by,
        "limit_group": group,
        "held_micros": standing.held_micros if standing else held_now(scope),
        "total": overview.total,
        "days": DAYS,
        "chart": chart_of((day, sums.spent_micros) for day, sums in overview.days),
        "chats": _named(user, lines[:CHATS]),
        "has_more": len(lines) > CHATS,
    }
    return Shown(request, last).render("spending", ROUTE, context)


def _named(user: User, lines: list[Line]) -> list[ChatLine]:
    wanted = [line.key for line in lines]
    titles = dict(Chat.objects.filter(pk__in=wanted, owner=user).values_list("pk", "title"))
    return [ChatLine(line=line, title=titles.get(line.key)) for line in lines]
