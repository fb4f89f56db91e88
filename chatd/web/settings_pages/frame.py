"""What all pages of settings share: the way between them, and how a form is answered."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from chatd.accounts.actor import Actor, acting
from chatd.core.errors import ChatdError, ErrorCode, bad_request
from chatd.web.settings_pages.forms import Form, anchor_of, refused

View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Place:
    """A page of settings, by the name of its route."""

    route: str
    label: str


PLACES: Sequence[Place] = (
    Place("settings", "Profile"),
    Place("settings_tokens", "API tokens"),
    Place("settings_keys", "Provider keys"),
    Place("settings_chats", "Chats"),
    Place("settings_spending", "Spending"),
    Place("settings_tools", "MCP servers"),
)
"""All pages of settings, as the way between them shows them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a person stands with something on the page, in words.

    `mark` is the state in short; `tone` is error, done or empty.
    """

    mark: str
    says: str
    tone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A form that was sent and refused; `blamed` is the field of reasons that name none."""

    name: str
    refusal: ChatdError
    blamed: str = ""


def settings_view(view: View) -> View:
    """Declare a page of settings: for who is signed in, with forms that may hold secrets."""
    signed_in: View = login_required(view)
    guarded: View = sensitive_post_parameters()(signed_in)
    return require_http_methods(["GET", "HEAD", "POST"])(guarded)


def answer_form(
    request: HttpRequest,
    acts: Mapping[str, Callable[[Actor, HttpRequest], str]],
    show: Callable[..., HttpResponse],
    *,
    route: str,
    blamed: Mapping[str, str],
) -> HttpResponse:
    """Run the action of the form that was sent, then lead back to the page.

    `acts` has, by the name of the form, what to do; it returns what is said about it. `blamed` has
    the field of a form that is to blame for reasons that name none.
    """
    name = request.POST.get("form", "")
    act = acts.get(name.partition(":")[0])
    if act is None:
        raise bad_request("This form is not known.", detail="Load the page again, then send it.")
    try:
        said = act(acting(request), request)
    except ChatdError as error:
        if error.code is ErrorCode.NOT_FOUND:
            raise
        field = blamed.get(name.partition(":")[0], "")
        return show(request, Refused(name=name, refusal=error, blamed=field))
    messages.success(request, said, extra_tags=name)
    return redirect(f"{reverse(route)}#{anchor_of(name)}")


class Shown:
    """Puts on the forms of a page what was said about the last one: that it was done, or not."""

    def __init__(self, request: HttpRequest, last: Refused | None) -> None:
        self._request = request
        self._last = last
        self._is_placed = False
        self._done = {each.extra_tags: str(each) for each in messages.get_messages(request)}

    def form(self, form: Form) -> Form:
        if self._last is not None and self._last.name == form.name:
            self._is_placed = True
            posted, refusal = self._request.POST, self._last.refusal
            return refused(form, posted, refusal, blamed=self._last.blamed)
        return replace(form, done=self._done.pop(form.name, ""))

    def render(self, template: str, route: str, context: dict[str, Any]) -> HttpResponse:
        """Return the page; what is said about a form that is not on it any more stands above."""
        last = self._last
        shown = context | {
            "places": PLACES,
            "here": route,
            "said": list(self._done.values()),
            "failed": last.refusal if last else None,
            "refusal": last.refusal if last and not self._is_placed else None,
        }
        status = last.refusal.http_status if last else 200
        path = f"web/settings/{template}.html"
        response = render(self._request, path, shown, status=status)
        for name, value in (last.refusal.headers if last else {}).items():
            response.headers[name] = value
        return response
