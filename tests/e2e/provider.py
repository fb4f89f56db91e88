"""A provider whose answers tests script by prompt, and let through delta by delta.

Belongs here: choosing an answer, pacing it. The HTTP server and the wire are of the testing kit.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import web

from chatd.chattest.openai import (
    Chunk,
    OpenAIChunk,
    OpenAIChunkChoice,
    OpenAIHandler,
    OpenAIRequest,
    OpenAIResponse,
    OpenAIServer,
    answer_side_call,
    finish_chunk,
    side_schema,
    streaming_response,
    tool_call_chunk,
    usage_chunk,
)

USAGE = usage_chunk(prompt=21, completion=7)
MOST_WORDS = 30_000


def said(text: str) -> OpenAIChunk:
    """Return the chunk of one text delta."""
    return OpenAIChunk(choices=(OpenAIChunkChoice(delta=text),))


def answer(*deltas: str) -> OpenAIHandler:
    """Answer every request with these deltas at once."""
    return lambda request: streaming_response(*map(said, deltas), finish_chunk(), USAGE)


def calls(*wanted: tuple[str, str, str]) -> OpenAIHandler:
    """Answer with tool calls, each (id, name, arguments)."""
    chunks = [
        tool_call_chunk(name, arguments, call_id=call_id, index=index)
        for index, (call_id, name, arguments) in enumerate(wanted)
    ]
    return lambda request: streaming_response(*chunks, finish_chunk("tool_calls"), USAGE)


def in_turn(*handlers: OpenAIHandler) -> OpenAIHandler:
    """Answer the first request with the first handler, and so on; the last one stays."""
    left = list(handlers)

    def handler(request: OpenAIRequest) -> Any:
        return (left.pop(0) if len(left) > 1 else left[0])(request)

    return handler


def held_until(released: threading.Event, handler: OpenAIHandler) -> OpenAIHandler:
    """Answer like `handler`, but not before the test has seen to it that somebody follows."""

    def wait_and_answer(request: OpenAIRequest) -> Any:
        if not released.wait(120):
            raise RuntimeError("nobody released this answer")
        return handler(request)

    return wait_and_answer


def broken_off(*deltas: str, then: Chunk, after: threading.Event) -> OpenAIHandler:
    """Stream deltas, and a last chunk when the test says so: an error, say."""

    async def chunks() -> AsyncIterator[Chunk]:
        for delta in deltas:
            yield said(delta)
        await asyncio.to_thread(after.wait, 120)
        yield then

    return lambda request: streaming_response(chunks())


class Gate:
    """An answer whose deltas a test lets through. Every request gets it from its beginning.

    `open_streams` is the number of requests that are being answered right now.
    """

    def __init__(self, *deltas: str) -> None:
        self._deltas: list[str] = list(deltas)
        self._ended = False
        self._streams: dict[object, tuple[asyncio.AbstractEventLoop, asyncio.Event]] = {}
        self._changed = threading.Condition()

    @property
    def text(self) -> str:
        return "".join(self._deltas)

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    def send(self, *deltas: str) -> None:
        """Let deltas through to every request, those that come later too."""
        self._deltas += deltas
        self._ring()

    def end(self, *deltas: str) -> None:
        """Let the last deltas through; the answer is complete."""
        self._deltas += deltas
        self._ended = True
        self._ring()

    def wait_for_streams(self, count: int, seconds: float = 120.0) -> None:
        """Return when exactly `count` requests are being answered."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.open_streams == count, seconds):
                raise AssertionError(f"{self.open_streams} open provider calls, not {count}")

    def __call__(self, request: OpenAIRequest) -> OpenAIResponse:
        return streaming_response(self._chunks())

    def _ring(self) -> None:
        with self._changed:
            streams = list(self._streams.values())
        for loop, event in streams:
            loop.call_soon_threadsafe(event.set)

    async def _chunks(self) -> AsyncIterator[Chunk]:
        key, event, at = object(), asyncio.Event(), 0
        with self._changed:
            self._streams[key] = (asyncio.get_running_loop(), event)
            self._changed.notify_all()
        try:
            while True:
                event.clear()
                ended, due = self._ended, self._deltas[at:]
                at += len(due)
                for delta in due:
                    yield said(delta)
                if ended:
                    break
                await event.wait()
            yield finish_chunk()
            yield USAGE
        finally:
            with self._changed:
                del self._streams[key]
                self._changed.notify_all()


def paced(deltas: Sequence[str], seconds: float) -> OpenAIHandler:
    """Stream deltas with a pause between them."""

    async def chunks() -> AsyncIterator[Chunk]:
        for delta in deltas:
            yield said(delta)
            await asyncio.sleep(seconds)
        yield finish_chunk()
        yield USAGE

    return lambda request: streaming_response(chunks())


def counting(until: threading.Event, seconds: float) -> OpenAIHandler:
    """Stream `w0 w1 w2 …`, with a pause between them, until the test has seen enough.

    A test that fails before it says so leaves an answer that ends by itself.
    """

    async def chunks() -> AsyncIterator[Chunk]:
        for number in range(MOST_WORDS):
            yield said(f"w{number} ")
            await asyncio.sleep(seconds)
            if until.is_set():
                break
        yield finish_chunk()
        yield USAGE

    return lambda request: streaming_response(chunks())


def is_counted(text: str) -> bool:
    """Tell whether it is how `counting` begins, with nothing lost, doubled or torn."""
    return text == "".join(f"w{number} " for number in range(text.count(" ")))


async def _close_after(request: web.Request, response: web.StreamResponse) -> None:
    response.force_close()
    # the headers are ready by now: without this one a client would use the connection again
    response.headers["Connection"] = "close"


class ScriptedProvider(OpenAIServer):
    """Answers by the last message of the user; unknown prompts get a plain answer.

    Connections are not kept: one that is open is a call that is being answered.
    """

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(self._choose, side_handler=self._choose_beside, port=port)
        self._scripts: dict[str, OpenAIHandler] = {}
        self._titles: dict[str, OpenAIHandler] = {}
        self._labels: dict[str, OpenAIHandler] = {}

    def _application(self) -> web.Application:
        app = super()._application()
        app.on_response_prepare.append(_close_after)
        return app

    def on(self, prompt: str, handler: OpenAIHandler) -> None:
        """Answer conversations whose last user message is `prompt` with `handler`."""
        self._scripts[prompt] = handler

    def title(self, prompt: str, handler: OpenAIHandler) -> None:
        """Answer requests for a title after the user message `prompt` with `handler`."""
        self._titles[prompt] = handler

    def label(self, answered: str, handler: OpenAIHandler) -> None:
        """Answer requests for a label of a turn that ended with `answered` with `handler`."""
        self._labels[answered] = handler

    def gate(self, prompt: str, *deltas: str) -> Gate:
        gate = Gate(*deltas)
        self.on(prompt, gate)
        return gate

    def requests_for(self, prompt: str) -> list[OpenAIRequest]:
        return [request for request in self.requests if _asked(request) == prompt]

    def _choose_beside(self, request: OpenAIRequest) -> Any:
        scripts = self._titles if side_schema(request) == "propose_title" else self._labels
        return scripts.get(_asked(request), answer_side_call)(request)

    def _choose(self, request: OpenAIRequest) -> Any:
        asked = _asked(request)
        return self._scripts.get(asked, answer("You said: ", asked))(request)


def _asked(request: OpenAIRequest) -> str:
    users = [message.content for message in request.messages if message.role == "user"]
    return users[-1] if users else ""
