"""A strict client of the API, as a compiled client with typed decoding would be.

Every status code is expected exactly, every body must be JSON of the right shape, and a stream
frame must be an array of known events. A `Follower` applies a stream as a user interface does and
keeps everything it saw. Waiting is always for something, with a deadline.
"""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

NIL_UUID = "00000000-0000-0000-0000-000000000000"
MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_FRAME_EVENTS = 256
WAIT_SECONDS = 120.0
"""Ends what hangs, also where everything takes many times as long; nothing waits this long."""

_TOKEN_HEADER = "Coder-Session-Token"
_API = "/api/experimental/chats"
_PAYLOADS = {
    "status": "status",
    "message": "message",
    "message_part": "message_part",
    "queue_update": "queued_messages",
    "retry": "retry",
    "error": "error",
    "action_required": "action_required",
}
STATUSES = {"waiting", "pending", "running", "error", "requires_action"}

Event = dict[str, Any]


class ContractError(AssertionError):
    """The server did what a strict client cannot read."""


def text_part(text: str) -> dict[str, Any]:
    """Return an input part as compiled clients send it: the nil UUID stands for "no file"."""
    return {"type": "text", "text": text, "file_id": NIL_UUID}


def text_of(message: Mapping[str, Any], kind: str = "text") -> str:
    """Return the text, or the reasoning, of a stored message."""
    parts = message.get("content") or []
    return "".join(part["text"] for part in parts if part["type"] == kind)


