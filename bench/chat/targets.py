"""What the driver can be aimed at: chatd, the bare floor, an OpenAI-compatible gateway.

A target opens a `Line` (one conversation that can be followed) and sends prompts on it. What comes
back is noted with the machine's monotonic clock: characters as they arrive, bytes of the frames,
and the end of the answer.
"""

import asyncio
import time
from abc import abstractmethod
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp
import orjson

from bench.chat.provider import order

_WAIT_SECONDS = 120.0


class TargetError(Exception):
    """The target did not do what a measurement needs."""


@dataclass(slots=True)
class Heard:
    """What one line heard of one answer. Times are nanoseconds of the monotonic clock."""

    sent_at: int = 0
    answered_at: int = 0
    arrivals: list[tuple[int, int]] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    wire_bytes: int = 0
    frames: int = 0
    ended_at: int = 0
    failure: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def first_part_ms(self) -> float:
        """From the moment the prompt was sent to its first characters."""
        if not self.arrivals:
            raise TargetError(f"nothing arrived: {self.failure or 'no text'}")
        return (self.arrivals[0][0] - self.sent_at) / 1e6

    def delays_ms(self, written: list[int], size: int) -> list[float]:
        """Return for each delta how long it took from the provider to the client."""
        delays: list[float] = []
        so_far = 0
        for arrived_at, characters in self.arrivals:
            before, so_far = so_far, so_far + characters
            arrived = range(before // size, so_far // size)
            delays += [(arrived_at - written[number]) / 1e6 for number in arrived]
        return delays


class Line(Protocol):
    """One conversation, followed."""

    heard: Heard

    async def send(self, prompt: str) -> None:
        """Send a prompt; what is heard from then on stands in a fresh `heard`."""

    async def ended(self) -> Heard:
        """Return when the answer has ended."""

    async def close(self) -> None: ...


class Target(Protocol):
    name: str

    async def line(self) -> Line:
        """Open a conversation and follow it."""


class _Socket:
    """A line whose frames come over a WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.heard = Heard()
        self._socket = socket
        self._done = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self._socket:
            arrived_at = time.monotonic_ns()
            self.heard.wire_bytes += len(frame.data) + (4 if len(frame.data) > 125 else 2)
            self.heard.frames += 1
            self._take(frame.data, arrived_at)
        self.heard.failure = self.heard.failure or f"closed with {self._socket.close_code}"
        self._done.set()

    @abstractmethod
    def _take(self, frame: str, arrived_at: int) -> None: ...

    def _text(self, text: str, arrived_at: int) -> None:
        self.heard.arrivals.append((arrived_at, len(text)))
        self.heard.pieces.append(text)

    def _end(self, arrived_at: int) -> None:
        self.heard.ended_at = arrived_at
        self._done.set()

    def _begin(self) -> Heard:
        self.heard = Heard()
        self._done.clear()
        self.heard.sent_at = time.monotonic_ns()
        return self.heard

    async def ended(self) -> Heard:
        await asyncio.wait_for(self._done.wait(), _WAIT_SECONDS)
        if self.heard.failure:
            raise TargetError(self.heard.failure)
        return self.heard

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()


class Http:
    """A session of a client with as many connections as are wanted."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        assert self._session is not None
        return self._session


class FloorLine(_Socket):
    def __init__(self, target: "FloorTarget", name: str, socket: Any) -> None:
        super().__init__(socket)
        self._target = target
        self.name = name

    async def send(self, prompt: str) -> None:
        heard = self._begin()
        url = f"{self._target.url}/send?to={self.name}"
        async with self._target.session.post(url, data=prompt) as answer:
            heard.answered_at = time.monotonic_ns()
            assert answer.status == 204

    def _take(self, frame: str, arrived_at: int) -> None:
        event = orjson.loads(frame)
        if "text" in event:
            self._text(event["text"], arrived_at)
        else:
            self._end(arrived_at)


class FloorTarget(Http):
    """The bare floor of `floor.py`."""

    name = "floor"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self._lines = 0

    async def line(self) -> FloorLine:
        self._lines += 1
        return await self.follow(f"line{self._lines}")

    async def follow(self, name: str) -> FloorLine:
        socket = await self.session.ws_connect(f"{self.url}/socket/{name}")
        return FloorLine(self, name, socket)


_API = "/api/experimental/chats"


class ChatdLine(_Socket):
    """A chat and a socket that follows it."""

    def __init__(self, target: "ChatdTarget", chat_id: str, socket: Any) -> None:
        super().__init__(socket)
        self._target = target
        self.chat_id = chat_id
        self.status = ""
        self._answered = False

    async def send(self, prompt: str) -> None:
        heard = self._begin()
        self._answered, self.status = False, ""
        await self._target.post(f"{_API}/{self.chat_id}/messages", {"content": _content(prompt)})
        heard.answered_at = time.monotonic_ns()

    def _take(self, frame: str, arrived_at: int) -> None:
        for event in orjson.loads(frame):
            match event["type"]:
                case "message_part":
                    text = event["message_part"]["part"].get("text")
                    if text:
                        self._text(text, arrived_at)
                case "message":
                    self._answered |= event["message"]["role"] == "assistant"
                    self._end_if_answered(arrived_at)
                case "error":
                    self.heard.failure = event["error"]["message"]
                case "retry":
                    self.heard.failure = "the answer was begun again"
                case "status":
                    self.status = event["status"]["status"]
                    self._end_if_answered(arrived_at)

    def _end_if_answered(self, arrived_at: int) -> None:
        """A snapshot tells the status before the messages, a live stream after them."""
        if self.status == "error" or (self.status == "waiting" and self._answered):
            self._end(arrived_at)


def _content(prompt: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": prompt}]


class ChatdTarget(Http):
    """One web process of chatd. `model` is the id of the model config to chat with."""

    name = "chatd"

    def __init__(self, url: str, token: str, model: str) -> None:
        super().__init__()
        self.url = url
        self._model = model
        self._headers = {"Coder-Session-Token": token, "X-Coder-Bypass-Ratelimit": "true"}
        self._organization = ""

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the decoded answer. Raises TargetError when it is a refusal."""
        async with self.session.post(self.url + path, json=body, headers=self._headers) as answer:
            raw = await answer.read()
            if answer.status >= 300:
                raise TargetError(f"{path}: {answer.status} {raw[:200]!r}")
            return orjson.loads(raw) if raw else None

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path, headers=self._headers) as answer:
            raw = await answer.read()
            if answer.status != 200:
                raise TargetError(f"{path}: {answer.status} {raw[:200]!r}")
            return orjson.loads(raw)

    async def create(self, prompt: str) -> str:
        """Create a chat with a first message and return its id."""
        if not self._organization:
            self._organization = (await self.get("/api/v2/users/me/organizations"))[0]["id"]
        body = {
            "organization_id": self._organization,
            "content": _content(prompt),
            "model_config_id": self._model,
        }
        chat: dict[str, str] = await self.post(_API, body)
        return chat["id"]

    async def line(self) -> ChatdLine:
        """Open a chat that has had a short turn already, and follow it."""
        line = await self.follow(await self.create(order("opening", deltas=1, rate=1000)))
        await line.ended()
        return line

    async def follow(self, chat_id: str) -> ChatdLine:
        url = f"{self.url}{_API}/{chat_id}/stream"
        socket = await self.session.ws_connect(url, headers=self._headers, max_msg_size=0)
        return ChatdLine(self, chat_id, socket)


class GatewayLine:
    """One conversation with an OpenAI-compatible server; the answer streams in the response."""

    def __init__(self, target: "GatewayTarget") -> None:
        self.heard = Heard()
        self._target = target
        self._task: asyncio.Task[None] | None = None

    async def send(self, prompt: str) -> None:
        self.heard = Heard(sent_at=time.monotonic_ns())
        self._task = asyncio.create_task(self._stream(prompt))

    async def _stream(self, prompt: str) -> None:
        heard = self.heard
        body = {
            "model": self._target.model,
            "stream": True,
            "messages": [{"role": "user", "content": prompt}],
        }
        url = f"{self._target.url}/chat/completions"
        headers = {"Authorization": f"Bearer {self._target.key}"}
        async with self._target.session.post(url, json=body, headers=headers) as answer:
            heard.answered_at = time.monotonic_ns()
            if answer.status != 200:
                raise TargetError(f"{answer.status} {(await answer.read())[:200]!r}")
            async for line in answer.content:
                arrived_at = time.monotonic_ns()
                heard.wire_bytes += len(line)
                if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                    continue
                choices = orjson.loads(line[6:]).get("choices")
                text = choices[0]["delta"].get("content") if choices else None
                if text:
                    heard.arrivals.append((arrived_at, len(text)))
                    heard.pieces.append(text)
                    heard.frames += 1
        heard.ended_at = time.monotonic_ns()

    async def ended(self) -> Heard:
        assert self._task is not None
        await asyncio.wait_for(self._task, _WAIT_SECONDS)
        return self.heard

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class GatewayTarget(Http):
    """Any server with `POST {url}/chat/completions`, e.g. a proxy before the paced provider."""

    name = "gateway"

    def __init__(self, url: str, key: str, model: str) -> None:
        super().__init__()
        self.url = url.rstrip("/")
        self.key = key
        self.model = model

    async def line(self) -> GatewayLine:
        return GatewayLine(self)
