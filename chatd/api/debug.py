"""Debug runs: what a chat asked of models. There are some only while debug logging is on."""

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.documenting import Operation
from chatd.api.parsing import parse_uuid, path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats import shapes
from chatd.chats.debug import MAX_RUNS, get_run, list_runs
from chatd.chats.debug_models import ChatDebugRun, ChatDebugStep
from chatd.chats.selectors import get_chat_for
from chatd.core.clock import rfc3339
from chatd.core.shapes import shaped


def run_summary_body(run: ChatDebugRun) -> shapes.DebugRunSummary:
    """Return the DebugRunSummary object."""
    body: shapes.DebugRunSummary = {
        "id": str(run.pk),
        "chat_id": str(run.chat_id),
        "kind": str(run.kind),
        "status": str(run.status),
        "summary": run.summary,
        "started_at": rfc3339(run.started_at),
        "updated_at": rfc3339(run.updated_at),
        "provider": run.provider or "",
        "model": run.model or "",
        "finished_at": rfc3339(run.finished_at) if run.finished_at else "",
    }
    return shaped(shapes.DebugRunSummary, body)


def run_body(run: ChatDebugRun) -> shapes.DebugRun:
    """Return the DebugRun object: the summary, what the run was about, and its steps."""
    body: shapes.DebugRun = {
        **run_summary_body(run),
        "steps": [_step_body(step) for step in run.steps.all()],
        "root_chat_id": _id(run.root_chat_id),
        "parent_chat_id": _id(run.parent_chat_id),
        "model_config_id": _id(run.model_config_id),
        "trigger_message_id": run.trigger_message_id or 0,
        "history_tip_message_id": run.history_tip_message_id or 0,
    }
    return shaped(shapes.DebugRun, body)


def _step_body(step: ChatDebugStep) -> shapes.DebugStep:
    body: shapes.DebugStep = {
        "id": str(step.pk),
        "run_id": str(step.run_id),
        "chat_id": str(step.chat_id),
        "step_number": step.step_number,
        "operation": str(step.operation),
        "status": str(step.status),
        "normalized_request": step.normalized_request,
        "attempts": step.attempts,
        "metadata": step.metadata,
        "started_at": rfc3339(step.started_at),
        "updated_at": rfc3339(step.updated_at),
        "finished_at": rfc3339(step.finished_at) if step.finished_at else "",
        "history_tip_message_id": step.history_tip_message_id or 0,
        "assistant_message_id": step.assistant_message_id or 0,
        "normalized_response": step.normalized_response or {},
        "usage": step.usage or {},
        "error": step.error or {},
    }
    return shaped(shapes.DebugStep, body)


def _id(value: UUID | None) -> str:
    return str(value) if value else ""


class DebugRunViewSet(ResourceViewSet):
    """`/chats/{chat}/debug/runs` and `…/{run}`."""

    @Operation(
        "getChatDebugRuns",
        "List the newest debug runs of a chat",
        description=f"At most {MAX_RUNS}. There are some only while debug logging is on.",
        answer=list[shapes.DebugRunSummary],
    )
    def list(self, request: Request, chat: str) -> Response:
        found = get_chat_for(self.actor(request).user, path_uuid(chat))
        return Response([run_summary_body(run) for run in list_runs(found.pk)])

    @Operation("getChatDebugRun", "Get a debug run with its steps", answer=shapes.DebugRun)
    def retrieve(self, request: Request, chat: str, run: str) -> Response:
        found = get_chat_for(self.actor(request).user, path_uuid(chat))
        run_id = parse_uuid(run, "Invalid debug run ID.")
        return Response(run_body(get_run(found.pk, run_id)))
