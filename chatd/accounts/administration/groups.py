"""The pages of groups."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.db.models.functions import Lower
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse

from chatd.accounts.administration.base import (
    DeletePage,
    acting,
    goes_on,
    limit_in_words,
    limit_link,
)
from chatd.accounts.administration.member_pages import GroupMembersPage
from chatd.accounts.administration.people_filters import GroupOrganizationFilter
from chatd.accounts.groups import GroupChanges, create_group, delete_group, update_group
from chatd.accounts.models import Group, GroupSource, Organization
from chatd.accounts.selectors import member_counts
from chatd.core.action_admin import ActionAdmin
from chatd.core.admin_fields import Select

_PLAIN = ("name", "display_name", "avatar_url")
_FIXED = ("where", "members_from", "spend_limit")


class GroupForm(ModelForm[Group]):
    class Meta:
        model = Group
        fields = _PLAIN
        labels = {"avatar_url": "Picture"}
        help_texts = {
            "name": "Up to 36 letters, digits and single dashes, as in research-team.",
            "display_name": "What people see. Empty: the name.",
            "avatar_url": "Address of a picture; may be left empty.",
        }

    def _get_validation_exclusions(self) -> set[str]:
        """The action says in words what is taken."""
        return super()._get_validation_exclusions() | {"name"}  # type: ignore[no-any-return,misc]


class NewGroupForm(GroupForm):
    organization = forms.ModelChoiceField(
        Organization.objects.filter(deleted=False).order_by("name"),
        label="Organisation",
        empty_label=None,
        widget=Select(),
        help_text="Only its members can be in the group.",
    )


class GroupList(ChangeList):
    """Groups, with how many people are in each of the page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        groups = list(self.result_list)
        counts = member_counts(groups)
        for group in groups:
            group.member_count = counts.get(group.pk, 0)
        self.result_list = groups


@admin.register(Group)
class GroupAdmin(DeletePage, ActionAdmin[Group]):
    form = GroupForm
    list_display = ("shown_name", "where", "members", "members_from", "spend_limit")
    list_filter = ("source", GroupOrganizationFilter)
    list_filter_submit = False
    show_facets = admin.ShowFacets.NEVER
    list_select_related = ("organization",)
    search_fields = ("name", "display_name")
    search_help_text = "Name of a group"
    sortable_by = ()
    ordering = ("organization__name", Lower("name"))
    change_form_template = "admin/people/person.html"
    delete_label = "Delete this group"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).filter(organization__deleted=False)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return GroupList

    @admin.display(description="Group")
    def shown_name(self, group: Group) -> str:
        return str(group)

    @admin.display(description="Members")
    def members(self, group: Group) -> int:
        return int(getattr(group, "member_count", 0))

    @admin.display(description="Members come from")
    def members_from(self, group: Group) -> str:
        if group.is_everyone:
            return "All of the organisation"
        return str(GroupSource(group.source).label)

    @admin.display(description="Organisation")
    def where(self, group: Group) -> str:
        return str(group.organization)

    @admin.display(description="Spending limit")
    def spend_limit(self, group: Group) -> str:
        return limit_in_words(group.chat_spend_limit_micros)

    # What can be changed

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        fixed = obj is not None and obj.is_everyone
        return super().has_change_permission(request, obj) and not fixed

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        fixed = obj is not None and obj.is_everyone
        return super().has_delete_permission(request, obj) and not fixed

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("organization", *_PLAIN)
        return (*_PLAIN, *_FIXED)

    def get_readonly_fields(
        self, request: HttpRequest, obj: Group | None = None
    ) -> tuple[str, ...]:
        return _FIXED if obj else ()

    def get_form(self, request: HttpRequest, obj: Group | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        kwargs["form"] = GroupForm if obj else NewGroupForm
        return super().get_form(request, obj, **kwargs)

    def save_model(self, request: HttpRequest, obj: Group, form: Any, change: bool) -> None:
        changes = GroupChanges(**{name: form.cleaned_data[name] for name in _PLAIN})
        if change:
            update_group(acting(request), obj.pk, lambda: changes)
        else:
            named = str(form.cleaned_data["organization"].pk)
            obj.pk = create_group(acting(request), named, lambda: changes).pk

    def response_add(
        self, request: HttpRequest, obj: Group, post_url_continue: str | None = None
    ) -> HttpResponse:
        answer = super().response_add(request, obj, post_url_continue)
        if goes_on(request):
            here = reverse("admin:accounts_group_members", args=[obj.pk])
            return redirect(f"{here}?add=1")
        return answer

    def consequences(self, row: Group) -> list[str]:
        return [
            "Its members stay; they are only no longer in it.",
            "Chats that were shared with it are shared with it no more.",
            "Its spending limit goes with it.",
        ]

    def delete_model(self, request: HttpRequest, obj: Group) -> None:
        delete_group(acting(request), obj.pk)

    # The other pages of a group

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.members_view)
        own = path("<uuid:pk>/members/", view, name="accounts_group_members")
        return [own, *super().get_urls()]

    def members_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        found = self.get_queryset(request).select_related("organization").filter(pk=pk).first()
        return GroupMembersPage.answer(request, self, found)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if (group := kwargs.get("obj")) is not None:
            count = member_counts([group]).get(group.pk, 0)
            here = reverse("admin:accounts_group_members", args=[group.pk])
            members = f"{count}; see them" if group.is_everyone else f"{count}; add and remove them"
            limit = limit_link(request, group.chat_spend_limit_micros)
            context["links"] = [("Members", here, members), *limit]
        return super().render_change_form(request, context, *args, **kwargs)
