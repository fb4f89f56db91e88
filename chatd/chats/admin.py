"""Admin of chats: their state, never their words; what is done goes through the API's actions."""

from collections.abc import Callable, Mapping
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.options import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import (
    BooleanRadioFilter,
    ChoicesDropdownFilter,
    RelatedDropdownFilter,
)

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.chats.actions import interrupt_chat
from chatd.chats.models import Chat, FailedTurn, Status
from chatd.chats.properties import ChatChanges, update_chat
from chatd.chats.search import chats_titled
from chatd.chats.wire import error_body
from chatd.core.action_admin import ReadOnlyAdmin, labelled, sentence
from chatd.core.clock import now
from chatd.core.errors import ChatdError
from chatd.core.ids import canonical_uuid
from chatd.spending.amounts import exact_dollars
from chatd.spending.ledger_models import CallKind
from chatd.spending.reports import cost_of_chat
from chatd.spending.scopes import Line

MAX_OWNERS = 50
"""How many people a search finds chats of."""

_COLOURS: Mapping[str, str] = {
    **dict.fromkeys(Status, ""),
    Status.RUNNING: "success",
    Status.PENDING: "info",
    Status.REQUIRES_ACTION: "warning",
    Status.ERROR: "danger",
}
_ABOUT = (
    "title",
    "state",
    "went_wrong",
    "owner",
    "in_organization",
    "of_model",
    "cost",
    "created_at",
    "changed",
    "links",
)


class _NamedFilter(RelatedDropdownFilter):  # type: ignore[misc]
    """A choice of related things under a name of its own."""

    name = ""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.title = self.name


class OrganizationFilter(_NamedFilter):
    name = "organisation"


class ProviderFilter(_NamedFilter):
    name = "provider"


class ModelFilter(_NamedFilter):
    name = "model"


class _ChatPages(ReadOnlyAdmin[Chat]):
    """What the lists of chats share: how chats are found, shown and acted on."""

    list_select_related = ("owner", "organization", "last_model_config__ai_provider")
    list_disable_select_all = True
    atomic_actions = False
    ordering = ("-updated_at", "-id")
    search_fields = ("title",)
    search_help_text = "Words of the title, a person, or an id"
    fields = _ABOUT
    readonly_fields = _ABOUT

    # Finding

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Chat], search_term: str
    ) -> tuple[QuerySet[Chat], bool]:
        """Find by id, owner and title, each by an index: no text of a chat is gone through."""
        text = search_term.strip()
        if not text:
            return queryset, False
        if (found := canonical_uuid(text)) is not None:
            of_it = Q(pk=found) | Q(root_chat=found) | Q(owner=found)
            return queryset.filter(of_it), False
        return queryset.filter(Q(pk__in=chats_titled(text)) | Q(owner__in=_people(text))), False

    # What is shown

    @admin.display(description="Title")
    def title_shown(self, chat: Chat) -> str:
        return chat.title[:80] or "Without a title"

    @admin.display(description="State")
    def state(self, chat: Chat) -> str:
        archived = ", archived" if chat.archived else ""
        return f"{chat.get_status_display()}{archived}"

    @labelled("State", _COLOURS)
    def state_label(self, chat: Chat) -> tuple[str, str]:
        return chat.status, self.state(chat)

    @admin.display(description="Organisation", ordering="organization__name")
    def in_organization(self, chat: Chat) -> str:
        return str(chat.organization)

    @admin.display(description="Last change", ordering="updated_at")
    def changed(self, chat: Chat) -> str:
        return date_format(chat.updated_at, "DATETIME_FORMAT")

    @admin.display(description="Model")
    def of_model(self, chat: Chat) -> str:
        config = chat.last_model_config
        return f"{config} ({config.ai_provider or config.provider})"

    @admin.display(description="Last error")
    def went_wrong(self, chat: Chat) -> str:
        error = error_body(chat.last_error)
        if error is None:
            return "None"
        parts = [error["message"], error.get("detail", "")]
        if error.get("provider"):
            parts.append(f"Provider: {error['provider']}.")
        if error.get("status_code"):
            parts.append(f"It answered with status {error['status_code']}.")
        return " ".join(filter(None, parts))

    @admin.display(description="Cost so far")
    def cost(self, chat: Chat) -> SafeString:
        """Tell what the ledger has of the chat: its titles, labels and sub-chats too."""
        part = chat.pk if chat.root_chat_id else None
        cost = cost_of_chat(chat.root_chat_id or chat.pk, chat_id=part)
        words = f"${exact_dollars(cost.total.spent_micros)}"
        if len(cost.kinds) > 1:
            words += f" ({', '.join(map(_cost_of_kind, cost.kinds))})"
        if cost.total.unpriced:
            words += f", calls without a price: {cost.total.unpriced}"
        return format_html(
            '{} · <a class="page-link" href="{}">What it was spent on</a>',
            words,
            _spend_page(chat),
        )

    @admin.display(description="Go to")
    def links(self, chat: Chat) -> SafeString:
        audit = urlencode({"resource_type": "chat", "resource_id": str(chat.pk)})
        targets = [
            (f"/chats/{chat.pk}", "The chat"),
            (f"{reverse('admin:audit_auditentry_changelist')}?{audit}", "Its audit entries"),
            (f"/api/experimental/chats/{chat.pk}/debug/runs", "Recorded model calls (JSON)"),
        ]
        return format_html_join(" · ", '<a class="page-link" href="{}">{}</a>', targets)

    # What can be done

    @admin.action(description="Interrupt: stop what runs, keep what had come")
    def interrupt(self, request: HttpRequest, queryset: QuerySet[Chat]) -> None:
        actor = _acting(request)
        _each(self, request, queryset, "Interrupted", lambda key: interrupt_chat(actor, key))

    @admin.action(description="Archive, with sub-chats")
    def archive(self, request: HttpRequest, queryset: QuerySet[Chat]) -> None:
        _set_archived(self, request, queryset, archived=True)

    @admin.action(description="Unarchive, with sub-chats")
    def unarchive(self, request: HttpRequest, queryset: QuerySet[Chat]) -> None:
        _set_archived(self, request, queryset, archived=False)


