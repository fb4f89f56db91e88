"""MCP servers with every kind of secret, and people who connect to them and part again."""

from typing import Any
from urllib.parse import urlsplit

import requests

from tests.e2e.leaks.evidence import Secrets
from tests.e2e.leaks.visitor import Visitor
from tests.support.authorization import AuthorizationServer, answer, echo
from tests.support.oidc import query_of

SERVERS, ADMIN = "/api/experimental/mcp/servers", "/admin/mcp/mcpserverconfig/"

_FORM = {
    "transport": "streamable_http",
    "url": "http://127.0.0.1:9/mcp",
    "availability": "default_on",
    "api_key_header": "Authorization",
    "enabled": "on",
}


def _asked(slug: str, auth_type: str, **more: Any) -> dict[str, Any]:
    named = {"display_name": f"Server {slug}", "slug": slug, "auth_type": auth_type}
    return {**_FORM, **named, "enabled": True, **more}


def administer_servers(root: Visitor, secrets: Secrets) -> None:
    """Make servers with shared secrets by the API, change them, and ask for what cannot be."""
    key, header = secrets.plant("MCP key"), secrets.plant("MCP header")
    secret = secrets.plant("MCP client secret")
    oauth = {
        "oauth2_client_id": "us",
        "oauth2_client_secret": secret,
        "oauth2_auth_url": "http://127.0.0.1:9/a",
        "oauth2_token_url": "http://127.0.0.1:9/t",
    }
    for slug, kind, given in (
        ("key", "api_key", {"api_key_value": key}),
        ("headers", "custom_headers", {"custom_headers": {"X-One": header, "X-Two": "b"}}),
        ("oauth", "oauth2", oauth),
    ):
        made = root.api("POST", SERVERS, _asked(slug, kind, **given))
        here = f"{SERVERS}/{made['id']}"
        again = {name: secrets.plant("MCP key") for name in given if name == "api_key_value"}
        if slug == "headers":
            again = {"custom_headers": {"X-One": secrets.plant("MCP header")}}
        root.api("PATCH", here, {**again, "description": "changed"})
        root.api("POST", SERVERS, _asked(slug, kind, **given))  # the slug is taken
        for wrong in _wrongly(secrets.plant("refused MCP secret")):
            root.api("PATCH", here, wrong)
            root.api("POST", SERVERS, _asked(f"{slug}-wrong", kind, **given) | wrong)
        if slug == "oauth":
            root.api("PATCH", here, {"auth_type": "api_key", "api_key_value": key})
            root.api("PATCH", here, {"api_key_value": ""})


def _wrongly(secret: str) -> list[dict[str, Any]]:
    return [
        {"api_key_value": [secret]},
        {"api_key_value": f"{secret}\n{secret}"},
        {"custom_headers": secret},
        {"custom_headers": {"X": [secret]}},
        {"custom_headers": {"X": f"{secret}\nY: z"}},
        {"custom_headers": {f"X: {secret}": ""}},
        {"oauth2_client_secret": {secret: 1}},
        {"oauth2_client_secret": secret * 1000},
        {"url": f"http://us:{secret}@127.0.0.1/mcp"},
        {"oauth2_token_url": f"http://us:{secret}@127.0.0.1/t"},
    ]


def administer_servers_by_forms(root: Visitor, secrets: Secrets) -> None:
    for slug, kind in (("form-key", "api_key"), ("form-headers", "custom_headers")):
        form = _FORM | {"display_name": f"Server {slug}", "slug": slug, "auth_type": kind}
        given = {
            "new_api_key": secrets.plant("MCP key"),
            "new_client_secret": secrets.plant("MCP client secret"),
            "new_headers": f"X-One: {secrets.plant('MCP header')}",
        }
        refused = secrets.plant("refused MCP secret")
        for wrong in (
            {"slug": "two words"},
            {"slug": "key"},
            {"new_headers": f"{refused} and no colon"},
            {"new_headers": f"X {refused}: a name with spaces"},
            {"new_api_key": f"{refused}\tx"},
        ):
            root.submit(f"{ADMIN}add/", form | given | wrong)
        root.submit(f"{ADMIN}add/", form | given)
        (made,) = [each for each in root.api("GET", SERVERS) if each["slug"] == slug]
        change = f"{ADMIN}{made['id']}/change/"
        root.submit(change, form | given | {"slug": "key"})
        root.submit(change, form | {"new_headers": f"X-One: {secrets.plant('MCP header')}"})
        root.get(f"{ADMIN}{made['id']}/history/")
        root.get(f"{ADMIN}{made['id']}/delete/")


