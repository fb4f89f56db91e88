"""MCP servers by API: made, changed, deleted; what is wrong with them; who sees what of them."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatd.accounts.actions import create_token, create_user
from chatd.accounts.models import SiteRole
from chatd.audit.models import AuditEntry
from chatd.core.fields import open_secret
from chatd.mcp.models import AuthType, MCPServerConfig, MCPServerUserToken
from chatd.mcp.secrets import open_headers
from tests.api.client import NOT_FOUND, Api, api_of
from tests.api.routes import NEW_MCP_SERVER as NEW
from tests.api.routes import mcp_server
from tests.conftest import Cast

PATH = "/mcp/servers"
UNKNOWN = "a1a1a1a1-0000-4000-8000-000000000000"
OAUTH = {
    "auth_type": "oauth2",
    "oauth2_client_id": "us",
    "oauth2_client_secret": "a client's secret",
    "oauth2_auth_url": "https://as.example/authorize",
    "oauth2_token_url": "https://as.example/token",
    "oauth2_scopes": "a b",
}
KEY = {"auth_type": "api_key", "api_key_header": "X-Key", "api_key_value": "the shared key"}
HEADERS = {"auth_type": "custom_headers", "custom_headers": {"X-One": "a first secret"}}
SECRETS = ("a client's secret", "the shared key", "a first secret")

WHOLE = {
    "id",
    "display_name",
    "slug",
    "description",
    "icon_url",
    "transport",
    "url",
    "auth_type",
    "has_oauth2_secret",
    "has_api_key",
    "has_custom_headers",
    "tool_allow_list",
    "tool_deny_list",
    "availability",
    "enabled",
    "model_intent",
    "allow_in_plan_mode",
    "forward_coder_headers",
    "created_at",
    "updated_at",
    "auth_connected",
}

pytestmark = pytest.mark.django_db


def made(root: Api, **fields: Any) -> dict[str, Any]:
    answer = root.post(PATH, {**NEW, **fields})
    assert answer.status == 201, answer.body
    assert not any(secret in answer.raw.decode() for secret in SECRETS)
    return answer.body  # type: ignore[no-any-return]


def changed(root: Api, server: dict[str, Any], **fields: Any) -> dict[str, Any]:
    answer = root.patch(f"{PATH}/{server['id']}", fields)
    assert answer.status == 200, answer.body
    return answer.body  # type: ignore[no-any-return]


def stored(server: dict[str, Any]) -> MCPServerConfig:
    return MCPServerConfig.objects.get(pk=server["id"])


# making


def test_a_server_is_made_off_and_with_nothing_that_was_not_asked_for(root: Api) -> None:
    body = made(root)
    assert body.keys() == WHOLE
    assert {name: body[name] for name in NEW} == NEW
    assert (body["enabled"], body["tool_allow_list"], body["tool_deny_list"]) == (False, [], [])
    assert body["description"] == body["icon_url"] == ""
    assert body["auth_connected"] is False, "the answer to a write says nothing of connections"
    assert root.get(f"{PATH}/{body['id']}").body == body | {"auth_connected": True}


def test_a_server_is_made_with_all_there_is(root: Api, cast: Cast) -> None:
    given: dict[str, Any] = {
        "description": "Finds things.",
        "icon_url": "/icon/find.svg",
        "transport": "sse",
        "tool_allow_list": ["find"],
        "tool_deny_list": ["drop"],
        "availability": "force_on",
        "enabled": True,
        "model_intent": True,
        "allow_in_plan_mode": True,
        "forward_coder_headers": True,
    }
    body = made(root, **given, **OAUTH)
    assert {name: body[name] for name in given} == given
    assert {name: body[name] for name in OAUTH if name in body} == {
        name: value for name, value in OAUTH.items() if name != "oauth2_client_secret"
    }
    assert (body["has_oauth2_secret"], body["has_api_key"]) == (True, False)
    row = stored(body)
    assert open_secret(row.oauth2_client_secret) == "a client's secret"
    assert row.created_by == row.updated_by == cast.root


def test_texts_are_trimmed_and_blank_tools_left_out(root: Api) -> None:
    body = made(
        root,
        display_name=" Tools\n",
        slug=" tools ",
        url=" http://127.0.0.1:9/mcp ",
        description=" d ",
        tool_allow_list=[" a ", "", "  "],
        api_key_header=" X-Key ",
        api_key_value=" the shared key ",
        auth_type="api_key",
    )
    assert (body["display_name"], body["slug"], body["description"]) == ("Tools", "tools", "d")
    assert (body["url"], body["tool_allow_list"]) == ("http://127.0.0.1:9/mcp", ["a"])
    assert (body["api_key_header"], body["has_api_key"]) == ("X-Key", True)
    assert open_secret(stored(body).api_key_value) == "the shared key"


@pytest.mark.parametrize(
    "name", ["display_name", "slug", "transport", "url", "auth_type", "availability"]
)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_has_to_be_given_is_told(root: Api, name: str, value: str | None) -> None:
    answer = root.post(PATH, {**NEW, name: value})
    assert (answer.status, answer.message) == (400, "Validation failed.")
    (wrong,) = answer.body["validations"]
    assert wrong["field"] == name
    assert wrong["detail"].startswith('Validation failed for tag "required" with value: ""')


LONG = "x" * 3000
WRONG: list[tuple[str, Any, str]] = [
    ("transport", "stdio", "oneof"),
    ("auth_type", "basic", "oneof"),
    ("availability", "on", "oneof"),
    ("url", "mcp.example", "url"),
    ("url", "ftp://mcp.example/", "url"),
    ("url", "http://user:pass@mcp.example/", "url"),
    ("oauth2_auth_url", "javascript:alert(1)", "url"),
    ("oauth2_token_url", "/token", "url"),
    ("slug", "two words", "slug"),
    ("slug", "-x", "slug"),
    ("slug", "x" * 65, "max"),
    ("display_name", LONG, "max"),
    ("display_name", "a\u0000b", "text"),
    ("description", "x" * 5000, "max"),
    ("tool_allow_list", ["x" * 300], "max"),
    ("tool_deny_list", ["a"] * 501, "max"),
    ("api_key_header", "X Key", "header"),
    ("api_key_value", "a\nb", "header"),
    ("api_key_value", "x" * 10241, "max"),
    ("oauth2_client_secret", "x" * 10241, "max"),
    ("custom_headers", {"a b": "c"}, "header"),
    ("custom_headers", {"a": "c\r\nd: e"}, "header"),
    ("custom_headers", {f"x-{number}": "a" for number in range(51)}, "max"),
]


@pytest.mark.parametrize(("name", "value", "rule"), WRONG)
def test_values_that_no_server_can_have_are_told(
    root: Api, name: str, value: Any, rule: str
) -> None:
    server = made(root, slug="there-already")
    for answer in (
        root.post(PATH, {**NEW, name: value}),
        root.patch(f"{PATH}/{server['id']}", {name: value}),
    ):
        assert (answer.status, answer.message) == (400, "Validation failed.")
        assert {each["field"] for each in answer.body["validations"]} == {name}
        assert f'tag "{rule}"' in answer.raw.decode().replace('\\"', '"')
    assert MCPServerConfig.objects.count() == 1


ALL_OR_NONE = "OAuth2 auth type requires oauth2_client_id, oauth2_auth_url and oauth2_token_url,"
INCOMPLETE: list[tuple[dict[str, Any], str]] = [
    (KEY | {"api_key_header": ""}, "API key auth type requires api_key_header and api_key_value."),
    (KEY | {"api_key_value": " "}, "API key auth type requires api_key_header and api_key_value."),
    (HEADERS | {"custom_headers": {}}, "Custom headers auth type requires"),
    ({"auth_type": "custom_headers"}, "Custom headers auth type requires"),
    (OAUTH | {"oauth2_client_id": ""}, ALL_OR_NONE),
    (OAUTH | {"oauth2_auth_url": None}, ALL_OR_NONE),
    (OAUTH | {"oauth2_token_url": " "}, ALL_OR_NONE),
]


@pytest.mark.parametrize(("fields", "message"), INCOMPLETE)
def test_a_kind_without_what_it_takes_is_refused(
    root: Api, fields: dict[str, Any], message: str
) -> None:
    answer = root.post(PATH, {**NEW, **fields})
    assert answer.status == 400
    assert answer.message.startswith(message)
    assert not MCPServerConfig.objects.exists()


def test_the_right_comes_before_the_body_and_the_body_before_the_slug(
    root: Api, alice: Api
) -> None:
    made(root)
    assert alice.post(PATH, raw=b"{").status == 403
    assert root.post(PATH, raw=b"{").status == 400
    assert root.post(PATH, {"slug": "new"}).status == 400
    answer = root.post(PATH, NEW)
    assert (answer.status, answer.message) == (409, "MCP server config already exists.")


def test_with_an_idempotency_key_one_server_is_made(root: Api) -> None:
    headers = {"Idempotency-Key": "make-1"}
    first, second = (root.post(PATH, NEW, headers=headers) for _ in range(2))
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    assert MCPServerConfig.objects.count() == 1


# changing


def test_a_change_of_nothing_changes_nothing(root: Api) -> None:
    server = made(root, **KEY, tool_deny_list=["a"])
    after = changed(root, server, display_name=None, tool_deny_list=None, api_key_value=None)
    assert after == server | {"updated_at": after["updated_at"]}
    assert open_secret(stored(server).api_key_value) == "the shared key"
    assert not AuditEntry.objects.filter(action="write").exists()


def test_what_is_given_is_changed_and_the_rest_stays(root: Api) -> None:
    server = made(root, **KEY)
    fields = {"display_name": " Other ", "enabled": True, "tool_allow_list": ["x", " "]}
    after = changed(root, server, **fields)
    assert after["updated_at"] > server["updated_at"]
    assert after == server | {
        "display_name": "Other",
        "enabled": True,
        "tool_allow_list": ["x"],
        "updated_at": after["updated_at"],
    }


def test_an_empty_secret_is_removed(root: Api) -> None:
    key, headers = made(root, **KEY), made(root, slug="b", **HEADERS)
    assert changed(root, key, api_key_value="")["has_api_key"] is False
    assert changed(root, headers, custom_headers={})["has_custom_headers"] is False
    assert open_headers(stored(headers)) == {}


@pytest.mark.parametrize(
    "given",
    [
        {"url": "https://us:a-secret@tools.example/mcp"},
        {"oauth2_token_url": "https://us:a-secret@as.example/token"},
        {"custom_headers": {"Authorization: a-secret": ""}},
        {"custom_headers": {"X-One": "a-secret\nX-Two: b"}},
        {"api_key_value": "a-secret\nb"},
    ],
)
def test_a_refusal_repeats_nothing_that_may_be_a_secret(root: Api, given: dict[str, Any]) -> None:
    answer = root.patch(f"{PATH}/{made(root)['id']}", given)
    assert (answer.status, answer.message) == (400, "Validation failed.")
    assert "a-secret" not in repr(answer.body)


@pytest.mark.parametrize("name", ["display_name", "slug", "url", "transport", "auth_type"])
def test_what_every_server_has_cannot_be_emptied(root: Api, name: str) -> None:
    answer = root.patch(f"{PATH}/{made(root)['id']}", {name: " "})
    assert (answer.status, answer.message) == (400, "Validation failed.")


def test_another_kind_is_rid_of_the_secrets_of_the_old_one(root: Api) -> None:
    server = made(root, **KEY)
    after = changed(root, server, auth_type="custom_headers", custom_headers={"X-One": "s"})
    assert (after["has_api_key"], after["has_custom_headers"]) == (False, True)
    after = changed(root, server, auth_type="oauth2", oauth2_client_secret="s")
    assert (after["has_oauth2_secret"], after["has_custom_headers"]) == (True, False)
    after = changed(root, server, auth_type="none")
    assert after["has_oauth2_secret"] is False
    row = stored(server)
    assert row.api_key_value == row.custom_headers == row.oauth2_client_secret == ""


def test_a_change_is_not_judged_by_what_making_takes(root: Api) -> None:
    after = changed(root, made(root), auth_type="oauth2", oauth2_client_id="alone")
    assert (after["auth_type"], after["oauth2_client_id"]) == ("oauth2", "alone")


def test_a_slug_that_is_taken_is_refused_and_nothing_changed(root: Api) -> None:
    made(root, slug="a")
    server = made(root, slug="b")
    answer = root.patch(f"{PATH}/{server['id']}", {"slug": "a", "enabled": True})
    assert (answer.status, answer.message) == (409, "MCP server config slug already exists.")
    assert root.get(f"{PATH}/{server['id']}").body == server | {"auth_connected": True}
    assert changed(root, server, slug="b")["slug"] == "b"


MOVES = [
    ({"url": "https://other.example/mcp"}, False),
    ({"auth_type": "none"}, False),
    ({"oauth2_client_id": "others"}, False),
    ({"oauth2_token_url": "https://other.example/token"}, False),
    ({"url": "http://127.0.0.1:9/elsewhere"}, True),
    ({"oauth2_auth_url": "https://as.example/other", "enabled": False, "slug": "x"}, True),
]


@pytest.mark.parametrize(("fields", "stays"), MOVES)
def test_tokens_never_go_to_another_place(
    root: Api, cast: Cast, fields: dict[str, Any], stays: bool
) -> None:
    server = made(root, **OAUTH)
    connect(cast, stored(server))
    changed(root, server, **fields)
    assert MCPServerUserToken.objects.exists() == stays


def connect(cast: Cast, server: MCPServerConfig) -> None:
    MCPServerUserToken.objects.create(server=server, user=cast.alice, access_token="t")


# refusals of paths


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_ids_are_judged_and_looked_for(root: Api, method: str) -> None:
    for raw in ("x", "a" * 36, "{" + UNKNOWN[1:-1] + "}"):
        answer = root.call(method, f"{PATH}/{raw}", {})
        assert (answer.status, answer.message) == (400, "Invalid MCP server config ID.")
    answer = root.call(method, f"{PATH}/{UNKNOWN}", {})
    assert (answer.status, answer.body) == (404, NOT_FOUND)


def test_a_server_is_deleted_once(root: Api, cast: Cast) -> None:
    server = made(root, **OAUTH)
    connect(cast, stored(server))
    path = f"{PATH}/{server['id'].upper()}"
    assert root.delete(path).status == 204
    assert (root.delete(path).status, root.get(path).status) == (404, 404)
    assert not MCPServerUserToken.objects.exists()
    assert root.get(PATH).body == []


# who sees what

BLANKED = {
    "oauth2_client_id",
    "oauth2_auth_url",
    "oauth2_token_url",
    "oauth2_scopes",
    "api_key_header",
}


def test_people_see_what_is_on_and_not_where_it_is(root: Api, alice: Api, cast: Cast) -> None:
    on = made(root, slug="on", display_name="b", enabled=True, **OAUTH)
    off = made(root, slug="off", display_name="a")
    auditor = api_of(
        create_user(username="a", email="a@x.example", password=None, site_roles=[SiteRole.AUDITOR])
    )
    for reader in (root, auditor):
        assert [each["slug"] for each in reader.get(PATH).body] == ["off", "on"]
        assert reader.get(f"{PATH}/{on['id']}").body == on
        assert reader.get(f"{PATH}/{off['id']}").body == off | {"auth_connected": True}
    (seen,) = alice.get(PATH).body
    assert seen == alice.get(f"{PATH}/{on['id']}").body
    assert seen.keys() == WHOLE
    assert seen == {name: on[name] for name in WHOLE} | {"url": "", "transport": ""}
    assert on.keys() - seen.keys() == BLANKED - {"api_key_header"}
    assert alice.get(f"{PATH}/{off['id']}").body == NOT_FOUND


@pytest.mark.parametrize(
    ("scopes", "sees", "changes"),
    [
        (["deployment_config:read"], True, False),
        (["deployment_config:update"], False, True),
        (["deployment_config:*"], True, True),
        (["chat:*"], False, False),
    ],
)
def test_a_limited_token_of_an_owner_does_what_its_scopes_say(
    root: Api, cast: Cast, scopes: list[str], sees: bool, changes: bool
) -> None:
    server = made(root, enabled=True)
    made(root, slug="off")
    api = Api(create_token(user=cast.root, scopes=scopes)[1])
    listed = api.get(PATH).body
    assert len(listed) == (2 if sees else 1)
    assert bool(listed[0]["url"]) == sees
    path = f"{PATH}/{server['id']}"
    assert api.patch(path, {}).status == (200 if changes else 403)
    assert api.delete(path).status == (204 if changes else 403)


@pytest.mark.parametrize("people", ["alice", "root"])
def test_a_list_takes_as_many_queries_for_fifty_as_for_one(
    request: pytest.FixtureRequest, cast: Cast, people: str
) -> None:
    api: Api = request.getfixturevalue(people)

    def add(number: int) -> None:
        server = mcp_server(slug=f"s{number}", auth_type=AuthType.OAUTH2)
        user = getattr(cast, people)
        MCPServerUserToken.objects.create(server=server, user=user, access_token="t")

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert all(each["auth_connected"] for each in api.get(PATH).body)
        return len(captured)

    add(0)
    api.get(PATH)  # the first use of a token is noted
    assert count() == 3, "the token, the servers, the connections"
    for number in range(1, 50):
        add(number)
    assert len(api.get(PATH).body) == 50
    assert count() == 3


# secrets


def test_nothing_shows_a_secret(root: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    server = made(root, slug="a", **OAUTH)
    changed(root, server, auth_type="api_key", api_key_value="the shared key")
    changed(root, server, auth_type="custom_headers", custom_headers={"X-One": "a first secret"})
    root.delete(f"{PATH}/{server['id']}")
    told = repr(list(AuditEntry.objects.values_list("changes", "resource_name")))
    assert not any(secret in told for secret in SECRETS)
    assert "v1:" not in told
    created = AuditEntry.objects.get(resource_type="mcp_server_config", action="create")
    assert created.changes["oauth2_client_secret"] == {"old": None, "new": "•••"}
    assert created.changes["oauth2_token_url"]["new"] == "https://as.example/token"
    assert AuditEntry.objects.filter(resource_type="mcp_server_config").count() == 4
    written = caplog.text
    assert "/mcp/servers" in written, "requests are logged"
    assert not any(secret in written for secret in SECRETS)


def test_a_refused_change_is_in_the_audit_log(root: Api) -> None:
    server = made(root)
    root.patch(f"{PATH}/{server['id']}", {"url": "nowhere"})
    entry = AuditEntry.objects.get(action="write")
    assert (entry.resource_id, entry.refused) == (server["id"], "Validation failed.")


def test_secrets_that_cannot_be_read_any_more_are_named_to_administrators(
    root: Api, alice: Api, settings: Any
) -> None:
    server = made(root, enabled=True, **KEY)
    settings.CHATD_ENCRYPTION_KEYS = ("A" * 43 + "=",)
    (seen,) = root.get(PATH).body
    assert (seen["unreadable_secrets"], seen["has_api_key"]) == (["api_key_value"], True)
    assert "unreadable_secrets" not in alice.get(PATH).body[0]
    assert "unreadable_secrets" not in changed(root, server, api_key_value="anew")
