"""One sign-in as the protocol has it: off to the provider, and back with proof of who somebody is.

The browser's session holds what binds the two: a state that is good once and for ten minutes, the
nonce, the secret of PKCE (S256), and where to go then. Nothing here touches people, and no
transaction is open while the provider is asked.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect

from chatd.accounts.oidc.claims import find_claim
from chatd.accounts.oidc.http import ProviderFailedError, ProviderRefusedError
from chatd.accounts.oidc.id_token import verified_claims
from chatd.accounts.oidc.provider import OpenIdProvider, ask, metadata
from chatd.accounts.oidc.refusals import ended_there, not_begun, unreachable, untrusted
from config.env import SingleSignOn


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider said of who signs in: verified claims, and tokens to act in their name."""

    claims: Mapping[str, Any] = field(repr=False)
    tokens: Mapping[str, Any] = field(repr=False)


def begin(
    request: HttpRequest, configured: SingleSignOn, *, callback_url: str, next_url: str
) -> HttpResponseRedirect:
    """Return the way to the provider. Raises SignInRefusedError."""
    provider = OpenIdProvider(request, configured, callback_url)
    metadata(configured)
    nonce = secrets.token_urlsafe(32)
    away: HttpResponseRedirect = provider.redirect(
        request, "login", next_url, auth_params={"nonce": nonce}, nonce=nonce
    )
    return away


def take_state(request: HttpRequest, configured: SingleSignOn) -> dict[str, Any]:
    """Return what this browser's session kept for the answer, once. Raises SignInRefusedError."""
    provider = OpenIdProvider(request, configured, "")
    try:
        state = provider.unstash_redirect_state(request, request.GET.get("state", ""))
    except PermissionDenied:
        raise not_begun() from None
    return dict(state)


def finish(
    request: HttpRequest, configured: SingleSignOn, state: Mapping[str, Any], *, callback_url: str
) -> Answer:
    """Return what the provider says, once it is known to be true. Raises SignInRefusedError."""
    if request.GET.get("iss", configured.issuer) != configured.issuer:
        raise untrusted("the answer comes from another provider")
    if "code" not in request.GET or "error" in request.GET:
        raise ended_there(request.GET.get("error", ""))
    provider = OpenIdProvider(request, configured, callback_url)
    tokens = _exchanged(provider, request, state["pkce_code_verifier"])
    claims = verified_claims(configured, tokens.get("id_token"), state["nonce"])
    return Answer(claims=_completed(configured, claims, tokens), tokens=tokens)


def _exchanged(provider: OpenIdProvider, request: HttpRequest, verifier: str) -> Mapping[str, Any]:
    adapter = provider.get_oauth2_adapter(request)
    client = adapter.get_client(request, provider.app)
    try:
        answer = adapter.get_access_token_data(
            request, provider.app, client, pkce_code_verifier=verifier
        )
    except ProviderFailedError as error:
        raise unreachable(f"token: {error}") from None
    except (OAuth2Error, requests.RequestException, TypeError, ValueError, RecursionError) as error:
        raise untrusted(f"token: {_told(error)}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
        raise untrusted("token: no access token")
    return answer


def _told(error: Exception) -> str:
    """Return what may be logged; other texts quote what the provider answered."""
    return str(error) if isinstance(error, ProviderRefusedError) else type(error).__name__


def _completed(
    configured: SingleSignOn, claims: dict[str, Any], tokens: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the claims with those that the provider tells only when asked; signed ones win."""
    wanted = [configured.email_claim, configured.username_claim, configured.name_claim]
    wanted += [name for name in ("email_verified", configured.groups_claim) if name]
    url = metadata(configured).get("userinfo_endpoint")
    if not isinstance(url, str) or all(find_claim(claims, name) is not None for name in wanted):
        return claims
    more = dict(ask(url, tokens["access_token"]))
    if more.get("sub") != claims["sub"]:
        raise untrusted("userinfo is about somebody else")
    if "email" in claims and more.get("email") != claims["email"]:
        more.pop("email_verified", None)  # it speaks of another address
    return {**more, **claims}
