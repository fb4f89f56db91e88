"""The audit log in the administration: to read, to filter, to take away as CSV; never to change."""

import csv
from collections.abc import Iterator
from typing import Any

import orjson
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from chatd.audit.models import AuditEntry
from chatd.audit.selectors import resource_types
from chatd.core.action_admin import ReadOnlyAdmin
from chatd.core.clock import now, rfc3339

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

_SHOWN: tuple[str, ...] = (*(name for name in COLUMNS if name != "changes"), "differences")


class _Echo:
    """What a CSV writer writes into: it hands the line back."""

    def write(self, line: str) -> str:
        return line


class KindFilter(admin.SimpleListFilter):
    """What was changed: the kinds there are entries of."""

    title = "what was changed"
    parameter_name = "resource_type__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind.replace("_", " ").capitalize()) for kind in resource_types()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry]
    ) -> QuerySet[AuditEntry] | None:
        return queryset.filter(resource_type=self.value()) if self.value() else None


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin[AuditEntry]):
    list_display = ("at", "who", "what", "summary", "refused")
    list_filter = (KindFilter, "action", ("refused", admin.EmptyFieldListFilter))
    list_filter_submit = False
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("actor_name", "resource_id", "resource_name", "correlation_id")
    search_help_text = "Person, name or id of what was changed, or the id of the request"
    show_full_result_count = False
    list_per_page = 50
    ordering = ("-at", "-id")
    actions = ("export_csv",)
    fields = _SHOWN
    readonly_fields = _SHOWN

    @admin.display(description="Who", ordering="actor_name")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor_name or "chatd itself"

    @admin.display(description="What")
    def what(self, entry: AuditEntry) -> str:
        kind = entry.resource_type.replace("_", " ")
        return f"{entry.get_action_display()} {kind} {entry.resource_name}".strip()

    @admin.display(description="Changed")
    def summary(self, entry: AuditEntry) -> str:
        return ", ".join(entry.changes)

    @admin.display(description="From what to what")
    def differences(self, entry: AuditEntry) -> SafeString | str:
        rows = (
            (name, _text(change.get("old")), _text(change.get("new")))
            for name, change in entry.changes.items()
        )
        cells = format_html_join("", "<tr><th>{}</th><td>{}</td><td>{}</td></tr>", rows)
        if not cells:
            return "Nothing"
        head = "<tr><th>Field</th><th>Before</th><th>After</th></tr>"
        return (
            format_html('<table class="audit-changes">' + head + "{}</table>", cells)
            if cells
            else "Nothing"
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
