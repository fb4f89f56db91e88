"""What requests to MCP servers carry: every kind of sign-in, tokens that end, who else is told."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from chatd.accounts.models import ExternalIdentity, LoginType, User
from chatd.core.clock import now
from chatd.core.fields import open_secret, seal
from chatd.core.threads import in_database_thread
from chatd.mcp import refreshing
from chatd.mcp.models import MCPServerConfig, MCPServerUserToken, Transport
from chatd.mcp.secrets import seal_headers
from chatd.tools.mcp import bearers
from chatd.tools.mcp.source import mcp_tools
from chatd.tools.registry import TurnContext
from chatd.tools.types import Tool, ToolInvocation
from tests.conftest import Cast
from tests.support.authorization import AuthorizationServer, Grant, answer
from tests.support.mcp_server import ToolServer
from tests.support.oidc import configured

pytestmark = pytest.mark.django_db(transaction=True)

Turn = Callable[..., TurnContext]
OLD = "access-0-old"

SECONDS = 60.0
BOTH = pytest.mark.parametrize("transport", list(Transport))


@pytest.fixture
def authorization() -> Iterator[AuthorizationServer]:
    """An authorization server that has given alice `OLD`."""
    with AuthorizationServer() as server:
        server.clients["client-1"] = {"token_endpoint_auth_method": "none"}
        server.grants.append(Grant("client-1", refresh_token="refresh-0-old"))
        yield server
        server.open.set()


def current(authorization: AuthorizationServer) -> str:
    """Return the access token that was given last."""
    return authorization.grants[0].refresh_token.replace("refresh", "access")


def lets_in(tool_server: ToolServer, token: Callable[[], str]) -> None:
    tool_server.knobs.is_let_in = lambda headers: (
        headers.get("authorization") == f"Bearer {token()}"
    )


def made_server(tool_server: ToolServer, **fields: Any) -> MCPServerConfig:
    url = tool_server.sse_url if fields.get("transport") == Transport.SSE else tool_server.url
    given = {"display_name": "Tools", "slug": "tools", "url": url, "enabled": True}
    return MCPServerConfig.objects.create(**given | fields)


def oauth_server(
    tool_server: ToolServer, authorization: AuthorizationServer, **fields: Any
) -> MCPServerConfig:
    return made_server(
        tool_server,
        auth_type="oauth2",
        oauth2_client_id="client-1",
        oauth2_token_url=f"{authorization.base_url}/as/token",
        oauth2_auth_method="none",
        **fields,
    )


def token_of(user: User, server: MCPServerConfig, left: timedelta | None, **fields: Any) -> None:
    MCPServerUserToken.objects.create(
        user=user,
        server=server,
        access_token=seal(OLD),
        expiry=None if left is None else now() + left,
        **{"refresh_token": seal("refresh-0-old")} | fields,
    )


async def greeted(tools: Any, name: str = "Ada") -> str:
    (greet,) = [tool for tool in tools if tool.name.endswith("__greet")]
    assert isinstance(greet, Tool)
    async with asyncio.timeout(SECONDS):
        call = ToolInvocation(id="c", name=greet.name, arguments={"name": name})
        return (await greet.run(call)).text


in_thread = in_database_thread


# kinds of sign-in


@BOTH
@pytest.mark.parametrize(
    ("fields", "carried"),
    [
        ({}, {"authorization": None, "x-key": None}),
        (
            {"auth_type": "api_key", "api_key_header": "X-Key", "api_key_value": "k"},
            {"authorization": None, "x-key": "k"},
        ),
        ({"auth_type": "api_key", "api_key_value": "Token k"}, {"authorization": "Token k"}),
        (
            {"auth_type": "custom_headers", "custom_headers": {"X-Key": "a", "X-More": "b"}},
            {"authorization": None, "x-key": "a", "x-more": "b"},
        ),
        ({"auth_type": "oauth2"}, {"authorization": None}),
        ({"auth_type": "user_oidc"}, {"authorization": None}),
    ],
    ids=["none", "api_key", "api_key_default_header", "custom_headers", "no_token", "no_oidc"],
)
async def test_every_request_carries_what_its_kind_of_sign_in_asks_for(
    tool_server: ToolServer,
    turn: Turn,
    fields: dict[str, Any],
    carried: dict[str, str | None],
    transport: Transport,
) -> None:
    stored = dict(fields)
    if "api_key_value" in stored:
        stored["api_key_value"] = seal(stored["api_key_value"])
    if "custom_headers" in stored:
        stored["custom_headers"] = seal_headers(stored["custom_headers"])
    server = await in_thread(made_server, tool_server, transport=transport, **stored)
    async with mcp_tools(turn(server)) as tools:
        assert await greeted(tools) == "Hello Ada"
    for asked in tool_server.asked:
        assert {name: asked.headers.get(name) for name in carried} == carried
        assert asked.headers["user-agent"].startswith("chatd/")
        assert not [name for name in asked.headers if name.startswith("x-coder-")]


async def test_the_token_that_somebody_signed_in_with_is_carried(
    tool_server: ToolServer, turn: Turn, cast: Cast, configure: Callable[..., None]
) -> None:
    configure(single_sign_on=configured("https://id.example.com"))

    def signed_in() -> None:
        User.objects.filter(pk=cast.alice.pk).update(login_type=LoginType.OIDC)
        ExternalIdentity.objects.create(
            user=cast.alice,
            issuer="https://id.example.com",
            subject="alice",
            access_token=seal("of-the-provider"),
            token_expires_at=now() + timedelta(hours=1),
        )

    await in_thread(signed_in)
    server = await in_thread(made_server, tool_server, auth_type="user_oidc")
    lets_in(tool_server, lambda: "of-the-provider")
    async with mcp_tools(turn(server)) as tools:
        assert await greeted(tools) == "Hello Ada"


async def test_who_the_chat_belongs_to_is_told_where_that_is_asked_for(
    tool_server: ToolServer, turn: Turn
) -> None:
    fields = {"auth_type": "custom_headers", "forward_coder_headers": True}
    own = seal_headers({"x-coder-owner-id": "mine"})
    server = await in_thread(made_server, tool_server, custom_headers=own, **fields)
    root = turn(server)
    async with mcp_tools(root):
        pass
    for asked in tool_server.asked:
        assert asked.headers["x-coder-chat-id"] == str(root.chat_id)
        assert asked.headers["x-coder-owner-id"] == "mine"
        assert "x-coder-subchat-id" not in asked.headers
    tool_server.asked.clear()
    await in_thread(MCPServerConfig.objects.update, auth_type="none", custom_headers="")
    child = turn(server, parent_chat_id=root.chat_id)
    async with mcp_tools(child):
        pass
    for asked in tool_server.asked:
        assert asked.headers["x-coder-chat-id"] == str(root.chat_id)
        assert asked.headers["x-coder-subchat-id"] == str(child.chat_id)
        assert asked.headers["x-coder-owner-id"] == str(child.owner_id)


async def test_a_server_whose_secrets_cannot_be_read_is_left_out(
    tool_server: ToolServer, turn: Turn
) -> None:
    other_key = "v1:" + seal("k").split(":", 1)[-1][::-1]
    fields = {"auth_type": "api_key", "api_key_value": other_key}
    server = await in_thread(made_server, tool_server, **fields)
    async with mcp_tools(turn(server)) as tools:
        assert list(tools) == []
    assert tool_server.asked == []


# tokens that end


@BOTH
async def test_a_token_that_is_about_to_end_is_refreshed_before_it_is_shown(
    tool_server: ToolServer,
    authorization: AuthorizationServer,
    turn: Turn,
    cast: Cast,
    transport: Transport,
) -> None:
    server = await in_thread(oauth_server, tool_server, authorization, transport=transport)
    await in_thread(token_of, cast.alice, server, timedelta(seconds=5))
    lets_in(tool_server, lambda: current(authorization))
    async with mcp_tools(turn(server)) as tools:
        assert await greeted(tools) == "Hello Ada"
    assert authorization.refreshes == 1
    assert OLD not in {asked.headers["authorization"] for asked in tool_server.asked}
    token = await in_thread(MCPServerUserToken.objects.get)
    assert open_secret(token.access_token) == current(authorization)


@BOTH
async def test_a_token_that_ends_during_turns_is_refreshed_once_for_all_of_them(
    tool_server: ToolServer,
    authorization: AuthorizationServer,
    turn: Turn,
    cast: Cast,
    clock: time_machine.Traveller,
    transport: Transport,
) -> None:
    server = await in_thread(oauth_server, tool_server, authorization, transport=transport)
    await in_thread(token_of, cast.alice, server, timedelta(seconds=60))
    lets_in(tool_server, lambda: current(authorization))
    async with mcp_tools(turn(server)) as one, mcp_tools(turn(server)) as other:
        assert await greeted(one) == "Hello Ada"
        assert authorization.refreshes == 0
        clock.shift(55)
        several = [greeted(tools, str(n)) for n in range(4) for tools in (one, other)]
        said = await asyncio.gather(*several)
        assert said == [f"Hello {n}" for n in range(4) for _ in "ab"]
    assert authorization.refreshes == 1
    assert not authorization.grants[0].ended


@BOTH
async def test_a_token_that_is_refused_is_refreshed_once_and_no_call_is_made_twice(
    tool_server: ToolServer,
    authorization: AuthorizationServer,
    turn: Turn,
    cast: Cast,
    transport: Transport,
) -> None:
    server = await in_thread(oauth_server, tool_server, authorization, transport=transport)
    await in_thread(token_of, cast.alice, server, None)
    async with mcp_tools(turn(server)) as one, mcp_tools(turn(server)) as other:
        lets_in(tool_server, lambda: OLD)
        assert await greeted(one, "before") == "Hello before"
        lets_in(
            tool_server, lambda: "" if current(authorization) == OLD else current(authorization)
        )
        several = [greeted(tools, str(n)) for n in range(4) for tools in (one, other)]
        said = await asyncio.gather(*several)
        assert said == [f"Hello {n}" for n in range(4) for _ in "ab"]
    assert authorization.refreshes == 1
    assert not authorization.grants[0].ended
    names = sorted(name for _, name in tool_server.record.called)
    assert names == sorted(["before", *[str(n) for n in range(4) for _ in "ab"]])


@BOTH
async def test_a_server_that_refuses_every_token_costs_one_refresh(
    tool_server: ToolServer,
    authorization: AuthorizationServer,
    turn: Turn,
    cast: Cast,
    transport: Transport,
) -> None:
    server = await in_thread(oauth_server, tool_server, authorization, transport=transport)
    await in_thread(token_of, cast.alice, server, timedelta(hours=1))
    async with mcp_tools(turn(server)) as tools:
        tool_server.knobs.is_let_in = lambda headers: False
        for _ in range(3):
            said = await greeted(tools)
            assert said.startswith("Tools: It answered with HTTP status 401.")
    assert authorization.refreshes == 1


@BOTH
async def test_a_token_that_cannot_be_refreshed_is_tried_all_the_same(
    tool_server: ToolServer,
    authorization: AuthorizationServer,
    turn: Turn,
    cast: Cast,
    transport: Transport,
) -> None:
    authorization.knobs.answers["token"] = answer(500, {})
    server = await in_thread(oauth_server, tool_server, authorization, transport=transport)
    await in_thread(token_of, cast.alice, server, timedelta(seconds=5))
    lets_in(tool_server, lambda: OLD)
    async with mcp_tools(turn(server)) as tools:
        assert await greeted(tools) == "Hello Ada"


async def test_a_refresh_that_hangs_holds_neither_other_servers_nor_the_turn(
    tool_server: ToolServer,
    authorization: AuthorizationServer,
    turn: Turn,
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bearers, "REFRESH_SECONDS", 0.3)
    monkeypatch.setattr(refreshing, "REFRESH_SECONDS", 1.0)
    authorization.open.clear()
    server = await in_thread(oauth_server, tool_server, authorization)
    await in_thread(token_of, cast.alice, server, timedelta(seconds=5))
    plain = await in_thread(made_server, tool_server, slug="plain")
    async with mcp_tools(turn(server, plain)) as tools:
        by_server = {tool.mcp_server_config_id for tool in tools}
        assert by_server == {server.pk, plain.pk}
    assert f"Bearer {OLD}" in {asked.headers.get("authorization") for asked in tool_server.asked}


async def test_a_token_that_has_ended_for_good_is_not_shown(
    tool_server: ToolServer, authorization: AuthorizationServer, turn: Turn, cast: Cast
) -> None:
    server = await in_thread(oauth_server, tool_server, authorization)
    await in_thread(token_of, cast.alice, server, timedelta(seconds=-5), refresh_token="")
    async with mcp_tools(turn(server)) as tools:
        assert await greeted(tools) == "Hello Ada"
    assert {asked.headers.get("authorization") for asked in tool_server.asked} == {None}
    assert authorization.refreshes == 0


async def test_nobody_carries_the_token_of_somebody_else(
    tool_server: ToolServer, authorization: AuthorizationServer, turn: Turn, cast: Cast
) -> None:
    server = await in_thread(oauth_server, tool_server, authorization)
    await in_thread(token_of, cast.bob, server, timedelta(hours=1))
    async with mcp_tools(turn(server)):
        pass
    assert {asked.headers.get("authorization") for asked in tool_server.asked} == {None}


# what is said where


async def test_no_secret_is_logged_or_told_to_the_model(
    tool_server: ToolServer, turn: Turn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    url = f"{tool_server.url}?token=hidden-in-the-query"
    headers = seal_headers({"X-Key": "hidden-in-a-header"})
    fields = {"auth_type": "custom_headers", "custom_headers": headers, "url": url}
    server = await in_thread(made_server, tool_server, **fields)
    async with mcp_tools(turn(server)) as tools:
        tool_server.knobs.statuses = {"tools/call": 500}
        assert await greeted(tools) == "Tools: It answered with HTTP status 500."
        session_ids = {asked.headers.get("mcp-session-id") for asked in tool_server.asked}
    tool_server.knobs.statuses = {"initialize": 403}
    async with mcp_tools(turn(server)) as tools:
        assert list(tools) == []
    assert "an MCP server was left out" in caplog.text
    assert "an MCP call failed" in caplog.text
    assert "hidden" not in caplog.text
    for session_id in session_ids - {None}:
        assert str(session_id) not in client_lines(caplog)


def client_lines(caplog: pytest.LogCaptureFixture) -> str:
    """Return what was not logged by the server, which runs in this process too."""
    return json.dumps(
        [r.getMessage() for r in caplog.records if not r.name.startswith("mcp.server")]
    )
