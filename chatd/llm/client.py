"""The transport: one HTTP call to a provider, as a stream of events or as one answer.

Belongs here: connections, headers, the silence guard, closing early. Does not belong here: the
meaning of bytes (codecs), retries, which key or model is used.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TypeVar

import aiohttp
from yarl import URL

from chatd.llm import providers
from chatd.llm.aws_credentials import with_credentials
from chatd.llm.error_answers import MAX_BODY_BYTES
from chatd.llm.errors import ErrorKind, LLMError, classify, error_of, unreadable_answer
from chatd.llm.image_sizes import check_image_sizes
from chatd.llm.observing import HttpAttempt, Observer, observed
from chatd.llm.silence import SilenceGuard
from chatd.llm.types import Answer, Event, Provider, Request
from chatd.llm.wires.choice import codec_for
from chatd.llm.wires.codec import Codec, Decoder, Target
from chatd.llm.wires.target import target_of, target_of_list

CONNECT_SECONDS = 30.0
DRAIN_SECONDS = 0.02
SILENCE_SECONDS = 600.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024

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
    observer: Observer | None = None,
    sized: Callable[[int], None] | None = None,
) -> AsyncGenerator[Event]:
    """Call the model and yield events as they arrive; the last one is a `Finish`.

    Without a `session` the call opens and closes its own. No event for `silence_seconds` ends
    the call. Leaving the iteration early closes the connection. `sized` is told the bytes of the
    request before it is sent, an `observer` of the HTTP call once it has ended.

    Raises: LLMError, and nothing else but cancellation.
    """
    check_image_sizes(request, provider)
    provider = await with_credentials(provider)
    codec = codec_for(provider, request.model)
    target = _target(codec, request, provider, is_stream=True)
    if sized is not None:
        sized(len(target.body))
    async with _opened(session) as opened:
        with observed(observer) as attempt:
            decoder = codec.decoder(request, provider)
            called = _events(opened, target, decoder, provider, silence_seconds, attempt)
            async with aclosing(called) as events:
                async for event in events:
                    yield event


async def complete(
    request: Request,
    provider: Provider,
    *,
    seconds: float,
    session: aiohttp.ClientSession | None = None,
    observer: Observer | None = None,
) -> Answer:
    """Call the model without a stream and return its answer, within `seconds`.

    An `observer` is told of the HTTP call once it has ended.

    Raises: LLMError, and nothing else but cancellation.
    """
    check_image_sizes(request, provider)
    provider = await with_credentials(provider)
    codec = codec_for(provider, request.model)
    target = _target(codec, request, provider, is_stream=False)
    async with _opened(session) as opened:
        with observed(observer) as attempt:
            answered = _answer(opened, target, provider, seconds, attempt)
            body = await _guarded(answered, seconds, provider)
            return codec.answer(body, request, provider)


async def list_models(
    provider: Provider, *, seconds: float, session: aiohttp.ClientSession | None = None
) -> list[str]:
    """Return the ids of the models that a provider offers, within `seconds`.

    Raises: LLMError, and nothing else but cancellation.
    """
    codec = codec_for(provider)
    if codec.models is None:
        message = f"{providers.display_name(provider.kind)} does not tell which models it has."
        raise error_of(ErrorKind.CONFIG, provider, message=message)
    target = target_of_list(codec, codec.models, provider)
    async with _opened(session) as opened:
        body = await _guarded(_models(opened, target, provider, seconds), seconds, provider)
    return codec.models.decode(body, provider)


@asynccontextmanager
async def _opened(session: aiohttp.ClientSession | None) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield the session that was given, or one that ends with the call."""
    if session is not None:
        yield session
        return
    async with create_session() as own:
        yield own


def _target(codec: Codec, request: Request, provider: Provider, *, is_stream: bool) -> Target:
    try:
        return target_of(codec, request, provider, is_stream=is_stream)
    except (TypeError, ValueError) as exc:
        failure = classify(exc, provider)
    raise failure


async def _events(
    session: aiohttp.ClientSession,
    target: Target,
    decoder: Decoder,
    provider: Provider,
    silence_seconds: float,
    attempt: HttpAttempt,
) -> AsyncGenerator[Event]:
    # headers are no sign of life: one limit holds from the request to the first event
    deadline = asyncio.get_running_loop().time() + silence_seconds
    posted = _post(session, target, attempt)
    response = await _guarded(posted, silence_seconds, provider)
    try:
        if not 200 <= response.status < 300:
            raise await _refused(response, silence_seconds, provider, attempt)
        guard = SilenceGuard(response, deadline=deadline, seconds=silence_seconds)
        try:
            async with aclosing(_decoded(decoder, provider, guard, attempt)) as events:
                async for event in events:
                    yield event
        finally:
            guard.stop()
        await _drain(response)
    finally:
        # not release(): an answer that is still being written must stop being paid for
        response.close()