def tool_calls_of(message: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    """Return id, name and arguments of the tool calls in a stored message."""
    return [
        (part["tool_call_id"], part["tool_name"], part.get("args"))
        for part in message.get("content") or []
        if part["type"] == "tool-call"
    ]


class Client:
    """Calls of one person against one web process.

    `bodies` keeps every answer, `headers` are those of the last one.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.bodies: list[bytes] = []
        self.headers: Message = Message()
        self._organization_id = ""

    def call(self, method: str, path: str, body: Any = None, *, expect: int = 200) -> Any:
        """Return the decoded answer. Raises ContractError for any other status."""
        place = urlsplit(self.url)
        assert place.hostname is not None
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=WAIT_SECONDS)
        headers = {_TOKEN_HEADER: self.token, "Accept": "application/json"}
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, path, body=payload, headers=headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        self.bodies.append(raw)
        self.headers = answer.headers
        if answer.status != expect:
            raise ContractError(f"{method} {path}: {answer.status}, not {expect}: {raw[:600]!r}")
        if answer.status == 204:
            if raw:
                raise ContractError(f"{method} {path}: a 204 with a body")
            return None
        kind = answer.headers.get("Content-Type", "")
        if not kind.startswith("application/json"):
            raise ContractError(f"{method} {path}: content type {kind!r}")
        return json.loads(raw)

    @property
    def organization_id(self) -> str:
        if not self._organization_id:
            found = self.call("GET", "/api/v2/users/me/organizations")
            self._organization_id = found[0]["id"]
        return self._organization_id

    def create_chat(
        self,
        text: str,
        *,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        expect: int = 201,
    ) -> Any:
        """Create a chat; it must come back pending."""
        body: dict[str, Any] = {
            "organization_id": self.organization_id,
            "content": [text_part(text)],
        }
        if model is not None:
            body["model_config_id"] = model
        if tools:
            body["unsafe_dynamic_tools"] = list(tools)
        chat = self.call("POST", _API, body, expect=expect)
        if expect == 201 and chat["status"] != "pending":
            raise ContractError(f"a new chat is {chat['status']}")
        return chat

    def chat(self, chat_id: str) -> Any:
        return self.call("GET", f"{_API}/{chat_id}")

    def page(self, chat_id: str, query: str = "") -> Any:
        return self.call("GET", f"{_API}/{chat_id}/messages{query}")

    def messages(self, chat_id: str) -> list[Any]:
        """Return the visible messages, oldest first; ids must be unique."""
        page = self.page(chat_id, "?limit=200")
        if page["has_more"]:
            raise ContractError("more than 200 messages; page through them")
        ids = [message["id"] for message in page["messages"]]
        if ids != sorted(set(ids), reverse=True):
            raise ContractError(f"message ids are not descending: {ids}")
        return list(reversed(page["messages"]))

    def send(self, chat_id: str, text: str, *, busy: str = "", expect: int = 200) -> Any:
        body: dict[str, Any] = {"content": [text_part(text)]}
        if busy:
            body["busy_behavior"] = busy
        return self.call("POST", f"{_API}/{chat_id}/messages", body, expect=expect)

    def edit(self, chat_id: str, message_id: int, text: str) -> Any:
        body = {"content": [text_part(text)]}
        return self.call("PATCH", f"{_API}/{chat_id}/messages/{message_id}", body)["message"]

    def interrupt(self, chat_id: str) -> Any:
        return self.call("POST", f"{_API}/{chat_id}/interrupt")

    def delete_queued(self, chat_id: str, queued_id: int) -> None:
        self.call("DELETE", f"{_API}/{chat_id}/queue/{queued_id}", expect=204)

    def promote_queued(self, chat_id: str, queued_id: int) -> None:
        self.call("POST", f"{_API}/{chat_id}/queue/{queued_id}/promote", expect=202)

    def submit_results(self, chat_id: str, outputs: Mapping[str, Any], *, expect: int = 204) -> Any:
        """Answer client-side tool calls, by call id."""
        results = [
            {"tool_call_id": call_id, "output": output, "is_error": False}
            for call_id, output in outputs.items()
        ]
        path = f"{_API}/{chat_id}/tool-results"
        return self.call("POST", path, {"results": results}, expect=expect)

    def follow(self, chat_id: str, *, after_id: int | None = None) -> "Follower":
        """Open the stream of a chat. Use it as a context manager."""
        query = "" if after_id is None else f"?after_id={after_id}"
        return Follower(self, chat_id, f"{_API}/{chat_id}/stream{query}")

    def open_socket(self, path: str) -> ClientConnection:
        """Return a connected socket. Raises InvalidStatus for a refused handshake."""
        return connect(
            self.url.replace("http://", "ws://") + path,
            additional_headers={_TOKEN_HEADER: self.token},
            compression=None,
            max_size=MAX_FRAME_BYTES,
            proxy=None,
            open_timeout=WAIT_SECONDS,
            close_timeout=WAIT_SECONDS,
        )


class Follower:
    """One stream connection, applied as it comes.

    `parts` are those shown now: a retry, a stored answer and a new run clear them. `messages` are
    kept by id. `at_reset` is the text that stood there at each clearing.
    """

    def __init__(self, client: Client, chat_id: str, path: str) -> None:
        self.chat_id = chat_id
        self.events: list[Event] = []
        self.parts: list[dict[str, Any]] = []
        self.messages: dict[int, Any] = {}
        self.delivered: Counter[int] = Counter()
        self.queue: list[Any] = []
        self.statuses: list[str] = []
        self.retries: list[Any] = []
        self.errors: list[Any] = []
        self.actions: list[list[Any]] = []
        self.at_reset: list[str] = []
        self.close_code: int | None = None
        self._bodies = client.bodies
        self._failure: BaseException | None = None
        self._ended = False
        self._changed = threading.Condition()
        self._socket = client.open_socket(path)
        self._thread = threading.Thread(target=self._read, name="follower", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if exc is None and self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Leave; nothing more is applied afterwards."""
        self._socket.close()
        self._thread.join(WAIT_SECONDS)

    # what is shown

    @property
    def status(self) -> str:
        return self.statuses[-1] if self.statuses else ""

    @property
    def text(self) -> str:
        """The text of the answer as it streams now."""
        return _joined(self.parts, "text")

    @property
    def reasoning(self) -> str:
        return _joined(self.parts, "reasoning")

    @property
    def answers(self) -> list[str]:
        """The texts of the stored assistant messages, oldest first."""
        return [
            text_of(message)
            for _, message in sorted(self.messages.items())
            if message["role"] == "assistant"
        ]

    def kinds(self, *wanted: str) -> list[str]:
        """Return the events seen as short words, e.g. `status:waiting`, `message:user`."""
        words = [_word(event) for event in self.events]
        return [word for word in words if not wanted or word.split(":")[0] in wanted]

    # waiting

    def wait(
        self, is_met: Callable[[Self], bool], what: str, seconds: float = WAIT_SECONDS
    ) -> Self:
        """Return when the condition holds. Raises AssertionError with what was seen."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not is_met(self):
                if self._failure is not None:
                    raise self._failure
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    why = f"closed with {self.close_code}" if self._ended else f"{seconds:g} s"
                    raise AssertionError(
                        f"not seen: {what} ({why}); status {self.status!r}, text"
                        f" …{self.text[-60:]!r}, events …{self.kinds()[-25:]}"
                    )
                self._changed.wait(left)
        return self

    def wait_for_status(self, *wanted: str, seconds: float = WAIT_SECONDS) -> Self:
        return self.wait(lambda f: f.status in wanted, f"status {wanted}", seconds)

    def wait_for_text(self, text: str, seconds: float = WAIT_SECONDS) -> Self:
        """Wait until the streamed text contains `text`."""
        return self.wait(lambda f: text in f.text, f"streamed text {text!r}", seconds)

    def wait_for_answers(self, count: int, seconds: float = WAIT_SECONDS) -> Self:
        """Wait until the chat rests with so many stored answers."""
        return self.wait(
            lambda f: f.status == "waiting" and len(f.answers) >= count,
            f"{count} answers and status waiting",
            seconds,
        )

    def wait_until_closed(self, seconds: float = WAIT_SECONDS) -> int | None:
        """Return the close code once the server has ended the connection."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise AssertionError("the stream was not closed")
        return self.close_code

    # reading

    def _read(self) -> None:
        try:
            for frame in self._socket:
                self._apply_frame(frame)
        except ConnectionClosed:
            pass
        except BaseException as error:  # handed to whoever waits
            self._failure = error
        with self._changed:
            self.close_code = self._socket.protocol.close_code
            self._ended = True
            self._changed.notify_all()

    def _apply_frame(self, frame: str | bytes) -> None:
        if not isinstance(frame, str):
            raise ContractError("a binary frame")
        self._bodies.append(frame.encode())
        batch = json.loads(frame)
        if not isinstance(batch, list) or not 1 <= len(batch) <= MAX_FRAME_EVENTS:
            raise ContractError(f"a frame that is no array of 1 to 256 events: {frame[:300]}")
        with self._changed:
            for event in batch:
                self._check(event)
                self.events.append(event)
                self._apply(event)
            self._changed.notify_all()

    def _check(self, event: Event) -> None:
        payload = _PAYLOADS.get(event.get("type", ""))
        if payload is None or event.get("chat_id") != self.chat_id:
            raise ContractError(f"an event of no known kind or of another chat: {event}")
        expected = {"type", "chat_id", payload}
        if event["type"] == "queue_update" and payload not in event:
            expected.discard(payload)
        if set(event) != expected:
            raise ContractError(f"an event with other members than {sorted(expected)}: {event}")
        if not self.events and event["type"] != "status":
            raise ContractError(f"the first event is no status: {event}")

    def _apply(self, event: Event) -> None:
        match event["type"]:
            case "status":
                self._apply_status(event["status"]["status"])
            case "message":
                self._apply_message(event["message"])
            case "message_part":
                if self.status != "running":
                    raise ContractError(f"a part while the chat is {self.status}: {event}")
                self.parts.append(event["message_part"])
            case "queue_update":
                self.queue = event.get("queued_messages", [])
                if "queued_messages" in event and not self.queue:
                    raise ContractError("an empty queue must be absent")
            case "retry":
                self._reset()
                self.retries.append(event["retry"])
            case "error":
                self.errors.append(event["error"])
            case "action_required":
                self.actions.append(event["action_required"]["tool_calls"])

    def _apply_status(self, status: str) -> None:
        if status not in STATUSES:
            raise ContractError(f"an unknown status: {status}")
        if status in ("pending", "running") and status != self.status:
            self._reset()
        self.statuses.append(status)

    def _apply_message(self, message: Any) -> None:
        if message["role"] == "assistant":
            self._reset()
        self.delivered[message["id"]] += 1
        self.messages[message["id"]] = message

    def _reset(self) -> None:
        if self.parts:
            self.at_reset.append(self.text)
            self.parts = []


def _joined(parts: Sequence[Mapping[str, Any]], kind: str) -> str:
    return "".join(item["part"]["text"] for item in parts if item["part"]["type"] == kind)


def _word(event: Event) -> str:
    match event["type"]:
        case "status":
            return f"status:{event['status']['status']}"
        case "message":
            return f"message:{event['message']['role']}"
        case kind:
            return str(kind)
