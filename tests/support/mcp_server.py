"""An MCP server of the official SDK: in a thread with knobs, or as a process that can be killed.

`python -m tests.support.mcp_server PORT` serves `/mcp` and `/sse` until it is ended.
"""

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.request import ProxyHandler, Request, build_opener

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)

from tests.support.services import free_port, wait_for_port

PIXEL = base64.b64encode(b"no picture, but bytes").decode()
SECONDS = 60.0


@dataclass
class Asked:
    """One request, with the JSON-RPC method of its body."""

    http_method: str
    method: str
    headers: dict[str, str]
    body: Any


@dataclass
class Knobs:
    """What a test may change while the server runs."""

    hang: set[str] = field(default_factory=set)
    """Methods of JSON-RPC, or `GET` and `DELETE`, that are never answered."""
    is_let_in: Callable[[dict[str, str]], bool] = lambda headers: True
    results: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    """Results that methods are answered with, made of the params."""
    statuses: dict[str, int] = field(default_factory=dict)
    """HTTP statuses that methods are answered with."""


class Record:
    """What the tools of a server saw."""

    def __init__(self) -> None:
        self.called: list[tuple[str, Any]] = []
        self.waiting = threading.Semaphore(0)
        """Released for each call that has begun to hang."""
        self.cancelled = threading.Semaphore(0)
        """Released for each hanging call that was cancelled."""


def tool_server(record: Record, *, many: int = 0) -> MCPServer[Any]:
    """Return a server with tools of every kind, or with so many that only echo."""
    server: MCPServer[Any] = MCPServer("tools of the tests")

    if many:
        for number in range(many):
            server.add_tool(_echo, name=f"echo_{number:03}", structured_output=False)
        return server

    @server.tool(annotations=ToolAnnotations(read_only_hint=True), structured_output=False)
    def greet(name: str) -> str:
        """Greet somebody."""
        record.called.append(("greet", name))
        return f"Hello {name}"

    @server.tool()
    def add(a: int, b: int) -> dict[str, int]:
        record.called.append(("add", (a, b)))
        return {"sum": a + b}

    @server.tool(structured_output=False)
    def fail() -> str:
        raise ToolError("the shelf is empty")

    @server.tool(structured_output=False)
    def mixed() -> CallToolResult:
        text = TextResourceContents(uri="file:///a.txt", text="from a file")
        link = ResourceLink(name="b", uri="file:///b.txt", description="another")
        return CallToolResult(
            content=[
                TextContent(text="said"),
                ImageContent(data=PIXEL, mime_type="image/png"),
                EmbeddedResource(resource=text),
                link,
            ]
        )

    @server.tool(structured_output=False)
    def media(kind: str) -> CallToolResult:
        blob = BlobResourceContents(uri="file:///c", blob=PIXEL, mime_type="application/pdf")
        blocks: dict[str, Any] = {
            "image": ImageContent(data=PIXEL, mime_type="image/png"),
            "audio": AudioContent(data=PIXEL, mime_type="audio/wav"),
            "blob": EmbeddedResource(resource=blob),
        }
        return CallToolResult(content=[blocks[kind]])

    @server.tool(structured_output=False)
    async def hang() -> str:
        record.called.append(("hang", None))
        record.waiting.release()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            record.cancelled.release()
            raise
        return ""

    return server


def _echo(text: str = "") -> str:
    return text


