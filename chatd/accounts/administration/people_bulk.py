"""What can be done with several people of the list at once.

Each of them is changed by the action that the API calls, with an entry in the audit log; who cannot
be changed is told of by name, and the others are changed all the same.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from chatd.accounts.actor import Actor
from chatd.accounts.administration.base import acting
from chatd.accounts.api_keys import delete_keys_of
from chatd.accounts.groups import GroupChanges, update_group
from chatd.accounts.models import Group, GroupSource, LoginType, OrganizationMember, User
from chatd.accounts.selectors import manageable_groups
from chatd.accounts.users import activate_user, set_login_type, suspend_user
from chatd.core.admin_fields import Select
from chatd.core.errors import ChatdError

MOST_AT_ONCE = 500
_NAMED = 10

if TYPE_CHECKING:
    Base = admin.ModelAdmin[User]
else:
    Base = object


class GroupForm(forms.Form):
    group = forms.ChoiceField(label="Group", widget=Select())

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = [group for group in manageable_groups(actor.user) if _takes_people(group)]
        self.by_id = {str(group.pk): group for group in groups}
        choices: dict[str, list[tuple[str, str]]] = {}
        for group in groups:
            choices.setdefault(str(group.organization), []).append((str(group.pk), str(group)))
        self.fields["group"].choices = [("", "Choose a group"), *choices.items()]  # type: ignore[attr-defined]


class PeopleActions(Base):
    """Actions of the list of people."""

    atomic_actions = False  # nobody else is to wait until the last of many is changed
    actions = (
        "suspend",
        "activate",
        "end_tokens",
        "add_to_group",
        "switch_to_single_sign_on",
        "switch_to_password",
    )

    @admin.action(description="Suspend…", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        text = "They cannot sign in any more; their API tokens, pages and open connections stop at"
        text += " once. Their chats stay, and activating them gives everything back."
        return self._confirmed(
            request,
            queryset,
            title="Suspend these people?",
            text=text,
            label="Suspend",
            name="suspend",
            change=lambda actor, person: suspend_user(actor, str(person.pk)),
            done="suspended",
        )

    @admin.action(description="Activate", permissions=["change"])
    def activate(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._change_each(
            request,
            queryset,
            lambda actor, person: activate_user(actor, str(person.pk)),
            "activated",
        )

    @admin.action(description="End all API tokens…", permissions=["change"])
    def end_tokens(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        text = "Every program that uses a token of theirs stops at once. Tokens cannot be brought"
        text += " back; new ones have to be made. Passwords and chats stay."
        return self._confirmed(
            request,
            queryset,
            title="End all API tokens of these people?",
            text=text,
            label="End the tokens",
            name="end_tokens",
            change=lambda actor, person: delete_keys_of(actor, str(person.pk)),
            done="without API tokens now",
        )

    @admin.action(
        description="Switch to single sign-on (passwords and sessions end)", permissions=["change"]
    )
    def switch_to_single_sign_on(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._switch(request, queryset, LoginType.OIDC, "switched to single sign-on")

    @admin.action(
        description="Switch to a password, which is set afterwards (sessions end)",
        permissions=["change"],
    )
    def switch_to_password(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        self._switch(request, queryset, LoginType.PASSWORD, "switched to a password")

    def _switch(
        self, request: HttpRequest, queryset: QuerySet[User], login_type: LoginType, done: str
    ) -> None:
        self._change_each(
            request,
            queryset,
            lambda actor, person: set_login_type(actor, str(person.pk), login_type),
            done,
        )

    @admin.action(description="Add to a group…", permissions=["change"])
    def add_to_group(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        if self._too_many(request, queryset):
            return None
        actor, is_confirmed = acting(request), "confirmed" in request.POST
        form = GroupForm(request.POST if is_confirmed else None, actor=actor)
        if is_confirmed and form.is_valid():
            group = form.by_id[form.cleaned_data["group"]]
            _add_all(request, actor, group, list(queryset))
            return None
        return _ask(
            self,
            request,
            queryset,
            title="Add these people to a group",
            text="Who is in the group already stays in it.",
            label="Add to the group",
            name="add_to_group",
            form=form,
        )

    def _confirmed(
        self,
        request: HttpRequest,
        queryset: QuerySet[User],
        *,
        change: Callable[[Actor, User], object],
        done: str,
        **page: str,
    ) -> HttpResponse | None:
        if self._too_many(request, queryset):
            return None
        if "confirmed" not in request.POST:
            return _ask(self, request, queryset, form=None, **page)
        self._change_each(request, queryset, change, done)
        return None

    def _change_each(
        self,
        request: HttpRequest,
        queryset: QuerySet[User],
        change: Callable[[Actor, User], object],
        done: str,
    ) -> None:
        if self._too_many(request, queryset):
            return
        actor, changed, refused = acting(request), 0, []
        for person in list(queryset):
            try:
                change(actor, person)
                changed += 1
            except ChatdError as refusal:
                refused.append(f"{person}: {refusal.detail or refusal.message}")
        if changed:
            messages.success(request, f"{_people(changed)} {done}.")
        for line in refused[:_NAMED]:
            messages.error(request, line)
        if len(refused) > _NAMED:
            messages.error(request, f"And {len(refused) - _NAMED} more could not be changed.")

    def _too_many(self, request: HttpRequest, queryset: QuerySet[User]) -> bool:
        chosen = queryset.count()
        if chosen > MOST_AT_ONCE:
            advice = f"You chose {chosen}; at most {MOST_AT_ONCE} can be changed at once."
            messages.error(request, f"{advice} Narrow the list by a search or a filter.")
        return chosen > MOST_AT_ONCE


def _ask(
    page: admin.ModelAdmin[User],
    request: HttpRequest,
    queryset: QuerySet[User],
    *,
    title: str,
    text: str,
    label: str,
    name: str,
    form: forms.Form | None,
) -> HttpResponse:
    """Return the page that asks whether it is meant, with whom it is about."""
    count = queryset.count()
    context = {
        **page.admin_site.each_context(request),
        "title": title,
        "text": text,
        "label": label,
        "action": name,
        "form": form,
        "variant": "primary" if form else "danger",
        "count": count,
        "people": list(queryset[:_NAMED]),
        "more": max(count - _NAMED, 0),
        "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
        "across": request.POST.get("select_across", "0"),
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "admin/people/confirm.html", context)


def _add_all(request: HttpRequest, actor: Actor, group: Group, people: Sequence[User]) -> None:
    """Add those who may be in the group, and name those who may not. Raises ChatdError."""
    joined = set(
        OrganizationMember.objects.filter(
            organization=group.organization_id, user__in=people
        ).values_list("user_id", flat=True)
    )
    known: set[UUID] = set(group.memberships.values_list("user_id", flat=True))
    added = [person for person in people if person.pk in joined - known]
    outside = [str(person) for person in people if person.pk not in joined]
    if added:
        changes = GroupChanges(add_users=[str(person.pk) for person in added])
        update_group(actor, group.pk, lambda: changes)
    messages.success(request, f"{_people(len(added))} added to {group}.")
    if outside:
        names = ", ".join(outside[:_NAMED]) + (" and more" if len(outside) > _NAMED else "")
        where = f"not in the organisation {group.organization}, so not in its groups: {names}."
        messages.warning(request, f"{_people(len(outside))} {where}")


def _takes_people(group: Group) -> bool:
    return not group.is_everyone and group.source == GroupSource.USER


def _people(count: int) -> str:
    return "1 person is" if count == 1 else f"{count} people are"
