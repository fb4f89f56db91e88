"""The usage limits in the administration: one page with every limit, and who is near theirs."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse

from chatd.accounts.actor import Actor
from chatd.accounts.models import Group, User
from chatd.accounts.selectors import member_counts
from chatd.core.action_admin import PageAdmin
from chatd.providers.prices import count_unpriced_models
from chatd.spending.amounts import exact_dollars
from chatd.spending.forms import GroupOverrideForm, LimitForm, OverrideForm, name_of
from chatd.spending.models import UsageLimitConfig
from chatd.spending.selectors import list_group_overrides, list_user_overrides, usage_limit
from chatd.spending.standings import list_standings

SUGGESTIONS = 10

_OVERRIDES: dict[str, type[OverrideForm]] = {"person": OverrideForm, "group": GroupOverrideForm}


@dataclass(frozen=True, slots=True)
class Row:
    """Somebody who has a limit of their own, and the form that changes it."""

    name: str
    about: str
    form: OverrideForm


@admin.register(UsageLimitConfig)
class UsageLimitAdmin(PageAdmin[UsageLimitConfig]):
    template = "admin/usage_limits.html"

    def get_urls(self) -> list[URLPattern]:
        suggest = self.admin_site.admin_view(self.suggest)
        return [path("suggest/", suggest, name="usage_limit_suggest"), *super().get_urls()]

    def page(self, request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return self._show(request)
        if not self.may_change(request):
            raise PermissionDenied
        assert isinstance(request.user, User)
        actor, whose = Actor(request.user), request.POST.get("whose", "")
        if whose not in _OVERRIDES:
            limit = LimitForm(request.POST)
            if limit.is_valid() and limit.store(actor):
                return self._done(request, "The limit was saved.")
            return self._show(request, limit=limit)
        form = _OVERRIDES[whose](request.POST, prefix=request.POST.get("prefix") or None)
        valid = form.is_valid()
        if "remove" in request.POST:
            if form.remove(actor):
                return self._done(request, "The limit was taken away.")
        elif valid and form.store(actor):
            return self._done(request, "The limit was saved.")
        return self._show(request, refused=form)

    def _done(self, request: HttpRequest, words: str) -> HttpResponse:
        """Say so, and lead back: to the page of what was spent where the form was sent from it."""
        messages.success(request, words)
        spend, wanted = reverse("admin:spending_spend_changelist"), request.POST.get("next")
        return redirect(wanted if wanted and wanted.startswith(f"{spend}?") else request.path)

    def _show(
        self,
        request: HttpRequest,
        *,
        limit: LimitForm | None = None,
        refused: OverrideForm | None = None,
    ) -> HttpResponse:
        stored = usage_limit()
        people, groups = list_user_overrides(), list_group_overrides()
        counts = member_counts(groups)
        context = {
            "stored": stored,
            "limit": limit or LimitForm.showing(stored),
            "unpriced": count_unpriced_models(),
            "people": [_row(each, each.name, refused) for each in people],
            "groups": [_row(each, _members(counts.get(each.pk, 0)), refused) for each in groups],
            "new_person": _new(OverrideForm, people, refused, request.GET.get("person")),
            "new_group": _new(GroupOverrideForm, groups, refused, request.GET.get("group")),
            "standings": list_standings(),
        }
        return self.render(request, "Usage limits", context)

    def suggest(self, request: HttpRequest) -> HttpResponse:
        """Answer with people or groups whose names begin with what was written so far."""
        if not self.may_change(request):
            raise PermissionDenied
        text = request.GET.get("q", "").strip()
        if request.GET.get("whose") == "group":
            found: list[Any] = _groups_like(text)
        else:
            found = _people_like(text)
        rows = [{"value": name_of(each), "label": _label(each)} for each in found]
        return JsonResponse(rows, safe=False)


def _row(holder: User | Group, about: str, refused: OverrideForm | None) -> Row:
    """Return the row of somebody; with the refusal when that was about them."""
    prefix = str(holder.pk)
    if refused is not None and refused.prefix == prefix:
        return Row(str(holder), about, refused)
    form = GroupOverrideForm if isinstance(holder, Group) else OverrideForm
    amount = exact_dollars(holder.chat_spend_limit_micros or 0)
    initial = {"holder": name_of(holder), "amount": amount}
    return Row(str(holder), about, form(prefix=prefix, initial=initial))


def _new(
    form: type[OverrideForm],
    listed: list[Any],
    refused: OverrideForm | None,
    wanted: str | None,
) -> OverrideForm:
    """Return the form for a new limit: the refused one, unless its row shows it.

    `wanted` is whose name is filled in.
    """
    rows = {str(each.pk) for each in listed}
    if refused is not None and type(refused) is form and refused.prefix not in rows:
        return refused
    return form(auto_id=f"id_{form.__name__}_%s", initial={"holder": wanted or ""})


def _members(count: int) -> str:
    return "1 member" if count == 1 else f"{count} members"


def _label(holder: User | Group) -> str:
    return str(holder) if isinstance(holder, Group) else holder.name or holder.email


def _people_like(text: str) -> list[User]:
    named = Q(username__istartswith=text) | Q(email__istartswith=text) | Q(name__istartswith=text)
    people = User.objects.live().filter(named, is_system=False)
    return list(people.order_by("username")[:SUGGESTIONS])


def _groups_like(text: str) -> list[Group]:
    name = text.rpartition("/")[2]
    named = Q(name__istartswith=name) | Q(display_name__istartswith=name)
    groups = Group.objects.filter(named, organization__deleted=False)
    return list(groups.select_related("organization").order_by("name", "pk")[:SUGGESTIONS])
