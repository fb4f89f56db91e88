"""What somebody asks of the page of what was spent, as its address has it. No queries."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from chatd.core.clock import now
from chatd.core.errors import bad_request
from chatd.core.ids import canonical_uuid
from chatd.spending.ledger_models import CallKind
from chatd.spending.periods import Period, window_of
from chatd.spending.scopes import By, Scope

MAX_DAYS = 366
MAX_PAGE = 200
ENTRIES = "entry"
"""What the rows of the ledger are called among the breakdowns."""

PRESETS: Mapping[str, str] = {
    "day": "Today",
    "week": "This week",
    "month": "This month",
    "30d": "30 days",
    "90d": "90 days",
}
DEFAULT = "30d"

_IDS = ("user", "group", "model", "provider", "chat")
_TOLD = ("range", "from", "to", *_IDS, "kind", "by", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A scope and how to show it. `given` are the parameters, but for the page.

    `problem` says in a sentence which dates were not understood; then the default ones hold.
    """

    scope: Scope
    preset: str
    by: str
    page: int
    everything: bool
    problem: str
    given: Mapping[str, str]

    def address(self, **changes: str | None) -> str:
        """Return the query of an address with other parameters; None takes one away."""
        wanted = {**self.given, **changes}
        kept = {name: wanted[name] for name in (*_TOLD, "page") if wanted.get(name)}
        return f"?{urlencode(kept)}"

    @property
    def filters(self) -> dict[str, Any]:
        """The filters that hold, by their names."""
        found = {name: getattr(self.scope, name) for name in (*_IDS, "kind")}
        return {name: value for name, value in found.items() if value}

    @property
    def may_show_everything(self) -> bool:
        """Whether an index has the rows of what was held, too: it has those of people and chats."""
        scope = self.scope
        return any(each is not None for each in (scope.user, scope.group, scope.chat))


def read_query(parameters: Mapping[str, str]) -> Query:
    """Return what the parameters of an address ask for. Raises ChatdError 400."""
    given = {name: value for name in _TOLD if (value := parameters.get(name, "").strip())}
    ids = {name: _id(name, given[name]) for name in _IDS if name in given}
    kind = given.get("kind", "")
    by = given.get("by", By.USER)
    if kind not in ("", *CallKind.values) or by not in (*By, ENTRIES):
        raise bad_request("This report does not exist.", detail="Go back and choose from the page.")
    preset, first, last, problem = _range(given)
    scope = Scope(first=first, last=last, kind=kind, **ids)
    query = Query(
        scope=scope,
        preset=preset,
        by=by,
        page=_page(parameters.get("page", "")),
        everything=False,
        problem=problem,
        given=given,
    )
    return replace(query, everything="all" in given and query.may_show_everything)


def _id(name: str, text: str) -> UUID:
    found = canonical_uuid(text)
    if found is None:
        raise bad_request("This report does not exist.", detail=f"“{name}” has to be an id.")
    return found


def _page(text: str) -> int:
    number = int(text[:9]) if text.isascii() and text.isdigit() else 1
    return min(max(number, 1), MAX_PAGE)


def _range(given: Mapping[str, str]) -> tuple[str, date, date, str]:
    """Return the preset, the first and the last day, and what is wrong with them."""
    today = now().date()
    if not {"from", "to"} & given.keys():
        preset = given.get("range", DEFAULT)
        preset = preset if preset in PRESETS else DEFAULT
        return preset, _first_of(preset, today), today, ""
    fallback = (DEFAULT, _first_of(DEFAULT, today), today)
    try:
        last = _day(given["to"]) if "to" in given else today
        first = _day(given["from"]) if "from" in given else last - timedelta(days=29)
    except ValueError:
        return *fallback, "Write days such as 2026-07-31, of this century."
    if first > last:
        return *fallback, "The first day is after the last one."
    if (last - first).days >= MAX_DAYS:
        return *fallback, f"Choose {MAX_DAYS} days at most."
    return "", first, last, ""


def _day(text: str) -> date:
    day = date.fromisoformat(text)
    if not 2000 <= day.year < 2100:
        raise ValueError(text)
    return day


def _first_of(preset: str, today: date) -> date:
    if preset in Period.values:
        return window_of(Period(preset), now()).start.date()
    return today - timedelta(days=int(preset.removesuffix("d")) - 1)
