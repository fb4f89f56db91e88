"""Tools of a chat: results of those that clients carry out, and calls that are in doubt."""

from typing import Annotated, Any

from msgspec import UNSET, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.parsing import MAX_CREATE_BODY_BYTES, check_nesting, decode_body, path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.actions import Decided, decide_call, submit_tool_results
from chatd.chats.open_steps import OpenCall, calls_in_doubt
from chatd.chats.parts import ToolResultPart
from chatd.chats.selectors import get_chat_for
from chatd.chats.states import Decision
from chatd.chats.wire import client_call_bodies
from chatd.core.errors import Validation, bad_request
from chatd.core.shapes import documented


class ToolResult(Struct, kw_only=True):
    """One result; `output` is any JSON value, null included; absent is refused later."""

    tool_call_id: Annotated[str | None, documented(required=True)] = None
    output: Annotated[Any, documented(required=True)] = UNSET
    is_error: bool | None = None

    def part(self) -> ToolResultPart:
        check_nesting(self.output)
        return ToolResultPart(
            tool_call_id=self.tool_call_id or "",
            result=self.output,
            is_error=True if self.is_error else UNSET,
        )


class SubmitToolResultsRequest(Struct, kw_only=True):
    results: Annotated[list[ToolResult] | None, documented(required=True, minItems=1)] = None

    def parts(self) -> list[ToolResultPart]:
        return [result.part() for result in self.results or []]


class ToolResultsViewSet(ResourceViewSet):
    """`/chats/{chat}/tool-results`."""

    @Operation(
        "submitToolResults",
        "Submit the results of all open client-executed tool calls; the turn goes on",
        description="A body of more than 256 KiB is refused.",
        status=204,
        body=SubmitToolResultsRequest,
        refusals=[403],
    )
    def create(self, request: Request, chat: str) -> Response:
        submit_tool_results(
            self.actor(request),
            path_uuid(chat),
            lambda: decode_body(
                request, SubmitToolResultsRequest, cap=MAX_CREATE_BODY_BYTES
            ).parts(),
        )
        return Response(status=204)


class DecideCallRequest(Struct, kw_only=True):
    """`output` is any JSON value, and counts with the decision `done` alone."""

    decision: Annotated[str | None, documented(required=True, enum=list(Decision))] = None
    output: Any = None

    def choice(self) -> Decision:
        """Return the decision. Raises ChatdError 400."""
        try:
            return Decision(self.decision or "")
        except ValueError:
            known = ", ".join(Decision)
            wrong = Validation("decision", f"Must be one of {known}.")
            raise bad_request("Invalid decision.", validations=[wrong]) from None


def call_in_doubt_body(entry: OpenCall) -> shapes.CallInDoubt:
    """Return the CallInDoubt object."""
    [call] = client_call_bodies([entry.call])
    return {
        "id": str(entry.id),
        **call,
        "mcp_server_config_id": entry.call.get("mcp_server_config_id") or "",
        "created_at": entry.call.get("created_at", ""),
    }


class CallsInDoubtViewSet(ResourceViewSet):
    """`/chats/{chat}/calls-in-doubt`."""

    @Operation(
        "listCallsInDoubt",
        "Tool calls that may have been carried out, or not: their worker was lost",
        description="While there are any the chat is in the status `error`. A message that is sent"
        " without a decision leaves them undecided, which the model is told.",
        answer=list[shapes.CallInDoubt],
        refusals=[403],
    )
    def list(self, request: Request, chat: str) -> Response:
        found = get_chat_for(self.actor(request).user, path_uuid(chat))
        return Response([call_in_doubt_body(call) for call in calls_in_doubt(found)])

    @Operation(
        "decideCallInDoubt",
        "Decide about a tool call: carry it out again, count it as done, or skip it",
        description="The turn goes on with the last decision.",
        status=204,
        body=DecideCallRequest,
        refusals=[403, 409],
    )
    def create(self, request: Request, chat: str, call: str) -> Response:
        def decided() -> Decided:
            asked = decode_body(request, DecideCallRequest, cap=MAX_CREATE_BODY_BYTES)
            check_nesting(asked.output)
            return Decided(path_uuid(call), asked.choice(), asked.output)

        decide_call(self.actor(request), path_uuid(chat), decided)
        return Response(status=204)
