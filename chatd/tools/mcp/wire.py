"""The SDK's session with a server, and the HTTP client under it.

The SDK lets a request that cannot be sent take its whole session down, or, over SSE, wait for ever.
The client here answers for the server instead, so that one call fails and its words say why. It is
imported by the first turn that needs it: the SDK takes a second.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any

import httpx2
import mcp_types as types
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from chatd.mcp.models import Transport
from chatd.tools.mcp.bearers import Bearer
from chatd.tools.mcp.endpoints import AUTHORIZATION, Endpoint

SESSION_GONE = "chatd/session-gone"
"""The data of an error: the server knows nothing of the session, and has not made the call."""

MAYBE_DONE = "The call may have been carried out."

MAX_BODY_BYTES = 8 * 1024 * 1024
CONNECT_SECONDS = 10.0

_SESSION_ID = "mcp-session-id"

Lost = Callable[[str], None]


class _BrokenBodyError(httpx2.StreamError):
    """A body that did not come whole; the SDK fails the one request that it belongs to."""


class _Body(httpx2.AsyncByteStream):
    """A body that is bounded (not for `limit` 0) and tells when it has ended."""

    def __init__(self, inner: Any, *, limit: int, ended: Callable[[], None]) -> None:
        self._inner = inner
        self._limit = limit
        self._ended = ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if self._limit and size > self._limit:
                    raise _BrokenBodyError("the answer is too large")
                yield chunk
        except httpx2.TransportError:
            raise _BrokenBodyError("the connection broke") from None
        finally:
            self._ended()

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Client(httpx2.AsyncClient):
    """Sends the requests of one session; calls `lost` when that is of no use any more."""

    def __init__(self, endpoint: Endpoint, lost: Lost) -> None:
        super().__init__(
            headers=dict(endpoint.headers),
            auth=_BearerAuth(endpoint.bearer) if endpoint.bearer else None,
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=None, pool=None),
            limits=httpx2.Limits(max_connections=None),
            trust_env=False,
        )
        self._is_sse = endpoint.server.transport == Transport.SSE
        self._lost = lost

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        posts = request.method == "POST"
        try:
            response = await super().send(request, **options)
        except httpx2.TransportError as error:
            if not posts:
                raise
            return self._refusal(request, 502, _words_of(error))
        if posts and response.status_code >= 400:
            return await self._refused(request, response)
        self._watch(response)
        return response

    async def _refused(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        status, kind = response.status_code, response.headers.get("content-type", "")
        if status == 404 and _SESSION_ID in request.headers:
            await response.aclose()
            return self._refusal(request, status, "It has ended the session.", SESSION_GONE)
        if kind.lower().startswith("application/json") and not self._is_sse:
            self._watch(response)
            return response  # it may say more than its status
        await response.aclose()
        return self._refusal(request, status, f"It answered with HTTP status {status}.")

    def _refusal(
        self, request: httpx2.Request, status: int, said: str, about: str | None = None
    ) -> httpx2.Response:
        """Return an answer that the SDK passes on as the error of the one request."""
        if self._is_sse:
            self._lost(said)  # answers come elsewhere, so nobody would pass it on
        error = {"code": types.INTERNAL_ERROR, "message": said}
        if about:
            error["data"] = about
        body = {"jsonrpc": "2.0", "id": None, "error": error}
        return httpx2.Response(status, json=body, request=request)

    def _watch(self, response: httpx2.Response) -> None:
        streams = response.headers.get("content-type", "").lower().startswith("text/event-stream")
        response.stream = _Body(
            response.stream,
            limit=0 if streams else MAX_BODY_BYTES,
            ended=self._stream_ended if streams and self._is_sse else _nothing,
        )

    def _stream_ended(self) -> None:
        self._lost("It has closed the connection.")


def _words_of(error: httpx2.TransportError) -> str:
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
        return f"It could not be reached ({type(error).__name__})."
    return f"The connection broke ({type(error).__name__}). {MAYBE_DONE}"


def _nothing() -> None:
    """Bodies of single answers may end."""


class _BearerAuth(httpx2.Auth):
    """Gives each request the token of the moment; one that is refused is renewed once."""

    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer

    async def async_auth_flow(self, request: httpx2.Request) -> Any:
        token = await self._bearer.token()
        _carry(request, token)
        response = yield request
        if response.status_code == 401:  # so it has done nothing yet
            other = await self._bearer.instead_of(token)
            if other:
                _carry(request, other)
                yield request


def _carry(request: httpx2.Request, token: str) -> None:
    if token:
        request.headers[AUTHORIZATION] = f"Bearer {token}"


@asynccontextmanager
async def open_session(endpoint: Endpoint, lost: Lost) -> AsyncIterator[ClientSession]:
    """Connect and shake hands. Its errors cancel the task that entered it: give it its own."""
    async with (
        _streams(endpoint, lost) as (read, write),
        ClientSession(read, write, client_info=_ourselves()) as session,
    ):
        await _shake_hands(session)
        yield session


@asynccontextmanager
async def _streams(endpoint: Endpoint, lost: Lost) -> AsyncIterator[tuple[Any, Any]]:
    url = endpoint.server.url
    client = _Client(endpoint, lost)

    def ours(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return client

    if endpoint.server.transport == Transport.SSE:
        async with sse_client(url, httpx_client_factory=ours) as streams:
            yield streams
        return
    http = streamable_http_client(url, http_client=client, max_sse_event_size=MAX_BODY_BYTES)
    async with client, http as streams:
        yield streams


async def _shake_hands(session: ClientSession) -> None:
    """Initialise the session; a server that knows only versions without sessions is asked so."""
    try:
        await session.initialize()
    except MCPError as refused:
        if refused.code not in (types.METHOD_NOT_FOUND, types.UNSUPPORTED_PROTOCOL_VERSION):
            raise
        await session.discover()


def _ourselves() -> types.Implementation:
    try:
        version = metadata.version("chatd")
    except metadata.PackageNotFoundError:
        version = "0"
    return types.Implementation(name="chatd", version=version)