@admin.register(Chat)
class ChatAdmin(_ChatPages):
    list_display = (
        "title_shown",
        "state_label",
        "owner",
        "in_organization",
        "of_model",
        "changed",
    )
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("archived", BooleanRadioFilter),
        ("organization", OrganizationFilter),
        ("last_model_config__ai_provider", ProviderFilter),
        ("last_model_config", ModelFilter),
    )
    actions = ("interrupt", "archive", "unarchive")


@admin.register(FailedTurn)
class FailedTurnAdmin(_ChatPages):
    """Chats whose last turn failed. A new message to a chat begins another turn."""

    list_display = (
        "failed",
        "title_shown",
        "owner",
        "of_model",
        "kind",
        "message",
        "retryable",
    )
    list_display_links = ("failed",)
    list_filter = (
        ("organization", OrganizationFilter),
        ("last_model_config__ai_provider", ProviderFilter),
        ("last_model_config", ModelFilter),
    )
    actions = ("archive",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(status=Status.ERROR)

    @admin.display(description="When", ordering="updated_at")
    def failed(self, chat: Chat) -> str:
        return date_format(chat.updated_at, "DATETIME_FORMAT")

    @labelled("Kind")
    def kind(self, chat: Chat) -> str:
        error = error_body(chat.last_error)
        return error["kind"].replace("_", " ") if error else ""

    @admin.display(description="What went wrong")
    def message(self, chat: Chat) -> SafeString:
        return format_html('<span class="page-words">{}</span>', self.went_wrong(chat))

    @admin.display(description="Retryable", boolean=True)
    def retryable(self, chat: Chat) -> bool:
        error = error_body(chat.last_error)
        return error is not None and error["retryable"]


def _cost_of_kind(line: Line) -> str:
    kind = CallKind(line.key).label.lower()
    return f"{kind} ${exact_dollars(line.sums.spent_micros)}"


def _spend_page(chat: Chat) -> str:
    """Return the address of what the chat cost since it began, as far as that page goes back."""
    first = max(chat.created_at, now() - timedelta(days=365)).astimezone(UTC).date()
    wanted = {"from": first.isoformat(), "chat": str(chat.root_chat_id or chat.pk), "by": "kind"}
    return f"{reverse('admin:spending_spend_changelist')}?{urlencode(wanted)}"


def _acting(request: HttpRequest) -> Actor:
    assert isinstance(request.user, User)
    return Actor(request.user)


def _people(text: str) -> list[UUID]:
    named = Q(username__istartswith=text) | Q(email__iexact=text) | Q(name__icontains=text)
    return list(User.objects.filter(named).values_list("pk", flat=True)[:MAX_OWNERS])


def _set_archived(
    page: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Chat], *, archived: bool
) -> None:
    actor = _acting(request)
    done = "Archived" if archived else "Unarchived"
    changes = ChatChanges(archived=archived)
    _each(page, request, queryset, done, lambda key: update_chat(actor, key, lambda: changes))


def _each(
    page: ModelAdmin[Any],
    request: HttpRequest,
    queryset: QuerySet[Chat],
    done: str,
    act: Callable[[UUID], object],
) -> None:
    """Act on each chosen chat by itself; a refusal is told with its title, the others go on."""
    count = 0
    for chat in queryset[: page.list_per_page]:
        try:
            act(chat.pk)
            count += 1
        except ChatdError as refusal:
            messages.error(request, f"“{chat.title[:80]}”: {sentence(refusal)}")
    if count:
        messages.success(request, f"{done} {count} {'chat' if count == 1 else 'chats'}.")
