"""Results of client-executed tools."""

from typing import Annotated, Any

from msgspec import UNSET, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.parsing import MAX_CREATE_BODY_BYTES, check_nesting, decode_body, path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats.actions import submit_tool_results
from chatd.chats.parts import ToolResultPart
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
