"""The audit log in the administration: to read, to filter, to take away as CSV; never to change."""

import csv
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any

import orjson
from django.contrib import admin
from django.contrib.admin.options import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.dateparse import parse_date
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    RangeDateFilter,
    TextFilter,
)

from chatd.audit.models import AuditEntry
from chatd.audit.selectors import resource_types
from chatd.core.action_admin import ReadOnlyAdmin, labelled
from chatd.core.clock import now, rfc3339
from chatd.core.ids import canonical_uuid
from config.env import env

COLUMNS = (
    "at",
    "actor_name",
    "actor_id",
    "api_key_id",
    "address",
    "action",
    "resource_type",
    "resource_id",
    "resource_name",
    "organization_id",
    "refused",
    "changes",
    "correlation_id",
)

_FIRST = ("at", "actor_name", "action", "resource_type", "resource_name", "refused", "differences")
_SHOWN = (*_FIRST, *(name for name in COLUMNS if name not in (*_FIRST, "changes")))


class _Echo:
    """What a CSV writer writes into: it hands the line back."""

    def write(self, line: str) -> str:
        return line


class KindFilter(DropdownFilter):  # type: ignore[misc]
    """What was changed, of the kinds that there are."""

    title = "kind"
    parameter_name = "resource_type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [(kind, _in_words(kind).capitalize()) for kind in resource_types()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(resource_type=self.value()) if self.value() else queryset


class ActorFilter(TextFilter):  # type: ignore[misc]
    """Who made the change, by the user name then or the id."""

    title = "user name or id"
    parameter_name = "actor"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        actor = (self.value() or "").strip()
        if not actor:
            return queryset
        found = canonical_uuid(actor)
        return (
            queryset.filter(actor_name=actor) if found is None else queryset.filter(actor_id=found)
        )


class RefusedFilter(DropdownFilter):  # type: ignore[misc]
    """Whether the change was made."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> list[tuple[str, str]]:
        return [("done", "Done"), ("refused", "Refused")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "done":
                return queryset.filter(refused="")
            case "refused":
                return queryset.exclude(refused="")
        return queryset


class DayFilter(RangeDateFilter):  # type: ignore[misc]
    """From the beginning of a day to the end of another, UTC; no day that is none."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        first, last = self._day("from"), self._day("to")
        if first is not None:
            queryset = queryset.filter(at__gte=datetime.combine(first, time.min, UTC))
        if last is not None:
            queryset = queryset.filter(at__lte=datetime.combine(last, time.max, UTC))
        return queryset

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.title = "day (UTC)"

    def _day(self, end: str) -> date | None:
        try:
            return parse_date(str(self.used_parameters.get(f"{self.parameter_name}_{end}", "")))
        except ValueError:
            return None


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin[AuditEntry]):
    list_display = ("at", "who", "what", "summary", "outcome")
    list_filter = (
        ("at", DayFilter),
        ActorFilter,
        KindFilter,
        ("action", ChoicesDropdownFilter),
        RefusedFilter,
    )
    search_fields = ("resource_name",)
    search_help_text = "A name, or the id of a thing, a person or a request"
    list_before_template = "admin/_audit_retention.html"
    ordering = ("-at", "-id")
    actions = ("export_csv",)
    fields = _SHOWN
    readonly_fields = _SHOWN

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        context = {**(extra_context or {}), "audit_days": env.audit_days}
        return super().changelist_view(request, context)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "resource_id" or super().lookup_allowed(lookup, value, request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Find ids by the indexes; words by going through the names, the newest first."""
        text = search_term.strip()
        if not text:
            return queryset, False
        if (found := canonical_uuid(text)) is not None:
            # With its kinds, the index by resource answers for an id.
            by_id = Q(resource_type__in=resource_types(), resource_id=str(found))
            return queryset.filter(by_id | Q(actor_id=found) | Q(organization_id=found)), False
        exact = Q(actor_name=text) | Q(correlation_id=text) | Q(api_key_id=text)
        return queryset.filter(exact | Q(resource_name__icontains=text)), False

    @admin.display(description="Who")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor_name or "chatd itself"

    @admin.display(description="What")
    def what(self, entry: AuditEntry) -> str:
        kind = _in_words(entry.resource_type)
        return f"{entry.get_action_display()} {kind} {entry.resource_name}".strip()

    @labelled("Outcome", {"refused": "danger", "done": ""})
    def outcome(self, entry: AuditEntry) -> tuple[str, str]:
        return ("refused", "Refused") if entry.refused else ("done", "Done")

    @admin.display(description="Changed, or why not")
    def summary(self, entry: AuditEntry) -> SafeString:
        text = entry.refused or ", ".join(entry.changes)
        return format_html('<span class="page-words">{}</span>', text)

    @admin.display(description="From what to what")
    def differences(self, entry: AuditEntry) -> SafeString | str:
        rows = (
            (name, _text(change.get("old")), _text(change.get("new")))
            for name, change in entry.changes.items()
        )
        cells = format_html_join(
            "",
            '<tr><th scope="row">{}</th><td data-label="Before">{}</td>'
            '<td data-label="After">{}</td></tr>',
            rows,
        )
        if not cells:
            return "Nothing"
        head = "<thead><tr><th>Field</th><th>Before</th><th>After</th></tr></thead>"
        return format_html(
            '<table class="audit-changes">' + head + "<tbody>{}</tbody></table>", cells
        )

    @admin.action(description="Export as CSV")
    def export_csv(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> StreamingHttpResponse:
        """Send the chosen entries; those of all pages when all were chosen."""
        name = f"audit-{now():%Y%m%d-%H%M%S}.csv"
        return StreamingHttpResponse(
            _csv_lines(queryset.order_by("-at", "-id")),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


def _in_words(kind: str) -> str:
    return kind.replace("_", " ")


def _csv_lines(entries: QuerySet[AuditEntry]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for entry in entries.iterator(chunk_size=500):
        yield writer.writerow([_cell(getattr(entry, name)) for name in COLUMNS])


def _cell(value: Any) -> str:
    text = rfc3339(value) if hasattr(value, "isoformat") else _text(value)
    # A spreadsheet must not take what somebody typed for a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
