"""The page of MCP servers: who sees which, in which words, and a connection from begin to end."""

from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chatd.accounts.models import LoginType, SiteRole, User
from chatd.audit.models import AuditEntry
from chatd.core.clock import now
from chatd.core.fields import seal
from chatd.mcp.discovery import callback_path
from chatd.mcp.models import AuthType, Availability, MCPServerConfig, MCPServerUserToken
from tests.api.client import api_of
from tests.api.routes import mcp_server
from tests.conftest import Cast
from tests.mcp.browser import ORIGIN, agreed, asked_of, discovered
from tests.mcp.conftest import authorization  # noqa: F401 - a fixture
from tests.support.authorization import AuthorizationServer, answer
from tests.web.conftest import browser_of
from tests.web.test_settings_pages import html_of

PATH = "/settings/tools"
UNKNOWN = "a1a1a1a1-0000-4000-8000-000000000000"
KEPT = ("state", "verifier")


def oauth_server(**fields: Any) -> MCPServerConfig:
    given = {"auth_type": AuthType.OAUTH2, "oauth2_auth_url": "https://as.example/a"}
    return mcp_server(**given | fields)


def token_of(user: User, server: MCPServerConfig, **columns: Any) -> MCPServerUserToken:
    given = {"access_token": seal("a-token")} | columns
    return MCPServerUserToken.objects.create(user=user, server=server, **given)


def shown(page: Client) -> str:
    return unescape(html_of(page.get(PATH)))


def marks(page: Client) -> list[str]:
    """Return how one stands with each server, in short."""
    pieces = shown(page).split('<span class="badge" data-tone')[1:]
    return [piece.partition(">")[2].partition("<")[0] for piece in pieces]


def link(server: MCPServerConfig, what: str) -> str:
    return f"{PATH}/{server.pk}/{what}"


# what is shown, and to whom


@pytest.mark.parametrize("kind", AuthType.values)
@pytest.mark.parametrize("availability", Availability.values)
def test_a_server_is_told_in_words(page: Client, kind: str, availability: str) -> None:
    server = oauth_server(
        auth_type=kind,
        availability=availability,
        description="Reads <b>mail</b>.\nWrites it.",
        icon_url="https://icons.example/mail.png",
    )
    html = html_of(page.get(PATH))
    assert f"<dd>{server.get_auth_type_display()}</dd>" in html
    assert f"<dd>{server.get_availability_display()}</dd>" in html
    assert "Reads &lt;b&gt;mail&lt;/b&gt;.<br>Writes it." in html
    assert 'src="https://icons.example/mail.png" alt=""' in html
    assert "127.0.0.1" not in html, "where it is, only administrators see"
    assert (f'action="{link(server, "connect")}"' in html) == (kind == AuthType.OAUTH2)


STANDINGS: list[tuple[dict[str, Any], str]] = [
    ({"auth_type": AuthType.NONE}, "Ready"),
    ({"auth_type": AuthType.API_KEY}, "Ready"),
    ({"auth_type": AuthType.API_KEY, "api_key_value": "v1:abcdefabcdef:lost"}, "Not ready"),
    ({"auth_type": AuthType.USER_OIDC}, "Not for you"),
    ({}, "Not connected"),
    ({"oauth2_auth_url": ""}, "Not set up"),
]


@pytest.mark.parametrize(("fields", "mark"), STANDINGS)
def test_a_person_sees_how_they_stand_with_a_server(
    page: Client, fields: dict[str, Any], mark: str
) -> None:
    server = oauth_server(**fields)
    assert marks(page) == [mark]
    assert (link(server, "connect") in shown(page)) == (mark == "Not connected")
    assert link(server, "disconnect") not in shown(page)


def test_who_signs_in_with_their_organisation_needs_no_connection_to_a_server_that_takes_that(
    page: Client, alice: User
) -> None:
    mcp_server(auth_type=AuthType.USER_OIDC)
    alice.login_type = LoginType.OIDC
    alice.save()
    assert marks(page) == ["Ready"]


CONNECTIONS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "Connected", ""),
    ({"expiry": now() + timedelta(days=900)}, "Connected", ""),
    ({"expiry": now() - timedelta(days=1)}, "Connect again", "Connect again"),
    ({"access_token": "v1:abcdefabcdef:lost"}, "Connect again", "Connect again"),
    (
        {
            "expiry": now() - timedelta(days=1),
            "refresh_token": "v1:abcdefabcdef:x",
            "refresh_failures": 1,
            "refresh_not_before": now() + timedelta(days=900),
        },
        "Not renewed",
        "Connect again",
    ),
]


@pytest.mark.parametrize(("columns", "mark", "submit"), CONNECTIONS)
def test_a_connection_says_whether_it_has_to_be_made_again(
    page: Client, alice: User, columns: dict[str, Any], mark: str, submit: str
) -> None:
    server = oauth_server()
    token_of(alice, server, **columns)
    html = shown(page)
    assert marks(page) == [mark]
    assert (f'<button type="submit" class="button">{submit}' in html) == bool(submit)
    assert link(server, "disconnect") in html


