"""The configured provider as allauth knows one: its address book, and the client that asks it."""

import threading
import time
from collections.abc import Mapping
from typing import Any

import requests
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import HttpRequest

from chatd.accounts.oidc.http import ProviderFailedError, ProviderSession
from chatd.accounts.oidc.refusals import unreachable, untrusted
from config.env import SingleSignOn, env, is_safe_url

DOCUMENT_SECONDS = 600.0
"""How long what a provider publishes about itself is believed without asking again."""

REFETCH_SECONDS = 5.0
"""Keys that are unknown are looked for no more often than that."""

NEEDED_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


def single_sign_on() -> SingleSignOn | None:
    """Return the provider of this deployment, if it has one."""
    return env.single_sign_on


class SignInAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    def get_requests_session(self) -> ProviderSession:
        return ProviderSession()


class OpenIdAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """Answers from the configuration alone, where allauth would ask the database."""

    def __init__(self, request: HttpRequest, provider: "OpenIdProvider") -> None:
        super().__init__(request, provider.app.provider_id)
        self._provider = provider

    def get_provider(self) -> "OpenIdProvider":
        return self._provider

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        return self._provider.callback_url

    @property
    def openid_config(self) -> dict[str, Any]:
        return dict(metadata(self._provider.configured))

    @property
    def basic_auth(self) -> bool:
        """Say how the client names itself; a provider that does not say takes the standard way."""
        methods = self.openid_config.get("token_endpoint_auth_methods_supported")
        return not isinstance(methods, list) or "client_secret_post" not in methods


class OpenIdProvider(OpenIDConnectProvider):  # type: ignore[misc]
    """The provider within one request."""

    pkce_enabled_default = True
    oauth2_adapter_class = OpenIdAdapter

    def __init__(self, request: HttpRequest, configured: SingleSignOn, callback_url: str) -> None:
        self.configured = configured
        self.callback_url = callback_url
        app = SocialApp(
            provider=self.id,
            provider_id="oidc",
            name=configured.label,
            client_id=configured.client_id,
            secret=configured.client_secret,
            settings={"scope": list(configured.scopes)},
        )
        super().__init__(request, app)

    def get_oauth2_adapter(self, request: HttpRequest) -> OpenIdAdapter:
        return OpenIdAdapter(request, self)


# what the provider publishes

_documents: dict[str, tuple[float, Mapping[str, Any]]] = {}
_lock = threading.Lock()


def metadata(configured: SingleSignOn) -> Mapping[str, Any]:
    """Return what the provider says of itself. Raises SignInRefusedError."""
    url = f"{configured.issuer.rstrip('/')}/.well-known/openid-configuration"
    found = published(url, older_than=DOCUMENT_SECONDS)
    if found.get("issuer") != configured.issuer:
        raise untrusted("the provider calls itself otherwise than CHATD_OIDC_ISSUER")
    for name in NEEDED_ENDPOINTS:
        if not isinstance(found.get(name), str) or not is_safe_url(found[name]):
            raise untrusted(f"the provider has no safe {name}")
    return found


def keys(configured: SingleSignOn, *, older_than: float = DOCUMENT_SECONDS) -> list[dict[str, Any]]:
    """Return the public keys of the provider, as JWKs. Raises SignInRefusedError."""
    found = published(metadata(configured)["jwks_uri"], older_than=older_than).get("keys")
    return [key for key in found if isinstance(key, dict)] if isinstance(found, list) else []


def published(url: str, *, older_than: float) -> Mapping[str, Any]:
    """Return a JSON object, one that was asked for within so many seconds if there is one.

    Raises SignInRefusedError.
    """
    with _lock:
        fetched_at, document = _documents.get(url, (0.0, {}))
    if document and time.monotonic() - fetched_at < older_than:
        return document
    document = ask(url)
    with _lock:
        _documents[url] = (time.monotonic(), document)
    return document


def forget_documents() -> None:
    """Ask anew for everything at the next sign-in."""
    with _lock:
        _documents.clear()


def ask(url: str, token: str = "") -> Mapping[str, Any]:
    """Return the JSON object at a URL of the provider. Raises SignInRefusedError."""
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        with ProviderSession() as session:
            answer = session.get(url, headers=headers).json()
    except ProviderFailedError as error:
        raise unreachable(str(error)) from None
    except (requests.RequestException, ValueError, RecursionError) as error:
        raise untrusted(f"no usable answer: {type(error).__name__}") from None
    if not isinstance(answer, dict):
        raise untrusted("an answer that is no object")
    return answer
