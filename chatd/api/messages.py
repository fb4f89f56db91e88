"""Messages and the queue of a chat."""

from uuid import UUID

from msgspec import Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.parsing import (
    MAX_INT64,
    ContentPart,
    QueryReader,
    check_content_size,
    decode_body,
    parse_int,
    path_uuid,
)
from chatd.api.views import ResourceViewSet
from chatd.chats.actions import (
    NewMessageRequest,
    Stored,
    delete_queued,
    edit_message,
    promote_queued,
    send_message,
)
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


class SendMessageRequest(Struct, kw_only=True):
    """Body of `POST …/messages` and, for content and model, of `PATCH …/messages/{id}`."""

    content: list[ContentPart] | None = None
    model_config_id: UUID | None = None
    mcp_server_ids: list[UUID] | None = None
    busy_behavior: str | None = None
    plan_mode: str | None = None

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
        return Response(
            {
                "messages": [message_body(message) for message in page.messages],
                "queued_messages": [queued_body(queued) for queued in queue],
                "has_more": page.has_more,
            }
        )

    def create(self, request: Request, chat: str) -> Response:
        sent = send_message(
            self.actor(request),
            path_uuid(chat),
            lambda: decode_body(request, SendMessageRequest).checked(),
        )
        if sent.message is not None:
            return Response(
                {"queued": False, "message": message_body(sent.message), **_warnings(sent)}
            )
        assert sent.queued is not None
        return Response(
            {"queued": True, "queued_message": queued_body(sent.queued), **_warnings(sent)}
        )

    def prompts(self, request: Request, chat: str) -> Response:
        chat_id = get_chat_for(self.actor(request).user, path_uuid(chat)).pk
        query = QueryReader(request, "Query parameters have invalid values.")
        limit = query.integer("limit", largest=MAX_INT64)
        query.check()
        if limit > MAX_PROMPTS:
            raise bad_request(f"Invalid limit parameter (0-{MAX_PROMPTS}).")
        prompts = list_prompts(chat_id, limit=limit)
        return Response({"prompts": [{"id": key, "text": text} for key, text in prompts]})

    def partial_update(self, request: Request, chat: str, message: str) -> Response:
        edited = edit_message(
            self.actor(request),
            path_uuid(chat),
            lambda: _message_id(message),
            lambda: decode_body(request, SendMessageRequest).checked(),
        )
        assert edited.message is not None
        body = message_body(edited.message)
        # Older clients read the message at the top level.
        return Response({**body, "message": body, **_warnings(edited)})


class QueueViewSet(ResourceViewSet):
    """`/chats/{chat}/queue/{queued}`."""

    def destroy(self, request: Request, chat: str, queued: str) -> Response:
        delete_queued(self.actor(request), path_uuid(chat), lambda: _queued_id(queued))
        return Response(status=204)

    def promote(self, request: Request, chat: str, queued: str) -> Response:
        promote_queued(self.actor(request), path_uuid(chat), lambda: _queued_id(queued))
        return Response({"message": "Queued message promotion accepted."}, status=202)


def _warnings(stored: Stored) -> dict[str, list[str]]:
    return {"warnings": stored.warnings} if stored.warnings else {}


def _message_id(raw: str) -> int:
    message_id = parse_int(raw, "Invalid chat message ID.")
    if message_id <= 0:
        raise bad_request(
            "Invalid chat message ID.", detail="Message ID must be a positive integer."
        )
    return message_id


def _queued_id(raw: str) -> int:
    return parse_int(raw, "Invalid queued message ID.")