def test_a_server_that_is_switched_off_is_shown_to_administrators_alone(
    page: Client, cast: Cast
) -> None:
    server = oauth_server(enabled=False, display_name="Hidden")
    token_of(cast.root, server)
    assert "Hidden" not in shown(page)
    root = browser_of(cast.root)
    assert marks(root) == ["Switched off"]
    assert link(server, "connect") not in shown(root)
    assert link(server, "disconnect") in shown(root), "what one has given can be taken back"


def test_nobody_sees_the_connections_of_somebody_else(page: Client, cast: Cast) -> None:
    token_of(cast.bob, oauth_server())
    assert marks(page) == ["Not connected"]
    assert marks(browser_of(cast.bob)) == ["Connected"]


ADD = "/admin/mcp/mcpserverconfig/add/"


@pytest.mark.parametrize(
    ("roles", "leads"),
    [([], False), ([SiteRole.OWNER], True), ([SiteRole.AUDITOR], False)],
)
def test_without_servers_the_page_says_who_can_add_one(
    page: Client, alice: User, roles: list[str], leads: bool
) -> None:
    alice.rbac_roles = roles
    alice.save()
    html = shown(page)
    assert "There are no MCP servers yet." in html
    assert (f'href="{ADD}"' in html) == leads
    assert ("An administrator can add one." in html) != leads
    if leads:
        assert page.get(ADD).status_code == 200


def test_the_page_opens_in_four_queries_for_one_and_fifty_servers(
    page: Client, alice: User
) -> None:
    def add(number: int) -> None:
        server = oauth_server(slug=f"tools-{number}")
        token_of(alice, server, expiry=now() + timedelta(hours=1))

    add(0)
    with CaptureQueriesContext(connection) as one:
        page.get(PATH)
    for number in range(1, 50):
        add(number)
    with CaptureQueriesContext(connection) as fifty:
        assert len(marks(page)) == 50
    assert len(one) == len(fifty) == 4, "the session, its person, servers, own connections"


# connecting


@pytest.fixture
def server(cast: Cast, authorization: AuthorizationServer) -> MCPServerConfig:  # noqa: F811
    made = api_of(cast.root).post("/mcp/servers", discovered(authorization))
    return MCPServerConfig.objects.get(pk=made.body["id"])


def connect(page: Client, server: MCPServerConfig) -> Any:
    return page.post(link(server, "connect"), {"form": f"connect:{server.pk}"})


def come_back(page: Client, back: str) -> Any:
    """Follow the callback of the API to the page, and nothing further."""
    led_on = page.get(back)
    assert led_on.status_code == 303
    assert (led_on["Cache-Control"], led_on["Referrer-Policy"]) == ("no-store", "no-referrer")
    return page.get(led_on["Location"])


def refusal_in(response: HttpResponse, server: MCPServerConfig, status: int = 400) -> str:
    """Return the reason that stands in the form of a server."""
    _, _, form = unescape(html_of(response, status)).partition(f'id="connect-{server.pk}"')
    _, _, notice = form.partition("</form>")[0].partition('role="alert"')
    return notice


@pytest.mark.django_db(transaction=True)
def test_a_person_connects_and_is_back_on_the_page(page: Client, server: MCPServerConfig) -> None:
    sent = connect(page, server)
    assert sent.status_code == 303
    assert sent["Location"].startswith(f"{server.oauth2_auth_url}?")
    assert asked_of(sent)["redirect_uri"] == f"{ORIGIN}{callback_path(server.pk)}"
    for name in KEPT:
        cookie = sent.cookies[f"mcp_oauth2_{name}_{server.pk}"]
        assert (cookie["path"], cookie["max-age"]) == (link(server, "connected"), 600)
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    back = come_back(page, agreed(sent))
    assert (back.status_code, back["Location"]) == (302, PATH)
    assert back["Cache-Control"] == "no-store"
    for name in KEPT:
        cookie = back.cookies[f"mcp_oauth2_{name}_{server.pk}"]
        assert (cookie.value, cookie["path"]) == ("", link(server, "connected"))
    html = shown(page)
    assert "You are connected to “Tools”." in html
    assert "Connected</span>" in html
    entry = AuditEntry.objects.get(resource_type="mcp_server_user_token")
    assert (entry.action, entry.actor_name) == ("create", "alice")


@pytest.mark.django_db(transaction=True)
def test_who_does_not_agree_is_told_so_and_can_try_again(
    page: Client, server: MCPServerConfig
) -> None:
    state = asked_of(connect(page, server))["state"]
    query = urlencode({"error": "access_denied", "state": state})
    back = come_back(page, f"{callback_path(server.pk)}?{query}")
    assert "access was not allowed" in refusal_in(back, server)
    assert back["Cache-Control"] == "no-store"
    # With no-referrer a browser would send the next form from the origin "null".
    assert back["Referrer-Policy"] == "same-origin"
    assert come_back(page, agreed(connect(page, server)))["Location"] == PATH


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"error": "server_error", "error_description": "Not <today>."}, "Not <today>."),
        ({}, "Missing authorization code."),
    ],
)
def test_what_an_authorization_server_says_is_readable(
    page: Client, server: MCPServerConfig, query: dict[str, str], reason: str
) -> None:
    state = asked_of(connect(page, server))["state"]
    back = come_back(page, f"{callback_path(server.pk)}?{urlencode({'state': state, **query})}")
    assert reason in refusal_in(back, server)
    assert "<today>" not in back.content.decode()


