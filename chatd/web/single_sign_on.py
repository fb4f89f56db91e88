"""Sign-in with an identity provider: the button, and the way back. Without one both are 404."""

from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from chatd.accounts.backends import SingleSignOnBackend, count_attempt, count_departure
from chatd.accounts.models import User
from chatd.accounts.oidc.exchange import begin, finish, take_state
from chatd.accounts.oidc.people import sign_in_claimed
from chatd.accounts.oidc.provider import single_sign_on
from chatd.accounts.oidc.refusals import SignInRefusedError
from chatd.core.errors import not_found
from chatd.web.forms import SignInForm
from config.env import SingleSignOn

log = structlog.get_logger(__name__)

ATTEMPTS = "single sign-on"
"""What failed attempts are counted as beside the address: nobody can have this name."""

BACKEND = f"{SingleSignOnBackend.__module__}.{SingleSignOnBackend.__qualname__}"


@never_cache
@require_POST
def start(request: HttpRequest) -> HttpResponse:
    """Lead to the provider."""
    configured = _configured()
    count_departure(request)
    next_url = _own_url(request, request.POST.get("next", ""))
    try:
        return begin(request, configured, callback_url=_callback_url(request), next_url=next_url)
    except SignInRefusedError as refused:
        return _refused(request, refused, next_url)


@never_cache
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Sign in who comes back from the provider, and lead where they wanted to go."""
    configured = _configured()
    next_url = ""
    take_back = count_attempt(request, ATTEMPTS)
    try:
        state = take_state(request, configured)
        next_url = _own_url(request, state.get("next", ""))
        user = _signed_in(request, configured, state)
    except SignInRefusedError as refused:
        if refused.is_outage:
            take_back()
        return _refused(request, refused, next_url)
    take_back()
    login(request, user, backend=BACKEND)
    return redirect(next_url or settings.LOGIN_REDIRECT_URL)


def _signed_in(request: HttpRequest, configured: SingleSignOn, state: dict[str, Any]) -> User:
    answer = finish(request, configured, state, callback_url=_callback_url(request))
    return sign_in_claimed(configured, answer.claims, answer.tokens)


def _configured() -> SingleSignOn:
    configured = single_sign_on()
    if configured is None:
        raise not_found()
    return configured


def _callback_url(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("single_sign_on_callback"))


def _own_url(request: HttpRequest, url: object) -> str:
    """Return a URL of this site, blank for every other."""
    own = isinstance(url, str) and url_has_allowed_host_and_scheme(
        url, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return str(url) if own else ""


def _refused(request: HttpRequest, refused: SignInRefusedError, next_url: str) -> HttpResponse:
    """Return the sign-in page with the reason. The address bar may hold a code, which is spent."""
    log.warning("single sign-on refused", reason=refused.reason)
    context = {
        "form": SignInForm(request),
        "next": next_url,
        "refusal": refused,
        "single_sign_on": single_sign_on(),
    }
    return render(request, "web/login.html", context, status=refused.http_status)
