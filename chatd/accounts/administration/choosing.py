"""Pages on which many are put into something, or taken out: searched, in pages, by checkboxes.

They work without scripts, and show a page of rows however many there are.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db import transaction
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from chatd.accounts.actor import Actor
from chatd.accounts.administration.base import acting
from chatd.core.action_admin import tell
from chatd.core.errors import ChatdError

PER_PAGE = 50

T = TypeVar("T", bound=Model)


@dataclass(frozen=True, slots=True)
class Row:
    """One line: `cells` are what stands beside its name."""

    id: str
    name: str
    link: str
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Words:
    """What the page calls what it is about; `note` is shown above it."""

    title: str
    inside: str
    add: str
    remove: str
    note: str = ""
    empty: str = "Nobody yet."
    all_in: str = "There is nobody to add."
    columns: Sequence[str] = ()
    search: str = "Name, user name or e-mail address"


class ChoicePage(ABC, Generic[T]):
    """A page of one thing, `of`: who or what is in it, and who or what could be."""

    search_fields: ClassVar[Sequence[str]]
    search_outside: ClassVar[Sequence[str]] = ()
    """Those of what could be put in, where they are named otherwise."""

    def __init__(self, actor: Actor, of: T) -> None:
        self.actor = actor
        self.of = of

    # What a page of its kind says

    @abstractmethod
    def words(self) -> Words: ...

    @abstractmethod
    def may_change(self) -> bool: ...

    @abstractmethod
    def inside(self) -> QuerySet[Any]:
        """Return the rows that are in it, in their order."""

    @abstractmethod
    def outside(self) -> QuerySet[Any]:
        """Return the rows that could be put into it, in their order."""

    @abstractmethod
    def row(self, found: Any) -> Row: ...

    @abstractmethod
    def add(self, ids: Sequence[str]) -> None: ...

    @abstractmethod
    def remove(self, ids: Sequence[str]) -> None: ...

    @abstractmethod
    def back(self) -> tuple[str, str]:
        """Return the label and the address of the page this one belongs to."""

    # The page

    @classmethod
    def answer(
        cls, request: HttpRequest, page: "admin.ModelAdmin[Any]", of: T | None
    ) -> HttpResponse:
        """Show the page, or carry out what its form asks for."""
        if of is None:
            raise Http404
        if not page.has_view_permission(request):
            raise PermissionDenied
        shown = cls(acting(request), of)
        if request.method == "POST":
            return shown._carry_out(request)
        return shown._render(request, page)

    def _render(self, request: HttpRequest, page: "admin.ModelAdmin[Any]") -> HttpResponse:
        words, may_change = self.words(), self.may_change()
        adds = may_change and "add" in request.GET
        query = request.GET.get("q", "").replace("\x00", "").strip()
        found = self.outside() if adds else self.inside()
        fields = (adds and self.search_outside) or self.search_fields
        rows = Paginator(_searched(found, fields, query), PER_PAGE)
        shown = rows.get_page(request.GET.get("page"))
        context = {
            **page.admin_site.each_context(request),
            "title": words.title,
            "words": words,
            "adds": adds,
            "may_change": may_change,
            "query": query,
            "rows": [self.row(each) for each in shown],
            "page": shown,
            "previous": _address(shown, -1, query, adds=adds),
            "next": _address(shown, 1, query, adds=adds),
            "back": self.back(),
        }
        return TemplateResponse(request, "admin/people/choose.html", context)

    def _carry_out(self, request: HttpRequest) -> HttpResponse:
        if not self.may_change():
            raise PermissionDenied
        ids, adds = request.POST.getlist("chosen"), "add" in request.GET
        if not ids:
            messages.warning(request, "Nothing was chosen; tick a box first.")
            return redirect(request.get_full_path())
        try:
            with transaction.atomic():
                (self.add if adds else self.remove)(ids)
        except ChatdError as refusal:
            tell(request, refusal)
        else:
            messages.success(request, f"{len(ids)} {'added' if adds else 'removed'}.")
        return redirect(request.get_full_path())


def _searched(found: QuerySet[Any], fields: Sequence[str], query: str) -> QuerySet[Any]:
    if not query:
        return found
    return found.filter(reduce(or_, (Q(**{f"{field}__icontains": query}) for field in fields)))


def _address(shown: "Page[Any]", step: int, query: str, *, adds: bool) -> str:
    """Return the address of the page before or after; empty when there is none."""
    there = shown.has_next() if step > 0 else shown.has_previous()
    if not there:
        return ""
    parameters = {"page": str(shown.number + step)}
    parameters |= {"q": query} if query else {}
    return "?" + urlencode(parameters | ({"add": "1"} if adds else {}))
