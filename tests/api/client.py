"""A client of the REST API that holds every answer against its document; chats in every state."""

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from django.test import Client

from chatd.accounts.models import Organization, User
from chatd.chats import runs, states
from chatd.chats.models import Chat, ChatMessage, ChatQueuedMessage, Role, Status
from chatd.chats.new_messages import NewMessage
from chatd.chats.open_steps import CallState, OpenCall
from chatd.chats.parts import ToolCallPart, to_stored
from chatd.chats.runs import Fence
from chatd.core.errors import NOT_FOUND_MESSAGE
from chatd.providers.models import ModelConfig
from tests.api.documented import check_answer
from tests.support.people import pending_chat, text, token_for, user_content

API = "/api/experimental"
HEADER = "Coder-Session-Token"
NIL = "00000000-0000-0000-0000-000000000000"
JSON_TYPE = "application/json; charset=utf-8"
SIGNED_OUT = "You are signed out or your session has expired. Please sign in again to continue."
NOT_FOUND = {"message": NOT_FOUND_MESSAGE}
LIMIT_EXCEEDED = "Chat usage limit exceeded."

_NOTHING = object()


@dataclass(frozen=True)
class Answer:
    """An answer: status, decoded body (None when there is none), headers."""

    status: int
    body: Any
    headers: dict[str, str] = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def message(self) -> str:
        return str(self.body["message"])

    @property
    def detail(self) -> str:
        return str(self.body.get("detail", ""))


