"""Debug runs: what a chat asked of models. There are some only while debug logging is on."""

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from chatd.api.parsing import parse_uuid, path_uuid
from chatd.api.views import ResourceViewSet
from chatd.chats.debug import get_run, list_runs
from chatd.chats.debug_models import ChatDebugRun, ChatDebugStep
from chatd.chats.selectors import get_chat_for
from chatd.core.clock import rfc3339


def run_summary_body(run: ChatDebugRun) -> dict[str, Any]:
    """Return the DebugRunSummary object."""
    body: dict[str, Any] = {
        "id": str(run.pk),
        "chat_id": str(run.chat_id),
        "kind": str(run.kind),
        "status": str(run.status),
        "summary": run.summary,
        **_times(run),
    }
    return body | _present(provider=run.provider, model=run.model)


def run_body(run: ChatDebugRun) -> dict[str, Any]:
    """Return the DebugRun object: the summary, what the run was about, and its steps."""
    about = _present(
        root_chat_id=_id(run.root_chat_id),
        parent_chat_id=_id(run.parent_chat_id),
        model_config_id=_id(run.model_config_id),
        trigger_message_id=run.trigger_message_id,
        history_tip_message_id=run.history_tip_message_id,
    )
    return run_summary_body(run) | about | {"steps": [_step_body(step) for step in run.steps.all()]}


def _step_body(step: ChatDebugStep) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": str(step.pk),
        "run_id": str(step.run_id),
        "chat_id": str(step.chat_id),
        "step_number": step.step_number,
        "operation": str(step.operation),
        "status": str(step.status),
        "normalized_request": step.normalized_request,
        "attempts": step.attempts,
        "metadata": step.metadata,
        **_times(step),
    }
    return body | _present(
        history_tip_message_id=step.history_tip_message_id,
        assistant_message_id=step.assistant_message_id,
        normalized_response=step.normalized_response or None,
        usage=step.usage or None,
        error=step.error or None,
    )


def _times(row: ChatDebugRun | ChatDebugStep) -> dict[str, str]:
    finished_at = rfc3339(row.finished_at) if row.finished_at else None
    return {
        "started_at": rfc3339(row.started_at),
        "updated_at": rfc3339(row.updated_at),
        **_present(finished_at=finished_at),
    }


def _present(**members: Any) -> dict[str, Any]:
    """Return the members that are there; empty texts and zeros are."""
    return {name: value for name, value in members.items() if value is not None}


def _id(value: UUID | None) -> str | None:
    return str(value) if value else None


class DebugRunViewSet(ResourceViewSet):
    """`/chats/{chat}/debug/runs` and `…/{run}`."""

    def list(self, request: Request, chat: str) -> Response:
        found = get_chat_for(self.actor(request).user, path_uuid(chat))
        return Response([run_summary_body(run) for run in list_runs(found.pk)])

    def retrieve(self, request: Request, chat: str, run: str) -> Response:
        found = get_chat_for(self.actor(request).user, path_uuid(chat))
        run_id = parse_uuid(run, "Invalid debug run ID.")
        return Response(run_body(get_run(found.pk, run_id)))
