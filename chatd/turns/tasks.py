"""Celery tasks and the life of a worker process."""

import threading
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.exceptions import Reject
from celery.signals import task_prerun, worker_ready, worker_shutting_down
from django.contrib.sessions.models import Session

from chatd.accounts.actions import purge_expired_tokens
from chatd.audit.actions import purge_entries
from chatd.core.clock import now
from chatd.core.context import Cause, bind_correlation, remember_cause
from chatd.core.coverage import log_secrets_notice
from chatd.core.garbage import settle_heap
from chatd.core.tracing import TRACEPARENT
from chatd.live.dispatch import CAUSE_HEADER, RUN_TURN_TASK
from chatd.turns.purge import purge
from chatd.turns.runtime import process_runtime, stop_process_runtime
from chatd.turns.scrape import serve_metrics
from config.env import env


@task_prerun.connect(dispatch_uid="chatd-bind-task")
def _bind_task(task: Any, **_: Any) -> None:
    """Give the log lines of a task its name, and the correlation id of what asked for it."""
    bind_correlation(correlation_id=_cause(task).correlation_id, task=str(task.name))


def _cause(task: Any) -> Cause:
    given = task.request.get
    return Cause(str(given(CAUSE_HEADER) or ""), str(given(TRACEPARENT) or ""))


@shared_task(name=RUN_TURN_TASK, ignore_result=True, bind=True)
def run_turn(self: Any, chat_id: str, owner_id: str) -> None:
    """Run the turn of this pending chat, or of one whose turn it is to start first.

    A worker that is stopping gives the message back for another one. With everything in one
    process there is no other: the next start finds the chat.
    """
    remember_cause(UUID(chat_id), _cause(self))
    taken = process_runtime().run_turn(UUID(chat_id), UUID(owner_id))
    if not taken and not env.embedded:
        raise Reject("the worker is stopping", requeue=True)


@shared_task(name="chatd.turns.housekeeping", ignore_result=True)
def housekeeping() -> None:
    """Remove sessions and tokens that have expired, and entries of the audit log that are old."""
    Session.objects.filter(expire_date__lt=now()).delete()
    purge_expired_tokens()
    purge_entries(env.audit_days)


@shared_task(name="chatd.turns.purge", ignore_result=True)
def purge_old() -> None:
    """Delete and archive what the settings of the deployment say is due."""
    purge()


@worker_ready.connect(dispatch_uid="chatd-worker-ready")
def _start(**_: Any) -> None:
    log_secrets_notice()
    if env.metrics_port:
        serve_metrics(env.metrics_port)
    process_runtime()
    if not env.embedded:  # there the server does it for all
        settle_heap()


@worker_shutting_down.connect(dispatch_uid="chatd-worker-stop")
def _stop(**_: Any) -> None:
    """Stop on a thread: this runs inside a signal handler, which must not wait for anything."""
    threading.Thread(target=stop_process_runtime, name="chatd-stop").start()
