"""A turn's connection to one server, kept in a task of its own.

The SDK's task groups cancel the task that entered them when something of theirs fails. So that is a
task per session, which a `Link` owns; calls are sent from wherever they are made, and fail when
the link is lost. The next call after that opens a new one.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from httpx2 import HTTPStatusError, TransportError
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    PaginatedRequestParams,
)
from mcp_types import Tool as Listed
from pydantic import TypeAdapter, ValidationError

from chatd.tools.mcp.endpoints import Endpoint
from chatd.tools.mcp.wire import MAYBE_DONE, SESSION_GONE, open_session

log = structlog.get_logger(__name__)

MAX_PAGES = 100
NO_ANSWER = "It sent what is no answer of the protocol."

_Result: TypeAdapter[CallToolResult | InputRequiredResult] = TypeAdapter(
    CallToolResult | InputRequiredResult
)
_closing: set[asyncio.Task[None]] = set()
"""Links that are being closed, some of them longer than their turn waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long to wait for servers, in seconds. `connect`: for a session and its list of tools."""

    connect: float = 10.0
    call: float = 60.0
    close: float = 2.0


class MCPFailureError(Exception):
    """What went wrong with a server, in words for logs and for the model, without addresses."""


class _SessionGoneError(Exception):
    """The server has refused a call because it does not know the session any more."""


class Link:
    """One session, from `open` to `close`. Not to be used again once it `is_lost`."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._limits = limits
        self._session: ClientSession | None = None
        self._listed: asyncio.Future[list[Listed]] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._stop = asyncio.Event()
        self._is_stale = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_lost(self) -> bool:
        return self._is_stale or self._lost.done()

    async def open(self) -> list[Listed]:
        """Connect and return the server's tools. Raises MCPFailureError."""
        name = f"mcp-{self._endpoint.server.slug}"
        self._task = asyncio.create_task(self._live(), name=name)
        waited_for: set[asyncio.Future[Any]] = {self._listed, self._lost}
        await asyncio.wait(
            waited_for, timeout=self._limits.connect, return_when=asyncio.FIRST_COMPLETED
        )
        if self._listed.done():
            return self._listed.result()
        self._lose("It did not answer in time.")
        raise MCPFailureError(self._lost.result())

    async def _live(self) -> None:
        """Hold the session until it is to stop or something of it fails."""
        reason = "The connection has ended."
        try:
            async with open_session(self._endpoint, self._lose) as session:
                tools = await _all_tools(session)
                self._session = session
                self._listed.set_result(tools)
                await self._stop.wait()
        except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - servers of any kind
            reason = _words(error)
        finally:
            self._lose(reason)

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    async def call(
        self, name: str, arguments: Mapping[str, Any]
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool. Raises MCPFailureError, and _SessionGoneError when nothing was done.

        Who waits no longer, because of the time or because the turn was stopped, tells the server.
        """
        request = asyncio.create_task(self._send(name, arguments))
        waited_for: set[asyncio.Future[Any]] = {request, self._lost}
        try:
            await asyncio.wait(
                waited_for, timeout=self._limits.call, return_when=asyncio.FIRST_COMPLETED
            )
            if request.done():
                return request.result()
            if self._lost.done():
                said = self._lost.result().removesuffix(MAYBE_DONE).strip()
                raise MCPFailureError(f"{said} {MAYBE_DONE}")
            raise MCPFailureError(
                f"It did not answer within {self._limits.call:g} seconds. {MAYBE_DONE}"
            )
        except ValidationError:
            raise MCPFailureError(NO_ANSWER) from None
        except MCPError as error:
            self._is_stale = self._is_stale or error.data == SESSION_GONE
            if error.data == SESSION_GONE:
                raise _SessionGoneError from None
            cut_off = f". {MAYBE_DONE}" if error.code == CONNECTION_CLOSED else ""
            raise MCPFailureError(error.message + cut_off) from None
        finally:
            if not request.done():
                request.cancel()
                await asyncio.wait({request}, timeout=self._limits.close)

    async def _send(
        self, name: str, arguments: Mapping[str, Any]
    ) -> CallToolResult | InputRequiredResult:
        assert self._session is not None
        params = CallToolRequestParams(name=name, arguments=dict(arguments))
        # not `call_tool`: it holds results against the schema of the tool and drops good ones
        return await self._session.send_request(CallToolRequest(params=params), _Result)

    def close(self) -> asyncio.Task[None]:
        """Begin to close; the returned task ends within twice `limits.close`."""
        closing = asyncio.create_task(self._close())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
        return closing

    async def _close(self) -> None:
        if self._task is None:
            return
        self._stop.set()
        if not self._listed.done():
            self._task.cancel()
        for _ in range(2):
            await asyncio.wait({self._task}, timeout=self._limits.close)
            if self._task.done():
                return
            self._task.cancel()
        log.warning("an MCP connection does not close", server_id=str(self._endpoint.server.pk))


class Connection:
    """A server as a turn uses it: one link at a time, opened anew after it was lost."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self.endpoint = endpoint
        self._limits = limits
        self._links: list[Link] = []
        self._opening = asyncio.Lock()

    async def open(self) -> list[Listed]:
        """Connect and return the server's tools. Raises MCPFailureError."""
        if self.endpoint.bearer:
            await self.endpoint.bearer.token()  # refreshing it has a time of its own
        link = Link(self.endpoint, self._limits)
        self._links.append(link)
        return await link.open()

    async def call(
        self, name: str, arguments: Mapping[str, Any]
    ) -> CallToolResult | InputRequiredResult:
        """Call a tool. Raises MCPFailureError."""
        for _ in range(2):
            link = await self._link()
            try:
                return await link.call(name, arguments)
            except _SessionGoneError:
                continue
        raise MCPFailureError("It ends its sessions at once.")

    async def _link(self) -> Link:
        async with self._opening:
            if self._links[-1].is_lost:
                await self.open()
            return self._links[-1]

    async def close(self) -> None:
        """Close what was opened; returns in bounded time, whatever the server does."""
        closing = [link.close() for link in self._links]
        if closing:
            await asyncio.wait(closing)


async def _all_tools(session: ClientSession) -> list[Listed]:
    tools: list[Listed] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        tools += page.tools
        if not page.next_cursor or page.next_cursor == cursor:
            break
        cursor = page.next_cursor
    return tools


def _words(error: BaseException) -> str:
    """Return what went wrong; texts of libraries are left out, they hold addresses."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return error.message
    if isinstance(error, HTTPStatusError):
        return f"It answered with HTTP status {error.response.status_code}."
    if isinstance(error, TransportError):
        return f"It could not be reached ({type(error).__name__})."
    if isinstance(error, ValidationError):
        return NO_ANSWER
    return f"It could not be used ({type(error).__name__})."
