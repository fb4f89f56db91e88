"""The base of every page of the administration: what is typed is stored by actions alone.

Belongs here: what all those pages share. Who may open which is `accounts.policy.ADMINISTRATION`,
asked through `User.has_perm`. Does not belong here: what a single page shows or stores.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.admin.options import ShowFacets
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from chatd.core.errors import ChatdError, Validation
from chatd.core.paging import BoundedPaginator

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
else:
    from unfold.admin import ModelAdmin, TabularInline

__all__ = [
    "ActionAdmin",
    "PageAdmin",
    "ReadOnlyAdmin",
    "TabularInline",
    "hold",
    "labelled",
    "sentence",
    "tell",
    "tell_how_many",
]

M = TypeVar("M", bound=Model)
F = TypeVar("F", bound=Callable[..., Any])

_REFUSAL = "chatd_refusal"
_HELD = "chatd_held"


class ActionAdmin(ModelAdmin[M]):
    """A page whose `save_model` and `delete_model` call actions.

    What an action refuses is undone whole and told of: in the form, next to the field it names and
    with all that was typed, or above the list. `form_fields` renames the fields of refusals, which
    are those of the API, to those of the form.
    """

    form_fields: dict[str, str] = {}
    atomic_actions = True
    """Is an action of the list all or nothing? If not, it tells of each refusal itself."""
    warn_unsaved_form = True
    list_filter_submit = True
    compressed_fields = False
    show_full_result_count = False
    show_facets = ShowFacets.NEVER  # each would count the whole table
    list_per_page = 50
    paginator = BoundedPaginator

    # Saving

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        # What was done is in the audit log, which not everybody here may read.
        reads_log = request.user.has_perm("audit.view_auditentry")
        extra_context = {"show_history": reads_log} | (extra_context or {})
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ChatdError as refusal:
            # Everything was undone. The same form is judged again, with the refusal in it.
            setattr(request, _REFUSAL, refusal)
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(
        self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm[M]]:
        form = super().get_form(request, obj, change, **kwargs)
        if refusal := getattr(request, _REFUSAL, None):
            return _refused(form, refusal, self.form_fields)
        return _held(form) if getattr(request, _HELD, False) else form

    # Deleting, and actions on a list

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            return super().delete_view(request, object_id, extra_context)
        except ChatdError as refusal:
            tell(request, refusal)
            return redirect(request.path.removesuffix("delete/") + "change/")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> Any:
        if request.method != "POST":
            return super().changelist_view(request, extra_context)
        try:
            with transaction.atomic() if self.atomic_actions else nullcontext():
                return super().changelist_view(request, extra_context)
        except ChatdError as refusal:
            tell(request, refusal)
            return redirect(request.get_full_path())

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Name what is deleted, not what the database would cascade to: actions decide that."""
        objects = list(objs)
        name = self.opts.verbose_name_plural
        return [str(each) for each in objects], {str(name): len(objects)}, set(), []

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for each in queryset:
            self.delete_model(request, each)

    # What was done is in the audit log, once

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """Write nothing here."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """Write nothing here."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:  # type: ignore[override]
        """Write nothing here."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        query = urlencode({"resource_id": object_id})
        return redirect(f"{reverse('admin:audit_auditentry_changelist')}?{query}")


class ReadOnlyAdmin(ActionAdmin[M]):
    """A page to look at; what can be done there are actions of its list."""

    warn_unsaved_form = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


def hold(request: HttpRequest) -> None:
    """Have the form of this request come back as it was filled in, with nothing stored."""
    setattr(request, _HELD, True)


class PageAdmin(ReadOnlyAdmin[M]):
    """A page of its own where others have a list: it has the list's address and rights.

    `page` answers GET and POST; no single row can be opened.
    """

    template = ""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name=f"{name}_changelist")]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self.page(request)

    def may_change(self, request: HttpRequest) -> bool:
        """Tell whether what is on the page may be changed, not only seen."""
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    def page(self, request: HttpRequest) -> HttpResponse:
        """Answer a request for the page."""
        raise NotImplementedError

    def render(
        self, request: HttpRequest, title: str, context: dict[str, Any], status: int = 200
    ) -> TemplateResponse:
        """Return the page in the frame of the administration."""
        whole = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "may_change": self.may_change(request),
            **context,
        }
        return TemplateResponse(request, self.template, whole, status=status)


def tell(request: HttpRequest, refusal: ChatdError) -> None:
    """Show a refusal on the next page."""
    messages.error(request, sentence(refusal))


def tell_how_many(request: HttpRequest, queryset: QuerySet[M], done: str) -> None:
    """Say on the next page what an action did to what was chosen, `done` being a participle."""
    count, names = queryset.count(), queryset.model._meta
    name = names.verbose_name if count == 1 else names.verbose_name_plural
    messages.success(request, f"{count} {name} {done}.")


def _words(refused: Validation) -> str:
    words = refused.advice or refused.detail
    return f"{words[:1].upper()}{words[1:]}"


def labelled(description: str, colours: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Show a column as a label; with `colours`, by the first of the pair that it returns."""

    def decorate(function: F) -> F:
        setattr(function, "short_description", description)  # noqa: B010 - functions have no such
        setattr(function, "label", True if colours is None else dict(colours))  # noqa: B010
        return function

    return decorate


def sentence(refusal: ChatdError) -> str:
    """Return all that a refusal says, for people."""
    details = [_words(each) for each in refusal.validations] or [refusal.detail]
    return " ".join(filter(None, [refusal.message, *details]))


def _refused(
    form: type[forms.ModelForm[M]], refusal: ChatdError, names: dict[str, str]
) -> type[forms.ModelForm[M]]:
    class Refused(form):  # type: ignore[valid-type,misc]
        def full_clean(self) -> None:
            super().full_clean()
            if not self.is_bound:
                return
            for each in refusal.validations:
                name = names.get(each.field, each.field)
                self.add_error(name if name in self.fields else None, _words(each))
            if not refusal.validations:
                self.add_error(None, sentence(refusal))

    return Refused


def _held(form: type[forms.ModelForm[M]]) -> type[forms.ModelForm[M]]:
    class Held(form):  # type: ignore[valid-type,misc]
        def is_valid(self) -> bool:
            return False

    return Held
