"""The administration of MCP servers: made, discovered, changed, deleted; secrets only go in."""

import re
from typing import Any

import pytest
from django.test import Client

from chatd.audit.models import AuditEntry
from chatd.core.fields import open_secret
from chatd.mcp import actions
from chatd.mcp.models import MCPServerConfig, MCPServerUserToken
from chatd.mcp.secrets import open_headers
from tests.api.routes import mcp_server
from tests.conftest import Cast
from tests.mcp.conftest import authorization  # noqa: F401 - a fixture
from tests.support.authorization import AuthorizationServer
from tests.web.conftest import browser_of

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/mcp/mcpserverconfig/"
ADD = f"{LIST}add/"
FORM = {
    "display_name": "Tools",
    "slug": "tools",
    "transport": "streamable_http",
    "url": "http://127.0.0.1:9/mcp",
    "auth_type": "none",
    "availability": "default_off",
    "api_key_header": "Authorization",
}
SECRETS = {
    "new_client_secret": "a client's secret",
    "new_api_key": "the shared key",
    "new_headers": "X-One: a first secret\nX-Two: b: c",
}


@pytest.fixture
def root(cast: Cast) -> Client:
    return browser_of(cast.root)


def change_of(server: MCPServerConfig) -> str:
    return f"{LIST}{server.pk}/change/"


def shown_errors(answer: Any) -> str:
    assert answer.status_code == 200, answer.status_code
    return str(answer.context["adminform"].form.errors) + str(answer.context["errors"])


def test_a_server_is_made_with_lists_that_have_a_line_for_each_tool(root: Client) -> None:
    form = FORM | {"enabled": "on", "tool_allow_list": "a\r\n b \r\n\r\n", "tool_deny_list": "c"}
    answer = root.post(ADD, form)
    assert answer.status_code == 302, shown_errors(answer)
    server = MCPServerConfig.objects.get()
    assert (server.tool_allow_list, server.tool_deny_list) == (["a", "b"], ["c"])
    assert server.enabled
    page = root.get(change_of(server)).content.decode()
    assert re.search(r">\s*a\nb\s*</textarea>", page)
    entry = AuditEntry.objects.get(resource_type="mcp_server_config")
    assert (entry.action, entry.actor_name) == ("create", "root")


@pytest.mark.parametrize("kind", ["oauth2", "api_key", "custom_headers"])
def test_secrets_go_in_and_never_come_out(root: Client, kind: str) -> None:
    oauth = {
        "oauth2_client_id": "us",
        "oauth2_auth_url": "http://127.0.0.1:9/a",
        "oauth2_token_url": "http://127.0.0.1:9/t",
    }
    answer = root.post(ADD, FORM | SECRETS | oauth | {"auth_type": kind})
    assert answer.status_code == 302, shown_errors(answer)
    server = MCPServerConfig.objects.get()
    opened = {
        "oauth2": open_secret(server.oauth2_client_secret),
        "api_key": open_secret(server.api_key_value),
        "custom_headers": open_headers(server),
    }
    assert (
        opened[kind]
        == {
            "oauth2": "a client's secret",
            "api_key": "the shared key",
            "custom_headers": {"X-One": "a first secret", "X-Two": "b: c"},
        }[kind]
    )
    pages = [LIST, change_of(server), f"{LIST}{server.pk}/history/"]
    told = "".join(root.get(page, follow=True).content.decode() for page in pages)
    assert not any(secret in told for secret in ("a client", "the shared key", "a first secret"))
    assert "v1:" not in told


def test_a_form_that_comes_back_holds_no_secret(root: Client) -> None:
    typed = FORM | SECRETS | {"slug": "two words", "display_name": "Still there"}
    page = root.post(ADD, typed).content.decode()
    assert "Still there" in page
    assert not any(secret in page for secret in ("a client", "the shared key", "a first secret"))


def test_a_change_keeps_secrets_unless_told_otherwise(root: Client) -> None:
    root.post(ADD, FORM | SECRETS | {"auth_type": "api_key"})
    server = MCPServerConfig.objects.get()
    form = FORM | {"auth_type": "api_key", "display_name": "Other"}
    assert root.post(change_of(server), form).status_code == 302
    server.refresh_from_db()
    assert (server.display_name, open_secret(server.api_key_value)) == ("Other", "the shared key")
    root.post(change_of(server), form | {"new_api_key": "another"})
    server.refresh_from_db()
    assert open_secret(server.api_key_value) == "another"
    root.post(change_of(server), form | {"forget_secret": "on"})
    server.refresh_from_db()
    assert server.api_key_value == ""


