"""A browser as far as connecting needs one: cookies, and following redirects by hand."""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import requests
from django.http import HttpResponse
from django.test import Client

from chatd.accounts.models import User
from tests.api.documented import check_answer
from tests.support.authorization import AuthorizationServer

BASE = "/api/experimental/mcp/servers"
ORIGIN = "http://testserver"


class Browser:
    """Somebody who is signed in to the pages."""

    def __init__(self, user: User) -> None:
        self.client = Client(enforce_csrf_checks=True)
        self.client.force_login(user)

    def get(self, path: str, **options: Any) -> HttpResponse:
        answer: Any = self.client.get(path, **options)
        media = answer.headers.get("Content-Type", "")
        check_answer("GET", path.partition("?")[0], answer.status_code, media, _json(answer))
        return answer  # type: ignore[no-any-return]

    def connect(self, server_id: object, **options: Any) -> HttpResponse:
        return self.get(f"{BASE}/{server_id}/oauth2/connect", **options)

    def come_back(self, server_id: object, **query: str) -> HttpResponse:
        path = f"{BASE}/{server_id}/oauth2/callback"
        return self.get(f"{path}?{urlencode(query)}")

    def through(self, server_id: object) -> HttpResponse:
        """Connect, agree at the authorization server, and come back."""
        return self.get(agreed(self.connect(server_id)))


def _json(answer: Any) -> Any:
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    return answer.json() if is_json else None


def agreed(sent_off: HttpResponse) -> str:
    """Return where the authorization server sends somebody back to, as a path of ours."""
    answer = requests.get(sent_off["Location"], allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["Location"])
    assert f"{back.scheme}://{back.netloc}" == ORIGIN
    return f"{back.path}?{back.query}"


def asked_of(sent_off: HttpResponse) -> dict[str, str]:
    """Return the query that a browser is sent off with."""
    query = parse_qs(urlsplit(sent_off["Location"]).query)
    return {name: values[0] for name, values in query.items()}


def discovered(authorization: AuthorizationServer, **fields: Any) -> dict[str, Any]:
    """Return the body that makes a server whose OAuth part is discovered."""
    return {
        "display_name": "Tools",
        "slug": "tools",
        "transport": "streamable_http",
        "url": authorization.mcp_url,
        "auth_type": "oauth2",
        "availability": "default_on",
        "enabled": True,
        **fields,
    }
