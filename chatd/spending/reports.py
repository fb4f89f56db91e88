"""Reports of what was spent, read from the ledger: totals, days, and what each part came to.

Everything is in micros of a dollar and by UTC days. Rows name people, chats and models by id alone;
what these are called is for whoever shows them.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncDate

from chatd.accounts.models import Group, GroupMember, OrganizationMember
from chatd.providers.models import ModelConfig
from chatd.spending.ledger_models import EntryKind, LedgerEntry, OpenHold
from chatd.spending.scopes import NOTHING, By, ChatCost, Line, Overview, Scope, Sums

_CHARGES = (EntryKind.SETTLE, EntryKind.CORRECTION)
_CHUNK = 500


# Reports of a scope


def overview_of(scope: Scope) -> Overview:
    """Return the days, the models and the total of a scope, in one query."""
    days: dict[Any, Sums] = dict.fromkeys(scope.days, Sums())
    models: dict[Any, Sums] = {}
    day = TruncDate("created_at", tzinfo=UTC)
    cells = charges_of(scope).values_list(day, "model_config_id").annotate(**_SUMS).order_by()
    for on, model, *numbers in cells:
        sums = _sums(numbers)
        days[on] = days[on] + sums
        models[model or NOTHING] = models.get(model or NOTHING, Sums()) + sums
    total = sum(days.values(), Sums())
    return Overview(days=list(days.items()), models=_ranked(models), total=total)


def held_now(scope: Scope) -> int:
    """Return what calls under way may still cost, whatever the days of the scope."""
    held = _narrowed(OpenHold.objects.all(), scope).aggregate(sum=Sum("micros"))
    return int(held["sum"] or 0)


def list_lines(
    scope: Scope, by: By, models: Sequence[Line], *, limit: int, offset: int = 0
) -> list[Line]:
    """Return a page of a breakdown, what cost most first; `models` is what the overview has."""
    end = offset + limit
    if (lines := _lines_in_memory(scope, by, models)) is not None:
        return lines[offset:end]
    return [_line(row) for row in _grouped(scope, by)[offset:end]]


def iterate_lines(scope: Scope, by: By) -> Iterator[list[Line]]:
    """Yield the whole breakdown in pieces that fit in memory."""
    models = overview_of(scope).models if by in (By.MODEL, By.PROVIDER) else ()
    lines = _lines_in_memory(scope, by, models)
    rows = (
        iter(lines)
        if lines is not None
        else map(_line, _grouped(scope, by).iterator(chunk_size=_CHUNK))
    )
    yield from _pieces(rows)


def entries_of(scope: Scope, *, everything: bool = False) -> QuerySet[LedgerEntry]:
    """Return the rows of the ledger, newest first; `everything`: what was held and released too."""
    rows = _within(LedgerEntry.objects.all(), scope) if everything else charges_of(scope)
    return rows.order_by("-created_at", "-id")


def charges_of(scope: Scope) -> QuerySet[LedgerEntry]:
    """Return the rows that say what was spent."""
    return _within(LedgerEntry.objects.filter(kind__in=_CHARGES), scope)


def iterate_entries(scope: Scope, *, everything: bool = False) -> Iterator[list[LedgerEntry]]:
    """Yield the rows of the ledger in pieces that fit in memory."""
    rows = entries_of(scope, everything=everything)
    yield from _pieces(rows.iterator(chunk_size=_CHUNK))


# One chat


def cost_of_chat(root_id: UUID, *, chat_id: UUID | None = None) -> ChatCost:
    """Return what a chat cost with its sub-chats, or one of these alone, in one query."""
    rows = LedgerEntry.objects.filter(root_chat_id=root_id, kind__in=_CHARGES)
    if chat_id is not None:
        rows = rows.filter(chat_id=chat_id)
    kinds = {
        kind: _sums(numbers)
        for kind, *numbers in rows.values_list("call_kind").annotate(**_SUMS).order_by()
    }
    return ChatCost(total=sum(kinds.values(), Sums()), kinds=_ranked(kinds))


# How it is read


_SETTLE = Q(kind=EntryKind.SETTLE)
_SUMS: dict[str, Any] = {
    "spent": Sum("settled_micros"),
    "calls": Count("pk", filter=_SETTLE),
    "unpriced": Count("pk", filter=_SETTLE & Q(is_priced=False)),
    "estimated": Count("pk", filter=_SETTLE & Q(is_estimated=True)),
    "overruns": Count(
        "pk", filter=_SETTLE & Q(held_micros__lt=0, settled_micros__gt=-F("held_micros"))
    ),
}
_COLUMNS = {By.USER: "owner_id", By.CHAT: "root_chat_id", By.KIND: "call_kind"}


def _within(rows: QuerySet[LedgerEntry], scope: Scope) -> QuerySet[LedgerEntry]:
    start = datetime.combine(scope.first, time.min, UTC)
    end = datetime.combine(scope.last, time.min, UTC) + timedelta(days=1)
    return _narrowed(rows.filter(created_at__gte=start, created_at__lt=end), scope)


def _narrowed(rows: QuerySet[Any], scope: Scope) -> QuerySet[Any]:
    if scope.user is not None:
        rows = rows.filter(owner_id=scope.user)
    if scope.group is not None:
        rows = _of_group(rows, scope.group)
    if scope.model is not None:
        rows = rows.filter(model_config_id=None if scope.model == NOTHING else scope.model)
    if scope.provider is not None:
        rows = _of_provider(rows, scope.provider)
    if scope.chat is not None:
        rows = rows.filter(root_chat_id=scope.chat)
    return rows.filter(call_kind=scope.kind) if scope.kind else rows


def _of_group(rows: QuerySet[Any], group_id: UUID) -> QuerySet[Any]:
    organizations = Group.objects.filter(pk=group_id).values("organization_id")
    members = OrganizationMember.objects.filter(organization__in=organizations)
    if not members.filter(organization=group_id).exists():
        joined = GroupMember.objects.filter(group=group_id)
        members = members.filter(user__in=joined.values("user_id"))
    return rows.filter(owner_id__in=members.values("user_id"), organization_id__in=organizations)


def _of_provider(rows: QuerySet[Any], provider_id: UUID) -> QuerySet[Any]:
    models = ModelConfig.objects.filter(ai_provider__isnull=False)
    if provider_id == NOTHING:
        of_none = ~Q(model_config_id__in=models.values("pk")) | Q(model_config_id=None)
        return rows.filter(of_none)
    return rows.filter(model_config_id__in=models.filter(ai_provider=provider_id).values("pk"))


def _grouped(scope: Scope, by: By) -> QuerySet[LedgerEntry, tuple[Any, ...]]:
    column = _COLUMNS[by]
    return (
        charges_of(scope).values_list(column).annotate(**_SUMS).order_by(F("spent").desc(), column)
    )


def _lines_in_memory(scope: Scope, by: By, models: Sequence[Line]) -> list[Line] | None:
    """Return the breakdowns that have few lines, or that no column is for."""
    match by:
        case By.MODEL:
            return list(models)
        case By.PROVIDER:
            return _by_provider(models)
        case By.GROUP:
            return _by_group(scope)
    return None


def _by_provider(models: Sequence[Line]) -> list[Line]:
    known = ModelConfig.objects.filter(pk__in=[line.key for line in models])
    provider_of = dict(known.values_list("pk", "ai_provider_id"))
    found: dict[Any, Sums] = {}
    for line in models:
        provider = provider_of.get(line.key) or NOTHING
        found[provider] = found.get(provider, Sums()) + line.sums
    return _ranked(found)


def _by_group(scope: Scope) -> list[Line]:
    """Return what the members of each group spent in its organisation, in three queries.

    Whoever is in several groups is counted in each; everybody is in that of their organisation.
    """
    spent = {
        (owner, organization): _sums(numbers)
        for owner, organization, *numbers in charges_of(scope)
        .values_list("owner_id", "organization_id")
        .annotate(**_SUMS)
        .order_by()
    }
    everyone = OrganizationMember.objects.filter(organization__deleted=False)
    explicit = GroupMember.objects.filter(
        group__organization__deleted=False, group__organization__memberships__user=F("user")
    )
    found: dict[Any, Sums] = {}
    for user, group, organization in [
        *everyone.values_list("user_id", "organization_id", "organization_id"),
        *explicit.values_list("user_id", "group_id", "group__organization_id"),
    ]:
        if (sums := spent.get((user, organization))) is not None:
            found[group] = found.get(group, Sums()) + sums
    return _ranked(found)


def _line(row: Sequence[Any]) -> Line:
    return Line(key=row[0], sums=_sums(row[1:]))


def _sums(numbers: Iterable[Any]) -> Sums:
    spent, calls, unpriced, estimated, overruns = numbers
    return Sums(
        spent_micros=int(spent or 0),
        calls=calls,
        unpriced=unpriced,
        estimated=estimated,
        overruns=overruns,
    )


def _ranked(found: dict[Any, Sums]) -> list[Line]:
    ranked = sorted(found, key=lambda key: (-found[key].spent_micros, str(key)))
    return [Line(key=key, sums=found[key]) for key in ranked]


def _pieces(rows: Iterable[Any]) -> Iterator[list[Any]]:
    piece: list[Any] = []
    for row in rows:
        piece.append(row)
        if len(piece) == _CHUNK:
            yield piece
            piece = []
    if piece:
        yield piece
