"""HTTP to an identity provider: bounded in time and size, no redirects, no credentials of the host.

An answer other than a success is an exception whose text holds nothing of its body.
"""

import ssl
import time
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from chatd.accounts.oidc.refusals import word
from chatd.core.threads import give_back_connections
from config.env import is_safe_url

TOTAL_SECONDS = 10.0
SILENCE_SECONDS = 5.0
MAX_BYTES = 1024 * 1024


class ProviderFailedError(requests.RequestException):
    """The provider cannot be reached or says that it is broken."""


class ProviderRefusedError(requests.RequestException):
    """The provider refused a request of ours; the text is its error code."""


class _SystemTrust(HTTPAdapter):
    """Believes the certificates that this host believes: providers inside have CAs of their own."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=ssl.create_default_context(), **kwargs)


class ProviderSession(requests.Session):
    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # a .netrc would replace the header with the token
        self.mount("https://", _SystemTrust())

    def request(
        self, method: str, url: str | bytes, *args: Any, **kwargs: Any
    ) -> requests.Response:
        """Send a request and return the whole answer, a success.

        Raises ProviderFailedError, ProviderRefusedError.
        """
        if not is_safe_url(str(url)):
            raise ProviderRefusedError("an address that is not https")
        give_back_connections()  # the database need not wait with us
        bounds = {"timeout": SILENCE_SECONDS, "allow_redirects": False, "stream": True}
        deadline = time.monotonic() + TOTAL_SECONDS
        try:
            response = super().request(method, url, *args, **{**kwargs, **bounds})
            response._content = _read(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise ProviderFailedError(type(error).__name__) from None
        _check_status(response)
        # allauth looks at it without asking whether there is one.
        response.headers.setdefault("content-type", "")
        return response


def _read(response: requests.Response, deadline: float) -> bytes:
    body = bytearray()
    with response:
        while chunk := response.raw.read1(64 * 1024, decode_content=True):
            body += chunk
            if len(body) > MAX_BYTES or time.monotonic() > deadline:
                raise requests.ReadTimeout
    return bytes(body)


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status >= 500 or status == 429:
        raise ProviderFailedError(f"status {status}")
    if not 200 <= status < 300:
        raise ProviderRefusedError(f"status {status}, {word(_error_code(response))}")


def _error_code(response: requests.Response) -> object:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return None
    return answer.get("error") if isinstance(answer, dict) else None
