"""Debug runs of a chat: reading them, and deleting what archives and edits make void.

Rights are those of the chat, checked before.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from chatd.chats.debug_models import ChatDebugRun, ChatDebugStep
from chatd.core.errors import not_found

MAX_RUNS = 100


def list_runs(chat_id: UUID) -> list[ChatDebugRun]:
    """Return the newest runs of a chat, the latest start first."""
    return list(
        ChatDebugRun.objects.filter(chat_id=chat_id).order_by("-started_at", "-id")[:MAX_RUNS]
    )


def get_run(chat_id: UUID, run_id: UUID) -> ChatDebugRun:
    """Return a run of this chat with its steps selected, in order. Raises the 404."""
    runs = ChatDebugRun.objects.filter(pk=run_id, chat_id=chat_id).prefetch_related("steps")
    run = runs.first()
    if run is None:
        raise not_found()
    return run


def delete_runs_of(chat_ids: Collection[UUID], *, started_before: datetime) -> None:
    """Delete the runs of chats. In the transaction that makes them void."""
    _delete(ChatDebugRun.objects.filter(chat_id__in=chat_ids, started_at__lt=started_before))


def delete_runs_since(chat_id: UUID, message_id: int, *, started_before: datetime) -> None:
    """Delete the runs that were about a message or later ones. In the transaction that cuts them.

    They were triggered by them, saw them, or have a step that saw or made them.
    """
    saw = Q(history_tip_message_id__gte=message_id)
    steps = ChatDebugStep.objects.filter(
        saw | Q(assistant_message_id__gte=message_id), chat_id=chat_id
    )
    about = saw | Q(trigger_message_id__gte=message_id) | Q(pk__in=steps.values("run_id"))
    _delete(ChatDebugRun.objects.filter(about, chat_id=chat_id, started_at__lt=started_before))


def _delete(runs: QuerySet[ChatDebugRun]) -> None:
    """Delete runs with their steps; the runs are locked first, as by those who write steps."""
    locked = runs.order_by("pk").select_for_update().values_list("pk", flat=True)
    if list(locked):
        runs.only("pk").delete()
