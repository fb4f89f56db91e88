"""Debug runs and steps as a recorder would write them."""

from typing import Any

from chatd.chats.debug_models import (
    ChatDebugRun,
    ChatDebugStep,
    DebugOperation,
    DebugRunKind,
    DebugStatus,
)
from chatd.chats.models import Chat


def debug_run(chat: Chat, **fields: Any) -> ChatDebugRun:
    """Return a finished run about a turn of `chat`."""
    columns = {"kind": DebugRunKind.CHAT_TURN, "status": DebugStatus.COMPLETED, **fields}
    return ChatDebugRun.objects.create(chat=chat, **columns)


def debug_step(run: ChatDebugRun, step_number: int = 1, **fields: Any) -> ChatDebugStep:
    """Return a step of `run`: one streamed model call."""
    columns = {
        "chat_id": run.chat_id,
        "operation": DebugOperation.STREAM,
        "status": DebugStatus.COMPLETED,
        **fields,
    }
    return ChatDebugStep.objects.create(run=run, step_number=step_number, **columns)