async def _answer(
    session: aiohttp.ClientSession,
    target: Target,
    provider: Provider,
    seconds: float,
    attempt: HttpAttempt,
) -> bytes:
    response = await _post(session, target, attempt)
    return await _whole(response, seconds, provider, attempt)


async def _models(
    session: aiohttp.ClientSession, target: Target, provider: Provider, seconds: float
) -> bytes:
    response = await session.get(target.url, headers=target.headers, allow_redirects=False)
    return await _whole(response, seconds, provider, HttpAttempt())


async def _whole(
    response: aiohttp.ClientResponse, seconds: float, provider: Provider, attempt: HttpAttempt
) -> bytes:
    """Return the body of a good answer and close the connection."""
    try:
        if not 200 <= response.status < 300:
            raise await _refused(response, seconds, provider, attempt)
        raw = await _read_limited(response, MAX_ANSWER_BYTES)
        attempt.received(raw)
    finally:
        response.close()
    if len(raw) > MAX_ANSWER_BYTES:
        detail = f"The answer is larger than {MAX_ANSWER_BYTES} bytes."
        raise unreadable_answer(provider, detail)
    return raw


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a finished answer to its very end, so that its connection serves the next call."""
    if response.content.is_eof():
        return
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while await response.content.readany():
                pass


async def _post(
    session: aiohttp.ClientSession, target: Target, attempt: HttpAttempt
) -> aiohttp.ClientResponse:
    # a session's own total timeout would end long answers; the silence guard is the limit
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    attempt.sent("POST", target.url, target.headers, target.body)
    response = await session.post(
        URL(target.url, encoded="%" in target.url),  # what is quoted must stay so
        data=target.body,
        headers=target.headers,
        timeout=timeout,
        allow_redirects=False,  # a key must not follow a provider to another host
    )
    attempt.answered(response.status, response.headers)
    return response


async def _decoded(
    decoder: Decoder, provider: Provider, guard: SilenceGuard, attempt: HttpAttempt
) -> AsyncGenerator[Event]:
    while not decoder.finished:
        seen = decoder.events_seen
        chunk = await _chunk(decoder, provider, guard)
        attempt.received(chunk)
        for event in decoder.feed(chunk) if chunk else decoder.close():
            yield event
        if decoder.failure:
            raise decoder.failure
        if decoder.events_seen > seen:
            guard.heard()


async def _chunk(decoder: Decoder, provider: Provider, guard: SilenceGuard) -> bytes:
    """Return what comes next; nothing where only the end of a whole answer was lost."""
    try:
        return await guard.read()
    except BaseException as exc:  # noqa: BLE001 - the edge to a foreign library
        failure = _failure(exc, provider, is_silence=guard.has_expired)
    if decoder.answered and failure.kind in (ErrorKind.TIMEOUT, ErrorKind.STARTUP_TIMEOUT):
        return b""
    # raised outside the handler: chained transport exceptions hold the request headers
    raise failure


async def _guarded(waiting: Awaitable[_T], seconds: float, provider: Provider) -> _T:
    """Await for at most `seconds`; every failure becomes an LLMError."""
    scope = asyncio.timeout(max(0.0, seconds))
    try:
        async with scope:
            return await waiting
    except BaseException as exc:  # noqa: BLE001 - the edge to a foreign library
        failure = _failure(exc, provider, is_silence=scope.expired())
    raise failure  # outside the handler, as above


def _failure(exc: BaseException, provider: Provider, *, is_silence: bool) -> LLMError:
    """Return what an exception of the transport means. Raises it when the call was stopped."""
    match exc:
        case TimeoutError() if is_silence:
            return error_of(ErrorKind.STARTUP_TIMEOUT, provider)
        case asyncio.CancelledError():
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise exc
            return classify(exc, provider)  # nobody stopped this call: the transport gave it up
        case Exception():
            return classify(exc, provider)
        case _:
            raise exc


async def _refused(
    response: aiohttp.ClientResponse, seconds: float, provider: Provider, attempt: HttpAttempt
) -> LLMError:
    try:
        body = await _guarded(_read_limited(response, MAX_BODY_BYTES), seconds, provider)
    except LLMError:
        body = b""
    attempt.received(body)
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
