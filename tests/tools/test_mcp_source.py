"""MCP servers as tools of a turn, against real servers: which, how they are called, what fails."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chatd.core.threads import in_database_thread
from chatd.mcp.models import MCPServerConfig, Transport
from chatd.tools.batch import carry_out
from chatd.tools.mcp.connection import Limits
from chatd.tools.mcp.endpoints import read_endpoints, wanted_servers
from chatd.tools.mcp.source import mcp_tools
from chatd.tools.registry import Toolset, TurnContext, open_toolset
from chatd.tools.types import Tool, ToolInvocation, ToolOutput
from tests.support.mcp_server import PIXEL, ToolProcess, ToolServer
from tests.support.services import free_port

pytestmark = pytest.mark.django_db(transaction=True)

Turn = Callable[..., TurnContext]

QUICK = Limits(connect=3.0, close=0.2)
SECONDS = 60.0
BOTH = pytest.mark.parametrize("transport", list(Transport))


def config(url: str, slug: str = "tools", **fields: Any) -> MCPServerConfig:
    given = {"display_name": slug.title(), "enabled": True} | fields
    return MCPServerConfig.objects.create(slug=slug, url=url, **given)


def over(server: Any, transport: Transport, **fields: Any) -> MCPServerConfig:
    url = server.sse_url if transport == Transport.SSE else server.url
    return config(url, transport=transport, **fields)


async def made(make: Callable[..., Any], *given: Any, **fields: Any) -> Any:
    return await in_database_thread(make, *given, **fields)


def by_name(tools: Any) -> dict[str, Tool]:
    return {tool.name: tool for tool in tools}


async def called(tool: Tool, **arguments: Any) -> ToolOutput:
    async with asyncio.timeout(SECONDS):
        return await tool.run(ToolInvocation(id="call-1", name=tool.name, arguments=arguments))


# calls


@BOTH
async def test_tools_of_a_server_are_listed_and_called(
    tool_server: ToolServer, turn: Turn, transport: Transport
) -> None:
    server = await made(over, tool_server, transport)
    async with mcp_tools(turn(server)) as found:
        tools = by_name(found)
        assert list(tools) == sorted(tools)
        assert {tool.mcp_server_config_id for tool in found} == {server.pk}
        greet = tools["tools__greet"]
        assert (greet.is_read_only, tools["tools__add"].is_read_only) == (True, False)
        assert greet.spec.description == "Greet somebody."
        assert dict(greet.spec.parameters) == {
            "type": "object",
            "properties": {"name": {"title": "Name", "type": "string"}},
            "required": ["name"],
        }
        assert dict(tools["tools__fail"].spec.parameters) == {"type": "object", "properties": {}}
        assert await called(greet, name="Ada") == ToolOutput(text="Hello Ada")
        added = await called(tools["tools__add"], a=1, b=2)
        assert added.text.endswith('\n{"sum": 3}')
        failed = await called(tools["tools__fail"])
        assert failed.is_error
        assert "the shelf is empty" in failed.text
        wrong = await called(greet)
        assert wrong.is_error
        assert "name" in wrong.text
    assert tool_server.record.called == [("greet", "Ada"), ("add", (1, 2))]


async def test_what_a_tool_gives_back_becomes_text_or_else_media(
    tool_server: ToolServer, turn: Turn
) -> None:
    server = await made(config, tool_server.url)
    async with mcp_tools(turn(server)) as found:
        tools = by_name(found)
        mixed = await called(tools["tools__mixed"])
        assert mixed.text == "said\nfrom a file\n[resource: b (file:///b.txt): another]"
        assert mixed.media is None
        for kind, mime_type in (
            ("image", "image/png"),
            ("audio", "audio/wav"),
            ("blob", "application/pdf"),
        ):
            media = (await called(tools["tools__media"], kind=kind)).media
            assert media is not None
            assert (media.data, media.mime_type) == (PIXEL, mime_type)


async def test_calls_of_one_step_run_side_by_side(tool_server: ToolServer, turn: Turn) -> None:
    server = await made(config, tool_server.url)
    calls = [
        {"tool_call_id": f"c{n}", "tool_name": "tools__greet", "args": {"name": str(n)}}
        for n in range(12)
    ]

    async def ignored(*_: Any) -> None:
        return None

    async with mcp_tools(turn(server)) as found:
        async with asyncio.timeout(SECONDS):
            results = await carry_out(calls, Toolset(by_name(found)), ignored)
    assert [results[f"c{n}"]["result"] for n in range(12)] == [
        {"output": f"Hello {n}"} for n in range(12)
    ]


@BOTH
async def test_two_hundred_tools(turn: Turn, transport: Transport) -> None:
    with ToolServer(many=200) as many:
        server = await made(over, many, transport)
        async with mcp_tools(turn(server)) as found:
            assert [tool.name for tool in found] == [f"tools__echo_{n:03}" for n in range(200)]
            assert await called(found[150], text="here") == ToolOutput(text="here")


async def test_every_page_of_a_list_is_read(tool_server: ToolServer, turn: Turn) -> None:
    def page(params: dict[str, Any]) -> dict[str, Any]:
        number = int(params.get("cursor") or 0)
        tools = [{"name": f"t{number}", "inputSchema": {"type": "object"}}]
        return {"tools": tools} | ({"nextCursor": str(number + 1)} if number < 4 else {})

    tool_server.knobs.results = {"tools/list": page}
    server = await made(config, tool_server.url)
    async with mcp_tools(turn(server)) as found:
        assert [tool.name for tool in found] == [f"tools__t{n}" for n in range(5)]
    tool_server.knobs.results = {"tools/list": lambda params: page({}) | {"nextCursor": "again"}}
    async with asyncio.timeout(SECONDS), mcp_tools(turn(server)) as found:
        assert {tool.name for tool in found} == {"tools__t0"}


@pytest.mark.parametrize(
    "result", [{"content": "text"}, {"content": [{"type": "riddle"}]}, {"content": None}, {}]
)
async def test_a_result_that_is_none_is_an_error(
    tool_server: ToolServer, turn: Turn, result: Any
) -> None:
    server = await made(config, tool_server.url)
    async with mcp_tools(turn(server)) as found:
        greet = by_name(found)["tools__greet"]
        tool_server.knobs.results = {"tools/call": lambda params: result}
        failed = await called(greet, name="Ada")
        assert failed == ToolOutput(
            text="Tools: It sent what is no answer of the protocol.", is_error=True
        )
        tool_server.knobs.results = {}
        assert await called(greet, name="Ada") == ToolOutput(text="Hello Ada")


async def test_an_answer_without_bounds_is_cut_off(tool_server: ToolServer, turn: Turn) -> None:
    server = await made(config, tool_server.url)
    endless = {"content": [{"type": "text", "text": "x" * 9_000_000}]}
    async with mcp_tools(turn(server)) as found:
        greet = by_name(found)["tools__greet"]
        tool_server.knobs.results = {"tools/call": lambda params: endless}
        failed = await called(greet, name="Ada")
        assert failed.is_error
        assert "too large" in failed.text
        tool_server.knobs.results = {}
        assert await called(greet, name="Ada") == ToolOutput(text="Hello Ada")


async def test_the_intent_is_asked_for_and_not_passed_on(
    tool_server: ToolServer, turn: Turn
) -> None:
    server = await made(config, tool_server.url, model_intent=True)
    async with mcp_tools(turn(server)) as found:
        greet = by_name(found)["tools__greet"]
        parameters = dict(greet.spec.parameters)
        assert parameters["required"] == ["model_intent", "properties"]
        assert parameters["properties"]["properties"]["required"] == ["name"]
        wrapped = await called(greet, model_intent="be polite", properties={"name": "Ada"})
        flat = await called(greet, model_intent="be polite", name="Ada")
        assert wrapped == flat == ToolOutput(text="Hello Ada")


# which servers and tools


async def test_lists_let_tools_through(tool_server: ToolServer, turn: Turn) -> None:
    allowed = await made(
        config, tool_server.url, "a", tool_allow_list=["add", "gone"], tool_deny_list=["add"]
    )
    denied = await made(config, tool_server.url, "b", tool_deny_list=["add", "fail", "gre"])
    async with mcp_tools(turn(denied, allowed)) as found:
        assert [tool.name for tool in found] == [
            "a__add",
            "b__greet",
            "b__hang",
            "b__media",
            "b__mixed",
        ]


async def test_only_servers_that_are_on_and_fit_the_mode(turn: Turn) -> None:
    plain = await made(config, "http://127.0.0.1:9/mcp", "plain")
    planning = await made(config, "http://127.0.0.1:9/mcp", "planning", allow_in_plan_mode=True)
    off = await made(config, "http://127.0.0.1:9/mcp", "off", enabled=False)

    def slugs(**fields: Any) -> list[str]:
        context = turn(plain, planning, off, **fields)
        endpoints = read_endpoints(context, wanted_servers(context))
        return sorted(endpoint.server.slug for endpoint in endpoints)

    parent = turn().chat_id
    assert await made(slugs) == ["plain", "planning"]
    assert await made(slugs, parent_chat_id=parent) == ["plain", "planning"]
    assert await made(slugs, plan_mode="plan") == ["planning"]
    assert await made(slugs, plan_mode="plan", parent_chat_id=parent) == []
    assert await made(slugs, mode="explore") == []
    assert await made(slugs, mode="explore", parent_chat_id=parent) == ["plain", "planning"]


async def test_fifty_servers_take_as_many_queries_as_one(turn: Turn) -> None:
    kinds = ["none", "oauth2", "api_key", "custom_headers", "user_oidc"]
    servers = [
        await made(config, "http://127.0.0.1:9/mcp", f"s{n}", auth_type=kinds[n % 5])
        for n in range(50)
    ]

    def queries(*some: MCPServerConfig) -> int:
        context = turn(*some)
        with CaptureQueriesContext(connection) as captured:
            assert len(read_endpoints(context, wanted_servers(context))) == len(some)
        return len(captured)

    assert await made(queries, *servers[:5]) == await made(queries, *servers) == 3
    assert await made(queries, servers[0]) == 1


async def test_a_chat_without_servers_asks_nobody(turn: Turn) -> None:
    def opened() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert wanted_servers(turn()) == []
        return len(captured)

    assert await made(opened) == 0
    async with mcp_tools(turn()) as found:
        assert list(found) == []


# servers that fail


@BOTH
@pytest.mark.parametrize("method", ["initialize", "tools/list"])
async def test_a_server_that_hangs_at_the_start_is_left_out(
    tool_server: ToolServer, turn: Turn, method: str, transport: Transport
) -> None:
    with ToolServer() as hanging:
        hanging.knobs.hang = {method, "DELETE"}
        bad = await made(over, hanging, transport, slug="bad")
        good = await made(config, tool_server.url, "good")
        async with asyncio.timeout(SECONDS), mcp_tools(turn(bad, good), QUICK) as found:
            assert {tool.mcp_server_config_id for tool in found} == {good.pk}
            assert await called(by_name(found)["good__greet"], name="B") == ToolOutput(
                text="Hello B"
            )
        assert method in hanging.methods()


@BOTH
@pytest.mark.parametrize("status", [401, 404, 500])
async def test_a_server_that_refuses_is_left_out(
    tool_server: ToolServer, turn: Turn, transport: Transport, status: int
) -> None:
    tool_server.knobs.statuses = dict.fromkeys(["GET", "initialize"], status)
    server = await made(over, tool_server, transport)
    async with asyncio.timeout(SECONDS), mcp_tools(turn(server)) as found:
        assert list(found) == []


@BOTH
async def test_a_server_that_is_not_there_is_left_out(
    tool_server: ToolServer, turn: Turn, transport: Transport
) -> None:
    url = f"http://key@127.0.0.1:{free_port()}/secret-path?token=secret"
    bad = await made(config, url, "bad", transport=transport)
    good = await made(config, tool_server.url, "good")
    async with asyncio.timeout(SECONDS), open_toolset(turn(bad, good)) as toolset:
        assert set(toolset.tools) == {
            f"good__{name}" for name in ("add", "fail", "greet", "hang", "media", "mixed")
        }


@BOTH
async def test_a_call_that_takes_too_long_is_an_error_and_the_next_one_works(
    tool_server: ToolServer, turn: Turn, transport: Transport
) -> None:
    server = await made(over, tool_server, transport)
    async with mcp_tools(turn(server), Limits(call=2)) as found:
        tools = by_name(found)
        late = await called(tools["tools__hang"])
        assert late.is_error
        assert "did not answer within 2 seconds" in late.text
        assert await acquired(tool_server.record.cancelled)
        assert await called(tools["tools__greet"], name="Ada") == ToolOutput(text="Hello Ada")
    assert tool_server.methods().count("initialize") == 1


async def acquired(semaphore: Any) -> bool:
    return bool(await asyncio.to_thread(semaphore.acquire, timeout=SECONDS))


@BOTH
async def test_a_turn_that_is_stopped_cancels_its_calls_at_the_server(
    tool_server: ToolServer, turn: Turn, transport: Transport
) -> None:
    server = await made(over, tool_server, transport)

    async def run() -> None:
        async with mcp_tools(turn(server)) as found:
            await called(by_name(found)["tools__hang"])

    running = asyncio.create_task(run())
    assert await acquired(tool_server.record.waiting)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await acquired(tool_server.record.cancelled)


@BOTH
async def test_a_server_that_dies_in_a_call_fails_the_call_and_nothing_else(
    tool_server: ToolServer, turn: Turn, transport: Transport
) -> None:
    with ToolProcess() as process:
        dying = await made(over, process, transport, slug="dying")
        good = await made(config, tool_server.url, "good")
        async with mcp_tools(turn(dying, good)) as found:
            tools = by_name(found)
            call = asyncio.create_task(called(tools["dying__hang"]))
            await asyncio.to_thread(process.wait_until_hanging)
            process.kill()
            lost = await call
            assert lost.is_error
            assert lost.text.startswith("Dying: ")
            again = await called(tools["dying__greet"], name="Ada")
            assert again.is_error
            assert "could not be reached (ConnectError)" in again.text
            assert await called(tools["good__greet"], name="B") == ToolOutput(text="Hello B")


@BOTH
async def test_a_server_that_was_started_again_is_connected_to_again(
    turn: Turn, transport: Transport
) -> None:
    with ToolProcess() as process:
        server = await made(over, process, transport)
        async with mcp_tools(turn(server)) as found:
            greet = by_name(found)["tools__greet"]
            process.kill()
            await asyncio.to_thread(process.start)
            outputs = await asyncio.gather(*(called(greet, name=str(n)) for n in range(4)))
            assert [output.text for output in outputs] == [f"Hello {n}" for n in range(4)]


async def test_a_session_that_the_server_forgot_is_opened_again_for_the_call(
    tool_server: ToolServer, turn: Turn
) -> None:
    server = await made(config, tool_server.url)
    async with mcp_tools(turn(server)) as found:
        greet = by_name(found)["tools__greet"]
        await asyncio.to_thread(tool_server.forget_sessions)
        outputs = await asyncio.gather(*(called(greet, name=str(n)) for n in range(4)))
        assert [output.text for output in outputs] == [f"Hello {n}" for n in range(4)]
    assert tool_server.methods().count("initialize") == 2


async def test_a_server_that_hangs_at_the_end_does_not_hold_the_turn(
    tool_server: ToolServer, turn: Turn
) -> None:
    tool_server.knobs.hang = {"DELETE"}
    server = await made(config, tool_server.url)
    async with asyncio.timeout(SECONDS):
        async with mcp_tools(turn(server), Limits(close=1)) as found:
            assert found
    assert "DELETE" in tool_server.methods()


async def test_servers_are_connected_to_side_by_side(turn: Turn) -> None:
    with ToolServer() as first, ToolServer() as second:
        first.knobs.hang = second.knobs.hang = {"initialize"}
        servers = [await made(config, each.url, f"s{each.port}") for each in (first, second)]
        connecting = asyncio.create_task(entered(mcp_tools(turn(*servers), Limits(connect=600))))
        async with asyncio.timeout(SECONDS):
            while not (first.asked and second.asked):
                await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting


async def entered(manager: Any) -> None:
    async with manager:
        raise AssertionError("it was not to be entered")


async def test_sessions_are_ended_with_the_turn(tool_server: ToolServer, turn: Turn) -> None:
    server = await made(config, tool_server.url)
    tasks = len(asyncio.all_tasks())
    async with mcp_tools(turn(server)):
        assert len(asyncio.all_tasks()) > tasks
    assert tool_server.methods()[-1] == "DELETE"
    assert len(asyncio.all_tasks()) == tasks
