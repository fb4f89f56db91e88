"""The transport: one HTTP call to a provider, as a stream of events or as one answer.

Belongs here: connections, headers, the silence guard, closing early. Does not belong here: the
meaning of bytes (codecs), retries, which key or model is used.
"""

import asyncio
import platform
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import cache
from importlib import metadata
from typing import TypeVar

import aiohttp

from chatd.llm import openai_chat, openai_chat_answer, openai_models, providers
from chatd.llm.error_answers import MAX_BODY_BYTES
from chatd.llm.errors import ErrorKind, LLMError, classify, error_of, unreadable_answer
from chatd.llm.image_sizes import check_image_sizes
from chatd.llm.types import Answer, Event, Provider, Request

CONNECT_SECONDS = 30.0
DRAIN_SECONDS = 0.02
SILENCE_SECONDS = 600.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024

_STREAM = "text/event-stream"
_WHOLE = "application/json"

_T = TypeVar("_T")


def create_session() -> aiohttp.ClientSession:
    """Return a session fit for many long streams at once; close it when the process ends."""
    # the default of 100 connections would make the 101st turn wait for another one to end
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def stream(
    request: Request,
    provider: Provider,
    *,
    session: aiohttp.ClientSession | None = None,
    silence_seconds: float = SILENCE_SECONDS,
) -> AsyncGenerator[Event]:
    """Call the model and yield events as they arrive; the last one is a `Finish`.

    Without a `session` the call opens and closes its own. No event for `silence_seconds` ends
    the call. Leaving the iteration early closes the connection.

    Raises: LLMError, and nothing else but cancellation.
    """
    body = _encode(request, provider, stream=True)
    async with (
        _opened(session) as opened,
        aclosing(_events(opened, body, provider, silence_seconds)) as events,
    ):
        async for event in events:
            yield event


async def complete(
    request: Request,
    provider: Provider,
    *,
    seconds: float,
    session: aiohttp.ClientSession | None = None,
) -> Answer:
    """Call the model without a stream and return its answer, within `seconds`.

    Raises: LLMError, and nothing else but cancellation.
    """
    body = _encode(request, provider, stream=False)
    async with _opened(session) as opened:
        return await _guarded(_answer(opened, body, provider, seconds), seconds, provider)


async def list_models(
    provider: Provider, *, seconds: float, session: aiohttp.ClientSession | None = None
) -> list[str]:
    """Return the ids of the models that a provider offers, within `seconds`.

    Raises: LLMError, and nothing else but cancellation.
    """
    _check_can_be_called(provider)
    async with _opened(session) as opened:
        return await _guarded(_models(opened, provider, seconds), seconds, provider)


@asynccontextmanager
async def _opened(session: aiohttp.ClientSession | None) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the session that was given, or one that ends with the call."""
    if session is not None:
        yield session
        return
    async with create_session() as own:
        yield own


def _check_can_be_called(provider: Provider) -> None:
    if not providers.can_be_called(provider.kind):
        name = providers.display_name(provider.kind)
        message = f"{name} models cannot be used yet. Choose another provider."
        raise error_of(ErrorKind.CONFIG, provider, message=message)


def _encode(request: Request, provider: Provider, *, stream: bool) -> bytes:
    check_image_sizes(request, provider)
    _check_can_be_called(provider)
    try:
        return openai_chat.encode(request, provider, stream=stream)
    except (TypeError, ValueError) as exc:
        failure = classify(exc, provider)
    raise failure


async def _events(
    session: aiohttp.ClientSession, body: bytes, provider: Provider, silence_seconds: float
) -> AsyncGenerator[Event]:
    # headers are no sign of life: one limit holds from the request to the first event
    deadline = asyncio.get_running_loop().time() + silence_seconds
    response = await _guarded(_post(session, body, provider, _STREAM), silence_seconds, provider)
    try:
        if not 200 <= response.status < 300:
            raise await _refused(response, silence_seconds, provider)
        decoder = openai_chat.Decoder(provider)
        decoded = _decoded(response, decoder, provider, deadline, silence_seconds)
        async with aclosing(decoded) as events:
            async for event in events:
                yield event
        await _drain(response)
    finally:
        # not release(): an answer that is still being written must stop being paid for
        response.close()


async def _answer(
    session: aiohttp.ClientSession, body: bytes, provider: Provider, seconds: float
) -> Answer:
    response = await _post(session, body, provider, _WHOLE)
    return openai_chat_answer.decode(await _whole(response, seconds, provider), provider)


async def _models(session: aiohttp.ClientSession, provider: Provider, seconds: float) -> list[str]:
    response = await session.get(
        _url(provider, "/models"), headers=_headers(provider, _WHOLE), allow_redirects=False
    )
    return openai_models.decode(await _whole(response, seconds, provider), provider)


async def _whole(response: aiohttp.ClientResponse, seconds: float, provider: Provider) -> bytes:
    """Return the body of a good answer and close the connection."""
    try:
        if not 200 <= response.status < 300:
            raise await _refused(response, seconds, provider)
        raw = await _read_limited(response, MAX_ANSWER_BYTES)
    finally:
        response.close()
    if len(raw) > MAX_ANSWER_BYTES:
        detail = f"The answer is larger than {MAX_ANSWER_BYTES} bytes."
        raise unreadable_answer(provider, detail)
    return raw


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a finished answer to its very end, so that its connection serves the next call."""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while await response.content.readany():
                pass