def use_discovery(root: Visitor, authorization: AuthorizationServer, secrets: Secrets) -> str:
    """Have a server discovered, after everything that can go wrong; return its id."""
    knobs, kind = authorization.knobs, "MCP client secret of a registration"
    refused = secrets.plant("refused MCP secret")
    asked = _asked("discovered", "oauth2", url=authorization.mcp_url)
    for path, fault in (
        ("register", answer(400, {"error": refused, "error_description": refused})),
        ("register", answer(201, {"client_id": 5, "client_secret": refused})),
        ("register", answer(201, {"client_id": "x" * 9999, "client_secret": refused})),
        ("as", answer(500, {"error": refused})),
    ):
        knobs.answers[path] = fault
        root.api("POST", SERVERS, {**asked, "oauth2_client_secret": refused})
        root.submit(f"{ADMIN}add/", {**asked, "new_client_secret": refused})
        del knobs.answers[path]
    knobs.methods = ["client_secret_basic"]
    made = root.api("POST", SERVERS, asked)
    secrets.keep(kind, authorization.clients[made["oauth2_client_id"]]["client_secret"])
    return str(made["id"])


def set_up_by_hand(
    root: Visitor, authorization: AuthorizationServer, secrets: Secrets, *, method: str
) -> str:
    """Make a server whose client secret is typed; return its id."""
    here, client_id = authorization.base_url, f"by-hand-{method}"
    secret = f"{secrets.plant('MCP client secret')}+/&= ä"
    secrets.keep("MCP client secret", secret)
    oauth = {
        "oauth2_client_id": client_id,
        "oauth2_client_secret": secret,
        "oauth2_auth_url": f"{here}/as/authorize",
        "oauth2_token_url": f"{here}/as/token",
    }
    made = root.api("POST", SERVERS, _asked(client_id, "oauth2", **oauth))
    authorization.clients[client_id] = {
        "client_id": client_id,
        "client_secret": secret,
        "token_endpoint_auth_method": method,
        "redirect_uris": [f"{root.web.url}{SERVERS}/{made['id']}/oauth2/callback"],
    }
    return str(made["id"])


def connect_and_part(
    person: Visitor, server_id: str, authorization: AuthorizationServer, secrets: Secrets
) -> None:
    """Connect to a server, with every failure on the way, have tokens refreshed, and part."""
    knobs, here = authorization.knobs, f"{SERVERS}/{server_id}"
    knobs.answers["token"] = echo
    assert _connected(person, server_id, secrets).status_code == 502
    del knobs.answers["token"]
    wanted = _go(person, server_id, secrets)
    person.get(f"{wanted}x")  # another state
    person.get(f"{here}/oauth2/callback?code=made-up&state=made-up")
    knobs.expires_in = 5  # which is as good as over
    assert _connected(person, server_id, secrets).status_code == 200
    for fault, lifetime in ((echo, 5), (None, 5), (None, 3600)):
        knobs.expires_in = lifetime
        if fault is not None:
            knobs.answers["token"] = fault
        person.api("GET", SERVERS)
        person.api("GET", here)
        if fault is not None:
            del knobs.answers["token"]
            assert _connected(person, server_id, secrets).status_code == 200
    for issued in authorization.issued:
        secrets.keep("MCP access token", issued["access_token"])
        secrets.keep("MCP refresh token", issued["refresh_token"])
    assert person.api("GET", here)["auth_connected"]
    person.api("DELETE", f"{here}/oauth2/disconnect")
    person.api("DELETE", f"{here}/oauth2/disconnect")
    assert _connected(person, server_id, secrets).status_code == 200


def _go(person: Visitor, server_id: str, secrets: Secrets) -> str:
    """Go to the authorization server; return where it sends the browser back to."""
    start = f"{SERVERS}/{server_id}/oauth2/connect"
    sent = person.get(start, follow=False, keep=False)
    assert sent.status_code == 307, sent.text
    came = requests.get(sent.headers["Location"], allow_redirects=False, timeout=120)
    assert came.status_code == 302, came.text
    back = urlsplit(came.headers["Location"])
    query = query_of(came.headers["Location"])
    secrets.keep("MCP authorization code", query["code"])
    secrets.keep("MCP state", query["state"])
    secrets.keep("MCP verifier", sent.cookies[f"mcp_oauth2_verifier_{server_id}"])
    return f"{back.path}?{back.query}"


def _connected(person: Visitor, server_id: str, secrets: Secrets) -> requests.Response:
    return person.get(_go(person, server_id, secrets))
