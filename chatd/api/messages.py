"""Messages and the queue of a chat."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation, integer
from chatd.api.parsing import (
    MAX_INT64,
    Content,
    QueryReader,
    check_content_size,
    decode_body,
    parse_int,
    path_uuid,
)
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.actions import (
    NewMessageRequest,
    Stored,
    delete_queued,
    edit_message,
    promote_queued,
    send_message,
)
from chatd.chats.content import PlanModeText
from chatd.chats.selectors import (
    DEFAULT_PAGE,
    MAX_PAGE,
    MAX_PROMPTS,
    get_chat_for,
    list_prompts,
    list_queue,
    page_messages,
)
from chatd.chats.wire import message_body, queued_body
from chatd.core.errors import bad_request
from chatd.core.shapes import documented, shaped


class SendMessageRequest(Struct, kw_only=True):
    """Body of `POST …/messages` and, for content and model, of `PATCH …/messages/{id}`."""

    content: Content = None
    model_config_id: UUID | None = None
    mcp_server_ids: list[UUID] | None = None
    busy_behavior: Annotated[
        str | None,
        documented(enum=["queue", "interrupt", "", None]),
        Meta(description="Empty is queue."),
    ] = None
    plan_mode: PlanModeText = None

    def checked(self) -> NewMessageRequest:
        check_content_size(self.content)
        return NewMessageRequest(
            content=self.content,
            model_config_id=self.model_config_id,
            mcp_server_ids=self.mcp_server_ids,
            busy_behavior=self.busy_behavior or "",
            plan_mode=self.plan_mode,
        )


class MessageViewSet(ResourceViewSet):
    """`/chats/{chat}/messages`."""

    @Operation(
        "listMessages",
        "Page through the visible messages, newest first",
        description="With `after_id` alone, oldest first.",
        answer=shapes.MessagePage,
        parameters=[
            integer("before_id", "Messages with a smaller id; 0 is none.", most=MAX_INT64),
            integer("after_id", "Messages with a larger id; 0 is none.", most=MAX_INT64),
            integer("limit", f"How many; {DEFAULT_PAGE} if absent.", least=1, most=MAX_PAGE),
        ],
    )
    def list(self, request: Request, chat: str) -> Response:
        chat_id = get_chat_for(self.actor(request).user, path_uuid(chat)).pk
        query = QueryReader(request, "Query parameters have invalid values.")
        before_id = query.integer("before_id", largest=MAX_INT64)
        after_id = query.integer("after_id", largest=MAX_INT64)
        limit = query.integer("limit", largest=MAX_INT64) if "limit" in request.GET else 0
        query.check()
        if request.GET.get("limit", "").strip() and not 1 <= limit <= MAX_PAGE:
            raise bad_request(f"Invalid limit parameter (1-{MAX_PAGE}).")
        page = page_messages(
            chat_id, before_id=before_id, after_id=after_id, limit=limit or DEFAULT_PAGE
        )
        queue = [] if before_id or after_id else list_queue(chat_id)
        body: shapes.MessagePage = {
            "messages": [message_body(message) for message in page.messages],
            "queued_messages": [queued_body(queued) for queued in queue],
            "has_more": page.has_more,
        }
        return Response(body)

    @Operation(
        "sendMessage",
        "Send a message: it starts a turn, or waits in the queue for the running one",
        answer=shapes.SentMessage,
        body=SendMessageRequest,
        refusals=[403],
        limited=True,
    )
    def create(self, request: Request, chat: str) -> Response:
        sent = send_message(
            self.actor(request),
            path_uuid(chat),
            lambda: decode_body(request, SendMessageRequest).checked(),
        )
        return Response(_sent_body(sent))

    @Operation(
        "listPrompts",
        "List what the people of a chat asked, newest first",
        answer=shapes.Prompts,
        parameters=[integer("limit", "How many; 0 is 500.", most=MAX_PROMPTS)],
    )
    def prompts(self, request: Request, chat: str) -> Response:
        chat_id = get_chat_for(self.actor(request).user, path_uuid(chat)).pk
        query = QueryReader(request, "Query parameters have invalid values.")
        limit = query.integer("limit", largest=MAX_INT64)
        query.check()
        if limit > MAX_PROMPTS:
            raise bad_request(f"Invalid limit parameter (0-{MAX_PROMPTS}).")
        prompts = list_prompts(chat_id, limit=limit)
        body: shapes.Prompts = {"prompts": [{"id": key, "text": text} for key, text in prompts]}
        return Response(body)

    @Operation(
        "editMessage",
        "Put another message in the place of one of one's own; what came after it is gone",
        answer=shapes.EditedMessage,
        body=SendMessageRequest,
        refusals=[403],
        limited=True,
    )
    def partial_update(self, request: Request, chat: str, message: str) -> Response:
        edited = edit_message(
            self.actor(request),
            path_uuid(chat),
            lambda: _message_id(message),
            lambda: decode_body(request, SendMessageRequest).checked(),
        )
        return Response(_edited_body(edited))


class QueueViewSet(ResourceViewSet):
    """`/chats/{chat}/queue/{queued}`."""

    @Operation("deleteQueuedMessage", "Take a message out of the queue", status=204)
    def destroy(self, request: Request, chat: str, queued: str) -> Response:
        delete_queued(self.actor(request), path_uuid(chat), lambda: _queued_id(queued))
        return Response(status=204)

    @Operation(
        "promoteQueuedMessage",
        "Run a queued message next; a running turn is stopped",
        answer=shapes.Acknowledgement,
        status=202,
        refusals=[403],
    )
    def promote(self, request: Request, chat: str, queued: str) -> Response:
        promote_queued(self.actor(request), path_uuid(chat), lambda: _queued_id(queued))
        body: shapes.Acknowledgement = {"message": "Queued message promotion accepted."}
        return Response(body, status=202)


def _sent_body(sent: Stored) -> shapes.SentMessage:
    body: shapes.SentMessage = {"queued": sent.queued is not None, "warnings": sent.warnings}
    if sent.message is not None:
        body["message"] = message_body(sent.message)
    if sent.queued is not None:
        body["queued_message"] = queued_body(sent.queued)
    return shaped(shapes.SentMessage, body)


def _edited_body(edited: Stored) -> shapes.EditedMessage:
    """Return the new message, also at the top level, where older clients read it."""
    assert edited.message is not None
    message = message_body(edited.message)
    body: shapes.EditedMessage = {**message, "message": message, "warnings": edited.warnings}
    return shaped(shapes.EditedMessage, body)


def _message_id(raw: str) -> int:
    message_id = parse_int(raw, "Invalid chat message ID.")
    if message_id <= 0:
        raise bad_request(
            "Invalid chat message ID.", detail="Message ID must be a positive integer."
        )
    return message_id


def _queued_id(raw: str) -> int:
    return parse_int(raw, "Invalid queued message ID.")
