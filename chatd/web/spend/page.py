"""What the page of what was spent shows: from a query to what its template reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatd.accounts.models import Group, User
from chatd.spending.ledger_models import LedgerEntry
from chatd.spending.reports import entries_of, held_now, list_lines, overview_of
from chatd.spending.scopes import By, Line, Overview, Scope, Sums
from chatd.spending.selectors import usage_limit
from chatd.spending.standings import list_standings
from chatd.web.spend.chart import chart_of
from chatd.web.spend.names import Name, Names, names_of
from chatd.web.spend.query import ENTRIES, MAX_PAGE, PRESETS, Query

SHOWN = 50
LEAST_SHARE = 0.1

_TABS: Mapping[str, str] = {
    By.USER: "People",
    By.GROUP: "Groups",
    By.MODEL: "Models",
    By.PROVIDER: "Providers",
    By.CHAT: "Chats",
    By.KIND: "Kinds of calls",
    ENTRIES: "Ledger",
}
_LABELS: Mapping[str, str] = {
    By.USER: "Person",
    By.GROUP: "Group",
    By.MODEL: "Model",
    By.PROVIDER: "Provider",
    By.CHAT: "Chat",
    By.KIND: "Kind of call",
}
_DEEPER: Mapping[str, str] = {
    By.GROUP: By.USER,
    By.USER: By.CHAT,
    By.PROVIDER: By.MODEL,
    By.MODEL: By.USER,
    By.KIND: By.USER,
    By.CHAT: ENTRIES,
}
"""What a part is broken down by when it is opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A way to another view of the same; `is_here` for the one that is shown."""

    label: str
    address: str
    is_here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of a breakdown; `address` opens what it is made of, `share` is in percent."""

    name: Name
    sums: Sums
    share: float
    address: str
    needs_price: bool

    @property
    def share_text(self) -> str:
        if 0 < self.share < LEAST_SHARE:
            return f"< {LEAST_SHARE}%"
        return f"{self.share:.1f}%"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """A row of the ledger, with what its ids are called."""

    entry: LedgerEntry
    user: Name
    chat: Name
    model: Name | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whom the page is narrowed down to, and the limit of their own that they have."""

    whose: str
    name: str
    label: str
    limit_micros: int | None


def context_of(reader: User, query: Query) -> dict[str, Any]:
    """Return what the template shows, in the same few queries for any number of rows."""
    scope, overview = query.scope, overview_of(query.scope)
    rows, has_more = _table(reader, query, overview)
    total = overview.total
    narrowed = bool(query.filters)
    return {
        "query": query,
        "presets": [
            Link(
                label=label,
                address=query.address(**{"range": name, "from": None, "to": None}),
                is_here=query.preset == name,
            )
            for name, label in PRESETS.items()
        ],
        "tabs": _tabs(query),
        "heading": _TABS[query.by],
        "column": _LABELS.get(query.by, ""),
        "chips": _chips(reader, query),
        "hidden": {
            name: value
            for name, value in query.given.items()
            if name not in ("range", "from", "to")
        },
        "total": total,
        "held_micros": held_now(scope),
        "day_address": query.address(**{"range": None, "from": None, "to": None}),
        "chart": chart_of((day, sums.spent_micros) for day, sums in overview.days),
        "unpriced": _unpriced(reader, query, overview.models),
        "rows": rows,
        "older": query.address(page=str(query.page + 1)) if has_more else "",
        "newer": query.address(page=str(query.page - 1)) if query.page > 1 else "",
        "all_entries": _all_entries(query),
        "csv": query.address(),
        "csv_entries": query.address(by=ENTRIES),
        "holder": _holder(scope),
        "limit": usage_limit(),
        "standings": None if narrowed else list_standings(),
        "here": query.address(page=str(query.page) if query.page > 1 else None),
    }


def _tabs(query: Query) -> list[Link]:
    """Return the breakdowns, but those that would have one line."""
    return [
        Link(label=label, address=query.address(by=by), is_here=query.by == by)
        for by, label in _TABS.items()
        if by not in query.filters or by == query.by
    ]


def _chips(reader: User, query: Query) -> list[Link]:
    """Return the filters that hold, each with the address of the page without it."""
    chips = []
    for name, key in query.filters.items():
        named = names_of(reader, By(name), [key])[key]
        text = f"{named.text} {named.about}" if named.text.startswith("deleted") else named.text
        address = query.address(**{name: None})
        chips.append(Link(label=f"{_LABELS[name]}: {text}", address=address))
    return chips


def _table(reader: User, query: Query, overview: Overview) -> tuple[Sequence[Any], bool]:
    """Return the rows of a page, and whether there is another one."""
    offset, limit = (query.page - 1) * SHOWN, SHOWN + 1
    if query.by == ENTRIES:
        entries = entries_of(query.scope, everything=query.everything)
        found: list[Any] = list(entries[offset : offset + limit])
        rows: Sequence[Any] = _entry_rows(reader, found[:SHOWN])
    else:
        by = By(query.by)
        found = list_lines(query.scope, by, overview.models, limit=limit, offset=offset)
        rows = _rows(reader, query, found[:SHOWN], overview.total)
    return rows, len(found) > SHOWN and query.page < MAX_PAGE


def _rows(reader: User, query: Query, lines: Sequence[Line], total: Sums) -> list[Row]:
    by, whole = By(query.by), total.spent_micros
    names = names_of(reader, by, [line.key for line in lines])
    return [
        Row(
            name=names[line.key],
            sums=line.sums,
            share=line.sums.spent_micros * 100 / whole if whole > 0 else 0.0,
            address=query.address(**{by.value: str(line.key), "by": _next(query, by)}),
            needs_price=by is By.MODEL and line.sums.unpriced > 0,
        )
        for line in lines
    ]


def _next(query: Query, by: By) -> str:
    """Return what a part is opened by: the next breakdown that is no filter yet."""
    wanted = _DEEPER[by]
    while wanted in query.filters:
        wanted = _DEEPER[wanted]
    return ENTRIES if wanted == by else wanted


def _entry_rows(reader: User, entries: Sequence[LedgerEntry]) -> list[EntryRow]:
    users = names_of(reader, By.USER, {entry.owner_id for entry in entries})
    chats = names_of(reader, By.CHAT, {entry.root_chat_id for entry in entries})
    models: Names = names_of(reader, By.MODEL, {entry.model_config_id for entry in entries})
    return [
        EntryRow(
            entry=entry,
            user=users[entry.owner_id],
            chat=chats[entry.root_chat_id],
            model=models[entry.model_config_id] if entry.model_config_id else None,
        )
        for entry in entries
    ]


def _unpriced(reader: User, query: Query, models: Sequence[Line]) -> list[tuple[Name, int, str]]:
    """Return the models that were called without a price, how often, and the page of the calls."""
    found = [line for line in models if line.sums.unpriced]
    names = names_of(reader, By.MODEL, [line.key for line in found])
    return [
        (
            names[line.key],
            line.sums.unpriced,
            query.address(model=str(line.key), by=ENTRIES),
        )
        for line in found
    ]


def _all_entries(query: Query) -> Link | None:
    """Return the way to what was held and released, and back."""
    if query.by != ENTRIES or not query.may_show_everything:
        return None
    if query.everything:
        return Link(label="Show only what was spent", address=query.address(all=None))
    return Link(label="Show what was held and released too", address=query.address(all="1"))


def _holder(scope: Scope) -> Holder | None:
    """Return the person, else the group, that the page is narrowed down to."""
    if scope.user is not None:
        user = User.objects.live().filter(pk=scope.user).first()
        return None if user is None else _person(user)
    if scope.group is not None:
        groups = Group.objects.select_related("organization")
        group = groups.filter(pk=scope.group, organization__deleted=False).first()
        return None if group is None else _group(group)
    return None


def _person(user: User) -> Holder:
    return Holder(
        whose="person",
        name=user.username,
        label=user.username,
        limit_micros=user.chat_spend_limit_micros,
    )


def _group(group: Group) -> Holder:
    return Holder(
        whose="group",
        name=f"{group.organization.name}/{group.name}",
        label=str(group),
        limit_micros=group.chat_spend_limit_micros,
    )