class Api:
    """Calls as the holder of a token, in a browser without one, or as nobody."""

    def __init__(self, token: str = "", *, browser: Client | None = None) -> None:
        self._client = browser or Client(enforce_csrf_checks=True)
        self._headers = {HEADER: token} if token else {}

    def call(
        self,
        method: str,
        path: str,
        body: Any = _NOTHING,
        *,
        raw: bytes | None = None,
        content_type: str | None = "application/json",
        headers: dict[str, str] | None = None,
        plain: bool = False,
    ) -> Answer:
        """Send `body` as JSON, or `raw` bytes, or nothing. `plain` expects a text answer."""
        data = raw if raw is not None else b"" if body is _NOTHING else json.dumps(body).encode()
        sent = {**self._headers, **(headers or {})}
        extra = {"CONTENT_TYPE": ""} if content_type is None else {}
        url = path if path.startswith("/api/") else API + path
        response = self._client.generic(
            method, url, data, content_type=content_type or "", headers=sent, **extra
        )
        answer = Answer(
            response.status_code,
            None if plain or not response.content else json.loads(response.content),
            dict(response.items()),
            response.content,
        )
        _check_form(answer, plain=plain, head=method == "HEAD")
        media = answer.headers.get("Content-Type", "")
        check_answer(method, url.partition("?")[0], answer.status, media, answer.body)
        return answer

    def status(self, method: str, path: str) -> int:
        """Return the status of a route whose answer is no JSON."""
        return self._client.generic(method, API + path, headers=self._headers).status_code

    def get(self, path: str, **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any = _NOTHING, **options: Any) -> Answer:
        return self.call("POST", path, body, **options)

    def patch(self, path: str, body: Any = _NOTHING, **options: Any) -> Answer:
        return self.call("PATCH", path, body, **options)

    def put(self, path: str, body: Any = _NOTHING, **options: Any) -> Answer:
        return self.call("PUT", path, body, **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.call("DELETE", path, **options)


def _check_form(answer: Answer, *, plain: bool, head: bool) -> None:
    """What holds for every answer: JSON with a newline, and a message on every refusal."""
    if plain:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        return
    if answer.status == 204:
        assert answer.raw == b""
        return
    assert answer.headers["Content-Type"] == JSON_TYPE
    if head:
        return
    assert answer.raw.endswith(b"\n")
    if answer.status >= 400:
        assert answer.body["message"]
        if answer.body["message"] == LIMIT_EXCEEDED:
            assert answer.status == 409
            assert set(answer.body) == {"message", "spent_micros", "limit_micros", "resets_at"}
        else:
            assert set(answer.body) <= {"message", "detail", "validations"}


def api_of(user: User) -> Api:
    return Api(token_for(user))


def rows() -> tuple[int, int, int]:
    """Return how many chats, messages and queued messages there are."""
    return (
        Chat.objects.count(),
        ChatMessage.objects.count(),
        ChatQueuedMessage.objects.count(),
    )


def text_part(words: str = "hello") -> dict[str, Any]:
    """Return a text part as a Go client sends it: with a nil file id."""
    return {"type": "text", "text": words, "file_id": NIL}


# Chats in every state, made by the transitions that lead there

TOOL = {"name": "lookup", "description": "", "input_schema": {"type": "object"}}


def assistant(words: str = "an answer") -> NewMessage:
    return NewMessage(role=Role.ASSISTANT, content=text(words))


def calls(*ids: str, name: str = "lookup") -> NewMessage:
    """Return an assistant message that calls the client's tool once per id."""
    parts = [ToolCallPart(tool_call_id=i, tool_name=name, args={"q": i}) for i in ids]
    return NewMessage(role=Role.ASSISTANT, content=to_stored(parts))


def start(chat: Chat) -> Fence:
    """Have a runner take the pending chat; return its fence."""
    runner = uuid4()
    taken = runs.acquire(chat.pk, runner, lease_seconds=600)
    assert taken is not None
    return Fence(chat_id=chat.pk, runner_id=runner, history_version=taken.history_version)


def fresh(chat: Chat) -> Chat:
    return Chat.objects.select_related("owner").get(pk=chat.pk)


@dataclass(frozen=True)
class Chats:
    """Makes chats of one owner in the state that a test needs."""

    owner: User
    organization: Organization
    model: ModelConfig

    def pending(self, **fields: Any) -> Chat:
        return pending_chat(self.owner, self.organization, self.model, **fields)

    def running(self, **fields: Any) -> Chat:
        chat = self.pending(**fields)
        start(chat)
        return fresh(chat)

    def waiting(self, **fields: Any) -> Chat:
        chat = self.pending(**fields)
        runs.finish(start(chat), [assistant()])
        return fresh(chat)

    def unwritten(self) -> Chat:
        """Return a waiting chat in which nobody has written anything."""
        chat = self.waiting()
        ChatMessage.objects.filter(chat=chat).update(deleted=True)
        return chat

    def failed(self, **fields: Any) -> Chat:
        chat = self.pending(**fields)
        error = {"message": "It broke.", "kind": "overloaded", "retryable": True}
        runs.fail(start(chat), error)
        return fresh(chat)

    def requiring_action(self, *ids: str) -> Chat:
        chat = self.pending(dynamic_tools=[TOOL])
        runs.require_action(start(chat), [calls(*(ids or ("call-1",)))])
        return fresh(chat)

    def doubting(self, *ids: str) -> Chat:
        """Return a chat whose worker was lost in the middle of tool calls."""
        chat = self.pending()
        fence = start(chat)
        message = calls(*(ids or ("call-1",)))
        begun = [OpenCall(call=call, state=CallState.BEGUN) for call in message.content]
        runs.open_step(fence, message, begun)
        assert runs.release(chat.pk, fence.runner_id)
        return fresh(chat)

    def archived(self) -> Chat:
        chat = self.waiting()
        states.archive_chat(chat.pk)
        return fresh(chat)

    def in_status(self, status: Status) -> Chat:
        makers = {
            Status.PENDING: self.pending,
            Status.RUNNING: self.running,
            Status.WAITING: self.waiting,
            Status.ERROR: self.failed,
            Status.REQUIRES_ACTION: self.requiring_action,
        }
        return makers[status]()

    def child_of(self, root: Chat, **fields: Any) -> Chat:
        """Return a sub-chat; only the agent makes those, so the row is written as it would be."""
        child = self.waiting()
        Chat.objects.filter(pk=child.pk).update(parent_chat=root, root_chat=root, **fields)
        return fresh(child)


def queue(chat: Chat, words: str = "later", *, by: UUID | None = None) -> ChatQueuedMessage:
    """Queue a message behind a busy chat."""
    sent = states.send_message(chat.pk, user_content(by or chat.owner_id, words))
    assert sent.queued is not None
    return sent.queued