def test_what_is_wrong_stands_beside_its_field(root: Client) -> None:
    mcp_server(slug="taken")
    for changes, field, words in (
        ({"slug": "two words"}, "slug", "tools are named after it"),
        ({"slug": "taken"}, "slug", "already exists"),
        ({"url": "nowhere"}, "url", "absolute URL"),
        ({"new_headers": "no colon"}, "new_headers", "Name: value"),
        ({"new_api_key": "a\tb", "auth_type": "api_key"}, "new_api_key", "one line"),
        ({"auth_type": "api_key"}, "__all__", "requires api_key_header and api_key_value"),
    ):
        answer: Any = root.post(ADD, FORM | changes)
        assert answer.status_code == 200
        errors = answer.context["adminform"].form.errors
        assert words in str(errors[field]), errors
    assert MCPServerConfig.objects.count() == 1


def test_an_unreadable_secret_is_to_be_entered_again(root: Client, settings: Any) -> None:
    root.post(ADD, FORM | SECRETS | {"auth_type": "api_key"})
    server = MCPServerConfig.objects.get()
    settings.CHATD_ENCRYPTION_KEYS = ("A" * 43 + "=",)
    for path in (LIST, change_of(server)):
        assert "needs to be entered again" in root.get(path).content.decode()


def test_the_oauth_part_is_discovered_outside_of_the_transaction(
    root: Client,
    authorization: AuthorizationServer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from django.db import transaction

    seen = []
    real = actions.discover

    def discover(*args: Any, **kwargs: Any) -> None:
        seen.append(transaction.get_connection().in_atomic_block)
        real(*args, **kwargs)

    monkeypatch.setattr(actions, "discover", discover)
    form = FORM | {"auth_type": "oauth2", "url": authorization.mcp_url}
    assert root.post(ADD, form).status_code == 302
    assert seen == [False]
    server = MCPServerConfig.objects.get()
    assert server.oauth2_client_id == "client-1"
    redirect = authorization.clients["client-1"]["redirect_uris"]
    assert redirect == [
        f"http://testserver/api/experimental/mcp/servers/{server.pk}/oauth2/callback"
    ]


def test_a_discovery_that_fails_comes_back_in_the_form(
    root: Client,
    authorization: AuthorizationServer,  # noqa: F811
) -> None:
    authorization.knobs.registers = False
    form = FORM | {"auth_type": "oauth2", "url": authorization.mcp_url}
    answer = root.post(ADD, form)
    assert "OAuth2 could not be set up by discovery." in shown_errors(answer)
    assert authorization.mcp_url in answer.content.decode(), "what was typed is still there"
    assert not MCPServerConfig.objects.exists()


def test_servers_are_switched_and_deleted_from_the_list(root: Client, cast: Cast) -> None:
    servers = [mcp_server(slug=f"s{number}", auth_type="oauth2") for number in range(2)]
    for server in servers:
        MCPServerUserToken.objects.create(server=server, user=cast.alice, access_token="t")
    chosen = {"_selected_action": [str(server.pk) for server in servers]}
    root.post(LIST, chosen | {"action": "switch_off"})
    assert not MCPServerConfig.objects.filter(enabled=True).exists()
    root.post(LIST, chosen | {"action": "switch_on"})
    assert MCPServerConfig.objects.filter(enabled=True).count() == 2
    assert MCPServerUserToken.objects.count() == 2
    root.post(LIST, chosen | {"action": "delete_selected", "post": "yes"})
    assert not MCPServerConfig.objects.exists()
    assert not MCPServerUserToken.objects.exists()
    assert AuditEntry.objects.filter(action="delete").count() == 2


def test_one_server_is_deleted_from_its_page(root: Client) -> None:
    server = mcp_server()
    assert root.post(f"{LIST}{server.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not MCPServerConfig.objects.exists()


def test_an_auditor_looks_and_a_member_does_not(cast: Cast) -> None:
    server = mcp_server()
    cast.bob.rbac_roles = ["auditor"]
    cast.bob.save()
    auditor, member = browser_of(cast.bob), browser_of(cast.alice)
    assert auditor.get(change_of(server)).status_code == 200
    assert auditor.post(ADD, FORM | {"slug": "new"}).status_code == 403
    assert auditor.post(change_of(server), FORM).status_code == 403
    assert member.get(LIST, follow=True).status_code == 403
    assert MCPServerConfig.objects.count() == 1
