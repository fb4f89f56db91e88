"""Passwords that administrators set: typed, or made here and shown once.

One that is made here is in the answer to the form that asked for it and nowhere else: no session,
message or log has it. As with every page of the administration, no cache may keep the answer.
"""

import secrets
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from chatd.accounts.administration.base import acting, rights_on
from chatd.accounts.models import LoginType, User
from chatd.accounts.policy import SiteRight
from chatd.accounts.users import NewPassword, set_password
from chatd.core.admin_fields import PasswordInput, RadioSelect
from chatd.core.errors import ChatdError

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without letters and digits that are mistaken for each other."""

GENERATED = "generated"
TYPED = "typed"
HOW = [(GENERATED, "Make one and show it once"), (TYPED, "I type one")]


def generate_password() -> str:
    """Return a password of about 99 bits that can be read out: four groups of five."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(4))
    return "-".join(groups)


def password_field(label: str = "Password", **options: Any) -> forms.CharField:
    widget = PasswordInput(attrs={"autocomplete": "new-password"})
    return forms.CharField(label=label, strip=False, required=False, widget=widget, **options)


def how_field() -> forms.ChoiceField:
    return forms.ChoiceField(
        label="Password", choices=HOW, initial=GENERATED, required=False, widget=RadioSelect()
    )


class PasswordForm(forms.Form):
    """A new password for somebody; whoever sets their own says the old one."""

    how = how_field()
    password = password_field("New password", help_text="Needed when you type one.")
    old_password = password_field("Your password until now")

    def __init__(self, *args: Any, is_own: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if is_own:
            self.fields["old_password"].required = True
            self.fields["old_password"].widget.attrs["autocomplete"] = "current-password"
        else:
            del self.fields["old_password"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("how") == TYPED and not cleaned.get("password"):
            self.add_error("password", "Type the new password, or have one made.")
        return cleaned


def shown_once(
    request: HttpRequest, admin_context: dict[str, Any], *, person: User, password: str, title: str
) -> HttpResponse:
    """Return the page that shows a password, for this once."""
    context = {
        **admin_context,
        "title": title,
        "person": person,
        "password": password,
        "sign_in_at": request.build_absolute_uri(reverse("login")),
        "person_link": reverse("admin:accounts_user_change", args=[person.pk]),
        "groups_link": reverse("admin:accounts_user_groups", args=[person.pk]),
    }
    return TemplateResponse(request, "admin/people/password_shown.html", context)


def password_page(
    request: HttpRequest, admin_context: dict[str, Any], person: User | None
) -> HttpResponse:
    """Ask for a new password of a person, and set it."""
    if person is None:
        raise Http404
    if SiteRight.PERSONAL not in rights_on(request, person):
        raise PermissionDenied
    is_own = person.pk == request.user.pk
    form = PasswordForm(request.POST or None, is_own=is_own)
    if request.method == "POST" and form.is_valid():
        answer = _changed(request, admin_context, person, form)
        if answer is not None:
            return answer
    context = {
        **admin_context,
        "title": f"New password for {person}",
        "person": person,
        "form": form,
        "has_passwords": person.login_type == LoginType.PASSWORD,
        "is_own": is_own,
        "person_link": reverse("admin:accounts_user_change", args=[person.pk]),
    }
    return TemplateResponse(request, "admin/people/password.html", context)


def _changed(
    request: HttpRequest, admin_context: dict[str, Any], person: User, form: PasswordForm
) -> HttpResponse | None:
    """Set the password and go on; None when it was refused, which the form then says."""
    wanted = form.cleaned_data
    is_made = wanted["how"] != TYPED
    password = generate_password() if is_made else wanted["password"]
    request_of = NewPassword(password=password, old_password=wanted.get("old_password", ""))
    try:
        changed = set_password(acting(request), str(person.pk), lambda: request_of)
    except ChatdError as refusal:
        for each in refusal.validations:
            form.add_error(each.field if each.field in form.fields else None, each.detail)
        if not refusal.validations:
            form.add_error(None, refusal.message)
        return None
    if changed.pk == request.user.pk:
        update_session_auth_hash(request, changed)  # all other sessions end
    if is_made:
        title = f"The new password of {changed}"
        return shown_once(request, admin_context, person=changed, password=password, title=title)
    messages.success(request, f"{changed} has the new password; their other sessions have ended.")
    return redirect(reverse("admin:accounts_user_change", args=[changed.pk]))
