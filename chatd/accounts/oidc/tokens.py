"""Tokens of an identity provider: kept encrypted, for calls in the name of their person."""

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import requests
import structlog
from django.db import transaction
from django.db.models import Q

from chatd.accounts.models import ExternalIdentity, LoginType, User
from chatd.accounts.oidc.http import TOTAL_SECONDS, ProviderSession
from chatd.accounts.oidc.provider import metadata, single_sign_on
from chatd.accounts.oidc.refusals import SignInRefusedError
from chatd.core.clock import now
from chatd.core.crypto import UndecryptableError
from chatd.core.errors import ChatdError
from chatd.core.fields import open_secret, seal
from chatd.core.threads import give_back_connections
from config.env import SingleSignOn

log = structlog.get_logger(__name__)

EARLY = timedelta(seconds=10)
"""A token that ends so soon is renewed before it is used."""

CLAIM_KEPT = timedelta(seconds=TOTAL_SECONDS + 5)
POLL_SECONDS = 0.1

MAX_TOKEN_CHARS = 16 * 1024
MAX_LIFETIME = timedelta(days=365)


def sealed_tokens(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of an identity that hold the tokens of a provider's answer.

    Without an encryption key nothing is kept: signing in does not depend on it.
    """
    try:
        sealed = {name: seal(_token(answer, name)) for name in ("access_token", "refresh_token")}
    except ChatdError:
        log.warning("tokens of the identity provider are not kept: there is no encryption key")
        sealed = {"access_token": "", "refresh_token": ""}
    return {**sealed, "token_expires_at": _end(answer.get("expires_in"))}


def oidc_token_for(user: User) -> str | None:
    """Return an access token of the provider that a person signed in with, None without one.

    One that ends is renewed, which asks the provider: call it outside of transactions. When that
    fails the old one is returned, as long as it lasts.
    """
    configured = single_sign_on()
    if configured is None or user.login_type != LoginType.OIDC or not user.is_active:
        return None
    identity = ExternalIdentity.objects.filter(user=user, issuer=configured.issuer).first()
    if identity is None or _lasts(identity, EARLY):
        return _opened(identity)
    if refresh_token := _opened(identity, "refresh_token"):
        if _claim(identity):
            renewed = _renewed(configured, refresh_token)
            _keep(identity, {"refresh_token": refresh_token, **renewed} if renewed else None)
        else:
            _wait_for_other(identity)
        identity.refresh_from_db()
    return _opened(identity) if _lasts(identity, timedelta(0)) else None


def _claim(identity: ExternalIdentity) -> bool:
    """Be the one who renews these tokens, for as long as that may take; False if another is."""
    at = now()
    rows = ExternalIdentity.objects.filter(pk=identity.pk, access_token=identity.access_token)
    free = rows.filter(Q(renewing_until=None) | Q(renewing_until__lt=at))
    return bool(free.update(renewing_until=at + CLAIM_KEPT))


def _wait_for_other(identity: ExternalIdentity) -> None:
    """Return when nobody renews the tokens any more, or it takes too long."""
    deadline = time.monotonic() + TOTAL_SECONDS
    claimed = ExternalIdentity.objects.filter(pk=identity.pk, renewing_until__gt=now())
    while claimed.exists() and time.monotonic() < deadline:
        give_back_connections()
        time.sleep(POLL_SECONDS)


def _lasts(identity: ExternalIdentity, longer_than: timedelta) -> bool:
    return identity.token_expires_at is None or identity.token_expires_at - longer_than > now()


def _opened(identity: ExternalIdentity | None, name: str = "access_token") -> str | None:
    """Return a stored token; None for one that is not there or cannot be read any more."""
    try:
        return open_secret(getattr(identity, name)) or None if identity else None
    except UndecryptableError:
        return None


def _renewed(configured: SingleSignOn, refresh_token: str) -> Mapping[str, Any] | None:
    """Return the provider's answer to a refresh token, None when it gives nothing for it."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    try:
        found = metadata(configured)
        methods = found.get("token_endpoint_auth_methods_supported")
        if isinstance(methods, list) and "client_secret_post" in methods:
            form |= {"client_id": configured.client_id, "client_secret": configured.client_secret}
            auth = None
        else:
            auth = (configured.client_id, configured.client_secret)
        with ProviderSession() as session:
            answer = session.post(found["token_endpoint"], data=form, auth=auth).json()
    except (SignInRefusedError, requests.RequestException, ValueError, RecursionError) as error:
        log.warning("a token of the identity provider is not renewed", error=type(error).__name__)
        return None
    return answer if isinstance(answer, dict) and _token(answer, "access_token") else None


def _keep(identity: ExternalIdentity, answer: Mapping[str, Any] | None) -> None:
    """Store renewed tokens, if there are any, and let others renew; a sign-in meanwhile wins."""
    renewed = sealed_tokens(answer) if answer else {}
    with transaction.atomic():
        rows = ExternalIdentity.objects.filter(pk=identity.pk, access_token=identity.access_token)
        rows.update(**renewed, renewing_until=None)


def _token(answer: Mapping[str, Any], name: str) -> str:
    token = answer.get(name)
    return token if isinstance(token, str) and len(token) <= MAX_TOKEN_CHARS else ""


def _end(seconds: Any) -> datetime | None:
    try:
        lifetime = timedelta(seconds=max(0.0, float(seconds)))
    except (TypeError, ValueError, OverflowError):
        return None
    return now() + min(lifetime, MAX_LIFETIME)
