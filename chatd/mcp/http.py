"""The transport of OAuth: small requests to servers that somebody configured, each within bounds.

Where they are is up to the administrators, addresses inside of their own network included. No
redirect is followed, answers are cut, and nothing of a request appears in an error.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import msgspec

from chatd.core.threads import give_back_connections
from chatd.llm.user_agent import user_agent

MAX_ANSWER_BYTES = 256 * 1024

T = TypeVar("T")


class OAuthError(Exception):
    """What went wrong with another server, in words without secrets.

    `code` is the error of RFC 6749 it answered with, if it did.
    """

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of any status; the body is read, names of headers are in any letter case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self, shape: type[T]) -> T:
        """Return the body as `shape`. Raises OAuthError."""
        try:
            return msgspec.json.decode(self.body, type=shape, strict=False)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise OAuthError("It sent an answer that cannot be read.") from None


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end in this thread and return its result; not to be called in a transaction.

    A loop of its own, not that of the request: a browser that goes away must not cut off an
    exchange whose outcome has to be stored, or a grant is lost.
    """
    give_back_connections()
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


def create_session(*, seconds: float) -> aiohttp.ClientSession:
    """Return a session whose requests take at most so long each."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=seconds),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent(), "Accept": "application/json"},
        trust_env=False,
    )


async def send(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    headers_only: bool = False,
    **body: Any,
) -> Answer:
    """Send a request and return its answer, whatever the status. Raises OAuthError."""
    try:
        async with session.request(method, url, allow_redirects=False, **body) as response:
            read = b"" if headers_only else await _limited(response)
            return Answer(response.status, response.headers, read)
    except TimeoutError:
        failure = "It did not answer in time."
    except (aiohttp.ClientError, OSError, ValueError) as error:
        failure = f"It could not be reached ({type(error).__name__})."
    raise OAuthError(failure)


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            response.close()
            raise OAuthError(f"Its answer is larger than {MAX_ANSWER_BYTES} bytes.")
    return bytes(body)