async def _post(
    session: aiohttp.ClientSession, body: bytes, provider: Provider, accept: str
) -> aiohttp.ClientResponse:
    # a session's own total timeout would end long answers; the silence guard is the limit
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    return await session.post(
        _url(provider, "/chat/completions"),
        data=body,
        headers=_headers(provider, accept),
        timeout=timeout,
        allow_redirects=False,  # a key must not follow a provider to another host
    )


async def _decoded(
    response: aiohttp.ClientResponse,
    decoder: openai_chat.Decoder,
    provider: Provider,
    deadline: float,
    silence_seconds: float,
) -> AsyncGenerator[Event]:
    clock = asyncio.get_running_loop().time
    while not decoder.finished:
        seen = decoder.events_seen
        try:
            chunk = await _guarded(response.content.readany(), deadline - clock(), provider)
        except LLMError as error:
            if error.kind is not ErrorKind.TIMEOUT:
                raise
            if not decoder.answered:
                raise
            chunk = b""
        for event in decoder.feed(chunk) if chunk else decoder.close():
            yield event
        if decoder.failure:
            raise decoder.failure
        if decoder.events_seen > seen:
            # from here, not from the read: time the consumer took is not the provider's silence
            deadline = clock() + silence_seconds


async def _guarded(waiting: Awaitable[_T], seconds: float, provider: Provider) -> _T:
    """Await for at most `seconds`; every failure becomes an LLMError."""
    scope = asyncio.timeout(max(0.0, seconds))
    try:
        async with scope:
            return await waiting
    except TimeoutError as exc:
        silent = scope.expired()
        failure = error_of(ErrorKind.STARTUP_TIMEOUT, provider) if silent else None
        failure = failure or classify(exc, provider)
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        failure = classify(exc, provider)  # nobody stopped this call: the transport gave it up
    except Exception as exc:  # noqa: BLE001 - the edge to a foreign library
        failure = classify(exc, provider)
    # raised outside the handler: chained transport exceptions hold the request headers
    raise failure


async def _refused(
    response: aiohttp.ClientResponse, seconds: float, provider: Provider
) -> LLMError:
    try:
        body = await _guarded(_read_limited(response, MAX_BODY_BYTES), seconds, provider)
    except LLMError:
        body = b""
    return classify((response.status, body, response.headers), provider)


async def _read_limited(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body, or a little more than `limit` bytes of a longer one."""
    body = bytearray()
    while len(body) <= limit:
        chunk = await response.content.readany()
        if not chunk:
            break
        body += chunk
    return bytes(body)


def _url(provider: Provider, path: str) -> str:
    kind = providers.find_kind(provider.kind)
    base = provider.base_url.strip() or (kind.default_base_url if kind else "")
    return base.rstrip("/") + path


def _headers(provider: Provider, accept: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": accept,
        # compressing proxies hold deltas back until a block is full
        "Accept-Encoding": "identity",
        "User-Agent": user_agent(),
        **provider.headers,
    }
    if key := provider.api_key.strip():
        headers["Authorization"] = f"Bearer {key}"
        if provider.kind == "azure":
            headers["api-key"] = key
    return headers


@cache
def user_agent() -> str:
    """Return `chatd/<version> (<os>/<arch>)`."""
    try:
        version = metadata.version("chatd")
    except metadata.PackageNotFoundError:
        version = "0"
    return f"chatd/{version} ({platform.system().lower()}/{platform.machine().lower()})"