class ToolServer:
    """Serves a server of the SDK at `/mcp` and `/sse` while the `with` block runs."""

    def __init__(self, *, many: int = 0) -> None:
        self.record = Record()
        self.knobs = Knobs()
        self.asked: list[Asked] = []
        self._server = tool_server(self.record, many=many)
        self._uvicorn: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def sse_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/sse"

    def methods(self) -> list[str]:
        return [each.method for each in self.asked]

    def forget_sessions(self) -> None:
        """End every session of streamable HTTP, as a server does that was idle for long."""
        ids = {each.headers.get("mcp-session-id") for each in self.asked} - {None}
        for session_id in ids:
            request = Request(self.url, method="DELETE", headers={"mcp-session-id": session_id})
            with build_opener(ProxyHandler({})).open(request, timeout=SECONDS) as answer:
                assert answer.status == 200

    def start(self) -> Self:
        config = uvicorn.Config(
            _Gate(self, application(self._server)),
            host="127.0.0.1",
            port=self.port,
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=1,
        )
        self._uvicorn = uvicorn.Server(config)
        self._uvicorn.install_signal_handlers = lambda: None
        self._thread = threading.Thread(target=self._uvicorn.run, daemon=True)
        self._thread.start()
        wait_for_port(self.port, _Alive(), SECONDS)  # type: ignore[arg-type]
        return self

    def stop(self) -> None:
        """End it at once; what is being answered is cut off."""
        assert self._uvicorn is not None
        assert self._thread is not None
        self._uvicorn.should_exit = self._uvicorn.force_exit = True
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Alive:
    def poll(self) -> None:
        return None


def application(server: MCPServer[Any]) -> Any:
    """Return an ASGI application with both transports."""
    app = server.streamable_http_app()
    app.router.routes.extend(server.sse_app().routes)
    return app


class _Gate:
    """Notes every request, and refuses or keeps those that the knobs say."""

    def __init__(self, owner: ToolServer, app: Any) -> None:
        self._owner = owner
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked, again = await _read(scope, receive)
        self._owner.asked.append(asked)
        knobs = self._owner.knobs
        if not knobs.is_let_in(asked.headers):
            await _answer(send, 401)
        elif asked.method in knobs.statuses:
            await _answer(send, knobs.statuses[asked.method])
        elif asked.method in knobs.results:
            result = knobs.results[asked.method](asked.body.get("params") or {})
            await _answer(send, 200, {"jsonrpc": "2.0", "id": asked.body["id"], "result": result})
        elif asked.method in knobs.hang:
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await self._app(scope, again, send)


async def _read(scope: Any, receive: Any) -> tuple[Asked, Any]:
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    http_method = scope["method"]
    if http_method != "POST":
        return Asked(http_method, http_method, headers, None), receive
    raw, more = b"", True
    while more:
        message = await receive()
        raw, more = raw + message.get("body", b""), message.get("more_body", False)
    body = json.loads(raw)
    left = [{"type": "http.request", "body": raw, "more_body": False}]

    async def again() -> Any:
        return left.pop() if left else await receive()

    return Asked(http_method, body.get("method", ""), headers, body), again


async def _answer(send: Any, status: int, body: Any = None) -> None:
    headers = [(b"content-type", b"application/json")] if body else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


class ToolProcess:
    """The same server as a process, which `kill` ends like a crash."""

    def __init__(self) -> None:
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def sse_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/sse"

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Serve, at the same address as before; sessions are forgotten."""
        command = [sys.executable, "-m", "tests.support.mcp_server", str(self.port)]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE)
        wait_for_port(self.port, self._popen, SECONDS)

    def wait_until_hanging(self) -> None:
        """Return when a call of `hang` has begun."""
        assert self._popen.stdout is not None
        while self._popen.stdout.readline() != b"hanging\n":
            assert self._popen.poll() is None

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()
        assert self._popen.stdout is not None
        self._popen.stdout.close()

    def __exit__(self, *_: object) -> None:
        self.kill()


class _Announcing(threading.Semaphore):
    """Says on standard output when a call hangs."""

    def __init__(self) -> None:
        super().__init__(0)

    def release(self, n: int = 1) -> None:
        sys.stdout.write("hanging\n")
        sys.stdout.flush()
        super().release(n)


if __name__ == "__main__":
    seen = Record()
    seen.waiting = _Announcing()
    uvicorn.run(
        application(tool_server(seen)), host="127.0.0.1", port=int(sys.argv[1]), log_config=None
    )