@pytest.mark.django_db(transaction=True)
def test_an_exchange_that_fails_is_readable(
    page: Client,
    server: MCPServerConfig,
    authorization: AuthorizationServer,  # noqa: F811
) -> None:
    authorization.knobs.answers["token"] = answer(500, {})
    notice = refusal_in(come_back(page, agreed(connect(page, server))), server, 502)
    assert "Failed to exchange the authorization code" in notice
    assert "status 500" in notice
    assert not MCPServerUserToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_way_back_is_good_once_and_for_one_person(
    page: Client,
    cast: Cast,
    server: MCPServerConfig,
    authorization: AuthorizationServer,  # noqa: F811
) -> None:
    stolen = agreed(connect(page, server))
    page.force_login(cast.bob)
    assert "Invalid or missing OAuth2 state" in refusal_in(come_back(page, stolen), server)
    assert authorization.asked == []
    page.force_login(cast.alice)
    back = agreed(connect(page, server))
    assert come_back(page, back).status_code == 302
    MCPServerUserToken.objects.all().delete()
    assert "Invalid or missing OAuth2 state" in refusal_in(come_back(page, back), server)


def test_a_link_of_somebody_else_says_nothing_in_our_name(page: Client) -> None:
    server = oauth_server()
    query = urlencode({"state": "page~x.y", "error": "x", "error_description": "Call 555"})
    back = come_back(page, f"{callback_path(server.pk)}?{query}")
    assert "Connect again from the beginning" in refusal_in(back, server)
    assert "Call 555" not in back.content.decode()


REFUSALS = [
    ({"enabled": False}, "MCP server is not enabled."),
    ({"auth_type": AuthType.API_KEY}, "MCP server does not use OAuth2 authentication."),
    ({"oauth2_auth_url": ""}, "MCP server OAuth2 authorization URL is not configured."),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSALS)
def test_a_refusal_to_connect_is_told_on_the_page(
    page: Client, fields: dict[str, Any], reason: str
) -> None:
    html = html_of(connect(page, oauth_server(**fields)), 400)
    assert reason in html
    assert "<title>Not connected · MCP servers" in html


@pytest.mark.django_db(transaction=True)
def test_a_server_that_was_deleted_meanwhile_is_told_to_be_gone(
    page: Client, server: MCPServerConfig
) -> None:
    back = agreed(connect(page, server))
    server.delete()
    assert come_back(page, back)["Location"] == PATH
    assert "There is no such MCP server any more." in shown(page)


@pytest.mark.parametrize("what", ["connect", "disconnect"])
def test_a_server_that_is_gone_leads_back_to_the_list(page: Client, what: str) -> None:
    path = f"{PATH}/{UNKNOWN}/{what}"
    assert page.post(path)["Location"] == PATH
    assert "There is no such MCP server any more." in shown(page)
    assert page.get(path)["Location"] == PATH


def test_opening_the_address_of_the_form_connects_nobody(page: Client) -> None:
    response = page.get(link(oauth_server(), "connect"))
    assert response["Location"] == PATH
    assert not response.cookies


# disconnecting


def test_disconnecting_asks_first_then_ends_ones_own_connection(page: Client, cast: Cast) -> None:
    server = oauth_server()
    for person in (cast.alice, cast.bob):
        token_of(person, server)
    path = link(server, "disconnect")
    assert "Disconnect from “Tools”?" in html_of(page.get(path))
    assert MCPServerUserToken.objects.count() == 2
    assert page.post(path)["Location"] == PATH
    assert "You are disconnected from “Tools”." in shown(page)
    assert MCPServerUserToken.objects.get().user == cast.bob
    assert page.post(path).status_code == 302, "twice is no fault"
    entry = AuditEntry.objects.get(resource_type="mcp_server_user_token")
    assert (entry.action, entry.actor_name) == ("delete", "alice")


def test_one_can_disconnect_from_a_server_that_was_switched_off_meanwhile(
    page: Client, alice: User
) -> None:
    server = oauth_server(enabled=False)
    token_of(alice, server)
    response = page.get(link(server, "disconnect"))
    assert response["Location"] == PATH, "it is not theirs to see"
    page.post(link(server, "disconnect"))
    assert not MCPServerUserToken.objects.exists()


@pytest.mark.parametrize("what", ["connect", "connected", "disconnect"])
def test_connections_take_signing_in_and_the_forms_own_token(alice: User, what: str) -> None:
    server = oauth_server()
    token_of(alice, server)
    path = link(server, what)
    assert Client().post(path)["Location"].startswith("/login?")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    response = strict.post(path)
    assert response.status_code == 403
    assert not response.cookies.get(f"mcp_oauth2_state_{server.pk}")
    assert MCPServerUserToken.objects.exists()
    assert browser_of(alice).put(path).status_code == 405
