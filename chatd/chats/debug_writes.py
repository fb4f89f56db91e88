"""Debug runs and their steps as a recorder writes them: each function is one short transaction.

Whoever writes a step locks its run first. What has ended stays as it is, and what was deleted
meanwhile is not made again: such a write does nothing and says so.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Max, Q, QuerySet

from chatd.chats.debug_models import ChatDebugRun, ChatDebugStep, DebugStatus
from chatd.chats.models import Chat, ChatMessage, Role
from chatd.chats.parts import text_of
from chatd.core.clock import now

MAX_LABEL = 200
WRITE_SECONDS = 5
"""After which a write is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSubject:
    """What a run is about; `history_version` is the one that the work began with."""

    chat_id: UUID
    root_chat_id: UUID | None
    parent_chat_id: UUID | None
    is_archived: bool
    history_version: int
    kind: str
    model_config_id: UUID
    provider: str
    model: str


def store_run(run_id: UUID, about: RunSubject, *, started_at: datetime) -> bool:
    """Store a run that has begun; False when what it is about was cut or archived since."""
    chat = Chat.objects.filter(
        pk=about.chat_id, archived=about.is_archived, refresh_version__lte=about.history_version
    )
    with _short_transaction():
        if not chat.exists():
            return False
        seen = _messages_at(about.chat_id, about.history_version)
        asked = seen.filter(role=Role.USER, compressed=False).order_by("-pk")
        trigger = asked.values_list("pk", "content").first()
        ChatDebugRun.objects.create(
            pk=run_id,
            chat_id=about.chat_id,
            root_chat_id=about.root_chat_id,
            parent_chat_id=about.parent_chat_id,
            model_config_id=about.model_config_id,
            trigger_message_id=trigger[0] if trigger else None,
            history_tip_message_id=_tip(about.chat_id, about.history_version),
            kind=about.kind,
            status=DebugStatus.IN_PROGRESS,
            provider=about.provider,
            model=about.model,
            summary={"first_message": label(text_of(trigger[1]))} if trigger else {},
            started_at=started_at,
        )
    return True


def label(text: str) -> str:
    """Return a text on one line, of at most `MAX_LABEL` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_LABEL else line[: MAX_LABEL - 1] + "…"


def store_step(
    step_id: UUID, run_id: UUID, *, history_version: int, started_at: datetime, **columns: Any
) -> bool:
    """Store a step that has begun, numbered from 1; False when its run has ended or is gone."""
    with _short_transaction():
        run = _touched(run_id)
        if run is None:
            return False
        highest = ChatDebugStep.objects.filter(run_id=run_id).aggregate(Max("step_number"))
        ChatDebugStep.objects.create(
            pk=step_id,
            run_id=run_id,
            chat_id=run.chat_id,
            step_number=(highest["step_number__max"] or 0) + 1,
            status=DebugStatus.IN_PROGRESS,
            history_tip_message_id=_tip(run.chat_id, history_version),
            started_at=started_at,
            **columns,
        )
    return True


def update_step(step_id: UUID, run_id: UUID, **columns: Any) -> bool:
    """Write columns of a step that goes on, or ends with them; False when it has ended."""
    with _short_transaction():
        if _touched(run_id) is None:
            return False
        steps = ChatDebugStep.objects.filter(pk=step_id, run_id=run_id, finished_at=None)
        return bool(steps.update(updated_at=now(), **columns))


def link_answer(step_id: UUID, run_id: UUID, *, after: int, until: int) -> None:
    """Name the message that a step made: the assistant's first between two history versions."""
    with _short_transaction():
        run = _touched(run_id)
        if run is None:
            return
        made = ChatMessage.objects.filter(
            chat_id=run.chat_id, role=Role.ASSISTANT, revision__gt=after, revision__lte=until
        )
        answer = made.filter(compressed=False).order_by("pk").values_list("pk", flat=True).first()
        ChatDebugStep.objects.filter(pk=step_id).update(assistant_message_id=answer)


def end_run(run_id: UUID, status: DebugStatus, summary: dict[str, Any]) -> bool:
    """End a run, and steps of it that are open; False when it has ended or is gone."""
    with _short_transaction():
        run = _touched(run_id)
        if run is None:
            return False
        _end(ChatDebugStep.objects.filter(run_id=run_id), DebugStatus.INTERRUPTED)
        run.summary, run.status = {**run.summary, **summary}, status
        run.finished_at = run.updated_at = now()
        run.save(update_fields=["summary", "status", "finished_at", "updated_at"])
    return True


def touch(run_ids: Collection[UUID]) -> None:
    """Say of runs and their open steps that somebody still works on them."""
    with _short_transaction():
        alive = _locked(Q(pk__in=run_ids))
        ChatDebugRun.objects.filter(pk__in=alive).update(updated_at=now())
        steps = ChatDebugStep.objects.filter(run_id__in=alive, finished_at=None)
        steps.update(updated_at=now())


def interrupt_stale(before: datetime, *, at_most: int) -> int:
    """End runs that nobody has written to since an instant; returns how many."""
    stale = Q(updated_at__lt=before)
    with _short_transaction():
        found = _locked(stale, at_most=at_most)
        _end(ChatDebugStep.objects.filter(run_id__in=found), DebugStatus.INTERRUPTED)
        return _end(ChatDebugRun.objects.filter(pk__in=found), DebugStatus.INTERRUPTED)


@contextmanager
def _short_transaction() -> Iterator[None]:
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = {WRITE_SECONDS * 1000}")
        yield


def _locked(which: Q, *, at_most: int | None = None) -> list[UUID]:
    """Return open runs, locked; those that somebody else writes right now are alive."""
    runs = ChatDebugRun.objects.filter(which, finished_at=None)
    rows = runs.order_by("updated_at", "pk").select_for_update(skip_locked=True, no_key=True)
    return list(rows.values_list("pk", flat=True)[:at_most])


def _touched(run_id: UUID) -> ChatDebugRun | None:
    """Return a run that goes on, locked and marked as alive."""
    open_runs = ChatDebugRun.objects.select_for_update(no_key=True).filter(finished_at=None)
    run = open_runs.filter(pk=run_id).first()
    if run is not None:
        ChatDebugRun.objects.filter(pk=run_id).update(updated_at=now())
    return run


def _end(rows: Any, status: DebugStatus) -> int:
    instant = now()
    ended = rows.filter(finished_at=None)
    return int(ended.update(status=status, finished_at=instant, updated_at=instant))


def _messages_at(chat_id: UUID, history_version: int) -> QuerySet[ChatMessage]:
    return ChatMessage.objects.filter(chat_id=chat_id, deleted=False, revision__lte=history_version)


def _tip(chat_id: UUID, history_version: int) -> int | None:
    tip = _messages_at(chat_id, history_version).order_by("-pk").values_list("pk", flat=True)
    return tip.first()
