"""What the pages of people share: who acts, what they may do with whom, where they go next."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from chatd.accounts.actor import Actor
from chatd.accounts.models import User
from chatd.accounts.policy import SiteRight, rights_over

LIMITS = "spending.usagelimitconfig"
"""The page of spending limits: of a layer above, so it is named and not imported."""

_RIGHTS = "chatd_rights_over"


def acting(request: HttpRequest) -> Actor:
    """Return who sits in front of the page."""
    assert isinstance(request.user, User)
    return Actor(request.user)


def rights_on(request: HttpRequest, person: User) -> frozenset[SiteRight]:
    """Return which rights over a person the page may count on; read once for a request."""
    known: dict[Any, frozenset[SiteRight]] = request.__dict__.setdefault(_RIGHTS, {})
    if person.pk not in known:
        known[person.pk] = (
            frozenset() if person.deleted else rights_over(acting(request).user, person)
        )
    return known[person.pk]


def list_link(request: HttpRequest, label: str, **query: object) -> str:
    """Return the address of the list of `app.model`, narrowed to `query`.

    Empty for who may not see it, and where there is no such page.
    """
    app, name = label.split(".")
    is_there = admin.site.is_registered(apps.get_model(label))
    if not (is_there and acting(request).user.has_perm(f"{app}.view_{name}")):
        return ""
    address = reverse(f"admin:{app}_{name}_changelist")
    return f"{address}?{urlencode(query)}" if query else address


def goes_on(request: HttpRequest) -> bool:
    """Tell whether a form was saved plainly, so that the page may say what comes next."""
    return request.POST.keys().isdisjoint({"_continue", "_addanother", "_popup"})


def in_words(moment: datetime | None, *, never: str = "Never") -> str:
    """Return a moment as the pages of people write it."""
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC" if moment else never


def limit_in_words(micros: int | None) -> str:
    """Return a spending limit of somebody's own, or of a group's."""
    return "None set" if micros is None else f"${micros / 1_000_000:,.2f}"


def limit_link(request: HttpRequest, micros: int | None) -> list[tuple[str, str, str]]:
    """Return the way to the page of spending limits, as one of the links of a page."""
    return [("Spending limit", list_link(request, LIMITS), limit_in_words(micros))]


class DeletePage:
    """Mixed into a page whose deletion says what goes: `consequences` are sentences."""

    delete_confirmation_template: Any = "admin/people/delete.html"
    delete_label = "Delete"

    def consequences(self, row: Any) -> list[str]:
        raise NotImplementedError

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        more = {
            "consequences": self.consequences(context["object"]),
            "delete_label": self.delete_label,
            "question": self.delete_label.split()[0],
        }
        return super().render_delete_form(request, context | more)  # type: ignore[misc,no-any-return]
